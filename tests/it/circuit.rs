//! The circuit breaker, seen from outside: a run of failures opens it, and answers close it again.

use serde_json::json;
use souk::{clock::Clock, config::Config};
use souk_gateway_sim::{Fault, Rule};

use crate::{
    provider::{Provider, shop_at},
    support::{TestApp, eventually},
};

/// The metric of payments that the provider has answered so.
fn paid(outcome: &str) -> String {
    format!("souk_provider_requests_total{{call=\"pay\",outcome=\"{outcome}\"}}")
}

async fn until_circuit(app: &TestApp, wanted: &str) {
    let looking = async || {
        app.caught_up().await;
        let ready = app.anonymous().get("/readyz").await.expect(200);
        assert_eq!((&ready["ready"], &ready["provider"]), (&json!(true), &json!("simulator")));
        (ready["provider_circuit"] == wanted).then_some(())
    };
    eventually(looking).await;
}

#[tokio::test]
async fn a_provider_that_fails_is_left_alone_and_asked_again_later() {
    let provider = Provider::new().await;
    let change = |config: &mut Config| config.limits.payment_wait_ms_max = 100;
    let (app, seller, customer) = shop_at(&provider.url, change, Clock::system()).await;
    until_circuit(&app, "closed").await;
    provider.plan(&[Rule { fault: Fault::FailsBefore, ..Rule::default() }]).await;
    let mut orders = Vec::new();
    for _ in 0..5 {
        let order = customer.order("CABLE", 1).await;
        assert_eq!(customer.pay(&order, "tok_success").await.expect(202)["status"], "pending");
        orders.push(order);
    }
    until_circuit(&app, "open").await;
    assert!(customer.metric(&paid("unknown")).await >= 10);
    assert_eq!(customer.metric(&paid("ok")).await, 0);
    eventually(async || (customer.metric(&paid("refused")).await > 0).then_some(())).await;
    provider.plan(&[]).await;
    until_circuit(&app, "closed").await;
    for order in &orders {
        app.until(&customer, order, "confirmed").await;
        assert_eq!(provider.net(order).await, 10_000);
    }
    assert!(customer.metric(&paid("ok")).await >= 5);
    assert_eq!(
        (customer.metric("souk_provider_circuit").await, customer.metric("souk_provider_requests_in_flight").await),
        (0, 0)
    );
    for call in ["pay", "find", "capture", "void", "refund", "list"] {
        let metrics = customer.get("/metrics").await.text;
        let row = format!("souk_provider_requests_total{{call=\"{call}\",outcome=\"unknown\"}} ");
        assert!(metrics.contains(&row), "{call}: {metrics}");
    }
    assert_eq!(seller.stock("CABLE").await, (5, 5));
}
