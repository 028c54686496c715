//! A customer's cart: its lines, and the customer's open orders.
//!
//! An order **takes** its lines out of the cart as soon as it is placed, so that two browser tabs cannot order the same
//! cart twice; an order that is cancelled, expires or is rejected returns its lines. The cart remembers its open orders
//! for two reasons: their number limits how much a customer can keep reserved, and a repeated checkout without a key
//! finds its order here.
//!
//! Depends on `std`, `serde` and its neighbours.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::domain::{
    entity::{Entity, Kind, Timestamp},
    ids::{OrderId, ProductId, UserId},
    money::Currency,
};

/// The most lines of a cart, and so of an order. Of 2,025 real invoices of a gift shop 99 % have fewer.
pub const LINES_MAX: usize = 200;
/// The most units of one line.
pub const LINE_QUANTITY_MAX: u32 = 10_000;
/// The most orders of one customer that are neither confirmed nor ended. It limits how much one customer can keep
/// reserved.
pub const OPEN_ORDERS_MAX: usize = 20;
/// How many ended orders a cart remembers, so that a late `Take` of one of them is rejected.
pub const ENDED_ORDERS_KEPT: usize = 64;

/// Some units of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Line {
    pub product: ProductId,
    pub quantity: u32,
}

/// A command to a cart.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Command {
    /// Add units to lines: to all of them or to none.
    Add {
        /// Units to add; for a product that is in the cart, they are added to its quantity.
        lines: Vec<Line>,
        /// The currency of their prices.
        currency: Currency,
    },
    /// Set the quantity of a line, which need not exist yet.
    SetQuantity {
        line: Line,
        /// The currency of its price.
        currency: Currency,
        /// The version of the cart that the caller has read, to be refused if it is another one by now.
        if_version: Option<u64>,
    },
    /// Take a line out.
    Remove {
        product: ProductId,
        /// As for `SetQuantity`.
        if_version: Option<u64>,
    },
    /// An order takes its lines out of the cart.
    Take {
        order: OrderId,
        /// Hash of the checkout request, by which a repeat without a key finds its order.
        fingerprint: u128,
        /// The version of the cart for which the order was computed.
        version: u64,
        lines: Vec<Line>,
    },
    /// An order was cancelled, expired or rejected: put its lines back.
    Return { order: OrderId },
    /// An order is confirmed and does not count as open any more.
    Close { order: OrderId },
    /// The customer is being erased: empty the cart and reject further changes.
    Erase,
}

/// An event of a cart. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    Added {
        lines: Vec<Line>,
        /// The currency of the cart after it.
        currency: Currency,
    },
    /// The quantity of a line was set.
    QuantitySet {
        line: Line,
        /// The currency of the cart after it.
        currency: Currency,
    },
    /// A line was taken out.
    Removed { product: ProductId },
    /// An order took its lines.
    Taken { order: OrderId, fingerprint: u128, lines: Vec<Line> },
    /// An order returned its lines.
    Returned {
        order: OrderId,
        /// The lines that came back: fewer than were taken if the cart has changed so that not all fit.
        lines: Vec<Line>,
    },
    /// An order does not count as open any more.
    Closed { order: OrderId },
    /// The cart was emptied for good.
    Erased { at: Timestamp },
}

/// Why a command to a cart was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum Rejection {
    /// There are no lines to add.
    #[error("at least one line is needed")]
    Empty,
    /// The quantity is zero or more than [`LINE_QUANTITY_MAX`].
    #[error("the quantity of {product} must be between 1 and {LINE_QUANTITY_MAX}")]
    InvalidQuantity { product: ProductId },
    /// The cart would have more than [`LINES_MAX`] lines.
    #[error("a cart holds at most {LINES_MAX} different products")]
    TooManyLines,
    /// All lines of a cart have prices in one currency.
    #[error("the cart is in {cart}, the product is sold in {product}")]
    MixedCurrencies {
        /// The currency of the cart.
        cart: Currency,
        /// The currency of the product's price.
        product: Currency,
    },
    /// The line is not in the cart.
    #[error("{product} is not in the cart")]
    NotInCart { product: ProductId },
    /// The cart has changed since the order was computed, or since the caller read it.
    #[error("the cart has changed; it is at version {current}")]
    Changed { current: u64 },
    /// [`OPEN_ORDERS_MAX`] is reached.
    #[error("at most {OPEN_ORDERS_MAX} orders can be open at once; pay or cancel one first")]
    TooManyOpenOrders,
    /// The customer's orders that are not confirmed would have more units of a product than allowed.
    #[error(
        "at most {units_max} units of {product} can be in unpaid orders, {unpaid} are, and {requested} more were asked for"
    )]
    TooManyUnpaidUnits {
        product: ProductId,
        requested: u32,
        /// How many are in unpaid orders.
        unpaid: u32,
        /// How many there may be.
        units_max: u32,
    },
    /// The order has ended, so a late `Take` of it must not touch the cart.
    #[error("the order has ended")]
    OrderEnded,
    /// Orders are open, and may return their lines.
    #[error("orders of this cart are still open")]
    OrdersOpen,
    /// The customer is erased, or is being erased.
    #[error("the cart's customer is erased")]
    Erased,
}

/// A customer's cart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Cart {
    version: u64,
    currency: Option<Currency>,
    lines: Vec<Line>,
    open_orders: Vec<OpenOrder>,
    ended_orders: VecDeque<OrderId>,
    erased: bool,
}

/// An order that has taken lines out of the cart and has neither been confirmed nor ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct OpenOrder {
    pub order: OrderId,
    pub fingerprint: u128,
    /// The currency of its lines.
    pub currency: Currency,
    /// The lines that it took.
    pub lines: Vec<Line>,
}

/// A cart as readers see it.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Grows with every change; the ETag of the cart.
    pub version: u64,
    /// The lines, in the order in which they were first added.
    pub lines: Arc<Vec<Line>>,
    /// The open orders, each with the hash of the request that placed it.
    pub open_orders: Arc<Vec<(OrderId, u128)>>,
    /// The units of each product in the open orders.
    pub unpaid: Arc<Vec<Line>>,
}

impl View {
    /// Checks that with these units more no product has more than `units_max` of them in open orders.
    ///
    /// # Errors
    /// [`Rejection::TooManyUnpaidUnits`].
    pub fn check_unpaid<'a>(
        &self,
        wanted: impl IntoIterator<Item = (&'a ProductId, u32)>,
        units_max: u32,
    ) -> Result<(), Rejection> {
        for (product, requested) in wanted {
            let unpaid = self.unpaid.iter().find(|line| line.product == *product).map_or(0, |line| line.quantity);
            if unpaid.saturating_add(requested) > units_max {
                return Err(Rejection::TooManyUnpaidUnits { product: product.clone(), requested, unpaid, units_max });
            }
        }
        Ok(())
    }
}

impl Cart {
    fn quantity_of(&self, product: &ProductId) -> u32 {
        self.lines.iter().find(|line| line.product == *product).map_or(0, |line| line.quantity)
    }

    /// The units of each product in the open orders: at most [`OPEN_ORDERS_MAX`] times [`LINES_MAX`] lines, and usually
    /// one or none.
    fn unpaid(&self) -> Vec<Line> {
        let mut unpaid: Vec<Line> = Vec::new();
        for line in self.open_orders.iter().flat_map(|open| &open.lines) {
            match unpaid.iter_mut().find(|known| known.product == line.product) {
                Some(known) => known.quantity = known.quantity.saturating_add(line.quantity),
                None => unpaid.push(line.clone()),
            }
        }
        unpaid
    }

    fn is_open(&self, order: OrderId) -> bool {
        self.open_orders.iter().any(|open| open.order == order)
    }

    fn check_currency(&self, product: Currency) -> Result<(), Rejection> {
        match self.currency {
            Some(cart) if cart != product && !self.lines.is_empty() => {
                Err(Rejection::MixedCurrencies { cart, product })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_version(&self, expected: Option<u64>) -> Result<(), Rejection> {
        match expected {
            Some(version) if version != self.version => Err(Rejection::Changed { current: self.version }),
            Some(_) | None => Ok(()),
        }
    }

    /// The lines after the addition, or why it is not possible.
    fn with_added(&self, added: &[Line]) -> Result<Vec<Line>, Rejection> {
        let mut lines = self.lines.clone();
        for line in added {
            let invalid = || Rejection::InvalidQuantity { product: line.product.clone() };
            if line.quantity == 0 {
                return Err(invalid());
            }
            let quantity = match lines.iter_mut().find(|present| present.product == line.product) {
                Some(present) => {
                    present.quantity = present.quantity.saturating_add(line.quantity);
                    present.quantity
                }
                None => {
                    lines.push(line.clone());
                    line.quantity
                }
            };
            if quantity > LINE_QUANTITY_MAX {
                return Err(invalid());
            }
        }
        if lines.len() > LINES_MAX { Err(Rejection::TooManyLines) } else { Ok(lines) }
    }

    fn decide_add(&self, lines: &[Line], currency: Currency) -> Result<Option<Event>, Rejection> {
        if lines.is_empty() {
            return Err(Rejection::Empty);
        }
        self.check_currency(currency)?;
        self.with_added(lines)?;
        Ok(Some(Event::Added { lines: lines.to_vec(), currency }))
    }

    fn decide_take(
        &self,
        order: OrderId,
        fingerprint: u128,
        version: u64,
        lines: &[Line],
    ) -> Result<Option<Event>, Rejection> {
        if self.is_open(order) {
            return Ok(None);
        }
        if self.ended_orders.contains(&order) {
            return Err(Rejection::OrderEnded);
        }
        if version != self.version {
            return Err(Rejection::Changed { current: self.version });
        }
        if let Some(missing) = lines.iter().find(|line| self.quantity_of(&line.product) < line.quantity) {
            return Err(Rejection::NotInCart { product: missing.product.clone() });
        }
        if self.open_orders.len() >= OPEN_ORDERS_MAX {
            return Err(Rejection::TooManyOpenOrders);
        }
        Ok(Some(Event::Taken { order, fingerprint, lines: lines.to_vec() }))
    }

    /// The part of an order's lines that fits back into the cart.
    fn returnable(&self, open: &OpenOrder) -> Vec<Line> {
        if self.check_currency(open.currency).is_err() {
            return Vec::new();
        }
        let mut room = LINES_MAX - self.lines.len();
        let mut returned = Vec::new();
        for line in &open.lines {
            let present = self.quantity_of(&line.product);
            if present == 0 && room == 0 {
                continue;
            }
            room -= usize::from(present == 0);
            let quantity = line.quantity.min(LINE_QUANTITY_MAX.saturating_sub(present));
            if quantity > 0 {
                returned.push(Line { product: line.product.clone(), quantity });
            }
        }
        returned
    }

    fn end(&mut self, order: OrderId) {
        self.open_orders.retain(|open| open.order != order);
        if self.ended_orders.len() == ENDED_ORDERS_KEPT {
            self.ended_orders.pop_front();
        }
        self.ended_orders.push_back(order);
    }

    fn add(&mut self, added: &[Line]) {
        self.lines = self.with_added(added).expect("decided within bounds");
    }
}

impl Entity for Cart {
    const KIND: Kind = Kind::Cart;
    type Id = UserId;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;
    type View = View;

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Option<Event>, Rejection> {
        if self.erased {
            // The cart is empty and has no open orders, so there is nothing to return, close or erase.
            let settled = matches!(command, Command::Return { .. } | Command::Close { .. } | Command::Erase);
            return if settled { Ok(None) } else { Err(Rejection::Erased) };
        }
        match command {
            Command::Add { lines, currency } => self.decide_add(lines, *currency),
            Command::SetQuantity { line, currency, if_version } => {
                self.check_version(*if_version)?;
                if self.quantity_of(&line.product) == line.quantity && line.quantity > 0 {
                    return Ok(None);
                }
                if line.quantity == 0 || line.quantity > LINE_QUANTITY_MAX {
                    return Err(Rejection::InvalidQuantity { product: line.product.clone() });
                }
                self.check_currency(*currency)?;
                if self.quantity_of(&line.product) == 0 && self.lines.len() >= LINES_MAX {
                    return Err(Rejection::TooManyLines);
                }
                Ok(Some(Event::QuantitySet { line: line.clone(), currency: *currency }))
            }
            Command::Remove { product, if_version } => {
                self.check_version(*if_version)?;
                let present = self.quantity_of(product) > 0;
                Ok(present.then(|| Event::Removed { product: product.clone() }))
            }
            Command::Take { order, fingerprint, version, lines } => {
                self.decide_take(*order, *fingerprint, *version, lines)
            }
            Command::Return { order } => {
                if self.ended_orders.contains(order) {
                    return Ok(None);
                }
                let open = self.open_orders.iter().find(|open| open.order == *order);
                let lines = open.map_or_else(Vec::new, |open| self.returnable(open));
                Ok(Some(Event::Returned { order: *order, lines }))
            }
            Command::Close { order } => Ok(self.is_open(*order).then_some(Event::Closed { order: *order })),
            Command::Erase if self.open_orders.is_empty() => Ok(Some(Event::Erased { at: now })),
            Command::Erase => Err(Rejection::OrdersOpen),
        }
    }

    fn apply(&mut self, event: &Event) {
        self.version += 1;
        match event {
            Event::Added { lines, currency } => {
                self.currency = Some(*currency);
                self.add(lines);
            }
            Event::QuantitySet { line, currency } => {
                self.currency = Some(*currency);
                match self.lines.iter_mut().find(|present| present.product == line.product) {
                    Some(present) => present.quantity = line.quantity,
                    None => self.lines.push(line.clone()),
                }
            }
            Event::Removed { product } => self.lines.retain(|line| line.product != *product),
            Event::Taken { order, fingerprint, lines } => {
                for taken in lines {
                    let present = self.lines.iter_mut().find(|line| line.product == taken.product);
                    present.expect("only what is in the cart is taken").quantity -= taken.quantity;
                }
                self.lines.retain(|line| line.quantity > 0);
                self.open_orders.push(OpenOrder {
                    order: *order,
                    fingerprint: *fingerprint,
                    currency: self.currency.expect("a cart with lines has a currency"),
                    lines: lines.clone(),
                });
            }
            Event::Returned { order, lines } => {
                if let Some(open) = self.open_orders.iter().find(|open| open.order == *order) {
                    self.currency = if lines.is_empty() { self.currency } else { Some(open.currency) };
                }
                self.add(lines);
                self.end(*order);
            }
            Event::Closed { order } => self.end(*order),
            Event::Erased { .. } => *self = Self { version: self.version, erased: true, ..Self::default() },
        }
    }

    fn erases(event: &Event) -> bool {
        matches!(event, Event::Erased { .. })
    }

    fn view(&self) -> View {
        let open_orders = self.open_orders.iter().map(|open| (open.order, open.fingerprint)).collect();
        View {
            version: self.version,
            lines: Arc::new(self.lines.clone()),
            open_orders: Arc::new(open_orders),
            unpaid: Arc::new(self.unpaid()),
        }
    }

    fn view_bytes(view: &View) -> usize {
        128 + 48 * (view.lines.len() + view.unpaid.len()) + 32 * view.open_orders.len()
    }
}
