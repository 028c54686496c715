//! The stock of one product, and the orders for which units of it are reserved.
//!
//! The most important rule: the units reserved and sold never exceed the units received (invariant I1). Every command
//! carries an id by which a repeat of it is recognised and changes nothing: the order for a reservation, the receipt
//! for a delivery. A hold ends when **its order** ends it; its deadline only limits how late a reservation may arrive
//! and how long a finished hold is remembered.
//!
//! ```text
//!   received + adjusted = on hand + sold        available = on hand − reserved
//!   hold:  (none) ─reserve─▶ Reserved ─fulfil─▶ Fulfilled      a release of an unknown hold leaves Released behind,
//!             └────────────────▶ └────release─▶ Released       so that a late reserve is refused
//! ```
//!
//! Depends on `std`, `serde` and its neighbours.

#[cfg(test)]
mod tests;

use imbl::Vector;
use serde::{Deserialize, Serialize};

use crate::domain::{
    entity::{Entity, Kind, Timestamp},
    ids::{OrderId, ProductId, ReceiptId, UserId},
    shared_map::SharedMap,
};

/// The most units of one product: a sum of two stays far below what a counter can hold.
pub const QUANTITY_MAX: u64 = 1_000_000_000_000;
/// How many reserved and fulfilled holds one product remembers. That is about 100 MB of state: beyond it a product
/// rejects new reservations, so that the machine does not run out of memory.
pub const HOLDS_MAX: usize = 2_000_000;
/// How many released holds one product remembers; beyond that the oldest one is forgotten. Each checkout that a
/// sold-out product rejects leaves one until its deadline, 16 minutes with the default settings. The limit is what
/// 3,300 rejected checkouts a second leave in a minute, and a late request is seconds late; 9 MB of state.
pub const RELEASED_MAX: usize = 200_000;
/// How long a finished hold is remembered after its deadline, in milliseconds: far longer than any message can be late.
pub const FINISHED_KEPT_MS: u64 = 60_000;
/// A hold that is to be remembered for longer than this, in milliseconds, was recorded while the clock was ahead, and
/// does not keep those behind it from being forgotten. Where orders may be paid for longer, this only costs time.
const FAR_AHEAD_MS: u64 = 24 * 3_600 * 1_000;
/// How long a receipt is remembered, in milliseconds: 30 days. A repeat after that counts again.
pub const RECEIPT_KEPT_MS: u64 = 30 * 24 * 3_600 * 1_000;
/// How many receipts one product remembers: 600 KB. Beyond that the oldest one is forgotten, because to refuse goods
/// that have arrived would make the stock wrong for certain.
pub const RECEIPTS_MAX: usize = 10_000;

/// A command to an inventory.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Command {
    /// Set the first stock of a product. It takes effect once per product, and only before any receipt.
    Open { quantity: u64 },
    /// Goods have arrived.
    Receive {
        /// The id of the delivery.
        receipt: ReceiptId,
        quantity: u64,
    },
    /// Goods were found or lost.
    Adjust {
        /// The id of the adjustment.
        receipt: ReceiptId,
        /// Units more, or fewer if negative.
        delta: i64,
    },
    /// A stock count: from now on there are this many units on hand.
    Count {
        on_hand: u64,
        /// How many units the product had received when the caller read its inventory. If it is another number by now,
        /// the count is rejected; otherwise the caller knows by how much the count changes the stock.
        if_received: Option<u64>,
    },
    /// Reserve units for an order.
    Reserve {
        order: OrderId,
        customer: UserId,
        quantity: u32,
        /// From this moment on the reservation is rejected.
        deadline: Timestamp,
    },
    /// Release the units reserved for an order. The reservation may arrive later: it is rejected then.
    Release {
        order: OrderId,
        /// The reservation's deadline.
        deadline: Timestamp,
    },
    /// The units reserved for an order are sold.
    Fulfil {
        order: OrderId,
        /// The reservation's deadline.
        deadline: Timestamp,
    },
}

/// An event of an inventory. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// The first stock was set.
    Opened { quantity: u64 },
    /// Goods arrived, were found or were lost.
    Adjusted {
        /// The id of the delivery or adjustment.
        receipt: ReceiptId,
        /// Units more, or fewer if negative.
        delta: i64,
        at: Timestamp,
    },
    /// A stock count differed from the recorded stock.
    Counted {
        /// Units more than recorded, or fewer if negative.
        delta: i64,
    },
    /// Units were reserved for an order.
    Reserved {
        order: OrderId,
        customer: UserId,
        quantity: u32,
        /// From this moment on the reservation is rejected.
        deadline: Timestamp,
        at: Timestamp,
    },
    /// Reserved units are available again.
    Released {
        order: OrderId,
        /// The reservation's deadline.
        deadline: Timestamp,
        at: Timestamp,
    },
    /// Reserved units were sold.
    Fulfilled { order: OrderId, at: Timestamp },
}

/// Why a command to an inventory was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum Rejection {
    /// Fewer units are available than requested.
    #[error("{requested} requested, {available} available")]
    InsufficientStock { requested: u32, available: u64 },
    /// The reservation arrived after its deadline.
    #[error("the reservation's deadline has passed")]
    DeadlinePassed,
    /// The order has released the hold, so a late reservation must not take stock.
    #[error("the hold has been released")]
    HoldReleased,
    /// The hold exists with another quantity.
    #[error("the hold exists with another quantity")]
    HoldReused,
    /// There is no reserved hold of this order.
    #[error("nothing is kept under this hold")]
    HoldUnknown,
    /// The receipt was used with another quantity.
    #[error("the receipt was used with another quantity")]
    ReceiptReused,
    /// Fewer units would be on hand than are reserved.
    #[error("{reserved} are reserved, so there must be at least as many on hand")]
    BelowReserved { reserved: u64 },
    /// Goods arrived, or the stock was counted or adjusted, since the caller read it.
    #[error("the stock has changed; read it again")]
    ReceivedChanged,
    /// The quantity is zero or more than [`QUANTITY_MAX`].
    #[error("the quantity must be between 1 and {QUANTITY_MAX}")]
    InvalidQuantity,
    /// [`HOLDS_MAX`] is reached.
    #[error("the product remembers too many reservations; try again later")]
    TooManyHolds,
}

/// The inventory of one product.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Inventory {
    opened: bool,
    received: u64,
    on_hand: u64,
    reserved: u64,
    sold: u64,
    holds: SharedMap<OrderId, HoldState>,
    fulfilled: Vector<(Timestamp, OrderId)>,
    released: Vector<(Timestamp, OrderId)>,
    receipts: SharedMap<ReceiptId, i64>,
    receipts_by_age: Vector<(Timestamp, ReceiptId)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum HoldState {
    Reserved { customer: UserId, quantity: u32, deadline: Timestamp },
    Released,
    Fulfilled { quantity: u32 },
}

/// An inventory as readers see it, in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct View {
    /// In the warehouse, including those that are reserved.
    pub on_hand: u64,
    pub reserved_quantity: u64,
    /// What can be ordered now: on hand − reserved.
    pub available: u64,
    /// Sold since the product was created.
    pub sold: u64,
    /// Received since the product was created, including adjustments.
    pub received: u64,
}

impl View {
    /// By how much a stock count of `on_hand` units changes the stock.
    ///
    /// # Errors
    /// The rejection with which the inventory would answer.
    pub fn counted(&self, on_hand: u64) -> Result<i64, Rejection> {
        if on_hand > QUANTITY_MAX {
            return Err(Rejection::InvalidQuantity);
        }
        if on_hand < self.reserved_quantity {
            return Err(Rejection::BelowReserved { reserved: self.reserved_quantity });
        }
        let units = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let delta = units(on_hand) - units(self.on_hand);
        let received = self.received.checked_add_signed(delta).ok_or(Rejection::InvalidQuantity)?;
        if received > QUANTITY_MAX { Err(Rejection::InvalidQuantity) } else { Ok(delta) }
    }
}

impl Inventory {
    fn available(&self) -> u64 {
        self.on_hand - self.reserved
    }

    /// The orders with an open reservation, each with its units. `verify` compares them with the orders.
    pub fn open_holds(&self) -> impl Iterator<Item = (OrderId, u32)> {
        self.holds.iter().filter_map(|(order, state)| match state {
            HoldState::Reserved { quantity, .. } => Some((*order, *quantity)),
            HoldState::Released | HoldState::Fulfilled { .. } => None,
        })
    }

    fn adjusted(&self, delta: i64) -> Result<u64, Rejection> {
        let on_hand =
            self.on_hand.checked_add_signed(delta).ok_or(Rejection::BelowReserved { reserved: self.reserved })?;
        if on_hand < self.reserved {
            return Err(Rejection::BelowReserved { reserved: self.reserved });
        }
        let received = self.received.checked_add_signed(delta).ok_or(Rejection::InvalidQuantity)?;
        if received > QUANTITY_MAX { Err(Rejection::InvalidQuantity) } else { Ok(on_hand) }
    }

    fn decide_adjust(&self, receipt: ReceiptId, delta: i64, now: Timestamp) -> Result<Option<Event>, Rejection> {
        if let Some(known) = self.receipts.get(&receipt) {
            return if *known == delta { Ok(None) } else { Err(Rejection::ReceiptReused) };
        }
        if delta == 0 {
            return Err(Rejection::InvalidQuantity);
        }
        self.adjusted(delta)?;
        Ok(Some(Event::Adjusted { receipt, delta, at: now }))
    }

    fn decide_reserve(
        &self,
        order: OrderId,
        customer: UserId,
        quantity: u32,
        deadline: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Event>, Rejection> {
        match self.holds.get(&order) {
            Some(HoldState::Released) => return Err(Rejection::HoldReleased),
            Some(HoldState::Reserved { quantity: held, .. } | HoldState::Fulfilled { quantity: held }) => {
                return if *held == quantity { Ok(None) } else { Err(Rejection::HoldReused) };
            }
            None => {}
        }
        if quantity == 0 {
            return Err(Rejection::InvalidQuantity);
        }
        if now >= deadline {
            return Err(Rejection::DeadlinePassed);
        }
        let available = self.available();
        if u64::from(quantity) > available {
            return Err(Rejection::InsufficientStock { requested: quantity, available });
        }
        if self.holds.len() - self.released.len() >= HOLDS_MAX {
            return Err(Rejection::TooManyHolds);
        }
        Ok(Some(Event::Reserved { order, customer, quantity, deadline, at: now }))
    }

    /// Forgets holds and receipts about which no late message can arrive any more. It uses only the event's time, so
    /// that a replay forgets the same ones.
    fn forget_old(&mut self, now: Timestamp) {
        for finished in [&mut self.fulfilled, &mut self.released] {
            pass_on(finished, now.plus_ms(FAR_AHEAD_MS));
            while let Some((_, order)) = finished.front().copied().filter(|(forget_at, _)| *forget_at <= now) {
                finished.pop_front();
                self.holds.remove(&order);
            }
        }
        pass_on(&mut self.receipts_by_age, now);
        while let Some((_, receipt)) =
            self.receipts_by_age.front().filter(|(at, _)| now.ms_since(*at) > RECEIPT_KEPT_MS)
        {
            self.receipts.remove(receipt);
            self.receipts_by_age.pop_front();
        }
    }
}

/// Moves the first entry of a queue behind the last one where it is later than `latest`, as the clock was ahead when it
/// was added. One a call is enough, because each call comes with at most one new entry.
fn pass_on<T: Clone>(queue: &mut Vector<(Timestamp, T)>, latest: Timestamp) {
    if queue.front().is_some_and(|(at, _)| *at > latest)
        && let Some(entry) = queue.pop_front()
    {
        queue.push_back(entry);
    }
}

impl Entity for Inventory {
    const KIND: Kind = Kind::Inventory;
    const REQUESTS_KEPT_MS: u64 = RECEIPT_KEPT_MS;
    type Id = ProductId;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;
    type View = View;

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Option<Event>, Rejection> {
        match *command {
            Command::Open { quantity } => {
                if quantity > QUANTITY_MAX {
                    return Err(Rejection::InvalidQuantity);
                }
                let untouched = !self.opened && self.received == 0 && self.sold == 0;
                Ok(untouched.then_some(Event::Opened { quantity }))
            }
            Command::Receive { receipt, quantity } => {
                let delta = i64::try_from(quantity).map_err(|_| Rejection::InvalidQuantity)?;
                self.decide_adjust(receipt, delta, now)
            }
            Command::Adjust { receipt, delta } => self.decide_adjust(receipt, delta, now),
            Command::Count { on_hand, if_received } => {
                if if_received.is_some_and(|expected| expected != self.received) {
                    return Err(Rejection::ReceivedChanged);
                }
                let delta = self.view().counted(on_hand)?;
                Ok((delta != 0 || !self.opened).then_some(Event::Counted { delta }))
            }
            Command::Reserve { order, customer, quantity, deadline } => {
                self.decide_reserve(order, customer, quantity, deadline, now)
            }
            Command::Release { order, deadline } => match self.holds.get(&order) {
                Some(HoldState::Released) => Ok(None),
                Some(HoldState::Fulfilled { .. }) => Err(Rejection::HoldUnknown),
                Some(HoldState::Reserved { .. }) => Ok(Some(Event::Released { order, deadline, at: now })),
                // No reservation can follow after the deadline, so there is nothing to remember.
                None if now >= deadline => Ok(None),
                None => Ok(Some(Event::Released { order, deadline, at: now })),
            },
            Command::Fulfil { order, deadline } => match self.holds.get(&order) {
                Some(HoldState::Fulfilled { .. }) => Ok(None),
                Some(HoldState::Released) => Err(Rejection::HoldUnknown),
                Some(HoldState::Reserved { .. }) => Ok(Some(Event::Fulfilled { order, at: now })),
                // Only its order ends an open reservation. So an unknown one was fulfilled and has been forgotten
                // since.
                None if now >= deadline.plus_ms(FINISHED_KEPT_MS) => Ok(None),
                None => Err(Rejection::HoldUnknown),
            },
        }
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Opened { quantity } => {
                self.opened = true;
                self.received += quantity;
                self.on_hand += quantity;
            }
            Event::Adjusted { receipt, delta, at } => {
                self.forget_old(at);
                self.opened = true;
                self.received = self.received.checked_add_signed(delta).expect("decided within bounds");
                self.on_hand = self.on_hand.checked_add_signed(delta).expect("decided within bounds");
                self.receipts.insert(receipt, delta);
                self.receipts_by_age.push_back((at, receipt));
                if self.receipts_by_age.len() > RECEIPTS_MAX
                    && let Some((_, oldest)) = self.receipts_by_age.pop_front()
                {
                    self.receipts.remove(&oldest);
                }
            }
            Event::Counted { delta } => {
                self.opened = true;
                self.received = self.received.checked_add_signed(delta).expect("decided within bounds");
                self.on_hand = self.on_hand.checked_add_signed(delta).expect("decided within bounds");
            }
            Event::Reserved { order, customer, quantity, deadline, at } => {
                self.forget_old(at);
                self.holds.insert(order, HoldState::Reserved { customer, quantity, deadline });
                self.reserved += u64::from(quantity);
            }
            Event::Released { order, deadline, at } => {
                self.forget_old(at);
                if let Some(HoldState::Reserved { quantity, .. }) = self.holds.get(&order).copied() {
                    self.reserved -= u64::from(quantity);
                }
                self.holds.insert(order, HoldState::Released);
                self.released.push_back((deadline.plus_ms(FINISHED_KEPT_MS), order));
                if self.released.len() > RELEASED_MAX
                    && let Some((_, oldest)) = self.released.pop_front()
                {
                    self.holds.remove(&oldest);
                }
            }
            Event::Fulfilled { order, at } => {
                self.forget_old(at);
                let Some(HoldState::Reserved { quantity, deadline, .. }) = self.holds.get(&order).copied() else {
                    panic!("only a reserved hold is fulfilled");
                };
                self.reserved -= u64::from(quantity);
                self.on_hand -= u64::from(quantity);
                self.sold += u64::from(quantity);
                self.holds.insert(order, HoldState::Fulfilled { quantity });
                self.fulfilled.push_back((deadline.plus_ms(FINISHED_KEPT_MS), order));
            }
        }
        assert!(self.reserved <= self.on_hand, "more is reserved than there is");
        assert!(self.received == self.on_hand + self.sold, "stock appeared or vanished");
    }

    fn view(&self) -> View {
        View {
            on_hand: self.on_hand,
            reserved_quantity: self.reserved,
            available: self.available(),
            sold: self.sold,
            received: self.received,
        }
    }

    fn view_bytes(_: &View) -> usize {
        size_of::<View>()
    }
}
