//! Question: does the shop stay as fast as it grows, in products and in past orders, and does its memory stay bounded?
//!
//! `-- products orders` picks; `--full` goes on to a million products and to ten million past orders, which takes an hour or
//! two and about 40 GB below `SOUK_BENCH_DIR`.
#![allow(clippy::print_stdout, missing_docs, reason = "a bench prints")]

mod support;

use std::path::Path;

use souk::shop::Shop;
use support::{
    buyers::{BUYERS, Buyers},
    flash_sale::measure,
    hot_product::HotProduct,
    median, past_orders,
};

/// How many products the catalogue grows to.
const PRODUCTS: [usize; 2] = [10_000, 100_000];
const PRODUCTS_FULL: [usize; 3] = [10_000, 100_000, 1_000_000];
/// How many past orders there come to be.
const ORDERS: [u64; 3] = [0, 100_000, 500_000];
const ORDERS_FULL: [u64; 4] = [0, 100_000, 1_000_000, 10_000_000];
/// How often each figure is taken, in turns; the median counts.
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
    let buyers = Buyers::of(&shop).await;
    let (mut curve, mut there) = (Curve::new("products"), 0);
    for &size in sizes {
        support::import(&shop, support::products(there, size)).await;
        there = size;
        curve.point(&shop, &buyers, directory.path(), size as u64, size).await;
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
    let buyers = Buyers::of(&shop).await;
    let products = PRODUCTS[0];
    support::import(&shop, support::products(0, products)).await;
    let (mut curve, mut there) = (Curve::new("past orders"), 0);
    for &size in sizes {
        past_orders::write(&shop, there, size, products).await;
        there = size;
        curve.point(&shop, &buyers, directory.path(), size, products).await;
    }
    curve.print();
    shop.close().await.expect("the shop closes");
}

/// What was measured at each size.
struct Curve {
    what: &'static str,
    points: Vec<Point>,
}

struct Point {
    size: u64,
    /// Reservations of one product, pages of random products, paid orders of random products: per second.
    rates: [f64; 3],
    /// p99 of a paid order, in milliseconds.
    order_p99: f64,
    resident_megabytes: u64,
    disk_megabytes: u64,
}

impl Curve {
    fn new(what: &'static str) -> Self {
        Self { what, points: Vec::new() }
    }

    /// Measures at this size. The checkpoint before it lets every size begin alike.
    async fn point(&mut self, shop: &Shop, buyers: &Buyers, directory: &Path, size: u64, products: usize) {
        shop.journal().checkpoint().await.expect("a checkpoint");
        let (mut rates, mut p99) = ([const { Vec::new() }; 3], Vec::new());
        for turn in 0..TURNS {
            // Of a product that the shop's own inventories do not know; both must not write one stream.
            let hot = HotProduct::beside(shop.journal().clone(), format!("grown-{size}-")).await;
            rates[0].push(measure(&hot, BUYERS, turn).await.per_second);
            hot.close().await;
            rates[1].push(buyers.pages(products).await.0);
            let (rate, latencies) = buyers.paid_orders(products).await;
            rates[2].push(rate);
            p99.push(latencies.at(0.99));
        }
        let rates = rates.map(median);
        let (resident_megabytes, disk_megabytes) = (support::resident_megabytes(), bytes_below(directory) >> 20);
        println!("            {size} {}: {rates:.0?} a second, {resident_megabytes} MB", self.what);
        self.points.push(Point { size, rates, order_p99: median(p99), resident_megabytes, disk_megabytes });
    }

    fn print(&self) {
        println!("Result:     medians of {TURNS} turns from {BUYERS} callers; in brackets the share of the first row");
        println!(
            "{:>12} {:>20} {:>20} {:>20} {:>14} {:>10} {:>9}",
            self.what, "reservations/s", "pages/s", "paid orders/s", "order p99 ms", "memory MB", "disk MB"
        );
        let Some(first) = self.points.first() else { return };
        for Point { size, rates, order_p99, resident_megabytes, disk_megabytes } in &self.points {
            let shown =
                [0, 1, 2].map(|of: usize| format!("{:.0} ({:.0} %)", rates[of], 100.0 * rates[of] / first.rates[of]));
            println!(
                "{size:>12} {:>20} {:>20} {:>20} {order_p99:>14.1} {resident_megabytes:>10} {disk_megabytes:>9}",
                shown[0], shown[1], shown[2]
            );
        }
        println!("            the most memory ever: {} MB", support::resident_megabytes_max());
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
