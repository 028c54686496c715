//! The actor that keeps a projection up with the log: it pulls pages of durable records, applies and commits them.
//!
//! A fault ends the actor; the root starts it again with a newly opened projection, at its last committed position.
//!
//! May depend on `storage`.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{sync::watch, time::Instant};

use super::{
    projection::{Projection, ProjectionFault},
    reply::NotDelivered,
};
use crate::storage::{Journal, PageError, Position, Stream};

/// How many bytes of records are pulled at once: large enough that a commit is worth it, small enough to hold in
/// memory.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// After how many entities the seeding of a read model shows how far it has come.
const PROGRESS_STREAMS: u64 = 100_000;
/// The least time between two pulls while nobody waits for the read model, in milliseconds: records that arrive
/// meanwhile are applied together, and the stages that an order passes through in between are never written.
const PULL_MS_MIN: u64 = 20;
/// How long the actor waits for something new before it looks at its mailbox again, in milliseconds.
const WAIT_MS: u64 = 250;

/// How far a projection has come. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    name: &'static str,
    position: Arc<watch::Sender<Position>>,
    /// The position that a caller waits for.
    wanted: Arc<watch::Sender<Position>>,
    /// When it last had everything.
    whole_at: Arc<Mutex<Instant>>,
    journal: Journal,
}

impl Progress {
    /// Progress from the beginning.
    #[must_use]
    pub fn new(name: &'static str, journal: Journal) -> Self {
        let start = || Arc::new(watch::Sender::new(Position::default()));
        let whole_at = Arc::new(Mutex::new(Instant::now()));
        Self { name, position: start(), wanted: start(), whole_at, journal }
    }

    /// The name of the projection, for logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Up to where the log is part of the projection.
    #[must_use]
    pub fn position(&self) -> Position {
        *self.position.borrow()
    }

    /// How many bytes of the log are durable but not yet part of the projection.
    #[must_use]
    pub fn lag_bytes(&self) -> u64 {
        self.journal.durable().0.saturating_sub(self.position().0)
    }

    /// How long ago the projection had everything that was durable then; no time if it has everything now.
    #[must_use]
    pub fn lag(&self) -> Duration {
        if self.lag_bytes() == 0 { Duration::ZERO } else { self.whole_at.lock().elapsed() }
    }

    /// Says where a newly opened projection begins.
    pub fn begin(&self, position: Position) {
        self.position.send_replace(position);
    }

    /// Whether a caller waits for more than is committed.
    fn is_wanted(&self) -> bool {
        *self.wanted.borrow() > self.position()
    }

    /// Waits, at most `timeout`, until everything that is durable now is part of the projection; the follower commits
    /// without delay.
    pub async fn catch_up(&self, timeout: Duration) -> CaughtUp {
        let wanted = self.journal.durable();
        self.wanted.send_if_modified(|known| {
            let more = *known < wanted;
            *known = wanted.max(*known);
            more
        });
        let mut position = self.position.subscribe();
        let reached = position.wait_for(|position| *position >= wanted);
        match tokio::time::timeout(timeout, reached).await {
            Ok(Ok(_)) => CaughtUp::Yes,
            Ok(Err(_)) | Err(_) => CaughtUp::No,
        }
    }
}

/// Whether a projection has caught up in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaughtUp {
    /// The projection contains everything that was durable at the call.
    Yes,
    /// The time is up: the projection is older.
    No,
}

/// Makes a projection, each time the actor starts. It may block.
pub type Open = Arc<dyn Fn() -> Result<Box<dyn Projection>, ProjectionFault> + Send + Sync>;

/// Has the state of streams stored, in place of their events that erase data.
///
/// An entity stores its state with such an event. But a kill before the next checkpoint loses that snapshot and leaves
/// the events, and so does a state that is rebuilt from base and log. The lists read every event that a checkpoint may
/// lack, so their follower has the snapshots stored again before their position moves past those events.
pub type StoreErased = Arc<dyn Fn(Vec<Stream>) -> BoxFuture<'static, Result<(), NotDelivered>> + Send + Sync>;

pub(super) struct Follower {
    pub(super) open: Open,
    pub(super) progress: Progress,
    /// The least time between two commits while nobody waits, in milliseconds: a commit of the search index costs ten.
    pub(super) commit_ms_min: u64,
    /// `None` for a projection that takes no erased streams.
    pub(super) store_erased: Option<StoreErased>,
}

/// The only message: look for new records.
pub(super) struct Pull;

/// What the actor works with. The projection is away while it works on a blocking thread.
pub(super) struct FollowerState {
    projection: Option<Box<dyn Projection>>,
    /// Up to where records are applied, committed or not.
    applied: Position,
    committed_at: Instant,
    pulled_at: Instant,
    durable: watch::Receiver<Position>,
    wanted: watch::Receiver<Position>,
}

impl Actor for Follower {
    type Msg = Pull;
    type State = FollowerState;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Pull>, (): ()) -> Result<FollowerState, ActorProcessingErr> {
        let durable = self.progress.journal.watch_durable();
        let (applied, wanted, now) = (Position::default(), self.progress.wanted.subscribe(), Instant::now());
        Ok(FollowerState { projection: None, applied, committed_at: now, pulled_at: now, durable, wanted })
    }

    async fn post_start(&self, myself: ActorRef<Pull>, state: &mut FollowerState) -> Result<(), ActorProcessingErr> {
        let (open, journal) = (Arc::clone(&self.open), self.progress.journal.clone());
        let opened = tokio::task::spawn_blocking(move || -> Result<_, ActorProcessingErr> {
            let mut projection = open()?;
            let is_behind = projection.position() < journal.oldest();
            if !is_behind {
                return Ok((projection, None));
            }
            let name = projection.name();
            tracing::warn!(
                name,
                "the log does not reach back to where the read model stands: it is made from the state"
            );
            let seeded = seed(projection.as_mut(), &journal)?;
            Ok((projection, Some(seeded)))
        });
        let (mut projection, seeded) = opened.await??;
        if let Some(position) = seeded {
            projection = self.commit(projection, position).await?;
        }
        state.applied = projection.position();
        self.progress.begin(state.applied);
        state.projection = Some(projection);
        myself.send_message(Pull)?;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Pull>,
        Pull: Pull,
        state: &mut FollowerState,
    ) -> Result<(), ActorProcessingErr> {
        let now = Instant::now();
        let behind = *state.durable.borrow_and_update() > state.applied;
        let uncommitted = state.applied > self.progress.position();
        let wanted = *state.wanted.borrow_and_update() > self.progress.position();
        let pull_due = state.pulled_at + Duration::from_millis(PULL_MS_MIN);
        let commit_due = state.committed_at + Duration::from_millis(self.commit_ms_min);
        let ready = |due| wanted || now >= due;
        if !behind && !uncommitted {
            *self.progress.whole_at.lock() = now;
        }
        if !(behind && ready(pull_due) || uncommitted && ready(commit_due)) {
            let mut until = now + Duration::from_millis(WAIT_MS);
            until = if behind { until.min(pull_due) } else { until };
            until = if uncommitted { until.min(commit_due) } else { until };
            tokio::select! {
                changed = state.durable.changed(), if !behind => changed?,
                changed = state.wanted.changed() => changed?,
                () = tokio::time::sleep_until(until) => {}
            }
            myself.send_message(Pull)?;
            return Ok(());
        }
        self.pull(state).await?;
        myself.send_message(Pull)?;
        Ok(())
    }
}

/// Makes a projection from the current state of the entities, if the log has lost the records that it would need, or
/// they are damaged. Seeding and then following the log from the returned position leads to the same content as
/// following it from its beginning.
fn seed(projection: &mut dyn Projection, journal: &Journal) -> Result<Position, ActorProcessingErr> {
    let name = projection.name();
    projection.clear()?;
    let mut position = None;
    let mut seeded: u64 = 0;
    for kind in projection.kinds() {
        let mut scan = journal.scan(*kind as u8)?;
        // What changes during the scans is in the log from the first position on.
        position.get_or_insert(scan.position());
        while let Some(stream) = scan.next() {
            let stream = stream?;
            projection.seed(&stream, &scan.load(&stream)?)?;
            seeded += 1;
            if seeded.is_multiple_of(PROGRESS_STREAMS) {
                tracing::info!(name, seeded, "the read model is being made");
            }
        }
    }
    tracing::info!(name, seeded, "the read model is made");
    Ok(position.unwrap_or_default())
}

impl Follower {
    /// Has erased streams stored, then commits. A fault ends the actor, and the next one begins at the position before.
    async fn commit(
        &self,
        mut projection: Box<dyn Projection>,
        position: Position,
    ) -> Result<Box<dyn Projection>, ActorProcessingErr> {
        let erased = projection.take_erased();
        if !erased.is_empty()
            && let Some(store) = &self.store_erased
        {
            store(erased).await?;
        }
        let committed = tokio::task::spawn_blocking(move || -> Result<_, ActorProcessingErr> {
            projection.commit(position)?;
            Ok(projection)
        });
        committed.await?
    }

    /// Pulls a page and commits when it is time. The projection blocks, so it works on a blocking thread.
    async fn pull(&self, state: &mut FollowerState) -> Result<(), ActorProcessingErr> {
        let mut projection = state.projection.take().ok_or("the projection is not open")?;
        let (journal, from, committed) = (self.progress.journal.clone(), state.applied, self.progress.position());
        let (began, durable) = (Instant::now(), journal.durable());
        let due =
            state.committed_at.elapsed() >= Duration::from_millis(self.commit_ms_min) || self.progress.is_wanted();
        let work = tokio::task::spawn_blocking(move || -> Result<_, ActorProcessingErr> {
            let next = match journal.page(from, PAGE_BYTES_MAX) {
                Err(PageError::Damaged(damage)) => {
                    let name = projection.name();
                    tracing::error!(name, %damage, "the log is damaged: the read model is made from the state");
                    seed(projection.as_mut(), &journal)?
                }
                page => {
                    let page = page?;
                    if !page.records.is_empty() {
                        projection.apply(&page.records)?;
                    }
                    page.next
                }
            };
            // Commits even if there is more to pull: under steady writing there always is.
            let commits = next > committed && (due || projection.is_due());
            Ok((projection, next, commits))
        });
        let (mut projection, applied, commits) = work.await??;
        if commits {
            projection = self.commit(projection, applied).await?;
        }
        state.projection = Some(projection);
        // A page that is not the last is followed by the next at once.
        if applied >= self.progress.journal.durable() || applied == from {
            state.pulled_at = Instant::now();
        }
        state.applied = applied;
        if commits {
            state.committed_at = Instant::now();
            self.progress.position.send_replace(applied);
            if applied >= durable {
                *self.progress.whole_at.lock() = began;
            }
        }
        Ok(())
    }
}
