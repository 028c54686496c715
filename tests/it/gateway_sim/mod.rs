//! Paying through a provider behind HTTP that fails by a script: whatever happens on the way, an order is charged once and ends.

mod protocol;

use std::path::Path;

use serde_json::{Value, json};
use souk::{
    clock::Clock,
    gateway_sim::{Fault, Rule},
    payments::fake_provider::FakeProvider,
};
use tokio::net::TcpListener;

use crate::{
    provider::{Provider, anywhere, point_at, shop_at},
    support::{Client, TestApp},
};

async fn shop_with(url: &str) -> (TestApp, Client) {
    let (app, _, customer) = shop_at(url, |_| {}, Clock::system()).await;
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
        let charges = provider.ledger(&order).await;
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
    let charges = provider.ledger(&order).await;
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
    let provider = Provider::over(FakeProvider::in_memory(), address).await;
    app.until(&customer, &order, "confirmed").await;
    assert_eq!(provider.ledger(&order).await.len(), 1);
}

#[tokio::test]
async fn the_provider_says_what_it_does_not_take() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("ledger.jsonl");
    let open = |path: &Path| FakeProvider::open(path).unwrap();
    let provider = Provider::over(open(&ledger), anywhere()).await;
    let order = "0".repeat(31) + "a";
    let key = format!("{order}:charge:1");
    let amount = json!({"amount": 500, "currency": "INR"});
    let body = json!({"order": order, "attempt": 1, "amount": amount, "method": "tok_success"});
    let first = provider.charge(Some(&key), &body).await;
    assert_eq!(first.status(), 200);
    let answer: Value = first.json().await.unwrap();
    assert_eq!((&answer["status"], &answer["amount"]["amount"]), (&json!("captured"), &json!(500)));
    let mut other = body.clone();
    other["amount"]["amount"] = json!(501);
    assert_eq!(provider.charge(Some(&key), &other).await.status(), 409, "a key for one charge");
    other["attempt"] = json!(2);
    assert_eq!(provider.charge(Some(&key), &other).await.status(), 409, "a key of another charge");
    assert_eq!(provider.charge(None, &body).await.status(), 400);
    assert_eq!(provider.charge(Some(&"k".repeat(256)), &body).await.status(), 400);
    assert_eq!(provider.charge(Some("b"), &json!({"amount": 1})).await.status(), 422);
    for (field, wrong) in [
        ("more", json!(1)),
        ("order", json!("a")),
        ("attempt", json!(-1)),
        ("method", json!("m".repeat(256))),
        ("amount", json!({"amount": 1_u64 << 53, "currency": "INR"})),
        ("capture", json!("never")),
    ] {
        let mut bad = body.clone();
        bad[field] = wrong;
        assert_eq!(provider.charge(Some(&key), &bad).await.status(), 422, "{field}");
    }
    drop(provider);
    let again = Provider::over(open(&ledger), anywhere()).await;
    assert_eq!(again.charge(Some(&key), &body).await.json::<Value>().await.unwrap(), answer, "it has a ledger");
    assert_eq!(again.ledger(&order).await.len(), 1);
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    for address in ["ftp://127.0.0.1:1", "127.0.0.1:8081", "http://"] {
        let mut config =
            souk::config::Config { data_dir: directory.path().join(address.len().to_string()), ..Default::default() };
        point_at(&mut config, address);
        let refused = souk::shop::Shop::open(config).await.err().map(|error| error.to_string());
        assert!(refused.is_some_and(|text| text.starts_with("the payment provider: ")), "{address}");
    }
}
