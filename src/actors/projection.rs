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
pub struct ProjectionFault {
    /// Which projection.
    pub projection: &'static str,
    /// What went wrong.
    pub problem: String,
}

/// A read model built from the log. All calls come from one blocking thread at a time.
///
/// Its position never says more than its content has: it moves with the content or after it. So a record may be applied twice (after a
/// crash the log is read again from the last committed position), also on content that has part of what came after it, and applying
/// must be idempotent.
pub trait Projection: Send + 'static {
    /// A short constant name for logs and metrics.
    fn name(&self) -> &'static str;

    /// Up to where the log is part of the committed content.
    fn position(&self) -> Position;

    /// The entities that it is about.
    fn kinds(&self) -> &'static [Kind];

    /// Forgets its content, before it is seeded from the entities themselves because the log does not reach back to its
    /// position. Readers may be shown the old content until the next commit.
    ///
    /// # Errors
    /// A fault of the read model's own storage.
    fn clear(&mut self) -> Result<(), ProjectionFault>;

    /// Takes in what one entity has become, as [`Projection::apply`] would have with all its records.
    ///
    /// # Errors
    /// A fault of the read model's own storage.
    fn seed(&mut self, stream: &Stream, loaded: &Loaded) -> Result<(), ProjectionFault>;

    /// Takes durable records in, in log order; they need not be visible before `commit`.
    ///
    /// # Errors
    /// A fault of the read model's own storage.
    fn apply(&mut self, records: &[Record]) -> Result<(), ProjectionFault>;

    /// Whether so much was applied that it should be committed now, before its time.
    fn is_due(&self) -> bool {
        false
    }

    /// Makes what was applied visible and durable together with `position`.
    ///
    /// # Errors
    /// A fault of the read model's own storage.
    fn commit(&mut self, position: Position) -> Result<(), ProjectionFault>;
}
