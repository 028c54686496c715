//! A flash sale: more buyers than units.

use futures::future::join_all;
use serde_json::json;

use crate::support::{TestApp, address, product};

const BUYERS: usize = 200;
const PIECES: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_buyers_of_fifty_units_buy_exactly_fifty() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    seller.post("/products", &product("HOT", "Hot", 1_000)).await.expect(201);
    seller.put("/products/HOT/inventory", &json!({"on_hand": PIECES})).await.expect(200);
    let mut buyers = Vec::new();
    for number in 0..BUYERS {
        buyers.push(app.customer(&format!("buyer-{number}")).await);
    }
    let orders = join_all(buyers.iter().map(|buyer| async move {
        buyer.add("HOT", 1).await;
        let body = json!({"product_ids": ["HOT"], "total_price": 1_000, "shipping_address": address()});
        (buyer, buyer.post("/checkout", &body).await)
    }));
    let (mut placed, mut refused) = (Vec::new(), 0);
    for (buyer, answer) in orders.await {
        if answer.status == 201 {
            placed.push((buyer, answer.json()["order_id"].as_str().unwrap().to_owned()));
        } else {
            answer.problem(409, "insufficient-stock");
            refused += 1;
        }
    }
    assert_eq!((placed.len(), refused), (PIECES, BUYERS - PIECES));
    let stock = seller.inventory("HOT").await;
    assert_eq!((&stock["available"], &stock["reserved_quantity"]), (&json!(0), &json!(PIECES)));

    let paid = join_all(placed.iter().map(|(buyer, order)| buyer.pay(order, "tok_success"))).await;
    paid.iter().for_each(|answer| assert_eq!(answer.expect(200)["order_status"], "confirmed"));
    let stock = seller.inventory("HOT").await;
    let counted = (&stock["sold"], &stock["on_hand"], &stock["reserved_quantity"]);
    assert_eq!(counted, (&json!(PIECES), &json!(0), &json!(0)));
}
