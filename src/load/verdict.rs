//! After the run: is everything there that the shop said it had done?
//!
//! Depends on nothing of the crate.

use std::{collections::HashMap, time::Instant};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use super::{client::Client, recorder::Kind, town::Town};

/// How many orders are remembered to be looked at again. Each takes about 300 bytes.
const REMEMBERED_MAX: usize = 1_000_000;
/// How many orders are looked at at once.
const LOOKS_AT_ONCE: usize = 32;

/// What the shop has acknowledged.
#[derive(Default)]
pub(super) struct Acknowledged(Mutex<Orders>);

#[derive(Default)]
struct Orders {
    paid: HashMap<String, Paid>,
    forgotten: u64,
}

struct Paid {
    customer: usize,
    total: Value,
}

impl Acknowledged {
    pub(super) fn paid(&self, order: &str, customer: usize, total: &Value) {
        let mut orders = self.0.lock();
        if orders.paid.len() >= REMEMBERED_MAX {
            orders.forgotten += 1;
            return;
        }
        orders.paid.insert(order.to_owned(), Paid { customer, total: total.clone() });
    }
}

/// What was found when acknowledged orders were looked at again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Paid orders that were looked at.
    pub orders: u64,
    /// Of them: not there, not paid, or with another total.
    pub wrong: u64,
    /// Of them: could not be looked at.
    pub unknown: u64,
    /// Paid orders that were too many to be remembered.
    pub forgotten: u64,
}

pub(super) async fn check(town: &Town) -> Verdict {
    let Orders { paid, forgotten } = std::mem::take(&mut *town.acknowledged.0.lock());
    let tokens = town.tokens();
    let looks = stream::iter(&paid).map(|(order, paid)| look(&town.client, order, paid, tokens.get(&paid.customer)));
    let found: Vec<Option<bool>> = looks.buffer_unordered(LOOKS_AT_ONCE).collect().await;
    let count = |wanted: Option<bool>| found.iter().filter(|found| **found == wanted).count() as u64;
    Verdict { orders: found.len() as u64, wrong: count(Some(false)), unknown: count(None), forgotten }
}

/// Whether an order is as it was acknowledged; `None` where the shop does not say.
async fn look(client: &Client, order: &str, paid: &Paid, token: Option<&String>) -> Option<bool> {
    let token = token.map(String::as_str);
    let answer = client.get(Kind::Errand, &["orders", order], &[], token, Instant::now()).await;
    match answer.status {
        Some(200) => {
            let status = answer.body["status"].as_str().unwrap_or_default();
            let is_paid = ["paid", "confirmed", "packed", "shipped", "delivered"].contains(&status);
            Some(is_paid && answer.body["total"] == paid.total)
        }
        Some(404) => Some(false),
        _ => None,
    }
}
