//! Customers who buy through the router in process, so that the shop is measured and not a socket.
//!
//! Depends on `support`, on the rooms `domain`, `http` and `shop` of `souk` and on `axum`, `http_body_util` and
//! `tower`.

use std::time::Instant;

use axum::{
    body::Body,
    http::{Method, Request},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use souk::{domain::account::Role, http::Router, shop::Shop};
use tower::ServiceExt;

use super::Latencies;

/// Which products are requested.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    /// By Zipf's law with exponent 1, like shoppers: the first product twice as often as the second.
    Popular,
    /// Each equally often: the worst case for every cache.
    Any,
}

/// The number of concurrent buyers.
pub(crate) const BUYERS: usize = 64;
/// The distance in the catalogue of two products that are next to each other in popularity: a prime, so that each has
/// its own place.
const POPULAR_STEP: usize = 7_919;
/// The problem of a product with variants.
const CHOOSE_VARIANT: &str = "choose-variant";
const PASSWORD: &str = "a long password";

/// Logged-in customers of a shop.
pub(crate) struct Buyers {
    router: Router,
    tokens: Vec<String>,
}

impl Buyers {
    /// Registers them and logs them in.
    pub(crate) async fn of(shop: &Shop) -> Self {
        let mut tokens = Vec::new();
        for number in 0..BUYERS {
            let email = format!("buyer-{number}@example.org");
            shop.ensure_account(&email, SecretString::from(PASSWORD), Role::Customer).await.expect("an account");
            let session = shop.login(&email, SecretString::from(PASSWORD)).await.expect("a login");
            tokens.push(session.tokens.access_token.expose_secret().to_owned());
        }
        Self { router: souk::http::router(shop.clone()), tokens }
    }

    /// Lets them buy one unit of one of the first `products` demo products again and again. Returns paid orders per
    /// second, and the latencies from the cart to the payment.
    pub(crate) async fn paid_orders(&self, products: usize) -> (f64, Latencies) {
        let began = Instant::now();
        let until = super::deadline();
        let buying = self.tokens.iter().cloned().enumerate().map(|(number, token)| {
            let router = self.router.clone();
            tokio::spawn(async move { buy(&router, &token, number, products, until).await })
        });
        let buying: Vec<_> = buying.collect();
        let mut orders = Latencies::default();
        for buyer in buying {
            orders.add(&buyer.await.expect("the buyer ends"));
        }
        (orders.count() as f64 / began.elapsed().as_secs_f64(), orders)
    }

    /// Lets them view pages of the first `products` demo products. Returns pages per second.
    pub(crate) async fn pages(&self, asked: Asked, products: usize) -> (f64, Latencies) {
        let began = Instant::now();
        let until = super::deadline();
        let looking = (0..BUYERS).map(|number| {
            let router = self.router.clone();
            tokio::spawn(async move {
                let (mut pages, mut random) = (Latencies::default(), fastrand::Rng::with_seed(number as u64));
                while Instant::now() < until {
                    let began = Instant::now();
                    let path = format!("/products/{}", product(&mut random, asked, products));
                    let (status, page) = send(&router, Request::get(path), Body::empty()).await;
                    assert_eq!(status, 200, "{page:?}");
                    pages.record(began);
                }
                pages
            })
        });
        let looking: Vec<_> = looking.collect();
        let mut pages = Latencies::default();
        for visitor in looking {
            pages.add(&visitor.await.expect("the visitor ends"));
        }
        (pages.count() as f64 / began.elapsed().as_secs_f64(), pages)
    }
}

fn product(random: &mut fastrand::Rng, asked: Asked, products: usize) -> String {
    let number = match asked {
        Asked::Popular => {
            // Each power of two equally often, and all ranks between two powers equally often.
            let power = 1 << random.u32(..=products.ilog2());
            let rank = power - 1 + random.usize(..power);
            // Popular products are not neighbours in the catalogue.
            rank * POPULAR_STEP % products
        }
        Asked::Any => random.usize(..products),
    };
    format!("demo-{:06}", number + 1)
}

async fn buy(router: &Router, token: &str, number: usize, products: usize, until: Instant) -> Latencies {
    let mut orders = Latencies::default();
    let address = json!({ "name": "A", "line1": "1 Road", "city": "Pune", "postal_code": "411001", "country": "IN" });
    let mut random = fastrand::Rng::with_seed(number as u64);
    while Instant::now() < until {
        let began = Instant::now();
        let product = product(&mut random, Asked::Any, products);
        let (status, cart) = post(router, token, "/cart/add_products", &json!({ "product_id": product })).await;
        if cart["type"].as_str().is_some_and(|problem| problem.ends_with(CHOOSE_VARIANT)) {
            // Try another product.
            continue;
        }
        assert_eq!(status, 200, "{cart}");
        let checkout = json!({ "total_price": cart["total"], "shipping_address": address });
        let (status, order) = post(router, token, "/checkout", &checkout).await;
        assert_eq!(status, 201, "{order}");
        let payment = json!({ "order_id": order["order_id"], "payment_method": "tok_success" });
        let (status, paid) = post(router, token, "/payment", &payment).await;
        assert_eq!(status, 200, "{paid}");
        orders.record(began);
    }
    orders
}

async fn post(router: &Router, token: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    let (status, bytes) = send(router, request, Body::from(body.to_string())).await;
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn send(router: &Router, request: axum::http::request::Builder, body: Body) -> (u16, Bytes) {
    let request = request.body(body).expect("a request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (status, bytes)
}
