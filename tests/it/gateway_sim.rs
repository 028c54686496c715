//! Paying through a provider behind HTTP that fails by a script: whatever happens on the way, an order is charged once and ends.

use std::{net::SocketAddr, path::Path};

use serde_json::{Value, json};
use souk::{
    app::serve::serve,
    clock::Clock,
    config::Limits,
    gateway_sim::{self, Fault, Rule},
    payments::simulated::Simulated,
};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::support::{Client, TestApp};

/// A provider at work. It ends with the test.
struct Provider {
    url: String,
    task: JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Provider {
    async fn new() -> Self {
        Self::over(Simulated::in_memory(), SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    async fn over(books: Simulated, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let router = gateway_sim::router(books, Vec::new());
            serve(router, listener, &Limits::default(), std::future::pending()).await;
        });
        Self { url, task }
    }

    async fn plan(&self, rules: &[Rule]) {
        let planned = reqwest::Client::new().put(format!("{}/script", self.url)).json(rules).send().await.unwrap();
        assert_eq!(planned.status(), 204);
    }

    /// The charges of an order, declined ones included.
    async fn charges(&self, order: &str) -> Vec<Value> {
        let ledger: Vec<Value> = reqwest::get(format!("{}/ledger", self.url)).await.unwrap().json().await.unwrap();
        let of_order = |line: &Value| line["key"].as_str().unwrap().starts_with(&format!("{order}:"));
        ledger.into_iter().filter(of_order).collect()
    }

    async fn charge(&self, key: Option<&str>, body: &Value) -> reqwest::Response {
        let request = reqwest::Client::new().post(format!("{}/charges", self.url)).json(body);
        let request = key.map_or(request.try_clone().unwrap(), |key| request.header("Idempotency-Key", key));
        request.send().await.unwrap()
    }
}

async fn shop_with(url: &str) -> (TestApp, Client) {
    let app = TestApp::with(|config| config.simulator_url = Some(url.to_owned()), Clock::system()).await;
    app.seller().await;
    let customer = app.customer("asha").await;
    (app, customer)
}

#[tokio::test]
async fn whatever_fails_on_the_way_an_order_is_charged_once_and_confirmed() {
    let provider = Provider::new().await;
    let (app, customer) = shop_with(&provider.url).await;
    let faults = [
        Fault::None,
        Fault::RequestLost,
        Fault::AnswerLost,
        Fault::FailsBefore,
        Fault::FailsAfter,
        Fault::TooMany,
        Fault::Garbage,
        Fault::WrongAmount,
    ];
    for fault in faults {
        let order = customer.order("CABLE", 1).await;
        provider.plan(&[Rule { key_prefix: order.clone(), times: Some(2), fault, ..Rule::default() }]).await;
        let answer = customer.pay(&order, "tok_success").await;
        assert!([200, 202].contains(&answer.status.as_u16()), "{fault:?}: {answer:?}");
        app.until(&customer, &order, "confirmed").await;
        let charges = provider.charges(&order).await;
        assert_eq!(charges.len(), 1, "{fault:?}: {charges:?}");
        assert_eq!((&charges[0]["amount"]["amount"], &charges[0]["declined"]), (&json!(10_000), &json!(null)));
    }
}

#[tokio::test]
async fn a_decline_by_the_script_is_told_and_the_next_attempt_is_a_charge_of_its_own() {
    let provider = Provider::new().await;
    let (_app, customer) = shop_with(&provider.url).await;
    let order = customer.order("CABLE", 1).await;
    provider.plan(&[Rule { times: Some(1), fault: Fault::Declined, ..Rule::default() }]).await;
    let refused = customer.pay(&order, "tok_success").await;
    assert_eq!(refused.problem(422, "payment-declined")["declined_reason"], "by_script");
    customer.pay(&order, "tok_success").await.expect(200);
    let declined = |line: &Value| !line["declined"].is_null();
    let charges = provider.charges(&order).await;
    assert_eq!((charges.len(), charges.into_iter().filter(declined).count()), (2, 1));
}

#[tokio::test]
async fn an_order_waits_for_a_provider_that_is_not_there() {
    // A place where nobody listens, until somebody does.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let (app, customer) = shop_with(&format!("http://{address}")).await;
    let order = customer.order("CABLE", 1).await;
    assert_eq!(customer.pay(&order, "tok_success").await.expect(202)["status"], "pending");
    let provider = Provider::over(Simulated::in_memory(), address).await;
    app.until(&customer, &order, "confirmed").await;
    assert_eq!(provider.charges(&order).await.len(), 1);
}

#[tokio::test]
async fn the_provider_says_what_it_does_not_take() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("ledger.jsonl");
    let open = |path: &Path| Simulated::open(path).unwrap();
    let provider = Provider::over(open(&ledger), SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let body = json!({"amount": {"amount": 500, "currency": "INR"}, "method": "tok_success"});
    let first = provider.charge(Some("a:charge:1"), &body).await;
    assert_eq!(first.status(), 200);
    let answer: Value = first.json().await.unwrap();
    assert_eq!((&answer["status"], &answer["amount"]["amount"]), (&json!("captured"), &json!(500)));
    let mut other = body.clone();
    other["amount"]["amount"] = json!(501);
    assert_eq!(provider.charge(Some("a:charge:1"), &other).await.status(), 409, "a key for one charge");
    assert_eq!(provider.charge(None, &body).await.status(), 400);
    assert_eq!(provider.charge(Some(&"k".repeat(256)), &body).await.status(), 400);
    assert_eq!(provider.charge(Some("b"), &json!({"amount": 1})).await.status(), 422);
    drop(provider);
    let again = Provider::over(open(&ledger), SocketAddr::from(([127, 0, 0, 1], 0))).await;
    assert_eq!(again.charge(Some("a:charge:1"), &body).await.json::<Value>().await.unwrap(), answer, "it has a ledger");
    assert_eq!(again.charges("a").await.len(), 1);
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    for address in ["ftp://127.0.0.1:1", "127.0.0.1:8081", "http://"] {
        let config = souk::config::Config {
            data_dir: directory.path().join(address.len().to_string()),
            simulator_url: Some(address.into()),
            ..Default::default()
        };
        let refused = souk::shop::Shop::open(config).await.err().map(|error| error.to_string());
        assert!(refused.is_some_and(|text| text.starts_with("the payment provider: ")), "{address}");
    }
}
