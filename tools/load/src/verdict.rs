//! Checks after a run that everything that the shop acknowledged is there.
//!
//! Depends on `acknowledged`, `history`, `history_writer`, `kind` and `world`.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;

use crate::{
    acknowledged::{Orders, Paid},
    history::Call,
    history_writer,
    kind::Kind,
    world::World,
};

/// How many checks are made at once.
const CHECKS_AT_ONCE: usize = 32;
/// How often a stock is read that does not show all sales yet: a paid order is recorded as sold a little later.
const STOCK_READS: u32 = 20;
/// The pause between two of these reads, in milliseconds.
const STOCK_PAUSE_MS: u64 = 100;

/// A product's stock, as the operator sees it.
#[derive(Clone, Copy)]
pub(crate) struct Stock {
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

    /// Whether no unit appeared or vanished: received = on hand + sold, and on hand = available + reserved.
    fn adds_up(self) -> bool {
        let sum = |one: u64, other: u64| one.checked_add(other);
        sum(self.on_hand, self.sold) == Some(self.received) && sum(self.available, self.reserved) == Some(self.on_hand)
    }
}

/// The result of reading acknowledged orders and the stock of their products again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Paid orders that were checked.
    pub orders: u64,
    /// Of these orders: missing, not paid, or with another total.
    pub wrong: u64,
    /// Of these orders: could not be read.
    pub unknown: u64,
    /// Paid orders that were not remembered, because there were too many.
    pub forgotten: u64,
    /// Products whose stock was checked; none without an operator.
    pub stocks: u64,
    /// Of these products: units appeared or vanished, or fewer were sold than paid for.
    pub stocks_wrong: u64,
    /// Of these products: could not be read.
    pub stocks_unknown: u64,
}

impl Verdict {
    /// Whether everything was read and is right.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.wrong + self.unknown + self.stocks_wrong + self.stocks_unknown == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { orders, wrong, unknown, forgotten, stocks, stocks_wrong, stocks_unknown } = self;
        write!(to, "{orders} paid orders read again, {wrong} wrong, {unknown} unknown")?;
        if *forgotten > 0 {
            write!(to, "; {forgotten} more were not remembered")?;
        }
        match stocks {
            0 => write!(to, "; stock not checked, which needs an operator"),
            _ => write!(to, "; {stocks} stocks checked, {stocks_wrong} wrong, {stocks_unknown} unknown"),
        }
    }
}

/// The stock of all products of this run. Only an operator may read it, so it is empty without one.
pub(crate) async fn stocks(world: &World) -> HashMap<String, Option<Stock>> {
    if !world.people.has_an_operator() {
        return HashMap::new();
    }
    let reads = world.products.iter().map(async |product| (product.clone(), stock(world, product).await));
    stream::iter(reads).buffer_unordered(CHECKS_AT_ONCE).collect().await
}

async fn stock(world: &World, product: &str) -> Option<Stock> {
    let operator = world.people.operator(&world.client).await.ok()?;
    let call = || Call::StockRead { product: product.to_owned() };
    let path = ["products", product, "inventory"];
    let answer = world.client.get(Kind::Setup, &path, &[], Some(&operator.token), Instant::now());
    let answer = world.history.record(None, call, history_writer::stock, answer).await;
    Stock::of(&answer.body).filter(|_| answer.is_done())
}

/// Reads every paid order again, and every stock of `before`.
pub(crate) async fn check(world: &World, before: &HashMap<String, Option<Stock>>) -> Verdict {
    let Orders { paid, units, forgotten } = world.acknowledged.take();
    let tokens = world.people.tokens();
    let reads = stream::iter(&paid).map(|(order, paid)| is_as_paid(world, order, paid, tokens.get(&paid.customer)));
    let orders: Vec<Option<bool>> = reads.buffer_unordered(CHECKS_AT_ONCE).collect().await;
    let counts = stream::iter(before).map(async |(product, before)| {
        let sold = (*before)?.sold.saturating_add(units.get(product).copied().unwrap_or_default());
        recount(world, product, sold).await
    });
    let stocks: Vec<Option<bool>> = counts.buffer_unordered(CHECKS_AT_ONCE).collect().await;
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

/// Whether a stock adds up and at least `sold` units were ever sold. There may be other buyers.
async fn recount(world: &World, product: &str, sold: u64) -> Option<bool> {
    for _ in 1..STOCK_READS {
        let stock = stock(world, product).await?;
        if !stock.adds_up() || stock.sold >= sold {
            return Some(stock.adds_up());
        }
        tokio::time::sleep(Duration::from_millis(STOCK_PAUSE_MS)).await;
    }
    Some(false)
}

/// Whether an order is as it was acknowledged; `None` if it cannot be read.
async fn is_as_paid(world: &World, order: &str, paid: &Paid, token: Option<&String>) -> Option<bool> {
    let token = token.map(String::as_str);
    let call = || Call::OrderRead { customer: paid.user.clone(), order: order.to_owned() };
    let path = ["orders", order];
    let answer = world.client.get(Kind::Setup, &path, &[], token, Instant::now());
    let answer = world.history.record(None, call, history_writer::order, answer).await;
    match answer.status {
        Ok(200) => {
            let status = answer.body["status"].as_str().unwrap_or_default();
            let is_paid = ["paid", "confirmed", "packed", "shipped", "delivered"].contains(&status);
            Some(is_paid && answer.body["total"] == paid.total)
        }
        Ok(404) => Some(false),
        _ => None,
    }
}
