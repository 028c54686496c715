//! What was acknowledged is there after a restart.

use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_restart() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let paid = customer.buy("CABLE", 2).await;
    let open = customer.order("PHONE", 1).await;
    customer.add("CABLE", 1).await;
    let review = json!({"rating": 5, "title": "Good"});
    customer.post("/products/CABLE/reviews", &review).await.expect(201);
    let paths = [
        format!("/orders/{paid}"),
        format!("/orders/{open}"),
        format!("/orders/{paid}/payments"),
        "/orders".into(),
        "/cart".into(),
        "/products/CABLE".into(),
        "/products/CABLE/reviews".into(),
    ];
    let mut before = Vec::new();
    for path in &paths {
        before.push(customer.get(path).await.expect(200));
    }
    let stock = seller.inventory("CABLE").await;
    app.caught_up().await;

    let mut app = app.restart().await;
    for round in ["first", "second"] {
        for (path, before) in paths.iter().zip(&before) {
            let again = app.again(&customer).get(path).await.expect(200);
            assert_eq!(again, *before, "{path} after the {round} restart; tokens outlive it, too");
        }
        assert_eq!(app.again(&seller).inventory("CABLE").await, stock);
        app.caught_up().await;
        assert_eq!(app.anonymous().get("/products?q=cable").await.expect(200)["total"], 1);
        app = app.restart().await;
    }
    let asha = app.customer("asha").await;
    assert_eq!(asha.pay(&open, "tok_success").await.expect(200)["order_status"], "confirmed");
}

#[tokio::test]
async fn keys_are_remembered_over_a_restart() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let add = json!({"product_id": "CABLE", "quantity": 2});
    customer.post_with_key("/cart/add_products", "add", &add).await.expect(200);
    let checkout = crate::support::checkout(&json!(20_000));
    let order = customer.post_with_key("/checkout", "checkout", &checkout).await.expect(201);
    let pay = json!({"order_id": order["order_id"], "payment_method": "tok_success"});
    let paid = customer.post_with_key("/payment", "pay", &pay).await.expect(200);

    let app = app.restart().await;
    let customer = app.again(&customer);
    let cart = customer.post_with_key("/cart/add_products", "add", &add).await.expect(200);
    assert_eq!(cart["items"], json!([]));
    let again = customer.post_with_key("/checkout", "checkout", &checkout).await;
    assert_eq!(again.expect(201)["order_id"], order["order_id"]);
    assert_eq!(again.header("idempotent-replayed"), "true");
    let again = customer.post_with_key("/payment", "pay", &pay).await;
    assert_eq!(again.expect(200)["payment"], paid["payment"]);
    assert_eq!(again.header("idempotent-replayed"), "true");
}
