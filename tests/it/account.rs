//! The caller's own account: profile and password.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use souk::{clock::Clock, domain::account::Role};
use tower::ServiceExt;

use crate::support::{Answer, Client, NOW, PASSWORD, TestApp};

const NEW: &str = "battery staple horse";

async fn log_in(app: &TestApp, password: &str) -> (Client, Value) {
    let credentials = json!({"email": "asha@example.com", "password": password});
    let session = app.anonymous().post("/auth/login", &credentials).await.expect(200);
    (with(app, &session), session)
}

fn with(app: &TestApp, session: &Value) -> Client {
    let mut client = app.anonymous();
    client.token = Some(session["access_token"].as_str().unwrap().to_owned());
    client.user_id = session["user_id"].as_str().unwrap().to_owned();
    client
}

async fn patch(client: &Client, headers: &[(&str, &str)], body: &Value) -> Answer {
    client.send("PATCH", "/account", headers, body).await
}

async fn change(client: &Client, old: &str, new: &str) -> Answer {
    client.put("/account/password", &json!({"old_password": old, "new_password": new})).await
}

async fn refresh(app: &TestApp, session: &Value) -> Answer {
    app.anonymous().post("/auth/refresh", &json!({"refresh_token": session["refresh_token"]})).await
}

#[tokio::test]
async fn a_profile_is_shown_and_changed_part_by_part() {
    let app = TestApp::with(|_| {}, Clock::manual(NOW)).await;
    let register = json!({"email": "asha@example.com", "password": PASSWORD, "name": "Asha"});
    app.anonymous().post("/auth/register", &register).await.expect(201);
    let (asha, _) = log_in(&app, PASSWORD).await;
    let first = asha.get("/account").await;
    let expected = json!({
        "user_id": asha.user_id, "role": "customer", "name": "Asha", "contact": null,
        "registered_at": "2026-09-21T14:13:20.000Z"
    });
    assert_eq!(first.expect(200), expected);
    assert_eq!(first.header("cache-control"), "private, no-cache");
    asha.get_with("/account", &[("if-none-match", first.header("etag"))]).await.expect_text(304);

    let etag = first.header("etag").to_owned();
    let changed = patch(&asha, &[("if-match", &etag)], &json!({"contact": "+91 20 5550 1234"})).await;
    assert_eq!(changed.expect(200)["contact"], "+91 20 5550 1234");
    assert_eq!(changed.expect(200)["name"], "Asha", "what is left out stays");
    let stale =
        patch(&asha, &[("if-match", &etag)], &json!({"name": "Asha Rao"})).await.problem(412, "version-mismatch");
    assert_eq!(stale["current_version"], 2);
    patch(&asha, &[("if-match", "W/\"a2\"")], &json!({"name": "Asha Rao"})).await.problem(412, "version-mismatch");
    // A login is no change of the profile.
    log_in(&app, PASSWORD).await;
    let changed =
        patch(&asha, &[("if-match", changed.header("etag"))], &json!({"name": "आशा राव", "contact": ""})).await;
    assert_eq!((&changed.expect(200)["name"], &changed.expect(200)["contact"]), (&json!("आशा राव"), &Value::Null));
    let same = patch(&asha, &[], &json!({})).await;
    assert_eq!((same.header("etag"), &same.expect(200)), (changed.header("etag"), &changed.expect(200)));
    patch(&asha, &[], &json!({"name": null})).await.expect(200);

    for (body, pointers) in [
        (json!({"name": "a\u{0}b"}), vec!["#/name"]),
        (json!({"name": "x".repeat(101), "contact": "y".repeat(201)}), vec!["#/name", "#/contact"]),
        (json!({"contact": "two\nlines"}), vec!["#/contact"]),
        (json!({"name": 1, "role": "admin"}), vec!["#/name", "#/role"]),
    ] {
        let refused = patch(&asha, &[], &body).await.problem(422, "invalid-body");
        let told = refused["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap());
        assert_eq!(told.collect::<Vec<_>>(), pointers, "{refused}");
    }
    app.anonymous().get("/account").await.problem(401, "unauthorized");
    let app = app.restart().await;
    let kept = app.again(&asha).get("/account").await.expect(200);
    assert_eq!((&kept["name"], &kept["contact"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_shop_may_want_if_match_of_an_account() {
    let app = TestApp::with(|config| config.http.require_if_match = true, Clock::system()).await;
    let asha = app.customer("asha").await;
    patch(&asha, &[], &json!({"name": "Asha"})).await.problem(428, "precondition-required");
    patch(&asha, &[("if-match", "*")], &json!({"name": "Asha"})).await.expect(200);
}

#[tokio::test]
async fn a_new_password_ends_every_other_session_at_once() {
    let app = TestApp::new().await;
    app.seller().await;
    app.customer("asha").await;
    let (own, own_session) = log_in(&app, PASSWORD).await;
    let (other, other_session) = log_in(&app, PASSWORD).await;
    let order = other.order("CABLE", 1).await;
    let request = other.request("GET", &format!("/orders/{order}/events"), &[], Body::empty());
    let mut stream = app.router.clone().oneshot(request).await.unwrap().into_body();
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_millis(500), stream.frame()).await {
        let text = frame.unwrap().into_data().unwrap_or_else(|_| Bytes::new());
        assert!(!text.is_empty());
    }

    change(&own, "a wrong password", NEW).await.problem(401, "wrong-credentials");
    for bad in ["short", &"x".repeat(129), "battery\nstaple"] {
        let refused = change(&own, PASSWORD, bad).await.problem(422, "invalid-body");
        assert_eq!(refused["errors"][0]["pointer"], "#/new_password");
    }
    other.get("/cart").await.expect(200);
    let answer = change(&own, PASSWORD, NEW).await;
    let session = answer.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(session["user_id"], json!(own.user_id));

    // The other session, with its stream; and the tokens of before of the own one.
    other.get("/cart").await.problem(401, "unauthorized");
    refresh(&app, &other_session).await.problem(401, "unauthorized");
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.frame()).await.expect("the stream ends");
    assert!(ended.is_none());
    own.get("/cart").await.problem(401, "unauthorized");
    let fresh = with(&app, &session);
    fresh.get("/cart").await.expect(200);
    refresh(&app, &session).await.expect(200);

    let login = |password: &str| json!({"email": "asha@example.com", "password": password});
    app.anonymous().post("/auth/login", &login(PASSWORD)).await.problem(401, "wrong-credentials");
    app.anonymous().post("/auth/login", &login(NEW)).await.expect(200);
    change(&fresh, PASSWORD, NEW).await.problem(401, "wrong-credentials");
    // A copy of the session's old refresh token is found out, at once: the change is no refresh that may be repeated.
    refresh(&app, &own_session).await.problem(401, "refresh-reused");
    let app = app.restart().await;
    app.again(&other).get("/cart").await.problem(401, "unauthorized");
}

#[tokio::test]
async fn everybody_has_an_account_and_changes_their_own_password() {
    let app = TestApp::new().await;
    for (name, role) in [("seller", Role::Seller), ("admin", Role::Admin)] {
        let client = app.user(name, role).await;
        assert_eq!(client.get("/account").await.expect(200)["role"], name);
        change(&client, PASSWORD, NEW).await.expect(200);
    }
    app.anonymous()
        .put("/account/password", &json!({"old_password": PASSWORD, "new_password": NEW}))
        .await
        .problem(401, "unauthorized");
}

#[tokio::test]
async fn two_changes_at_once_leave_one_password() {
    let app = TestApp::new().await;
    app.customer("asha").await;
    let (own, _) = log_in(&app, PASSWORD).await;
    let changes = ["first new password", "second new password"].map(|new| change(&own, PASSWORD, new));
    let answers = futures::future::join_all(changes).await;
    let done: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert!(done.contains(&200) && done.contains(&401), "{done:?}");
}
