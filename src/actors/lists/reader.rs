//! The reader's side of the lists: pages of their entries.
//!
//! May depend on `storage` and `domain`.

use super::keys::{NAME, key};
use crate::{
    domain::{
        cursor::{Cursor, InvalidCursor},
        entity::EntityId,
        ids::{AccountId, OrderId, ProductId, SellerId, UserId},
        order::Stage,
        review::{ReviewId, Written},
    },
    storage::{Fault, Journal, codec::decode},
};

/// A page of a list: what is on it, and where the next begins.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// What to pass as `after` for the next page; `None` at the end.
    pub next: Option<Cursor>,
}

/// Why a page cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(unnameable_types, reason = "it only becomes a public error")]
pub enum PageError {
    /// The cursor belongs to another list.
    #[error(transparent)]
    InvalidCursor(#[from] InvalidCursor),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] Fault),
}

/// Selects the orders of a list.
#[derive(Debug, Clone, Copy)]
pub enum OrdersOf {
    /// The orders of this customer.
    Customer(UserId),
    /// The orders with a line of this seller.
    Seller(SellerId),
    /// The orders in this stage, of all customers.
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
    /// [`PageError`].
    pub fn orders(&self, of: OrdersOf, after: Option<&Cursor>, limit: usize) -> Result<Listed<OrderId>, PageError> {
        let prefix = match of {
            OrdersOf::Customer(user) => key(b'c', &[&user.to_key()]),
            OrdersOf::Seller(seller) => key(b's', &[&seller.to_key()]),
            OrdersOf::Stage(stage) => key(b't', &[&[stage as u8]]),
        };
        self.page(&prefix, after, limit, |key, _| OrderId::from_key(key.get(key.len() - 16..)?))
    }

    /// A page of a product's reviews, newest first.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn reviews(
        &self,
        product: &ProductId,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Listed<Written>, PageError> {
        let prefix = key(b'r', &[product.as_str().as_bytes(), &[0]]);
        self.page(&prefix, after, limit, |_, value| decode(value).ok())
    }

    /// A page of a customer's reviews, by product.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn reviews_of(
        &self,
        customer: UserId,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Listed<ReviewId>, PageError> {
        self.page(&key(b'v', &[&customer.to_key()]), after, limit, |key, _| ReviewId::from_key(key.get(1..)?))
    }

    /// A page of the reviews whose stars the product may not have counted yet.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn uncounted_reviews(&self, after: Option<&Cursor>, limit: usize) -> Result<Listed<ReviewId>, PageError> {
        self.page(b"n", after, limit, |key, _| ReviewId::from_key(key.get(1..)?))
    }

    /// A page of the erasures that have begun and not ended: the account, and who held it.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn erasures(&self, after: Option<&Cursor>, limit: usize) -> Result<Listed<(AccountId, UserId)>, PageError> {
        self.page(b"e", after, limit, |key, value| {
            Some((AccountId::from_key(key.get(1..)?)?, UserId::from_key(value)?))
        })
    }

    /// A page of the orders that the checkout has something to do for.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn open_orders(&self, after: Option<&Cursor>, limit: usize) -> Result<Listed<OrderId>, PageError> {
        self.page(b"o", after, limit, |key, _| OrderId::from_key(key.get(1..)?))
    }

    /// A page of the orders with issues, about which an operator has to decide.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn orders_with_issues(&self, after: Option<&Cursor>, limit: usize) -> Result<Listed<OrderId>, PageError> {
        self.page(b"a", after, limit, |key, _| OrderId::from_key(key.get(1..)?))
    }

    /// The prefix of a list's keys names the list and its filter, so its cursors are those of this prefix.
    fn page<T>(
        &self,
        prefix: &[u8],
        after: Option<&Cursor>,
        limit: usize,
        read: impl Fn(&[u8], &[u8]) -> Option<T>,
    ) -> Result<Listed<T>, PageError> {
        let after = match after {
            Some(cursor) => Some([prefix, cursor.key(prefix)?].concat()),
            None => None,
        };
        let found = self.0.read_models().scan(NAME, prefix, after.as_deref(), limit.saturating_add(1))?;
        let more = found.len() > limit;
        let shown = &found[..found.len().min(limit)];
        let next = shown.last().filter(|_| more).map(|(key, _)| Cursor::new(prefix, &key[prefix.len()..]));
        let items = shown.iter().filter_map(|(key, value)| read(key, value)).collect();
        Ok(Listed { items, next })
    }
}
