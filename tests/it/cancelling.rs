//! Cancelling an order in any state of its payment: no stock stays reserved, and no money stays with the provider.

use serde_json::{Value, json};
use souk::{clock::Clock, config::Config};
use souk_gateway_sim::{Fault, Operation, Rule};
use tokio::net::TcpListener;

use crate::{
    provider::{Provider, decide, shop_at, url_of},
    support::{Client, NOW, TestApp},
};

async fn shop(provider: &Provider) -> (TestApp, Client, Client) {
    shop_at(&provider.url, |_| {}, Clock::system()).await
}

async fn cancel(client: &Client, order: &str) -> Value {
    client.act(&format!("/orders/{order}/cancel")).await.expect(200)
}

/// Begins a payment that waits for its customer. Returns where the customer has to go.
async fn wait_for_customer(customer: &Client, order: &str) -> Value {
    let waiting = customer.pay(order, "tok_3ds").await;
    let body = waiting.expect(202);
    assert_eq!((&body["status"], &body["order_status"]), (&json!("pending"), &json!("payment_pending")));
    assert_eq!((&body["payment"]["status"], waiting.header("retry-after")), (&json!("action_required"), "1"));
    body["payment"]["action_url"].clone()
}

#[tokio::test]
async fn a_payment_that_waits_for_its_customer_can_be_abandoned_for_another() {
    let provider = Provider::new().await;
    let (app, seller, customer) = shop(&provider).await;
    let ravi = app.customer("ravi").await;
    let order = customer.order("CABLE", 2).await;
    let abandon = format!("/orders/{order}/abandon_payment");
    customer.act(&abandon).await.expect(200);
    let pay = json!({"order_id": order, "payment_method": "tok_3ds"});
    let begun = customer.post_with_key("/payment", "\"3ds\"", &pay).await.expect(202);
    assert!(begun["payment"]["action_url"].as_str().unwrap().starts_with(&provider.url), "{begun}");
    customer.pay(&order, "tok_success").await.problem(409, "payment-in-progress");
    for stranger in [&ravi, &seller] {
        stranger.act(&abandon).await.problem(404, "not-found");
    }
    for _ in 0..2 {
        assert_eq!(customer.act(&abandon).await.expect(200)["status"], "awaiting_payment");
    }
    assert_eq!(provider.effects(&order).await, ["waits", "voided"]);
    let given_up = customer.post_with_key("/payment", "\"3ds\"", &pay).await;
    assert_eq!(given_up.problem(422, "payment-declined")["payment_status"], "fail");
    customer.pay(&order, "tok_success").await.expect(200);
    assert_eq!(provider.net(&order).await, 20_000);
    customer.act(&abandon).await.problem(409, "wrong-order-status");
    let payments = customer.get(&format!("/orders/{order}/payments")).await.expect(200);
    assert_eq!((&payments[0]["status"], &payments[1]["status"]), (&json!("voided"), &json!("success")));
    assert!(payments[0]["action_url"].is_null(), "there is nothing to do there any more");
}

#[tokio::test]
async fn a_repeated_payment_after_the_bank_shows_the_outcome() {
    let provider = Provider::new().await;
    let (_app, seller, customer) = shop(&provider).await;
    for (decision, status) in [("approve", 200), ("decline", 422)] {
        let order = customer.order("CABLE", 1).await;
        let page = wait_for_customer(&customer, &order).await;
        assert_eq!(wait_for_customer(&customer, &order).await, page, "the same payment");
        decide(&page, decision).await;
        let told = customer.pay(&order, "tok_3ds").await;
        assert_eq!(told.expect(status)["status"], if status == 200 { json!("success") } else { json!(422) });
        if decision == "decline" {
            let declined = told.problem(422, "payment-declined");
            assert_eq!(
                (&declined["attempt"], &declined["declined_reason"]),
                (&json!(1), &json!("payment_intent_authentication_failure"))
            );
            customer.pay(&order, "tok_success").await.expect(200);
        }
        assert_eq!(
            (provider.net(&order).await, &customer.shown(&order).await["status"]),
            (10_000, &json!("confirmed"))
        );
    }
    assert_eq!(seller.stock("CABLE").await, (8, 8));
}

#[tokio::test]
async fn an_order_is_cancelled_while_its_payment_waits_for_the_customer() {
    let provider = Provider::new().await;
    let (_app, seller, customer) = shop(&provider).await;
    let order = customer.order("CABLE", 2).await;
    let page = wait_for_customer(&customer, &order).await;
    assert_eq!(seller.stock("CABLE").await, (10, 8));
    for _ in 0..2 {
        assert_eq!(cancel(&customer, &order).await["status"], "cancelled");
    }
    assert_eq!(provider.effects(&order).await, ["waits", "voided"]);
    decide(&page, "approve").await;
    assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (0, (10, 10)), "too late");
    let cart = customer.get("/cart").await.expect(200);
    assert_eq!((&cart["items"][0]["product_id"], &cart["items"][0]["quantity"]), (&json!("CABLE"), &json!(2)));
    customer.pay(&order, "tok_success").await.problem(409, "wrong-order-status");
}

#[tokio::test]
async fn an_order_is_cancelled_while_the_provider_is_unreachable() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, url) = (free.local_addr().unwrap(), url_of(&free));
    drop(free);
    let change = |config: &mut Config| config.limits.payment_wait_ms_max = 300;
    let (app, seller, customer) = shop_at(&url, change, Clock::system()).await;
    let order = customer.order("CABLE", 1).await;
    assert_eq!(customer.pay(&order, "tok_success").await.expect(202)["payment"]["status"], "pending");
    assert_eq!(cancel(&customer, &order).await["status"], "cancelling");
    assert_eq!(seller.stock("CABLE").await, (10, 9), "nobody knows whether it is paid");
    let provider = Provider::at(address).await;
    app.until(&customer, &order, "cancelled").await;
    assert_eq!((provider.effects(&order).await, seller.stock("CABLE").await), (vec!["voided".to_owned()], (10, 10)));
}

#[tokio::test]
async fn an_order_with_an_unknown_charge_is_cancelled_and_refunded() {
    let provider = Provider::new().await;
    let change = |config: &mut Config| config.limits.payment_wait_ms_max = 300;
    let (app, seller, customer) = shop_at(&provider.url, change, Clock::system()).await;
    let order = customer.order("CABLE", 1).await;
    let lost = Rule { operation: Some(Operation::Charge), fault: Fault::FailsAfter, ..Rule::default() };
    let unseen = Rule { operation: Some(Operation::LookUp), fault: Fault::FailsBefore, ..Rule::default() };
    provider.plan(&[lost, unseen]).await;
    customer.pay(&order, "tok_success").await.expect(202);
    assert_eq!(provider.net(&order).await, 10_000);
    customer.act(&format!("/orders/{order}/cancel")).await.expect(200);
    provider.plan(&[]).await;
    app.until(&customer, &order, "cancelled").await;
    assert_eq!(provider.effects(&order).await, ["captured", "refunded"]);
    let shown = customer.shown(&order).await;
    assert_eq!((&shown["refunded"], &shown["refunds"][0]["cause"]), (&shown["total"], &json!("cancelled")));
    assert_eq!(seller.stock("CABLE").await, (10, 10));
    assert_eq!(customer.get("/cart").await.expect(200)["items"][0]["quantity"], 1, "as if it had not been paid");
}

#[tokio::test]
async fn a_paid_order_can_be_cancelled_until_it_is_shipped() {
    let provider = Provider::new().await;
    let (app, seller, customer) = shop(&provider).await;
    for step in [None, Some("pack")] {
        let order = customer.buy("CABLE", 2).await;
        if let Some(step) = step {
            seller.act(&format!("/orders/{order}/{step}")).await.expect(200);
        }
        assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (20_000, (8, 8)));
        for _ in 0..2 {
            let cancelled = cancel(&customer, &order).await;
            assert_eq!((&cancelled["status"], &cancelled["refunded"]), (&json!("cancelled"), &cancelled["total"]));
            assert_eq!(cancelled["refunds"].as_array().unwrap().len(), 1);
        }
        assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (0, (10, 10)));
        assert_eq!(customer.get("/cart").await.expect(200)["items"], json!([]));
        seller.act(&format!("/orders/{order}/pack")).await.problem(409, "wrong-order-status");
    }
    // A failed refund does not keep the order from ending, but it raises an issue.
    let order = customer.order("CABLE", 1).await;
    customer.pay(&order, "tok_refund_fails").await.expect(200);
    cancel(&customer, &order).await;
    app.until(&customer, &order, "cancelled").await;
    let shown = customer.shown(&order).await;
    assert_eq!((&shown["refunds"][0]["status"], &shown["refunded"]["amount"]), (&json!("failed"), &json!(0)));
    assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (10_000, (10, 10)));
    let admin = app.user("admin", souk::domain::account::Role::Admin).await;
    let listed = admin.get("/admin/payments/attention").await.expect(200);
    assert_eq!(listed["items"][0]["order"]["order_id"], order);
}

#[tokio::test]
async fn an_authorised_order_is_captured_or_cancelled_and_does_not_expire() {
    let provider = Provider::new().await;
    let clock = Clock::manual(NOW);
    let change = |config: &mut Config| {
        config.payments.capture_later = true;
        config.payment_deadline_ms = 60_000;
    };
    let (app, seller, customer) = shop_at(&provider.url, change, clock.clone()).await;
    let mut orders = Vec::new();
    for _ in 0..2 {
        let order = customer.order("CABLE", 1).await;
        let capture = format!("/orders/{order}/capture");
        seller.act(&capture).await.problem(409, "wrong-order-status");
        let held = customer.pay(&order, "tok_success").await.expect(200);
        assert_eq!((&held["payment"]["status"], &held["order_status"]), (&json!("authorised"), &json!("authorised")));
        assert_eq!((provider.effects(&order).await, provider.net(&order).await), (vec!["held".to_owned()], 0));
        customer.pay(&order, "tok_decline").await.problem(409, "payment-in-progress");
        customer.act(&capture).await.problem(403, "forbidden");
        app.customer("ravi").await.act(&capture).await.problem(404, "not-found");
        orders.push(order);
    }
    let unpaid = customer.order("PHONE", 1).await;
    clock.advance_ms(120_000);
    app.until(&customer, &unpaid, "expired").await;
    assert_eq!(seller.stock("CABLE").await, (10, 8), "both are still held");
    for _ in 0..2 {
        let captured = seller.act(&format!("/orders/{}/capture", orders[0])).await.expect(200);
        assert_eq!(captured["status"], "confirmed");
    }
    assert_eq!(provider.effects(&orders[0]).await, ["held", "captured"]);
    assert_eq!(customer.shown(&orders[1]).await["status"], "authorised");
    assert_eq!(cancel(&customer, &orders[1]).await["status"], "cancelled");
    assert_eq!(provider.effects(&orders[1]).await, ["held", "voided"]);
    seller.act(&format!("/orders/{}/capture", orders[1])).await.problem(409, "wrong-order-status");
    assert_eq!(seller.stock("CABLE").await, (9, 9));
}
