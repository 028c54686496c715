//! The owner of all entities of one kind: it activates and passivates them and removes failed ones, and alone writes
//! the directory's map.
//!
//! May depend on `storage` and `domain`.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;

use super::{
    backoff::Backoff,
    entity_actor::{Arguments, EntityActor},
    envelope::Envelope,
    live::{Live, OwnerMessage, PushRefused, Shared},
    mailbox::Mailbox,
    reply::NotDelivered,
};
use crate::domain::entity::{Entity, Timestamp};

/// The interval of sweeps for idle entities, in milliseconds.
const SWEEP_MS: u64 = 1_000;
/// After so many sweeps the slowest entity is looked for anew: a minute.
const SWEEPS_OF_PERIOD: u64 = 60;
/// How many failed ids are remembered. Beyond it all are forgotten, which only resets their back-off.
const FAILURES_MAX: usize = 10_000;
/// The time without a failure after which an id counts as healthy again, in milliseconds.
const HEALTHY_AFTER_MS: u64 = 60_000;

pub(super) struct Owner<E: Entity>(pub(super) Arc<Shared<E>>);

/// The owner's own state.
pub(super) struct OwnerState<E: Entity> {
    /// Every incarnation that has not ended, including those that have left the map.
    incarnations: HashMap<ActorId, (E::Id, Arc<Mailbox<E>>)>,
    /// Entities that are being passivated, with the commands for their next incarnation.
    leaving: HashMap<E::Id, Vec<Envelope<E>>>,
    failures: HashMap<E::Id, Failure>,
    phase: Phase,
}

enum Phase {
    Open,
    /// Nothing is activated any more; the sender is notified when the last entity has ended.
    Closing(Option<oneshot::Sender<()>>),
}

struct Failure {
    backoff: Backoff,
    at: Timestamp,
    until: Timestamp,
}

impl<E: Entity> Actor for Owner<E> {
    type Msg = OwnerMessage<E>;
    type State = OwnerState<E>;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        // After a failure of the owner, the map still holds the entities that ended with it.
        self.0.live.iter().for_each(|live| live.cell.retire());
        self.0.live.clear();
        *self.0.owner.write() = Some(myself.clone());
        myself.send_interval(Duration::from_millis(SWEEP_MS), || OwnerMessage::Sweep);
        let (incarnations, leaving, failures) = (HashMap::new(), HashMap::new(), HashMap::new());
        Ok(OwnerState { incarnations, leaving, failures, phase: Phase::Open })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            OwnerMessage::Deliver(id, envelope) => self.deliver(&myself, id, envelope, state).await,
            #[cfg(test)]
            OwnerMessage::Passivate(id) => self.passivate(&id, state),
            OwnerMessage::Sweep => self.sweep(state),
            OwnerMessage::Close(done) => {
                state.phase = Phase::Closing(Some(done));
                let ids: Vec<_> = self.0.live.iter().map(|live| live.key().clone()).collect();
                ids.iter().for_each(|id| self.passivate(id, state));
                Self::finish_closing(state);
            }
        }
        Ok(())
    }

    /// Without this handler ractor would stop the owner when any entity ends. It never fails, so no entity can end the
    /// others.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(who, ..) => self.bury(&myself, &who, state).await,
            SupervisionEvent::ActorFailed(who, error) => {
                if let Some((id, _)) = state.incarnations.get(&who.get_id()) {
                    let id = id.clone();
                    tracing::error!(kind = ?E::KIND, %id, %error, "an entity failed");
                    self.0.failures.fetch_add(1, Ordering::Relaxed);
                    self.remember_failure(id, state);
                }
                self.bury(&myself, &who, state).await;
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl<E: Entity> Owner<E> {
    async fn deliver(
        &self,
        myself: &ActorRef<OwnerMessage<E>>,
        id: E::Id,
        envelope: Envelope<E>,
        state: &mut OwnerState<E>,
    ) {
        if matches!(state.phase, Phase::Closing(_)) {
            envelope.refuse(NotDelivered::Closed);
            return;
        }
        if state.leaving.contains_key(&id) {
            return self.wait_for_next(id, envelope, state);
        }
        let has_not_left = self.0.live.contains_key(&id);
        let pushed = match self.0.live.get(&id) {
            Some(live) => live.push(envelope),
            None => Err((envelope, PushRefused::Ended)),
        };
        match pushed {
            Ok(()) => {}
            Err((envelope, PushRefused::Full)) => envelope.refuse(NotDelivered::Busy),
            // The incarnation has just failed; the owner removes it before it activates the next one.
            Err((envelope, PushRefused::Ended)) if has_not_left => self.wait_for_next(id, envelope, state),
            Err((envelope, PushRefused::Ended)) => self.activate(myself, id, vec![envelope], state).await,
        }
    }

    /// Keeps a command for the next incarnation: at most as many as fit into a mailbox, so that one busy entity cannot
    /// hold all permits of the shop while it is being passivated.
    fn wait_for_next(&self, id: E::Id, envelope: Envelope<E>, state: &mut OwnerState<E>) {
        let waiting = state.leaving.entry(id).or_default();
        if waiting.len() >= usize::try_from(self.0.limits.mailbox_max).unwrap_or(usize::MAX) {
            return envelope.refuse(NotDelivered::Busy);
        }
        waiting.push(envelope);
    }

    async fn activate(
        &self,
        myself: &ActorRef<OwnerMessage<E>>,
        id: E::Id,
        waiting: Vec<Envelope<E>>,
        state: &mut OwnerState<E>,
    ) {
        let now = self.0.clock.now();
        // A clock that was set back must not prolong the back-off.
        if state.failures.get(&id).is_some_and(|failure| (failure.at..failure.until).contains(&now)) {
            waiting.into_iter().for_each(|envelope| envelope.refuse(NotDelivered::Busy));
            return;
        }
        if self.0.live.len() >= self.0.limits.live_max {
            self.passivate_longest_unused(state);
        }
        let cell = self.0.views.cell(id.clone());
        let mailbox = Arc::new(Mailbox::new(self.0.limits.mailbox_max));
        let arguments = Arguments {
            id: id.clone(),
            cell: Arc::clone(&cell),
            mailbox: Arc::clone(&mailbox),
            journal: self.0.journal.clone(),
            clock: self.0.clock.clone(),
            slowest: Arc::clone(&self.0.slowest),
        };
        let spawned = Actor::spawn_linked(None, EntityActor::<E>(PhantomData), arguments, myself.get_cell()).await;
        let Ok((actor, _)) = spawned else {
            waiting.into_iter().for_each(|envelope| envelope.refuse(NotDelivered::Busy));
            return;
        };
        state.incarnations.insert(actor.get_id(), (id.clone(), Arc::clone(&mailbox)));
        let used_at_sweep = AtomicU64::new(self.0.sweeps.load(Ordering::Relaxed));
        // Into the map before it gets a command: readers must find in its cell what it acknowledges.
        let live = self.0.live.entry(id).insert(Live { actor, cell, mailbox, used_at_sweep });
        for envelope in waiting {
            if let Err((envelope, _)) = live.push(envelope) {
                envelope.refuse(NotDelivered::Busy);
            }
        }
    }

    fn passivate(&self, id: &E::Id, state: &mut OwnerState<E>) {
        // The cell retires before it leaves the map. From then on readers load its views through the cache, including
        // those that become durable later.
        let Some(actor) = self.0.live.get(id).map(|live| {
            live.cell.retire();
            live.actor.clone()
        }) else {
            return;
        };
        self.0.live.remove(id);
        state.leaving.entry(id.clone()).or_default();
        let _ = actor.drain();
    }

    async fn bury(&self, myself: &ActorRef<OwnerMessage<E>>, who: &ActorCell, state: &mut OwnerState<E>) {
        let Some((id, mailbox)) = state.incarnations.remove(&who.get_id()) else { return };
        // As in `passivate`, the cell retires before it leaves the map; it does so under the lock.
        self.0.live.remove_if(&id, |_, live| {
            let dead = live.actor.get_id() == who.get_id();
            if dead {
                live.cell.retire();
            }
            dead
        });
        // First the commands that it had not taken, then those that arrived since it left the map.
        let mut waiting = mailbox.close();
        waiting.extend(state.leaving.remove(&id).into_iter().flatten());
        if matches!(state.phase, Phase::Closing(_)) {
            waiting.into_iter().for_each(|envelope| envelope.refuse(NotDelivered::Closed));
        } else if !waiting.is_empty() {
            self.activate(myself, id, waiting, state).await;
        }
        Self::finish_closing(state);
    }

    fn remember_failure(&self, id: E::Id, state: &mut OwnerState<E>) {
        let now = self.0.clock.now();
        if state.failures.len() >= FAILURES_MAX {
            state.failures.clear();
        }
        let failure = state.failures.entry(id).or_insert(Failure { backoff: Backoff::default(), at: now, until: now });
        if now.ms_since(failure.at) > HEALTHY_AFTER_MS {
            failure.backoff.reset();
        }
        let limits = &self.0.limits;
        let pause_ms = failure.backoff.after_failure(limits.back_off_ms_min, limits.back_off_ms_max);
        failure.at = now;
        failure.until = now.plus_ms(pause_ms);
    }

    fn sweep(&self, state: &mut OwnerState<E>) {
        let sweep = self.0.sweeps.fetch_add(1, Ordering::Relaxed) + 1;
        if sweep.is_multiple_of(SWEEPS_OF_PERIOD) {
            self.0.slowest.begin_period();
        }
        let idle_sweeps = self.0.limits.idle_ms_max.div_ceil(SWEEP_MS);
        let oldest = sweep.saturating_sub(idle_sweeps);
        self.passivate_unused(state, |used_at_sweep| used_at_sweep < oldest, usize::MAX);
    }

    /// Passivates a quarter of all entities at once, so that a burst of activations does not search the map for each of
    /// them.
    fn passivate_longest_unused(&self, state: &mut OwnerState<E>) {
        let mut sweeps: Vec<u64> = self.0.live.iter().map(|live| live.used_at_sweep.load(Ordering::Relaxed)).collect();
        if sweeps.is_empty() {
            return;
        }
        let quarter = (sweeps.len() / 4).max(1);
        let (_, youngest, _) = sweeps.select_nth_unstable(quarter - 1);
        let youngest = *youngest;
        self.passivate_unused(state, |used_at_sweep| used_at_sweep <= youngest, quarter);
    }

    fn passivate_unused(&self, state: &mut OwnerState<E>, unused: impl Fn(u64) -> bool, most: usize) {
        let idle =
            self.0.live.iter().filter(|live| {
                live.mailbox.permits_in_use() == 0 && unused(live.used_at_sweep.load(Ordering::Relaxed))
            });
        let ids: Vec<_> = idle.take(most).map(|live| live.key().clone()).collect();
        ids.iter().for_each(|id| self.passivate(id, state));
    }

    fn finish_closing(state: &mut OwnerState<E>) {
        if state.incarnations.is_empty()
            && let Phase::Closing(waiting) = &mut state.phase
            && let Some(done) = waiting.take()
        {
            let _ = done.send(());
        }
    }
}
