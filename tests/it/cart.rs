//! Carts.

use serde_json::{Value, json};

use crate::support::{TestApp, checkout, product};

#[tokio::test]
async fn products_are_added_changed_and_removed() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    assert_eq!(customer.get("/cart").await.expect(200)["items"], json!([]));
    let add = json!({"items": [{"product_id": "CABLE", "quantity": 1}, {"product_id": "PHONE", "quantity": 1}]});
    customer.post("/cart/add_products", &add).await.expect(200);
    let one = json!({"user_id": customer.user_id, "product_id": "CABLE", "quantity": 1});
    let cart = customer.post("/cart/add_products", &one).await.expect(200);
    assert_eq!((&cart["items"][0]["product_id"], &cart["items"][0]["quantity"]), (&json!("CABLE"), &json!(2)));
    assert_eq!(cart["items"][0]["available"], 10);
    assert_eq!(cart["total"], json!({"amount": 1_520_000, "currency": "INR"}));

    let cart = customer.put("/cart/items/CABLE", &json!({"quantity": 5})).await.expect(200);
    assert_eq!(cart["items"][0]["quantity"], 5);
    for _ in 0..2 {
        customer.delete("/cart/items/PHONE").await.expect(204);
    }
    let answer = customer.get("/cart").await;
    let cart = answer.expect(200);
    assert_eq!(cart["items"].as_array().unwrap().len(), 1);
    assert!(answer.header("etag").starts_with(&format!("\"c{}-", cart["version"])), "{answer:?}");
}

#[tokio::test]
async fn a_repeated_addition_with_a_key_adds_once() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let add = json!({"product_id": "CABLE", "quantity": 2});
    customer.post_with_key("/cart/add_products", "\"one\"", &add).await.expect(200);
    let cart = customer.post_with_key("/cart/add_products", "one", &add).await.expect(200);
    assert_eq!(cart["items"][0]["quantity"], 2, "a structured string and the bare text are the same key");
    let other = json!({"product_id": "CABLE", "quantity": 3});
    customer.post_with_key("/cart/add_products", "one", &other).await.problem(422, "idempotency-key-reused");
    customer.post_with_key("/cart/add_products", &"k".repeat(255), &add).await.expect(200);
    for key in ["\"open", "", "\"\"", &"k".repeat(256)] {
        customer.post_with_key("/cart/add_products", key, &add).await.problem(400, "invalid-idempotency-key");
    }
    assert_eq!(customer.get("/cart").await.expect(200)["items"][0]["quantity"], 4);
}

#[tokio::test]
async fn a_cart_belongs_to_its_customer() {
    let app = TestApp::new().await;
    app.seller().await;
    let (asha, ravi) = (app.customer("asha").await, app.customer("ravi").await);
    asha.add("CABLE", 1).await;
    assert_eq!(ravi.get("/cart").await.expect(200)["items"], json!([]));
    let add = json!({"user_id": asha.user_id, "product_id": "CABLE", "quantity": 1});
    ravi.post("/cart/add_products", &add).await.problem(403, "forbidden");
    assert_eq!(asha.get("/cart").await.expect(200)["items"][0]["quantity"], 1);
}

#[tokio::test]
async fn a_cart_shows_current_prices() {
    let app = TestApp::with(|config| config.tax_basis_points = 1_800, souk::clock::Clock::system()).await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    customer.add("CABLE", 1).await;
    customer.add("PHONE", 1).await;
    seller.put("/products/CABLE", &product("CABLE", "Cable", 20_000)).await.expect(200);
    seller.delete("/products/PHONE").await.expect(204);
    let cart = customer.get("/cart").await.expect(200);
    assert_eq!((&cart["items"][0]["title"], &cart["subtotal"]["amount"]), (&json!("Cable"), &json!(20_000)));
    assert_eq!(cart["total"], json!(null), "what is not sold any more is in the way of a checkout");
    assert_eq!((&cart["items"][1]["unit_price"], &cart["items"][1]["problem"]), (&json!(null), &json!("not_for_sale")));
    customer.delete("/cart/items/PHONE").await.expect(204);
    let cart = customer.get("/cart").await.expect(200);
    assert_eq!(cart["total"]["amount"], 23_600, "with 18 % tax");
}

#[tokio::test]
async fn products_that_cannot_be_bought_are_refused_with_a_reason() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    seller.post("/products", &json!({"id": "FREE", "name": "No price"})).await.expect(201);
    let mut dollars = product("DOLLAR", "In dollars", 100);
    dollars["price"]["currency"] = json!("USD");
    seller.post("/products", &dollars).await.expect(201);
    let add = |id: &str| json!({"product_id": id, "quantity": 1});
    let free = customer.post("/cart/add_products", &add("FREE")).await.problem(422, "not-for-sale");
    assert_eq!(free["product_id"], "FREE");
    customer.post("/cart/add_products", &add("NOTHING")).await.problem(404, "not-found");
    customer.add("CABLE", 1).await;
    customer.post("/cart/add_products", &add("DOLLAR")).await.problem(422, "mixed-currencies");
    customer.put("/cart/items/DOLLAR", &json!({"quantity": 1})).await.problem(422, "mixed-currencies");
    let half = json!({"items": [{"product_id": "CABLE", "quantity": 1}, {"product_id": "FREE", "quantity": 1}]});
    customer.post("/cart/add_products", &half).await.problem(422, "not-for-sale");
    let cart = customer.get("/cart").await.expect(200);
    assert_eq!((cart["items"].as_array().unwrap().len(), &cart["items"][0]["quantity"]), (1, &json!(1)));
}

#[tokio::test]
async fn checkout_accepts_the_total_of_a_cart_or_the_problem_line_is_marked() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let put = async |id: &str, change: fn(&mut Value)| {
        let mut fields = product(id, id, 10_000);
        change(&mut fields);
        seller.put(&format!("/products/{id}"), &fields).await.expect(200);
    };
    let problems = async || {
        let cart = customer.get("/cart").await.expect(200);
        let of_line = |line: &Value| line["problem"].as_str().unwrap_or("none").to_owned();
        let problems: Vec<_> = cart["items"].as_array().unwrap().iter().map(of_line).collect();
        assert_eq!(cart["total"].is_null(), problems.iter().any(|problem| problem != "none"), "{cart}");
        problems
    };
    customer.add("CABLE", 1).await;
    customer.add("PHONE", 1).await;
    assert_eq!(problems().await, ["none", "none"]);

    put("CABLE", |fields| fields["price"]["currency"] = json!("USD")).await;
    assert_eq!(problems().await, ["none", "other_currency"]);
    let stated = checkout(&json!(1_510_000));
    customer.post("/checkout", &stated).await.problem(422, "mixed-currencies");
    put("CABLE", |fields| fields["price"] = Value::Null).await;
    assert_eq!(problems().await, ["not_for_sale", "none"]);
    let cart = customer.get("/cart").await.expect(200);
    assert_eq!(cart["subtotal"], json!({"amount": 1_500_000, "currency": "INR"}));
    customer.post("/checkout", &stated).await.problem(422, "not-for-sale");
    put("CABLE", |fields| fields["price"]["amount"] = json!(9_007_199_254_740_991_u64)).await;
    assert_eq!(problems().await, ["none", "too_large"]);
    put("CABLE", |_| {}).await;
    assert_eq!(problems().await, ["none", "none"]);
    seller.delete("/products/PHONE").await.expect(204);
    assert_eq!(problems().await, ["none", "not_for_sale"]);
    customer.delete("/cart/items/PHONE").await.expect(204);
    assert_eq!(problems().await, ["none"]);
    customer.check_out().await.expect(201);
}
