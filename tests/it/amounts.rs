//! Amounts that the payment provider does not take: known before it is asked, and shown in the cart.

use serde_json::{Value, json};
use souk::{clock::Clock, config::Config};

use crate::{
    provider::{Provider, shop_at},
    support::{Client, checkout, product},
};

const CUSTOM: &str = "CUSTOM";

/// Puts one product of this price into the cart, which has nothing else in it.
async fn cart_of(seller: &Client, customer: &Client, minor: u64, currency: &str) -> Value {
    let mut fields = product(CUSTOM, CUSTOM, minor);
    fields["price"]["currency"] = json!(currency);
    customer.delete(&format!("/cart/items/{CUSTOM}")).await.expect(204);
    seller.put(&format!("/products/{CUSTOM}"), &fields).await.expect(200);
    customer.add(CUSTOM, 1).await;
    customer.get("/cart").await.expect(200)
}

async fn shop(provider: &Provider, shipping: u64) -> (crate::support::TestApp, Client, Client) {
    let change = |config: &mut Config| config.shipping_flat_minor = shipping;
    let (app, seller, customer) = shop_at(&provider.url, change, Clock::system()).await;
    seller.post("/products", &product(CUSTOM, CUSTOM, 1)).await.expect(201);
    seller.put(&format!("/products/{CUSTOM}/inventory"), &json!({"on_hand": 10})).await.expect(200);
    (app, seller, customer)
}

#[tokio::test]
async fn an_amount_that_the_provider_does_not_take_is_marked_in_the_cart() {
    let provider = Provider::new().await;
    let (_app, seller, customer) = shop(&provider, 0).await;
    let marked = |cart: &Value| {
        (cart["amount_problem"].clone(), cart["amount_limit"]["amount"].clone(), cart["total"]["amount"].clone())
    };
    let none = Value::Null;
    for (minor, currency, wanted) in [
        (49, "INR", (json!("amount_too_small"), json!(50), json!(49))),
        (50, "INR", (none.clone(), none.clone(), json!(50))),
        (0, "INR", (none.clone(), none.clone(), json!(0))),
        (49, "JPY", (json!("amount_too_small"), json!(50), json!(49))),
        (17_499, "HUF", (json!("amount_too_small"), json!(17_500), json!(17_499))),
        (1_000_000_000_000, "INR", (json!("amount_too_large"), json!(999_999_999_999_u64), none.clone())),
        (1_005, "KWD", (json!("amount_not_supported"), none.clone(), none.clone())),
        (50_000, "UGX", (json!("amount_not_supported"), none.clone(), none.clone())),
    ] {
        let cart = cart_of(&seller, &customer, minor, currency).await;
        assert_eq!(marked(&cart), wanted, "{minor} {currency}");
        if cart["total"].is_null() {
            let refused = customer.post("/checkout", &checkout(&json!(minor))).await;
            let problem = refused.problem(422, "amount-not-payable");
            assert_eq!(problem["amount_limit"]["amount"], wanted.1, "{minor} {currency}");
        }
    }
}

#[tokio::test]
async fn an_order_below_the_least_amount_is_declined_without_asking_and_one_of_nothing_is_paid() {
    let provider = Provider::new().await;
    let (app, seller, customer) = shop(&provider, 0).await;
    cart_of(&seller, &customer, 49, "INR").await;
    let order = customer.check_out().await.expect(201)["order_id"].as_str().unwrap().to_owned();
    let declined = customer.pay(&order, "tok_success").await;
    assert_eq!(declined.problem(422, "payment-declined")["declined_reason"], "amount_too_small");
    customer.act(&format!("/orders/{order}/cancel")).await.expect(200);
    app.until(&customer, &order, "cancelled").await;
    // More than this card takes, which only the answer tells.
    cart_of(&seller, &customer, 1_000_000_000, "INR").await;
    let large = customer.check_out().await.expect(201)["order_id"].as_str().unwrap().to_owned();
    let declined = customer.pay(&large, "pm_card_amex").await;
    assert_eq!(declined.problem(422, "payment-declined")["declined_reason"], "amount_too_large");
    cart_of(&seller, &customer, 0, "INR").await;
    let free = customer.check_out().await.expect(201)["order_id"].as_str().unwrap().to_owned();
    customer.pay(&free, "tok_success").await.expect(200);
    for order in [&order, &large, &free] {
        assert_eq!(provider.effects(order).await, [] as [&str; 0]);
    }
    assert_eq!(
        customer.metric(r#"souk_provider_requests_total{call="pay",outcome="unknown"}"#).await,
        0,
        "nothing of this says anything about the provider"
    );
}

#[tokio::test]
async fn it_is_the_total_that_counts_with_shipping() {
    let provider = Provider::new().await;
    let (_app, seller, customer) = shop(&provider, 40).await;
    for (minor, problem) in [(9, json!("amount_too_small")), (10, Value::Null), (0, json!("amount_too_small"))] {
        let cart = cart_of(&seller, &customer, minor, "INR").await;
        assert_eq!(cart["amount_problem"], problem, "{minor} and 40 for shipping");
    }
}
