//! What the provider's ledger and the stock must be, computed only from the orders as the API shows them.
//!
//! The crate's checker (`souk::verify`) does the same in another way. This is written against the public API alone, so
//! that one mistake does not hide a mistake of the shop from both.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use souk_gateway_sim::{Effect, Line};

/// Orders by id, as `GET /orders/{id}` shows them.
pub(crate) type Orders = BTreeMap<String, Value>;

/// What the provider captured and refunded of an order, in minor units.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    captures: u64,
    captured: u64,
    refunded: u64,
}

/// The status of an order.
pub(crate) fn status(order: &Value) -> &str {
    order["status"].as_str().unwrap_or_default()
}

fn refunds(order: &Value) -> impl Iterator<Item = &Value> {
    order["refunds"].as_array().into_iter().flatten()
}

/// Whether money of an order has gone back, or was to.
pub(crate) fn has_refunds(order: &Value) -> bool {
    refunds(order).next().is_some()
}

/// Whether an order is over, or waits for its customer.
pub(crate) fn has_ended(order: &Value) -> bool {
    let rests = matches!(status(order), "confirmed" | "cancelled" | "expired" | "rejected" | "awaiting_payment");
    rests && refunds(order).all(|refund| refund["status"] != "pending")
}

/// Whether an order does not change any more unless somebody asks for something.
pub(crate) fn is_final(order: &Value) -> bool {
    has_ended(order) && status(order) != "awaiting_payment"
}

/// How many orders were captured more than once.
pub(crate) fn double_captures(ledger: &[Line]) -> usize {
    moved(ledger).values().filter(|moved| moved.captures > 1).count()
}

fn moved(ledger: &[Line]) -> BTreeMap<String, Moved> {
    let (mut orders, mut under_way) = (BTreeMap::<String, Moved>::new(), BTreeSet::new());
    for line in ledger {
        let order = line.key.split(':').next().unwrap_or_default();
        let moved = orders.entry(order.to_owned()).or_default();
        match line.effect {
            Effect::Captured => {
                moved.captures += 1;
                moved.captured += line.amount.minor;
            }
            Effect::Refunded => {
                moved.refunded += line.amount.minor;
                under_way.insert(line.object.clone());
            }
            // It had succeeded, and came back.
            Effect::RefundFailed if under_way.remove(&line.object) => moved.refunded -= line.amount.minor,
            _ => {}
        }
    }
    orders
}

/// All differences between the ledger and the orders, to the cent. Orders that are not over are left out.
pub(crate) fn compare_money(orders: &Orders, ledger: &[Line]) -> Vec<String> {
    let (moved, mut wrong) = (moved(ledger), Vec::new());
    for (id, order) in orders {
        let Moved { captures, captured, refunded } = moved.get(id).copied().unwrap_or_default();
        if captures > 1 {
            wrong.push(format!("{id} was captured {captures} times"));
        }
        if !has_ended(order) {
            continue;
        }
        let minor = |what: &str| order[what]["amount"].as_u64().unwrap_or(u64::MAX);
        let (total, given_back) = (minor("total"), minor("refunded"));
        // An order that was cancelled may have been paid before: then all of it was refunded.
        let keeps = if status(order) == "confirmed" { total - given_back } else { 0 };
        let taken = if status(order) == "confirmed" { total } else { given_back };
        if (captured, refunded, captured.checked_sub(refunded)) != (taken, given_back, Some(keeps)) {
            let says = format!("{} over {total}, {given_back} refunded", status(order));
            wrong.push(format!("{id}: {captured} captured and {refunded} given back, the order is {says}"));
        }
    }
    wrong.extend(moved.keys().filter(|id| !orders.contains_key(*id)).map(|id| format!("nobody placed {id}")));
    wrong
}

/// All differences between a product's stock and the orders. `at_first` is its stock before them; all orders must be
/// over.
pub(crate) fn compare_stock(orders: &Orders, product: &str, at_first: u64, stock: &Value) -> Vec<String> {
    let units_in = |items: &Value| -> u64 {
        let items = items.as_array().into_iter().flatten().filter(|item| item["product_id"] == product);
        items.filter_map(|item| item["quantity"].as_u64()).sum()
    };
    let (mut sold, mut reserved, mut restocked) = (0, 0, 0);
    for order in orders.values() {
        let was_sold = order["history"].as_array().into_iter().flatten().any(|entry| entry["status"] == "confirmed");
        sold += if was_sold { units_in(&order["items"]) } else { 0 };
        reserved += if status(order) == "awaiting_payment" { units_in(&order["items"]) } else { 0 };
        restocked += refunds(order).map(|refund| units_in(&refund["restock"])).sum::<u64>();
    }
    let on_hand = (at_first + restocked).saturating_sub(sold);
    let expected = [("sold", sold), ("reserved_quantity", reserved), ("on_hand", on_hand)];
    let wrong = expected.into_iter().filter(|(what, expected)| stock[*what] != *expected);
    wrong.map(|(what, expected)| format!("{product}: {what} is {}, the orders say {expected}", stock[what])).collect()
}
