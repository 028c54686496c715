//! What sellers and admins do: products, stock, orders; and reviews.

use serde_json::json;
use souk::domain::account::Role;

use crate::support::TestApp;

#[tokio::test]
async fn a_seller_owns_what_they_sell() {
    let app = TestApp::new().await;
    let seller = app.login_as("seller", Role::Seller).await;
    let rival = app.login_as("rival", Role::Seller).await;
    let customer = app.login_as("asha", Role::Customer).await;
    let admin = app.login_as("boss", Role::Admin).await;
    app.product(&seller, "kettle", 1_500, 10).await;
    let edit = json!({ "name": "Another kettle" });
    let put = |token| app.send("PUT", "/products/kettle", Some(token), Some(edit.clone()), &[]);
    put(&rival).await.expect_problem(403, "forbidden");
    put(&customer).await.expect_problem(403, "forbidden");
    app.get("/products/kettle/inventory", Some(&rival)).await.expect_problem(404, "not-found");
    app.get("/products/kettle/inventory", Some(&customer)).await.expect_problem(403, "forbidden");
    assert_eq!(put(&admin).await.expect(200)["version"], 2);
    let old = [("if-match", "\"p1-s0.0-r0.0\"")];
    let stale = app.send("PUT", "/products/kettle", Some(&seller), Some(edit.clone()), &old).await;
    assert_eq!(stale.expect_problem(412, "version-mismatch")["current_version"], 2);
    app.send("DELETE", "/products/kettle", Some(&seller), None, &[]).await.expect(204);
    app.get("/products/kettle", None).await.expect_problem(404, "not-found");
    app.get("/products/kettle", Some(&seller)).await.expect(200);
    app.caught_up().await;
    assert_eq!(app.get("/products?q=kettle", None).await.expect(200)["total"], 0, "delisted products are not found");
}

#[tokio::test]
async fn a_known_etag_is_not_sent_again_and_a_sale_changes_its_stock_part_only() {
    let app = TestApp::new().await;
    let seller = app.login_as("seller", Role::Seller).await;
    app.product(&seller, "kettle", 1_500, 10).await;
    let first = app.get("/products/kettle", None).await;
    let etag = first.headers["etag"].to_str().unwrap().to_owned();
    let known = app.send("GET", "/products/kettle", None, None, &[("if-none-match", &etag)]).await;
    assert_eq!(known.status, 304);
    let customer = app.login_as("asha", Role::Customer).await;
    app.order(&customer, "kettle", 1).await;
    let after = app.send("GET", "/products/kettle", None, None, &[("if-none-match", &etag)]).await;
    assert_eq!(after.status, 200);
    let edit = json!({ "name": "Kettle, again" });
    app.send("PUT", "/products/kettle", Some(&seller), Some(edit), &[("if-match", &etag)]).await.expect(200);
}

#[tokio::test]
async fn a_receipt_counts_once() {
    let app = TestApp::new().await;
    let seller = app.login_as("seller", Role::Seller).await;
    app.product(&seller, "kettle", 1_500, 10).await;
    let receipt = json!({ "quantity": 5, "receipt_id": "d-1" });
    for _ in 0..2 {
        let stock = app.post("/products/kettle/inventory/receipts", &seller, receipt.clone()).await.expect(200);
        assert_eq!(stock["on_hand"], 15);
    }
    let other = json!({ "quantity": 6, "receipt_id": "d-1" });
    let refused = app.post("/products/kettle/inventory/receipts", &seller, other).await;
    refused.expect_problem(409, "receipt-reused");
    let customer = app.login_as("asha", Role::Customer).await;
    app.order(&customer, "kettle", 14).await;
    let lost = app.post("/products/kettle/inventory/adjustments", &seller, json!({ "delta": -2 })).await;
    assert_eq!(lost.expect_problem(409, "below-reserved")["reserved_quantity"], 14);
}

#[tokio::test]
async fn reviews_count_once_a_customer_and_know_who_bought() {
    let app = TestApp::new().await;
    let seller = app.login_as("seller", Role::Seller).await;
    app.product(&seller, "kettle", 1_500, 10).await;
    let (asha, ravi) = (app.login_as("asha", Role::Customer).await, app.login_as("ravi", Role::Customer).await);
    let order = app.order(&asha, "kettle", 1).await;
    app.pay(&asha, &order, "tok_success").await.expect(200);
    let review = |rating: u8| json!({ "rating": rating, "title": "A title", "text": "A text" });
    assert_eq!(app.post("/products/kettle/reviews", &asha, review(5)).await.expect(201)["verified"], true);
    assert_eq!(app.post("/products/kettle/reviews", &ravi, review(2)).await.expect(201)["verified"], false);
    assert_eq!(app.post("/products/kettle/reviews", &ravi, review(3)).await.expect(201)["rating"], 3);
    app.post("/products/kettle/reviews", &ravi, review(3)).await.expect(200);
    let rating = app.get("/products/kettle", None).await.expect(200)["rating"].clone();
    assert_eq!(rating, json!({ "average": 4.0, "count": 2 }));
    let listed = app.get("/products/kettle/reviews", None).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    assert_eq!(listed["items"][0]["rating"], 3, "newest first");
}

#[tokio::test]
async fn only_the_seller_of_all_lines_and_admins_move_an_order_on() {
    let app = TestApp::new().await;
    let (seller, rival) = (app.login_as("seller", Role::Seller).await, app.login_as("rival", Role::Seller).await);
    app.product(&seller, "kettle", 1_500, 10).await;
    let customer = app.login_as("asha", Role::Customer).await;
    let order = app.order(&customer, "kettle", 1).await;
    let pack = format!("/orders/{}/pack", order["order_id"].as_str().unwrap());
    let send = |token| app.send("POST", &pack, Some(token), None, &[]);
    send(&seller).await.expect_problem(409, "wrong-order-status");
    app.pay(&customer, &order, "tok_success").await.expect(200);
    send(&customer).await.expect_problem(403, "forbidden");
    send(&rival).await.expect_problem(404, "not-found");
    assert_eq!(send(&seller).await.expect(200)["status"], "packed");
    let sold = app.get("/orders?as=seller", Some(&seller)).await.expect(200);
    assert_eq!(sold["items"][0]["order_id"], order["order_id"]);
    app.get("/orders?stage=packed", Some(&seller)).await.expect_problem(403, "forbidden");
    let admin = app.login_as("boss", Role::Admin).await;
    let packed = app.get("/orders?stage=packed", Some(&admin)).await.expect(200);
    assert_eq!(packed["items"].as_array().unwrap().len(), 1);
}
