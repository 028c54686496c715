//! The fake provider over HTTP, for a shop's tests: it fails by a script, and its ledger is there to be looked at.

use std::{net::SocketAddr, path::Path};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::header,
    middleware::{self, Next},
};
use http_body_util::BodyExt;
use serde_json::Value;
use souk::{
    clock::Clock,
    config::{Config, Limits},
    http::serve,
};
use souk_gateway_sim::{Provider as Fake, Rule, Script, Webhook, router};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::support::{Client, TestApp};

/// A program that listens. It ends with the test.
pub(crate) struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    pub(crate) fn start(router: Router, listener: TcpListener) -> Self {
        Self(tokio::spawn(async move {
            serve(router, listener, &Limits::default(), std::future::pending()).await;
        }))
    }
}

pub(crate) fn url_of(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

/// Any free port of this machine.
pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A provider at work.
pub(crate) struct Provider {
    pub(crate) url: String,
    _server: Server,
}

impl Provider {
    pub(crate) async fn new() -> Self {
        Self::at(anywhere()).await
    }

    /// A provider at this address.
    pub(crate) async fn at(address: SocketAddr) -> Self {
        Self::start(None, address, None, |router| router).await
    }

    /// A provider that keeps its ledger in a file.
    pub(crate) async fn with_ledger(path: &Path) -> Self {
        Self::start(Some(path), anywhere(), None, |router| router).await
    }

    /// A provider that announces what happens.
    pub(crate) async fn announcing(webhook: Webhook) -> Self {
        Self::start(None, anywhere(), Some(webhook), |router| router).await
    }

    /// A provider that takes more than it is asked for, and says so.
    pub(crate) async fn greedy() -> Self {
        Self::start(None, anywhere(), None, |router| router.layer(middleware::from_fn(take_one_more))).await
    }

    async fn start(
        ledger: Option<&Path>,
        address: SocketAddr,
        webhook: Option<Webhook>,
        layer: impl FnOnce(Router) -> Router,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = url_of(&listener);
        let fake = Fake::open(ledger, &url, Script::default(), webhook).unwrap();
        Self { url, _server: Server::start(layer(router(fake)), listener) }
    }

    /// From now on it fails by these rules.
    pub(crate) async fn plan(&self, rules: &[Rule]) {
        let planned = reqwest::Client::new().put(format!("{}/script", self.url)).json(rules).send().await.unwrap();
        assert_eq!(planned.status(), 204);
    }

    /// What was done for an order, declined charges included.
    pub(crate) async fn ledger(&self, order: &str) -> Vec<Value> {
        let ledger: Vec<Value> = reqwest::get(format!("{}/ledger", self.url)).await.unwrap().json().await.unwrap();
        let of_order = |line: &Value| line["key"].as_str().unwrap().starts_with(&format!("{order}:"));
        ledger.into_iter().filter(of_order).collect()
    }

    /// The provider's name for the first payment of an order that its ledger has.
    pub(crate) async fn payment(&self, order: &str) -> String {
        self.ledger(order).await[0]["payment"].as_str().unwrap().to_owned()
    }

    /// The same, as words.
    pub(crate) async fn effects(&self, order: &str) -> Vec<String> {
        let ledger = self.ledger(order).await;
        ledger.iter().map(|line| line["effect"].as_str().unwrap().to_owned()).collect()
    }

    /// What was captured of an order's money and has not gone back.
    pub(crate) async fn net(&self, order: &str) -> i64 {
        let minor = |line: &Value| line["amount"]["amount"].as_i64().unwrap();
        let lines = self.ledger(order).await;
        let comes_back = |refund: &Value| {
            lines.iter().any(|line| line["effect"] == "refund_failed" && line["object"] == refund["object"])
        };
        let signed = |line: &Value| match line["effect"].as_str().unwrap() {
            "captured" => minor(line),
            "refunded" if !comes_back(line) => -minor(line),
            _ => 0,
        };
        lines.iter().map(signed).sum()
    }

    /// Does something at the provider's own site, with JSON.
    pub(crate) async fn operate(&self, path: &str, body: &Value) -> Value {
        let answer = reqwest::Client::new().post(format!("{}{path}", self.url)).json(body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}

async fn take_one_more(request: Request, next: Next) -> axum::response::Response {
    if request.uri().path() != "/v1/payment_intents" {
        return next.run(request).await;
    }
    let (mut head, body) = request.into_parts();
    let form = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let more = |pair: &str| match pair.strip_prefix("amount=") {
        Some(amount) => format!("amount={}", amount.parse::<u64>().unwrap() + 1),
        None => pair.to_owned(),
    };
    let form = form.split('&').map(more).collect::<Vec<_>>().join("&");
    head.headers.remove(header::CONTENT_LENGTH);
    next.run(Request::from_parts(head, Body::from(form))).await
}

/// The customer decides on the provider's page.
pub(crate) async fn decide(page: &Value, decision: &str) {
    let form = [("decision", decision)];
    let answer = reqwest::Client::new().post(page.as_str().unwrap()).form(&form).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// Points the shop at the fake provider at this address.
pub(crate) fn point_at(config: &mut Config, url: &str) {
    config.payments.provider = souk::config::Provider::Simulator;
    config.payments.url = Some(url.to_owned());
}

/// A shop that is paid through the fake provider at this address, with its seller and a customer.
pub(crate) async fn shop_at(url: &str, change: impl FnOnce(&mut Config), clock: Clock) -> (TestApp, Client, Client) {
    let point = |config: &mut Config| {
        point_at(config, url);
        change(config);
    };
    let app = TestApp::with(point, clock).await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    (app, seller, customer)
}
