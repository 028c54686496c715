//! An order's history as a stream: past events, then new ones, until the order ends.
//!
//! Depends on the rooms below.

use std::collections::VecDeque;

use futures::{
    FutureExt, StreamExt,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};

use tokio_util::sync::CancellationToken;

use super::{Error, Principal, Shop};
use crate::{
    actors::views::Subscription,
    domain::{
        ids::OrderId,
        order::{HistoryEntry, Order},
    },
};

/// The events of one order; see [`Shop::order_events`].
pub type OrderEvents = BoxStream<'static, Result<HistoryEntry, Error>>;

/// The state of a stream between two events.
struct Follower {
    shop: Shop,
    who: Principal,
    id: OrderId,
    changes: Subscription<Order>,
    last_seen: u64,
    ready: VecDeque<HistoryEntry>,
    stop: BoxFuture<'static, ()>,
    /// Cancelled when the shop closes.
    closing: CancellationToken,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
}

impl Shop {
    /// The entries of an order's history with a sequence number above `after`, past and future. The stream ends with
    /// the order, with an error, or when the shop closes. It can be dropped at any time.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an order that is not the caller's.
    pub async fn order_events(&self, who: &Principal, id: OrderId, after: u64) -> Result<OrderEvents, Error> {
        self.order_events_until(who, id, after, future::pending()).await
    }

    /// Like [`Shop::order_events`], but the stream also ends when `stop` completes, after all entries that exist by
    /// then: for a server that shuts down.
    ///
    /// # Errors
    /// As [`Shop::order_events`].
    pub async fn order_events_until(
        &self,
        who: &Principal,
        id: OrderId,
        after: u64,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<OrderEvents, Error> {
        // Subscribe before reading, so that no change in between is missed.
        let changes = self.follow_order(who, id).await?;
        let (shop, who) = (self.clone(), *who);
        let (ready, stop, closing) = (VecDeque::new(), stop.boxed(), shop.0.ending.token().clone());
        let follower = Follower { shop, who, id, changes, last_seen: after, ready, stop, closing, state: State::Open };
        Ok(stream::unfold(follower, Follower::next).boxed())
    }
}

impl Follower {
    async fn next(mut self) -> Option<(Result<HistoryEntry, Error>, Self)> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                self.last_seen = entry.sequence;
                return Some((Ok(entry), self));
            }
            if self.state == State::Ended {
                return None;
            }
            let order = match self.shop.order(&self.who, self.id).await {
                Ok(page) => page.order,
                Err(error) => {
                    self.state = State::Ended;
                    return Some((Err(error), self));
                }
            };
            self.ready = order.history().iter().filter(|entry| entry.sequence > self.last_seen).cloned().collect();
            if order.status().is_some_and(|status| status.is_final()) && order.is_settled() {
                self.state = State::Ended;
            } else if self.ready.is_empty() {
                tokio::select! {
                    changed = self.changes.changed() => if changed.is_err() {
                        return None;
                    },
                    () = &mut self.stop => return None,
                    () = self.closing.cancelled() => return None,
                }
            }
        }
    }
}
