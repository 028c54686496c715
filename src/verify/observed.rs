//! What a shop shows, read from its API or its directory: orders and stock, checked against each other and the ledger.
//!
//! Depends on `history`, `report`, `ledger` and `domain`.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
};

use super::{
    history::{Line, Stock},
    ledger::Ledger,
    report::{Invariant, Report},
};
use crate::domain::{entity::Timestamp, money::Money, order::Status};

/// What a shop shows.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    pub stocks: BTreeMap<String, ObservedStock>,
    pub orders: BTreeMap<String, ObservedOrder>,
    /// Whether it is a consistent snapshot: read from a stopped shop, or while nothing changed.
    pub consistent: bool,
    /// The time of the reading, or of the last event in the directory.
    pub at: Timestamp,
}

/// A product's stock as the shop shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObservedStock {
    pub stock: Stock,
    /// Open reservations by order; `None` where they are not visible.
    pub holds: Option<BTreeMap<String, u64>>,
}

/// An order as the shop shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObservedOrder {
    pub status: Status,
    pub lines: Vec<Line>,
    pub total: Money,
    /// The refunds, in minor units; `None` while the provider works on one.
    pub refunded_minor: Option<u64>,
    /// The sum of lines, shipping and tax; `None` where it overflows or mixes currencies.
    pub sum: Option<Money>,
    /// The status after each change, oldest first.
    pub course: Vec<Status>,
    pub deadline: Timestamp,
    /// Whether an operator has to decide about it.
    pub has_issues: bool,
    /// Whether the next start of the shop resumes it; `None` where that is not visible.
    pub resumed: Option<bool>,
}

impl ObservedOrder {
    /// Whether somebody outside the shop decides how long it stays unfinished: the seller who captures a hold, the
    /// provider that works on a refund, the operator who decides about an issue.
    fn waits_for_others(&self) -> bool {
        self.status == Status::Authorised || self.refunded_minor.is_none() || self.has_issues
    }
}

/// How long after its deadline an order that waits for nobody else may still be open, in milliseconds: a provider may
/// be out of reach for a while.
const OPEN_MS_MAX: u64 = 3_600_000;

/// Whether an order can come from one status to another, in any number of steps.
pub(super) fn moves_forward(from: Status, to: Status) -> bool {
    let rank = |status| match status {
        Status::Placed => 0,
        Status::AwaitingPayment | Status::PaymentPending | Status::Authorised => 1,
        Status::Paid => 2,
        Status::Confirmed => 3,
        Status::Packed => 4,
        Status::Shipped => 5,
        Status::Delivered => 6,
        Status::Cancelling => 7,
        Status::Cancelled | Status::Expired | Status::Rejected => 8,
    };
    let comes_to_nothing = rank(to) >= 7;
    match rank(from) {
        // Until it is shipped it can be cancelled.
        0..=4 => rank(to) >= rank(from),
        5 | 6 => rank(to) >= rank(from) && !comes_to_nothing,
        // An order that expires may still be paid at the last moment.
        7 => rank(to) >= 2,
        _ => from == to,
    }
}

/// The units of a product that orders reserve, may reserve, or have bought.
#[derive(Default, Clone, Copy)]
struct Claim {
    held: u64,
    perhaps_held: u64,
    sold: u64,
    perhaps_sold: u64,
}

impl Observed {
    /// Makes every check that what is visible allows.
    pub(super) fn check(&self, ledger: Option<&Ledger>, report: &mut Report) {
        report.look("orders", self.orders.len());
        report.look("products", self.stocks.len());
        self.check_orders(report);
        self.check_ends(report);
        self.check_stock(report);
        self.check_holds(report);
        match ledger {
            Some(ledger) => self.check_money(ledger, report),
            None => {
                report.leave_open(Invariant::I3, "no ledger of the provider was given");
                report.leave_open(Invariant::I4, "no ledger of the provider was given");
            }
        }
    }

    fn check_orders(&self, report: &mut Report) {
        report.check(Invariant::I2);
        for (id, order) in &self.orders {
            let steps = order.course.iter().zip(order.course.iter().skip(1));
            for (from, to) in steps.filter(|(from, to)| !moves_forward(**from, **to)) {
                report.find(Invariant::I2, id, format!("the order went from {} to {}", from.as_str(), to.as_str()));
            }
            if order.course.last().is_some_and(|last| !moves_forward(*last, order.status)) {
                report.find(Invariant::I2, id, format!("the order went back to {}", order.status.as_str()));
            }
            if order.sum != Some(order.total) {
                let sum = order.sum.map_or_else(|| "no sum".to_owned(), |sum| sum.to_string());
                report.find(Invariant::I2, id, format!("the total is {}, the lines come to {sum}", order.total));
            }
        }
    }

    fn check_ends(&self, report: &mut Report) {
        report.check(Invariant::I6);
        for (id, order) in self.orders.iter().filter(|(_, order)| is_unfinished(order.status)) {
            let status = order.status.as_str();
            if order.resumed == Some(false) {
                report.find(Invariant::I6, id, format!("the order is {status}, and no start will take it up"));
            } else if !order.waits_for_others() && self.at.ms_since(order.deadline) > OPEN_MS_MAX {
                let late = self.at.ms_since(order.deadline) / 1_000;
                report.find(Invariant::I6, id, format!("the order is still {status}, {late} s after its deadline"));
            }
        }
    }

    fn claims(&self) -> HashMap<&str, Claim> {
        let mut claims: HashMap<&str, Claim> = HashMap::new();
        for order in self.orders.values() {
            let was_sold = order.course.contains(&Status::Confirmed);
            for (product, quantity) in &order.lines {
                let claim = claims.entry(product).or_default();
                let quantity = u64::from(*quantity);
                match order.status {
                    // A cancellation after the sale returns the units as a receipt.
                    Status::Cancelling | Status::Cancelled if was_sold => claim.sold += quantity,
                    Status::AwaitingPayment | Status::PaymentPending | Status::Authorised => claim.held += quantity,
                    Status::Placed | Status::Cancelling => claim.perhaps_held += quantity,
                    Status::Paid => {
                        claim.perhaps_held += quantity;
                        claim.perhaps_sold += quantity;
                    }
                    Status::Confirmed | Status::Packed | Status::Shipped | Status::Delivered => claim.sold += quantity,
                    Status::Cancelled | Status::Expired | Status::Rejected => {}
                }
            }
        }
        claims
    }

    fn check_stock(&self, report: &mut Report) {
        report.check(Invariant::I1);
        let claims = self.claims();
        for (product, observed) in &self.stocks {
            let Stock { received, on_hand, sold, reserved, available } = &observed.stock;
            let mut wrong = String::new();
            if sold.checked_add(*reserved).is_none_or(|claimed| claimed > *received) {
                let _ = write!(wrong, "{sold} sold and {reserved} reserved of {received} received; ");
            }
            if on_hand.checked_add(*sold) != Some(*received) {
                let _ = write!(wrong, "{on_hand} on hand and {sold} sold are not the {received} received; ");
            }
            if reserved.checked_add(*available) != Some(*on_hand) {
                let _ = write!(wrong, "{reserved} reserved and {available} available are not the {on_hand} on hand; ");
            }
            let claim = claims.get(product.as_str()).copied().unwrap_or_default();
            if self.consistent && !(claim.sold..=claim.sold + claim.perhaps_sold).contains(sold) {
                let _ = write!(wrong, "{sold} sold, but orders bought {}; ", claim.sold);
            }
            if !wrong.is_empty() {
                report.find(Invariant::I1, product, wrong.trim_end_matches("; "));
            }
        }
        for product in claims.keys().filter(|product| !self.stocks.contains_key(**product)) {
            report.find(Invariant::I1, product, "orders have it, but there is no stock of it");
        }
    }

    fn check_holds(&self, report: &mut Report) {
        if !self.consistent {
            report.leave_open(Invariant::I5, "the shop did not come to rest");
            return;
        }
        report.check(Invariant::I5);
        let claims = self.claims();
        for (product, ObservedStock { stock: Stock { reserved, .. }, holds }) in &self.stocks {
            let Claim { held, perhaps_held, .. } = claims.get(product.as_str()).copied().unwrap_or_default();
            if !(held..=held + perhaps_held).contains(reserved) {
                let what = format!("{reserved} reserved, but unfinished orders hold {held}");
                report.find(Invariant::I5, product, what);
            }
            let Some(holds) = holds else { continue };
            if holds.values().sum::<u64>() != *reserved {
                report.find(Invariant::I5, product, format!("{reserved} reserved is not the sum of {holds:?}"));
            }
            for (id, quantity) in holds {
                let order = self.orders.get(id).filter(|order| is_unfinished(order.status));
                let wanted = order.and_then(|order| order.lines.iter().find(|(wanted, _)| wanted == product));
                if wanted.map(|(_, wanted)| u64::from(*wanted)) != Some(*quantity) {
                    let what = format!("{quantity} are kept for order {id}, which does not claim them");
                    report.find(Invariant::I5, product, what);
                }
            }
        }
    }

    fn check_money(&self, ledger: &Ledger, report: &mut Report) {
        ledger.look(report);
        report.check(Invariant::I3);
        report.check(Invariant::I4);
        check_captures(ledger, |order| self.orders.get(order).map(|order| order.total), report);
        for (id, order) in &self.orders {
            let (captured, given_back) = (captured(ledger, id), refunded(ledger, id));
            let moves = matches!(order.status, Status::PaymentPending | Status::Authorised | Status::Cancelling);
            let (Some(refunded), false) = (order.refunded_minor, moves || !self.consistent) else { continue };
            // The money that remains after refunds; 0 for an order that ended without a sale.
            let taken = if order.status.is_paid() { u128::from(order.total.minor) } else { u128::from(refunded) };
            if (captured, given_back) != (taken, u128::from(refunded)) {
                let status = order.status.as_str();
                let what = format!(
                    "{captured} captured and {given_back} given back, but the order is {status} over {}, {refunded} refunded",
                    order.total
                );
                report.find(Invariant::I3, id, what);
            }
        }
        let unknown = ledger.captures.keys().filter(|id| !self.orders.contains_key(*id));
        for id in unknown.filter(|_| self.consistent) {
            report.find(Invariant::I3, id, "money was captured for an order that is not there");
        }
    }
}

fn is_unfinished(status: Status) -> bool {
    use Status::{Authorised, AwaitingPayment, Cancelling, Paid, PaymentPending, Placed};
    matches!(status, Placed | AwaitingPayment | PaymentPending | Authorised | Paid | Cancelling)
}

/// The sum captured for an order, in minor units.
pub(super) fn captured(ledger: &Ledger, order: &str) -> u128 {
    ledger.of(order).iter().map(|amount| u128::from(amount.minor)).sum()
}

/// The sum refunded for an order, in minor units.
pub(super) fn refunded(ledger: &Ledger, order: &str) -> u128 {
    ledger.refunds.get(order).into_iter().flatten().map(|amount| u128::from(amount.minor)).sum()
}

/// I4: at most one capture for an order, of its total.
pub(super) fn check_captures(ledger: &Ledger, total_of: impl Fn(&str) -> Option<Money>, report: &mut Report) {
    for (id, captures) in &ledger.captures {
        if captures.len() > 1 {
            report.find(Invariant::I4, id, format!("{} captures", captures.len()));
        }
        let total = total_of(id);
        for amount in captures.iter().filter(|amount| total.is_some_and(|total| total != **amount)) {
            let total = total.map(|total| total.to_string()).unwrap_or_default();
            report.find(Invariant::I4, id, format!("{amount} captured, the order is over {total}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;

    #[test]
    fn only_an_order_that_waits_for_nobody_ends_within_an_hour_of_its_deadline() {
        let total = Money::new(500, Currency::INR).unwrap();
        let order = ObservedOrder {
            status: Status::PaymentPending,
            lines: Vec::new(),
            total,
            refunded_minor: Some(0),
            sum: Some(total),
            course: Vec::new(),
            deadline: Timestamp(1),
            has_issues: false,
            resumed: Some(true),
        };
        let is_late = |order: &ObservedOrder| {
            let orders = BTreeMap::from([("1".to_owned(), order.clone())]);
            let at = Timestamp(2 * OPEN_MS_MAX);
            let mut report = Report::default();
            Observed { orders, at, ..Observed::default() }.check_ends(&mut report);
            !report.is_clean()
        };
        assert!(is_late(&order));
        for waits in [
            ObservedOrder { status: Status::Authorised, ..order.clone() },
            ObservedOrder { status: Status::Cancelling, refunded_minor: None, ..order.clone() },
            ObservedOrder { has_issues: true, ..order },
        ] {
            assert!(!is_late(&waits), "{waits:?}");
            assert!(is_late(&ObservedOrder { resumed: Some(false), ..waits }), "nobody goes on with it");
        }
    }
}
