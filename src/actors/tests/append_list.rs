//! The entity of these tests: a list to which clients append, each entry with its identity. It panics on demand.
//!
//! Depends on `domain::entity`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::domain::{
    entity::{Entity, Kind, Tag, Timestamp},
    ids::UserId,
};

/// How long it takes to clone a view, in iterations of a spin loop. A slow clone under the lock of a cell widens every
/// race between publishing and reading.
pub(super) static CLONE_SPINS: AtomicUsize = AtomicUsize::new(0);

/// Worlds whose brittle events can no longer be applied, as after a release with a bug, and how often that was tried.
static BROKEN_WORLDS: Mutex<BTreeMap<u64, usize>> = Mutex::new(BTreeMap::new());

/// From now on, no brittle event of this world can be replayed.
pub(super) fn break_world(world: u64) {
    BROKEN_WORLDS.lock().insert(world, 0);
}

/// Removes the bug. Returns how often it has struck.
pub(super) fn mend_world(world: u64) -> usize {
    BROKEN_WORLDS.lock().remove(&world).unwrap_or(0)
}

/// An entry: the client that appended it, and its number among that client's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Entry {
    pub client: u32,
    pub number: u32,
}

/// What goes wrong with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mishap {
    None,
    PanicInDecide,
    PanicInApply,
}

#[derive(Debug, Clone)]
pub(super) enum Command {
    /// Appends the entry, once.
    Add { entry: Entry, mishap: Mishap },
    /// Is always rejected, with the length of the list.
    Refuse,
    /// Appends an event that panics in every replay while its world is broken.
    AddBrittle { entry: Entry, world: u64 },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Event {
    Added { entry: Entry, padding: Vec<u8>, panics: bool },
    AddedBrittle { entry: Entry, world: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("refused at {length}")]
pub(super) struct Rejection {
    pub length: usize,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct AppendList {
    entries: Vec<Entry>,
}

/// All entries, in order.
#[derive(Debug)]
pub(super) struct Seen(pub Arc<Vec<Entry>>);

impl Clone for Seen {
    fn clone(&self) -> Self {
        for _ in 0..CLONE_SPINS.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        Self(Arc::clone(&self.0))
    }
}

/// Padding in events that is not in the state: it makes snapshots due often.
const PADDING_BYTES: usize = 200;

impl Entity for AppendList {
    const KIND: Kind = Kind::Account;
    type Id = UserId;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;
    type View = Seen;

    fn decide(&self, command: &Command, _: Timestamp) -> Result<Option<Event>, Rejection> {
        match *command {
            Command::Refuse => Err(Rejection { length: self.entries.len() }),
            Command::Add { entry, mishap } => {
                assert!(mishap != Mishap::PanicInDecide, "panic on purpose");
                let panics = mishap == Mishap::PanicInApply;
                let event = Event::Added { entry, padding: vec![7; PADDING_BYTES], panics };
                Ok((panics || !self.entries.contains(&entry)).then_some(event))
            }
            Command::AddBrittle { entry, world } => Ok(Some(Event::AddedBrittle { entry, world })),
        }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Added { entry, panics, .. } => {
                self.entries.push(*entry);
                assert!(!panics, "panic on purpose");
            }
            Event::AddedBrittle { entry, world } => {
                let broken = BROKEN_WORLDS.lock().get_mut(world).map(|strikes| *strikes += 1);
                assert!(broken.is_none(), "panic on purpose");
                self.entries.push(*entry);
            }
        }
    }

    /// The length of the list, as far as a byte goes.
    fn tag(&self) -> Tag {
        Tag(u8::try_from(self.entries.len()).unwrap_or(u8::MAX))
    }

    fn view(&self) -> Seen {
        Seen(Arc::new(self.entries.clone()))
    }

    fn view_bytes(view: &Seen) -> usize {
        8 * view.0.len()
    }
}
