//! A flash sale: more buyers than pieces.

use futures::future::join_all;
use serde_json::json;
use souk::domain::account::Role;

use crate::support::{TestApp, address};

const BUYERS: usize = 200;
const PIECES: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_buyers_for_fifty_pieces_buy_exactly_fifty() {
    let app = TestApp::new().await;
    let seller = app.login_as("seller", Role::Seller).await;
    app.product(&seller, "hot", 1_000, PIECES as u64).await;
    let mut tokens = Vec::new();
    for number in 0..BUYERS {
        tokens.push(app.login_as(&format!("buyer-{number}"), Role::Customer).await);
    }
    let app = &app;
    let orders = join_all(tokens.iter().map(|token| async move {
        app.post("/cart/add_products", token, json!({ "product_id": "hot" })).await.expect(200);
        let body = json!({ "product_ids": ["hot"], "total_price": 1_000, "shipping_address": address() });
        (token, app.post("/checkout", token, body).await)
    }));
    let (mut placed, mut refused) = (Vec::new(), 0);
    for (token, answer) in orders.await {
        if answer.status == 201 {
            placed.push((token, answer.body));
        } else {
            answer.expect_problem(409, "insufficient-stock");
            refused += 1;
        }
    }
    assert_eq!((placed.len(), refused), (PIECES, BUYERS - PIECES));
    let stock = app.get("/products/hot/inventory", Some(&seller)).await.expect(200);
    assert_eq!((&stock["available"], &stock["reserved_quantity"]), (&json!(0), &json!(PIECES)));

    let paid = join_all(placed.iter().map(|(token, order)| app.pay(token, order, "tok_success"))).await;
    paid.into_iter().for_each(|answer| assert_eq!(answer.expect(200)["order_status"], "confirmed"));
    let stock = app.get("/products/hot/inventory", Some(&seller)).await.expect(200);
    assert_eq!(
        (&stock["sold"], &stock["on_hand"], &stock["reserved_quantity"]),
        (&json!(PIECES), &json!(0), &json!(0))
    );
}
