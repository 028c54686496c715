//! A key of another account at the provider: earlier payments would look as if they had never been, so nothing is asked
//! with it.

use souk::{
    clock::Clock,
    config::{Config, Secret},
};
use souk_gateway_sim::{Fault, Operation, Rule};

use crate::provider::{Provider, shop_at};

/// Points the shop at the fake provider as if it were Stripe, with this key.
fn key(config: &mut Config, key: &str) {
    config.payments.provider = souk::config::Provider::Stripe;
    config.payments.key = Some(Secret::new(key.into()));
    config.limits.payment_wait_ms_max = 500;
}

#[tokio::test]
async fn nothing_is_asked_with_a_key_of_another_account() {
    let provider = Provider::new().await;
    let (app, _, customer) = shop_at(&provider.url, |config| key(config, "sk_test_ours"), Clock::system()).await;
    let paid = customer.order("CABLE", 1).await;
    customer.pay(&paid, "tok_success").await.expect(200);
    // It is captured, and the shop does not know.
    let unknown = customer.order("CABLE", 1).await;
    let rule = Rule { key_prefix: unknown.clone(), ..Rule::default() };
    let lost = Rule { operation: Some(Operation::Charge), fault: Fault::AnswerLost, ..rule.clone() };
    let down = Rule { operation: Some(Operation::LookUp), fault: Fault::FailsBefore, ..rule };
    provider.plan(&[lost, down]).await;
    assert_eq!(customer.pay(&unknown, "tok_success").await.expect(202)["status"], "pending");

    let app = app.restart_with(|config| key(config, "sk_test_theirs")).await;
    provider.plan(&[]).await;
    let customer = app.again(&customer);
    let other = customer.order("CABLE", 1).await;
    assert_eq!(customer.pay(&other, "tok_success").await.expect(202)["status"], "pending");
    for order in [&unknown, &other] {
        let status = customer.act(&format!("/orders/{order}/cancel")).await.expect(200)["status"].clone();
        assert_eq!(status, "cancelling", "nobody knows yet what became of the payment");
    }
    assert_eq!(provider.effects(&unknown).await, ["captured"]);
    assert_eq!(provider.effects(&other).await, [] as [&str; 0]);

    let app = app.restart_with(|config| key(config, "sk_test_ours")).await;
    let customer = app.again(&customer);
    for order in [&unknown, &other] {
        app.until(&customer, order, "cancelled").await;
    }
    assert_eq!(provider.effects(&unknown).await, ["captured", "refunded"]);
    assert_eq!((provider.net(&unknown).await, provider.net(&other).await), (0, 0));
}
