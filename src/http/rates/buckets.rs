//! The state of a rate limit for each of the most recent clients.
//!
//! `governor` computes the limits, but its own stores keep every client until somebody sweeps them. Here the clients
//! are a cache of a fixed size: one that has sent nothing for long is forgotten, and may then send as much as a new
//! one. The cache has shards; a known client takes a read lock of one shard and a compare-and-swap.
//!
//! Depends on `governor` and `quick_cache`.

use std::{convert::Infallible, hash::Hash, sync::Arc};

use foldhash::fast::RandomState;
use governor::{
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};
use quick_cache::{
    UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};

/// How many clients one limit remembers: about 6 MB. Who wants to be forgotten early needs as many addresses or
/// accounts.
const CLIENTS_MAX: usize = 50_000;
/// For how many clients there is room at first.
const CLIENTS_EXPECTED: usize = 1_000;

/// When each client will have its whole quota again, in the measure of `governor`. Clones are the same store.
#[derive(Debug, Clone)]
pub(super) struct Buckets<K>(Arc<Cache<K, Arc<InMemoryState>, UnitWeighter, RandomState>>);

impl<K: Clone + Eq + Hash> Default for Buckets<K> {
    fn default() -> Self {
        let (weighter, lifecycle) = (UnitWeighter, DefaultLifecycle::default());
        let cache = Cache::with(CLIENTS_EXPECTED, CLIENTS_MAX as u64, weighter, RandomState::default(), lifecycle);
        Self(Arc::new(cache))
    }
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    /// Forgets a client, which may then send as much as a new one.
    pub(super) fn forget(&self, client: &K) {
        self.0.remove(client);
    }
}

impl<K: Clone + Eq + Hash> StateStore for Buckets<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, client: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let bucket = self.0.get(client).unwrap_or_else(|| {
            let Ok(new) = self.0.get_or_insert_with(client, || Ok::<_, Infallible>(Arc::default()));
            new
        });
        bucket.measure_and_replace(&NotKeyed::NonKey, decide)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(buckets: &Buckets<u64>, client: u64) -> u64 {
        let count = |so_far: Option<Nanos>| Ok::<_, Infallible>((so_far.map_or(0, Nanos::as_u64), Nanos::new(1)));
        let Ok(earlier) = buckets.measure_and_replace(&client, count);
        earlier
    }

    #[test]
    fn many_clients_take_a_bounded_memory_and_those_who_come_again_stay() {
        let buckets = Buckets::default();
        for client in 0..4 * CLIENTS_MAX as u64 {
            requests(&buckets, 0);
            requests(&buckets, client);
        }
        assert!(buckets.0.len() <= CLIENTS_MAX, "{}", buckets.0.len());
        assert_eq!((requests(&buckets, 0), requests(&buckets, u64::MAX)), (1, 0));
        buckets.forget(&0);
        assert_eq!(requests(&buckets, 0), 0);
    }
}
