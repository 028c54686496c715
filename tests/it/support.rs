//! A shop in a directory of its own, spoken to through its router without a socket.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use http_body_util::BodyExt;
use secrecy::SecretString;
use serde_json::{Value, json};
use souk::{actors::follower::CaughtUp, config::Config, domain::account::Role, http::Router, shop::Shop};
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) const PASSWORD: &str = "a long password";

pub(crate) struct TestApp {
    pub(crate) shop: Shop,
    pub(crate) router: Router,
    pub(crate) directory: TempDir,
}

/// An answer: status, headers, and the body as JSON (or null).
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        self.body
    }
}

impl TestApp {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config { data_dir: directory.path().into(), ..Config::default() };
        change(&mut config);
        let shop = Shop::open(config).await.unwrap();
        Self { router: souk::http::router(shop.clone()), shop, directory }
    }

    /// Closes the shop and opens it again from its directory.
    pub(crate) async fn restart(self) -> Self {
        let Self { shop, router, directory } = self;
        let config = shop.config().clone();
        drop(router);
        shop.close().await.unwrap();
        drop(shop);
        let shop = Shop::open(config).await.unwrap();
        Self { router: souk::http::router(shop.clone()), shop, directory }
    }

    pub(crate) async fn request(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status, headers, body }
    }

    /// Sends a request; `headers` are names and values.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.request(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.send("GET", path, token, None, &[]).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.send("POST", path, Some(token), Some(body), &[]).await
    }

    /// Somebody with an account, logged in: their token.
    pub(crate) async fn login_as(&self, name: &str, role: Role) -> String {
        let email = format!("{name}@example.org");
        self.shop.ensure_account(&email, SecretString::from(PASSWORD), role).await.unwrap();
        let body = json!({ "email": email, "password": PASSWORD });
        let session = self.send("POST", "/auth/login", None, Some(body), &[]).await.expect(200);
        session["access_token"].as_str().unwrap().to_owned()
    }

    /// A product for sale, with stock.
    pub(crate) async fn product(&self, seller: &str, id: &str, price: u64, stock: u64) {
        let body =
            json!({ "id": id, "name": format!("Product {id}"), "price": { "amount": price, "currency": "INR" } });
        self.post("/products", seller, body).await.expect(201);
        let path = format!("/products/{id}/inventory");
        self.send("PUT", &path, Some(seller), Some(json!({ "on_hand": stock })), &[]).await.expect(200);
    }

    /// An order of the whole cart, placed.
    pub(crate) async fn order(&self, token: &str, product: &str, quantity: u32) -> Value {
        let cart = json!({ "product_id": product, "quantity": quantity });
        let cart = self.post("/cart/add_products", token, cart).await.expect(200);
        let body = json!({ "total_price": cart["total"], "shipping_address": address() });
        self.post("/checkout", token, body).await.expect(201)
    }

    pub(crate) async fn pay(&self, token: &str, order: &Value, method: &str) -> Answer {
        let body = json!({ "order_id": order["order_id"], "payment_method": method });
        self.post("/payment", token, body).await
    }

    /// Waits until lists and search have everything.
    pub(crate) async fn caught_up(&self) {
        for progress in self.shop.progress() {
            assert_eq!(progress.catch_up(Duration::from_secs(30)).await, CaughtUp::Yes);
        }
    }
}

pub(crate) fn address() -> Value {
    json!({ "name": "Asha Rao", "line1": "1 MG Road", "city": "Pune", "postal_code": "411001", "country": "IN" })
}
