//! Refunds: of parts of an order or of all of it, once per request, with stock returned on demand.

use serde_json::{Value, json};
use souk::{clock::Clock, config::Config, domain::account::Role};
use souk_gateway_sim::{Fault, Operation, Rule};

use crate::{
    provider::{Provider, shop_at},
    support::{Client, TestApp, eventually, units},
};

/// Charges that make rounding necessary.
fn odd_charges(config: &mut Config) {
    (config.tax_basis_points, config.shipping_flat_minor) = (1_837, 999);
}

async fn shop(provider: &Provider) -> (TestApp, Client, Client) {
    shop_at(&provider.url, odd_charges, Clock::system()).await
}

fn amount(money: &Value) -> u64 {
    money["amount"].as_u64().unwrap()
}

/// The last refund of an order.
fn last(order: &Value) -> &Value {
    order["refunds"].as_array().unwrap().last().unwrap()
}

fn notes(order: &Value) -> Vec<String> {
    let history = order["history"].as_array().unwrap().iter();
    history.filter_map(|entry| entry["note"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn partial_refunds_add_up_to_the_total_and_only_returned_goods_are_restocked() {
    let provider = Provider::new().await;
    let (_app, seller, customer) = shop(&provider).await;
    customer.add("CABLE", 3).await;
    let order = customer.buy("PHONE", 1).await;
    seller.deliver(&order).await;
    assert_eq!((seller.stock("CABLE").await, seller.stock("PHONE").await), ((7, 7), (4, 4)));
    let paid = customer.shown(&order).await;
    let (total, tax, all) = (amount(&paid["total"]), amount(&paid["tax"]), 1_530_999);
    let due = |part: u64| part + tax * part / all;
    for (body, refunded, on_hand) in [
        (json!({"items": units(&[("CABLE", 1)]), "restock": true, "reason": "late"}), due(10_000), (8, 4)),
        (json!({"shipping": true, "reason": "very late"}), due(10_999), (8, 4)),
        (json!({"items": units(&[("CABLE", 2)]), "reason": "broken"}), due(30_999), (8, 4)),
        (json!({"reason": "all of it"}), total, (8, 4)),
    ] {
        let before = amount(&customer.shown(&order).await["refunded"]);
        let answer = seller.refund(&order, &body).await.expect(201);
        let (now, refund) = (amount(&answer["refunded"]), last(&answer));
        assert_eq!((now, amount(&refund["amount"])), (refunded, refunded - before), "{body}");
        assert_eq!((&refund["status"], &refund["cause"]), (&json!("refunded"), &json!("asked")));
        assert_eq!((seller.stock("CABLE").await.0, seller.stock("PHONE").await.0), on_hand, "{body}");
    }
    let order_now = customer.shown(&order).await;
    assert_eq!((&order_now["status"], &order_now["refunded"]), (&json!("delivered"), &paid["total"]));
    assert_eq!(order_now["refunds"][0]["restock"], units(&[("CABLE", 1)]));
    assert_eq!(order_now["refunds"][3]["items"], units(&[("PHONE", 1)]));
    assert_eq!(provider.net(&order).await, 0);
    assert_eq!(provider.effects(&order).await, ["captured", "refunded", "refunded", "refunded", "refunded"]);
    seller.refund(&order, &json!({"reason": "more"})).await.problem(409, "nothing-to-refund");
    seller.refund(&order, &json!({"shipping": true, "reason": "more"})).await.problem(409, "nothing-to-refund");

    let history = notes(&order_now);
    for number in 1..=4 {
        assert!(history.contains(&format!("refund {number}: refunded")), "{history:?}");
    }
    let events = customer.get(&format!("/orders/{order}/events")).await;
    assert!(events.expect_text(200).contains("refund 4: refunded"));
}

#[tokio::test]
async fn a_delivered_order_is_refunded_in_full_and_only_once() {
    let provider = Provider::new().await;
    let (_app, seller, customer) = shop(&provider).await;
    let order = customer.buy("CABLE", 2).await;
    seller.deliver(&order).await;
    let too_many = json!({"items": units(&[("CABLE", 3)]), "reason": "x"});
    assert_eq!(seller.refund(&order, &too_many).await.problem(409, "more-than-left")["left"], 2);
    let twice = json!({"items": units(&[("CABLE", 1), ("CABLE", 2)]), "reason": "x"});
    seller.refund(&order, &twice).await.problem(409, "more-than-left");
    let paid = customer.shown(&order).await;
    let refunded = seller.refund(&order, &json!({"reason": "it was never there"})).await.expect(201);
    assert_eq!((&refunded["status"], &refunded["refunded"]), (&json!("delivered"), &paid["total"]));
    let refund = last(&refunded);
    assert_eq!((&refund["shipping"], &refund["restock"]), (&json!(true), &json!([])));
    assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (0, (8, 8)));
    let one = json!({"items": units(&[("CABLE", 1)]), "reason": "x"});
    assert_eq!(seller.refund(&order, &one).await.problem(409, "more-than-left")["left"], 0);
}

#[tokio::test]
async fn an_unshipped_order_cannot_be_refunded_in_full_but_cancelled() {
    let provider = Provider::new().await;
    let (_app, seller, customer) = shop(&provider).await;
    let order = customer.buy("CABLE", 3).await;
    let all = json!({"items": units(&[("CABLE", 3)]), "reason": "sold out"});
    for body in [&all, &json!({"reason": "sold out"})] {
        seller.refund(&order, body).await.problem(409, "cancel-instead");
    }
    let two = json!({"items": units(&[("CABLE", 2)]), "reason": "sold out"});
    let refunded = seller.refund(&order, &two).await.expect(201);
    assert_eq!(last(&refunded)["restock"], units(&[("CABLE", 2)]), "they have not left yet");
    assert_eq!(seller.stock("CABLE").await, (9, 9));
    let rest = json!({"items": units(&[("CABLE", 1)]), "reason": "sold out"});
    seller.refund(&order, &rest).await.problem(409, "cancel-instead");
    let cancelled = customer.act(&format!("/orders/{order}/cancel")).await.expect(200);
    assert_eq!((&cancelled["status"], &cancelled["refunded"]), (&json!("cancelled"), &cancelled["total"]));
    assert_eq!((last(&cancelled)["cause"].as_str(), provider.net(&order).await), (Some("cancelled"), 0));
    assert_eq!(seller.stock("CABLE").await, (10, 10));
}

#[tokio::test]
async fn an_order_has_one_refund_at_a_time() {
    let provider = Provider::new().await;
    let change = |config: &mut Config| config.limits.payment_wait_ms_max = 300;
    let (app, seller, customer) = shop_at(&provider.url, change, Clock::system()).await;
    let order = customer.order("CABLE", 3).await;
    customer.pay(&order, "tok_success").await;
    app.until(&customer, &order, "confirmed").await;
    let slow = Rule { operation: Some(Operation::Refund), times: Some(1), latency_ms: 1_500, ..Rule::default() };
    provider.plan(&[slow]).await;
    let body = json!({"items": units(&[("CABLE", 1)]), "reason": "late"});
    let path = format!("/orders/{order}/refunds");
    let begun = seller.post_with_key(&path, "\"r\"", &body).await.expect(201);
    assert_eq!((&last(&begun)["status"], amount(&begun["refunded"])), (&json!("pending"), 10_000));
    let refused = seller.refund(&order, &body).await;
    refused.problem(409, "refund-in-progress");
    assert_eq!(refused.header("retry-after"), "1");
    customer.act(&format!("/orders/{order}/cancel")).await.problem(409, "refund-in-progress");
    let again = seller.post_with_key(&path, "\"r\"", &body).await;
    assert_eq!(
        (again.expect(201)["refunds"].as_array().unwrap().len(), again.header("idempotent-replayed")),
        (1, "true")
    );
    let done = app.until_so(&customer, &order, |order| order["refunds"][0]["status"] == "refunded").await;
    assert_eq!((done["refunds"].as_array().unwrap().len(), provider.net(&order).await), (1, 20_000));
    seller.refund(&order, &body).await.expect(201);
    assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (10_000, (9, 9)));
}

#[tokio::test]
async fn a_refund_is_made_once_whatever_fails() {
    let provider = Provider::new().await;
    let (app, seller, customer) = shop(&provider).await;
    for fault in [Fault::RequestLost, Fault::AnswerLost, Fault::FailsBefore, Fault::FailsAfter, Fault::Garbage] {
        let order = customer.buy("CABLE", 1).await;
        let operation = Some(Operation::Refund);
        let rule = Rule { key_prefix: order.clone(), operation, times: Some(2), fault, ..Rule::default() };
        provider.plan(&[rule]).await;
        seller.deliver(&order).await;
        seller.refund(&order, &json!({"restock": true, "reason": "x"})).await.expect(201);
        app.until_so(&customer, &order, |order| order["refunds"][0]["status"] == "refunded").await;
        assert_eq!(provider.effects(&order).await, ["captured", "refunded"], "{fault:?}");
        assert_eq!(provider.net(&order).await, 0, "{fault:?}");
        eventually(async || (seller.stock("CABLE").await == (10, 10)).then_some(())).await;
    }
}

#[tokio::test]
async fn a_repeat_with_its_key_refunds_and_restocks_nothing_more() {
    let provider = Provider::new().await;
    let (_app, seller, customer) = shop(&provider).await;
    let order = customer.buy("CABLE", 3).await;
    seller.deliver(&order).await;
    let path = format!("/orders/{order}/refunds");
    let body = json!({"items": units(&[("CABLE", 1)]), "restock": true, "reason": "late"});
    let first = seller.post_with_key(&path, "\"r\"", &body).await;
    let net = provider.net(&order).await;
    for _ in 0..3 {
        let again = seller.post_with_key(&path, "\"r\"", &body).await;
        assert_eq!(first.expect(201), again.expect(201));
        assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    }
    for (member, value) in [("items", units(&[("CABLE", 2)])), ("restock", json!(false)), ("reason", json!("lost"))] {
        let mut other = body.clone();
        other[member] = value;
        seller.post_with_key(&path, "\"r\"", &other).await.problem(422, "idempotency-key-reused");
    }
    assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (net, (8, 8)));
    seller.post_with_key(&path, "\"s\"", &body).await.expect(201);
    assert_eq!(seller.post_with_key(&path, "\"r\"", &body).await.expect(201)["refunds"].as_array().unwrap().len(), 2);
    assert_eq!(seller.stock("CABLE").await, (9, 9));
}

#[tokio::test]
async fn only_the_seller_of_all_lines_refunds_an_order() {
    let provider = Provider::new().await;
    let (app, seller, customer) = shop(&provider).await;
    let (other, ravi) = (app.user("other", Role::Seller).await, app.customer("ravi").await);
    let order = customer.order("CABLE", 2).await;
    let body = json!({"items": units(&[("CABLE", 1)]), "reason": "late"});
    let unpaid = seller.refund(&order, &body).await.problem(409, "wrong-order-status");
    assert_eq!(unpaid["order_status"], "awaiting_payment");
    customer.pay(&order, "tok_success").await.expect(200);
    for stranger in [&other, &ravi] {
        stranger.refund(&order, &body).await.problem(404, "not-found");
    }
    customer.refund(&order, &body).await.problem(403, "forbidden");
    for (body, pointer) in [
        (json!({"items": units(&[("CABLE", 0)]), "reason": "late"}), "#/items/0/quantity"),
        (json!({"items": units(&[("a b", 1)]), "reason": "late"}), "#/items/0/product_id"),
        (json!({"items": units(&[("CABLE", 1)]), "reason": " "}), "#/reason"),
        (json!({"items": units(&[("CABLE", 1)]), "reason": "r".repeat(501)}), "#/reason"),
        (json!({"items": units(&[("CABLE", 1)]), "reason": "late", "amount": 1}), "#/amount"),
    ] {
        let refused = seller.refund(&order, &body).await.problem(422, "invalid-body");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}");
    }
    let elsewhere = json!({"items": units(&[("PHONE", 1)]), "reason": "late"});
    seller.refund(&order, &elsewhere).await.problem(404, "not-found");
    seller.refund(&"0".repeat(32), &body).await.problem(404, "not-found");
    assert!(customer.shown(&order).await["refunds"].is_null());
    let admin = app.user("admin", Role::Admin).await;
    admin.refund(&order, &body).await.expect(201);
    assert_eq!(provider.effects(&order).await, ["captured", "refunded"]);
}
