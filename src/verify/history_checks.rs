//! Checks of a history: acknowledged orders, keys, owners, money, and whether stock and carts are linearizable.
//!
//! A history must contain every call that changes its carts and products; the calls of other clients would look like
//! faults.
//!
//! Depends on its neighbours and on `domain`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    history::{Answer, Call, Cart, History, Line, Order, Outcome, RecordedCall},
    ledger::Ledger,
    observed::{Observed, captured, check_captures, moves_forward, refunded},
    placings::{Placing, Placings, status_of},
    report::{Invariant, Report},
};
use crate::domain::{money::Money, order::Status};

/// Checks a history: by itself, against the provider's ledger, and against the shop's present state.
pub(super) fn check(history: &History, ledger: Option<&Ledger>, observed: Option<&Observed>, report: &mut Report) {
    report.look("calls", history.ops.len());
    let answered = history.ops.iter().filter(|op| op.answer().is_some()).count();
    report.look("answers", answered);
    if history.cut {
        report.look("lines cut off", 1);
    }
    let placings = Placings::of(history);
    check_orders(history, &placings, observed, report);
    check_keys(history, report);
    check_owners(history, report);
    if let Some(ledger) = ledger {
        check_money(&placings, ledger, observed.is_some(), report);
    }
    super::linearizability::check(history, &placings, observed, report);
}

/// The order in an answer, if the answer shows its status and the status is known.
fn order_of(op: &RecordedCall) -> Option<&Order> {
    match op.answer() {
        Some(Answer::Order(order)) => Some(order),
        _ => None,
    }
}

fn sorted(lines: &[Line]) -> Vec<Line> {
    let mut lines = lines.to_vec();
    lines.sort();
    lines
}

/// I2: an acknowledged order exists and only moves forward.
fn check_orders(history: &History, placings: &Placings<'_>, observed: Option<&Observed>, report: &mut Report) {
    report.check(Invariant::I2);
    // For each order the statuses that were seen, with the begin and end of the call.
    let mut seen: HashMap<&str, Vec<(u64, u64, Status)>> = HashMap::new();
    for op in &history.ops {
        let (id, state) = match op.answer() {
            Some(Answer::Order(order)) => (order.order.as_str(), order.state.as_str()),
            Some(Answer::Payment(payment)) => (payment.order.as_str(), payment.state.as_str()),
            _ => continue,
        };
        match status_of(state) {
            Some(status) => {
                seen.entry(id).or_default().push((op.invoked, op.returned.unwrap_or(u64::MAX), status));
            }
            None => report.find(Invariant::I2, id, format!("no order can be {state:?}")),
        }
    }
    for (id, mut shown) in seen {
        shown.sort_by_key(|(invoked, ..)| *invoked);
        for (index, (_, returned, before)) in shown.iter().enumerate() {
            let later = shown[index..].iter().filter(|(invoked, ..)| invoked > returned);
            let back = later.map(|(.., after)| *after).find(|after| !moves_forward(*before, *after));
            if let Some(after) = back {
                let what = format!("the order was {}, and later {}", before.as_str(), after.as_str());
                report.find(Invariant::I2, id, what);
                break;
            }
        }
        let Some(observed) = observed else { continue };
        match observed.orders.get(id) {
            None => report.find(Invariant::I2, id, "the order was acknowledged and is not there"),
            Some(order) => {
                if let Some((.., before)) = shown.iter().find(|(.., before)| !moves_forward(*before, order.status)) {
                    let (before, now) = (before.as_str(), order.status.as_str());
                    report.find(Invariant::I2, id, format!("the order was {before} and is {now}"));
                }
            }
        }
    }
    for (op, order) in history.ops.iter().filter_map(|op| Some((op, order_of(op)?))) {
        if let Call::Checkout { total, lines, .. } = &op.call {
            if *total != order.total.minor {
                let what = format!("the customer agreed to {total}, and the order is over {}", order.total);
                report.find(Invariant::I2, &order.order, what);
            }
            if lines.as_ref().is_some_and(|lines| sorted(lines) != sorted(&order.lines)) {
                report.find(Invariant::I2, &order.order, "the order has other lines than were asked for");
            }
        }
        let Some(placing) = placings.by_order(&order.order) else { continue };
        let acknowledged = placing.acknowledged.map(|first| (sorted(&first.lines), first.total));
        let stored = observed.and_then(|observed| observed.orders.get(&order.order));
        let stored = stored.map(|stored| (sorted(&stored.lines), stored.total));
        let shown = (sorted(&order.lines), order.total);
        if acknowledged.is_some_and(|first| first != shown) || stored.is_some_and(|stored| stored != shown) {
            let what = "the order was acknowledged with other lines or another total than it has elsewhere";
            report.find(Invariant::I2, &order.order, what);
        }
    }
    for op in &history.ops {
        let (Call::OrderRead { customer, order }, Outcome::Fail(refusal)) = (&op.call, &op.outcome) else { continue };
        let Some(placing) = placings.by_order(order).filter(|_| refusal.status == 404) else { continue };
        if placing.customer == customer && placing.acknowledged_by < op.invoked {
            report.find(
                Invariant::I2,
                order,
                "the order was acknowledged, and later its customer was told there is none",
            );
        }
    }
}

/// I7: requests with one key have one effect.
fn check_keys(history: &History, report: &mut Report) {
    report.check(Invariant::I7);
    let mut bodies: HashMap<(&str, &str, &str), &RecordedCall> = HashMap::new();
    for op in &history.ops {
        let (what, customer, key) = match &op.call {
            Call::Checkout { customer, key: Some(key), .. } => ("checkout", customer, key),
            Call::Pay { customer, key: Some(key), .. } => ("pay", customer, key),
            Call::CartAdd { customer, key: Some(key), .. } => ("cart_add", customer, key),
            _ => continue,
        };
        let Some(answer) = op.answer() else { continue };
        let Some(first) = bodies.insert((what, customer, key), op) else { continue };
        let subject = format!("{what} of {customer} with the key {key:?}");
        if first.call != op.call {
            report.find(Invariant::I7, subject, "two different requests were both done");
            continue;
        }
        let differs = match (first.answer(), answer) {
            (Some(Answer::Order(one)), Answer::Order(other)) => one.order != other.order,
            (Some(Answer::Payment(one)), Answer::Payment(other)) => {
                one.order != other.order || one.attempt != other.attempt
            }
            _ => false,
        };
        if differs {
            report.find(Invariant::I7, subject, "the same request had two effects");
        }
    }
}

/// I10: customers see only their own orders.
fn check_owners(history: &History, report: &mut Report) {
    report.check(Invariant::I10);
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for op in &history.ops {
        if let (Call::Checkout { customer, .. }, Some(order)) = (&op.call, order_of(op)) {
            owners.entry(&order.order).or_insert(customer);
        }
    }
    // The products that each customer put into the cart, or that the cart held at the first answer.
    let mut own: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut met = BTreeSet::new();
    for op in &history.ops {
        match &op.call {
            Call::CartAdd { customer, items, .. } => {
                own.entry(customer).or_default().extend(items.iter().map(|(product, _)| product.as_str()));
            }
            Call::CartSet { customer, product, .. } => {
                own.entry(customer).or_default().insert(product);
            }
            _ => {}
        }
        if let (Some(customer), Some(Answer::Cart(Cart { lines, .. }))) = (customer_of(&op.call), op.answer())
            && met.insert(customer)
        {
            own.entry(customer).or_default().extend(lines.iter().map(|(product, _)| product.as_str()));
        }
    }
    for op in &history.ops {
        let (Some(customer), Some(answer)) = (customer_of(&op.call), op.answer()) else { continue };
        let asked = match &op.call {
            Call::Pay { order, .. } | Call::Cancel { order, .. } | Call::OrderRead { order, .. } => Some(order),
            _ => None,
        };
        let (id, stated) = match answer {
            Answer::Order(order) => (&order.order, order.owner.as_deref()),
            Answer::Payment(payment) => (&payment.order, None),
            Answer::Cart(cart) => {
                let has = |of: &BTreeSet<&str>, product: &str| of.contains(product);
                for (product, _) in &cart.lines {
                    let strange = own.get(customer).is_none_or(|own| !has(own, product));
                    if strange && own.values().any(|other| has(other, product)) {
                        let what = format!("the cart shows {product}, which only another customer has put into theirs");
                        report.find(Invariant::I10, customer, what);
                    }
                }
                continue;
            }
            Answer::Stock(_) | Answer::Done => continue,
        };
        if asked.is_some_and(|asked| asked != id) {
            report.find(Invariant::I10, customer, format!("asked for another order and was shown {id}"));
        }
        let owner = stated.or_else(|| owners.get(id.as_str()).copied());
        if let Some(owner) = owner.filter(|owner| *owner != customer) {
            report.find(Invariant::I10, customer, format!("was shown order {id} of {owner}"));
        }
    }
}

fn customer_of(call: &Call) -> Option<&str> {
    match call {
        Call::CartRead { customer }
        | Call::CartAdd { customer, .. }
        | Call::CartSet { customer, .. }
        | Call::CartRemove { customer, .. }
        | Call::Checkout { customer, .. }
        | Call::Pay { customer, .. }
        | Call::Cancel { customer, .. }
        | Call::OrderRead { customer, .. } => Some(customer),
        Call::StockRead { .. }
        | Call::StockReceive { .. }
        | Call::StockAdjust { .. }
        | Call::StockSet { .. }
        | Call::Advance { .. } => None,
    }
}

/// I3 and I4, as far as answers to customers show that money was taken or that an order ended without it.
fn check_money(placings: &Placings<'_>, ledger: &Ledger, is_observed: bool, report: &mut Report) {
    if !is_observed {
        ledger.look(report);
        report.leave_open(Invariant::I3, "orders whose customers were told nothing");
        let total_of = |id: &str| placings.by_order(id).and_then(|placing| Some(placing.acknowledged?.total));
        check_captures(ledger, total_of, report);
    }
    report.check(Invariant::I3);
    report.check(Invariant::I4);
    for (id, placing) in placings.orders() {
        let Placing { acknowledged, paid_by, ended_by, .. } = placing;
        let Some(Order { total: Money { minor, .. }, .. }) = acknowledged else { continue };
        let (captured, refunded) = (captured(ledger, id), refunded(ledger, id));
        if paid_by.is_some() && captured != u128::from(*minor) {
            let what = format!("its customer was told that it is paid; it is over {minor}, captured are {captured}");
            report.find(Invariant::I3, id, what);
        }
        if ended_by.is_some() && captured > refunded {
            report.find(Invariant::I3, id, format!("it came to nothing, and {captured} are captured"));
        }
    }
}
