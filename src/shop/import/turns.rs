//! Which products rows are being taken of.
//!
//! Depends on `domain`.

use std::collections::HashSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::domain::ids::ProductId;

/// The products that rows are being taken of, so that two rows of the same product follow one another, also from two
/// imports: otherwise half of each might be taken.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    taken: Mutex<HashSet<ProductId>>,
    ended: Notify,
}

/// The turn of a row; dropping it ends it.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    ids: Vec<ProductId>,
}

impl Turns {
    /// Waits until no other row has any of these products. All are taken at once, so no two rows wait for each other.
    pub(super) async fn take(&self, ids: Vec<ProductId>) -> Turn<'_> {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            {
                let mut taken = self.taken.lock();
                if ids.iter().all(|id| !taken.contains(id)) {
                    taken.extend(ids.iter().cloned());
                    break;
                }
            }
            ended.await;
        }
        Turn { turns: self, ids }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut taken = self.turns.taken.lock();
        for id in &self.ids {
            taken.remove(id);
        }
        drop(taken);
        self.turns.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn rows_of_a_product_follow_one_another() {
        let turns = Turns::default();
        let ids = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<ProductId>>();
        let first = turns.take(ids(&["a", "b"])).await;
        let other = turns.take(ids(&["c"])).await;
        let mut second = Box::pin(turns.take(ids(&["b", "c"])));
        assert!(second.as_mut().now_or_never().is_none());
        drop(other);
        assert!(second.as_mut().now_or_never().is_none(), "b is taken");
        drop(first);
        drop(second.now_or_never().unwrap());
        assert!(turns.taken.lock().is_empty());
    }
}
