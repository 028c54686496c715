//! The content of a row of a catalogue file: a product with its variants, or a change to a product.
//!
//! Depends on `domain`.

use serde::{Deserialize, Serialize};

use crate::domain::{ids::ProductId, money::Money, product::Details};

/// The content of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// A product, followed by its variants.
    Product(Vec<Entry>),
    /// A new price or stock.
    Change(Change),
}

impl Row {
    /// The product and its variants; empty for a change.
    #[must_use]
    pub fn into_entries(self) -> Vec<Entry> {
        match self {
            Self::Product(entries) => entries,
            Self::Change(_) => Vec::new(),
        }
    }
}

/// A product, and its stock if the file states one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Entry {
    pub id: ProductId,
    /// The details, within the limits of [`Details::validate`].
    pub details: Details,
    /// The pieces on hand, if the file states them.
    pub stock: Option<u64>,
}

/// A change to a product or a variant that is in the shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Change {
    pub id: ProductId,
    /// The new price, if the file states one.
    pub price: Option<Money>,
    /// The counted stock, if the file states one.
    pub stock: Option<u64>,
}
