//! One entity, alive: it decides commands one after the other, and its replies leave when what they rest on is durable.
//!
//! ```text
//!  slot = journal.reserve().await            the only await; a slow disk is felt here
//!  nobody waits for the reply any more?      done
//!  decide(command, now)
//!    event      → apply, append(record, then publish and reply)
//!    nothing    → after_earlier(then reply)
//!    rejection  → after_earlier(then reply)  a refusal rests on what came before it, too
//! ```
//!
//! The state may run ahead of the disk; replies may not. So a hot product is bounded by the CPU, not by one command per sync.
//! Nothing awaits between `decide` and `append`.
//!
//! May depend on `storage` and `domain`.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::{
    directory::Place,
    records::{self, VERSION},
    views::{Cell, Views},
};
use crate::{
    clock::Clock,
    domain::entity::Entity,
    storage::{Append, AppendError, Fault, Journal, Lease, LoadError, Refused},
};

/// The smallest number of bytes of events after which a snapshot is left behind: a page of the state's storage.
const SNAPSHOT_BYTES_MIN: usize = 4 * 1024;

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
    /// What is asked.
    pub command: E::Command,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answer<E>>,
    /// The place in the entity's mailbox, given back with the reply; `None` until there is one.
    pub place: Option<Place>,
}

/// The actor of an entity.
pub struct EntityActor<E>(pub PhantomData<fn() -> E>);

/// What an entity needs to come alive.
pub struct Arguments<E: Entity> {
    /// Who it is.
    pub id: E::Id,
    /// Where it publishes.
    pub cell: Arc<Cell<E>>,
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
}

struct Alive<E> {
    entity: E,
    lease: Lease,
    sequence: u64,
    bytes_since_snapshot: usize,
    snapshot_bytes: usize,
    failed: Arc<AtomicBool>,
}

impl<E: Entity> Actor for EntityActor<E> {
    type Msg = Ask<E>;
    type State = State<E>;
    type Arguments = Arguments<E>;

    async fn pre_start(&self, _: ActorRef<Ask<E>>, arguments: Arguments<E>) -> Result<State<E>, ActorProcessingErr> {
        Ok(State { arguments, alive: None })
    }

    /// Recovers here rather than in `pre_start`, which would block the owner. `activate` waits behind a barrier: otherwise an
    /// entity that failed would come back before its own last events are durable, and write their numbers again.
    async fn post_start(&self, _: ActorRef<Ask<E>>, state: &mut State<E>) -> Result<(), ActorProcessingErr> {
        let stream = Views::<E>::stream(&state.arguments.id);
        let (lease, loaded) = match state.arguments.journal.activate(&stream).await {
            Ok(activated) => activated,
            // Nobody's fault here, and nothing to start again for: who asks is told so.
            Err(LoadError::Fault(Fault::Failed | Fault::Closed)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let entity: E = records::replay(&loaded)?;
        let sequence = loaded.sequence();
        state.arguments.cell.publish(sequence, entity.view());
        state.alive = Some(Alive {
            entity,
            lease,
            sequence,
            bytes_since_snapshot: loaded.records.iter().map(|record| record.payload.len()).sum(),
            snapshot_bytes: loaded.snapshot.map_or(0, |snapshot| snapshot.bytes.len()),
            failed: Arc::new(AtomicBool::new(false)),
        });
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Ask<E>>, ask: Ask<E>, state: &mut State<E>) -> Result<(), ActorProcessingErr> {
        let Some(alive) = state.alive.as_mut() else {
            let _ = ask.reply.send(Err(AskError::NotDelivered(NotDelivered::Closed)));
            return Ok(());
        };
        if alive.failed.load(Ordering::Acquire) {
            let _ = ask.reply.send(Err(AskError::NotDelivered(NotDelivered::Busy)));
            return Err("an append failed, so the state is ahead of what is stored".into());
        }
        let slot = match state.arguments.journal.reserve().await {
            Ok(slot) => slot,
            Err(refused) => {
                let _ = ask.reply.send(Err(AskError::NotDelivered(refused.into())));
                return Ok(());
            }
        };
        if ask.reply.is_closed() {
            return Ok(());
        }
        let Ask { command, reply, place } = ask;
        match alive.entity.decide(&command, state.arguments.clock.now()) {
            Ok(Some(event)) => {
                let append = alive.record(&event);
                let (view, sequence) = (alive.entity.view(), alive.sequence);
                let (cell, failed) = (Arc::clone(&state.arguments.cell), Arc::clone(&alive.failed));
                slot.append(&alive.lease, append, move |appended| {
                    let answer = match appended {
                        Ok(()) => {
                            cell.publish(sequence, view.clone());
                            Ok(Accepted { view, effect: Effect::Changed })
                        }
                        Err(AppendError::Conflict | AppendError::TooLarge | AppendError::Failed) => {
                            failed.store(true, Ordering::Release);
                            Err(AskError::Unknown)
                        }
                    };
                    let _ = reply.send(answer);
                    drop(place);
                });
            }
            Ok(None) => {
                let (view, failed) = (alive.entity.view(), Arc::clone(&alive.failed));
                slot.after_earlier(move |earlier| {
                    let so = |()| Accepted { view, effect: Effect::AlreadySo };
                    let _ = reply.send(rests_on(&failed, earlier).map(so).map_err(|_| AskError::Unknown));
                    drop(place);
                });
            }
            Err(rejection) => {
                let failed = Arc::clone(&alive.failed);
                slot.after_earlier(move |earlier| {
                    let refusal =
                        rests_on(&failed, earlier).map_or(AskError::Unknown, |()| AskError::Rejected(rejection));
                    let _ = reply.send(Err(refusal));
                    drop(place);
                });
            }
        }
        Ok(())
    }

    /// A passivated entity leaves a snapshot behind, so that its next activation need not fold its events again.
    async fn post_stop(&self, _: ActorRef<Ask<E>>, state: &mut State<E>) -> Result<(), ActorProcessingErr> {
        let Some(alive) = state.alive.take() else { return Ok(()) };
        if alive.bytes_since_snapshot > 0 && !alive.failed.load(Ordering::Acquire) {
            let bytes = records::encode_snapshot(&alive.entity);
            state.arguments.journal.offer_snapshot(&alive.lease, alive.sequence, VERSION, bytes);
        }
        Ok(())
    }
}

/// What was decided rests on the appends before it: also on those that were refused, whose callbacks ran before this one.
fn rests_on(failed: &AtomicBool, earlier: Result<(), AppendError>) -> Result<(), AppendError> {
    if failed.load(Ordering::Acquire) { Err(AppendError::Failed) } else { earlier }
}

impl<E: Entity> Alive<E> {
    /// Applies an event and gives the record to append. A snapshot goes along when the events since the last one have grown
    /// larger than it: so a product with 100,000 open reservations is not rewritten for each sale.
    fn record(&mut self, event: &E::Event) -> Append {
        let payload = records::encode_event::<E>(event);
        self.entity.apply(event);
        self.sequence += 1;
        self.bytes_since_snapshot += payload.len();
        let mut snapshot = None;
        if self.bytes_since_snapshot > self.snapshot_bytes.max(SNAPSHOT_BYTES_MIN) {
            let bytes = records::encode_snapshot(&self.entity);
            self.snapshot_bytes = bytes.len();
            self.bytes_since_snapshot = 0;
            snapshot = Some((VERSION, bytes));
        }
        Append { sequence: self.sequence, version: VERSION, payload, snapshot }
    }
}
