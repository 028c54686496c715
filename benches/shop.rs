//! Question: what does the whole shop do, from request to answer: paid orders, activation of carts, memory at rest?
//! Each has its question, prediction and result below; `-- orders carts memory` picks some.
//!
//! Depends on `support` and on the rooms `app`, `domain`, `identity` and `shop` of `souk`.
#![allow(clippy::print_stdout, missing_docs, reason = "a bench prints")]

mod support;

use std::time::Instant;

use futures::{StreamExt, stream};
use souk::{
    domain::{cart::Line, ids::UserId},
    internals::{app::demo, identity::Principal},
    shop::Shop,
};
use support::{buyers::Buyers, resident_megabytes};

const PRODUCTS: usize = 50_000;
const CARTS: usize = 100_000;

#[tokio::main]
async fn main() {
    let (shop, directory) = support::empty_shop().await;
    demo::fill(&shop, 1, 1).await.expect("logins");
    support::import(&shop, support::products(0, PRODUCTS)).await;
    let picked = support::picked();
    let wanted = |name: &str| picked.is_empty() || picked.iter().any(|picked| picked == name);
    if wanted("orders") {
        paid_orders(&shop).await;
    }
    if wanted("carts") || wanted("memory") {
        activation(&shop).await;
    }
    if wanted("memory") {
        memory(&shop).await;
    }
    shop.close().await.expect("the shop closes");
    drop(directory);
}

async fn paid_orders(shop: &Shop) {
    support::ask("how many paid orders a second through the router in process?", ">= 1,000/s from 64 buyers");
    let (rate, orders) = Buyers::of(shop).await.paid_orders(PRODUCTS).await;
    println!("Result:     {rate:.0} paid orders/s; a whole order {}", orders.show());
}

async fn activation(shop: &Shop) {
    support::ask("how many carts a second come alive, are written to and passivated?", ">= 5,000/s from 256 callers");
    let began = Instant::now();
    fill_carts(shop, 0..CARTS).await;
    let rate = CARTS as f64 / began.elapsed().as_secs_f64();
    println!("Result:     {rate:.0} carts/s, {CARTS} of them");
}

async fn fill_carts(shop: &Shop, numbers: std::ops::Range<usize>) {
    let someone = shop.principal("customer@demo.example").await.expect("a customer");
    let adds = numbers.map(|number| {
        let who = Principal { user: UserId(1 + number as u128), ..someone };
        async move {
            let line = Line { product: "demo-000007".parse().expect("an id"), quantity: 1 };
            shop.add_to_cart(&who, vec![line], None).await.expect("it is added");
        }
    });
    stream::iter(adds).buffer_unordered(256).collect::<()>().await;
}

async fn memory(shop: &Shop) {
    support::ask("how much memory do 50,000 products and 100,000 carts take at rest?", "<= 300 MB resident");
    println!("            after the load: {} MB", resident_megabytes());
    let idle = shop.config().limits.idle_ms_max + 5_000;
    tokio::time::sleep(std::time::Duration::from_millis(idle)).await;
    let _ = souk::internals::journal(shop).checkpoint().await;
    println!("Result:     at rest: {} MB; live: {:?}", resident_megabytes(), shop.live_entities());
}
