//! Malformed requests to every operation of the OpenAPI document: each gets one of its documented client errors, and
//! nothing changes.

use axum::body::Body;
use serde_json::{Value, json};
use souk::domain::account::Role;

use crate::support::{Answer, Client, TestApp, operations};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// Checks that the answer is a client error. Every answer is checked against the document anyway.
#[track_caller]
fn refused(method: &str, target: &str, answer: &Answer) {
    let shown: String = target.chars().take(100).collect();
    assert!(answer.status.is_client_error(), "{method} {shown}: {answer:?}");
    let code = answer.json()["code"].as_str().unwrap_or_else(|| panic!("{method} {shown}: {answer:?}")).to_owned();
    answer.problem(answer.status.as_u16(), &code);
}

/// Everything that must not change.
async fn state(seller: &Client, customer: &Client, order: &str) -> Vec<Value> {
    let mut seen = Vec::new();
    let order = format!("/orders/{order}");
    for path in ["/cart", "/orders", &order, "/products/CABLE", "/products/PHONE", "/products/CABLE/reviews"] {
        seen.push(customer.get(path).await.expect(200));
    }
    seen.push(seller.inventory("CABLE").await);
    seen.push(seller.inventory("PHONE").await);
    seen
}

/// The path with valid values for its parameters.
fn filled(path: &str, seller: &str, order: &str) -> String {
    let path = path.replace("{product_id}", "CABLE").replace("{seller_id}", seller);
    path.replace("{order_id}", order).replace("{keywords}", "cable")
}

#[tokio::test]
async fn every_operation_refuses_malformed_bodies() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let order = customer.order("PHONE", 1).await;
    customer.add("CABLE", 1).await;
    let before = state(&seller, &customer, &order).await;
    let deep = "[".repeat(10_000);
    let deep_field = format!("{{\"total_price\":{deep}");
    let wide = format!("{{\"x\":\"{}\"}}", "y".repeat(300 * 1_024));
    let mut tried = 0;
    for (path, method, operation) in operations() {
        // The body of a webhook is raw signed bytes.
        if operation.get("requestBody").is_none() || path.starts_with("/webhooks/") {
            continue;
        }
        let target = filled(&path, &seller.user_id, &order);
        for client in [&seller, &customer] {
            for (body, statuses) in [
                ("", [400, 400]),
                ("{", [400, 400]),
                ("{]", [400, 400]),
                ("nonsense", [400, 400]),
                ("{\"a\":1} {}", [422, 422]),
                (&deep, [400, 422]),
                (&deep_field, [400, 422]),
                ("null", [422, 422]),
                ("17", [422, 422]),
                ("[]", [422, 422]),
                ("\"text\"", [422, 422]),
                ("{}", [422, 422]),
                ("{\"no_such_field\":1}", [422, 422]),
                (&wide, [413, 413]),
            ] {
                if (&*method, body) == ("PATCH", "{}") {
                    // It changes nothing, which is no fault.
                    continue;
                }
                let answer = client.send_text(&method, &target, &[], body).await;
                refused(&method, &target, &answer);
                let shown = &body[..body.len().min(30)];
                assert!(statuses.contains(&answer.status.as_u16()), "{method} {path} {shown}: {answer:?}");
                tried += 1;
            }
        }
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            let request = customer.request(&method, &target, &[("content-type", content_type)], Body::from("{}"));
            customer.raw(request).await.problem(415, "unsupported-media-type");
        }
        let request = customer.request(&method, &target, &[], Body::from(vec![0xff, 0xfe, b'{']));
        customer.raw(request).await.problem(415, "unsupported-media-type");
        let request = customer.request(&method, &target, &JSON, Body::from(vec![b'"', 0xff, b'"']));
        refused(&method, &target, &customer.raw(request).await);
    }
    assert!(tried > 300, "{tried}");
    assert_eq!(state(&seller, &customer, &order).await, before);
}

#[tokio::test]
async fn garbage_in_every_parameter_of_every_operation_changes_nothing() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let admin = app.user("admin", Role::Admin).await;
    let order = customer.order("PHONE", 1).await;
    customer.add("CABLE", 1).await;
    let before = state(&seller, &customer, &order).await;
    let long = "a".repeat(4_000);
    let garbage = [
        "%00",
        "%FF",
        "%F0%9F%92%A9",
        "%2e%2e%2f",
        "..",
        "a%2Fb",
        "'%20OR%201=1--",
        "%3Cscript%3E",
        "-1",
        "99999999999999999999",
        "%0d%0aSet-Cookie:a=b",
        "%25s%25n",
        "null",
        "%22%7B%7D",
        &long,
    ];
    let mut tried = 0;
    for (path, method, operation) in operations() {
        let target = filled(&path, &seller.user_id, &order);
        for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
            let name = parameter["name"].as_str().unwrap();
            for value in garbage {
                let uri = match parameter["in"].as_str().unwrap() {
                    "path" => path.replace(&format!("{{{name}}}"), value),
                    "query" => format!("{target}?{name}={value}"),
                    _ => continue,
                };
                for client in [&customer, &admin] {
                    let answer = client.send_text(&method, &filled(&uri, &seller.user_id, &order), &[], "{}").await;
                    // Words and text filters may be anything, and removing what is not in the cart succeeds.
                    let is_text = ["keywords", "q", "brand", "category"].contains(&name);
                    let is_nothing = path == "/cart/items/{product_id}" && answer.status == 204;
                    if !(is_text && answer.status == 200 || is_nothing) {
                        refused(&method, &uri, &answer);
                    }
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 800, "{tried}");
    assert_eq!(state(&seller, &customer, &order).await, before);
}

#[tokio::test]
async fn garbage_in_every_header_of_every_operation_is_a_documented_problem() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let order = customer.order("PHONE", 1).await;
    let before = state(&seller, &customer, &order).await;
    let long = "k".repeat(4_000);
    let mut tried = 0;
    for (path, method, operation) in operations() {
        for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
            if parameter["in"] != "header" {
                continue;
            }
            let name = parameter["name"].as_str().unwrap().to_lowercase();
            // Whoever logs out with a key is out.
            if path == "/auth/logout" {
                continue;
            }
            // Without an event that it has seen, a stream begins at the beginning, and does not end here.
            let values = ["", "\"", "\"open", "-1", "\u{e9}\u{fc}", "W/\"p1\"", "18446744073709551616", &long];
            for value in values.into_iter().skip(usize::from(name == "last-event-id")) {
                let answer =
                    seller.send_text(&method, &filled(&path, &seller.user_id, &order), &[(&name, value)], "{}").await;
                // An unknown ETag in `If-None-Match` is no mistake.
                if !(name == "if-none-match" && answer.status == 200) {
                    refused(&method, &path, &answer);
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 50, "{tried}");
    assert_eq!(state(&seller, &customer, &order).await, before);
}

#[tokio::test]
async fn methods_and_parameters_that_a_path_does_not_have_are_refused() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let order = customer.order("PHONE", 1).await;
    let description = customer.get("/openapi.json").await.expect(200);
    let before = state(&seller, &customer, &order).await;
    for (path, item) in description["paths"].as_object().unwrap() {
        let target = filled(path, &seller.user_id, &order);
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "TRACE"] {
            if item.get(method.to_lowercase()).is_none() {
                let answer = customer.raw(customer.request(method, &target, &[], Body::empty())).await;
                answer.problem(405, "method-not-allowed");
                let allowed: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
                for known in item.as_object().unwrap().keys() {
                    assert!(allowed.contains(&known.to_uppercase().as_str()), "{path}: {allowed:?}");
                }
            }
        }
        for method in item.as_object().unwrap().keys() {
            let uri = format!("{target}?no_such_parameter=1");
            let answer = customer.send_text(&method.to_uppercase(), &uri, &[], "{}").await;
            answer.problem(400, "invalid-query");
        }
    }
    for path in ["/product", "/order_status=", "//", "//products/", "/cart/items"] {
        customer.get(path).await.problem(404, "not-found");
    }
    assert_eq!(state(&seller, &customer, &order).await, before);
}

#[tokio::test]
async fn every_operation_that_needs_a_token_refuses_those_without() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    let mut secured = 0;
    for (path, method, operation) in operations() {
        let Some(requirements) = operation["security"].as_array().filter(|all| !all.is_empty()) else { continue };
        let target = filled(&path, &"0".repeat(32), &"0".repeat(32));
        let mut client = app.anonymous();
        if requirements.contains(&json!({})) {
            continue;
        }
        client.send_text(&method, &target, &[], "{}").await.problem(401, "unauthorized");
        secured += 1;
        let (head, _) = seller.token.as_ref().unwrap().rsplit_once('.').unwrap();
        for forged in ["eyJhbGciOiJub25lIn0.e30.", head] {
            client.token = Some(forged.to_owned());
            client.send_text(&method, &target, &[], "{}").await.problem(401, "unauthorized");
        }
    }
    assert!(secured > 20, "{secured}");
}
