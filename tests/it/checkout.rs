//! From a cart to an order.

use serde_json::json;

use crate::support::{TestApp, address, checkout, product};

#[tokio::test]
async fn a_checkout_reserves_stock_and_empties_the_cart() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    customer.add("CABLE", 3).await;
    let answer = customer.check_out().await;
    let order = answer.expect(201);
    let id = order["order_id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/orders/{id}"));
    assert_eq!(order["status"], "awaiting_payment");
    assert_eq!(order["total"], json!({"amount": 30_000, "currency": "INR"}));
    assert_eq!(order["items"][0]["unit_price"]["amount"], 10_000);
    assert_eq!(order["shipping_address"], address());
    assert_eq!(customer.get("/cart").await.expect(200)["items"], json!([]));
    let stock = seller.inventory("CABLE").await;
    assert_eq!((&stock["reserved_quantity"], &stock["available"]), (&json!(3), &json!(7)));
    assert_eq!(customer.get("/products/CABLE").await.expect(200)["quantity"], 7);
}

#[tokio::test]
async fn a_part_of_the_cart_can_be_ordered() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    customer.add("CABLE", 3).await;
    customer.add("PHONE", 1).await;
    let by_ids = json!({"product_ids": ["PHONE"], "total_price": 1_500_000, "shipping_address": address()});
    customer.post("/checkout", &by_ids).await.expect(201);
    let by_items = json!({
        "items": [{"product_id": "CABLE", "quantity": 2}],
        "total_price": {"amount": 20_000, "currency": "INR"}, "shipping_address": address()
    });
    let order = customer.post("/checkout", &by_items).await.expect(201);
    assert_eq!(order["items"][0]["quantity"], 2);
    let cart = customer.get("/cart").await.expect(200);
    assert_eq!((&cart["items"][0]["product_id"], &cart["items"][0]["quantity"]), (&json!("CABLE"), &json!(1)));
    assert_eq!(cart["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_repeat_finds_the_same_order_with_a_key_and_without() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    customer.add("CABLE", 1).await;
    let body = checkout(&json!(10_000));
    let first = customer.post_with_key("/checkout", "\"k\"", &body).await;
    let again = customer.post_with_key("/checkout", "\"k\"", &body).await;
    assert_eq!(first.expect(201)["order_id"], again.expect(201)["order_id"]);
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    let other = checkout(&json!(20_000));
    customer.post_with_key("/checkout", "\"k\"", &other).await.problem(422, "idempotency-key-reused");
    let keyless = customer.post("/checkout", &body).await.expect(201);
    assert_eq!(keyless["order_id"], first.json()["order_id"], "what it asks for has left the cart into this order");

    customer.add("PHONE", 1).await;
    let body = checkout(&json!(1_500_000));
    let first = customer.post("/checkout", &body).await;
    let again = customer.post("/checkout", &body).await;
    assert_eq!(first.expect(201)["order_id"], again.expect(201)["order_id"]);
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!(seller.inventory("PHONE").await["reserved_quantity"], 1);
    assert_eq!(customer.get("/orders").await.expect(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_wrong_total_is_refused_with_both_totals() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    customer.add("CABLE", 1).await;
    let refused = customer.post("/checkout", &checkout(&json!(9_999))).await.problem(409, "total-mismatch");
    assert_eq!(refused["computed_total"], json!({"amount": 10_000, "currency": "INR"}));
    assert_eq!(refused["stated_total"], json!({"amount": 9_999, "currency": "INR"}));
    let dollars = checkout(&json!({"amount": 10_000, "currency": "USD"}));
    customer.post("/checkout", &dollars).await.problem(409, "total-mismatch");
    seller.put("/products/CABLE", &product("CABLE", "Cable", 12_000)).await.expect(200);
    customer.post("/checkout", &checkout(&json!(10_000))).await.problem(409, "total-mismatch");
    customer.post("/checkout", &checkout(&json!(12_000))).await.expect(201);
}

#[tokio::test]
async fn a_refused_checkout_changes_nothing() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    customer.post("/checkout", &checkout(&json!(1))).await.problem(422, "empty-cart");
    customer.add("PHONE", 6).await;
    let refused = customer.check_out().await.problem(409, "insufficient-stock");
    assert_eq!((&refused["product_id"], &refused["requested"]), (&json!("PHONE"), &json!(6)));
    assert_eq!(refused["available"], 5);

    let with = |items: serde_json::Value| json!({"items": items, "total_price": 1, "shipping_address": address()});
    let not_there = with(json!([{"product_id": "CABLE", "quantity": 1}]));
    let refused = customer.post("/checkout", &not_there).await.problem(409, "not-in-cart");
    assert_eq!((&refused["requested"], &refused["in_cart"]), (&json!(1), &json!(0)));
    let too_many = with(json!([{"product_id": "PHONE", "quantity": 7}]));
    customer.post("/checkout", &too_many).await.problem(409, "not-in-cart");
    seller.delete("/products/PHONE").await.expect(204);
    customer.post("/checkout", &checkout(&json!(9_000_000))).await.problem(404, "not-found");

    assert_eq!(customer.get("/cart").await.expect(200)["items"][0]["quantity"], 6);
    assert_eq!(seller.inventory("PHONE").await["reserved_quantity"], 0);
    assert_eq!(customer.get("/orders").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn the_number_of_open_orders_of_a_customer_is_limited() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    seller.put("/products/CABLE/inventory", &json!({"on_hand": 100})).await.expect(200);
    let mut orders = Vec::new();
    for _ in 0..20 {
        orders.push(customer.order("CABLE", 1).await);
    }
    customer.add("CABLE", 1).await;
    customer.check_out().await.problem(409, "too-many-open-orders");
    assert_eq!(seller.inventory("CABLE").await["reserved_quantity"], 20);
    customer.pay(&orders[0], "tok_success").await.expect(200);
    customer.put("/cart/items/CABLE", &json!({"quantity": 2})).await.expect(200);
    customer.check_out().await.expect(201);
}

#[tokio::test]
async fn an_address_follows_the_rules_of_its_country() {
    let app = TestApp::new().await;
    app.seller().await;
    let asha = app.customer("asha").await;
    let send = async |changes: serde_json::Value| {
        let mut address = address();
        for (name, value) in changes.as_object().unwrap() {
            address[name] = value.clone();
        }
        asha.add("CABLE", 1).await;
        let total = asha.get("/cart").await.expect(200)["total"].clone();
        asha.post("/checkout", &json!({"total_price": total, "shipping_address": address})).await
    };
    let thai = "เลขที่ 99/123 หมู่บ้านสวนสวย ซอยสุขุมวิท 101/1 แยก 15 ถนนสุขุมวิท แขวงบางจาก เขตพระโขนง";
    for good in [
        json!({"line2": "", "region": " ", "phone": "\u{200b}"}),
        json!({"country": "TH", "line1": thai, "postal_code": "10260"}),
        json!({"country": "HK", "postal_code": ""}),
        json!({"country": "AE", "postal_code": null}),
        json!({"country": "GB", "postal_code": "ec1y 8sy"}),
    ] {
        let order = send(good.clone()).await.expect(201);
        let shown = order["shipping_address"].as_object().unwrap();
        assert!(shown.values().all(|text| !text.as_str().unwrap().trim().is_empty()), "{good}: {order}");
        assert_eq!(shown.contains_key("postal_code"), shown["country"] != "HK" && shown["country"] != "AE", "{order}");
    }
    for (bad, pointers) in [
        (json!({"name": "\u{200b}", "line1": "Flat 4\nRose House"}), vec!["name", "line1"]),
        (json!({"country": "XX"}), vec!["country"]),
        (json!({"country": "UK"}), vec!["country"]),
        (json!({"country": "in"}), vec!["country"]),
        (json!({"country": "HK"}), vec!["postal_code"]),
        (json!({"country": "DE", "postal_code": "SW1A 1AA"}), vec!["postal_code"]),
        (json!({"country": "US", "postal_code": ""}), vec!["postal_code"]),
        (json!({"city": "x".repeat(201)}), vec!["city"]),
    ] {
        let refused = send(bad.clone()).await.problem(422, "invalid-body");
        let told = refused["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap());
        let pointers: Vec<_> = pointers.into_iter().map(|name| format!("#/shipping_address/{name}")).collect();
        assert_eq!(told.collect::<Vec<_>>(), pointers, "{bad}: {refused}");
        assert!(!refused.to_string().contains("bytes"), "{refused}");
    }
}

#[tokio::test]
async fn an_empty_field_and_one_that_is_left_out_are_the_same_request() {
    let app = TestApp::new().await;
    app.seller().await;
    let asha = app.customer("asha").await;
    asha.add("CABLE", 1).await;
    let with = |address| json!({"total_price": 10_000, "shipping_address": address});
    let mut filled = address();
    filled["line2"] = json!("");
    let first = asha.post_with_key("/checkout", "k", &with(filled)).await.expect(201);
    let second = asha.post_with_key("/checkout", "k", &with(address())).await;
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(second.expect(201)["order_id"], first["order_id"]);
}
