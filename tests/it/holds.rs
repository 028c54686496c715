//! Money that is only held: what is given up was never taken, so nothing of it has gone back.

use serde_json::{Value, json};
use souk::{clock::Clock, config::Config, domain::account::Role};

use crate::{
    provider::{Provider, shop_at},
    support::eventually,
};

#[tokio::test]
async fn a_hold_that_ends_is_no_refund_and_no_difference() {
    let provider = Provider::new().await;
    let later = |config: &mut Config| config.payments.capture_later = true;
    let (app, seller, customer) = shop_at(&provider.url, later, Clock::system()).await;
    let admin = app.user("admin", Role::Admin).await;
    let reconcile = async || admin.act("/admin/payments/reconciliation").await.expect(200);
    let mut orders = Vec::new();
    for _ in 0..3 {
        let order = customer.order("CABLE", 1).await;
        customer.pay(&order, "tok_success").await;
        app.until(&customer, &order, "authorised").await;
        orders.push(order);
    }
    let [captured, cancelled, expired] = &orders[..] else { unreachable!() };
    seller.act(&format!("/orders/{captured}/capture")).await.expect(200);
    app.until(&customer, captured, "confirmed").await;
    customer.act(&format!("/orders/{cancelled}/cancel")).await.expect(200);
    app.until(&customer, cancelled, "cancelled").await;
    let charge = provider.operate("/holds/release", &json!({"order": expired})).await["latest_charge"].clone();
    assert_eq!((&charge["captured"], &charge["refunded"]), (&json!(false), &json!(true)), "as by older versions");
    // The shop did not hear of it, so this is a difference, once.
    assert_eq!(reconcile().await["differences"], 1);
    app.until(&customer, expired, "awaiting_payment").await;
    for _ in 0..2 {
        let seen = reconcile().await;
        assert_eq!((&seen["differences"], &seen["problem"], &seen["payments"]), (&json!(0), &Value::Null, &json!(3)));
    }
    for order in &orders {
        let shown = customer.shown(order).await;
        assert_eq!((&shown["refunds"], &shown["refunded"]["amount"]), (&Value::Null, &json!(0)), "{shown}");
    }
    assert_eq!(admin.get("/admin/payments/attention").await.expect(200)["items"], json!([]));
    assert_eq!(provider.effects(expired).await, ["held", "released"]);
    customer.pay(expired, "tok_success").await;
    app.until(&customer, expired, "authorised").await;
}

#[tokio::test]
async fn a_hold_of_another_amount_is_released_when_an_operator_gives_it_back() {
    let provider = Provider::greedy().await;
    let later = |config: &mut Config| {
        config.payments.capture_later = true;
        config.limits.payment_wait_ms_max = 500;
    };
    let (app, _, customer) = shop_at(&provider.url, later, Clock::system()).await;
    let admin = app.user("admin", Role::Admin).await;
    let listed = async || admin.get("/admin/payments/attention").await.expect(200)["items"].clone();
    let order = customer.order("CABLE", 1).await;
    customer.pay(&order, "tok_success").await.expect(202);
    eventually(async || (listed().await[0]["attention"][0]["problem"] == "amount_mismatch").then_some(())).await;
    let back = json!({"action": "refund", "note": "they hold too much"});
    admin.post(&format!("/admin/payments/attention/{order}"), &back).await.expect(200);
    app.until(&customer, &order, "awaiting_payment").await;
    assert_eq!(provider.effects(&order).await, ["held", "voided"], "nothing was taken that could go back");
    assert_eq!((listed().await, &customer.shown(&order).await["refunds"]), (json!([]), &Value::Null));
}
