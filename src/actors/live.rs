//! What a directory and its owner share: the map of live entities, and the owner's messages.
//!
//! May depend on `storage` and `domain`.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use ractor::ActorRef;
use tokio::sync::oneshot;

use super::{
    entity_actor::Wake,
    envelope::Envelope,
    figures::Slowest,
    mailbox::{Mailbox, Pushed},
    reply::NotDelivered,
    views::{Cell, Views},
};
use crate::{clock::Clock, domain::entity::Entity, storage::Journal};

/// The limits of one kind of entities.
#[derive(Debug, Clone, Copy)]
pub struct DirectoryLimits {
    /// How many entities may be alive at once; one takes about 11 KB. Beyond it the least recently used are passivated.
    pub live_max: usize,
    /// After how long without a command an entity is passivated, in milliseconds.
    pub idle_ms_max: u64,
    /// How many commands may wait for one entity, so that a hot one cannot hold all permits of the shop.
    pub mailbox_max: u32,
    /// The size of the cache for views of entities at rest, in bytes.
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
    pub(super) actor: ActorRef<Wake>,
    pub(super) cell: Arc<Cell<E>>,
    pub(super) mailbox: Arc<Mailbox<E>>,
    /// The owner's count of sweeps when it was last used.
    pub(super) used_at_sweep: AtomicU64,
}

impl<E: Entity> Live<E> {
    /// Puts an envelope into the mailbox, or returns it with the reason why not. The caller holds the map's entry, so
    /// that nothing is added after the entity has left the map.
    pub(super) fn push(&self, envelope: Envelope<E>) -> Result<(), (Envelope<E>, PushRefused)> {
        match self.mailbox.push(envelope) {
            Pushed::Queued => Ok(()),
            Pushed::First if self.actor.send_message(Wake).is_ok() => Ok(()),
            Pushed::First => {
                // The actor has ended. The first envelope is this caller's; the others arrived meanwhile.
                let mut left = self.mailbox.close().into_iter();
                let first = left.next();
                left.for_each(|envelope| envelope.refuse(NotDelivered::Busy));
                // No first envelope: the owner has taken it meanwhile, and delivers it to the next incarnation.
                first.map_or(Ok(()), |envelope| Err((envelope, PushRefused::Ended)))
            }
            Pushed::Full(envelope) => Err((envelope, PushRefused::Full)),
            Pushed::Closed(envelope) => Err((envelope, PushRefused::Ended)),
        }
    }
}

/// Why a mailbox did not take an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PushRefused {
    /// All permits are in use.
    Full,
    /// The incarnation has ended.
    Ended,
}

/// The messages of an owner.
pub(super) enum OwnerMessage<E: Entity> {
    /// Deliver to an entity that was not found alive.
    Deliver(E::Id, Envelope<E>),
    /// Passivate this entity.
    #[cfg(test)]
    Passivate(E::Id),
    /// Passivate the entities that have been idle.
    Sweep,
    /// Passivate all entities, and answer when they are gone.
    Close(oneshot::Sender<()>),
}

/// What a directory and its owner share.
pub(super) struct Shared<E: Entity> {
    pub(super) live: DashMap<E::Id, Live<E>, RandomState>,
    pub(super) views: Arc<Views<E>>,
    pub(super) sweeps: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) slowest: Arc<Slowest>,
    /// `None` before the owner is started and after the directory is closed.
    pub(super) owner: RwLock<Option<ActorRef<OwnerMessage<E>>>>,
    pub(super) journal: Journal,
    pub(super) clock: Clock,
    pub(super) limits: DirectoryLimits,
}

impl<E: Entity> Shared<E> {
    pub(super) fn new(journal: Journal, clock: Clock, limits: DirectoryLimits) -> Self {
        let views = Views::new(journal.clone(), limits.views_bytes_max);
        let live = DashMap::with_hasher(RandomState::default());
        let (sweeps, failures, owner) = (AtomicU64::new(0), AtomicU64::new(0), RwLock::new(None));
        Self { live, views, sweeps, failures, slowest: Arc::default(), owner, journal, clock, limits }
    }

    /// Puts an envelope into the mailbox of a live entity, and marks the entity as used.
    pub(super) fn push(&self, id: &E::Id, envelope: Envelope<E>) -> Result<(), (Envelope<E>, PushRefused)> {
        let Some(live) = self.live.get(id) else { return Err((envelope, PushRefused::Ended)) };
        live.used_at_sweep.store(self.sweeps.load(Ordering::Relaxed), Ordering::Relaxed);
        live.push(envelope)
    }
}
