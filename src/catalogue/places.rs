//! Where the products of a row stand in their file, and what they are called there, so that a report names the line at
//! fault and the id that its author wrote.
//!
//! Depends on its neighbours `error` and `value`.

use crate::catalogue::{error::RowError, value::Value};

/// The line of a product and its id or SKU, as written.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) name: String,
}

/// The places of a row's products: the product, then its variants. Empty if the row has one line and legal ids.
#[derive(Debug, Default)]
pub(super) struct Places(pub(super) Vec<Place>);

impl Places {
    /// The line of a product of the row.
    pub(super) fn line(&self, at: usize, row: u64) -> u64 {
        self.0.get(at).map_or(row, |place| place.line)
    }

    /// What a product of the row is called in the file.
    pub(super) fn name(&self, at: usize, id: &str) -> String {
        self.0.get(at).map_or(id, |place| &place.name).to_owned()
    }

    /// The line and the words of an error of the row that begins in line `row`.
    pub(super) fn blame(&self, row: u64, reason: RowError) -> (u64, RowError) {
        match reason {
            RowError::Variant { at, .. } => (self.line(at + 1, row), reason),
            RowError::SameId { at, id } => (self.line(at, row), RowError::SameId { id: self.name(at, &id), at }),
            reason => (row, reason),
        }
    }
}

/// A row of our own format that was put together from several rows of a file.
#[derive(Debug)]
pub(super) struct BuiltRow {
    pub(super) value: Value,
    pub(super) places: Places,
}

/// The line of a product, and its row or why it is refused.
pub(super) type Product = (u64, Result<BuiltRow, RowError>);
