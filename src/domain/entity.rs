//! The contract of every entity: a state, the commands that it decides and the events that it applies.
//!
//! The runtime (`actors`) knows entities only through this trait. Depends on `std` and `serde`.

use std::{fmt, hash::Hash};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A moment: milliseconds since 1970-01-01T00:00:00Z. It is always a parameter: domain code never reads a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `ms` milliseconds later, or the end of time.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`; zero if `earlier` is not earlier.
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

    /// Whether this moment has come: what expires at a moment has expired in its first millisecond.
    #[must_use]
    pub fn has_come(self, now: Self) -> bool {
        self <= now
    }
}

/// The kind of an entity: the first byte of its stream's name in storage. Numbers are stored and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Title, price and pictures of what is sold ([`crate::domain::product`]).
    Product = 1,
    /// The stock of a product ([`crate::domain::inventory`]).
    Inventory = 2,
    /// What a customer intends to buy ([`crate::domain::cart`]).
    Cart = 3,
    /// A purchase, from placed to delivered ([`crate::domain::order`]).
    Order = 4,
    /// Somebody who can log in ([`crate::domain::account`]).
    Account = 5,
    /// The ratings of a product ([`crate::domain::ratings`]).
    Ratings = 6,
    /// What one customer writes about a product ([`crate::domain::review`]).
    Review = 7,
    /// The notices of one day about orders that the shop does not know ([`crate::domain::unmatched_notices`]).
    UnmatchedNotices = 8,
    /// Somebody who sells products ([`crate::domain::seller`]).
    Seller = 9,
}

/// A summary of an entity's state for projections. It is computed after each event and stored with it, so that a
/// projection need not load the state. Each kind of entity defines its own bits; a kind that needs none leaves them 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Tag(pub u8);

/// What the runtime needs of an entity's id: a map key, and the name of the stream in storage.
pub trait EntityId: Clone + Eq + Hash + fmt::Display + fmt::Debug + Send + Sync + 'static {
    /// The bytes that name the entity in storage; at most 80.
    fn to_key(&self) -> Vec<u8>;

    /// The id that these bytes encode, or `None` if they encode none.
    fn from_key(key: &[u8]) -> Option<Self>;
}

/// A thing with rules and a state. A command yields at most one event, so all that a command changes, it changes at
/// once.
///
/// `apply` cannot fail: it asserts what `decide` has checked. A failed assertion is a bug, and ends that one actor.
///
/// A snapshot is written from a clone while the entity continues. Collections that can become large are persistent
/// (`imbl`, `SharedMap`), so that a clone costs next to nothing.
pub trait Entity: Clone + Default + Serialize + DeserializeOwned + Send + 'static {
    /// The first byte of its streams' names.
    const KIND: Kind;
    /// How long a request with a key is remembered, in milliseconds, if there are not too many: 24 hours, as the API
    /// promises.
    const REQUESTS_KEPT_MS: u64 = 24 * 3_600 * 1_000;
    /// The type of its id.
    type Id: EntityId;
    /// A request to change it. Every command may arrive twice.
    type Command: fmt::Debug + Send + 'static;
    /// A change of its state.
    type Event: Serialize + DeserializeOwned + Send + 'static;
    /// Why a command was rejected.
    ///
    /// It can be sent to another process: it borrows nothing, and its text is made where it is shown.
    type Rejection: std::error::Error + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// The state as readers see it. Cheap to clone.
    type View: Clone + Send + Sync + 'static;

    /// Decides a command: an event to record, `None` where it is already so, or the reason why not.
    /// `now` may be earlier than the entity's last event, where that was recorded while the clock was ahead by more
    /// than a minute.
    ///
    /// # Errors
    /// The entity's rejection; nothing changed.
    fn decide(&self, command: &Self::Command, now: Timestamp) -> Result<Option<Self::Event>, Self::Rejection>;

    /// Applies the event to the state.
    fn apply(&mut self, event: &Self::Event);

    /// Summarises the state for projections. It is called after every event, so it must be cheap.
    fn tag(&self) -> Tag {
        Tag::default()
    }

    /// Whether the event removes data that must not stay in storage either. If so, the state after it is stored and
    /// replaces the events before it.
    fn erases(_: &Self::Event) -> bool {
        false
    }

    /// The state as readers see it.
    fn view(&self) -> Self::View;

    /// About how many bytes a view occupies; the limit of the view cache counts them.
    fn view_bytes(view: &Self::View) -> usize;
}
