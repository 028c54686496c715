//! Locks products so that rows of the same product run one after the other.
//!
//! Depends on `domain`.

use std::collections::HashSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::domain::ids::ProductId;

/// The products that rows are being imported for. Two rows of the same product run one after the other, also if they
/// are of two imports: otherwise half of each might be imported.
#[derive(Debug, Default)]
pub(crate) struct ProductLocks {
    locked: Mutex<HashSet<ProductId>>,
    released: Notify,
}

/// The locks of a row's products; dropping it releases them.
pub(super) struct ProductsGuard<'a> {
    locks: &'a ProductLocks,
    ids: Vec<ProductId>,
}

impl ProductLocks {
    /// Waits until no other row has any of these products. All are locked at once, so no two rows wait for each other.
    pub(super) async fn lock(&self, ids: Vec<ProductId>) -> ProductsGuard<'_> {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            {
                let mut locked = self.locked.lock();
                if ids.iter().all(|id| !locked.contains(id)) {
                    locked.extend(ids.iter().cloned());
                    break;
                }
            }
            released.await;
        }
        ProductsGuard { locks: self, ids }
    }
}

impl Drop for ProductsGuard<'_> {
    fn drop(&mut self) {
        let mut locked = self.locks.locked.lock();
        for id in &self.ids {
            locked.remove(id);
        }
        drop(locked);
        self.locks.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn rows_of_a_product_run_one_after_the_other() {
        let locks = ProductLocks::default();
        let ids = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<ProductId>>();
        let first = locks.lock(ids(&["a", "b"])).await;
        let other = locks.lock(ids(&["c"])).await;
        let mut second = Box::pin(locks.lock(ids(&["b", "c"])));
        assert!(second.as_mut().now_or_never().is_none());
        drop(other);
        assert!(second.as_mut().now_or_never().is_none(), "b is locked");
        drop(first);
        drop(second.now_or_never().unwrap());
        assert!(locks.locked.lock().is_empty());
    }
}
