//! The orders of a history: what each asked for, and the times by which its steps are known to have happened.
//!
//! Depends on `history` and `domain`.

use std::collections::{BTreeMap, HashMap};

use super::history::{Answer, Call, History, Line, Order, Outcome, RecordedCall};
use crate::domain::order::Status;

/// Parses a status of the API.
pub(super) fn status_of(word: &str) -> Option<Status> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}

/// A checkout with all its repetitions, and what was seen of its order. Times are in nanoseconds since the start.
#[derive(Debug, Clone)]
pub(super) struct Placing<'a> {
    pub customer: &'a str,
    /// The order as it was first shown.
    pub acknowledged: Option<&'a Order>,
    /// The time of the first answer that showed it; `u64::MAX` without one.
    pub acknowledged_by: u64,
    /// The time of the first request.
    pub invoked: u64,
    /// The time of the last answer; `u64::MAX` where a request was not answered.
    pub answered: u64,
    /// The lines asked for; `None` for the whole cart.
    pub lines: Option<&'a Vec<Line>>,
    /// Whether it may have been placed and then been refused its stock.
    pub refused_stock: bool,
    /// Whether one of its requests was not answered.
    pub unknown: bool,
    /// The time by which its stock was reserved.
    pub reserved_by: Option<u64>,
    /// The time of the first payment request.
    pub payment_invoked: Option<u64>,
    /// The time of the first cancellation request.
    pub cancel_invoked: Option<u64>,
    /// The time of the first answer that says it is paid.
    pub paid_by: Option<u64>,
    /// The time by which it was confirmed, and its stock sold.
    pub confirmed_by: Option<u64>,
    /// The time by which it was cancelled or expired: its stock is released, and its lines return unless it was
    /// confirmed.
    pub ended_by: Option<u64>,
}

/// All orders of a history.
#[derive(Debug, Default)]
pub(super) struct Placings<'a> {
    pub all: Vec<Placing<'a>>,
    by_order: BTreeMap<&'a str, usize>,
}

fn earliest(known: &mut Option<u64>, at: u64) {
    *known = Some(known.map_or(at, |known| known.min(at)));
}

impl<'a> Placings<'a> {
    pub(super) fn of(history: &'a History) -> Self {
        let mut placings = Self::default();
        let mut by_key: HashMap<(&str, &str), usize> = HashMap::new();
        for op in &history.ops {
            let Call::Checkout { customer, key, lines, .. } = &op.call else { continue };
            let order = match op.answer() {
                Some(Answer::Order(order)) => Some(order),
                _ => None,
            };
            let named = key.as_ref().map(|key| (customer.as_str(), key.as_str()));
            let known = order.and_then(|order| placings.by_order.get(order.order.as_str()).copied());
            // A key with two effects creates two orders; `check_keys` reports that.
            let of_key = named.and_then(|named| by_key.get(&named).copied()).filter(|index| {
                let first = placings.all[*index].acknowledged;
                order.is_none_or(|order| first.is_none_or(|first| first.order == order.order))
            });
            let index = known.or(of_key).unwrap_or_else(|| placings.begin(op, customer, lines.as_ref()));
            by_key.extend(named.map(|named| (named, index)));
            placings.take(index, op, order);
        }
        for op in &history.ops {
            placings.see(op);
        }
        placings
    }

    fn begin(&mut self, op: &RecordedCall, customer: &'a str, lines: Option<&'a Vec<Line>>) -> usize {
        self.all.push(Placing {
            customer,
            acknowledged: None,
            acknowledged_by: u64::MAX,
            invoked: op.invoked,
            answered: 0,
            lines,
            refused_stock: false,
            unknown: false,
            reserved_by: None,
            payment_invoked: None,
            cancel_invoked: None,
            paid_by: None,
            confirmed_by: None,
            ended_by: None,
        });
        self.all.len() - 1
    }

    fn take(&mut self, index: usize, op: &'a RecordedCall, order: Option<&'a Order>) {
        let placing = &mut self.all[index];
        placing.answered = placing.answered.max(op.returned.unwrap_or(u64::MAX));
        match (&op.outcome, order) {
            (Outcome::Fail(refusal), _) => match refusal.code.as_str() {
                "insufficient-stock" => placing.refused_stock = true,
                // The order exists, or another request with the key is about to place it.
                "checkout-in-progress" | "idempotency-key-in-use" => placing.unknown = true,
                _ => {}
            },
            (_, Some(order)) => {
                placing.acknowledged = placing.acknowledged.or(Some(order));
                placing.acknowledged_by = placing.acknowledged_by.min(op.returned.unwrap_or(u64::MAX));
                self.by_order.insert(&order.order, index);
            }
            _ => {
                placing.unknown = true;
                placing.answered = u64::MAX;
            }
        }
    }

    /// Takes over what an answer shows about an order.
    fn see(&mut self, op: &'a RecordedCall) {
        if let (Call::Pay { order, .. } | Call::Cancel { order, .. }, false) =
            (&op.call, matches!(op.outcome, Outcome::Fail(_)))
            && let Some(index) = self.by_order.get(order.as_str())
        {
            let Placing { payment_invoked, cancel_invoked, .. } = &mut self.all[*index];
            let wanted = if matches!(op.call, Call::Pay { .. }) { payment_invoked } else { cancel_invoked };
            earliest(wanted, op.invoked);
        }
        let (id, state, captured, sold) = match op.answer() {
            Some(Answer::Order(order)) => (&order.order, &order.state, false, order.sold),
            Some(Answer::Payment(payment)) => (&payment.order, &payment.state, payment.captured, false),
            _ => return,
        };
        let (Some(index), Some(at)) = (self.by_order.get(id.as_str()), op.returned) else { return };
        let placing = &mut self.all[*index];
        let Some(status) = status_of(state) else { return };
        if captured || status.is_paid() {
            earliest(&mut placing.paid_by, at);
        }
        if sold {
            earliest(&mut placing.reserved_by, at);
            earliest(&mut placing.confirmed_by, at);
        }
        match status {
            Status::AwaitingPayment | Status::PaymentPending | Status::Authorised | Status::Paid => {
                earliest(&mut placing.reserved_by, at);
            }
            Status::Confirmed | Status::Packed | Status::Shipped | Status::Delivered => {
                earliest(&mut placing.reserved_by, at);
                earliest(&mut placing.confirmed_by, at);
            }
            Status::Cancelled | Status::Expired | Status::Rejected => earliest(&mut placing.ended_by, at),
            Status::Placed | Status::Cancelling => {}
        }
    }

    pub(super) fn by_order(&self, order: &str) -> Option<&Placing<'a>> {
        self.by_order.get(order).map(|index| &self.all[*index])
    }

    pub(super) fn orders(&self) -> impl Iterator<Item = (&'a str, &Placing<'a>)> {
        self.by_order.iter().map(|(id, index)| (*id, &self.all[*index]))
    }
}
