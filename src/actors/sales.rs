//! What is counted of the shop's business: reservations by what became of them, orders by stage, and payments of which
//! the outcome is unknown.
//!
//! Plain atomic counters, so that a shop without the edge needs no library for metrics. May depend on `domain`.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::domain::{
    inventory::{Command, Rejection},
    order::{Order, Stage, Status},
};

/// What became of the units of one line of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reservation {
    /// They were reserved.
    Made,
    /// There were too few: selling them would have been an oversell.
    Refused,
    /// Their order was paid.
    Sold,
    /// Their order was cancelled.
    Released,
    /// Nobody paid in time.
    Expired,
}

impl Reservation {
    /// Every one of them.
    pub const ALL: [Self; 5] = [Self::Made, Self::Refused, Self::Sold, Self::Released, Self::Expired];

    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Refused => "refused",
            Self::Sold => "sold",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }

    /// What a command to an inventory does for this order if it is accepted, and if it is rejected. An order that was
    /// rejected releases every line, whether it was reserved or not, so that says nothing.
    pub(super) fn intended(command: &Command, order: &Order) -> Option<Self> {
        match command {
            Command::Reserve { .. } => Some(Self::Made),
            Command::Fulfil { .. } => Some(Self::Sold),
            Command::Release { .. } => match order.ends_as()? {
                Status::Rejected => None,
                Status::Expired => Some(Self::Expired),
                _ => Some(Self::Released),
            },
            _ => None,
        }
    }
}

/// The stages that an order leaves again. Orders that are delivered or have ended are not counted: there is no end of
/// them.
pub const MOVING: [Stage; 6] =
    [Stage::Open, Stage::Authorised, Stage::Paid, Stage::Confirmed, Stage::Packed, Stage::Shipped];

/// The stages of orders whose stock is reserved: it is sold when the order is confirmed.
const RESERVED: [Stage; 3] = [Stage::Open, Stage::Authorised, Stage::Paid];

/// The counters of a shop.
#[derive(Debug, Default)]
pub struct Sales {
    reservations: [AtomicU64; Reservation::ALL.len()],
    orders: [AtomicI64; Stage::ALL.len() + 1],
    /// Lines of these orders.
    lines: [AtomicI64; Stage::ALL.len() + 1],
    payments_unknown: AtomicU64,
}

impl Sales {
    /// Counts the answer of an inventory.
    pub(super) fn answered<V>(&self, intended: Option<Reservation>, answer: &Result<V, Rejection>) {
        let what = match (intended, answer) {
            (Some(Reservation::Made), Err(Rejection::InsufficientStock { .. })) => Reservation::Refused,
            (Some(intended), Ok(_)) => intended,
            _ => return,
        };
        self.reservations[what as usize].fetch_add(1, Relaxed);
    }

    /// How many lines of orders have met this since the shop was opened.
    #[must_use]
    pub fn reservations(&self, what: Reservation) -> u64 {
        self.reservations[what as usize].load(Relaxed)
    }

    /// Sets how many orders are in a stage, and how many lines these have.
    pub(super) fn set_orders(&self, stage: Stage, orders: i64, lines: i64) {
        self.orders[stage as usize].store(orders, Relaxed);
        self.lines[stage as usize].store(lines, Relaxed);
    }

    /// So many orders, with so many lines, more or fewer are in a stage.
    pub(super) fn moved(&self, stage: Stage, orders: i64, lines: i64) {
        self.orders[stage as usize].fetch_add(orders, Relaxed);
        self.lines[stage as usize].fetch_add(lines, Relaxed);
    }

    /// How many lines the orders have whose stock is reserved, as the lists know it.
    #[must_use]
    pub fn live_reservations(&self) -> u64 {
        let lines: i64 = RESERVED.into_iter().map(|stage| self.lines[stage as usize].load(Relaxed)).sum();
        u64::try_from(lines).unwrap_or(0)
    }

    /// How many orders are in one of the stages of [`MOVING`], as the lists know it.
    #[must_use]
    pub fn orders(&self, stage: Stage) -> u64 {
        u64::try_from(self.orders[stage as usize].load(Relaxed)).unwrap_or(0)
    }

    pub(super) fn set_payments_unknown(&self, orders: usize) {
        self.payments_unknown.store(orders as u64, Relaxed);
    }

    /// How many orders wait because the provider has not said what became of a payment or a refund.
    #[must_use]
    pub fn payments_unknown(&self) -> u64 {
        self.payments_unknown.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lack_of_stock_is_a_refusal() {
        let sales = Sales::default();
        let lacks = Rejection::InsufficientStock { requested: 2, available: 1 };
        sales.answered(Some(Reservation::Made), &Ok(()));
        sales.answered::<()>(Some(Reservation::Made), &Err(lacks.clone()));
        sales.answered::<()>(Some(Reservation::Made), &Err(Rejection::DeadlinePassed));
        sales.answered::<()>(Some(Reservation::Expired), &Err(lacks));
        sales.answered(None, &Ok(()));
        assert_eq!(Reservation::ALL.map(|what| sales.reservations(what)), [1, 1, 0, 0, 0]);
    }
}
