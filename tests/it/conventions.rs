//! Conventions of HTTP that hold on every route: each test goes over all operations of the OpenAPI document, so a new
//! route cannot lack one.

use std::io::Write;

use axum::body::Body;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use souk::clock::Clock;

use crate::support::{Client, TestApp, operations};

const JSON: (&str, &str) = ("content-type", "application/json");

/// The path with values for its parameters, none of which exists.
fn filled(path: &str) -> String {
    let none = "0".repeat(32);
    let path = path.replace("{product_id}", "NOTHING").replace("{seller_id}", &none).replace("{order_id}", &none);
    let path = path.replace("{keywords}", "cable").replace("{number}", "1").replace("{provider}", "stripe");
    path.replace("{notice_id}", &format!("1-{none}"))
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Whether the operation answers JSON or events, and not only a status or a text.
fn has_media_type(operation: &Value) -> bool {
    let responses = operation["responses"].as_object().unwrap().iter();
    responses.filter(|(status, _)| status.starts_with('2')).any(|(_, response)| {
        let content = &response["content"];
        content.get("application/json").is_some() || content.get("text/event-stream").is_some()
    })
}

async fn clients() -> (TestApp, Client) {
    let app = TestApp::new().await;
    let customer = app.customer("asha").await;
    (app, customer)
}

#[tokio::test]
async fn a_method_is_judged_before_the_query_and_options_names_them_all() {
    let (_app, customer) = clients().await;
    let mut paths: Vec<_> = operations().into_iter().map(|(path, ..)| path).collect();
    paths.dedup();
    paths.push("/openapi.json".to_owned());
    for path in paths {
        let mut known: Vec<_> =
            operations().into_iter().filter(|(known, ..)| *known == path).map(|known| known.1).collect();
        if known.is_empty() {
            known.push("GET".to_owned());
        }
        let target = filled(&path);
        let options = customer.raw(customer.request("OPTIONS", &target, &[], Body::empty())).await;
        assert_eq!(options.expect_text(204), "", "{path}");
        let mut allowed: Vec<&str> = options.header("allow").split(", ").collect();
        allowed.sort_unstable();
        if known.contains(&"GET".to_owned()) {
            known.push("HEAD".to_owned());
        }
        known.push("OPTIONS".to_owned());
        known.sort_unstable();
        assert_eq!(allowed, known, "{path}");
        for method in ["TRACE", "PATCH", "BREW"].into_iter().filter(|method| !allowed.contains(method)) {
            for query in ["", "?limit=1", "?no_such_parameter=1"] {
                let target = format!("{target}{query}");
                let answer = customer.raw(customer.request(method, &target, &[], Body::empty())).await;
                answer.problem(405, "method-not-allowed");
                assert_eq!(answer.header("allow"), options.header("allow"));
            }
        }
    }
}

#[tokio::test]
async fn malformed_percent_encoding_is_refused() {
    let (_app, customer) = clients().await;
    for (path, method, _) in operations() {
        let target = filled(&path);
        for query in ["q=%zz", "q=%ff", "a=%", "a=%4", "limit=1&after=%C3%28"] {
            let answer = customer.send_text(&method, &format!("{target}?{query}"), &[], "{}").await;
            answer.problem(400, "invalid-query");
        }
        if let Some((before, _)) = path.split_once('{') {
            for wrong in ["%zz", "%ff", "%", "a%4", "%C3%28"] {
                let answer = customer.send_text(&method, &format!("{before}{wrong}"), &[], "{}").await;
                answer.problem(400, "invalid-path");
            }
        }
    }
    customer.get("/nowhere/%zz").await.problem(400, "invalid-path");
    customer.get("/products?q=caf%C3%A9+%25").await.expect(200);
}

#[tokio::test]
async fn what_a_client_does_not_accept_is_not_sent() {
    let (_app, customer) = clients().await;
    let mut checked = 0;
    for (path, method, operation) in operations() {
        if path == "/auth/logout" {
            continue;
        }
        let target = filled(&path);
        let send = async |accept: &str| customer.send_text(&method, &target, &[("accept", accept)], "{}").await;
        for accept in ["application/xml", "application/json;q=0, text/event-stream;q=0, */*;q=0", "image/*"] {
            let answer = send(accept).await;
            if has_media_type(&operation) {
                answer.problem(406, "not-acceptable");
                checked += 1;
            } else {
                assert_ne!(answer.status, 406, "{method} {path} {accept}");
            }
        }
        for accept in ["*/*", "text/html, */*;q=0.1", "application/json, text/event-stream", "application/*, text/*"] {
            assert_ne!(send(accept).await.status, 406, "{method} {path} {accept}");
        }
    }
    assert!(checked > 100, "{checked}");
    let order = customer.get_with("/orders/1/events", &[("accept", "application/json")]).await;
    order.problem(406, "not-acceptable");
}

#[tokio::test]
async fn bodies_are_decoded_within_their_limit() {
    let app = TestApp::with(|config| config.limits.body_bytes_max = 4_096, Clock::system()).await;
    let customer = app.customer("asha").await;
    let bomb = gzip(&vec![b' '; 1 << 20]);
    assert!(bomb.len() < 4_096);
    for (path, method, operation) in operations() {
        // The webhook of another provider is refused before its body.
        if operation["requestBody"].is_null() || path.starts_with("/webhooks/") {
            continue;
        }
        let target = filled(&path);
        let send = async |coding: &str, bytes: &[u8]| {
            let headers = [JSON, ("content-encoding", coding)];
            customer.raw(customer.request(&method, &target, &headers, Body::from(bytes.to_vec()))).await
        };
        let plain = send("identity", b"{\"a\":1}").await;
        assert_eq!(send("gzip", &gzip(b"{\"a\":1}")).await.status, plain.status, "{method} {path}");
        for coding in ["bogus", "deflate", "gzip, gzip", "compress"] {
            let answer = send(coding, b"{}").await;
            answer.problem(415, "unsupported-encoding");
            assert_eq!(answer.header("accept-encoding"), "zstd, br, gzip");
        }
        send("gzip", b"{}").await.problem(400, "unreadable-body");
        send("gzip", &bomb).await.problem(413, "body-too-large");
    }
    let body = json!({"email": "asha@example.com", "password": crate::support::PASSWORD}).to_string();
    let headers = [JSON, ("content-encoding", "GZip")];
    let login = customer.request("POST", "/auth/login", &headers, Body::from(gzip(body.as_bytes())));
    customer.raw(login).await.expect(200);
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_refused() {
    let (app, customer) = clients().await;
    let mut checked = 0;
    for (path, method, operation) in operations() {
        if !operation["requestBody"].is_null() || method == "GET" {
            continue;
        }
        let target = filled(&path);
        let answer = customer.send_text(&method, &target, &[], "{\"all\":true}").await;
        assert_eq!(answer.problem(422, "invalid-body")["errors"][0]["pointer"], "#/all", "{method} {path}");
        for (kind, status, code) in [
            ("text/plain", 415, "unsupported-media-type"),
            ("", 415, "unsupported-media-type"),
            ("application/json", 400, "malformed-json"),
        ] {
            let request = customer.request(&method, &target, &[("content-type", kind)], Body::from("all of it"));
            customer.raw(request).await.problem(status, code);
        }
        checked += 1;
    }
    assert!(checked >= 9, "{checked}");
    customer.get("/cart").await.expect(200);
    customer.send_text("POST", "/auth/logout", &[], "{}").await.expect(204);
    drop(app);
}

#[tokio::test]
async fn a_slash_too_many_is_redirected() {
    let (_app, customer) = clients().await;
    for (path, method, _) in operations() {
        let target = filled(&path);
        for query in ["", "?limit=1&after=a%20b"] {
            if path.contains("{keywords}") {
                continue;
            }
            let sent = format!("{target}/{query}");
            let answer = customer.raw(customer.request(&method, &sent, &[], Body::empty())).await;
            assert_eq!(answer.expect_text(308), "", "{method} {sent}");
            assert_eq!(answer.header("location"), format!("{target}{query}"));
        }
    }
    customer.get("//evil.example/").await.problem(404, "not-found");
    customer.get("/products/search_item=usb/").await.expect(200);
}

#[tokio::test]
async fn without_a_setting_no_answer_speaks_of_origins() {
    let (_app, customer) = clients().await;
    let preflight = [("origin", "https://shop.example"), ("access-control-request-method", "POST")];
    let answer = customer.raw(customer.request("OPTIONS", "/checkout", &preflight, Body::empty())).await;
    answer.expect(204);
    let read = customer.get_with("/products", &preflight).await;
    for answer in [answer, read] {
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{answer:?}");
    }
}

#[tokio::test]
async fn pages_of_configured_origins_may_call_every_operation() {
    let allowed = "https://shop.example";
    let change = |config: &mut souk::config::Config| config.http.cors_origins = "https://shop.example".into();
    let app = TestApp::with(change, Clock::system()).await;
    let customer = app.customer("asha").await;
    for (path, method, _) in operations() {
        let target = filled(&path);
        let preflight = async |origin: &str| {
            let headers = [("origin", origin), ("access-control-request-method", method.as_str())];
            customer.raw(customer.request("OPTIONS", &target, &headers, Body::empty())).await
        };
        let answer = preflight(allowed).await;
        answer.expect(204);
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
        assert!(answer.header("access-control-allow-methods").split(", ").any(|known| known == method));
        let headers = answer.header("access-control-allow-headers").to_lowercase();
        for needed in ["authorization", "content-type", "idempotency-key", "if-match", "last-event-id"] {
            assert!(headers.contains(needed), "{headers}");
        }
        let other = preflight("https://evil.example").await;
        assert_eq!(
            (other.header("access-control-allow-origin"), other.header("access-control-allow-methods")),
            ("", "")
        );
        // Problems are for scripts, too: here every operation meets one or succeeds.
        if path != "/auth/logout" {
            let answer = customer.send_text(&method, &target, &[("origin", allowed)], "{\"a\":1}").await;
            assert_eq!(answer.header("access-control-allow-origin"), allowed, "{method} {path}: {answer:?}");
            let exposed = answer.header("access-control-expose-headers").to_lowercase();
            for needed in
                ["etag", "location", "link", "retry-after", "ratelimit", "idempotent-replayed", "x-request-id"]
            {
                assert!(exposed.split(", ").any(|name| name == needed), "{needed}: {exposed}");
            }
        }
    }
    let any = app.restart_with(|config| config.http.cors_origins = "*".into()).await;
    let answer = any.anonymous().get("/products").await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

/// Encodes and decodes what a client may send and get.
fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut text).unwrap();
            text
        }
        "zstd" => zstd::decode_all(bytes).unwrap(),
        "br" => {
            let mut text = Vec::new();
            brotli::BrotliDecompress(&mut &*bytes, &mut text).unwrap();
            text
        }
        other => panic!("{other}"),
    }
}

/// Operations of which an answer exists in this shop: their paths, and whether they are for everybody.
async fn readable(app: &TestApp, customer: &Client, admin: &Client) -> Vec<(String, bool)> {
    let seller = app.seller().await;
    for number in 0..30 {
        let body = crate::support::product(&format!("P{number}"), &format!("Cable number {number}"), 100);
        seller.post("/products", &body).await.expect(201);
    }
    let order = customer.buy("CABLE", 1).await;
    customer.add("PHONE", 1).await;
    customer.post("/products/CABLE/reviews", &json!({"rating": 5, "title": "Good"})).await.expect(201);
    app.caught_up().await;
    let mut paths = vec![("/openapi.json".to_owned(), true)];
    for (path, method, operation) in operations() {
        let target = path.replace("{product_id}", "CABLE").replace("{order_id}", &order);
        let target = target.replace("{seller_id}", &seller.user_id).replace("{keywords}", "cable");
        let is_public = operation["security"] == json!([]) || operation["security"][0] == json!({});
        if method == "GET" && admin.get_with(&target, &[("accept", "application/json")]).await.status == 200 {
            paths.push((target, is_public));
        }
    }
    paths.retain(|(path, _)| !["/livez", "/readyz", "/metrics"].contains(&path.as_str()));
    paths
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let app = TestApp::new().await;
    let (customer, admin) = (app.customer("asha").await, app.user("admin", souk::domain::account::Role::Admin).await);
    let readable = readable(&app, &customer, &admin).await;
    assert!(readable.len() >= 15, "{readable:?}");
    for (path, _) in readable {
        let first = admin.get(&path).await;
        let etag = first.header("etag").to_owned();
        assert!(etag.starts_with('"'), "{path}: {first:?}");
        for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
            let again = admin.get_with(&path, &[("if-none-match", &known)]).await;
            assert_eq!((again.expect_text(304), again.header("etag")), ("", etag.as_str()), "{path} {known}");
            for name in ["cache-control", "vary"] {
                assert_eq!(again.header(name), first.header(name), "{path}");
            }
        }
        let other = admin.get_with(&path, &[("if-none-match", "\"x\"")]).await;
        assert_eq!((other.status, other.header("etag")), (first.status, etag.as_str()), "{path}");
    }
    // A price that changes shows in the cart, and no line of the cart has to be read again to be set.
    let (cart, seller) = (customer.get("/cart").await, app.user("seller", souk::domain::account::Role::Seller).await);
    let etag = cart.header("etag").to_owned();
    seller.put("/products/PHONE", &crate::support::product("PHONE", "Phone", 7)).await.expect(200);
    customer.get_with("/cart", &[("if-none-match", &etag)]).await.expect(200);
    customer.send("PUT", "/cart/items/PHONE", &[("if-match", &etag)], &json!({"quantity": 2})).await.expect(200);
}

#[tokio::test]
async fn caches_may_keep_what_is_public_and_nothing_else() {
    let app = TestApp::new().await;
    let (customer, admin) = (app.customer("asha").await, app.user("admin", souk::domain::account::Role::Admin).await);
    for (path, is_public) in readable(&app, &customer, &admin).await {
        let own = admin.get(&path).await;
        let is_document = path.ends_with(".json");
        if !is_document {
            assert_eq!(own.header("cache-control"), "private, no-cache", "{path}");
        }
        assert!(own.header("vary").contains("Accept-Encoding"), "{path}: {own:?}");
        if is_public {
            let shared = app.anonymous().get(&path).await;
            shared.expect(200);
            let expected = if is_document { "public, max-age=300" } else { "public, max-age=5" };
            assert_eq!(shared.header("cache-control"), expected, "{path}");
            assert!(shared.header("vary").contains("Authorization"), "{path}: {shared:?}");
        }
    }
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/products/NOTHING", 404)] {
        let answer = app.anonymous().get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (status, "no-store"), "{path}");
    }
    let added = customer.post("/cart/add_products", &json!({"product_id": "CABLE"})).await;
    assert_eq!((added.status.as_u16(), added.header("cache-control")), (200, "no-store"));
}

#[tokio::test]
async fn long_answers_are_encoded_as_the_client_prefers() {
    let app = TestApp::new().await;
    let (customer, admin) = (app.customer("asha").await, app.user("admin", souk::domain::account::Role::Admin).await);
    let mut encoded = 0;
    for (path, is_public) in readable(&app, &customer, &admin).await {
        let client = if is_public { app.anonymous() } else { admin.clone() };
        let plain = client.get(&path).await;
        for (accept, coding) in [
            ("gzip", "gzip"),
            ("br", "br"),
            ("zstd", "zstd"),
            ("gzip, deflate, br, zstd", "zstd"),
            ("br;q=0.5, gzip;q=0.9", "gzip"),
            ("identity", ""),
            ("gzip;q=0", ""),
        ] {
            // Twice, for the second may come from memory.
            for _ in 0..2 {
                let (headers, bytes) =
                    client.bytes(client.request("GET", &path, &[("accept-encoding", accept)], Body::empty())).await;
                let sent = headers.get("content-encoding").map_or("", |value| value.to_str().unwrap());
                if coding.is_empty() || plain.text.len() < 1_024 {
                    assert_eq!((sent, bytes.len()), ("", plain.text.len()), "{path} {accept}");
                    continue;
                }
                assert_eq!(sent, coding, "{path} {accept}");
                assert_eq!(headers["content-length"].to_str().unwrap(), bytes.len().to_string());
                assert_eq!(decoded(coding, &bytes), plain.text.as_bytes(), "{path} {accept}");
                let etag = headers["etag"].to_str().unwrap();
                assert_eq!(etag, format!("{}-{coding}\"", plain.header("etag").trim_end_matches('"')));
                let headers = [("if-none-match", etag), ("accept-encoding", accept)];
                let again = client.get_with(&path, &headers).await;
                assert_eq!((again.expect_text(304), again.header("etag")), ("", etag));
                encoded += 1;
            }
        }
    }
    assert!(encoded >= 20, "{encoded}");
    // Answers with tokens are sent as they are.
    let body = json!({"email": "asha@example.com", "password": crate::support::PASSWORD});
    let login = customer.send("POST", "/auth/login", &[("accept-encoding", "gzip")], &body).await;
    login.expect(200);
    assert_eq!(login.header("content-encoding"), "");
}

#[tokio::test]
async fn a_change_of_what_has_changed_meanwhile_is_refused() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    customer.add("CABLE", 1).await;
    let quantity = json!({"quantity": 2});
    for (client, read, target, method, body) in [
        (&customer, "/cart", "/cart/items/CABLE", "PUT", quantity.clone()),
        (&customer, "/cart", "/cart/items/CABLE", "DELETE", Value::Null),
        (&seller, "/products/PHONE/inventory", "/products/PHONE/inventory", "PUT", json!({"on_hand": 7})),
        (&seller, "/products/PHONE", "/products/PHONE", "PUT", crate::support::product("PHONE", "Phone 2", 5)),
        (&seller, "/products/PHONE", "/products/PHONE", "DELETE", Value::Null),
    ] {
        let send = async |etag: &str| {
            let content = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
            client.raw(client.request(method, target, &[JSON, ("if-match", etag)], content)).await
        };
        let before = client.get(read).await;
        let etag = before.header("etag").to_owned();
        let other = etag.replacen(|digit: char| digit.is_ascii_digit(), "98", 1);
        for wrong in [format!("W/{etag}"), "\"x\"".to_owned(), other, "\"p0\", \"c99\"".to_owned()] {
            let refused = send(&wrong).await.problem(412, "version-mismatch");
            assert!(refused["current_version"].is_u64(), "{refused}");
        }
        send("no quotes").await.problem(400, "invalid-etag");
        assert_eq!(client.get(read).await.json(), before.json(), "{method} {target}");
        assert!(send(&etag).await.status.is_success(), "{method} {target}");
        if method == "PUT" {
            send(&etag).await.problem(412, "version-mismatch");
            assert!(send("*").await.status.is_success());
        }
    }
    let strict = app.restart_with(|config| config.http.require_if_match = true).await;
    let (seller, customer) = (strict.again(&seller), strict.again(&customer));
    customer.put("/cart/items/CABLE", &quantity).await.problem(428, "precondition-required");
    customer.delete("/cart/items/CABLE").await.problem(428, "precondition-required");
    seller.put("/products/CABLE/inventory", &json!({"on_hand": 7})).await.problem(428, "precondition-required");
    seller.put("/products/CABLE", &json!({"name": "X"})).await.problem(428, "precondition-required");
    seller.delete("/products/CABLE").await.problem(428, "precondition-required");
    let etag = customer.get("/cart").await.header("etag").to_owned();
    customer.send("PUT", "/cart/items/CABLE", &[("if-match", &etag)], &quantity).await.expect(200);
}
