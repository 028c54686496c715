//! What waits for one entity. A mailbox of its own beside ractor's: whoever finds it empty wakes the actor with one message, and
//! the actor takes all that has come since; so a hot entity pays for a message, a place in the journal's queue and a callback
//! once a round, not once a command.
//!
//! Bounded: who waits holds a place until its reply leaves. May depend on `domain`.

use parking_lot::Mutex;

use super::entity_actor::Ask;
use crate::domain::entity::Entity;

/// The inbox of one incarnation of an entity.
pub(super) struct Inbox<E: Entity> {
    places_max: u32,
    state: Mutex<State<E>>,
}

struct State<E: Entity> {
    asks: Vec<Ask<E>>,
    /// Places taken: by asks in here, and by those that the actor has taken and not yet answered.
    waiting: u32,
    /// Has the actor been woken, and not yet looked?
    woken: bool,
    closed: bool,
}

/// What became of an ask.
pub(super) enum Pushed<E: Entity> {
    /// It is in, and the actor knows or is to be woken.
    In(Wake),
    /// There is no place.
    Full(Ask<E>),
    /// The incarnation has ended.
    Closed(Ask<E>),
}

/// Whether the actor is to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// It is.
    Yes,
    /// It was already.
    No,
}

impl<E: Entity> Inbox<E> {
    pub(super) fn new(places_max: u32) -> Self {
        let state = State { asks: Vec::new(), waiting: 0, woken: false, closed: false };
        Self { places_max, state: Mutex::new(state) }
    }

    pub(super) fn push(&self, ask: Ask<E>) -> Pushed<E> {
        let mut state = self.state.lock();
        if state.closed {
            return Pushed::Closed(ask);
        }
        if state.waiting >= self.places_max {
            return Pushed::Full(ask);
        }
        state.waiting += 1;
        state.asks.push(ask);
        Pushed::In(if std::mem::replace(&mut state.woken, true) { Wake::No } else { Wake::Yes })
    }

    /// Moves the oldest asks, at most so many, into an empty vector. Whether there are more; if not, the next one wakes.
    pub(super) fn take(&self, asks: &mut Vec<Ask<E>>, most: usize) -> More {
        let mut state = self.state.lock();
        if state.asks.len() <= most {
            std::mem::swap(&mut state.asks, asks);
            state.woken = false;
            return More::No;
        }
        asks.extend(state.asks.drain(..most));
        More::Yes
    }

    /// Gives places back: so many replies have left.
    pub(super) fn answered(&self, places: u32) {
        self.state.lock().waiting -= places;
    }

    pub(super) fn waiting(&self) -> u32 {
        self.state.lock().waiting
    }

    /// The incarnation has ended: what it has not looked at is surely not executed.
    pub(super) fn close(&self) -> Vec<Ask<E>> {
        let mut state = self.state.lock();
        state.closed = true;
        std::mem::take(&mut state.asks)
    }
}

/// Whether there is more in an inbox than was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// There is.
    Yes,
    /// Not now.
    No,
}
