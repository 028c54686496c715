//! What the shop has acknowledged during a run, so that it can be checked afterwards.
//!
//! Depends on `parking_lot` and `serde_json`.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde_json::Value;

/// The number of orders that are remembered, each in about 300 bytes.
const REMEMBERED_MAX: usize = 1_000_000;

/// Orders whose payment was acknowledged. Shared by all journeys.
#[derive(Default)]
pub(crate) struct Acknowledged(Mutex<Orders>);

#[derive(Default)]
pub(crate) struct Orders {
    pub(crate) paid: HashMap<String, Paid>,
    /// Units that were paid for, by product.
    pub(crate) units: HashMap<String, u64>,
    /// The number of orders beyond that.
    pub(crate) forgotten: u64,
}

pub(crate) struct Paid {
    pub(crate) customer: usize,
    pub(crate) user: String,
    pub(crate) total: Value,
}

impl Acknowledged {
    /// Remembers a paid order.
    pub(crate) fn paid(&self, order: &str, customer: usize, user: &str, total: &Value, basket: &[(&str, u32)]) {
        let mut orders = self.0.lock();
        for (product, units) in basket {
            *orders.units.entry((*product).to_owned()).or_default() += u64::from(*units);
        }
        if orders.paid.len() >= REMEMBERED_MAX {
            orders.forgotten += 1;
            return;
        }
        orders.paid.insert(order.to_owned(), Paid { customer, user: user.to_owned(), total: total.clone() });
    }

    pub(crate) fn take(&self) -> Orders {
        std::mem::take(&mut *self.0.lock())
    }
}
