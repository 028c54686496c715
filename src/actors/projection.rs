//! What a projection is: a read model that pulls durable records from the log at its own pace.
//!
//! Depends on `storage` (records and positions) and `domain` (kinds of entities).

use crate::{
    domain::entity::Kind,
    storage::{Loaded, Position, Record, Stream},
};

/// A fault that stops a projection; its supervisor starts it again from its last committed position.
#[derive(Debug, thiserror::Error)]
#[error("{projection}: {problem}")]
#[allow(missing_docs, reason = "the names say it")]
pub struct ProjectionFault {
    pub projection: &'static str,
    pub problem: String,
}

/// A read model built from the log. All calls come from one blocking thread at a time.
///
/// Its position is never ahead of its content: it moves with the content or after it. After a crash the log is read
/// again from the last committed position, so a record may be applied twice, even to content that has part of the
/// records after it: applying must be idempotent.
pub trait Projection: Send + 'static {
    /// A short constant name for logs and metrics.
    fn name(&self) -> &'static str;

    /// Up to where the log is part of the committed content.
    fn position(&self) -> Position;

    /// The kinds of entities it is made from.
    fn kinds(&self) -> &'static [Kind];

    /// Forgets its content, before it is seeded from the entities themselves because the log does not reach back to its
    /// position. Readers may be shown the old content until the next commit.
    ///
    /// # Errors
    /// A fault of the read model's own storage.
    fn clear(&mut self) -> Result<(), ProjectionFault>;

    /// Adds the current state of one entity, with the same result as [`Projection::apply`] with all its records.
    ///
    /// # Errors
    /// A fault of the read model's own storage.
    fn seed(&mut self, stream: &Stream, loaded: &Loaded) -> Result<(), ProjectionFault>;

    /// Applies durable records in log order; they need not be visible before `commit`.
    ///
    /// # Errors
    /// A fault of the read model's own storage.
    fn apply(&mut self, records: &[Record]) -> Result<(), ProjectionFault>;

    /// Whether so much was applied that it should be committed now.
    fn is_due(&self) -> bool {
        false
    }

    /// The streams with events since the last commit that erase data. Before a commit the follower takes them and has
    /// the state of each stored in place of those events.
    fn take_erased(&mut self) -> Vec<Stream> {
        Vec::new()
    }

    /// Makes what was applied visible and durable together with `position`.
    ///
    /// # Errors
    /// A fault of the read model's own storage.
    fn commit(&mut self, position: Position) -> Result<(), ProjectionFault>;
}
