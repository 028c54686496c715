//! The lists that are not one entity's: orders by customer, by seller and by state, reviews by product and by customer, and
//! what has been begun and is to be finished after a crash.
//!
//! A projection of order, review and account events into ordered keys. Applying a record twice puts the same keys, so a rewind after a
//! crash does no harm.
//!
//! | key | value | serves |
//! |---|---|---|
//! | `c` customer, newest first, order | | `GET /orders` of a customer |
//! | `s` seller, newest first, order | | `GET /orders` of a seller |
//! | `t` stage, newest first, order | | `GET /orders` of an admin |
//! | `o` order | | what the checkout resumes at start |
//! | `p` order | placed at, stage | to move an order between stages, until its last one |
//! | `r` product, newest first, customer | review | `GET /products/{id}/reviews` |
//! | `v` customer, product | when | to replace a review; to erase a customer's |
//! | `n` customer, product | version | reviews whose stars the product may not have counted yet |
//! | `a` order | | what operators have to look at |
//! | `e` account | user | customers whose erasure has begun and not ended |
//!
//! May depend on `storage` and `domain`.

use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        entity::{EntityId, Timestamp},
        ids::{AccountId, OrderId, ProductId, UserId},
        order::Status,
        review::{ReviewId, Written},
    },
    storage::{Fault, Journal, codec::decode},
};

mod projection;

pub use projection::{ListsProjection, Settle};

/// The projection's name in storage. It has another one when its keys change: then it is built again.
pub const NAME: &str = "lists-2";

/// Where an order stands, as far as its events tell without its state: what lists of orders are filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Stage {
    /// Placed and not yet paid.
    Open = 1,
    /// Paid; its stock is being booked.
    Paid = 2,
    /// Confirmed: the seller's turn.
    Confirmed = 3,
    /// Packed.
    Packed = 4,
    /// On its way.
    Shipped = 5,
    /// Arrived.
    Delivered = 6,
    /// Cancelled, expired or rejected.
    Ended = 7,
    /// The money is held; the seller's turn to capture it.
    Authorised = 8,
}

impl From<Status> for Stage {
    fn from(status: Status) -> Self {
        match status {
            Status::Placed | Status::AwaitingPayment | Status::PaymentPending | Status::Cancelling => Self::Open,
            Status::Authorised => Self::Authorised,
            Status::Paid => Self::Paid,
            Status::Confirmed => Self::Confirmed,
            Status::Packed => Self::Packed,
            Status::Shipped => Self::Shipped,
            Status::Delivered => Self::Delivered,
            Status::Cancelled | Status::Expired | Status::Rejected => Self::Ended,
        }
    }
}

/// A page of a list: what is on it, and where the next begins.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// What to pass as `after` for the next page; `None` at the end.
    pub next: Option<Vec<u8>>,
}

/// The key under which an order is listed until it is confirmed or has ended.
#[must_use]
pub fn open_order_key(order: OrderId) -> Vec<u8> {
    key(b'o', &[&order.to_key()])
}

/// The key under which an order is listed while an operator has to look at it.
fn attention_key(order: OrderId) -> Vec<u8> {
    key(b'a', &[&order.to_key()])
}

/// Whose orders.
#[derive(Debug, Clone, Copy)]
pub enum OrdersOf {
    /// A customer's.
    Customer(UserId),
    /// Those with a line of this seller.
    Seller(UserId),
    /// All in this stage.
    Stage(Stage),
}

/// The reader's side: pages of lists. Calls block on storage for microseconds.
#[derive(Clone)]
pub struct Lists(Journal);

impl Lists {
    /// Lists in a journal.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        Self(journal)
    }

    /// A page of orders, newest first.
    ///
    /// # Errors
    /// A fault of the storage.
    pub fn orders(&self, of: OrdersOf, after: Option<&[u8]>, limit: usize) -> Result<Listed<OrderId>, Fault> {
        let prefix = match of {
            OrdersOf::Customer(user) => key(b'c', &[&user.to_key()]),
            OrdersOf::Seller(user) => key(b's', &[&user.to_key()]),
            OrdersOf::Stage(stage) => key(b't', &[&[stage as u8]]),
        };
        self.page(&prefix, after, limit, |key, _| OrderId::from_key(key.get(key.len() - 16..)?))
    }

    /// A page of a product's reviews, newest first.
    ///
    /// # Errors
    /// A fault of the storage.
    pub fn reviews(&self, product: &ProductId, after: Option<&[u8]>, limit: usize) -> Result<Listed<Written>, Fault> {
        let prefix = key(b'r', &[product.as_str().as_bytes(), &[0]]);
        self.page(&prefix, after, limit, |_, value| decode(value).ok())
    }

    /// A page of a customer's reviews, by product.
    ///
    /// # Errors
    /// A fault of the storage.
    pub fn reviews_of(&self, customer: UserId, after: Option<&[u8]>, limit: usize) -> Result<Listed<ReviewId>, Fault> {
        self.page(&key(b'v', &[&customer.to_key()]), after, limit, |key, _| ReviewId::from_key(key.get(1..)?))
    }

    /// A page of the reviews whose stars the product may not have counted yet.
    ///
    /// # Errors
    /// A fault of the storage.
    pub fn uncounted_reviews(&self, after: Option<&[u8]>, limit: usize) -> Result<Listed<ReviewId>, Fault> {
        self.page(b"n", after, limit, |key, _| ReviewId::from_key(key.get(1..)?))
    }

    /// A page of the erasures that have begun and not ended: the account, and who held it.
    ///
    /// # Errors
    /// A fault of the storage.
    pub fn erasures(&self, after: Option<&[u8]>, limit: usize) -> Result<Listed<(AccountId, UserId)>, Fault> {
        self.page(b"e", after, limit, |key, value| {
            Some((AccountId::from_key(key.get(1..)?)?, UserId::from_key(value)?))
        })
    }

    /// A page of the orders that the checkout has something to do for.
    ///
    /// # Errors
    /// A fault of the storage.
    pub fn open_orders(&self, after: Option<&[u8]>, limit: usize) -> Result<Listed<OrderId>, Fault> {
        self.page(b"o", after, limit, |key, _| OrderId::from_key(key.get(1..)?))
    }

    /// A page of the orders that an operator has to look at.
    ///
    /// # Errors
    /// A fault of the storage.
    pub fn attention(&self, after: Option<&[u8]>, limit: usize) -> Result<Listed<OrderId>, Fault> {
        self.page(b"a", after, limit, |key, _| OrderId::from_key(key.get(1..)?))
    }

    fn page<T>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        read: impl Fn(&[u8], &[u8]) -> Option<T>,
    ) -> Result<Listed<T>, Fault> {
        let after = after.map(|after| [prefix, after].concat());
        let found = self.0.lists().scan(NAME, prefix, after.as_deref(), limit + 1)?;
        let more = found.len() > limit;
        let shown = &found[..found.len().min(limit)];
        let next = shown.last().filter(|_| more).map(|(key, _)| key[prefix.len()..].to_vec());
        let items = shown.iter().filter_map(|(key, value)| read(key, value)).collect();
        Ok(Listed { items, next })
    }
}

fn key(list: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![list];
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// A moment as key bytes that sort the newest first.
fn newest_first(at: Timestamp) -> [u8; 8] {
    (u64::MAX - at.0).to_be_bytes()
}
