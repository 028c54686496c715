//! What every entity of the shop is: a state, the commands it decides and the events it applies.
//!
//! The runtime (`actors`) knows entities only through this trait. Depends on `std` and `serde`.

use std::{fmt, hash::Hash};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A moment: milliseconds since 1970-01-01T00:00:00Z. It is always handed in; domain code never reads a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `ms` milliseconds later, or the end of time.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`; zero where `earlier` is not earlier.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds between two moments, whichever is the earlier. A moment that was recorded while the clock was ahead
    /// is later than now.
    #[must_use]
    pub fn ms_apart(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }
}

/// The kind of an entity: the first byte of its stream's name in storage. Numbers are stored and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// What is sold: title, price, pictures ([`crate::domain::product`]).
    Product = 1,
    /// How many of it there are ([`crate::domain::inventory`]).
    Inventory = 2,
    /// What a customer wants ([`crate::domain::cart`]).
    Cart = 3,
    /// A purchase, from placed to delivered ([`crate::domain::order`]).
    Order = 4,
    /// Who may log in ([`crate::domain::account`]).
    Account = 5,
    /// What customers think of a product ([`crate::domain::reviews`]).
    Reviews = 6,
    /// What one customer says about a product ([`crate::domain::review`]).
    Review = 7,
    /// What providers announced about unknown orders on one day ([`crate::domain::unmatched_notices`]).
    UnmatchedNotices = 8,
    /// Who sells products ([`crate::domain::seller`]).
    Seller = 9,
}

/// What projections want to know of an entity's state, computed after each event and stored with it, so that a
/// projection need not load the state. Each kind of entity gives the bits a meaning of its own; 0 where it has no use
/// for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Tag(pub u8);

/// The id of an entity, as the runtime needs it: a map key and a name in storage.
pub trait EntityId: Clone + Eq + Hash + fmt::Display + fmt::Debug + Send + Sync + 'static {
    /// The bytes that name the entity in storage; at most 80.
    fn to_key(&self) -> Vec<u8>;

    /// The id of these bytes, or `None` where they name none.
    fn from_key(key: &[u8]) -> Option<Self>;
}

/// One thing with rules. A command yields at most one event, so whatever a command changes, it changes at once.
///
/// `apply` cannot fail: it asserts what `decide` promised, and a broken promise is a bug that ends that one actor.
///
/// A snapshot is written from a clone while the entity goes on. What can become large is kept in persistent collections
/// (`imbl`, `SharedMap`), so that a clone costs next to nothing.
pub trait Entity: Clone + Default + Serialize + DeserializeOwned + Send + 'static {
    /// Its tag in stored names.
    const KIND: Kind;
    /// What names one of them.
    type Id: EntityId;
    /// What it can be asked to do. Every command may arrive twice.
    type Command: fmt::Debug + Send + 'static;
    /// What can have happened to it.
    type Event: Serialize + DeserializeOwned + Send + 'static;
    /// Why a command was refused, with the data to say so.
    ///
    /// It can be sent to another process: it owns all that it holds, and its text is made where it is shown.
    type Rejection: std::error::Error + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What readers see. Cheap to clone.
    type View: Clone + Send + Sync + 'static;

    /// Decides a command: an event to record, `None` where it is already so, or the reason why not.
    /// `now` may be earlier than the entity's last event, where that was recorded while the clock was ahead by more
    /// than a minute.
    ///
    /// # Errors
    /// The entity's rejection; nothing changed.
    fn decide(&self, command: &Self::Command, now: Timestamp) -> Result<Option<Self::Event>, Self::Rejection>;

    /// Makes the event part of the state.
    fn apply(&mut self, event: &Self::Event);

    /// What projections want to know of the state. It is asked for after every event, so it must be cheap.
    fn tag(&self) -> Tag {
        Tag::default()
    }

    /// Whether the event takes data out of the state that must not stay in storage either. If so, the state after it is
    /// stored with it and replaces the events before it.
    fn erases(_: &Self::Event) -> bool {
        false
    }

    /// What readers see of the state.
    fn view(&self) -> Self::View;

    /// About how many bytes a view occupies; the bound of the view cache counts them.
    fn view_bytes(view: &Self::View) -> usize;
}
