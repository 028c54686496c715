//! The reader's side of the lists: pages of their entries.
//!
//! May depend on `storage` and `domain`.

use super::keys::{NAME, key, newest_first, seller_key, stage_key, standing_list};
use crate::{
    domain::{
        account::Standing,
        cursor::{Cursor, InvalidCursor},
        entity::{EntityId, Timestamp},
        ids::{AccountId, OrderId, ProductId, SellerId, UserId},
        order::Stage,
        review::{ReviewId, Written},
    },
    storage::{Fault, Journal, codec::decode},
};

/// How many entries of a list are read at once while it is filtered: about what a page has.
const SCANNED_AT_ONCE: usize = 256;
/// How many entries of a list one page passes over at most while it is filtered: some milliseconds of reading.
const SCANNED_MAX: usize = 5_000;

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

/// Which orders of a list to show; the default shows all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct OrdersFilter {
    pub stage: Option<Stage>,
    /// Placed then or later.
    pub from: Option<Timestamp>,
    /// Placed before then.
    pub before: Option<Timestamp>,
}

impl OrdersFilter {
    /// What a cursor is bound to beside the list: every bound, whether it is given or not, with the `extra` of whoever
    /// filters on. Nothing, where there is no filter.
    fn key(&self, extra: &[u8]) -> Vec<u8> {
        if *self == Self::default() && extra.is_empty() {
            return Vec::new();
        }
        let stage = self.stage.map_or(0, |stage| stage as u8);
        let at = |at: Option<Timestamp>| {
            at.map_or([0; 9], |at| {
                let mut bytes = [1; 9];
                bytes[1..].copy_from_slice(&at.0.to_be_bytes());
                bytes
            })
        };
        [&[stage], at(self.from).as_slice(), at(self.before).as_slice(), extra].concat()
    }
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

    /// How many orders have issues, at most `limit`.
    ///
    /// # Errors
    /// The storage failed.
    pub fn count_issues(&self, limit: usize) -> Result<usize, Fault> {
        Ok(self.0.read_models().scan(NAME, &key(b'a', &[]), None, limit)?.len())
    }

    /// A page of orders, newest first.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn orders(&self, of: OrdersOf, after: Option<&Cursor>, limit: usize) -> Result<Listed<OrderId>, PageError> {
        self.page(&list_of(of), after, limit, |key, _| OrderId::from_key(key.get(key.len() - 16..)?))
    }

    /// A page of those orders of a list that a filter shows, newest first. Their times are in the keys, and the list of
    /// a stage says whether an order is in it, so no order is read. A page for which many entries were passed over may
    /// have fewer items than `limit`, even none, and still a next page.
    ///
    /// `extra` is what the caller filters by beyond that: its cursors belong to it, too.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn orders_where(
        &self,
        of: OrdersOf,
        filter: &OrdersFilter,
        extra: &[u8],
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Listed<OrderId>, PageError> {
        let prefix = list_of(of);
        let list = [prefix.clone(), filter.key(extra)].concat();
        let mut last = match (after, filter.before) {
            (Some(cursor), _) => Some([&prefix, cursor.key(&list)?].concat()),
            (None, Some(before)) => Some(key_before(&prefix, before)),
            (None, None) => None,
        };
        let (mut items, mut passed) = (Vec::new(), 0);
        let next = |last: &[u8]| Some(Cursor::new(&list, &last[prefix.len()..]));
        loop {
            let found = self.0.read_models().scan(NAME, &prefix, last.as_deref(), SCANNED_AT_ONCE)?;
            let is_end = found.len() < SCANNED_AT_ONCE;
            for (key, _) in found {
                let Some((order, at)) = placed_in(&key, prefix.len()) else { continue };
                if filter.from.is_some_and(|from| at < from) {
                    return Ok(Listed { items, next: None });
                }
                if passed == SCANNED_MAX {
                    return Ok(Listed { items, next: last.as_deref().and_then(next) });
                }
                if self.is_in(order, at, filter.stage)? {
                    if items.len() == limit {
                        return Ok(Listed { items, next: last.as_deref().and_then(next) });
                    }
                    items.push(order);
                }
                passed += 1;
                last = Some(key);
            }
            if is_end {
                return Ok(Listed { items, next: None });
            }
        }
    }

    fn is_in(&self, order: OrderId, at: Timestamp, stage: Option<Stage>) -> Result<bool, PageError> {
        let Some(stage) = stage else { return Ok(true) };
        Ok(self.0.read_models().get(NAME, &stage_key(order, at, stage))?.is_some())
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

    /// A page of the sellers who stand so with their accounts, those who registered first before the others.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn sellers(
        &self,
        standing: Standing,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Listed<(AccountId, UserId)>, PageError> {
        self.page(&standing_list(standing), after, limit, |key, value| {
            Some((AccountId::from_key(value)?, UserId::from_key(key.get(key.len() - 16..)?)?))
        })
    }

    /// The account of a seller.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn account_of_seller(&self, user: UserId) -> Result<Option<AccountId>, PageError> {
        let known = self.0.read_models().get(NAME, &seller_key(user))?;
        let account = known.and_then(|known| decode::<(AccountId, Timestamp)>(&known).ok());
        Ok(account.map(|(account, _)| account))
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

/// The prefix of the keys of a list of orders.
fn list_of(of: OrdersOf) -> Vec<u8> {
    match of {
        OrdersOf::Customer(user) => key(b'c', &[&user.to_key()]),
        OrdersOf::Seller(seller) => key(b's', &[&seller.to_key()]),
        OrdersOf::Stage(stage) => key(b't', &[&[stage as u8]]),
    }
}

/// The order of a key, and when it was placed.
fn placed_in(key: &[u8], prefix_bytes: usize) -> Option<(OrderId, Timestamp)> {
    let (at, order) = key.get(prefix_bytes..)?.split_first_chunk::<8>()?;
    Some((OrderId::from_key(order)?, Timestamp(u64::MAX - u64::from_be_bytes(*at))))
}

/// A key that stands before those of all orders placed before this moment, and behind all others.
fn key_before(prefix: &[u8], before: Timestamp) -> Vec<u8> {
    let mut key = [prefix, newest_first(before).as_slice()].concat();
    // Behind every order of this very moment, whose ids have fewer bytes.
    key.extend_from_slice(&[0xff; 17]);
    key
}
