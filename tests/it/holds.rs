//! Money that is only held: what is given up was never taken, so nothing of it has gone back.

use serde_json::{Value, json};
use souk::{clock::Clock, config::Config, domain::account::Role};

use crate::provider::{Provider, shop_at};

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
        assert_eq!((&shown["refunds"], &shown["refunded"]["amount"]), (&json!([]), &json!(0)), "{shown}");
    }
    assert_eq!(admin.get("/admin/payments/attention").await.expect(200)["items"], json!([]));
    assert_eq!(provider.effects(expired).await, ["held", "released"]);
    customer.pay(expired, "tok_success").await;
    app.until(&customer, expired, "authorised").await;
}
