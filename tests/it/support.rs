//! The set-up of every test: a shop in a directory of its own, and clients that call its router without a socket.
//!
//! Every answer is checked against the OpenAPI document.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use souk::{
    clock::Clock,
    config::Config,
    domain::{account::Role, entity::Timestamp},
    http::{Health, Program},
    internals::follow_order,
    payments::Gateway,
    shop::{CaughtUp, Parts, SearchStatus, Shop},
};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::document::{DESCRIPTION, hold_against_description};
pub(crate) use crate::document::{is_allowed, operations};

/// The password of every account.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// The start of manual clocks.
pub(crate) const NOW: Timestamp = Timestamp(1_790_000_000_000);

/// A shop and its router.
pub(crate) struct TestApp {
    pub(crate) shop: Shop,
    pub(crate) router: Router,
    pub(crate) health: Health,
    pub(crate) directory: Arc<TempDir>,
}

/// A client with or without a token.
#[derive(Clone)]
pub(crate) struct Client {
    router: Router,
    /// The prefix of a nested router; empty at the root.
    prefix: &'static str,
    pub(crate) token: Option<String>,
    pub(crate) user_id: String,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header as text; empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks the status and returns the body; null if it is empty.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        if self.expect_text(status).is_empty() { Value::Null } else { self.json() }
    }

    /// Checks the status and returns the body as text.
    #[track_caller]
    pub(crate) fn expect_text(&self, status: u16) -> &str {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        &self.text
    }

    /// Checks that the answer is a problem with this status and code, and has the members of every problem.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["code"], code, "{self:?}");
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], format!("https://souk.example/problems/{code}"));
        for member in ["title", "detail", "instance"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {self:?}");
        }
        assert_eq!(body["trace_id"], self.header("x-request-id"));
        body
    }
}

impl Client {
    /// Sends a request unchanged.
    pub(crate) async fn raw(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let path = path.strip_prefix(self.prefix).unwrap_or(&path).to_owned();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let answer = Answer { status: parts.status, headers: parts.headers, text };
        hold_against_description(&method, &path, &answer);
        answer
    }

    /// The headers and the bytes of an answer, which need not be a text.
    pub(crate) async fn bytes(&self, request: Request<Body>) -> (HeaderMap, Bytes) {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        (parts.headers, body.collect().await.unwrap().to_bytes())
    }

    /// A request with the client's token and these headers.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        let path = format!("{}{path}", self.prefix);
        *request.uri_mut() = path.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        if let Some(token) = &self.token {
            request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request.headers_mut().insert(HeaderName::try_from(*name).unwrap(), value);
        }
        request
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.raw(self.request("GET", path, headers, Body::empty())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.raw(self.request("DELETE", path, &[], Body::empty())).await
    }

    /// A `POST` without a body.
    pub(crate) async fn act(&self, path: &str) -> Answer {
        self.raw(self.request("POST", path, &[], Body::empty())).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], body).await
    }

    pub(crate) async fn post_with_key(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("idempotency-key", key)], body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, &[], body).await
    }

    /// Sends a JSON body.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.send_text(method, path, headers, &body.to_string()).await
    }

    /// Sends a text as a JSON body.
    pub(crate) async fn send_text(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        self.raw(self.request(method, path, &headers, Body::from(body.to_owned()))).await
    }

    /// Adds a product to the cart.
    pub(crate) async fn add(&self, product: &str, quantity: u32) -> Value {
        let body = json!({"items": [{"product_id": product, "quantity": quantity}]});
        self.post("/cart/add_products", &body).await.expect(200)
    }

    /// Checks out the whole cart for its total.
    pub(crate) async fn check_out(&self) -> Answer {
        let total = self.get("/cart").await.expect(200)["total"].clone();
        self.post("/checkout", &checkout(&total)).await
    }

    /// Adds a product and orders the whole cart; the order awaits its payment.
    pub(crate) async fn order(&self, product: &str, quantity: u32) -> String {
        self.add(product, quantity).await;
        let order = self.check_out().await.expect(201);
        assert_eq!(order["status"], "awaiting_payment");
        order["order_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn pay(&self, order: &str, method: &str) -> Answer {
        self.post("/payment", &json!({"order_id": order, "payment_method": method})).await
    }

    /// Adds a product, orders the whole cart and pays.
    pub(crate) async fn buy(&self, product: &str, quantity: u32) -> String {
        let order = self.order(product, quantity).await;
        self.pay(&order, "tok_success").await.expect(200);
        order
    }

    /// Ships and delivers an order.
    pub(crate) async fn deliver(&self, order: &str) {
        let parcel = json!({"carrier": "Blue Dart", "tracking_number": "BD1"});
        self.post(&format!("/orders/{order}/ship"), &parcel).await.expect(200);
        self.act(&format!("/orders/{order}/deliver")).await.expect(200);
    }

    pub(crate) async fn refund(&self, order: &str, body: &Value) -> Answer {
        self.post(&format!("/orders/{order}/refunds"), body).await
    }

    pub(crate) async fn shown(&self, order: &str) -> Value {
        self.get(&format!("/orders/{order}")).await.expect(200)
    }

    /// The value of a counter or gauge of `/metrics`.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").await;
        let line = metrics.expect_text(200).lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {}", metrics.text)).parse().unwrap()
    }

    /// The units on hand and the available units of a product.
    pub(crate) async fn stock(&self, product: &str) -> (u64, u64) {
        let stock = self.inventory(product).await;
        (stock["on_hand"].as_u64().unwrap(), stock["available"].as_u64().unwrap())
    }

    pub(crate) async fn inventory(&self, product: &str) -> Value {
        self.get(&format!("/products/{product}/inventory")).await.expect(200)
    }
}

/// The body of a checkout of the whole cart for this total.
pub(crate) fn checkout(total: &Value) -> Value {
    json!({"total_price": total, "shipping_address": address()})
}

pub(crate) fn address() -> Value {
    json!({"name": "Asha Rao", "line1": "12 MG Road", "city": "Bengaluru", "postal_code": "560001", "country": "IN"})
}

/// The body of a product.
pub(crate) fn product(id: &str, name: &str, price: u64) -> Value {
    json!({
        "id": id, "name": name, "description": "It works", "brand": "Acme",
        "category": ["Electronics", "Cables"], "price": {"amount": price, "currency": "INR"},
        "images": ["https://images.example/1.jpg"], "attributes": {"colour": "black"}
    })
}

impl TestApp {
    /// A shop with the machine's clock.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}, Clock::system()).await
    }

    /// A shop with this clock and a changed default configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut Config), clock: Clock) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let mut config = Config { data_dir: directory.path().join("data"), ..Config::default() };
        config.limits.search_commit_ms_min = 1;
        change(&mut config);
        Self::open(directory, config, Parts { clock, gateway: None }).await
    }

    /// A shop with this payment provider.
    pub(crate) async fn paid_by(gateway: Arc<dyn Gateway>, clock: Clock) -> Self {
        Self::paid_by_with(gateway, clock, |_| {}).await
    }

    /// The same with a changed default configuration.
    pub(crate) async fn paid_by_with(
        gateway: Arc<dyn Gateway>,
        clock: Clock,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let mut config = Config { data_dir: directory.path().join("data"), ..Config::default() };
        change(&mut config);
        Self::open(directory, config, Parts { clock, gateway: Some(gateway) }).await
    }

    async fn open(directory: Arc<TempDir>, config: Config, parts: Parts) -> Self {
        let shop = Shop::open_with(config, parts).await.unwrap();
        let health = Health::default();
        let router = souk::http::router_with(shop.clone(), Program { health: health.clone(), ..Program::default() });
        if DESCRIPTION.get().is_none() {
            let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
            let body = router.clone().oneshot(request).await.unwrap().into_body();
            let bytes = body.collect().await.unwrap().to_bytes();
            DESCRIPTION.get_or_init(|| serde_json::from_slice(&bytes).unwrap());
        }
        Self { shop, router, health, directory }
    }

    /// Closes the shop and opens it again in the same directory.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// The same with a changed configuration.
    pub(crate) async fn restart_with(self, change: impl FnOnce(&mut Config)) -> Self {
        self.shop.close().await.unwrap();
        let Self { shop, router, directory, .. } = self;
        let (mut config, clock) = (shop.config().clone(), shop.clock().clone());
        change(&mut config);
        drop((shop, router));
        Self::open(directory, config, Parts { clock, gateway: None }).await
    }

    /// A client without a token.
    pub(crate) fn anonymous(&self) -> Client {
        Client { router: self.router.clone(), prefix: "", token: None, user_id: String::new() }
    }

    /// The client of an earlier life of the shop, with the same token.
    pub(crate) fn again(&self, client: &Client) -> Client {
        Client { router: self.router.clone(), ..client.clone() }
    }

    /// A client of another router, in which the shop's is nested under `prefix`.
    pub(crate) fn through(router: Router, prefix: &'static str, client: &Client) -> Client {
        Client { router, prefix, ..client.clone() }
    }

    /// A client with an account that has logged in over HTTP.
    pub(crate) async fn user(&self, name: &str, role: Role) -> Client {
        let email = format!("{name}@example.com");
        let user = self.shop.ensure_account(&email, PASSWORD.to_owned().into(), role).await.unwrap();
        let mut client = self.anonymous();
        let tokens = client.post("/auth/login", &json!({"email": email, "password": PASSWORD})).await.expect(200);
        client.token = Some(tokens["access_token"].as_str().unwrap().to_owned());
        client.user_id = user.to_string();
        client
    }

    pub(crate) async fn customer(&self, name: &str) -> Client {
        self.user(name, Role::Customer).await
    }

    /// A seller with products in stock: `CABLE` (10 at 100.00) and `PHONE` (5 at 15,000.00).
    pub(crate) async fn seller(&self) -> Client {
        let seller = self.user("seller", Role::Seller).await;
        seller.post("/products", &product("CABLE", "Braided USB cable", 10_000)).await.expect(201);
        let mut phone = product("PHONE", "Phone", 1_500_000);
        phone["category"] = json!(["Electronics", "Phones"]);
        seller.post("/products", &phone).await.expect(201);
        for (id, quantity) in [("CABLE", 10), ("PHONE", 5)] {
            let path = format!("/products/{id}/inventory/receipts");
            seller.post(&path, &json!({"quantity": quantity, "receipt_id": "first"})).await.expect(200);
        }
        seller
    }

    /// Waits until the lists and the search index contain everything durable.
    pub(crate) async fn caught_up(&self) {
        assert_eq!(self.shop.catch_up(Duration::from_secs(30)).await, CaughtUp::Yes);
        eventually(async || (self.shop.search_status() == SearchStatus::Ready).then_some(())).await;
    }

    /// Waits until a client's order has this status.
    pub(crate) async fn until(&self, client: &Client, order: &str, wanted: &str) {
        self.until_so(client, order, |shown| shown["status"] == wanted).await;
    }

    /// Waits until a client's order satisfies the condition, and returns it.
    #[track_caller]
    pub(crate) fn until_so<'a>(
        &'a self,
        client: &'a Client,
        order: &'a str,
        is_so: impl Fn(&Value) -> bool + 'a,
    ) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let who = self.shop.authenticate(client.token.as_ref().unwrap()).await.unwrap();
            let mut changes = follow_order(&self.shop, &who, order.parse().unwrap()).await.unwrap();
            let mut seen = Value::Null;
            let reached = async {
                loop {
                    seen = client.get(&format!("/orders/{order}")).await.expect(200);
                    if is_so(&seen) {
                        break;
                    }
                    changes.changed().await.unwrap();
                }
            };
            let in_time = tokio::time::timeout(Duration::from_secs(30), reached).await.is_ok();
            assert!(in_time, "{caller}: it never came to what was waited for: {seen}");
            seen
        }
    }

    /// The sequence number of the last event of a client's order.
    pub(crate) async fn sequence(&self, client: &Client, order: &str) -> u64 {
        let who = self.shop.authenticate(client.token.as_ref().unwrap()).await.unwrap();
        self.shop.order(&who, order.parse().unwrap()).await.unwrap().order.sequence()
    }
}

/// Repeats `look` until it returns something.
#[track_caller]
pub(crate) fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let looking = async {
            loop {
                if let Some(seen) = look().await {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), looking).await.unwrap_or_else(|_| panic!("{caller}: never seen"))
    }
}

/// Products with their numbers of units, as JSON.
pub(crate) fn units(units: &[(&str, u32)]) -> Value {
    units.iter().map(|(product, quantity)| json!({"product_id": product, "quantity": quantity})).collect()
}
