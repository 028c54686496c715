//! Figures of the shop, for whoever watches it, and the keys for whoever verifies its tokens.
//!
//! Depends on the rooms below.

use super::Shop;
pub use crate::storage::Figures as StorageFigures;

/// Counters and gauges of a running shop.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Figures {
    /// Those of the storage.
    pub storage: StorageFigures,
    /// The free space on the disk of the log, in bytes; `None` if the system does not tell.
    pub disk_free_bytes: Option<u64>,
    /// How many bytes of the log the lists have yet to read.
    pub lists_lag_bytes: u64,
    /// How many bytes of the log the search index has yet to read.
    pub search_lag_bytes: u64,
    /// Products in the search index.
    pub products: u64,
    /// Verified access tokens that are remembered.
    pub verified_tokens: usize,
}

impl Shop {
    /// The figures of this moment.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let [lists, search] = self.progress();
        Figures {
            storage: self.0.journal.figures(),
            disk_free_bytes: self.0.journal.free_bytes(),
            lists_lag_bytes: lists.lag_bytes(),
            search_lag_bytes: search.lag_bytes(),
            products: self.products_found(),
            verified_tokens: self.0.identity.verified_count(),
        }
    }

    /// The public keys as a JSON Web Key Set, for others that verify the shop's access tokens.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        self.0.identity.jwks()
    }
}
