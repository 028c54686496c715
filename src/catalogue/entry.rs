//! What a row of a catalogue file says: a product with its variants, or a change to a product.
//!
//! Depends on `domain`.

use serde::{Deserialize, Serialize};

use crate::domain::{ids::ProductId, money::Money, product::Details};

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// A product, and its variants after it.
    Product(Vec<Entry>),
    /// A new price or stock.
    Change(Change),
}

impl Row {
    /// The product and its variants; none of a change.
    #[must_use]
    pub fn into_entries(self) -> Vec<Entry> {
        match self {
            Self::Product(entries) => entries,
            Self::Change(_) => Vec::new(),
        }
    }
}

/// A product with the stock that the file gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id.
    pub id: ProductId,
    /// All that is said about it; within the limits of [`Details::validate`].
    pub details: Details,
    /// How many there are on hand, where the file says so.
    pub stock: Option<u64>,
}

/// A change to a product that is in the shop, or to a variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its id.
    pub id: ProductId,
    /// The price from now on, where the file states one.
    pub price: Option<Money>,
    /// How many were counted, where the file states it.
    pub stock: Option<u64>,
}
