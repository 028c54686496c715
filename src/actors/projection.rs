//! What a projection is: a read model that pulls durable records from the log at its own pace.
//!
//! Depends on `storage` (records and positions).

use crate::storage::{Position, Record};

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
/// Its position is kept with its content in one commit, so that content and position never disagree. A record may be applied
/// twice (after a crash the log is read again from the last committed position), so applying must be idempotent.
pub trait Projection: Send + 'static {
    /// A short constant name for logs and metrics.
    fn name(&self) -> &'static str;

    /// Up to where the log is part of the committed content.
    fn position(&self) -> Position;

    /// Takes durable records in, in log order; they need not be visible before `commit`.
    ///
    /// # Errors
    /// A fault of the read model's own storage.
    fn apply(&mut self, records: &[Record]) -> Result<(), ProjectionFault>;

    /// Makes what was applied visible and durable together with `position`.
    ///
    /// # Errors
    /// A fault of the read model's own storage.
    fn commit(&mut self, position: Position) -> Result<(), ProjectionFault>;
}
