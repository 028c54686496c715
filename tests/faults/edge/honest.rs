//! The honest customers: each request of every class on a new connection from 127.0.2.1, and how long it took.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::recorded::PASSWORD;

/// The classes of requests, in the order of a purchase.
pub(super) const CLASSES: [&str; 7] = ["page", "search", "login", "cart", "checkout", "payment", "stream"];
/// How long a customer waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time between two purchases of a customer: attackers are to be the load.
const PAUSE: Duration = Duration::from_millis(300);
/// In one of so many rounds a customer logs in: people do so less often than they look at things.
const LOGIN_ONE_OF: u64 = 5;

pub(super) const PRODUCT: &str = "edge";
pub(super) const PRICE: u64 = 1_000;

/// What came of the requests: the times of those that were answered as they should be, and why others were not.
#[derive(Default)]
pub(super) struct Results {
    pub(super) times: BTreeMap<&'static str, Vec<Duration>>,
    pub(super) failed: BTreeMap<&'static str, u64>,
    pub(super) reasons: BTreeMap<String, u64>,
}

impl Results {
    pub(super) fn add(&mut self, other: Self) {
        other.times.into_iter().for_each(|(class, times)| self.times.entry(class).or_default().extend(times));
        other.failed.into_iter().for_each(|(class, failed)| *self.failed.entry(class).or_default() += failed);
        other.reasons.into_iter().for_each(|(reason, times)| *self.reasons.entry(reason).or_default() += times);
    }

    pub(super) fn answered(&self) -> u64 {
        self.times.values().map(|times| times.len() as u64).sum()
    }

    pub(super) fn asked(&self) -> u64 {
        self.answered() + self.failed.values().sum::<u64>()
    }

    /// The time within which 99 % of a class were answered.
    pub(super) fn p99(&self, class: &str) -> Duration {
        let mut times = self.times.get(class).cloned().unwrap_or_default();
        times.sort_unstable();
        let index = (times.len() * 99).div_ceil(100).saturating_sub(1);
        times.get(index).copied().unwrap_or_default()
    }
}

/// A customer who is logged in.
pub(super) struct Customer {
    client: Client,
    url: String,
    token: String,
    number: u64,
}

impl Customer {
    pub(super) fn new(url: &str, token: &str) -> Self {
        let address = IpAddr::from(Ipv4Addr::new(127, 0, 2, 1));
        let client = Client::builder().local_address(address).pool_max_idle_per_host(0).timeout(PATIENCE);
        Self {
            client: client.build().unwrap(),
            url: url.to_owned(),
            token: token.to_owned(),
            number: fastrand::u64(..),
        }
    }

    /// The shop's metrics; empty if there is no answer.
    pub(super) async fn metrics(&self) -> String {
        match self.request(Method::GET, "/metrics").send().await {
            Ok(response) => response.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Shops for so long.
    pub(super) async fn shop(self: Arc<Self>, length: Duration) -> Results {
        let (began, mut results, mut round) = (Instant::now(), Results::default(), fastrand::u64(..LOGIN_ONE_OF));
        while began.elapsed() < length {
            // What a failed request was to begin is not asked for.
            let _ = self.buy(&mut results, round).await;
            round += 1;
            tokio::time::sleep(PAUSE).await;
        }
        results
    }

    async fn buy(&self, results: &mut Results, round: u64) -> Option<()> {
        self.ask(results, "page", self.request(Method::GET, &format!("/products/{PRODUCT}"))).await?;
        self.ask(results, "search", self.request(Method::GET, "/products?q=edge&limit=5")).await?;
        if round.is_multiple_of(LOGIN_ONE_OF) {
            let credentials = json!({ "email": "customer@demo.example", "password": PASSWORD });
            self.ask(results, "login", self.request(Method::POST, "/auth/login").json(&credentials)).await?;
        }
        let line = json!({ "product_id": PRODUCT, "quantity": 1 });
        self.ask(results, "cart", self.own(Method::POST, "/cart/add_products").json(&line)).await?;
        let address = json!({
            "name": "A", "line1": "1 Road", "city": "Pune", "postal_code": "411001", "country": "IN"
        });
        let body = json!({ "items": [line], "total_price": PRICE, "shipping_address": address });
        let key = format!("{}-{round}", self.number);
        let checkout = self.own(Method::POST, "/checkout").header("idempotency-key", &key).json(&body);
        let order = self.ask(results, "checkout", checkout).await?;
        let order = order["order_id"].as_str().unwrap_or_default().to_owned();
        let body = json!({ "order_id": order, "payment_method": "tok_success" });
        let pay = self.own(Method::POST, "/payment").header("idempotency-key", format!("{key}-pay")).json(&body);
        self.ask(results, "payment", pay).await?;
        self.follow(results, &order).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    fn own(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(&self.token)
    }

    async fn ask(&self, results: &mut Results, class: &'static str, request: RequestBuilder) -> Option<Value> {
        let began = Instant::now();
        let answer = async {
            let response = request.send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        };
        let why = match answer.await {
            Ok((status, body)) if status.is_success() => {
                results.times.entry(class).or_default().push(began.elapsed());
                return Some(serde_json::from_slice(&body).unwrap_or_default());
            }
            Ok((status, body)) => format!("{status} {}", String::from_utf8_lossy(&body)),
            Err(error) => format!("{error:?}"),
        };
        failed(results, class, &why);
        None
    }

    /// Reads the first bytes of an order's event stream.
    async fn follow(&self, results: &mut Results, order: &str) -> Option<()> {
        let began = Instant::now();
        let response = self.own(Method::GET, &format!("/orders/{order}/events")).send().await;
        let why = match response {
            Ok(response) if response.status().is_success() => match response.bytes_stream().next().await {
                Some(Ok(_)) => {
                    results.times.entry("stream").or_default().push(began.elapsed());
                    return Some(());
                }
                other => format!("{other:?}"),
            },
            Ok(response) => response.status().to_string(),
            Err(error) => format!("{error:?}"),
        };
        failed(results, "stream", &why);
        None
    }
}

fn failed(results: &mut Results, class: &'static str, why: &str) {
    *results.failed.entry(class).or_default() += 1;
    let why: String = why.chars().take(160).collect();
    *results.reasons.entry(format!("{class}: {why}")).or_default() += 1;
}
