//! How the capabilities read pages of lists.
//!
//! Depends on the rooms below.

use std::time::Duration;

use super::{Error, Shop};
use crate::actors::lists::{Listed, Lists, PageError};

/// The largest page of a list, in items: each item is read separately.
pub const PAGE_ITEMS_MAX: usize = 1_000;

impl Shop {
    /// Reads a page from lists that contain what was just acknowledged, unless that takes too long. The lists check the
    /// cursor.
    pub(super) async fn list_page<T: Send + 'static>(
        &self,
        limit: usize,
        read: impl FnOnce(&Lists) -> Result<Listed<T>, PageError> + Send + 'static,
    ) -> Result<Listed<T>, Error> {
        if !(1..=PAGE_ITEMS_MAX).contains(&limit) {
            return Err(Error::InvalidLimit { limit, max: PAGE_ITEMS_MAX });
        }
        self.read_lists(read).await
    }

    /// Like [`Shop::list_page`], for pages of any size.
    pub(super) async fn read_lists<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Lists) -> Result<T, PageError> + Send + 'static,
    ) -> Result<T, Error> {
        let wait = Duration::from_millis(self.config().limits.list_wait_ms_max);
        self.0.runtime.lists_progress.catch_up(wait).await;
        let lists = self.0.runtime.lists.clone();
        let found = tokio::task::spawn_blocking(move || read(&lists)).await;
        Ok(found.map_err(Error::fault)??)
    }
}
