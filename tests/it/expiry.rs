//! Orders whose customer does not finish the payment, or finishes it at the last moment.

use serde_json::{Value, json};
use souk::{clock::Clock, config::Config};
use souk_gateway_sim::{Operation, Rule};

use crate::{
    provider::{Provider, decide, shop_at},
    support::{Client, NOW, TestApp},
};

const DEADLINE_MS: u64 = 60_000;

async fn shop(provider: &Provider, clock: &Clock) -> (TestApp, Client, Client) {
    let change = |config: &mut Config| config.payment_deadline_ms = DEADLINE_MS;
    shop_at(&provider.url, change, clock.clone()).await
}

/// An order whose payment waits for its customer, and where the customer has to go.
async fn waiting(customer: &Client) -> (String, Value) {
    let order = customer.order("CABLE", 2).await;
    let page = customer.pay(&order, "tok_3ds").await.expect(202)["payment"]["action_url"].clone();
    (order, page)
}

#[tokio::test]
async fn an_unfinished_payment_is_voided_at_the_provider_and_the_order_expires() {
    let (provider, clock) = (Provider::new().await, Clock::manual(NOW));
    let (app, seller, customer) = shop(&provider, &clock).await;
    let (order, page) = waiting(&customer).await;
    clock.advance_ms(DEADLINE_MS - 1);
    assert_eq!(
        (&customer.shown(&order).await["status"], seller.stock("CABLE").await),
        (&json!("payment_pending"), (10, 8))
    );
    clock.advance_ms(1);
    app.until(&customer, &order, "expired").await;
    assert_eq!(customer.shown(&order).await["reason"], "not_paid_in_time");
    assert_eq!(provider.effects(&order).await, ["waits", "voided"]);
    assert_eq!(seller.stock("CABLE").await, (10, 10));
    assert_eq!(customer.get("/cart").await.expect(200)["items"][0]["quantity"], 2);
    decide(&page, "approve").await;
    assert_eq!(provider.net(&order).await, 0);
    customer.pay(&order, "tok_3ds").await.problem(409, "wrong-order-status");
}

#[tokio::test]
async fn a_payment_finished_in_time_counts_without_a_notice() {
    let (provider, clock) = (Provider::new().await, Clock::manual(NOW));
    let (app, seller, customer) = shop(&provider, &clock).await;
    let (order, page) = waiting(&customer).await;
    decide(&page, "approve").await;
    clock.advance_ms(DEADLINE_MS);
    app.until(&customer, &order, "confirmed").await;
    assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (20_000, (8, 8)));
}

#[tokio::test]
async fn a_payment_finished_while_it_is_being_voided_counts() {
    let (provider, clock) = (Provider::new().await, Clock::manual(NOW));
    let (app, seller, customer) = shop(&provider, &clock).await;
    let (order, page) = waiting(&customer).await;
    provider.plan(&[Rule { operation: Some(Operation::Void), latency_ms: 1_500, ..Rule::default() }]).await;
    clock.advance_ms(DEADLINE_MS);
    app.until(&customer, &order, "cancelling").await;
    decide(&page, "approve").await;
    app.until(&customer, &order, "confirmed").await;
    let shown = customer.shown(&order).await;
    assert!(shown["history"].to_string().contains("paid at the last moment"), "{shown}");
    assert!(shown["reason"].is_null());
    assert_eq!((provider.net(&order).await, seller.stock("CABLE").await), (20_000, (8, 8)));
}
