//! The access log of the real program: a line for each request, and nothing secret in any of them.

use std::fs;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::recorded::{Process, START_MAX, World};

/// A word that stands in everything that a client may choose here.
const CANARY: &str = "canary4714";
const FIELDS: [&str; 10] =
    ["time", "method", "route", "status", "bytes", "milliseconds", "peer", "role", "request_id", "trace_id"];

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_a_line_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let mut command = Process::command(&directory.path().join("data"), &[("SOUK_ACCESS_LOG__TO", "stderr")]);
    command.stderr(fs::File::create(&log).unwrap());
    let shop = Process::begin(command, START_MAX).unwrap();
    let world = World::new(&directory.path().join("history.jsonl"), &shop.url);
    let (seller, customer) = (world.enter("s", "seller@demo.example").await, world.enter("c", "c@example.org").await);
    seller.list("pen", 700).await;
    seller.set_stock("pen", 5).await;
    customer.add("pen", 1, None).await;
    let order = customer.checkout(700, CANARY).await.unwrap();
    let session = world.session("c@example.org").await.unwrap();
    let (_, issued) = customer
        .send(Method::POST, &format!("/orders/{}/events/tickets", order.as_str()), Value::Null, None)
        .await
        .unwrap();
    let ticket = issued["ticket"].as_str().unwrap();

    let client = Client::new();
    let at = |path: &str| format!("{}{path}", shop.url);
    let page = client.get(at("/products/pen")).header("x-request-id", "the-page").send().await.unwrap();
    let page_bytes = page.bytes().await.unwrap().len();
    for request in [
        client.get(at(&format!("/nowhere?ticket={ticket}&{CANARY}={CANARY}"))),
        client.get(at(&format!("/orders/{}/events?ticket={ticket}x", order.as_str()))),
        client.get(at(&format!("/products?q={CANARY}"))),
        client.get(at(&format!("/products/{CANARY}"))),
        client.get(at(&format!("/{CANARY}"))),
        client.get(at("/cart")).bearer_auth(CANARY),
        client.get(at("/cart")).basic_auth(CANARY, Some(CANARY)),
        client.request(Method::from_bytes(CANARY.as_bytes()).unwrap(), at("/cart")),
        client.post(at("/auth/login")).json(&json!({"email": format!("{CANARY}@example.org"), "password": CANARY})),
        client.post(at("/auth/refresh")).json(&json!({"refresh_token": CANARY})),
        client.post(at("/webhooks/stripe")).header("stripe-signature", CANARY).body(CANARY),
        client.get(at("/products")).header("user-agent", CANARY).header("referer", CANARY).header("cookie", CANARY),
        client.get(at("/products")).header("x-request-id", format!("<{CANARY}>")).header("if-none-match", CANARY),
        client.get(at("/products")).header("x-forwarded-for", CANARY).header("traceparent", CANARY),
    ] {
        request.send().await.unwrap();
    }
    shop.stop();

    let written = fs::read_to_string(&log).unwrap();
    let tokens = ["access_token", "refresh_token"].map(|name| session[name].as_str().unwrap());
    for secret in [CANARY, ticket, tokens[0], tokens[1], order.as_str(), "example.org"] {
        assert!(!written.contains(secret), "{secret} is in the access log:\n{written}");
    }
    let lines: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        let fields: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert!(fields.len() == FIELDS.len() && FIELDS.iter().all(|field| line.get(field).is_some()), "{line}");
        assert_eq!(line["peer"], "127.0.0.1");
    }
    let of = |method: &str, route: &str, status: u16| {
        let matching = |line: &&Value| line["method"] == method && line["route"] == route && line["status"] == status;
        lines.iter().filter(matching).count()
    };
    assert_eq!(of("POST", "/checkout", 201), 1);
    assert_eq!(of("other", "/cart", 405), 1);
    assert_eq!((of("GET", "unmatched", 404), of("GET", "/products/{product_id}", 404)), (2, 1));
    assert_eq!((of("POST", "/auth/login", 401), of("GET", "/cart", 401)), (1, 2));
    let page = lines.iter().find(|line| line["request_id"] == "the-page").unwrap();
    assert_eq!(
        (&page["status"], &page["bytes"], &page["role"], &page["trace_id"]),
        (&json!(200), &json!(page_bytes), &Value::Null, &json!("the-page"))
    );
    let checkout = lines.iter().find(|line| line["route"] == "/checkout").unwrap();
    assert_eq!(checkout["role"], "customer");
    assert!(lines.iter().any(|line| line["role"] == "seller"));
}
