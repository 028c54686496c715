//! Question: what does the whole shop do, from request to answer: paid orders, pages and searches over HTTP, carts coming
//! alive, memory at rest? Each is asked below, with its prediction and its result; `-- orders http carts memory` picks some.
#![allow(clippy::print_stdout, missing_docs, reason = "a bench prints")]

mod support;

use std::{process::Command, time::Instant};

use axum::{
    body::Body,
    http::{Method, Request},
    routing::get,
};
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use secrecy::SecretString;
use serde_json::{Value, json};
use souk::{
    app::{
        demo,
        import::{Mode, import_entries},
        serve::serve,
    },
    catalog::demo::DemoCatalog,
    config::Limits,
    domain::{account::Role, cart::Line, ids::UserId, product::Editor},
    http::Router,
    identity::Principal,
    shop::{Shop, catalogue::SetStock},
};
use support::Latencies;
use tower::ServiceExt;

const PRODUCTS: usize = 50_000;
const CARTS: usize = 100_000;
const BUYERS: usize = 64;

#[tokio::main]
async fn main() {
    let (shop, directory) = support::empty_shop().await;
    demo::fill(&shop, 1, 1).await.expect("logins");
    let mode = Mode { editor: Editor::Admin(UserId(0)), set_stock: SetStock::Always };
    let began = Instant::now();
    let catalogue = DemoCatalog::new(1, PRODUCTS).map(|mut entry| {
        entry.stock = Some(1_000_000);
        entry
    });
    let summary = import_entries(&shop, catalogue, mode).await.expect("the catalogue is imported");
    println!("{} entries imported in {:.1} s", summary.changed, began.elapsed().as_secs_f64());
    for progress in shop.progress() {
        progress.catch_up(std::time::Duration::from_secs(120)).await;
    }
    println!("lists and search caught up after {:.1} s", began.elapsed().as_secs_f64());
    let picked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| picked.is_empty() || picked.iter().any(|picked| picked == name);
    if wanted("orders") {
        paid_orders(&shop).await;
    }
    if wanted("http") {
        over_http(&shop).await;
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
    let router = souk::http::router(shop.clone());
    let password = "a long password";
    let mut tokens = Vec::new();
    for number in 0..BUYERS {
        let email = format!("buyer-{number}@example.org");
        shop.ensure_account(&email, SecretString::from(password), Role::Customer).await.expect("an account");
        let session = shop.login(&email, SecretString::from(password)).await.expect("a login");
        use secrecy::ExposeSecret;
        tokens.push(session.tokens.access_token.expose_secret().to_owned());
    }
    let (began, until) = (Instant::now(), support::deadline());
    let tasks: Vec<_> = tokens
        .into_iter()
        .enumerate()
        .map(|(number, token)| {
            let router = router.clone();
            tokio::spawn(async move { buy(&router, &token, number, until).await })
        })
        .collect();
    let mut orders = Latencies::default();
    for task in tasks {
        orders.add(&task.await.expect("the buyer ends"));
    }
    let rate = orders.count() as f64 / began.elapsed().as_secs_f64();
    println!("Result:     {rate:.0} paid orders/s; a whole order {}", orders.show());
}

async fn buy(router: &Router, token: &str, number: usize, until: Instant) -> Latencies {
    let mut orders = Latencies::default();
    let address = json!({ "name": "A", "line1": "1 Road", "city": "Pune", "postal_code": "411001", "country": "IN" });
    let mut random = fastrand::Rng::with_seed(number as u64);
    while Instant::now() < until {
        let began = Instant::now();
        let product = format!("demo-{:06}", random.usize(1..PRODUCTS));
        let (status, cart) = send(router, token, "/cart/add_products", json!({ "product_id": product })).await;
        if status != 200 {
            // It comes in variants: another one.
            continue;
        }
        let checkout = json!({ "total_price": cart["total"], "shipping_address": address });
        let (status, order) = send(router, token, "/checkout", checkout).await;
        assert_eq!(status, 201, "{order}");
        let payment = json!({ "order_id": order["order_id"], "payment_method": "tok_success" });
        let (status, paid) = send(router, token, "/payment", payment).await;
        assert_eq!(status, 200, "{paid}");
        orders.record(began);
    }
    orders
}

async fn send(router: &Router, token: &str, path: &str, body: Value) -> (u16, Value) {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .expect("a request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn over_http(shop: &Shop) {
    support::ask(
        "GET /products/{id} and a search over HTTP, against fixed bytes in the same run?",
        "a page >= 70 % of fixed bytes; searches are bounded by the index",
    );
    if Command::new("wrk").arg("-v").output().is_err() {
        println!("SKIPPED:    wrk is not installed");
        return;
    }
    let page = send_get(&souk::http::router(shop.clone()), "/products/demo-000007").await;
    let bytes: &'static str = Box::leak(page.into_boxed_str());
    let fixed =
        Router::new().route("/fixed", get(move || async move { ([("content-type", "application/json")], bytes) }));
    let fixed = listen(fixed).await;
    let souk = listen(souk::http::router(shop.clone())).await;
    let mut rates = Vec::new();
    for _ in 0..3 {
        let search = format!("{souk}/products?q=wireless%20headphones");
        let urls = [format!("{fixed}/fixed"), format!("{souk}/products/demo-000007"), search];
        for url in urls {
            rates.push(tokio::task::spawn_blocking(move || wrk(&url)).await.expect("wrk ends"));
        }
    }
    let median = |index: usize| {
        let mut of: Vec<f64> = rates.iter().skip(index).step_by(3).copied().collect();
        of.sort_by(f64::total_cmp);
        of[1]
    };
    let (fixed, page, search) = (median(0), median(1), median(2));
    println!("Result:     fixed bytes {fixed:.0}/s; page {page:.0}/s = {:.0} %", 100.0 * page / fixed);
    println!("            search with 20 hits of {PRODUCTS} products {search:.0}/s = {:.0} %", 100.0 * search / fixed);
}

async fn send_get(router: &Router, path: &str) -> String {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

async fn listen(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { serve(router, listener, &Limits::default(), std::future::pending()).await });
    format!("http://{address}")
}

fn wrk(url: &str) -> f64 {
    let seconds = format!("{}s", support::seconds().ceil());
    let output = Command::new("wrk").args(["-t1", "-c64", "-d", &seconds, url]).output().expect("wrk runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let bad = text.lines().any(|line| line.contains("Non-2xx"));
    assert!(!bad, "{url}: {text}");
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    rate.and_then(|rate| rate.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"))
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
    let _ = shop.journal().checkpoint().await;
    println!("Result:     at rest: {} MB; live: {:?}", resident_megabytes(), shop.live_entities());
}

fn resident_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().split(' ').next().and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) / 1024
}
