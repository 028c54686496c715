//! From an id to the one live actor. Callers keep a directory, never an `ActorRef`.
//!
//! A shared map is the fast way (look up, send); one owner actor is the slow way (activate, passivate, bury). Only the owner
//! writes the map, so an id has one incarnation at a time. What arrives for an entity that is leaving waits for it to be gone
//! and goes to the next incarnation. An entity that failed comes back with the next message, after a back-off per id, so that a
//! poisoned one cannot spin.
//!
//! May depend on `storage` and `domain`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use ractor::ActorRef;
use tokio::sync::oneshot;

use super::{
    entity_actor::{Accepted, Ask, AskError, LookIntoInbox, NotDelivered, When},
    inbox::{Inbox, Pushed, Wake},
    owner::{Owner, OwnerMessage},
    views::{Cell, Subscription, Versioned, Views},
};
use crate::{
    clock::Clock,
    domain::entity::Entity,
    storage::{Journal, LoadError},
};

/// The limits of one kind of entities.
#[derive(Debug, Clone, Copy)]
pub struct DirectoryLimits {
    /// How many may be alive at once, in actors: one costs about 11 KB. Past it the longest unused are passivated.
    pub live_max: usize,
    /// After how long without a message an entity is passivated, in milliseconds.
    pub idle_ms_max: u64,
    /// How many messages may wait for one entity, so that a hot one cannot hold all permits of the shop.
    pub mailbox_max: u32,
    /// How many bytes of views of entities at rest are cached.
    pub views_bytes_max: usize,
    /// The first back-off of an entity that failed, in milliseconds; it doubles with each failure.
    pub back_off_ms_min: u64,
    /// The longest back-off, in milliseconds.
    pub back_off_ms_max: u64,
}

impl Default for DirectoryLimits {
    fn default() -> Self {
        Self {
            live_max: 4_000,
            idle_ms_max: 60_000,
            mailbox_max: 4_096,
            views_bytes_max: 64 << 20,
            back_off_ms_min: 50,
            back_off_ms_max: 30_000,
        }
    }
}

/// A live entity, as the map knows it.
pub(super) struct Live<E: Entity> {
    pub(super) actor: ActorRef<LookIntoInbox>,
    pub(super) cell: Arc<Cell<E>>,
    pub(super) inbox: Arc<Inbox<E>>,
    /// The owner's count of sweeps when it was last used.
    pub(super) used_at_sweep: AtomicU64,
}

impl<E: Entity> Live<E> {
    /// Puts an ask into the inbox, or gives it back where the incarnation has ended. Called while the map holds it, so that
    /// nothing comes in after it has left the map.
    pub(super) fn push(&self, ask: Ask<E>) -> Result<(), (Ask<E>, NotFree)> {
        match self.inbox.push(ask) {
            Pushed::In(Wake::No) => Ok(()),
            Pushed::In(Wake::Yes) if self.actor.send_message(LookIntoInbox).is_ok() => Ok(()),
            Pushed::In(Wake::Yes) => {
                // The actor has ended. Who is not woken stood first; the others came meanwhile.
                let mut left = self.inbox.close().into_iter();
                let first = left.next();
                left.for_each(|ask| ask.refuse(NotDelivered::Busy));
                // Nobody first: its owner was quicker, and buries it.
                first.map_or(Ok(()), |ask| Err((ask, NotFree::Ended)))
            }
            Pushed::Full(ask) => Err((ask, NotFree::Full)),
            Pushed::Closed(ask) => Err((ask, NotFree::Ended)),
        }
    }
}

/// Why an inbox did not take an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotFree {
    /// There is no place.
    Full,
    /// The incarnation has ended.
    Ended,
}

/// What the fast way and the owner share.
pub(super) struct Shared<E: Entity> {
    pub(super) live: DashMap<E::Id, Live<E>, RandomState>,
    pub(super) views: Arc<Views<E>>,
    pub(super) sweeps: AtomicU64,
    pub(super) owner: RwLock<Option<ActorRef<OwnerMessage<E>>>>,
    pub(super) journal: Journal,
    pub(super) clock: Clock,
    pub(super) limits: DirectoryLimits,
}

/// The way to all entities of one kind. Cheap to clone.
pub struct Directory<E: Entity>(Arc<Shared<E>>);

impl<E: Entity> Clone for Directory<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: Entity> Directory<E> {
    /// A directory over a journal. It answers reads at once, and commands when the root has started its owner.
    #[must_use]
    pub fn new(journal: Journal, clock: Clock, limits: DirectoryLimits) -> Self {
        let views = Views::new(journal.clone(), limits.views_bytes_max);
        let live = DashMap::with_hasher(RandomState::default());
        let (sweeps, owner) = (AtomicU64::new(0), RwLock::new(None));
        Self(Arc::new(Shared { live, views, sweeps, owner, journal, clock, limits }))
    }

    /// The actor that owns this directory's entities, for the root to start.
    pub(super) fn owner(&self) -> Owner<E> {
        Owner(Arc::clone(&self.0))
    }

    /// Asks an entity to do something; waits until the answer is durable.
    ///
    /// # Errors
    /// [`AskError`]. `Unknown` leaves open whether it was done; repeat it with the same identity.
    pub async fn ask(&self, id: &E::Id, command: E::Command) -> Result<Accepted<E::View>, AskError<E::Rejection>> {
        self.ask_when(id, Some(command), When::Durable).await
    }

    /// Asks an entity to do something, and waits only until its event is admitted to the journal. The event may yet be lost
    /// with the process, but then so is everything admitted after it: so whoever acts on the answer inside the shop need not
    /// wait, and must wait for something later to be durable before anything leaves the shop. A refusal is durable.
    ///
    /// # Errors
    /// As [`Directory::ask`].
    pub async fn ask_ahead(
        &self,
        id: &E::Id,
        command: E::Command,
    ) -> Result<Accepted<E::View>, AskError<E::Rejection>> {
        self.ask_when(id, Some(command), When::Admitted).await
    }

    /// Brings an entity to life, if it is not, and waits until what it has done is durable. If an event that erases was not
    /// stored with the state after it, that is then made good.
    ///
    /// # Errors
    /// [`AskError`], though nothing is rejected.
    pub async fn settle(&self, id: &E::Id) -> Result<(), AskError<E::Rejection>> {
        self.ask_when(id, None, When::Durable).await.map(|_| ())
    }

    async fn ask_when(
        &self,
        id: &E::Id,
        command: Option<E::Command>,
        when: When,
    ) -> Result<Accepted<E::View>, AskError<E::Rejection>> {
        let (reply, answer) = oneshot::channel();
        match self.send(id, Ask { command, reply, when }) {
            Ok(()) => {}
            Err(refused) => return Err(AskError::NotDelivered(refused)),
        }
        answer.await.unwrap_or(Err(AskError::Unknown))
    }

    fn send(&self, id: &E::Id, mut ask: Ask<E>) -> Result<(), NotDelivered> {
        let shared = &self.0;
        if let Some(live) = shared.live.get(id) {
            live.used_at_sweep.store(shared.sweeps.load(Ordering::Relaxed), Ordering::Relaxed);
            ask = match live.push(ask) {
                Ok(()) => return Ok(()),
                Err((_, NotFree::Full)) => return Err(NotDelivered::Busy),
                // It is leaving: the owner knows when it is gone.
                Err((returned, NotFree::Ended)) => returned,
            };
        }
        let owner = shared.owner.read().clone().ok_or(NotDelivered::Closed)?;
        let sent = owner.send_message(OwnerMessage::Deliver(id.clone(), ask));
        // An owner that failed is started again; one that was closed is not.
        sent.map_err(|_| if shared.owner.read().is_some() { NotDelivered::Busy } else { NotDelivered::Closed })
    }

    /// The durable view of an entity. It wakes nobody.
    ///
    /// # Errors
    /// What loading reports.
    pub async fn read(&self, id: &E::Id) -> Result<Versioned<E::View>, LoadError> {
        if let Some(newest) = self.0.live.get(id).and_then(|live| live.cell.newest()) {
            return Ok(newest);
        }
        // It may have come alive meanwhile, and a load can see a record a moment before the writer publishes it. Whoever reads
        // next must not find less.
        let raise = |loaded: &Versioned<E::View>| {
            if let Some(live) = self.0.live.get(id) {
                live.cell.raise(loaded);
            }
        };
        self.0.views.at_rest(id, raise).await
    }

    /// Notices of the changes of one entity.
    #[must_use]
    pub fn subscribe(&self, id: &E::Id) -> Subscription<E> {
        self.0.views.subscribe(id)
    }

    /// How many entities of this kind are alive.
    #[must_use]
    pub fn live_count(&self) -> usize {
        self.0.live.len()
    }

    /// Passivates an entity now, if it is alive. What arrives meanwhile goes to its next incarnation.
    pub fn passivate(&self, id: &E::Id) {
        if let Some(owner) = self.0.owner.read().as_ref() {
            let _ = owner.send_message(OwnerMessage::Passivate(id.clone()));
        }
    }

    /// Ends all entities: what is queued is answered, what arrives later is refused.
    pub async fn close(&self) {
        let Some(owner) = self.0.owner.write().take() else { return };
        let (done, gone) = oneshot::channel();
        if owner.send_message(OwnerMessage::Close(done)).is_ok() {
            let _ = gone.await;
        }
        // Drained, not stopped: what was on its way to the owner is refused rather than left without an answer.
        let _ = owner.drain_and_wait(Some(Duration::from_secs(5))).await;
        // An owner that had failed, and was not started again because the shop closes, has left its map behind.
        self.0.live.iter().for_each(|live| live.cell.retire());
        self.0.live.clear();
    }
}
