//! Authorisation: each operation that needs a token refuses everybody who may not use it, and changes nothing.
//!
//! An operation that is not in the tables fails the test, so that a new one cannot be forgotten.

use serde_json::{Value, json};
use souk::domain::account::Role;

use crate::support::{Client, TestApp, operations, product, units};

/// Operations on the caller's own things, whatever their role.
const OWN: [(&str, &str); 12] = [
    ("GET", "/cart"),
    ("POST", "/cart/add_products"),
    ("PUT", "/cart/items/{product_id}"),
    ("DELETE", "/cart/items/{product_id}"),
    ("POST", "/checkout"),
    ("GET", "/orders"),
    ("GET", "/account"),
    ("PATCH", "/account"),
    ("DELETE", "/account"),
    ("PUT", "/account/password"),
    ("POST", "/auth/logout"),
    ("POST", "/products/{product_id}/reviews"),
];

/// The status for the order's customer, its seller, another customer, another seller and an admin; 0 if they may.
type Told = [u16; 5];

const VIEW: Told = [0, 0, 404, 404, 0];
const CUSTOMERS: Told = [0, 404, 404, 404, 404];
const CANCEL: Told = [0, 403, 404, 404, 0];
const SELLERS: Told = [403, 0, 404, 404, 0];
const CATALOGUE: Told = [403, 0, 403, 403, 0];
const EDITORS: Told = [403, 0, 403, 0, 0];
const ADMINS: Told = [403, 403, 403, 403, 0];

/// Each operation with a valid body.
fn table(order: &str) -> Vec<(&'static str, &'static str, Value, Told)> {
    let (items, none) = (units(&[("CABLE", 1)]), Value::Null);
    let receipt = json!({"quantity": 1, "receipt_id": "second"});
    vec![
        ("GET", "/orders/{order_id}", none.clone(), VIEW),
        ("GET", "/order_status={order_id}", none.clone(), VIEW),
        ("GET", "/orders/{order_id}/payments", none.clone(), VIEW),
        ("GET", "/orders/{order_id}/events", none.clone(), VIEW),
        ("POST", "/orders/{order_id}/events/tickets", none.clone(), VIEW),
        ("POST", "/payment", json!({"order_id": order, "payment_method": "tok_success"}), CUSTOMERS),
        ("POST", "/orders/{order_id}/abandon_payment", none.clone(), CUSTOMERS),
        ("POST", "/orders/{order_id}/returns", json!({"items": items, "reason": "x"}), CUSTOMERS),
        ("POST", "/orders/{order_id}/cancel", none.clone(), CANCEL),
        ("POST", "/orders/{order_id}/capture", none.clone(), SELLERS),
        ("POST", "/orders/{order_id}/pack", none.clone(), SELLERS),
        ("POST", "/orders/{order_id}/ship", json!({"carrier": "x", "tracking_number": "1"}), SELLERS),
        ("POST", "/orders/{order_id}/deliver", none.clone(), SELLERS),
        ("POST", "/orders/{order_id}/refunds", json!({"reason": "x"}), SELLERS),
        ("POST", "/orders/{order_id}/returns/{number}/receive", json!({"restock": true}), SELLERS),
        ("POST", "/orders/{order_id}/returns/{number}/reject", json!({"note": "x"}), SELLERS),
        ("POST", "/products", product("LAMP", "Lamp", 100), EDITORS),
        ("PUT", "/products/{product_id}", product("CABLE", "Mine", 1), CATALOGUE),
        ("DELETE", "/products/{product_id}", none.clone(), CATALOGUE),
        ("PUT", "/sellers/{seller_id}", json!({"name": "Mine"}), CATALOGUE),
        ("GET", "/products/{product_id}/inventory", none.clone(), CATALOGUE),
        ("PUT", "/products/{product_id}/inventory", json!({"on_hand": 1}), CATALOGUE),
        ("POST", "/products/{product_id}/inventory/receipts", receipt, CATALOGUE),
        ("POST", "/products/{product_id}/inventory/adjustments", json!({"delta": 1}), CATALOGUE),
        ("GET", "/settings", none.clone(), ADMINS),
        ("DELETE", "/admin/customers", json!({"email": "asha@example.com"}), ADMINS),
        ("GET", "/admin/sellers", none.clone(), ADMINS),
        ("POST", "/admin/sellers/{seller_id}/approve", none.clone(), ADMINS),
        ("POST", "/admin/sellers/{seller_id}/refuse", json!({"note": "x"}), ADMINS),
        ("GET", "/admin/payments/attention", none.clone(), ADMINS),
        ("GET", "/admin/payments/attention/{order_id}", none.clone(), ADMINS),
        ("POST", "/admin/payments/attention/{order_id}", json!({"action": "refund", "note": "x"}), ADMINS),
        ("GET", "/admin/payments/reconciliation", none.clone(), ADMINS),
        ("POST", "/admin/payments/reconciliation", none.clone(), ADMINS),
        ("GET", "/admin/payments/notices", none, ADMINS),
        ("POST", "/admin/payments/notices/{notice_id}/dismiss", json!({"note": "x"}), ADMINS),
    ]
}

fn filled(path: &str, order: &str, seller: &str) -> String {
    let path = path.replace("{product_id}", "CABLE").replace("{order_id}", order).replace("{number}", "1");
    path.replace("{seller_id}", seller).replace("{notice_id}", &format!("1-{}", "0".repeat(32)))
}

async fn state(seller: &Client, customer: &Client, order: &str) -> [Value; 4] {
    [
        customer.shown(order).await,
        customer.get("/orders").await.expect(200),
        seller.inventory("CABLE").await,
        seller.get("/products/CABLE").await.expect(200),
    ]
}

#[tokio::test]
async fn callers_without_permission_are_refused_and_change_nothing() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let (ravi, other) = (app.customer("ravi").await, app.user("other", Role::Seller).await);
    let admin = app.user("admin", Role::Admin).await;
    let order = customer.buy("CABLE", 2).await;
    seller.post(&format!("/orders/{order}/ship"), &json!({"carrier": "x", "tracking_number": "1"})).await.expect(200);
    let body = json!({"items": units(&[("CABLE", 1)]), "reason": "too short"});
    customer.post(&format!("/orders/{order}/returns"), &body).await.expect(201);
    let before = state(&seller, &customer, &order).await;
    let table = table(&order);
    for (path, method, operation) in operations() {
        let requirements = operation["security"].as_array();
        let is_secured = requirements.is_some_and(|all| !all.is_empty() && !all.contains(&json!({})));
        if !is_secured || OWN.contains(&(&*method, &*path)) {
            continue;
        }
        let row = table.iter().find(|(of_method, of_path, ..)| (*of_method, *of_path) == (&*method, &*path));
        let (.., body, told) = row.unwrap_or_else(|| panic!("who may {method} {path}?"));
        for (client, status) in [&customer, &seller, &ravi, &other, &admin].into_iter().zip(told) {
            let code = match status {
                403 => "forbidden",
                404 => "not-found",
                // Other tests cover what callers may do; only reads are tried here.
                _ if method == "GET" && !path.ends_with("/events") => {
                    client.get(&filled(&path, &order, &seller.user_id)).await.expect(200);
                    continue;
                }
                _ => continue,
            };
            let answer = match body {
                Value::Null => {
                    client
                        .raw(client.request(
                            &method,
                            &filled(&path, &order, &seller.user_id),
                            &[],
                            axum::body::Body::empty(),
                        ))
                        .await
                }
                body => client.send(&method, &filled(&path, &order, &seller.user_id), &[], body).await,
            };
            assert_eq!(answer.status, *status, "{method} {path} by {:?}: {answer:?}", client.user_id);
            answer.problem(*status, code);
        }
    }
    assert_eq!(state(&seller, &customer, &order).await, before);
}
