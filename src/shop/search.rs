//! Search for products, and the categories of the catalogue.
//!
//! Depends on the rooms below.

use std::sync::Arc;

use super::{CategoryCount, Error, SearchPage, SearchRequest, SearchStatus, Shop};

impl Shop {
    /// Finds a page of products. Changes of the catalogue are found after `limits.search_commit_ms_min` at the latest.
    ///
    /// Runs on the caller's thread for tens to hundreds of microseconds, and waits only for memory-mapped files.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`]; [`Error::Search`]: the request breaks a rule, or the index cannot be read.
    #[expect(clippy::unused_async, reason = "callers need not know that the index answers without waiting")]
    pub async fn search(&self, request: &SearchRequest) -> Result<SearchPage, Error> {
        Ok(self.0.search.find(request)?)
    }

    /// The categories of the first two levels with their numbers of products.
    ///
    /// # Errors
    /// [`Error::Search`]: the index cannot be read.
    #[expect(clippy::unused_async, reason = "callers need not know that the index answers without waiting")]
    pub async fn categories(&self) -> Result<Arc<[CategoryCount]>, Error> {
        Ok(self.0.search.categories()?)
    }

    /// The number of products in the index.
    #[must_use]
    pub fn products_found(&self) -> u64 {
        self.0.search.products()
    }

    /// Whether the index contains the whole catalogue, at least as it was at the start.
    #[must_use]
    pub fn search_status(&self) -> SearchStatus {
        match self.0.search.status() {
            SearchStatus::Ready if self.has_caught_up(&self.0.search_progress) => SearchStatus::Ready,
            SearchStatus::Ready | SearchStatus::Rebuilding => SearchStatus::Rebuilding,
        }
    }

    #[cfg(feature = "internals")]
    pub(crate) fn search_index(&self) -> &crate::search::Search {
        &self.0.search
    }
}
