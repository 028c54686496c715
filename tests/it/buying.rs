//! From search to delivery, and everything that can happen on the way.

use std::time::Duration;

use serde_json::{Value, json};
use souk::domain::account::Role;

use crate::support::{TestApp, address};

async fn shop() -> (TestApp, String, String) {
    let app = TestApp::new().await;
    let seller = app.login_as("seller", Role::Seller).await;
    app.product(&seller, "kettle", 1_500, 10).await;
    let customer = app.login_as("asha", Role::Customer).await;
    (app, seller, customer)
}

#[tokio::test]
async fn from_search_to_delivery() {
    let (app, seller, customer) = shop().await;
    app.caught_up().await;
    for path in ["/products/search_item=kettle", "/products?q=kettle", "/products?q=KETTLES&limit=1"] {
        let found = app.get(path, None).await.expect(200);
        assert_eq!(found["items"][0]["id"], "kettle", "{path}: {found}");
    }
    let order = app.order(&customer, "kettle", 2).await;
    assert_eq!(order["status"], "awaiting_payment");
    assert_eq!(app.get("/cart", Some(&customer)).await.expect(200)["items"], json!([]), "the order took its lines");
    let paid = app.pay(&customer, &order, "tok_success").await.expect(200);
    assert_eq!((&paid["status"], &paid["order_status"]), (&json!("success"), &json!("confirmed")));
    let id = order["order_id"].as_str().unwrap();
    let ship = json!({ "carrier": "India Post", "tracking_number": "EE1" });
    app.send("POST", &format!("/orders/{id}/pack"), Some(&seller), None, &[]).await.expect(200);
    app.post(&format!("/orders/{id}/ship"), &seller, ship).await.expect(200);
    app.send("POST", &format!("/orders/{id}/deliver"), Some(&seller), None, &[]).await.expect(200);
    let status = app.get(&format!("/order_status={id}"), Some(&customer)).await.expect(200);
    assert_eq!(status["status"], "delivered");
    assert_eq!(status["tracking"]["tracking_number"], "EE1");
    let listed = app.get("/orders", Some(&customer)).await.expect(200);
    assert_eq!(listed["items"][0]["order_id"], id);
    assert_eq!(app.get("/products/kettle", None).await.expect(200)["quantity"], 8);
}

#[tokio::test]
async fn an_order_is_in_its_customers_list_at_once() {
    let (app, _, customer) = shop().await;
    for count in 1..=5 {
        let order = app.order(&customer, "kettle", 1).await;
        let listed = app.get("/orders", Some(&customer)).await.expect(200);
        assert_eq!(listed["items"].as_array().unwrap().len(), count);
        assert_eq!(listed["items"][0]["order_id"], order["order_id"], "newest first");
    }
    let mut seen = Vec::new();
    let mut path = "/orders?limit=2".to_owned();
    loop {
        let page = app.get(&path, Some(&customer)).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|order| order["order_id"].clone()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/orders?limit=2&after={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
}

#[tokio::test]
async fn the_same_key_has_one_effect_and_another_body_is_refused() {
    let (app, _, customer) = shop().await;
    let key = [("idempotency-key", "\"k-1\"")];
    let add = json!({ "product_id": "kettle", "quantity": 2 });
    for _ in 0..2 {
        let cart = app.send("POST", "/cart/add_products", Some(&customer), Some(add.clone()), &key).await.expect(200);
        assert_eq!(cart["items"][0]["quantity"], 2);
    }
    let body = json!({ "total_price": 3_000, "shipping_address": address() });
    let first = app.send("POST", "/checkout", Some(&customer), Some(body.clone()), &key).await;
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let first = first.expect(201);
    let again = app.send("POST", "/checkout", Some(&customer), Some(body.clone()), &key).await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.expect(201)["order_id"], first["order_id"]);
    let keyless = app.post("/checkout", &customer, body.clone()).await.expect(201);
    assert_eq!(keyless["order_id"], first["order_id"], "what it asks for has left the cart into this order");
    let other = json!({ "total_price": 3_001, "shipping_address": address() });
    let other = app.send("POST", "/checkout", Some(&customer), Some(other), &key).await;
    other.expect_problem(422, "idempotency-key-reused");
    let pay = |method: &str| json!({ "order_id": first["order_id"], "payment_method": method });
    app.send("POST", "/payment", Some(&customer), Some(pay("tok_success")), &key).await.expect(200);
    let again = app.send("POST", "/payment", Some(&customer), Some(pay("tok_success")), &key).await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let other = app.send("POST", "/payment", Some(&customer), Some(pay("tok_decline")), &key).await;
    other.expect_problem(422, "idempotency-key-reused");
    let other_key = [("idempotency-key", "k-2")];
    let twice = app.send("POST", "/payment", Some(&customer), Some(pay("tok_success")), &other_key).await;
    twice.expect_problem(409, "already-paid");
    let payments = app.get(&format!("/orders/{}/payments", first["order_id"].as_str().unwrap()), Some(&customer)).await;
    assert_eq!(payments.expect(200).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_repeated_checkout_without_a_key_finds_its_order() {
    let (app, _, customer) = shop().await;
    let first = app.order(&customer, "kettle", 1).await;
    let body = json!({ "total_price": first["total"], "shipping_address": address() });
    let again = app.post("/checkout", &customer, body).await.expect(201);
    assert_eq!(again["order_id"], first["order_id"]);
}

#[tokio::test]
async fn declined_then_unknown_then_captured_once() {
    let (app, seller, customer) = shop().await;
    let order = app.order(&customer, "kettle", 1).await;
    let declined = app.pay(&customer, &order, "tok_decline").await.expect_problem(422, "payment-declined");
    assert_eq!((&declined["payment_status"], &declined["declined_reason"]), (&json!("fail"), &json!("card_declined")));
    let paid = app.pay(&customer, &order, "tok_timeout_after_charge").await.expect(200);
    assert_eq!(paid["payment"]["attempt"], 2);
    let ledger = std::fs::read_to_string(app.directory.path().join("simulated-provider.jsonl")).unwrap();
    let lines = ledger.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    assert_eq!(lines.filter(|line| line["declined"].is_null()).count(), 1, "captured once: {ledger}");
    let stock = app.get("/products/kettle/inventory", Some(&seller)).await.expect(200);
    assert_eq!((&stock["sold"], &stock["reserved_quantity"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn a_slow_payment_is_pending_and_then_succeeds() {
    let app = TestApp::with(|config| config.limits.payment_wait_ms_max = 50).await;
    let seller = app.login_as("seller", Role::Seller).await;
    app.product(&seller, "kettle", 1_500, 10).await;
    let customer = app.login_as("asha", Role::Customer).await;
    let order = app.order(&customer, "kettle", 1).await;
    let pending = app.pay(&customer, &order, "tok_slow").await.expect(202);
    assert_eq!((&pending["status"], &pending["order_status"]), (&json!("pending"), &json!("payment_pending")));
    let path = format!("/orders/{}", order["order_id"].as_str().unwrap());
    let cancel = app.send("POST", &format!("{path}/cancel"), Some(&customer), None, &[]).await;
    cancel.expect_problem(409, "payment-in-progress");
    let who = app.shop.principal("asha@example.org").await.unwrap();
    let id = order["order_id"].as_str().unwrap().parse().unwrap();
    let mut changes = app.shop.follow_order(&who, id).await.unwrap();
    while app.get(&path, Some(&customer)).await.expect(200)["status"] != "confirmed" {
        tokio::time::timeout(Duration::from_secs(30), changes.changed()).await.expect("the payment comes to an end");
    }
}

#[tokio::test]
async fn cancelling_gives_stock_and_cart_back() {
    let (app, seller, customer) = shop().await;
    let order = app.order(&customer, "kettle", 3).await;
    let path = format!("/orders/{}/cancel", order["order_id"].as_str().unwrap());
    for _ in 0..2 {
        let cancelled = app.send("POST", &path, Some(&customer), None, &[]).await.expect(200);
        assert_eq!((&cancelled["status"], &cancelled["reason"]), (&json!("cancelled"), &json!("cancelled")));
    }
    assert_eq!(app.get("/cart", Some(&customer)).await.expect(200)["items"][0]["quantity"], 3);
    let stock = app.get("/products/kettle/inventory", Some(&seller)).await.expect(200);
    assert_eq!((&stock["available"], &stock["reserved_quantity"]), (&json!(10), &json!(0)));
    app.pay(&customer, &order, "tok_success").await.expect_problem(409, "wrong-order-status");
}

#[tokio::test]
async fn wrong_totals_and_products_that_cannot_be_bought() {
    let (app, seller, customer) = shop().await;
    app.post("/products", &seller, json!({ "id": "priceless", "name": "Priceless" })).await.expect(201);
    let add = app.post("/cart/add_products", &customer, json!({ "product_id": "priceless" })).await;
    add.expect_problem(422, "not-for-sale");
    let variants = json!([{ "product_id": "kettle", "options": { "size": "M" } }]);
    let parent =
        json!({ "id": "parent", "name": "Kettles", "price": { "amount": 1, "currency": "INR" }, "variants": variants });
    app.post("/products", &seller, parent).await.expect(201);
    let choose = app.post("/cart/add_products", &customer, json!({ "product_id": "parent" })).await;
    assert_eq!(choose.expect_problem(422, "choose-variant")["variants"], json!(["kettle"]));
    app.post("/cart/add_products", &customer, json!({ "product_id": "kettle" })).await.expect(200);
    let body = json!({ "total_price": { "amount": 1, "currency": "INR" }, "shipping_address": address() });
    let wrong = app.post("/checkout", &customer, body).await.expect_problem(409, "total-mismatch");
    assert_eq!(wrong["computed_total"]["amount"], 1_500);
    let usd = json!({ "id": "usd", "name": "Dollars", "price": { "amount": 1, "currency": "USD" } });
    app.post("/products", &seller, usd).await.expect(201);
    let mixed = app.post("/cart/add_products", &customer, json!({ "product_id": "usd" })).await;
    mixed.expect_problem(422, "mixed-currencies");
}

#[tokio::test]
async fn another_customers_things_are_not_there() {
    let (app, _, asha) = shop().await;
    let ravi = app.login_as("ravi", Role::Customer).await;
    let order = app.order(&asha, "kettle", 1).await;
    let id = order["order_id"].as_str().unwrap();
    for path in [
        format!("/orders/{id}"),
        format!("/order_status={id}"),
        format!("/orders/{id}/payments"),
        format!("/orders/{id}/events"),
    ] {
        app.get(&path, Some(&ravi)).await.expect_problem(404, "not-found");
        app.get(&path, None).await.expect_problem(401, "unauthorized");
    }
    app.send("POST", &format!("/orders/{id}/cancel"), Some(&ravi), None, &[]).await.expect_problem(404, "not-found");
    app.pay(&ravi, &order, "tok_success").await.expect_problem(404, "not-found");
    let foreign = json!({ "user_id": "00000000000000000000000000000001", "product_id": "kettle" });
    app.post("/cart/add_products", &ravi, foreign).await.expect_problem(403, "forbidden");
    assert_eq!(app.get("/orders", Some(&ravi)).await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let (app, seller, customer) = shop().await;
    let order = app.order(&customer, "kettle", 1).await;
    app.post("/cart/add_products", &customer, json!({ "product_id": "kettle", "quantity": 4 })).await.expect(200);
    let app = app.restart().await;
    let path = format!("/orders/{}", order["order_id"].as_str().unwrap());
    assert_eq!(app.get(&path, Some(&customer)).await.expect(200), order, "tokens outlive a restart, too");
    assert_eq!(app.get("/cart", Some(&customer)).await.expect(200)["items"][0]["quantity"], 4);
    app.pay(&customer, &order, "tok_success").await.expect(200);
    let stock = app.get("/products/kettle/inventory", Some(&seller)).await.expect(200);
    assert_eq!(stock["sold"], 1);
    app.caught_up().await;
    assert_eq!(app.get("/products?q=kettle", None).await.expect(200)["total"], 1);
}

#[tokio::test]
async fn an_unpaid_order_expires_and_gives_its_stock_back() {
    let app = TestApp::with(|config| config.payment_deadline_ms = 1_000).await;
    let seller = app.login_as("seller", Role::Seller).await;
    app.product(&seller, "kettle", 1_500, 1).await;
    let customer = app.login_as("asha", Role::Customer).await;
    let order = app.order(&customer, "kettle", 1).await;
    let who = app.shop.principal("asha@example.org").await.unwrap();
    let id = order["order_id"].as_str().unwrap().parse().unwrap();
    let mut changes = app.shop.follow_order(&who, id).await.unwrap();
    let path = format!("/orders/{}", order["order_id"].as_str().unwrap());
    while app.get(&path, Some(&customer)).await.expect(200)["status"] != "expired" {
        tokio::time::timeout(Duration::from_secs(30), changes.changed()).await.expect("the order expires");
    }
    let stock = app.get("/products/kettle/inventory", Some(&seller)).await.expect(200);
    assert_eq!(stock["available"], 1);
}
