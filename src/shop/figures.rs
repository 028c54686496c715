//! Figures of the shop, for whoever watches it, and the keys for whoever verifies its tokens.
//!
//! Depends on the rooms below.

use std::time::Duration;

use super::{Progress, Sales, Shop};
pub use crate::storage::Figures as StorageFigures;

/// How many orders with issues are counted at most: an operator who has a thousand to decide knows enough.
pub const ISSUES_COUNTED_MAX: usize = 1_000;

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
    /// For how long they have not had everything.
    pub lists_lag: Duration,
    /// How many bytes of the log the search index has yet to read.
    pub search_lag_bytes: u64,
    /// For how long it has not had everything.
    pub search_lag: Duration,
    /// Orders about which an operator has something to decide; [`ISSUES_COUNTED_MAX`] if there are as many or more.
    pub orders_with_issues: usize,
    /// Products in the search index.
    pub products: u64,
    /// Verified access tokens that are remembered.
    pub verified_tokens: usize,
}

impl Shop {
    /// How many bytes of the log the lists and the search index have yet to read.
    #[must_use]
    pub fn lag_bytes(&self) -> [u64; 2] {
        self.progress().map(Progress::lag_bytes)
    }

    /// The figures of this moment.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let [lists, search] = self.progress();
        Figures {
            storage: self.0.journal.figures(),
            disk_free_bytes: self.0.journal.free_bytes(),
            lists_lag_bytes: lists.lag_bytes(),
            search_lag_bytes: search.lag_bytes(),
            lists_lag: lists.lag(),
            search_lag: search.lag(),
            orders_with_issues: self.0.runtime.lists.count_issues(ISSUES_COUNTED_MAX).unwrap_or_default(),
            products: self.products_found(),
            verified_tokens: self.0.identity.verified_count(),
        }
    }

    /// What is counted of the shop's business since it was opened.
    #[must_use]
    pub fn sales(&self) -> &Sales {
        self.0.runtime.checkout.sales()
    }

    /// The public keys as a JSON Web Key Set, for others that verify the shop's access tokens.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        self.0.identity.jwks()
    }
}
