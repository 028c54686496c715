//! The event stream of an order: past events, then new ones, resumable after any event.

use std::time::Duration;

use axum::{body::Body, http::StatusCode};
use futures::StreamExt;
use serde_json::{Value, json};
use souk::{clock::Clock, domain::account::Role};
use tower::ServiceExt;

use crate::support::{Client, NOW, TestApp};

/// An event of a stream: id, name, data.
type Event = (String, String, Value);

/// Reads events of an order until `enough` says so, or to the end of the stream.
async fn events(
    app: &TestApp,
    client: &Client,
    order: &str,
    last: Option<&str>,
    enough: usize,
) -> (Vec<Event>, String) {
    let headers: Vec<_> = last.iter().map(|last| ("last-event-id", *last)).collect();
    let request = client.request("GET", &format!("/orders/{order}/events"), &headers, Body::empty());
    let response = app.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let (mut body, mut text) = (response.into_body().into_data_stream(), String::new());
    let read = async {
        while parsed(&text).len() < enough {
            let Some(chunk) = body.next().await else { break };
            text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), read).await.unwrap();
    (parsed(&text), text)
}

fn parsed(text: &str) -> Vec<Event> {
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
    };
    let whole = text.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n"));
    let events = whole.filter_map(|event| {
        let data = serde_json::from_str(&field(event, "data:")?).unwrap();
        Some((field(event, "id:")?, field(event, "event:")?, data))
    });
    events.collect()
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|(_, name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn a_stream_follows_an_order_to_its_end_and_can_be_resumed() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let order = customer.order("CABLE", 1).await;
    let (first, text) = events(&app, &customer, &order, None, 2).await;
    assert!(text.contains("retry:"), "{text}");
    assert_eq!(names(&first), ["placed", "awaiting_payment"]);
    assert_eq!(first[1].2["status"], "awaiting_payment");
    assert_eq!(first[1].2["sequence"].to_string(), first[1].0);

    let following = events(&app, &customer, &order, Some(&first[1].0), usize::MAX);
    let acting = async {
        customer.pay(&order, "tok_success").await.expect(200);
        seller.act(&format!("/orders/{order}/pack")).await.expect(200);
        let parcel = json!({"carrier": "Blue Dart", "tracking_number": "BD1"});
        seller.post(&format!("/orders/{order}/ship"), &parcel).await.expect(200);
        seller.act(&format!("/orders/{order}/deliver")).await.expect(200);
    };
    let ((rest, _), ()) = tokio::join!(following, acting);
    assert_eq!(names(&rest), ["payment_pending", "paid", "confirmed", "packed", "shipped", "delivered"]);

    let (again, _) = events(&app, &seller, &order, Some(&rest[3].0), usize::MAX).await;
    assert_eq!(again, rest[4..], "what was missed, and then the end");
    let app = app.restart().await;
    let (again, _) = events(&app, &app.again(&customer), &order, Some(&rest[3].0), usize::MAX).await;
    assert_eq!(again, rest[4..], "the same ids after a restart");
    let (none, _) = events(&app, &app.again(&customer), &order, Some(&rest[5].0), usize::MAX).await;
    assert_eq!(none, [], "nothing happens after the end");
}

#[tokio::test]
async fn a_rejected_order_ends_its_stream() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let order = customer.order("CABLE", 1).await;
    let cancel = format!("/orders/{order}/cancel");
    let acting = customer.act(&cancel);
    let ((all, _), cancelled) = tokio::join!(events(&app, &customer, &order, None, usize::MAX), acting);
    cancelled.expect(200);
    assert_eq!(names(&all), ["placed", "awaiting_payment", "cancelling", "cancelled"]);
}

#[tokio::test]
async fn a_stream_ends_when_its_caller_logs_out_or_gets_another_role() {
    let app = TestApp::new().await;
    app.seller().await;
    for name in ["asha", "ben"] {
        let customer = app.customer(name).await;
        let order = customer.order("CABLE", 1).await;
        let acting = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if name == "asha" {
                customer.act("/auth/logout").await.expect(204);
            } else {
                app.user(name, Role::Seller).await;
            }
        };
        let ((all, _), ()) = tokio::join!(events(&app, &customer, &order, None, usize::MAX), acting);
        assert_eq!(names(&all), ["placed", "awaiting_payment"], "{name}");
        customer.get(&format!("/orders/{order}/events")).await.problem(401, "unauthorized");
    }
}

#[tokio::test]
async fn a_stream_ends_when_the_access_token_of_its_caller_expires() {
    let app = TestApp::with(|config| config.access_token_seconds = 3, Clock::system()).await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let order = customer.order("CABLE", 1).await;
    let (all, _) = events(&app, &customer, &order, None, usize::MAX).await;
    assert_eq!(names(&all), ["placed", "awaiting_payment"]);
    customer.get(&format!("/orders/{order}/events")).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn an_invalid_last_event_id_is_refused() {
    let app = TestApp::new().await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let path = format!("/orders/{}/events", customer.order("CABLE", 1).await);
    for id in ["x", "-1", "1.5", " 1 2", "18446744073709551616", "9223372036854775808", "999"] {
        customer.get_with(&path, &[("last-event-id", id)]).await.problem(400, "invalid-last-event-id");
    }
}

/// What a browser's `EventSource` sends: no token, and after a break the id of the last event, or an empty one.
#[tokio::test]
async fn a_browser_follows_an_order_with_a_ticket() {
    let clock = Clock::manual(NOW);
    let app = TestApp::with(|_| {}, clock.clone()).await;
    app.seller().await;
    let (asha, browser) = (app.customer("asha").await, app.anonymous());
    let (order, other) = (asha.order("CABLE", 1).await, asha.order("CABLE", 1).await);
    let issued = asha.act(&format!("/orders/{order}/events/tickets")).await;
    assert_eq!(issued.header("cache-control"), "no-store");
    let issued = issued.expect(200);
    let (ticket, url) = (issued["ticket"].as_str().unwrap(), issued["url"].as_str().unwrap());
    assert_eq!(url, format!("/orders/{order}/events?ticket={ticket}"));
    let follow = async |url: &str, headers: &[(&str, &str)]| {
        let request = browser.request("GET", url, headers, Body::empty());
        app.router.clone().oneshot(request).await.unwrap().into_body().into_data_stream().boxed()
    };
    let mut streams = Vec::new();
    for headers in [&[][..], &[("last-event-id", "")], &[("authorization", "Basic c3RhZ2U6cGFzcw==")]] {
        streams.push(follow(url, headers).await);
    }
    // It is good for this order, and for nothing else.
    browser.get(&format!("/orders/{other}/events?ticket={ticket}")).await.problem(401, "unauthorized");
    browser.get(&format!("/orders/{order}/events?ticket={ticket}x")).await.problem(401, "unauthorized");
    browser.get(&format!("/orders/{order}?ticket={ticket}")).await.problem(400, "invalid-query");
    let bearer = format!("Bearer {ticket}");
    browser.get_with(&format!("/orders/{order}"), &[("authorization", &bearer)]).await.problem(401, "unauthorized");
    browser.get(&format!("/orders/{order}/events?ticket=")).await.problem(401, "unauthorized");

    clock.advance_ms(60_000);
    browser.get(url).await.problem(401, "unauthorized");
    // The streams go on, until the session of the token ends.
    asha.pay(&order, "tok_success").await.expect(200);
    app.until(&asha, &order, "confirmed").await;
    for stream in &mut streams {
        let mut text = String::new();
        while !names(&parsed(&text)).contains(&"confirmed") {
            let chunk = tokio::time::timeout(Duration::from_secs(30), stream.next()).await.unwrap();
            text.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
        }
        assert_eq!(names(&parsed(&text)), ["placed", "awaiting_payment", "payment_pending", "paid", "confirmed"]);
    }
    let second = asha.act(&format!("/orders/{order}/events/tickets")).await.expect(200);
    asha.act("/auth/logout").await.expect(204);
    browser.get(second["url"].as_str().unwrap()).await.problem(401, "unauthorized");
    for mut stream in streams {
        assert!(tokio::time::timeout(Duration::from_secs(30), stream.next()).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn event_streams_are_bounded_and_end_with_the_shop() {
    let change = |config: &mut souk::config::Config| {
        config.limits.event_streams_max = 1;
        config.limits.in_flight_max = 1;
    };
    let app = TestApp::with(change, Clock::system()).await;
    app.seller().await;
    let customer = app.customer("asha").await;
    let order = customer.order("CABLE", 1).await;
    let path = format!("/orders/{order}/events");
    let open = app.router.clone().oneshot(customer.request("GET", &path, &[], Body::empty())).await.unwrap();
    assert_eq!(open.status(), 200);
    customer.get("/cart").await.expect(200);
    let refused = customer.get(&path).await;
    refused.problem(503, "overloaded");
    assert_eq!(refused.header("retry-after"), "1");

    app.health.stopping();
    let read = open.into_body().into_data_stream().collect::<Vec<_>>();
    let chunks = tokio::time::timeout(Duration::from_secs(30), read).await.unwrap();
    assert!(chunks.len() > 1, "what happened is told all the same");
    customer.get(&path).await.expect_text(200);
}

#[tokio::test]
async fn the_streams_of_one_user_leave_places_for_others() {
    let change = |config: &mut souk::config::Config| config.limits.user_event_streams_max = 2;
    let app = TestApp::with(change, Clock::manual(NOW)).await;
    app.seller().await;
    let (asha, ben) = (app.customer("asha").await, app.customer("ben").await);
    let follow = async |client: &Client| {
        let path = format!("/orders/{}/events", client.order("CABLE", 1).await);
        let request = client.request("GET", &path, &[], Body::empty());
        (app.router.clone().oneshot(request).await.unwrap(), path)
    };
    let ((first, path), (second, _)) = (follow(&asha).await, follow(&asha).await);
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
    let refused = asha.get(&path).await;
    refused.problem(429, "too-many-streams");
    assert_eq!(refused.header("retry-after"), "900", "the first one ends with its access token");
    let (other, _) = follow(&ben).await;
    assert_eq!(other.status(), StatusCode::OK);
    drop(second);
    let again = app.router.clone().oneshot(asha.request("GET", &path, &[], Body::empty())).await.unwrap();
    assert_eq!(again.status(), StatusCode::OK);
}
