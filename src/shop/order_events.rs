//! An order's history as a stream: past events, then new ones, until the order ends.
//!
//! Depends on the rooms below.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::{Error, Principal, Shop};
use crate::{
    actors::views::Subscription,
    domain::{
        account::Account,
        entity::Timestamp,
        ids::OrderId,
        order::{HistoryEntry, Order},
    },
    identity::{TokenError, revocations::RevocationStatus, tickets::Ticket},
};

/// The events of one order; see [`Shop::order_events`].
pub type OrderEvents = BoxStream<'static, Result<HistoryEntry, Error>>;

/// The longest wait before the clock is read again, in milliseconds: it may be set while a stream waits for the expiry
/// of its caller.
const CLOCK_READ_MS: u64 = 60_000;

/// The state of a stream between two events.
struct OrderEventStream {
    shop: Shop,
    who: Principal,
    id: OrderId,
    changes: Subscription<Order>,
    /// A logout or a change of the role ends the stream at once.
    account_changes: Subscription<Account>,
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
    /// the order, with an error, or when the shop closes. The error is [`Error::Token`] when the caller's access
    /// expires or is revoked. The stream can be dropped at any time.
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
        let account_changes = self.0.runtime.entities.accounts.subscribe(&who.account);
        let changes = self.follow_order(who, id).await?;
        let begun = OrderEventStream {
            shop: self.clone(),
            who: *who,
            id,
            changes,
            account_changes,
            last_seen: after,
            ready: VecDeque::new(),
            stop: stop.boxed(),
            closing: self.0.ending.token().clone(),
            state: State::Open,
        };
        Ok(stream::unfold(begun, OrderEventStream::next).boxed())
    }
}

/// A ticket for the events of one order; see [`Shop::order_events_ticket`].
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub struct IssuedTicket {
    pub ticket: SecretString,
    pub expires_at: Timestamp,
}

impl Shop {
    /// A ticket with which whoever has it can follow this order as the caller, for a minute: for browsers, whose
    /// `EventSource` sends no token.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an order that the caller may not see.
    pub async fn order_events_ticket(&self, who: &Principal, id: OrderId) -> Result<IssuedTicket, Error> {
        self.order(who, id).await?;
        let ticket = Ticket::new(who, id, self.0.clock.now());
        Ok(IssuedTicket { ticket: self.0.identity.write_ticket(&ticket), expires_at: ticket.expires_at })
    }

    /// The holder of a ticket for this order. What follows the order as this principal ends with the session of the
    /// token for which the ticket was issued.
    ///
    /// # Errors
    /// [`Error::Token`]: it has expired, is for another order, or its session has ended.
    pub async fn authenticate_ticket(&self, ticket: &str, id: OrderId) -> Result<Principal, Error> {
        let now = self.0.clock.now();
        let Ticket { account, family, epoch, access_expires_at, order, .. } =
            self.0.identity.read_ticket(ticket, now)?;
        if order != id {
            return Err(Error::Token(TokenError::Malformed));
        }
        let holder = self.0.runtime.entities.accounts.read(&account).await?.view.holder;
        let holder = holder.ok_or(Error::Token(TokenError::Revoked))?;
        let who = Principal {
            user: holder.user,
            account,
            role: holder.role,
            epoch,
            family,
            issued_at: now,
            expires_at: access_expires_at,
            revocation: RevocationStatus::Unknown,
        };
        self.check_still_valid(&who).await?;
        Ok(who)
    }
}

impl OrderEventStream {
    async fn next(mut self) -> Option<(Result<HistoryEntry, Error>, Self)> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                self.last_seen = entry.sequence;
                return Some((Ok(entry), self));
            }
            if self.state == State::Ended {
                return None;
            }
            let order = match visible_order(&self.shop, &self.who, self.id).await {
                Ok(order) => order,
                Err(error) => {
                    self.state = State::Ended;
                    return Some((Err(error), self));
                }
            };
            self.ready = order.history().iter().filter(|entry| entry.sequence > self.last_seen).cloned().collect();
            if order.status().is_some_and(|status| status.is_final()) && order.is_settled() {
                self.state = State::Ended;
            } else if self.ready.is_empty() {
                let expires_in_ms = self.who.expires_at.ms_since(self.shop.0.clock.now());
                let expiry = Duration::from_millis(expires_in_ms.min(CLOCK_READ_MS));
                tokio::select! {
                    changed = self.changes.changed() => if changed.is_err() {
                        return None;
                    },
                    changed = self.account_changes.changed() => if changed.is_err() {
                        return None;
                    },
                    () = tokio::time::sleep(expiry) => {}
                    () = &mut self.stop => return None,
                    () = self.closing.cancelled() => return None,
                }
            }
        }
    }
}

/// The order, if the caller may still see it.
async fn visible_order(shop: &Shop, who: &Principal, id: OrderId) -> Result<Arc<Order>, Error> {
    shop.check_still_valid(who).await?;
    Ok(shop.order(who, id).await?.order)
}
