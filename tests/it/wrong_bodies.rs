//! Bodies that are JSON but break a rule: each is refused with a pointer to the faulty field, and nothing changes. And
//! bodies that do not arrive: they occupy nothing that others need.

use std::{convert::Infallible, io};

use axum::body::{Body, Bytes};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use souk::clock::Clock;

use crate::support::{PASSWORD, TestApp, address, checkout, product};

fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value;
    body
}

#[tokio::test]
async fn wrong_fields_of_customers_are_named() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let order = customer.order("PHONE", 1).await;
    customer.add("CABLE", 1).await;
    let before = (customer.get("/cart").await.expect(200), seller.inventory("CABLE").await);
    let item = |id: Value, quantity: Value| json!({"items": [{"product_id": id, "quantity": quantity}]});
    let cable = |quantity: Value| item(json!("CABLE"), quantity);
    let good = checkout(&json!(10_000));
    let add = "/cart/add_products";
    let pay = json!({"order_id": order, "payment_method": "tok_success"});
    let two = json!({"items": [{"product_id": "PHONE", "quantity": 1}, {"product_id": "CABLE", "quantity": 0}]});
    let items = |items: Value| json!({"items": items, "total_price": 10_000, "shipping_address": address()});
    for (path, body, pointer) in [
        (add, cable(json!("1")), "#/items/0/quantity"),
        (add, cable(json!(-1)), "#/items/0/quantity"),
        (add, cable(json!(1.5)), "#/items/0/quantity"),
        (add, cable(json!(1e30)), "#/items/0/quantity"),
        (add, cable(json!(0)), "#/items/0/quantity"),
        (add, cable(json!(10_000)), "#/items/0/quantity"),
        (add, two, "#/items/1/quantity"),
        (add, item(json!("a b"), json!(1)), "#/items/0/product_id"),
        (add, item(json!(7), json!(1)), "#/items/0/product_id"),
        (add, item(json!("x".repeat(65)), json!(1)), "#/items/0/product_id"),
        (add, json!({"items": []}), "#/items"),
        (add, json!({"items": [{"product_id": "CABLE", "quantity": 1, "x": 1}]}), "#/items/0/x"),
        (add, json!({"items": [], "product_id": "CABLE"}), "#/items"),
        (add, json!({"product_id": "a b"}), "#/product_id"),
        (add, json!({"product_id": "CABLE", "quantity": 0}), "#/quantity"),
        (add, json!({"product_id": "CABLE", "quantity": 5_000_000_000_u64}), "#/quantity"),
        (add, json!({"a/b~c.d[0]": 1}), "#/a~1b~0c.d[0]"),
        (add, json!(17), "#"),
        ("/payment", json!([order, "tok_success"]), "#"),
        ("/checkout", with(good.clone(), "/total_price", json!(-1)), "#/total_price"),
        ("/checkout", with(good.clone(), "/total_price", json!("100")), "#/total_price"),
        ("/checkout", with(good.clone(), "/total_price", json!(1.5)), "#/total_price"),
        ("/checkout", with(good.clone(), "/total_price", json!({"amount": 1})), "#/total_price/currency"),
        (
            "/checkout",
            with(good.clone(), "/total_price", json!({"amount": 1, "currency": "XYZ"})),
            "#/total_price/currency",
        ),
        ("/checkout", with(good.clone(), "/shipping_address/planet", json!("Earth")), "#/shipping_address/planet"),
        ("/checkout", with(good.clone(), "/shipping_address/country", json!("India")), "#/shipping_address/country"),
        ("/checkout", with(good.clone(), "/shipping_address/name", json!(" ")), "#/shipping_address/name"),
        ("/checkout", with(good.clone(), "/shipping_address/city", json!("a\nb")), "#/shipping_address/city"),
        ("/checkout", with(good.clone(), "/product_ids", json!([])), "#/product_ids"),
        ("/checkout", with(good.clone(), "/product_ids", json!(["CABLE", "a b"])), "#/product_ids/1"),
        ("/checkout", items(json!([])), "#/items"),
        ("/checkout", items(json!([{"product_id": "CABLE"}, {"product_id": "CABLE"}])), "#/items"),
        ("/checkout", items(json!([{"product_id": "CABLE"}, {"product_id": "a b"}])), "#/items/1/product_id"),
        ("/checkout", items(json!([{"product_id": "CABLE", "quantity": "2"}])), "#/items/0/quantity"),
        ("/checkout", json!({"total_price": 10_000}), "#/shipping_address"),
        ("/payment", with(pay.clone(), "/payment_method", json!("tok_nobodys")), "#/payment_method"),
        ("/payment", with(pay.clone(), "/order_id", json!(7)), "#/order_id"),
        ("/payment", with(pay.clone(), "/payment_method", json!("")), "#/payment_method"),
        ("/payment", with(pay.clone(), "/payment_method", json!("m".repeat(256))), "#/payment_method"),
        ("/auth/register", json!({"email": "no address", "password": "long enough"}), "#/email"),
        ("/auth/register", json!({"email": "a@example.com", "password": "short"}), "#/password"),
        ("/auth/register", json!({"email": "a@example.com", "password": PASSWORD, "name": ""}), "#/name"),
        ("/auth/register", json!({"email": "a@example.com", "password": PASSWORD, "role": "king"}), "#/role"),
        ("/auth/login", json!({"email": "a@example.com", "password": 7}), "#/password"),
    ] {
        let answer = customer.post(path, &body).await.problem(422, "invalid-body");
        assert_eq!(answer["errors"][0]["pointer"], pointer, "{path} {body}: {answer}");
    }
    let none = items(json!([{"product_id": "CABLE", "quantity": 0}]));
    customer.post("/checkout", &none).await.problem(422, "invalid-body");
    assert_eq!((customer.get("/cart").await.expect(200), seller.inventory("CABLE").await), before);
    assert_eq!(customer.get("/orders").await.expect(200)["items"].as_array().unwrap().len(), 1);
    assert_eq!(customer.get(&format!("/orders/{order}/payments")).await.expect(200), json!([]));
}

#[tokio::test]
async fn wrong_fields_of_sellers_are_named() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let order = customer.buy("PHONE", 1).await;
    let before = (seller.get("/products/CABLE").await.expect(200), seller.inventory("CABLE").await);
    let ship = format!("/orders/{order}/ship");
    let good = product("LAMP", "Lamp", 100);
    let (receipts, adjustments) = ("/products/CABLE/inventory/receipts", "/products/CABLE/inventory/adjustments");
    for (method, path, body, pointer) in [
        ("POST", "/products", with(good.clone(), "/id", json!("a b")), "#/id"),
        ("POST", "/products", with(good.clone(), "/name", json!(" ")), "#/name"),
        ("POST", "/products", with(good.clone(), "/name", json!("n".repeat(2_001))), "#/name"),
        ("PUT", "/products/CABLE", json!({"name": ""}), "#/name"),
        ("POST", "/products", with(good.clone(), "/description", json!("d".repeat(40_000))), "#/description"),
        ("POST", "/products", with(good.clone(), "/price/amount", json!(1_u64 << 53)), "#/price/amount"),
        ("POST", "/products", with(good.clone(), "/price/amount", json!(-1)), "#/price/amount"),
        ("POST", "/products", with(good.clone(), "/price/currency", json!("rupees")), "#/price/currency"),
        ("POST", "/products", with(good.clone(), "/category", json!(vec!["a"; 11])), "#/category"),
        ("POST", "/products", with(good.clone(), "/attributes/colour", json!(1)), "#/attributes/colour"),
        ("POST", "/products", with(good.clone(), "/variant_of", json!("a b")), "#/variant_of"),
        (
            "POST",
            "/products",
            with(good.clone(), "/variants", json!([{"product_id": "a b", "options": {}}])),
            "#/variants/0/product_id",
        ),
        ("POST", "/products", with(good.clone(), "/stock", json!(1)), "#/stock"),
        ("PUT", "/products/CABLE/inventory", json!({"on_hand": -1}), "#/on_hand"),
        ("PUT", "/products/CABLE/inventory", json!({"on_hand": u64::MAX}), "#/on_hand"),
        ("POST", receipts, json!({"quantity": 0}), "#/quantity"),
        ("POST", receipts, json!({"quantity": u64::MAX}), "#/quantity"),
        ("POST", adjustments, json!({"delta": 0}), "#/delta"),
        ("POST", adjustments, json!({"delta": i64::MAX}), "#/delta"),
        ("POST", adjustments, json!({"delta": -1, "reason": "damaged"}), "#/reason"),
        ("POST", &ship, json!({"carrier": "", "tracking_number": "1"}), "#/carrier"),
        ("POST", &ship, json!({"carrier": "Blue Dart", "tracking_number": "1".repeat(101)}), "#/tracking_number"),
    ] {
        let answer = seller.send(method, path, &[], &body).await.problem(422, "invalid-body");
        assert_eq!(answer["errors"][0]["pointer"], pointer, "{method} {path}: {answer}");
    }
    assert_eq!((seller.get("/products/CABLE").await.expect(200), seller.inventory("CABLE").await), before);
    seller.get("/products/LAMP").await.problem(404, "not-found");
    assert_eq!(seller.get(&format!("/orders/{order}")).await.expect(200)["status"], "confirmed");
}

/// Who sends a body.
#[derive(Clone, Copy, PartialEq)]
enum As {
    Customer,
    Seller,
}

/// Bodies with several faults, and the fields that are to be named.
fn faulty() -> Vec<(As, &'static str, Value, Vec<&'static str>)> {
    vec![
        (As::Customer, "/auth/register", json!({}), vec!["#/email", "#/password"]),
        (
            As::Customer,
            "/auth/register",
            json!({"email": "x", "password": "short", "name": ""}),
            vec!["#/email", "#/name", "#/password"],
        ),
        (
            As::Customer,
            "/auth/register",
            json!({"email": 1, "password": null, "role": "king", "age": 7}),
            vec!["#/age", "#/email", "#/password", "#/role"],
        ),
        (As::Customer, "/auth/login", json!({"email": true}), vec!["#/email", "#/password"]),
        (As::Customer, "/payment", json!({}), vec!["#/order_id", "#/payment_method"]),
        (
            As::Customer,
            "/cart/add_products",
            json!({"items": [{"product_id": 1}, 7, {"product_id": "A", "quantity": "2"}]}),
            vec!["#/items/0/product_id", "#/items/0/quantity", "#/items/1", "#/items/2/quantity"],
        ),
        (
            As::Customer,
            "/checkout",
            json!({"total_price": "1", "shipping_address": {"name": 1, "planet": "Earth"}}),
            vec![
                "#/shipping_address/city",
                "#/shipping_address/country",
                "#/shipping_address/line1",
                "#/shipping_address/name",
                "#/shipping_address/planet",
                "#/total_price",
            ],
        ),
        (
            As::Seller,
            "/products",
            json!({"price": {"amount": -1}, "images": "x", "attributes": {"a/b": 1}, "description": "d".repeat(40_000)}),
            vec!["#/attributes/a~1b", "#/description", "#/images", "#/name", "#/price/amount", "#/price/currency"],
        ),
        (
            As::Seller,
            "/products",
            json!({"name": "", "brand": "", "variant_of": ""}),
            vec!["#/brand", "#/name", "#/variant_of"],
        ),
        (
            As::Seller,
            "/products",
            json!({"name": "a", "images": ["javascript:alert(1)"], "brand": ""}),
            vec!["#/brand", "#/images/0"],
        ),
        (
            As::Seller,
            "/products",
            json!({"name": "a", "pictures": [{"url": "https://a.example/1"}, {"url": "data:x"}]}),
            vec!["#/pictures/1/url"],
        ),
        (As::Seller, "/products", json!({"name": "a", "thumbnail_url": "/1.jpg"}), vec!["#/thumbnail_url"]),
        (As::Seller, "/orders/{order}/ship", json!({}), vec!["#/carrier", "#/tracking_number"]),
        (
            As::Seller,
            "/orders/{order}/refunds",
            json!({"shipping": 1, "items": [{}]}),
            vec!["#/items/0/product_id", "#/items/0/quantity", "#/reason", "#/shipping"],
        ),
    ]
}

#[tokio::test]
async fn all_faults_of_a_body_are_told_at_once_in_words_of_json() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let order = customer.buy("PHONE", 1).await;
    for (who, path, body, pointers) in faulty() {
        let client = if who == As::Seller { &seller } else { &customer };
        let path = path.replace("{order}", &order);
        let answer = client.post(&path, &body).await.problem(422, "invalid-body");
        let errors = answer["errors"].as_array().unwrap();
        let mut told: Vec<&str> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        told.sort_unstable();
        assert_eq!(told, pointers, "{path} {body}: {answer}");
        let text = answer.to_string();
        for word in ["struct", "u32", "u64", "i64", "expected", "enum", "bool", "sequence", "map"] {
            assert!(!text.split(|one: char| !one.is_alphanumeric()).any(|part| part == word), "{word}: {text}");
        }
        assert!(!text.contains("unknown variant") && !text.contains("unknown field"), "{text}");
    }
    let twice = "{\"email\":\"a@b.example\",\"email\":\"c\",\"password\":\"x\"}";
    let answer = customer.send_text("POST", "/auth/login", &[], twice).await.problem(422, "invalid-body");
    assert_eq!(answer["errors"], json!([{"pointer": "#/email", "detail": "is given twice"}]));
}

#[tokio::test]
async fn all_faults_of_a_query_are_told_at_once() {
    let app = TestApp::new().await;
    for (query, named) in [
        ("limit=x&colour=red", "limit must be a whole number from 1 to 100; colour is no parameter"),
        ("sort=up", "sort must be one of relevance"),
        ("min_price=9223372036854775808", "min_price"),
        ("limit=1&limit=2", "limit is given twice"),
        ("max_price=-1", "max_price must be a whole number from 0"),
    ] {
        let answer = app.anonymous().get(&format!("/products?{query}")).await.problem(400, "invalid-query");
        assert!(answer["detail"].as_str().unwrap().contains(named), "{answer}");
    }
}

#[tokio::test]
async fn texts_that_cannot_be_shown_are_refused_everywhere() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let order = customer.buy("PHONE", 1).await;
    let good = product("LAMP", "Lamp", 100);
    let review = json!({"rating": 5, "title": "Good", "text": "Works"});
    let parcel = json!({"carrier": "Post", "tracking_number": "1"});
    let login = json!({"email": "b@example.com", "password": PASSWORD, "name": "B"});
    let ship = format!("/orders/{order}/ship");
    let refund = json!({"reason": "broken"});
    let refunds = format!("/orders/{order}/refunds");
    let named = json!({"name": "Lamps of Pune"});
    let shop = format!("/sellers/{}", seller.user_id);
    for text in ["a\0b", "\u{1b}[2J", "a\u{202e}b", "\u{85}", "a\u{2067}", "\u{7f}"] {
        for (client, method, path, body, field) in [
            (&seller, "POST", "/products", &good, "/name"),
            (&seller, "POST", "/products", &good, "/description"),
            (&seller, "POST", "/products", &good, "/brand"),
            (&seller, "POST", "/products", &good, "/category/0"),
            (&seller, "POST", "/products", &good, "/attributes/colour"),
            (&seller, "PUT", "/products/CABLE", &good, "/name"),
            (&customer, "POST", "/products/CABLE/reviews", &review, "/title"),
            (&customer, "POST", "/products/CABLE/reviews", &review, "/text"),
            (&customer, "POST", "/auth/register", &login, "/name"),
            (&seller, "PUT", &shop, &named, "/name"),
            (&seller, "POST", &ship, &parcel, "/carrier"),
            (&seller, "POST", &ship, &parcel, "/tracking_number"),
            (&seller, "POST", &refunds, &refund, "/reason"),
        ] {
            let mut body = body.clone();
            if path == "/products/CABLE" {
                body["id"] = json!("CABLE");
            }
            *body.pointer_mut(field).unwrap() = json!(text);
            let answer = client.send(method, path, &[], &body).await.problem(422, "invalid-body");
            let pointer = answer["errors"][0]["pointer"].as_str().unwrap();
            assert!(format!("#{field}").starts_with(pointer), "{path} {field} {text:?}: {answer}");
        }
    }
    for blank in ["\u{200b}", "\u{feff} \u{2060}"] {
        seller.post("/products", &with(good.clone(), "/name", json!(blank))).await.problem(422, "invalid-body");
        let review = with(review.clone(), "/title", json!(blank));
        customer.post("/products/CABLE/reviews", &review).await.problem(422, "invalid-body");
    }
    let lines = with(good, "/description", json!("One.\n\tTwo.\r\nשלום 👩\u{200d}👧"));
    seller.post("/products", &lines).await.expect(201);
}

#[tokio::test]
async fn bytes_after_the_body_are_refused() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    for rest in ["{}", " x", "\0"] {
        let body = format!("{{\"product_id\":\"CABLE\"}}{rest}");
        customer.send_text("POST", "/cart/add_products", &[], &body).await.problem(400, "malformed-json");
    }
    assert_eq!(customer.get("/cart").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn incomplete_and_missing_bodies_are_refused() {
    let change = |config: &mut souk::config::Config| {
        config.limits.header_ms_max = 50;
        config.limits.body_bytes_max = 2_048;
    };
    let app = TestApp::with(change, Clock::system()).await;
    let client = app.anonymous();
    let json_type = [("content-type", "application/json")];
    let begun = || stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"{\"email\":"))]);
    let broken = begun().chain(stream::iter([Err(io::Error::other("the client has gone"))]));
    let request = client.request("POST", "/auth/login", &json_type, Body::from_stream(broken));
    client.raw(request).await.problem(400, "unreadable-body");
    let request =
        client.request("POST", "/auth/login", &json_type, Body::from_stream(begun().chain(stream::pending())));
    client.raw(request).await.problem(408, "request-timeout");
    let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b' '; 512])));
    let request = client.request("POST", "/auth/login", &json_type, Body::from_stream(endless));
    client.raw(request).await.problem(413, "body-too-large");
}

/// A body that never comes.
fn never() -> Body {
    Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())
}

#[tokio::test]
async fn bodies_that_never_come_take_no_place_among_requests_at_work() {
    // One request of each class may be at work.
    let app = TestApp::with(|config| config.limits.in_flight_max = 4, Clock::system()).await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let json_type = [("content-type", "application/json")];
    let mut slow = Vec::new();
    for path in ["/auth/login", "/cart/add_products", "/checkout", "/payment", "/auth/refresh"] {
        for _ in 0..10 {
            let (client, request) = (customer.clone(), customer.request("POST", path, &json_type, never()));
            slow.push(tokio::spawn(async move { client.raw(request).await }));
        }
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(slow.iter().all(|task| !task.is_finished()), "all of them wait for their bodies");
    app.customer("ravi").await.buy("CABLE", 1).await;
    slow.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn what_is_refused_anyway_is_refused_before_its_body() {
    let app = TestApp::new().await;
    let client = app.anonymous();
    let json_type = [("content-type", "application/json")];
    for path in ["/payment", "/checkout", "/cart/add_products", "/products", "/orders/0/refunds"] {
        client.raw(client.request("POST", path, &json_type, never())).await.problem(401, "unauthorized");
    }
    let unknown = client.request("POST", "/webhooks/nobody", &json_type, never());
    client.raw(unknown).await.problem(404, "not-found");
    client.raw(client.request("POST", "/auth/login", &[], never())).await.problem(415, "unsupported-media-type");
    let long = [json_type[0], ("content-length", "999999999")];
    client.raw(client.request("POST", "/auth/login", &long, never())).await.problem(413, "body-too-large");
}
