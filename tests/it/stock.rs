//! Stock.

use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn a_receipt_counts_once() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    let path = "/products/CABLE/inventory/receipts";
    let receipt = json!({"quantity": 5, "receipt_id": "lorry-7"});
    for _ in 0..2 {
        assert_eq!(seller.post(path, &receipt).await.expect(200)["on_hand"], 15);
    }
    let other = json!({"quantity": 6, "receipt_id": "lorry-7"});
    seller.post(path, &other).await.problem(409, "receipt-reused");
    let keyed = json!({"quantity": 1});
    for key in ["\"k\"", "k"] {
        assert_eq!(seller.post_with_key(path, key, &keyed).await.expect(200)["on_hand"], 16);
    }
    assert_eq!(seller.post(path, &keyed).await.expect(200)["on_hand"], 17);
}

#[tokio::test]
async fn stock_is_adjusted_and_counted_but_never_below_what_is_reserved() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    customer.order("CABLE", 4).await;
    let path = "/products/CABLE/inventory/adjustments";
    let lost = json!({"delta": -2, "adjustment_id": "a1"});
    for _ in 0..2 {
        assert_eq!(seller.post(path, &lost).await.expect(200)["available"], 4);
    }
    let refused = seller.post(path, &json!({"delta": -5})).await.problem(409, "below-reserved");
    assert_eq!(refused["reserved_quantity"], 4);
    seller.put("/products/CABLE/inventory", &json!({"on_hand": 3})).await.problem(409, "below-reserved");
    seller.post(path, &json!({"delta": i64::MIN})).await.problem(409, "below-reserved");
    let stock = seller.put("/products/CABLE/inventory", &json!({"on_hand": 4})).await.expect(200);
    assert_eq!((&stock["available"], &stock["reserved_quantity"]), (&json!(0), &json!(4)));
}
