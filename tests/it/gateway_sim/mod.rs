//! Paying through a provider over HTTP that fails by a script: whatever goes wrong, an order is charged once and ends.

mod adapter;

use serde_json::{Value, json};
use souk::clock::Clock;
use souk_gateway_sim::{Fault, Operation, Rule};
use tokio::net::TcpListener;

use crate::{
    provider::{Provider, point_at, shop_at},
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
        let captures: Vec<Value> =
            provider.ledger(&order).await.into_iter().filter(|line| line["effect"] == "captured").collect();
        assert_eq!(captures.len(), 1, "{fault:?}: {captures:?}");
        assert_eq!((&captures[0]["amount"]["amount"], &captures[0]["declined"]), (&json!(10_000), &json!(null)));
    }
}

#[tokio::test]
async fn a_decline_by_the_script_is_reported_and_the_next_attempt_is_a_charge_of_its_own() {
    let provider = Provider::new().await;
    let (_app, customer) = shop_with(&provider.url).await;
    let order = customer.order("CABLE", 1).await;
    let declines =
        Rule { operation: Some(Operation::Charge), times: Some(1), fault: Fault::Declined, ..Rule::default() };
    provider.plan(&[declines]).await;
    let refused = customer.pay(&order, "tok_success").await;
    assert_eq!(refused.problem(422, "payment-declined")["declined_reason"], "by_script");
    customer.pay(&order, "tok_success").await.expect(200);
    assert_eq!(provider.effects(&order).await, ["declined", "voided", "captured"], "it cannot be confirmed again");
}

#[tokio::test]
async fn an_order_waits_for_a_provider_that_is_not_there() {
    // A port on which nobody listens at first.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let (app, customer) = shop_with(&format!("http://{address}")).await;
    let order = customer.order("CABLE", 1).await;
    assert_eq!(customer.pay(&order, "tok_success").await.expect(202)["status"], "pending");
    let provider = Provider::at(address).await;
    app.until(&customer, &order, "confirmed").await;
    assert_eq!(provider.ledger(&order).await.len(), 1);
}

/// Sends a request to the provider itself. Returns the status, the body, and whether the answer was stored.
async fn ask(url: &str, path: &str, key: Option<&str>, form: &[(&str, &str)]) -> (u16, Value, bool) {
    let request = reqwest::Client::new().post(format!("{url}{path}")).form(form).bearer_auth("sk_test_1");
    let request = key.map_or(request.try_clone().unwrap(), |key| request.header("Idempotency-Key", key));
    let answer = request.send().await.unwrap();
    let (status, is_replay) = (answer.status().as_u16(), answer.headers().contains_key("idempotent-replayed"));
    (status, answer.json().await.unwrap(), is_replay)
}

const INTENTS: &str = "/v1/payment_intents";

#[tokio::test]
async fn a_key_repeats_its_first_answer_also_after_a_restart_and_is_for_one_request() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("ledger.jsonl");
    let provider = Provider::with_ledger(&ledger).await;
    let form = [("amount", "500"), ("currency", "inr"), ("payment_method", "pm_card_chargeDeclined")];
    let (status, first, is_replay) = ask(&provider.url, INTENTS, Some("a"), &form).await;
    assert_eq!((status, is_replay, &first["status"]), (200, false, &json!("requires_confirmation")));
    let confirm = format!("{INTENTS}/{}/confirm", first["id"].as_str().unwrap());
    let declined = ask(&provider.url, &confirm, Some("b"), &[]).await;
    assert_eq!((declined.0, &declined.1["error"]["decline_code"]), (402, &json!("generic_decline")));
    let without_key = ask(&provider.url, INTENTS, None, &form).await.1;
    assert_ne!(without_key["id"], first["id"]);
    drop(provider);

    let provider = Provider::with_ledger(&ledger).await;
    assert_eq!(ask(&provider.url, INTENTS, Some("a"), &form).await, (200, first.clone(), true), "the stored answer");
    assert_eq!(ask(&provider.url, &confirm, Some("b"), &[]).await, (402, declined.1, true), "errors are stored, too");
    let other = [("amount", "501"), form[1], form[2]];
    for (path, form) in [(INTENTS, &other[..]), (&confirm, &[])] {
        let (status, body, _) = ask(&provider.url, path, Some("a"), form).await;
        assert_eq!((status, &body["error"]["type"]), (400, &json!("idempotency_error")), "{path}");
    }
    // A request that is not valid does not begin, so its key can be used again.
    let wrong = [("amount", "5"), form[1], form[2]];
    assert_eq!(ask(&provider.url, INTENTS, Some("c"), &wrong).await.0, 400);
    assert_eq!(ask(&provider.url, INTENTS, Some("c"), &form).await.0, 200);
}

#[tokio::test]
async fn the_provider_refuses_what_stripe_refuses() {
    let provider = Provider::new().await;
    let refused = async |form: &[(&str, &str)]| {
        let (status, body, _) = ask(&provider.url, INTENTS, Some("k"), form).await;
        assert!((400..500).contains(&status), "{form:?}: {body}");
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    };
    let usd = ("currency", "usd");
    assert_eq!(refused(&[("amount", "49"), usd]).await, "amount_too_small");
    assert_eq!(refused(&[("amount", "1000000000000"), usd]).await, "amount_too_large");
    let amex = ("payment_method", "pm_card_amex");
    assert_eq!(refused(&[("amount", "1000000000"), usd, amex]).await, "amount_too_large");
    assert_eq!(refused(&[("amount", "0"), usd]).await, "parameter_invalid_integer");
    assert_eq!(refused(&[("amount", "1.5"), usd]).await, "parameter_invalid_integer");
    assert_eq!(refused(&[usd]).await, "parameter_missing");
    assert_eq!(refused(&[("amount", "1000"), ("currency", "xxx")]).await, "invalid_currency");
    assert_eq!(refused(&[("amount", "1000"), usd, ("payment_method", "tok_nobodys")]).await, "resource_missing");
    assert_eq!(refused(&[("amount", "1000"), usd, ("confirm", "true")]).await, "parameter_unknown");
    let form = [("amount", "500"), usd];
    let long = "k".repeat(256);
    assert_eq!(ask(&provider.url, INTENTS, Some(&long), &form).await.0, 400);
    let (_, intent, _) = ask(&provider.url, INTENTS, None, &form).await;
    let of = |what: &str| format!("{INTENTS}/{}/{what}", intent["id"].as_str().unwrap());
    for what in ["confirm", "capture"] {
        let (status, body, _) = ask(&provider.url, &of(what), None, &[]).await;
        let code = &body["error"]["code"];
        assert_eq!((status, code), (400, &json!("payment_intent_unexpected_state")), "{what} without a method");
    }
    assert_eq!(ask(&provider.url, &of("cancel"), None, &[]).await.1["status"], "canceled");
    assert_eq!(ask(&provider.url, &of("cancel"), None, &[]).await.0, 400, "once");
    assert_eq!(ask(&provider.url, &format!("{INTENTS}/pi_x/cancel"), None, &[]).await.0, 404);
    let anonymous = reqwest::Client::new().post(format!("{}{INTENTS}", provider.url)).form(&form);
    for request in [anonymous.try_clone().unwrap(), anonymous.bearer_auth("sk_live_1")] {
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
}

#[tokio::test]
async fn an_invalid_url_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    for (address, said) in [
        ("ftp://127.0.0.1:1", "payments.url"),
        ("127.0.0.1:8081", "payments.url"),
        ("http://", "the payment provider: "),
    ] {
        let mut config =
            souk::config::Config { data_dir: directory.path().join(address.len().to_string()), ..Default::default() };
        point_at(&mut config, address);
        let refused = souk::shop::Shop::open(config).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains(said), "{address}: {refused:?}");
    }
}
