//! For operators: health, metrics, limits, request ids.

use axum::body::Body;
use serde_json::json;
use souk::{clock::Clock, config::Config, domain::account::Role, http::Program, internals::storage::JournalLimits};
use tower::ServiceExt;

use crate::support::{PASSWORD, TestApp};

#[tokio::test]
async fn a_closing_shop_is_live_but_not_ready() {
    let app = TestApp::new().await;
    let client = app.anonymous();
    assert_eq!(client.get("/livez").await.expect_text(200), "alive\n");
    app.caught_up().await;
    let ready = client.get("/readyz").await.expect(200);
    assert_eq!((&ready["ready"], &ready["storage"]), (&json!(true), &json!("writable")));
    assert_eq!((&ready["search"], &ready["lists"]), (&json!("ready"), &json!("ready")));
    assert_eq!(ready["problems"], json!([]));
    app.health.stopping();
    let stopping = client.get("/readyz").await.expect(503);
    assert_eq!((&stopping["ready"], &stopping["problems"]), (&json!(false), &json!(["the shop is stopping"])));
    client.get("/livez").await.expect_text(200);
    client.get("/products").await.expect(200);
    app.shop.close().await.unwrap();
    client.get("/livez").await.expect_text(200);
}

#[tokio::test]
async fn a_shop_whose_index_is_rebuilt_is_not_ready_and_serves_all_the_same() {
    let app = TestApp::new().await;
    app.seller().await;
    app.caught_up().await;
    app.shop.close().await.unwrap();
    std::fs::remove_dir_all(app.directory.path().join("data/search")).unwrap();
    let app = app.restart().await;
    let client = app.anonymous();
    let ready = client.get("/readyz").await.expect(503);
    assert_eq!((&ready["ready"], &ready["search"]), (&json!(false), &json!("rebuilding")));
    assert!(ready["problems"].to_string().contains("the search index must still read"), "{ready}");
    client.get("/products/CABLE").await.expect(200);
    app.caught_up().await;
    let ready = client.get("/readyz").await.expect(200);
    assert_eq!((&ready["ready"], &ready["search"]), (&json!(true), &json!("ready")));
    assert_eq!(client.get("/products?q=cable").await.expect(200)["total"], 1);
}

#[tokio::test]
async fn a_closed_shop_refuses_writes_as_not_executed() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    app.shop.close().await.unwrap();
    let refused = customer.post("/cart/add_products", &json!({"product_id": "CABLE", "quantity": 1})).await;
    refused.problem(503, "busy");
    assert_eq!(refused.header("retry-after"), "1");
}

#[tokio::test]
async fn only_admins_see_the_settings() {
    let app = TestApp::new().await;
    let admin = app.user("admin", Role::Admin).await;
    let shown = admin.get("/settings").await.expect(200);
    assert_eq!(shown["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(shown["settings"]["limits"]["in_flight_max"], app.shop.config().limits.in_flight_max);
    // The program's own settings stand beside the shop's.
    let program =
        Program { settings: [("listen".to_owned(), "here".into())].into_iter().collect(), ..Program::default() };
    let router = souk::http::router_with(app.shop.clone(), program);
    let shown = TestApp::through(router, "", &admin).get("/settings").await.expect(200);
    assert_eq!(
        (shown["settings"]["listen"].as_str(), shown["settings"]["session_days"].as_u64()),
        (Some("here"), Some(30))
    );
    app.customer("asha").await.get("/settings").await.problem(403, "forbidden");
    app.seller().await.get("/settings").await.problem(403, "forbidden");
    app.anonymous().get("/settings").await.problem(401, "unauthorized");
    let ready = app.anonymous().get("/readyz").await.json();
    assert_eq!(ready["durability"], "fdatasync before every acknowledgement");
}

#[tokio::test]
async fn metrics_count_by_route_and_show_the_shop() {
    let app = TestApp::new().await;
    app.seller().await;
    let client = app.anonymous();
    client.get("/products/CABLE").await.expect(200);
    client.get("/products/NOTHING").await.problem(404, "not-found");
    client.get("/nowhere/at/all").await.problem(404, "not-found");
    client.raw(client.request("BREW", "/cart", &[], Body::empty())).await.problem(405, "method-not-allowed");
    let text = client.get("/metrics").await.expect_text(200).to_owned();
    for line in [
        "souk_http_request_duration_seconds_count{method=\"GET\",route=\"/products/{product_id}\",status=\"200\"} 1",
        "souk_http_request_duration_seconds_count{method=\"GET\",route=\"/products/{product_id}\",status=\"404\"} 1",
        "souk_http_request_duration_seconds_count{method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
        "souk_http_request_duration_seconds_count{method=\"other\",route=\"/cart\",status=\"405\"} 1",
        "souk_actors_live{kind=\"product\"} 2\n",
        "souk_read_model_lag_bytes{read_model=\"search\"} ",
        "souk_read_model_lag_seconds{read_model=\"lists\"} ",
        "souk_journal_read_only 0\n",
        "souk_disk_free_bytes ",
        "souk_requests_in_flight{class=\"read\"} ",
        "souk_build_info{version=\"",
        "souk_journal_records_total ",
        "souk_journal_sync_seconds_total ",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("CABLE") && !text.contains("BREW"), "what clients send is not a label");
    assert!(!text.contains("# EOF"), "that is OpenMetrics");
    let with = |accept: &'static str| [("accept", accept)];
    let open = client.get_with("/metrics", &with("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")).await;
    assert_eq!(open.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.text.contains("# TYPE souk_journal_records counter\n") && open.text.ends_with("# EOF\n"));
    let plain = client.get_with("/metrics", &with("text/plain")).await;
    assert_eq!(plain.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(plain.text.contains("# TYPE souk_journal_records_total counter\n"));
}

/// The thresholds of the alarms are those of the limits that they are derived from, and their metrics exist.
#[tokio::test]
async fn alarms_follow_from_the_limits() {
    let operations = include_str!("../../docs/OPERATIONS.md");
    let (_, alarms) = operations.split_once("| alert | alarm | who |").unwrap();
    let alarms = alarms.split("\n\n").next().unwrap();
    let (journal, config) = (JournalLimits::default(), Config::default());
    let thousands = |number: u64| format!("{},{:03}", number / 1_000, number % 1_000);
    for (metric, threshold) in [
        ("`souk_disk_free_bytes` is below", format!("{} GiB", (2 * journal.disk_free_bytes_min) >> 30)),
        ("| `souk_disk_free_bytes` is below", format!("{} GiB", config.retention.log_bytes >> 30)),
        ("`souk_journal_queue_records` is above", thousands(journal.queue_records_max as u64 / 2)),
        ("`souk_journal_memtable_bytes` is above", format!("{} MiB", (journal.memtable_bytes_max >> 20) * 3 / 4)),
        (
            "`souk_requests_in_flight` of all classes together is above",
            thousands(config.limits.in_flight_max as u64 / 2),
        ),
        ("`souk_provider_circuit` is not 0 for", "five minutes".to_owned()),
    ] {
        assert!(alarms.contains(&format!("{metric} {threshold}")), "{metric} {threshold} is not in{alarms}");
    }
    assert_eq!(config.payment_deadline_ms / 3, 5 * 60_000);
    let app = TestApp::new().await;
    app.anonymous().get("/products").await.expect(200);
    let text = app.anonymous().get("/metrics").await.expect_text(200).to_owned();
    assert!(text.contains("le=\"0.1\""), "the threshold of checkouts is a bound of the histogram");
    let cells = alarms.lines().skip(2).filter_map(|row| row.split('|').nth(2));
    let spans: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let metrics = spans.iter().filter(|span| span.starts_with("souk_") || span.starts_with("process_"));
    assert!(metrics.clone().count() > 10, "{spans:?}");
    for metric in metrics {
        assert!(text.contains(&format!("\n{metric}")), "there is no metric {metric}");
    }
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_at_once_but_health_answers() {
    let app = TestApp::with(|config| config.limits.in_flight_max = 1, Clock::system()).await;
    let client = app.anonymous();
    let login = json!({"email": "asha@example.com", "password": PASSWORD}).to_string();
    let request = client.request("POST", "/auth/login", &[("content-type", "application/json")], Body::from(login));
    let mut working = Box::pin(app.router.clone().oneshot(request));
    // Once polled, it holds the only permit to start; it continues when it is polled again.
    assert!(futures::poll!(&mut working).is_pending());
    let refused = client.post("/auth/register", &json!({"email": "ravi@example.com", "password": PASSWORD})).await;
    refused.problem(503, "overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    // Reads have permits of their own, and so have requests that continue a purchase.
    client.get("/products").await.expect(200);
    client.post("/checkout", &json!({})).await.problem(401, "unauthorized");
    client.get("/livez").await.expect_text(200);
    app.caught_up().await;
    client.get("/readyz").await.expect(200);
    client.get("/metrics").await.expect_text(200);
    client.get("/openapi.json").await.expect(200);
    assert_eq!(working.await.unwrap().status(), 401);
    client.post("/auth/register", &json!({"email": "ravi@example.com", "password": PASSWORD})).await.expect(201);
}

#[tokio::test]
async fn a_request_that_takes_too_long_has_an_unknown_outcome() {
    let app = TestApp::with(
        |config| (config.limits.request_ms_max, config.limits.payment_wait_ms_max) = (1, 0),
        Clock::system(),
    )
    .await;
    let login = json!({"email": "asha@example.com", "password": PASSWORD});
    app.anonymous().post("/auth/login", &login).await.problem(504, "unknown-outcome");
}

#[tokio::test]
async fn requests_have_ids_and_traces() {
    let app = TestApp::new().await;
    let client = app.anonymous();
    let own = client.get_with("/products", &[("x-request-id", "my-request.7")]).await;
    assert_eq!(own.header("x-request-id"), "my-request.7");
    let is_made = |id: &str| id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    for unusable in ["", "two words", "\u{e9}", "<script>", "{\"a\":1}", "a/b", "a;b", &"x".repeat(65)] {
        let made = client.get_with("/products", &[("x-request-id", unusable)]).await;
        assert!(is_made(made.header("x-request-id")), "{unusable}: {made:?}");
    }
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let traced = client.get_with("/nowhere", &[("traceparent", &parent)]).await;
    assert_eq!(traced.problem(404, "not-found")["trace_id"], trace);
    assert_eq!(traced.header("x-request-id"), trace);
    let both = client.get_with("/nowhere", &[("traceparent", &parent), ("x-request-id", "r1")]).await;
    assert_eq!((&both.expect(404)["trace_id"], both.header("x-request-id")), (&json!(trace), "r1"));
    let cut = format!("00-{trace}-00f067aa0ba902b7");
    for broken in [cut.clone(), format!("ff-{trace}-00f067aa0ba902b7-01"), format!("00-{trace}-0000000000000000-01")] {
        let made = client.get_with("/nowhere", &[("traceparent", &broken)]).await;
        assert_ne!(made.problem(404, "not-found")["trace_id"], trace, "{broken}");
    }
    for unusable in ["0".repeat(32), "g".repeat(32), trace.to_uppercase(), "short".into()] {
        let parent = format!("00-{unusable}-00f067aa0ba902b7-01");
        let made = client.get_with("/nowhere", &[("traceparent", &parent)]).await;
        let id = made.problem(404, "not-found")["trace_id"].as_str().unwrap().to_owned();
        assert!(is_made(&id) && id != unusable, "{unusable}: {id}");
    }
}
