//! A product page and a search over HTTP, against a server that sends the page's bytes without reading the request.
//!
//! Depends on `support`, on the rooms `config` and `http` of `souk` and on `axum`, `http_body_util` and `tower`.

use std::process::Command;

use axum::{body::Body, http::Request, routing::get};
use http_body_util::BodyExt;
use souk::{
    config::Limits,
    http::{Router, serve},
};
use tower::ServiceExt;

use crate::{
    skip,
    support::{self, median},
};

const PRODUCTS: usize = 50_000;
/// How often the servers take turns; the median of their rates counts.
const TURNS: usize = 3;

/// Fills a shop, lets the servers take turns and prints the ratios.
pub(crate) async fn run() {
    support::ask(
        "GET /products/{id} and a search over HTTP, against fixed bytes in the same run?",
        "a page >= 70 % of fixed bytes; searches are bounded by the index",
    );
    if let Err(error) = Command::new("wrk").arg("-v").output() {
        return skip("the page", &anyhow::anyhow!("wrk is not installed: {error}"));
    }
    let (shop, _directory) = support::empty_shop().await;
    support::import(&shop, support::products(0, PRODUCTS)).await;
    let page = body(&souk::http::router(shop.clone()), "/products/demo-000007").await;
    let bytes: &'static str = Box::leak(page.into_boxed_str());
    let fixed =
        Router::new().route("/fixed", get(move || async move { ([("content-type", "application/json")], bytes) }));
    let fixed = listen(fixed).await;
    let souk = listen(souk::http::router(shop.clone())).await;
    let search = format!("{souk}/products?q=wireless%20headphones");
    let urls = [format!("{fixed}/fixed"), format!("{souk}/products/demo-000007"), search];
    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..TURNS {
        for (url, rates) in urls.iter().cloned().zip(&mut rates) {
            rates.push(tokio::task::spawn_blocking(move || wrk(&url)).await.expect("wrk ends"));
        }
    }
    let [fixed, page, search] = rates.map(median);
    println!("Result:     fixed bytes {fixed:.0}/s; page {page:.0}/s = {:.0} %", 100.0 * page / fixed);
    println!("            search with 20 hits of {PRODUCTS} products {search:.0}/s = {:.0} %", 100.0 * search / fixed);
    shop.close().await.expect("the shop closes");
}

async fn body(router: &Router, path: &str) -> String {
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
