//! The mailbox of one entity, beside ractor's own.
//!
//! The caller that puts the first envelope into an empty mailbox wakes the actor with one message, and the actor takes
//! everything that has arrived since. So a busy entity pays for a message, a slot in the journal's queue and a callback
//! once per round, not once per command.
//!
//! The mailbox is bounded: an envelope holds a permit until its reply has left. May depend on `domain`.

use parking_lot::Mutex;

use super::envelope::Envelope;
use crate::domain::entity::Entity;

/// The mailbox of one incarnation of an entity.
pub(super) struct Mailbox<E: Entity> {
    permits_max: u32,
    state: Mutex<State<E>>,
}

struct State<E: Entity> {
    envelopes: Vec<Envelope<E>>,
    /// Permits in use: by envelopes in the mailbox, and by those that the actor has taken and not yet answered.
    permits: u32,
    /// Whether a wake-up message is on its way to the actor.
    woken: bool,
    closed: bool,
}

/// What became of an envelope.
pub(super) enum Pushed<E: Entity> {
    /// The mailbox was empty: the caller must wake the actor.
    First,
    /// Queued; the actor has been woken already.
    Queued,
    /// All permits are in use.
    Full(Envelope<E>),
    /// The incarnation has ended.
    Closed(Envelope<E>),
}

/// Whether a mailbox holds more than was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// Envelopes are left, and the actor has to come back without being woken.
    Yes,
    /// The mailbox is empty; the next envelope wakes the actor.
    No,
}

impl<E: Entity> Mailbox<E> {
    pub(super) fn new(permits_max: u32) -> Self {
        let state = State { envelopes: Vec::new(), permits: 0, woken: false, closed: false };
        Self { permits_max, state: Mutex::new(state) }
    }

    pub(super) fn push(&self, envelope: Envelope<E>) -> Pushed<E> {
        let mut state = self.state.lock();
        if state.closed {
            return Pushed::Closed(envelope);
        }
        if state.permits >= self.permits_max {
            return Pushed::Full(envelope);
        }
        state.permits += 1;
        state.envelopes.push(envelope);
        if std::mem::replace(&mut state.woken, true) { Pushed::Queued } else { Pushed::First }
    }

    /// Moves the oldest envelopes, at most `most`, into an empty vector.
    pub(super) fn take(&self, envelopes: &mut Vec<Envelope<E>>, most: usize) -> More {
        let mut state = self.state.lock();
        if state.envelopes.len() <= most {
            std::mem::swap(&mut state.envelopes, envelopes);
            state.woken = false;
            return More::No;
        }
        envelopes.extend(state.envelopes.drain(..most));
        More::Yes
    }

    /// Returns the permits of envelopes that have been answered.
    pub(super) fn release(&self, permits: u32) {
        self.state.lock().permits -= permits;
    }

    pub(super) fn permits_in_use(&self) -> u32 {
        self.state.lock().permits
    }

    /// Closes the mailbox when its incarnation has ended, and returns the envelopes that were not taken: their commands
    /// have certainly not been executed.
    pub(super) fn close(&self) -> Vec<Envelope<E>> {
        let mut state = self.state.lock();
        state.closed = true;
        std::mem::take(&mut state.envelopes)
    }
}
