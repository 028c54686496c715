//! A product as a catalogue file describes it.
//!
//! Depends on `domain`.

use crate::domain::{ids::ProductId, product::Details};

/// A product with the stock that the file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: ProductId,
    /// All that is said about it; within the limits of [`Details::validate`].
    pub details: Details,
    /// How many there are on hand, where the file says so.
    pub stock: Option<u64>,
}
