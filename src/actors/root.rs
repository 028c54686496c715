//! The root of the supervision tree: it starts owners, followers and process managers, and restarts whichever fails.
//!
//! May depend on its neighbours and `domain`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};

use super::{
    backoff::Backoff,
    checkout::Checkout,
    directory::Directory,
    erasure::Erasure,
    follower::{Follower, Open, Progress, StoreErased},
    rating_counter::{RatingCounter, RatingCounterActor},
    reconciler::Reconciler,
};
use crate::domain::entity::Entity;

/// The first pause before a failed child is restarted, in milliseconds. It doubles with every failure in a row.
const RESTART_MS_MIN: u64 = 100;
/// The longest pause, in milliseconds.
const RESTART_MS_MAX: u64 = 30_000;
/// How long a restarted child must run to count as healthy.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

type Start = Arc<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> + Send + Sync>;

/// A child of the root: how to start it, any number of times.
pub struct Child {
    name: &'static str,
    start: Start,
    restarts: Arc<AtomicU64>,
}

fn start<A, F>(make: F) -> Start
where
    A: Actor<Arguments = ()>,
    F: Fn() -> A + Send + Sync + 'static,
{
    Arc::new(move |root| {
        let actor = make();
        async move { Ok(Actor::spawn_linked(None, actor, (), root).await?.0.get_cell()) }.boxed()
    })
}

/// Closes a directory when the tree is gone, also if it was not closed in order because the tokio runtime ended.
struct Shut<E: Entity>(Directory<E>);

impl<E: Entity> Drop for Shut<E> {
    fn drop(&mut self) {
        self.0.shut();
    }
}

impl Child {
    fn new(name: &'static str, start: Start) -> Self {
        Self { name, start, restarts: Arc::default() }
    }

    /// The owner of a directory's entities.
    #[must_use]
    pub fn owner<E: Entity>(name: &'static str, directory: &Directory<E>) -> Self {
        let until_tree_ends = Shut(directory.clone());
        let owner = move || {
            let Shut(directory) = &until_tree_ends;
            directory.owner()
        };
        Self::new(name, start(owner))
    }

    /// A follower that keeps a projection up with the log and commits at most every `commit_ms_min` milliseconds while
    /// nobody waits.
    #[must_use]
    pub fn follower(progress: &Progress, open: Open, commit_ms_min: u64, store_erased: Option<StoreErased>) -> Self {
        let progress = progress.clone();
        let name = progress.name();
        let follower = move || Follower {
            open: Arc::clone(&open),
            progress: progress.clone(),
            commit_ms_min,
            store_erased: store_erased.clone(),
        };
        Self::new(name, start(follower))
    }

    /// The checkout as a supervised child.
    #[must_use]
    pub fn checkout(checkout: &Checkout) -> Self {
        let checkout = checkout.clone();
        Self::new("checkout", start(move || checkout.actor()))
    }

    /// The reconciler as a supervised child.
    #[must_use]
    pub fn reconciler(reconciler: &Reconciler) -> Self {
        let reconciler = reconciler.clone();
        Self::new("reconciler", start(move || reconciler.actor()))
    }

    /// The process manager that counts ratings.
    #[must_use]
    pub fn rating_counter(counter: &RatingCounter) -> Self {
        let counter = counter.clone();
        Self::new("rating_counter", start(move || RatingCounterActor(counter.clone())))
    }

    /// The process manager that erases customers.
    #[must_use]
    pub fn erasure(erasure: &Erasure) -> Self {
        let erasure = erasure.clone();
        Self::new("erasure", start(move || erasure.actor()))
    }
}

/// The running tree. Clones are the same tree.
#[derive(Clone)]
pub struct Root {
    actor: ActorRef<RootMessage>,
    restarts: Arc<[(&'static str, Arc<AtomicU64>)]>,
}

impl Root {
    /// Starts the tree.
    ///
    /// # Errors
    /// A child that does not start at all.
    pub async fn start(children: Vec<Child>) -> Result<Self, SpawnErr> {
        let restarts = children.iter().map(|child| (child.name, Arc::clone(&child.restarts))).collect();
        let (actor, _) = Actor::spawn(None, RootActor, children).await?;
        Ok(Self { actor, restarts })
    }

    /// How often each child was started again.
    #[must_use]
    pub fn restarts(&self) -> Vec<(&'static str, u64)> {
        self.restarts.iter().map(|(name, times)| (*name, times.load(Ordering::Relaxed))).collect()
    }

    /// Tells the root that the shop closes, so it must not restart children that end.
    pub async fn expect_ends(&self) {
        let _ = ractor::call!(self.actor, RootMessage::ExpectEnds);
    }

    /// Stops the root and every actor below it.
    pub async fn stop(&self) {
        let _ = self.actor.stop_and_wait(None, Some(Duration::from_secs(5))).await;
    }
}

/// The messages of the root.
pub enum RootMessage {
    /// Restart this child.
    StartAgain(usize),
    /// Restart no child from now on.
    ExpectEnds(ractor::RpcReplyPort<()>),
}

struct RootActor;

struct Family {
    children: Vec<Kept>,
    ends: Ends,
}

#[derive(PartialEq, Eq)]
enum Ends {
    Unexpected,
    Expected,
}

struct Kept {
    child: Child,
    cell: Option<ActorCell>,
    backoff: Backoff,
    started_at: tokio::time::Instant,
}

impl Actor for RootActor {
    type Msg = RootMessage;
    type State = Family;
    type Arguments = Vec<Child>;

    async fn pre_start(
        &self,
        myself: ActorRef<RootMessage>,
        children: Vec<Child>,
    ) -> Result<Family, ActorProcessingErr> {
        let mut kept = Vec::with_capacity(children.len());
        for child in children {
            let cell = Some((child.start)(myself.get_cell()).await?);
            kept.push(Kept { child, cell, backoff: Backoff::default(), started_at: tokio::time::Instant::now() });
        }
        Ok(Family { children: kept, ends: Ends::Unexpected })
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMessage>,
        message: RootMessage,
        family: &mut Family,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMessage::StartAgain(index) => {
                let kept = &mut family.children[index];
                if family.ends == Ends::Unexpected && kept.cell.is_none() {
                    match (kept.child.start)(myself.get_cell()).await {
                        Ok(cell) => {
                            kept.cell = Some(cell);
                            kept.started_at = tokio::time::Instant::now();
                        }
                        Err(error) => start_again_later(&myself, index, kept, &error),
                    }
                }
            }
            RootMessage::ExpectEnds(reply) => {
                family.ends = Ends::Expected;
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    /// Without this handler ractor would stop the root when any child ends.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMessage>,
        event: SupervisionEvent,
        family: &mut Family,
    ) -> Result<(), ActorProcessingErr> {
        let (who, problem): (_, ActorProcessingErr) = match event {
            SupervisionEvent::ActorFailed(who, error) => (who, error),
            SupervisionEvent::ActorTerminated(who, _, reason) => (who, reason.unwrap_or_default().into()),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        let is_this = |kept: &Kept| kept.cell.as_ref().is_some_and(|cell| cell.get_id() == who.get_id());
        if let Some(index) = family.children.iter().position(is_this) {
            let kept = &mut family.children[index];
            kept.cell = None;
            if family.ends == Ends::Unexpected {
                start_again_later(&myself, index, kept, &problem);
            }
        }
        Ok(())
    }
}

fn start_again_later(root: &ActorRef<RootMessage>, index: usize, kept: &mut Kept, problem: &dyn std::fmt::Display) {
    if kept.started_at.elapsed() > HEALTHY_AFTER {
        kept.backoff.reset();
    }
    let pause_ms = kept.backoff.after_failure(RESTART_MS_MIN, RESTART_MS_MAX);
    kept.child.restarts.fetch_add(1, Ordering::Relaxed);
    tracing::error!(child = kept.child.name, %problem, pause_ms, "a child of the root failed and is started again");
    root.send_after(Duration::from_millis(pause_ms), move || RootMessage::StartAgain(index));
}
