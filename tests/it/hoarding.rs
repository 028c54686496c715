//! Hoarding: a customer cannot keep a product from others by ordering it and not paying.

use futures::future::join_all;
use serde_json::{Value, json};
use souk::{clock::Clock, config::Config};

use crate::support::{Answer, Client, TestApp, address};

/// A shop where a new customer may have three unpaid units of a product, and any other five.
async fn shop(new_account_hours: u64) -> (TestApp, Client, Client) {
    let change = |config: &mut Config| {
        config.limits.new_account_unpaid_units_max = 3;
        config.limits.unpaid_units_max = 5;
        config.limits.new_account_hours = new_account_hours;
    };
    let app = TestApp::with(change, Clock::system()).await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    (app, seller, customer)
}

#[track_caller]
fn refused(answer: &Answer) -> Value {
    let problem = answer.problem(409, "too-many-unpaid-units");
    ["product_id", "requested", "unpaid", "units_max"].map(|member| problem[member].clone()).into()
}

#[tokio::test]
async fn a_new_customer_has_few_units_in_unpaid_orders() {
    let (_app, seller, customer) = shop(1).await;
    let order = customer.order("CABLE", 2).await;
    customer.add("CABLE", 2).await;
    assert_eq!(refused(&customer.check_out().await), json!(["CABLE", 2, 2, 3]));
    assert_eq!(seller.inventory("CABLE").await["reserved_quantity"], 2, "nothing of a refused order is reserved");
    assert_eq!(customer.get("/orders").await.expect(200)["items"].as_array().unwrap().len(), 1);
    customer.pay(&order, "tok_success").await.expect(200);
    let second = customer.check_out().await.expect(201)["order_id"].clone();
    customer.add("CABLE", 3).await;
    assert_eq!(refused(&customer.check_out().await), json!(["CABLE", 3, 2, 3]));
    customer.act(&format!("/orders/{}/cancel", second.as_str().unwrap())).await.expect(200);
    customer.put("/cart/items/CABLE", &json!({"quantity": 3})).await.expect(200);
    customer.add("PHONE", 3).await;
    customer.check_out().await.expect(201);
}

#[tokio::test]
async fn an_account_that_is_not_new_may_have_more() {
    let (_app, seller, customer) = shop(0).await;
    customer.order("CABLE", 4).await;
    customer.add("CABLE", 2).await;
    assert_eq!(refused(&customer.check_out().await), json!(["CABLE", 2, 4, 5]));
    assert_eq!(seller.inventory("CABLE").await["reserved_quantity"], 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkouts_at_once_do_not_exceed_the_limit_together() {
    let (_app, seller, customer) = shop(1).await;
    customer.add("CABLE", 9).await;
    let body = json!({
        "items": [{"product_id": "CABLE", "quantity": 1}], "total_price": 10_000, "shipping_address": address()
    });
    let mut placed = 0;
    for round in 0..5 {
        let keys: Vec<_> = (0..9).map(|number| format!("key-{round}-{number}")).collect();
        let answers = join_all(keys.iter().map(|key| customer.post_with_key("/checkout", key, &body))).await;
        assert!(answers.iter().all(|answer| [201, 409].contains(&answer.status.as_u16())), "{answers:?}");
        placed += answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(seller.inventory("CABLE").await["reserved_quantity"], json!(placed));
    }
    // Of those who read one version of the cart, one gets its lines.
    assert_eq!(placed, 3);
}
