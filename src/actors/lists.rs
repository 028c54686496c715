//! The lists that are not one entity's: orders by customer, by seller and by state, open orders, reviews by product.
//!
//! A projection of order and review events into ordered keys. Applying a record twice puts the same keys, so a rewind after a
//! crash does no harm.
//!
//! | key | value | serves |
//! |---|---|---|
//! | `c` customer, newest first, order | | `GET /orders` of a customer |
//! | `s` seller, newest first, order | | `GET /orders` of a seller |
//! | `t` stage, newest first, order | | `GET /orders` of an admin |
//! | `o` order | | what the checkout resumes at start |
//! | `p` order | placed at, stage | to move an order between stages |
//! | `r` product, newest first, customer | review | `GET /products/{id}/reviews` |
//! | `w` product, customer | when | to replace a review |
//!
//! May depend on `storage` and `domain`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{
    projection::{Projection, ProjectionFault},
    records,
};
use crate::{
    domain::{
        entity::{EntityId, Kind, Timestamp},
        ids::{OrderId, ProductId, UserId},
        order::{self, Order, PaymentOutcome, Placement, Status},
        reviews::{self, Review, Reviews},
    },
    planted::{Bug, planted},
    storage::{
        Change, Fault, Journal, Loaded, Position, Record, Stream,
        codec::{decode, encode},
    },
};

/// The projection's name in storage.
pub const NAME: &str = "lists";

/// How many keys a seeding gathers before it writes them: it bounds the memory that it takes.
const SEEDED_KEYS_MAX: usize = 10_000;

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
}

impl From<Status> for Stage {
    fn from(status: Status) -> Self {
        match status {
            Status::Placed | Status::AwaitingPayment | Status::PaymentPending | Status::Cancelling => Self::Open,
            Status::Paid => Self::Paid,
            Status::Confirmed => Self::Confirmed,
            Status::Packed => Self::Packed,
            Status::Shipped => Self::Shipped,
            Status::Delivered => Self::Delivered,
            Status::Cancelled | Status::Expired | Status::Rejected => Self::Ended,
        }
    }
}

/// A review with the time it was written, as listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListedReview {
    /// The review.
    pub review: Review,
    /// When it was written, or last changed.
    pub at: Timestamp,
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
    pub fn reviews(
        &self,
        product: &ProductId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Listed<ListedReview>, Fault> {
        let prefix = key(b'r', &[product.as_str().as_bytes(), &[0]]);
        self.page(&prefix, after, limit, |_, value| decode(value).ok())
    }

    /// A page of the orders that the checkout has something to do for.
    ///
    /// # Errors
    /// A fault of the storage.
    pub fn open_orders(&self, after: Option<&[u8]>, limit: usize) -> Result<Listed<OrderId>, Fault> {
        self.page(b"o", after, limit, |key, _| OrderId::from_key(key.get(1..)?))
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

/// The writer's side.
pub struct ListsProjection {
    journal: Journal,
    pending: HashMap<Vec<u8>, Option<Vec<u8>>>,
}

impl ListsProjection {
    /// The projection over a journal's lists.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        Self { journal, pending: HashMap::new() }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ProjectionFault> {
        match self.pending.get(key) {
            Some(pending) => Ok(pending.clone()),
            None => self.journal.lists().get(NAME, key).map_err(|error| fault(&error)),
        }
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.pending.insert(key, Some(value));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.pending.insert(key, None);
    }

    fn order_event(&mut self, order: OrderId, event: &order::Event) -> Result<(), ProjectionFault> {
        let stage = match event {
            order::Event::Placed(placement) => {
                self.placed(order, placement);
                if !planted(Bug::OrderNotListed) {
                    self.put(open_order_key(order), Vec::new());
                }
                Stage::Open
            }
            order::Event::PaymentSettled { outcome: PaymentOutcome::Captured { .. }, .. } => Stage::Paid,
            order::Event::Fulfilled { .. } => Stage::Confirmed,
            order::Event::Packed { .. } => Stage::Packed,
            order::Event::Shipped { .. } => Stage::Shipped,
            order::Event::Delivered { .. } => Stage::Delivered,
            order::Event::Ended { .. } => Stage::Ended,
            order::Event::CartTaken { .. }
            | order::Event::StockAnswered { .. }
            | order::Event::PaymentRequested { .. }
            | order::Event::PaymentSettled { outcome: PaymentOutcome::Declined { .. }, .. }
            | order::Event::EndBegun { .. } => return Ok(()),
        };
        if matches!(stage, Stage::Confirmed | Stage::Ended) {
            self.delete(open_order_key(order));
        }
        let placed_at = match event {
            order::Event::Placed(placement) => Some(placement.at),
            _ => None,
        };
        self.move_to(order, stage, placed_at)
    }

    fn placed(&mut self, order: OrderId, placement: &Placement) {
        let (at, order) = (newest_first(placement.at), order.to_key());
        self.put(key(b'c', &[&placement.customer.to_key(), &at, &order]), Vec::new());
        for line in &placement.lines {
            self.put(key(b's', &[&line.seller.to_key(), &at, &order]), Vec::new());
        }
    }

    /// What all its events together would have listed.
    fn order_state(&mut self, id: OrderId, order: &Order) -> Result<(), ProjectionFault> {
        let (Some(placement), Some(status)) = (order.placement(), order.status()) else { return Ok(()) };
        let stage = Stage::from(status);
        self.placed(id, placement);
        if matches!(stage, Stage::Open | Stage::Paid) {
            self.put(key(b'o', &[&id.to_key()]), Vec::new());
        }
        self.move_to(id, stage, Some(placement.at))
    }

    fn take_changes(&mut self) -> Vec<Change> {
        let changes = self.pending.drain().map(|(key, value)| match value {
            Some(value) => Change::Put(key, value),
            None => Change::Delete(key),
        });
        changes.collect()
    }

    fn move_to(&mut self, order: OrderId, stage: Stage, placed_at: Option<Timestamp>) -> Result<(), ProjectionFault> {
        let place = key(b'p', &[&order.to_key()]);
        let known: Option<(Timestamp, Stage)> = match self.get(&place)? {
            Some(value) => Some(decode(&value).map_err(|error| fault(&error))?),
            None => None,
        };
        if let Some((at, stage)) = known {
            self.delete(key(b't', &[&[stage as u8], &newest_first(at), &order.to_key()]));
        }
        let Some(at) = placed_at.or(known.map(|(at, _)| at)) else { return Ok(()) };
        self.put(key(b't', &[&[stage as u8], &newest_first(at), &order.to_key()]), Vec::new());
        self.put(place, encode(&(at, stage)));
        Ok(())
    }

    fn review_event(&mut self, product: &ProductId, event: &reviews::Event) -> Result<(), ProjectionFault> {
        let reviews::Event::Written { review, at } = event;
        let (product, customer) = (product.as_str().as_bytes(), review.customer.to_key());
        let written = key(b'w', &[product, &[0], &customer]);
        if let Some(value) = self.get(&written)? {
            let before: Timestamp = decode(&value).map_err(|error| fault(&error))?;
            self.delete(key(b'r', &[product, &[0], &newest_first(before), &customer]));
        }
        self.put(written, encode(at));
        let listed = encode(&ListedReview { review: review.clone(), at: *at });
        self.put(key(b'r', &[product, &[0], &newest_first(*at), &customer]), listed);
        Ok(())
    }
}

impl Projection for ListsProjection {
    fn name(&self) -> &'static str {
        NAME
    }

    fn position(&self) -> Position {
        self.journal.lists().position(NAME)
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Order, Kind::Reviews]
    }

    fn clear(&mut self) -> Result<(), ProjectionFault> {
        self.pending.clear();
        self.journal.lists().clear(NAME).map_err(|error| fault(&error))
    }

    fn seed(&mut self, stream: &Stream, loaded: &Loaded) -> Result<(), ProjectionFault> {
        if stream.kind() == Kind::Order as u8 {
            let id = OrderId::from_key(stream.key()).ok_or_else(|| fault(&"a bad id"))?;
            let order = records::replay::<Order>(loaded).map_err(|error| fault(&error))?;
            self.order_state(id, &order)?;
        } else {
            self.apply(&loaded.records)?;
        }
        if self.pending.len() >= SEEDED_KEYS_MAX {
            // At the beginning: a list that is not complete is no list, and a start would begin again.
            let changes = self.take_changes();
            self.journal.lists().commit(NAME, Position::BEGINNING, changes).map_err(|error| fault(&error))?;
        }
        Ok(())
    }

    fn apply(&mut self, records: &[Record]) -> Result<(), ProjectionFault> {
        for record in records {
            let kind = record.stream.kind();
            if kind == Kind::Order as u8 {
                let id = OrderId::from_key(record.stream.key());
                let event = records::decode_event::<Order>(record.version, &record.payload);
                self.order_event(id.ok_or_else(|| fault(&"a bad id"))?, &event.map_err(|error| fault(&error))?)?;
            } else if kind == Kind::Reviews as u8 {
                let id = ProductId::from_key(record.stream.key());
                let event = records::decode_event::<Reviews>(record.version, &record.payload);
                self.review_event(&id.ok_or_else(|| fault(&"a bad id"))?, &event.map_err(|error| fault(&error))?)?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, position: Position) -> Result<(), ProjectionFault> {
        let changes = self.take_changes();
        self.journal.lists().commit(NAME, position, changes).map_err(|error| fault(&error))
    }
}

fn fault(problem: &dyn std::fmt::Display) -> ProjectionFault {
    ProjectionFault { projection: NAME, problem: problem.to_string() }
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
