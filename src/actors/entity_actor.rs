//! One entity, alive: it decides commands one after the other, and its replies leave when what they rest on is durable.
//!
//! ```text
//!  the inbox's asks, a round at a time
//!  slot = journal.reserve_many(asks).await   the only await; a slow disk is felt here
//!  for each: nobody waits for the reply?     done
//!            decide(command, now)
//!              event                         → apply, to the round's records
//!              nothing, or a rejection       it rests on what came before it, too
//!  append all(records, then publish and reply to all)
//! ```
//!
//! The state may run ahead of the disk; replies may not. So a hot product is bounded by the CPU, not by one command per sync.
//! Only who has asked *ahead* is told when its event is admitted: nothing that is admitted later is durable before it.
//! Nothing awaits between the first `decide` of a round and its append.
//!
//! May depend on `storage` and `domain`.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{runtime::Handle, sync::oneshot, task::JoinHandle};

use super::{
    inbox::{Inbox, More},
    records::{self, EVENT_VERSION, Replayed, snapshot_version},
    views::{Cell, Views},
};
use crate::{
    clock::Clock,
    domain::entity::{Entity, Timestamp},
    planted::{Bug, planted},
    storage::{Append, AppendError, Fault, Journal, Lease, LoadError, Refused, Slot, Snapshot, Stream},
};

/// How many commands are decided before their records go to the journal. Past some tens a round saves nothing more, and the
/// first of it waits for the last.
const ROUND_ASKS_MAX: usize = 64;
/// After how many bytes of events a round ends early: far below what a batch of the journal may have.
const ROUND_BYTES_MAX: usize = 64 * 1024;
/// The smallest number of bytes of events after which a snapshot is left behind: a page of the state's storage.
const SNAPSHOT_BYTES_MIN: usize = 4 * 1024;
/// The same for one that an entity at rest leaves behind. To fold so few bytes of events again costs less than to write the
/// stream into the state a second time, for its page of the tree; most carts and orders never have more.
const LEFT_BYTES_MIN: usize = 1024;

/// A command that was accepted.
#[derive(Debug, Clone)]
pub struct Accepted<V> {
    /// The view after it, durable.
    pub view: V,
    /// Whether it changed anything.
    pub effect: Effect,
}

/// Whether a command changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It did.
    Changed,
    /// It was already so: a repeat.
    AlreadySo,
}

/// Why a command was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError<R> {
    /// Understood and refused; nothing changed.
    #[error(transparent)]
    Rejected(R),
    /// Surely not executed: try again later.
    #[error("not executed: {0}")]
    NotDelivered(NotDelivered),
    /// Perhaps executed: repeat it with the same identity.
    #[error("the outcome is unknown")]
    Unknown,
}

/// Why a command was surely not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDelivered {
    /// Too many wait for this entity, or it is just recovering.
    #[error("too much to do")]
    Busy,
    /// The disk is nearly full; reads go on.
    #[error("the storage is read-only, its disk is nearly full")]
    ReadOnly,
    /// The shop is closing, or its storage has failed.
    #[error("the storage is closed")]
    Closed,
}

impl From<Refused> for NotDelivered {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::ReadOnly => Self::ReadOnly,
            Refused::Failed | Refused::Closed => Self::Closed,
        }
    }
}

/// What an asker gets.
pub type Answer<E> = Result<Accepted<<E as Entity>::View>, AskError<<E as Entity>::Rejection>>;

/// A command on its way, with the place for its reply.
pub struct Ask<E: Entity> {
    /// What is asked; `None` to be answered when the entity is alive and what it has done is durable.
    pub command: Option<E::Command>,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answer<E>>,
    /// When the answer is wanted.
    pub when: When,
}

impl<E: Entity> Ask<E> {
    /// Answers that it was surely not executed.
    pub(super) fn refuse(self, reason: NotDelivered) {
        let _ = self.reply.send(Err(AskError::NotDelivered(reason)));
    }
}

/// When an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// When what it rests on is durable.
    Durable,
    /// When the event is admitted to the journal. A refusal comes when it is durable all the same.
    Admitted,
}

/// The only message: there is something in the inbox.
pub struct LookIntoInbox;

/// The actor of an entity.
pub struct EntityActor<E>(pub PhantomData<fn() -> E>);

/// What an entity needs to come alive.
pub struct Arguments<E: Entity> {
    /// Who it is.
    pub id: E::Id,
    /// Where it publishes.
    pub cell: Arc<Cell<E>>,
    /// Where its commands come from.
    pub(super) inbox: Arc<Inbox<E>>,
    /// Where its events go.
    pub journal: Journal,
    /// Where the time comes from.
    pub clock: Clock,
}

/// An entity alive.
pub struct State<E: Entity> {
    arguments: Arguments<E>,
    /// `None` where the journal had failed or was closed before the entity was loaded.
    alive: Option<Alive<E>>,
    /// The asks of a round, in a vector that is used again and again.
    asks: Vec<Ask<E>>,
}

struct Alive<E> {
    entity: E,
    lease: Lease,
    sequence: u64,
    bytes_since_snapshot: usize,
    /// The size of the last snapshot; [`BEING_WRITTEN`] while one is under way.
    snapshot_bytes: Arc<AtomicUsize>,
    failed: Arc<AtomicBool>,
}

/// In place of the size of a snapshot that is under way: none is due meanwhile.
const BEING_WRITTEN: usize = usize::MAX;

/// An entity as it was after one of its events, to be written while it goes on.
struct Picture<E: Entity> {
    entity: E,
    sequence: u64,
    journal: Journal,
    stream: Stream,
    bytes: Arc<AtomicUsize>,
}

impl<E: Entity> Picture<E> {
    /// Writes it here and now. To be called when its last event is durable.
    fn write(self) {
        let Self { entity, sequence, journal, stream, bytes: written } = self;
        let state = if planted(Bug::SnapshotEmpty) { E::default() } else { entity };
        let bytes = records::encode_snapshot(&state);
        written.store(bytes.len(), Ordering::Release);
        let version = snapshot_version(E::KIND);
        journal.offer_snapshot(&stream, Snapshot { sequence, version, bytes: bytes.into() });
    }

    /// Writes it where nobody waits for it: the largest have some 100 MB.
    fn write_beside(self, runtime: &Handle) -> JoinHandle<()> {
        runtime.spawn_blocking(move || self.write())
    }
}

impl<E: Entity> Actor for EntityActor<E> {
    type Msg = LookIntoInbox;
    type State = State<E>;
    type Arguments = Arguments<E>;

    async fn pre_start(
        &self,
        _: ActorRef<LookIntoInbox>,
        arguments: Arguments<E>,
    ) -> Result<State<E>, ActorProcessingErr> {
        Ok(State { arguments, alive: None, asks: Vec::new() })
    }

    /// Recovers here rather than in `pre_start`, which would block the owner. `activate` waits behind a barrier: otherwise an
    /// entity that failed would come back before its own last events are durable, and write their numbers again.
    async fn post_start(&self, _: ActorRef<LookIntoInbox>, state: &mut State<E>) -> Result<(), ActorProcessingErr> {
        let stream = Views::<E>::stream(&state.arguments.id);
        let (lease, loaded) = match state.arguments.journal.activate(&stream).await {
            Ok(activated) => activated,
            // Nobody's fault here, and nothing to start again for: who asks is told so.
            Err(LoadError::Fault(Fault::Failed | Fault::Closed)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Replayed { entity, erased_since }: Replayed<E> = records::replay(&loaded)?;
        let sequence = loaded.sequence();
        state.arguments.cell.publish(sequence, entity.view());
        let mut alive = Alive {
            entity,
            lease,
            sequence,
            bytes_since_snapshot: loaded.records.iter().map(|record| record.payload.len()).sum(),
            snapshot_bytes: Arc::new(AtomicUsize::new(loaded.snapshot.map_or(0, |snapshot| snapshot.bytes.len()))),
            failed: Arc::new(AtomicBool::new(false)),
        };
        if erased_since {
            // Whoever settles an erasure waits for this.
            alive.picture(&state.arguments).write_beside(&Handle::current()).await?;
        }
        state.alive = Some(alive);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<LookIntoInbox>,
        LookIntoInbox: LookIntoInbox,
        state: &mut State<E>,
    ) -> Result<(), ActorProcessingErr> {
        while state.round().await? == More::Yes {
            // Others get their turn between two rounds; but who is on its way out gets no message any more.
            if myself.send_message(LookIntoInbox).is_ok() {
                break;
            }
        }
        Ok(())
    }

    /// A passivated entity leaves a snapshot behind, so that its next activation need not fold many events again.
    async fn post_stop(&self, _: ActorRef<LookIntoInbox>, state: &mut State<E>) -> Result<(), ActorProcessingErr> {
        let Some(mut alive) = state.alive.take() else { return Ok(()) };
        if alive.bytes_since_snapshot >= LEFT_BYTES_MIN && state.arguments.journal.barrier().await.is_ok() {
            // After the barrier, since only then it is known that none of its events was refused.
            if !alive.failed.load(Ordering::Acquire) {
                alive.picture(&state.arguments).write_beside(&Handle::current()).await?;
            }
        }
        Ok(())
    }
}

impl<E: Entity> State<E> {
    /// Takes asks out of the inbox and decides them. Whether there are more.
    async fn round(&mut self) -> Result<More, ActorProcessingErr> {
        let Self { arguments, alive, asks } = self;
        let Arguments { inbox, journal, cell, clock, .. } = &*arguments;
        let more = inbox.take(asks, ROUND_ASKS_MAX);
        let Some(alive) = alive.as_mut() else {
            refuse(inbox, asks, NotDelivered::Closed);
            return Ok(more);
        };
        if alive.failed.load(Ordering::Acquire) {
            refuse(inbox, asks, NotDelivered::Busy);
            return Err("an append failed, so the state is ahead of what is stored".into());
        }
        let places = u32::try_from(asks.len()).unwrap_or(u32::MAX);
        let mut slot = match journal.reserve_many(places).await {
            Ok(slot) => slot,
            Err(refused) => {
                refuse(inbox, asks, refused.into());
                return Ok(more);
            }
        };
        let now = clock.now();
        let mut round = Round::new();
        for ask in asks.drain(..) {
            alive.decide(ask, now, arguments, &mut round);
            if round.bytes >= ROUND_BYTES_MAX {
                let slot = slot.split_off(round.places);
                alive.finish(std::mem::replace(&mut round, Round::new()), slot, cell, inbox)?;
            }
        }
        alive.finish(round, slot, cell, inbox)?;
        Ok(more)
    }
}

fn refuse<E: Entity>(inbox: &Inbox<E>, asks: &mut Vec<Ask<E>>, reason: NotDelivered) {
    let places = u32::try_from(asks.len()).unwrap_or(u32::MAX);
    asks.drain(..).for_each(|ask| ask.refuse(reason));
    inbox.answered(places);
}

/// What is decided together: it becomes durable together, and is answered together.
struct Round<E: Entity> {
    appends: Vec<Append>,
    bytes: usize,
    /// Asks, also those that nobody waits for any more.
    places: u32,
    replies: Vec<Reply<E>>,
    /// Those who are answered before it is durable.
    ahead: Vec<Reply<E>>,
    /// The view after the last event.
    view: Option<E::View>,
    /// The snapshot that became due.
    picture: Option<Picture<E>>,
    /// Whether it is due because of what an event erases.
    erases: bool,
}

/// An answer and where it goes.
type Reply<E> = (oneshot::Sender<Answer<E>>, Answer<E>);

impl<E: Entity> Round<E> {
    fn new() -> Self {
        Self {
            appends: Vec::new(),
            bytes: 0,
            places: 0,
            replies: Vec::new(),
            ahead: Vec::new(),
            view: None,
            picture: None,
            erases: false,
        }
    }
}

fn reply_to_all<E: Entity>(replies: Vec<Reply<E>>, unknown: bool) {
    for (reply, answer) in replies {
        // Whoever does not wait any more does not want to know.
        let _ = reply.send(if unknown { Err(AskError::Unknown) } else { answer });
    }
}

impl<E: Entity> Alive<E> {
    /// The state as it is, to be written in place of the events before it.
    fn picture(&mut self, arguments: &Arguments<E>) -> Picture<E> {
        self.bytes_since_snapshot = 0;
        self.snapshot_bytes.store(BEING_WRITTEN, Ordering::Release);
        Picture {
            entity: self.entity.clone(),
            sequence: self.sequence,
            journal: arguments.journal.clone(),
            stream: Views::<E>::stream(&arguments.id),
            bytes: Arc::clone(&self.snapshot_bytes),
        }
    }

    fn decide(&mut self, ask: Ask<E>, now: Timestamp, arguments: &Arguments<E>, round: &mut Round<E>) {
        round.places += 1;
        let Ask { command, reply, when } = ask;
        if reply.is_closed() {
            return;
        }
        let answer = match command.map_or(Ok(None), |command| self.entity.decide(&command, now)) {
            Ok(Some(event)) => {
                let append = self.record(&event);
                round.bytes += append.payload.len();
                round.appends.push(append);
                round.erases |= E::erases(&event);
                if E::erases(&event) || self.snapshot_is_due() {
                    round.picture = Some(self.picture(arguments));
                }
                let view = self.entity.view();
                round.view = Some(view.clone());
                Ok(Accepted { view, effect: Effect::Changed })
            }
            Ok(None) => Ok(Accepted { view: self.entity.view(), effect: Effect::AlreadySo }),
            Err(rejection) => Err(AskError::Rejected(rejection)),
        };
        let ahead = when == When::Admitted && answer.is_ok();
        if ahead { &mut round.ahead } else { &mut round.replies }.push((reply, answer));
    }

    /// Hands the round to the journal. A round rests on the appends before it, also where it has none of its own.
    fn finish(
        &self,
        round: Round<E>,
        slot: Slot,
        cell: &Arc<Cell<E>>,
        inbox: &Arc<Inbox<E>>,
    ) -> Result<(), ActorProcessingErr> {
        let Round { appends, places, replies, ahead, view, picture, erases, .. } = round;
        if places == 0 {
            return Ok(());
        }
        let (cell, inbox) = (Arc::clone(cell), Arc::clone(inbox));
        let (failed, sequence) = (Arc::clone(&self.failed), self.sequence);
        let picture = picture.map(|picture| (picture, Handle::current()));
        let then = move |durable: Result<(), AppendError>| {
            if durable.is_err() {
                failed.store(true, Ordering::Release);
            }
            // What has no record of its own rests on those before it, also on one that was refused.
            let unknown = durable.is_err() || (view.is_none() && failed.load(Ordering::Acquire));
            // What is durable is shown in any case: a reader may have loaded it already.
            if let Some(view) = view.filter(|_| durable.is_ok()) {
                cell.publish(sequence, view);
            }
            match picture.filter(|_| durable.is_ok()) {
                // What is erased is gone from the state's events before anybody can learn of it.
                Some((picture, _)) if erases => picture.write(),
                Some((picture, runtime)) => drop(picture.write_beside(&runtime)),
                None => {}
            }
            reply_to_all::<E>(replies, unknown);
            inbox.answered(places);
        };
        if appends.is_empty() {
            slot.after_earlier(then);
        } else if let Err(refused) = slot.append_all(&self.lease, appends, then) {
            // The replies went with the callback, so that who waits learns that the outcome is unknown.
            self.failed.store(true, Ordering::Release);
            return Err(refused.into());
        }
        reply_to_all::<E>(ahead, self.failed.load(Ordering::Acquire));
        Ok(())
    }

    /// Whether it is time for a snapshot: the events since the last one have grown larger than it, so a product with 100,000 open
    /// reservations is not rewritten for each sale.
    fn snapshot_is_due(&self) -> bool {
        self.bytes_since_snapshot > self.snapshot_bytes.load(Ordering::Acquire).max(SNAPSHOT_BYTES_MIN)
    }

    /// Applies an event and gives the record to append.
    fn record(&mut self, event: &E::Event) -> Append {
        let payload = records::encode_event::<E>(event);
        self.entity.apply(event);
        self.sequence += 1;
        self.bytes_since_snapshot += payload.len();
        Append { sequence: self.sequence, version: EVENT_VERSION, payload }
    }
}
