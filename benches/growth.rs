//! Question: does the shop stay as fast as it grows, in products and in past orders, and does its memory stay bounded?
//!
//! `-- products orders` picks; `--full` goes on to a million products and to ten million past orders, which takes an
//! hour or two and about 40 GB below `SOUK_BENCH_DIR`.
//!
//! Depends on `support` and on the room `shop` of `souk`.
#![allow(clippy::print_stdout, missing_docs, reason = "a bench prints")]

mod support;

use std::path::Path;

use souk::shop::Shop;
use support::{
    Latencies,
    buyers::{Asked, BUYERS, Buyers},
    flash_sale::measure,
    hot_product::HotProduct,
    median, past_orders,
};

/// The sizes of the catalogue.
const PRODUCTS: [usize; 2] = [10_000, 100_000];
const PRODUCTS_FULL: [usize; 3] = [10_000, 100_000, 1_000_000];
/// The numbers of past orders.
const ORDERS: [u64; 3] = [0, 100_000, 500_000];
const ORDERS_FULL: [u64; 4] = [0, 100_000, 1_000_000, 10_000_000];
/// How often each figure is measured, in turns; the median counts.
const TURNS: usize = 3;

#[tokio::main]
async fn main() {
    let picked = support::picked();
    let (full, names): (Vec<_>, Vec<_>) = picked.into_iter().partition(|argument| argument == "--full");
    let full = !full.is_empty();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|picked| picked == name);
    if wanted("products") {
        products(if full { &PRODUCTS_FULL } else { &PRODUCTS }).await;
    }
    if wanted("orders") {
        orders(if full { &ORDERS_FULL } else { &ORDERS }).await;
    }
}

async fn products(sizes: &[usize]) {
    support::ask(
        "reservations, pages and paid orders a second, and memory, from ten thousand to a million products?",
        "reservations and orders within 10 %; pages fall where the views do not fit into their cache; memory grows with the \
         search index only",
    );
    let (shop, directory) = support::empty_shop().await;
    let (mut curve, mut there) = (Curve::new("products"), 0);
    for &size in sizes {
        support::import(&shop, support::products(there, size)).await;
        there = size;
        curve.point(&shop, directory.path(), size as u64, size).await;
    }
    curve.print();
    shop.close().await.expect("the shop closes");
}

async fn orders(sizes: &[u64]) {
    support::ask(
        "reservations, pages and paid orders a second, and memory, from no past order to ten million?",
        "all within 10 %; memory does not grow, since nothing of a past order is kept in it",
    );
    let (shop, directory) = support::empty_shop().await;
    let products = PRODUCTS[0];
    support::import(&shop, support::products(0, products)).await;
    let (mut curve, mut there) = (Curve::new("past orders"), 0);
    for &size in sizes {
        past_orders::write(&shop, there, size, products).await;
        there = size;
        curve.point(&shop, directory.path(), size, products).await;
    }
    curve.print();
    shop.close().await.expect("the shop closes");
}

/// The figures at each size.
struct Curve {
    what: &'static str,
    points: Vec<Point>,
}

/// The measurements, in this order.
const MEASURED: [&str; 4] = ["reservations of one", "popular pages", "pages of any", "paid orders of any"];

struct Point {
    size: u64,
    figures: [Figure; MEASURED.len()],
    resident_megabytes: u64,
    disk_megabytes: u64,
}

/// A rate with its cost and latency.
#[derive(Clone, Copy)]
struct Figure {
    per_second: f64,
    /// The processor time of the whole process per operation, background work included, in microseconds. It varies less
    /// than the rate on a shared machine.
    cost_us: f64,
    /// The 99th percentile of the latency, in milliseconds.
    p99_ms: f64,
}

impl Figure {
    /// The result of a measurement; `processor_before` is the processor time at its begin, in seconds.
    fn since(processor_before: f64, (per_second, latencies): (f64, Latencies)) -> Self {
        let used = support::processor_seconds() - processor_before;
        Self { per_second, cost_us: 1e6 * used / latencies.count() as f64, p99_ms: latencies.at(0.99) }
    }

    /// The medians of several figures.
    fn of(turns: &[Self]) -> Self {
        let each = |figure: fn(&Self) -> f64| median(turns.iter().map(figure).collect());
        Self { per_second: each(|f| f.per_second), cost_us: each(|f| f.cost_us), p99_ms: each(|f| f.p99_ms) }
    }

    /// Formats this figure with its ratios to the first one.
    fn show(&self, first: &Self) -> String {
        let share = |of: f64, all: f64| 100.0 * of / all;
        let rate = format!("{:.0}/s ({:.0} %)", self.per_second, share(self.per_second, first.per_second));
        let cost = format!("{:.1} µs ({:.0} %)", self.cost_us, share(self.cost_us, first.cost_us));
        format!("{rate:>18}  {cost:>18}  p99 {:.1} ms", self.p99_ms)
    }
}

impl Curve {
    fn new(what: &'static str) -> Self {
        Self { what, points: Vec::new() }
    }

    /// Measures at this size, after a checkpoint, so that every size begins alike.
    async fn point(&mut self, shop: &Shop, directory: &Path, size: u64, products: usize) {
        // Tokens from before the last step have expired.
        let buyers = Buyers::of(shop).await;
        souk::internals::journal(shop).checkpoint().await.expect("a checkpoint");
        let mut turns = [const { Vec::new() }; MEASURED.len()];
        for turn in 0..TURNS {
            // Products that the shop's own inventories do not know, because two writers must not share a stream.
            let hot = HotProduct::beside(souk::internals::journal(shop).clone(), format!("grown-{size}-")).await;
            let before = support::processor_seconds();
            let row = measure(&hot, BUYERS, turn).await;
            turns[0].push(Figure::since(before, (row.per_second, row.latencies)));
            hot.close().await;
            for (turns, asked) in turns[1..=2].iter_mut().zip([Asked::Popular, Asked::Any]) {
                let before = support::processor_seconds();
                turns.push(Figure::since(before, buyers.pages(asked, products).await));
            }
            let before = support::processor_seconds();
            turns[3].push(Figure::since(before, buyers.paid_orders(products).await));
        }
        let (resident_megabytes, disk_megabytes) = (support::resident_megabytes(), bytes_below(directory) >> 20);
        self.points.push(Point {
            size,
            figures: turns.map(|turns| Figure::of(&turns)),
            resident_megabytes,
            disk_megabytes,
        });
        self.print_last();
    }

    fn print_last(&self) {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else { return };
        println!(
            "            {} {}: {} MB resident, {} MB on disk",
            last.size, self.what, last.resident_megabytes, last.disk_megabytes
        );
        for ((what, figure), first) in MEASURED.iter().zip(&last.figures).zip(&first.figures) {
            println!("            {what:>20} {}", figure.show(first));
        }
    }

    fn print(&self) {
        println!(
            "Result:     as above: medians of {TURNS} turns from {BUYERS} callers, processor time for one, in brackets the \
             share of the first size; the most memory ever: {} MB",
            support::resident_megabytes_max()
        );
    }
}

fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}
