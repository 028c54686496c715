//! What a caller gets back from an entity: accepted, rejected, not executed, or unknown.
//!
//! May depend on `storage` and `domain`.

use crate::{domain::entity::Entity, storage::Refused};

/// A command that was accepted.
#[derive(Debug, Clone)]
pub struct Accepted<V> {
    /// The view after it. Durable, unless the caller asked for a reply at admission.
    pub view: V,
    /// Whether it changed the entity.
    pub changed: Changed,
}

/// Whether a command changed its entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It added an event.
    Yes,
    /// The entity was in the wanted state already.
    No,
    /// The entity has executed the request before, by its key.
    Repeat,
}

/// Why a command was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(unnameable_types, reason = "it only becomes a public error")]
pub enum AskError<R> {
    /// The entity understood and refused it; nothing changed.
    #[error(transparent)]
    Rejected(R),
    /// The key of the request was used with another one; nothing changed.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// Certainly not executed: try again later.
    #[error("not executed: {0}")]
    NotDelivered(NotDelivered),
    /// Perhaps executed: repeat it with the same identity.
    #[error("the outcome is unknown")]
    Unknown,
}

/// Why a command was certainly not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotDelivered {
    /// The entity's mailbox is full, or the entity is recovering from a failure.
    #[error("too much to do")]
    Busy,
    /// The disk is nearly full; reads go on.
    #[error("the storage is read-only, its disk is nearly full")]
    ReadOnly,
    /// The shop is closing or closed, or its storage has failed.
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

/// The reply to one command.
pub type Answer<E> = Result<Accepted<<E as Entity>::View>, AskError<<E as Entity>::Rejection>>;
