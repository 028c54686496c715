//! Durable views: what readers see without activating an entity.
//!
//! The journal's writer publishes a view when the event behind it is durable, before the reply leaves. A live entity
//! publishes into its [`Cell`]; the view of an entity at rest is read from storage once and cached, bounded in bytes.
//!
//! No reader may get a view that is older than one that was acknowledged before. Four rules ensure it:
//!
//! 1. A reader looks into the live cell first.
//! 2. A cell retires before it leaves the map, so there is always one place that has the newest view.
//! 3. One reader loads while the others wait for it. It holds a placeholder in the cache; a cell that retires or
//!    publishes late removes the placeholder, so a view that was loaded earlier is not cached later.
//! 4. A reader also publishes what it loaded to the live cell before it is cached, because a load can see a record a
//!    moment before the writer publishes it.
//!
//! So a cached view is never newer than a live cell.
//!
//! May depend on `storage` and `domain`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
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

/// The latest durable view of a live entity.
pub struct Cell<E: Entity> {
    id: E::Id,
    views: Arc<Views<E>>,
    state: Mutex<CellState<E::View>>,
}

impl<E: Entity> Cell<E> {
    /// The entity that it belongs to.
    pub(super) fn id(&self) -> &E::Id {
        &self.id
    }
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
    closed: AtomicBool,
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

/// The shop has closed: a subscription gets no more changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shop has closed")]
pub struct SubscriptionEnded;

/// A subscription to the changes of one entity.
pub struct Subscription<E: Entity> {
    id: E::Id,
    views: Arc<Views<E>>,
    /// `None` only while it is dropped.
    changes: Option<watch::Receiver<u64>>,
}

impl<E: Entity> Subscription<E> {
    /// Waits for the next change.
    ///
    /// # Errors
    /// [`SubscriptionEnded`] when the shop has closed.
    pub async fn changed(&mut self) -> Result<(), SubscriptionEnded> {
        let changes = self.changes.as_mut().ok_or(SubscriptionEnded)?;
        // The sender lives in the map as long as there is a subscription, or until the shop closes.
        changes.changed().await.map_err(|_| SubscriptionEnded)
    }
}

impl<E: Entity> Drop for Subscription<E> {
    fn drop(&mut self) {
        // The receiver is dropped under the lock of the map: of two that are dropped at once, one sees that it is the
        // last.
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
            // The cached view, or one that is being loaded, may be older than this one. The next reader loads it.
            self.views.cold.remove(&self.id);
        }
        state.newest = Some(Versioned { sequence, view });
        drop(state);
        self.views.notify(&self.id, sequence);
    }

    /// Publishes what a reader has loaded, unless the entity is still being activated: the previous incarnation may
    /// have events that are not yet acknowledged, and this view may lack them.
    pub fn raise(&self, loaded: &Versioned<E::View>) {
        let older = self.state.lock().newest.as_ref().is_some_and(|newest| newest.sequence < loaded.sequence);
        if older {
            self.publish(loaded.sequence, loaded.view.clone());
        }
    }

    /// The newest durable view; `None` while the entity is being activated.
    pub fn newest(&self) -> Option<Versioned<E::View>> {
        self.state.lock().newest.clone()
    }

    /// The entity ends: its view goes to the cache, and a view that becomes durable later removes it from there. To be
    /// called before the cell leaves the map, so that a reader always finds one of the two.
    pub fn retire(&self) {
        let mut state = self.state.lock();
        state.retired = Retired::Yes;
        // If the view is too large for the cache, neither an older one nor a reader's placeholder may remain there.
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
        Arc::new(Self { journal, cold, subscribers, subscribed: AtomicUsize::new(0), closed: AtomicBool::new(false) })
    }

    /// The name of an entity's stream in storage.
    pub fn stream(id: &E::Id) -> Stream {
        Stream::new(E::KIND as u8, &id.to_key())
    }

    /// A cell for an entity that is being activated.
    pub fn cell(self: &Arc<Self>, id: E::Id) -> Arc<Cell<E>> {
        let state = Mutex::new(CellState { newest: None, retired: Retired::No });
        Arc::new(Cell { id, views: Arc::clone(self), state })
    }

    /// The durable view of an entity at rest. A loaded view is passed to `raise` before others can read it.
    ///
    /// # Errors
    /// What loading reports.
    pub async fn at_rest(
        &self,
        id: &E::Id,
        raise: impl FnOnce(&Versioned<E::View>),
    ) -> Result<Versioned<E::View>, LoadError> {
        // One reader loads, the others wait for it. If each loaded for itself, one could see a record that the first
        // did not, and the view that the first then caches would be older than one that was read.
        let placeholder = match self.cold.get_value_or_guard_async(id).await {
            Ok(cached) => return Ok(cached),
            Err(placeholder) => placeholder,
        };
        let loaded = self.journal.read(&Self::stream(id)).await?;
        let sequence = loaded.sequence();
        // An entity whose events cannot be applied is a bug, but must not end its readers.
        let replayed =
            catch_unwind(AssertUnwindSafe(|| records::replay::<E>(&loaded).map(|replayed| replayed.entity.view())));
        let view = match replayed {
            Ok(view) => view.map_err(|error| LoadError::Damaged(error.to_string()))?,
            Err(_) => return Err(LoadError::Damaged(format!("the events of {id} cannot be applied"))),
        };
        let versioned = Versioned { sequence, view };
        raise(&versioned);
        // The absence of an entity is cached, too: every product page reads its reviews, and most products have none.
        // Callers can read any id, but the cache is bounded, and entries that are read once do not displace those that
        // are read often. If the placeholder is gone, the entity has been activated since, and its cell has cached what
        // it had published by then.
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
        // Either this sees that the shop has closed, or `close` sees the new entry.
        if self.closed.load(Ordering::SeqCst) {
            self.end_subscriptions();
        }
        Subscription { id: id.clone(), views: Arc::clone(self), changes: Some(changes) }
    }

    /// Ends all subscriptions, including those to come.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.end_subscriptions();
    }

    fn end_subscriptions(&self) {
        self.subscribers.retain(|_, _| {
            self.subscribed.fetch_sub(1, Ordering::Relaxed);
            false
        });
    }

    /// The sequence number of the cached view.
    #[cfg(test)]
    pub(super) fn cached(&self, id: &E::Id) -> Option<u64> {
        self.cold.peek(id).map(|cached| cached.sequence)
    }

    #[cfg(test)]
    pub(super) fn subscribed_count(&self) -> usize {
        assert_eq!(self.subscribers.len(), self.subscribed.load(Ordering::Relaxed), "the count matches the map");
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
