//! Bad input: each a documented 4xx problem, none a 5xx, nothing changed.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use souk::domain::account::Role;

use crate::support::{TestApp, address};

#[tokio::test]
async fn bodies_that_break_rules_change_nothing() {
    let app = TestApp::new().await;
    let seller = app.login_as("seller", Role::Seller).await;
    app.product(&seller, "kettle", 1_500, 10).await;
    let customer = app.login_as("asha", Role::Customer).await;
    let add = "/cart/add_products";
    let item = |quantity: Value| json!({ "items": [{ "product_id": "kettle", "quantity": quantity }] });
    let cases = [
        (add, json!([]), 422, "invalid-body"),
        (add, json!({}), 422, "invalid-body"),
        (add, json!({ "items": [] }), 422, "invalid-body"),
        (add, item(json!(0)), 422, "invalid-body"),
        (add, item(json!(-1)), 422, "invalid-body"),
        (add, item(json!(10_001)), 422, "invalid-body"),
        (add, item(json!(1e30)), 422, "invalid-body"),
        (add, item(json!("two")), 422, "invalid-body"),
        (add, item(json!(1.5)), 422, "invalid-body"),
        (add, json!({ "items": [{ "product_id": "kettle", "quantity": 1, "price": 0 }] }), 422, "invalid-body"),
        (add, json!({ "product_id": "no-such-thing" }), 404, "not-found"),
        (add, json!({ "product_id": "not an id" }), 422, "invalid-body"),
        ("/checkout", json!({ "total_price": 0 }), 422, "invalid-body"),
        ("/checkout", json!({ "total_price": 0, "shipping_address": address() }), 422, "empty-cart"),
        ("/checkout", json!({ "total_price": -1, "shipping_address": address() }), 422, "invalid-body"),
        (
            "/checkout",
            json!({ "items": [{ "product_id": "kettle" }], "total_price": 1, "shipping_address": address() }),
            409,
            "not-in-cart",
        ),
        ("/payment", json!({ "order_id": "nonsense", "payment_method": "tok_success" }), 404, "not-found"),
        (
            "/payment",
            json!({ "order_id": "00000000000000000000000000000000", "payment_method": "tok_success" }),
            404,
            "not-found",
        ),
        ("/products/kettle/reviews", json!({ "rating": 6, "title": "t" }), 422, "invalid-body"),
        ("/products/kettle/reviews", json!({ "rating": 0, "title": "t" }), 422, "invalid-body"),
        ("/products/kettle/reviews", json!({ "rating": 5, "title": "" }), 422, "invalid-body"),
        ("/products", json!({ "id": "x", "name": "x" }), 403, "forbidden"),
    ];
    for (path, body, status, code) in cases {
        let answer = app.post(path, &customer, body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.body["code"].as_str()), (status, Some(code)), "{path} {body}");
    }
    let cart = app.get("/cart", Some(&customer)).await.expect(200);
    assert_eq!((&cart["version"], &cart["items"]), (&json!(0), &json!([])), "nothing changed");
    assert_eq!(app.get("/orders", Some(&customer)).await.expect(200)["items"], json!([]));
    let pointed = app.post(add, &customer, item(json!("two"))).await.expect(422);
    assert_eq!(pointed["errors"][0]["pointer"], "#/items/0/quantity");
}

#[tokio::test]
async fn bytes_that_are_no_request_are_refused() {
    let app = TestApp::with(|config| config.limits.body_bytes_max = 2_048).await;
    let token = app.login_as("asha", Role::Customer).await;
    let raw = |content_type: &'static str, body: Vec<u8>| {
        let request = Request::post("/cart/add_products").header("authorization", format!("Bearer {token}"));
        app.request(request.header("content-type", content_type).body(Body::from(body)).unwrap())
    };
    raw("application/json", b"{".to_vec()).await.expect_problem(400, "malformed-json");
    raw("application/json", b"{} trailing".to_vec()).await.expect_problem(400, "malformed-json");
    raw("application/json", vec![0xff, 0xfe]).await.expect_problem(400, "malformed-json");
    raw("application/json", b"[".repeat(2_000)).await.expect_problem(422, "invalid-body");
    raw("text/plain", b"{}".to_vec()).await.expect_problem(415, "unsupported-media-type");
    raw("application/json", vec![b' '; 4_096]).await.expect_problem(413, "body-too-large");
}

#[tokio::test]
async fn tokens_that_are_none_are_refused() {
    let app = TestApp::new().await;
    let good = app.login_as("asha", Role::Customer).await;
    let (head, signature) = good.rsplit_once('.').unwrap();
    let claims = head.split('.').nth(1).unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{claims}.");
    let (shorter, long) = (&good[..good.len() - 1], "x".repeat(5_000));
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    for token in ["", "x", "a.b.c", unsigned.as_str(), shorter, long.as_str(), forged.as_str()] {
        let answer = app.get("/cart", Some(token)).await;
        assert!(answer.headers.contains_key("www-authenticate"));
        answer.expect_problem(401, "unauthorized");
    }
    for scheme in ["Basic YTpi", "Bearer", good.as_str()] {
        let answer = app.send("GET", "/cart", None, None, &[("authorization", scheme)]).await;
        answer.expect_problem(401, "unauthorized");
    }
    app.get("/products/none", Some("forged")).await.expect_problem(401, "unauthorized");
}

/// Garbage in every path and query parameter of every route that the description names, by everybody: never a 5xx.
#[tokio::test]
async fn garbage_in_every_parameter_is_a_documented_problem() {
    let app = TestApp::new().await;
    let admin = app.login_as("boss", Role::Admin).await;
    let garbage = [
        "%00",
        "%FF",
        "..%2F..",
        "%27%20OR%201=1",
        "x".repeat(3_000).as_str(),
        "-1",
        "%F0%9F%92%A9",
        "%25",
        "a%2Fb",
        "null",
    ]
    .map(str::to_owned);
    let description = app.get("/openapi.json", None).await.expect(200);
    let mut tried = 0;
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            for value in &garbage {
                let mut targets = Vec::new();
                if path.contains('{') {
                    let begin = path.find('{').unwrap();
                    let end = path.find('}').unwrap();
                    targets.push(format!("{}{value}{}", &path[..begin], &path[end + 1..]));
                }
                let concrete = path.replace("{product_id}", "kettle").replace("{*keywords}", "kettle");
                let concrete = concrete.replace("{order_id}", "00000000000000000000000000000000");
                let queries = parameters.iter().filter(|parameter| parameter["in"] == "query");
                targets.extend(queries.map(|query| format!("{concrete}?{}={value}", query["name"].as_str().unwrap())));
                targets.push(format!("{concrete}?no_such_parameter={value}"));
                for target in targets {
                    for token in [None, Some(admin.as_str())] {
                        let method = method.to_uppercase();
                        let body = (method == "POST" || method == "PUT").then(|| json!({ "garbage": value }));
                        let answer = app.send(&method, &target, token, body, &[]).await;
                        tried += 1;
                        assert!(
                            !answer.status.is_server_error(),
                            "{method} {target}: {} {}",
                            answer.status,
                            answer.body
                        );
                        if answer.status.is_client_error() {
                            assert!(answer.body["code"].is_string(), "{method} {target}: {}", answer.status);
                        }
                    }
                }
            }
        }
    }
    assert!(tried > 800, "only {tried} requests were tried");
}

#[tokio::test]
async fn idempotency_keys_and_cursors_are_checked() {
    let app = TestApp::new().await;
    let token = app.login_as("asha", Role::Customer).await;
    for key in ["", "\"open", &"k".repeat(256)] {
        let headers = [("idempotency-key", key)];
        let answer = app.send("POST", "/checkout", Some(&token), Some(json!({})), &headers).await;
        answer.expect_problem(400, "invalid-idempotency-key");
    }
    for path in [
        "/orders?after=!",
        "/orders?limit=0",
        "/orders?limit=101",
        "/products?after=x",
        "/orders?nothing=1",
        "/cart?x=1",
    ] {
        assert_eq!(app.get(path, Some(&token)).await.status, 400, "{path}");
    }
    app.send("PATCH", "/orders", Some(&token), None, &[]).await.expect_problem(405, "method-not-allowed");
    app.get("/no/such/place", None).await.expect_problem(404, "not-found");
}
