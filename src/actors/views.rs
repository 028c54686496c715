//! Durable views: what readers see without waking anybody.
//!
//! The journal's writer publishes a view when the event behind it is durable, before the reply leaves. A live entity publishes
//! into its [`Cell`]; the view of an entity at rest is read from storage once and cached, bounded in bytes.
//!
//! Nobody may read a view that is older than one that was acknowledged before. Four rules see to it: who reads asks the live
//! cell first; a cell retires before it leaves the map, so there is always one place that has the newest view; one reader loads
//! while the others wait for it, and holds a placeholder in the cache, which a cell that retires or publishes late takes away, so
//! that what was loaded before is not cached after; and what a reader loads goes to the live cell, too, before it is cached, because a
//! load can see a record a moment before the writer publishes it. So what is cached is never newer than a live cell, and who finds it
//! there need not look further.
//!
//! May depend on `storage` and `domain`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use quick_cache::{Weighter, sync::Cache};
use tokio::sync::watch;

use super::records;
use crate::{
    domain::entity::{Entity, EntityId},
    storage::{Journal, LoadError, Stream},
};

/// About how many bytes an entry of the cache takes beside its view.
const ENTRY_BYTES: usize = 160;

/// A view with the sequence number of the last event in it.
#[derive(Clone)]
pub struct Versioned<V> {
    /// 0 where the entity has never had an event.
    pub sequence: u64,
    /// The view.
    pub view: V,
}

/// Where a live entity publishes.
pub struct Cell<E: Entity> {
    id: E::Id,
    views: Arc<Views<E>>,
    state: Mutex<CellState<E::View>>,
}

struct CellState<V> {
    newest: Option<Versioned<V>>,
    retired: Retired,
}

#[derive(PartialEq, Eq)]
enum Retired {
    No,
    Yes,
}

/// The views of all entities of one kind.
pub struct Views<E: Entity> {
    journal: Journal,
    cold: Cache<E::Id, Versioned<E::View>, Bytes<E>, RandomState>,
    subscribers: DashMap<E::Id, watch::Sender<u64>, RandomState>,
    subscribed: AtomicUsize,
}

/// Weighs the views of the cache.
pub struct Bytes<E>(std::marker::PhantomData<fn() -> E>);

impl<E> Clone for Bytes<E> {
    fn clone(&self) -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<E: Entity> Weighter<E::Id, Versioned<E::View>> for Bytes<E> {
    fn weight(&self, _: &E::Id, versioned: &Versioned<E::View>) -> u64 {
        (ENTRY_BYTES + E::view_bytes(&versioned.view)) as u64
    }
}

/// Notices of changes of one entity, until it is dropped.
pub struct Subscription<E: Entity> {
    id: E::Id,
    views: Arc<Views<E>>,
    /// `None` only while it is dropped.
    changes: Option<watch::Receiver<u64>>,
}

impl<E: Entity> Subscription<E> {
    /// Waits for the next change.
    pub async fn changed(&mut self) {
        // The sender lives in the map as long as there is a subscription, so this cannot fail.
        if let Some(changes) = &mut self.changes {
            let _ = changes.changed().await;
        }
    }
}

impl<E: Entity> Drop for Subscription<E> {
    fn drop(&mut self) {
        // The receiver goes under the lock of the map: of two that are dropped at once, one sees that it is the last.
        let changes = self.changes.take();
        let last = self.views.subscribers.remove_if(&self.id, |_, sender| {
            drop(changes);
            sender.receiver_count() == 0
        });
        if last.is_some() {
            self.views.subscribed.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<E: Entity> Cell<E> {
    /// Publishes a durable view, unless a newer one is there.
    pub fn publish(&self, sequence: u64, view: E::View) {
        let mut state = self.state.lock();
        if state.newest.as_ref().is_some_and(|newest| newest.sequence >= sequence) {
            return;
        }
        if state.retired == Retired::Yes {
            // What is cached, or is being loaded to be cached, may be older than this. The next reader loads it.
            self.views.cold.remove(&self.id);
        }
        state.newest = Some(Versioned { sequence, view });
        drop(state);
        self.views.notify(&self.id, sequence);
    }

    /// Publishes what a reader has loaded. Not into the cell of an entity that is still being loaded: what the incarnation
    /// before it has yet to acknowledge would then be missed.
    pub fn raise(&self, loaded: &Versioned<E::View>) {
        let older = self.state.lock().newest.as_ref().is_some_and(|newest| newest.sequence < loaded.sequence);
        if older {
            self.publish(loaded.sequence, loaded.view.clone());
        }
    }

    /// The newest durable view; `None` while the entity is still being loaded.
    pub fn newest(&self) -> Option<Versioned<E::View>> {
        self.state.lock().newest.clone()
    }

    /// The entity ends: what it published goes to the cache, and what is still to become durable clears the cache. To be
    /// called before the cell leaves the map, so that no reader finds neither.
    pub fn retire(&self) {
        let mut state = self.state.lock();
        state.retired = Retired::Yes;
        // A view that is too large for the cache must not leave an older one there, nor the placeholder of a reader.
        self.views.cold.remove(&self.id);
        if let Some(newest) = &state.newest {
            self.views.cold.insert(self.id.clone(), newest.clone());
        }
    }
}

impl<E: Entity> Views<E> {
    /// Views over a journal, with a cache of `bytes_max` for entities at rest.
    #[must_use]
    pub fn new(journal: Journal, bytes_max: usize) -> Arc<Self> {
        let items = (bytes_max / 512).max(64);
        let cold = Cache::with(
            items,
            bytes_max as u64,
            Bytes(std::marker::PhantomData),
            RandomState::default(),
            quick_cache::sync::DefaultLifecycle::default(),
        );
        let subscribers = DashMap::with_hasher(RandomState::default());
        Arc::new(Self { journal, cold, subscribers, subscribed: AtomicUsize::new(0) })
    }

    /// The stored name of an entity.
    pub fn stream(id: &E::Id) -> Stream {
        Stream::new(E::KIND as u8, &id.to_key())
    }

    /// The cell of an entity that comes alive.
    pub fn cell(self: &Arc<Self>, id: E::Id) -> Arc<Cell<E>> {
        let state = Mutex::new(CellState { newest: None, retired: Retired::No });
        Arc::new(Cell { id, views: Arc::clone(self), state })
    }

    /// The durable view of an entity at rest. What was loaded goes to `raise` before anybody else can read it.
    ///
    /// # Errors
    /// What loading reports.
    pub async fn at_rest(
        &self,
        id: &E::Id,
        raise: impl FnOnce(&Versioned<E::View>),
    ) -> Result<Versioned<E::View>, LoadError> {
        // One reader loads, the others wait for it. If each loaded for itself, one of them could see a record that the first did
        // not, and what the first then caches would be older than what was read.
        let placeholder = match self.cold.get_value_or_guard_async(id).await {
            Ok(cached) => return Ok(cached),
            Err(placeholder) => placeholder,
        };
        let loaded = self.journal.read(&Self::stream(id)).await?;
        let sequence = loaded.sequence();
        // An entity whose events cannot be applied any more is a bug, and must not take its readers along.
        let replayed =
            catch_unwind(AssertUnwindSafe(|| records::replay::<E>(&loaded).map(|replayed| replayed.entity.view())));
        let view = match replayed {
            Ok(view) => view.map_err(|error| LoadError::Damaged(error.to_string()))?,
            Err(_) => return Err(LoadError::Damaged(format!("the events of {id} cannot be applied"))),
        };
        let versioned = Versioned { sequence, view };
        raise(&versioned);
        // Also that it never existed: every product's page asks for its reviews, and most have none. Anybody can ask for any id,
        // but the cache is bounded, and what is asked for once does not displace what is asked for often.
        // Where the placeholder is gone, the entity has come alive since, and left in the cache what it had published by then.
        let outdated = |cached: Versioned<E::View>| cached.sequence < sequence;
        if placeholder.insert(versioned.clone()).is_err() && self.cold.peek(id).is_some_and(outdated) {
            self.cold.remove(id);
        }
        Ok(versioned)
    }

    /// Subscribes to the changes of one entity.
    pub fn subscribe(self: &Arc<Self>, id: &E::Id) -> Subscription<E> {
        let entry = self.subscribers.entry(id.clone());
        let changes = entry
            .or_insert_with(|| {
                self.subscribed.fetch_add(1, Ordering::Relaxed);
                watch::Sender::new(0)
            })
            .subscribe();
        Subscription { id: id.clone(), views: Arc::clone(self), changes: Some(changes) }
    }

    /// The sequence number of what others would find in the cache.
    #[cfg(test)]
    pub(super) fn cached(&self, id: &E::Id) -> Option<u64> {
        self.cold.peek(id).map(|cached| cached.sequence)
    }

    #[cfg(test)]
    pub(super) fn subscribed_count(&self) -> usize {
        assert_eq!(self.subscribers.len(), self.subscribed.load(Ordering::Relaxed), "what is counted is there");
        self.subscribers.len()
    }

    fn notify(&self, id: &E::Id, sequence: u64) {
        if self.subscribed.load(Ordering::Relaxed) == 0 || thread::panicking() {
            return;
        }
        if let Some(sender) = self.subscribers.get(id) {
            sender.send_replace(sequence);
        }
    }
}
