//! After the run: is everything there that the shop said it had done?
//!
//! Depends on `verify::history`.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use super::{client::Client, recorder::Kind, town::Town, witness};
use crate::verify::history::Call;

/// How many orders are remembered to be looked at again. Each takes about 300 bytes.
const REMEMBERED_MAX: usize = 1_000_000;
/// How many things are looked at at once.
const LOOKS_AT_ONCE: usize = 32;
/// How often a stock is looked at that does not show all sales yet: an order that is paid is about to be sold.
const STOCK_LOOKS: u32 = 20;
/// The pause between two of these looks, in milliseconds.
const STOCK_PAUSE_MS: u64 = 100;

/// What the shop has acknowledged.
#[derive(Default)]
pub(super) struct Acknowledged(Mutex<Orders>);

#[derive(Default)]
struct Orders {
    paid: HashMap<String, Paid>,
    /// Pieces that were paid for, by product.
    pieces: HashMap<String, u64>,
    forgotten: u64,
}

struct Paid {
    customer: usize,
    user: String,
    total: Value,
}

/// A product's stock, as the shop tells the operator.
#[derive(Clone, Copy)]
pub(super) struct Stock {
    received: u64,
    on_hand: u64,
    reserved: u64,
    available: u64,
    sold: u64,
}

impl Stock {
    fn of(answer: &Value) -> Option<Self> {
        let figure = |name: &str| answer[name].as_u64();
        Some(Self {
            received: figure("received")?,
            on_hand: figure("on_hand")?,
            reserved: figure("reserved_quantity")?,
            available: figure("available")?,
            sold: figure("sold")?,
        })
    }

    /// Whether nothing was made or lost: what came in is there or sold, and what is there is free or kept for somebody.
    fn adds_up(self) -> bool {
        let sum = |one: u64, other: u64| one.checked_add(other);
        sum(self.on_hand, self.sold) == Some(self.received) && sum(self.available, self.reserved) == Some(self.on_hand)
    }
}

impl Acknowledged {
    /// An order was paid for.
    pub(super) fn paid(&self, order: &str, customer: usize, user: &str, total: &Value, basket: &[(&str, u32)]) {
        let mut orders = self.0.lock();
        for (product, pieces) in basket {
            *orders.pieces.entry((*product).to_owned()).or_default() += u64::from(*pieces);
        }
        if orders.paid.len() >= REMEMBERED_MAX {
            orders.forgotten += 1;
            return;
        }
        orders.paid.insert(order.to_owned(), Paid { customer, user: user.to_owned(), total: total.clone() });
    }
}

/// What was found when acknowledged orders, and the stock they were taken from, were looked at again.
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
    /// Products whose stock was looked at; none without an operator.
    pub stocks: u64,
    /// Of them: received is not on hand and sold, on hand is not available and reserved, or less was sold than was paid for.
    pub stocks_wrong: u64,
    /// Of them: could not be looked at.
    pub stocks_unknown: u64,
}

impl Verdict {
    /// Whether everything was looked at and is right.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.wrong + self.unknown + self.stocks_wrong + self.stocks_unknown == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { orders, wrong, unknown, forgotten, stocks, stocks_wrong, stocks_unknown } = self;
        write!(to, "{orders} paid orders looked at again, {wrong} wrong, {unknown} unknown")?;
        if *forgotten > 0 {
            write!(to, "; {forgotten} more were not remembered")?;
        }
        match stocks {
            0 => write!(to, "; stock not looked at: that takes an operator"),
            _ => write!(to, "; {stocks} stocks counted, {stocks_wrong} wrong, {stocks_unknown} unknown"),
        }
    }
}

/// The stock of everything that is for sale in this run, where there is an operator to ask for it.
pub(super) async fn stocks(town: &Town) -> HashMap<String, Option<Stock>> {
    if !town.people.has_an_operator() {
        return HashMap::new();
    }
    let looks = town.goods.iter().map(async |product| (product.clone(), stock(town, product).await));
    stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).collect().await
}

async fn stock(town: &Town, product: &str) -> Option<Stock> {
    let pass = town.people.operator(&town.client).await.ok()?;
    let call = || Call::StockRead { product: product.to_owned() };
    let path = ["products", product, "inventory"];
    let answer = town.client.get(Kind::Errand, &path, &[], Some(&pass.token), Instant::now());
    let answer = town.client.witnessed(None, call, witness::stock, answer).await;
    Stock::of(&answer.body).filter(|_| answer.is_done())
}

/// Looks at every paid order again, and at every stock of `before`.
pub(super) async fn check(town: &Town, before: &HashMap<String, Option<Stock>>) -> Verdict {
    let Orders { paid, pieces, forgotten } = std::mem::take(&mut *town.acknowledged.0.lock());
    let tokens = town.people.tokens();
    let looks = stream::iter(&paid).map(|(order, paid)| look(&town.client, order, paid, tokens.get(&paid.customer)));
    let orders: Vec<Option<bool>> = looks.buffer_unordered(LOOKS_AT_ONCE).collect().await;
    let counts = stream::iter(before).map(async |(product, before)| {
        let sold = (*before)?.sold.saturating_add(pieces.get(product).copied().unwrap_or_default());
        recount(town, product, sold).await
    });
    let stocks: Vec<Option<bool>> = counts.buffer_unordered(LOOKS_AT_ONCE).collect().await;
    let count = |found: &[Option<bool>], wanted| found.iter().filter(|found| **found == wanted).count() as u64;
    Verdict {
        orders: orders.len() as u64,
        wrong: count(&orders, Some(false)),
        unknown: count(&orders, None),
        forgotten,
        stocks: stocks.len() as u64,
        stocks_wrong: count(&stocks, Some(false)),
        stocks_unknown: count(&stocks, None),
    }
}

/// Whether a stock adds up and at least `sold` were ever sold. Others may have bought, too.
async fn recount(town: &Town, product: &str, sold: u64) -> Option<bool> {
    for _ in 1..STOCK_LOOKS {
        let stock = stock(town, product).await?;
        if !stock.adds_up() || stock.sold >= sold {
            return Some(stock.adds_up());
        }
        tokio::time::sleep(Duration::from_millis(STOCK_PAUSE_MS)).await;
    }
    Some(false)
}

/// Whether an order is as it was acknowledged; `None` where the shop does not say.
async fn look(client: &Client, order: &str, paid: &Paid, token: Option<&String>) -> Option<bool> {
    let token = token.map(String::as_str);
    let call = || Call::OrderRead { customer: paid.user.clone(), order: order.to_owned() };
    let path = ["orders", order];
    let answer = client.get(Kind::Errand, &path, &[], token, Instant::now());
    let answer = client.witnessed(None, call, witness::order, answer).await;
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
