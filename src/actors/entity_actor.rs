//! A live entity: it decides commands one after the other, and its replies leave when everything they depend on is
//! durable.
//!
//! ```text
//!  take a round of envelopes out of the mailbox
//!  slot = journal.reserve_many(envelopes).await   the only await; a slow disk is felt here
//!  for each envelope: has the caller gone?        skip it
//!                     decide(command, now)
//!                       an event                  → apply it, add it to the round's records
//!                       nothing, or a rejection   its reply depends on the events before it, too
//!                     a request that it has executed before changes nothing
//!  append all (records, then publish the view and send all replies)
//! ```
//!
//! The state may run ahead of the disk; replies may not. So a hot product is bounded by the CPU, not by one command per
//! sync. Only a caller of `ask_ahead` gets its reply when the event is admitted: no event that is admitted later
//! becomes durable before it. Nothing awaits between the first `decide` of a round and its append.
//!
//! May depend on `storage` and `domain`.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    envelope::{Envelope, ReplyWhen},
    figures::Slowest,
    mailbox::{Mailbox, More},
    pending_snapshot::{BEING_WRITTEN, PendingSnapshot},
    records::{self, EVENT_VERSION, Header, Replayed},
    reply::{Accepted, Answer, AskError, Changed, NotDelivered},
    views::{Cell, Views},
};
use crate::{
    clock::Clock,
    domain::{
        entity::{Entity, Timestamp},
        idempotency::{Executed, KeyReused},
        ids::RequestKey,
    },
    log_throttle::Throttle,
    storage::{Append, AppendError, Fault, Journal, Lease, LoadError, Slot},
};

/// How many commands are decided before their records go to the journal. Beyond some tens a larger round saves nothing,
/// and its first command waits for its last.
const ROUND_ENVELOPES_MAX: usize = 64;
/// After how many bytes of events a round ends early: far below what a batch of the journal may have.
const ROUND_BYTES_MAX: usize = 64 * 1024;
/// The fewest bytes of events after which a live entity writes a snapshot: a page of the state's storage.
const SNAPSHOT_BYTES_MIN: usize = 4 * 1024;
/// The fewest bytes of events after which a passivated entity writes a snapshot. To replay fewer costs less than to
/// write the stream into the state a second time, for its page of the tree; most carts and orders never have more.
const PASSIVATION_SNAPSHOT_BYTES_MIN: usize = 1024;
/// How far an entity may decide ahead of the clock, in milliseconds. A clock is corrected by less, and a late request
/// is late by less; a last event that is further ahead was recorded while the clock was wrong.
const AHEAD_MS_MAX: u64 = 60_000;
/// The lines that say so.
static AHEAD: Throttle = Throttle::new();

/// The only message: the mailbox is no longer empty.
pub(super) struct Wake;

/// The actor of an entity.
pub(super) struct EntityActor<E>(pub(super) PhantomData<fn() -> E>);

/// What an entity needs to come alive.
pub(super) struct Arguments<E: Entity> {
    pub(super) id: E::Id,
    pub(super) cell: Arc<Cell<E>>,
    pub(super) mailbox: Arc<Mailbox<E>>,
    pub(super) journal: Journal,
    pub(super) clock: Clock,
    pub(super) slowest: Arc<Slowest>,
}

pub(super) struct State<E: Entity> {
    arguments: Arguments<E>,
    /// `None` where the journal had failed or was closed before the entity was loaded.
    alive: Option<Alive<E>>,
    /// The envelopes of a round; the vector is reused.
    envelopes: Vec<Envelope<E>>,
}

struct Alive<E> {
    entity: E,
    /// The requests with a key that it remembers.
    executed: Executed,
    /// The time of the last event, which the header of the next one repeats where the clock has been set back.
    time: Timestamp,
    lease: Lease,
    sequence: u64,
    bytes_since_snapshot: usize,
    /// The size of the last snapshot; [`BEING_WRITTEN`] while one is under way.
    snapshot_bytes: Arc<AtomicUsize>,
    failed: Arc<AtomicBool>,
}

impl<E: Entity> Actor for EntityActor<E> {
    type Msg = Wake;
    type State = State<E>;
    type Arguments = Arguments<E>;

    async fn pre_start(&self, _: ActorRef<Wake>, arguments: Arguments<E>) -> Result<State<E>, ActorProcessingErr> {
        Ok(State { arguments, alive: None, envelopes: Vec::new() })
    }

    /// Recovers here rather than in `pre_start`, which would block the owner. `activate` waits behind a barrier:
    /// otherwise an entity that failed would come back before its own last events are durable, and write their numbers
    /// again.
    async fn post_start(&self, _: ActorRef<Wake>, state: &mut State<E>) -> Result<(), ActorProcessingErr> {
        let stream = Views::<E>::stream(&state.arguments.id);
        let (lease, loaded) = match state.arguments.journal.activate(&stream).await {
            Ok(activated) => activated,
            // A restart would not help: callers are answered `Closed`.
            Err(LoadError::Fault(Fault::Failed | Fault::Closed)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Replayed { entity, executed, time, erased_since }: Replayed<E> = records::replay(&loaded)?;
        let sequence = loaded.sequence();
        state.arguments.cell.publish(sequence, entity.view());
        let mut alive = Alive {
            entity,
            executed,
            time,
            lease,
            sequence,
            bytes_since_snapshot: loaded.records.iter().map(|record| record.payload.len()).sum(),
            snapshot_bytes: Arc::new(AtomicUsize::new(loaded.snapshot.map_or(0, |snapshot| snapshot.bytes.len()))),
            failed: Arc::new(AtomicBool::new(false)),
        };
        if erased_since {
            // `Directory::store_state` is answered after this.
            alive.snapshot(&state.arguments).write_beside(&Handle::current()).await?;
        }
        state.alive = Some(alive);
        Ok(())
    }

    async fn handle(&self, myself: ActorRef<Wake>, Wake: Wake, state: &mut State<E>) -> Result<(), ActorProcessingErr> {
        while state.round().await? == More::Yes {
            // Other entities get their turn between two rounds. An actor that is draining gets no messages, so it goes
            // on here.
            if myself.send_message(Wake).is_ok() {
                break;
            }
        }
        Ok(())
    }

    /// A passivated entity writes a snapshot, so that its next activation need not replay many events.
    async fn post_stop(&self, _: ActorRef<Wake>, state: &mut State<E>) -> Result<(), ActorProcessingErr> {
        let Some(mut alive) = state.alive.take() else { return Ok(()) };
        if alive.bytes_since_snapshot >= PASSIVATION_SNAPSHOT_BYTES_MIN
            && state.arguments.journal.barrier().await.is_ok()
        {
            // Only after the barrier is it known that none of its events was refused.
            if !alive.failed.load(Ordering::Acquire) {
                alive.snapshot(&state.arguments).write_beside(&Handle::current()).await?;
            }
        }
        Ok(())
    }
}

impl<E: Entity> State<E> {
    /// Takes envelopes out of the mailbox and decides them; returns whether the mailbox holds more.
    async fn round(&mut self) -> Result<More, ActorProcessingErr> {
        let Self { arguments, alive, envelopes } = self;
        let Arguments { mailbox, journal, clock, .. } = &*arguments;
        let began = Instant::now();
        let more = mailbox.take(envelopes, ROUND_ENVELOPES_MAX);
        let Some(alive) = alive.as_mut() else {
            refuse(mailbox, envelopes, NotDelivered::Closed);
            return Ok(more);
        };
        if alive.failed.load(Ordering::Acquire) {
            refuse(mailbox, envelopes, NotDelivered::Busy);
            return Err("an append failed, so the state is ahead of what is stored".into());
        }
        let permits = u32::try_from(envelopes.len()).unwrap_or(u32::MAX);
        let mut slot = match journal.reserve_many(permits).await {
            Ok(slot) => slot,
            Err(refused) => {
                refuse(mailbox, envelopes, refused.into());
                return Ok(more);
            }
        };
        let now = alive.now(clock.now(), &arguments.id);
        let mut round = Round::new(began);
        for envelope in envelopes.drain(..) {
            alive.decide(envelope, now, arguments, &mut round);
            if round.bytes >= ROUND_BYTES_MAX {
                let slot = slot.split_off(round.permits);
                alive.finish(std::mem::replace(&mut round, Round::new(began)), slot, arguments)?;
            }
        }
        alive.finish(round, slot, arguments)?;
        Ok(more)
    }
}

fn refuse<E: Entity>(mailbox: &Mailbox<E>, envelopes: &mut Vec<Envelope<E>>, reason: NotDelivered) {
    let permits = u32::try_from(envelopes.len()).unwrap_or(u32::MAX);
    envelopes.drain(..).for_each(|envelope| envelope.refuse(reason));
    mailbox.release(permits);
}

/// Commands that are decided together: their events become durable together, and their replies leave together.
struct Round<E: Entity> {
    /// When its commands were taken out of the mailbox.
    began: Instant,
    appends: Vec<Append>,
    bytes: usize,
    /// Permits of its envelopes, including those whose callers have gone.
    permits: u32,
    replies: Vec<Reply<E>>,
    /// Replies that leave before the round is durable.
    ahead: Vec<Reply<E>>,
    /// The view after the last event.
    view: Option<E::View>,
    /// The snapshot that became due.
    snapshot: Option<PendingSnapshot<E>>,
    /// Whether one of the events erases data, so that the snapshot must be written before any reply leaves.
    erases: bool,
}

/// An answer and where it goes.
type Reply<E> = (oneshot::Sender<Answer<E>>, Answer<E>);

impl<E: Entity> Round<E> {
    fn new(began: Instant) -> Self {
        Self {
            began,
            appends: Vec::new(),
            bytes: 0,
            permits: 0,
            replies: Vec::new(),
            ahead: Vec::new(),
            view: None,
            snapshot: None,
            erases: false,
        }
    }
}

fn reply_to_all<E: Entity>(replies: Vec<Reply<E>>, unknown: bool) {
    for (reply, answer) in replies {
        // A caller that has gone needs no reply.
        let _ = reply.send(if unknown { Err(AskError::Unknown) } else { answer });
    }
}

impl<E: Entity> Alive<E> {
    /// A snapshot of the current state, to be stored in place of the events before it.
    fn snapshot(&mut self, arguments: &Arguments<E>) -> PendingSnapshot<E> {
        self.bytes_since_snapshot = 0;
        self.snapshot_bytes.store(BEING_WRITTEN, Ordering::Release);
        PendingSnapshot {
            entity: self.entity.clone(),
            executed: self.executed.clone(),
            time: self.time,
            sequence: self.sequence,
            journal: arguments.journal.clone(),
            stream: Views::<E>::stream(&arguments.id),
            bytes: Arc::clone(&self.snapshot_bytes),
        }
    }

    /// The time to decide by. Where the clock was set back a little, time stands still for the entity. Where it was set
    /// back by more than [`AHEAD_MS_MAX`], it had been wrong, and the entity decides by the clock: the deadlines of its
    /// commands were made by that clock, and would all have passed until it catches up.
    fn now(&self, clock: Timestamp, id: &E::Id) -> Timestamp {
        let ahead_ms = self.time.ms_since(clock);
        if ahead_ms <= AHEAD_MS_MAX {
            return clock.max(self.time);
        }
        // All entities that changed meanwhile have the same to say.
        if let Some(left_out) = AHEAD.next_line() {
            let kind = E::KIND;
            tracing::warn!(?kind, %id, ahead_ms, left_out, "the last event is ahead of the clock: one of them is wrong");
        }
        clock
    }

    fn decide(&mut self, envelope: Envelope<E>, now: Timestamp, arguments: &Arguments<E>, round: &mut Round<E>) {
        round.permits += 1;
        let Envelope { command, request, reply, reply_when } = envelope;
        if reply.is_closed() {
            return;
        }
        let is_repeat = request.map_or(Ok(false), |request| self.executed.has(request));
        let answer = match (is_repeat, command) {
            (Ok(false), Some(command)) => self.execute(&command, request, now, arguments, round),
            // `Directory::has_executed` tells the two apart.
            (Ok(false), None) => Ok(Accepted { view: self.entity.view(), changed: Changed::No }),
            (Ok(true), _) => Ok(Accepted { view: self.entity.view(), changed: Changed::Repeat }),
            (Err(KeyReused), _) => Err(AskError::KeyReused),
        };
        let ahead = reply_when == ReplyWhen::Admitted && answer.is_ok();
        if ahead { &mut round.ahead } else { &mut round.replies }.push((reply, answer));
    }

    fn execute(
        &mut self,
        command: &E::Command,
        request: Option<RequestKey>,
        now: Timestamp,
        arguments: &Arguments<E>,
        round: &mut Round<E>,
    ) -> Answer<E> {
        let Some(event) = self.entity.decide(command, now).map_err(AskError::Rejected)? else {
            return Ok(Accepted { view: self.entity.view(), changed: Changed::No });
        };
        let append = self.record(&event, request, now);
        round.bytes += append.payload.len();
        round.appends.push(append);
        round.erases |= E::erases(&event);
        if E::erases(&event) || self.snapshot_is_due() {
            round.snapshot = Some(self.snapshot(arguments));
        }
        let view = self.entity.view();
        round.view = Some(view.clone());
        Ok(Accepted { view, changed: Changed::Yes })
    }

    /// Hands the round to the journal. Its replies depend on all earlier appends, even where the round has no record of
    /// its own.
    fn finish(&self, round: Round<E>, slot: Slot, arguments: &Arguments<E>) -> Result<(), ActorProcessingErr> {
        let Round { began, appends, permits, replies, ahead, view, snapshot, erases, .. } = round;
        if permits == 0 {
            return Ok(());
        }
        let (cell, mailbox) = (Arc::clone(&arguments.cell), Arc::clone(&arguments.mailbox));
        let slowest = Arc::clone(&arguments.slowest);
        let (failed, sequence) = (Arc::clone(&self.failed), self.sequence);
        let snapshot = snapshot.map(|snapshot| (snapshot, Handle::current()));
        let then = move |durable: Result<(), AppendError>| {
            if durable.is_err() {
                failed.store(true, Ordering::Release);
            }
            // A round without a record depends on earlier records, of which one may have been refused.
            let unknown = durable.is_err() || (view.is_none() && failed.load(Ordering::Acquire));
            // A durable view is published in any case: a reader may have loaded it already.
            if let Some(view) = view.filter(|_| durable.is_ok()) {
                cell.publish(sequence, view);
            }
            match snapshot.filter(|_| durable.is_ok()) {
                // Erased data is gone from the stored events before any caller learns of the erasure.
                Some((snapshot, _)) if erases => snapshot.write(),
                Some((snapshot, runtime)) => drop(snapshot.write_beside(&runtime)),
                None => {}
            }
            reply_to_all::<E>(replies, unknown);
            mailbox.release(permits);
            slowest.note(cell.id(), began.elapsed());
        };
        if appends.is_empty() {
            slot.after_earlier(then);
        } else if let Err(refused) = slot.append_all(&self.lease, appends, then) {
            // The replies were dropped with the callback, so callers get `Unknown`.
            self.failed.store(true, Ordering::Release);
            return Err(refused.into());
        }
        reply_to_all::<E>(ahead, self.failed.load(Ordering::Acquire));
        Ok(())
    }

    /// A snapshot is due when the events since the last one take more bytes than it does: so a product with 100,000
    /// open reservations is not rewritten for every sale.
    fn snapshot_is_due(&self) -> bool {
        self.bytes_since_snapshot > self.snapshot_bytes.load(Ordering::Acquire).max(SNAPSHOT_BYTES_MIN)
    }

    /// Applies an event and returns the record to append.
    fn record(&mut self, event: &E::Event, request: Option<RequestKey>, now: Timestamp) -> Append {
        self.entity.apply(event);
        self.time = self.time.max(now);
        let header = Header { time: self.time, tag: self.entity.tag(), request };
        records::remember::<E>(&mut self.executed, header, event);
        let payload = records::encode_event::<E>(header, event);
        self.sequence += 1;
        self.bytes_since_snapshot += payload.len();
        Append { sequence: self.sequence, version: EVENT_VERSION, payload }
    }
}
