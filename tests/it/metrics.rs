//! Metrics: what is counted of the business, how many series there can be, and what Prometheus' own checker says.

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

use axum::body::Body;
use serde_json::json;
use souk::clock::Clock;

use crate::{
    skipped::skip,
    support::{NOW, PASSWORD, TestApp, checkout, eventually},
};

#[tokio::test]
async fn the_business_is_counted() {
    let clock = Clock::manual(NOW);
    let app = TestApp::with(|_| (), clock.clone()).await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let metric = async |name: &str| customer.metric(name).await;
    // Stages are those of the lists, which follow.
    let until = async |name: &str, value: u64| {
        app.caught_up().await;
        eventually(async || (customer.metric(name).await == value).then_some(())).await;
    };
    let paid = customer.order("CABLE", 2).await;
    until(r#"souk_orders{stage="open"}"#, 1).await;
    assert_eq!(metric("souk_reservations_live").await, 1);
    assert_eq!(metric(r#"souk_reservations_total{outcome="made"}"#).await, 1);
    customer.pay(&paid, "tok_success").await.expect(200);
    until(r#"souk_orders{stage="confirmed"}"#, 1).await;
    assert_eq!(metric(r#"souk_orders{stage="open"}"#).await, 0);
    assert_eq!(metric("souk_reservations_live").await, 0);
    assert_eq!(metric(r#"souk_reservations_total{outcome="sold"}"#).await, 1);
    let cancelled = customer.order("CABLE", 1).await;
    customer.post(&format!("/orders/{cancelled}/cancel"), &json!({})).await.expect(200);
    until(r#"souk_reservations_total{outcome="released"}"#, 1).await;
    customer.order("CABLE", 1).await;
    clock.advance_ms(app.shop.config().payment_deadline_ms + 1_000);
    until(r#"souk_reservations_total{outcome="expired"}"#, 1).await;
    until(r#"souk_orders{stage="open"}"#, 0).await;
    assert_eq!(metric("souk_reservations_live").await, 0);
    assert_eq!(metric("souk_payments_unknown").await, 0);
    assert_eq!(metric("souk_orders_with_issues").await, 0);

    let anonymous = app.anonymous();
    for (email, password, status) in [("asha@example.com", PASSWORD, 200), ("asha@example.com", "not the one", 401)] {
        anonymous.post("/auth/login", &json!({"email": email, "password": password})).await.expect(status);
    }
    anonymous.get("/cart").await.expect(401);
    assert_eq!(metric(r#"souk_logins_total{outcome="wrong"}"#).await, 1);
    assert!(metric(r#"souk_logins_total{outcome="ok"}"#).await >= 1);
    assert_eq!(metric("souk_requests_unauthorized_total").await, 2);
    // A restart counts the orders that it finds, and their lines.
    let ravi = app.customer("ravi").await;
    for product in ["CABLE", "PHONE"] {
        ravi.add(product, 1).await;
    }
    let total = ravi.get("/cart").await.expect(200)["total"].clone();
    ravi.post("/checkout", &checkout(&total)).await.expect(201);
    until("souk_reservations_live", 2).await;
    app.caught_up().await;
    app.shop.close().await.unwrap();
    let app = app.restart().await;
    app.caught_up().await;
    assert_eq!(app.anonymous().metric(r#"souk_orders{stage="confirmed"}"#).await, 1);
    assert_eq!(app.anonymous().metric("souk_reservations_live").await, 2);
}

/// The series of a scrape, without their values.
fn series(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
}

#[tokio::test]
async fn no_client_can_make_series() {
    let app = TestApp::new().await;
    let client = app.anonymous();
    let strange = async |number: u32| {
        for method in ["BREW", "TRACE", "PROPFIND", "GET", "PATCH", "POST", "DELETE", "PUT"] {
            for path in ["/cart", "/products/CABLE", "/orders", "/nowhere"] {
                let path = if path == "/nowhere" { format!("/nowhere/{number}") } else { path.to_owned() };
                let method = if method == "BREW" { format!("BREW{number}") } else { method.to_owned() };
                client.raw(client.request(&method, &path, &[], Body::empty())).await;
            }
        }
    };
    strange(0).await;
    let first = series(client.get("/metrics").await.expect_text(200));
    for number in 1..20 {
        strange(number).await;
    }
    let later = series(client.get("/metrics").await.expect_text(200));
    assert_eq!(later.difference(&first).collect::<Vec<_>>(), Vec::<&String>::new());
    let refused: Vec<_> = later.iter().filter(|series| series.contains("status=\"405\"")).collect();
    assert!(!refused.is_empty() && refused.iter().all(|series| series.contains("method=\"other\"")), "{refused:?}");
    assert!(later.iter().all(|series| series.starts_with("souk_") || series.starts_with("process_")), "{later:?}");
}

#[tokio::test]
async fn prometheus_finds_nothing_to_remark() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    customer.buy("CABLE", 1).await;
    let text = customer.get("/metrics").await.expect_text(200).to_owned();
    let checker = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut checker = match checker {
        Ok(checker) => checker,
        Err(error) => return skip("promtool check metrics", &format!("promtool cannot be started: {error}")),
    };
    checker.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = checker.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}\n{text}");
}
