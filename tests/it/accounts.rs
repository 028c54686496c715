//! Accounts, tokens and sessions.

use serde_json::{Value, json};
use souk::{
    clock::Clock,
    domain::account::{FAMILIES_MAX, Role},
};

use crate::support::{Client, NOW, PASSWORD, TestApp, operations};

async fn login(client: &Client, email: &str) -> Value {
    client.post("/auth/login", &json!({"email": email, "password": PASSWORD})).await.expect(200)
}

async fn refresh(client: &Client, token: &Value) -> crate::support::Answer {
    client.post("/auth/refresh", &json!({"refresh_token": token})).await
}

#[tokio::test]
async fn a_customer_registers_logs_in_and_out_for_good() {
    let app = TestApp::new().await;
    let mut client = app.anonymous();
    let register = json!({"email": "Asha@Example.com ", "password": PASSWORD, "name": "Asha"});
    let registered = client.post("/auth/register", &register).await.expect(201);
    client.post("/auth/register", &register).await.problem(409, "already-registered");

    let session = login(&client, "ASHA@example.com").await;
    assert_eq!(session["user_id"], registered["user_id"]);
    assert_eq!((&session["token_type"], &session["role"]), (&json!("Bearer"), &json!("customer")));
    client.token = Some(session["access_token"].as_str().unwrap().to_owned());
    client.get("/cart").await.expect(200);
    let mut elsewhere = client.clone();
    elsewhere.token = Some(login(&client, "asha@example.com").await["access_token"].as_str().unwrap().to_owned());

    client.act("/auth/logout").await.expect(204);
    client.get("/cart").await.problem(401, "unauthorized");
    refresh(&client, &session["refresh_token"]).await.problem(401, "unauthorized");
    let app = app.restart().await;
    app.again(&client).get("/cart").await.problem(401, "unauthorized");
    app.again(&elsewhere).get("/cart").await.expect(200);
}

#[tokio::test]
async fn an_address_and_a_password_are_the_same_in_every_form() {
    let app = TestApp::new().await;
    let client = app.anonymous();
    let password = "p\u{e4}ssw\u{f6}rd 1";
    let register = json!({"email": "info@\u{fc}bung.example", "password": password});
    client.post("/auth/register", &register).await.expect(201);
    for (email, password) in [
        ("info@xn--bung-zra.example", password),
        ("INFO@U\u{308}BUNG.EXAMPLE", "pa\u{308}sswo\u{308}rd 1"),
        ("info@\u{fc}bung\u{3002}example", "p\u{e4}ssw\u{f6}rd\u{a0}1"),
    ] {
        let taken = json!({"email": email, "password": PASSWORD});
        client.post("/auth/register", &taken).await.problem(409, "already-registered");
        client.post("/auth/login", &json!({"email": email, "password": password})).await.expect(200);
    }
    for wrong in ["p\u{e4}ssw\u{f6}rd1", " p\u{e4}ssw\u{f6}rd 1", "P\u{e4}ssw\u{f6}rd 1", "p\u{e4}ssw\u{f6}rd 1\n"] {
        let login = json!({"email": "info@xn--bung-zra.example", "password": wrong});
        client.post("/auth/login", &login).await.problem(401, "wrong-credentials");
    }
    for (email, password, pointer) in [
        ("a..b@example.org", PASSWORD, "#/email"),
        (".a@example.org", PASSWORD, "#/email"),
        ("a@localhost", PASSWORD, "#/email"),
        ("a@-b.example", PASSWORD, "#/email"),
        ("a@example.org", "correct horse\n", "#/password"),
        ("a@example.org", "a\u{308}a\u{308}a\u{308}a\u{308}", "#/password"),
    ] {
        let register = json!({"email": email, "password": password});
        let refused = client.post("/auth/register", &register).await.problem(422, "invalid-body");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
}

#[tokio::test]
async fn one_session_too_many_logs_out_the_one_that_was_unused_for_longest() {
    let app = TestApp::new().await;
    let mut oldest = app.anonymous();
    let register = json!({"email": "asha@example.com", "password": PASSWORD});
    oldest.post("/auth/register", &register).await.expect(201);
    let session = login(&oldest, "asha@example.com").await;
    oldest.token = Some(session["access_token"].as_str().unwrap().to_owned());
    for _ in 1..FAMILIES_MAX {
        login(&app.anonymous(), "asha@example.com").await;
    }
    oldest.get("/cart").await.expect(200);
    let mut newest = app.anonymous();
    newest.token = Some(login(&newest, "asha@example.com").await["access_token"].as_str().unwrap().to_owned());
    oldest.get("/cart").await.problem(401, "unauthorized");
    refresh(&oldest, &session["refresh_token"]).await.problem(401, "unauthorized");
    newest.get("/cart").await.expect(200);
}

#[tokio::test]
async fn sellers_register_themselves_and_admins_do_not() {
    let app = TestApp::new().await;
    let register = |role: &str| json!({"email": format!("{role}@example.com"), "password": PASSWORD, "role": role});
    app.anonymous().post("/auth/register", &register("seller")).await.expect(201);
    assert_eq!(login(&app.anonymous(), "seller@example.com").await["role"], "seller");
    app.anonymous().post("/auth/register", &register("admin")).await.problem(403, "forbidden");
    app.anonymous().post("/auth/register", &register("king")).await.problem(422, "invalid-body");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let app = TestApp::new().await;
    app.customer("asha").await;
    let mut details = Vec::new();
    for email in ["asha@example.com", "nobody@example.com"] {
        let login = json!({"email": email, "password": "a wrong password"});
        let answer = app.anonymous().post("/auth/login", &login).await;
        details.push(answer.problem(401, "wrong-credentials")["detail"].clone());
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    assert_eq!(details[0], details[1]);
}

#[tokio::test]
async fn refresh_tokens_rotate_and_a_late_repeat_ends_the_session() {
    let clock = Clock::manual(NOW);
    let app = TestApp::with(|_| {}, clock.clone()).await;
    let mut client = app.customer("asha").await;
    let first = login(&client, "asha@example.com").await;
    let second = refresh(&client, &first["refresh_token"]).await.expect(200);
    assert_ne!(first["refresh_token"], second["refresh_token"]);

    clock.advance_ms(9_000);
    let repeat = refresh(&client, &first["refresh_token"]).await.expect(200);
    assert_eq!(repeat["refresh_token"], second["refresh_token"], "an honest repeat within ten seconds");

    clock.advance_ms(60_000);
    refresh(&client, &first["refresh_token"]).await.problem(401, "refresh-reused");
    refresh(&client, &second["refresh_token"]).await.problem(401, "unauthorized");
    client.get("/cart").await.expect(200);
    client.token = Some(second["access_token"].as_str().unwrap().to_owned());
    client.get("/cart").await.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_repeat_after_the_next_refresh_ends_the_session_at_once() {
    let app = TestApp::new().await;
    let client = app.customer("asha").await;
    let first = login(&client, "asha@example.com").await;
    let second = refresh(&client, &first["refresh_token"]).await.expect(200);
    let third = refresh(&client, &second["refresh_token"]).await.expect(200);
    refresh(&client, &first["refresh_token"]).await.problem(401, "refresh-reused");
    refresh(&client, &third["refresh_token"]).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn invalid_tokens_are_refused_with_a_challenge() {
    let clock = Clock::manual(NOW);
    let app = TestApp::with(|_| {}, clock.clone()).await;
    let mut client = app.customer("asha").await;
    let good = client.token.clone().unwrap();
    client.get("/cart").await.expect(200);

    let anonymous = app.anonymous().get("/cart").await;
    anonymous.problem(401, "unauthorized");
    assert_eq!(anonymous.header("www-authenticate"), "Bearer");

    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = format!("{}.{}.", parts[0], parts[1]);
    let none = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
    let forged = format!("{}.{}.{}", parts[0], parts[1], "A".repeat(parts[2].len()));
    let shorter = &good[..good.len() - 1];
    let long = "a".repeat(5_000);
    for token in ["", "x", "a.b.c", &unsigned, &none, &forged, shorter, &long] {
        client.token = Some(token.to_owned());
        let answer = client.get("/cart").await;
        answer.problem(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    }
    client.token = None;
    for scheme in ["Basic YTpi", "Bearer", &good, "B\u{e9}arer x"] {
        client.get_with("/cart", &[("authorization", scheme)]).await.problem(401, "unauthorized");
    }

    client.token = Some(good);
    clock.advance_ms(899_000);
    client.get("/cart").await.expect(200);
    clock.advance_ms(1_000);
    client.get("/cart").await.problem(401, "unauthorized");
}

/// A shopper comes back after an hour, or a proxy in front of the shop has a login of its own.
#[tokio::test]
async fn pages_for_everybody_are_shown_whatever_the_login() {
    let clock = Clock::manual(NOW);
    let app = TestApp::with(|_| {}, clock.clone()).await;
    let seller = app.seller().await;
    let expired = app.customer("asha").await;
    clock.advance_ms(900_000);
    let ended = app.customer("ben").await;
    ended.act("/auth/logout").await.expect(204);
    app.caught_up().await;
    let (anonymous, mut checked) = (app.anonymous(), 0);
    let bearer = |client: &Client| format!("Bearer {}", client.token.clone().unwrap());
    let logins =
        [bearer(&expired), bearer(&ended), "Bearer x".into(), "Basic c3RhZ2U6cGFzcw==".into(), "\u{e9}".into()];
    for (path, method, operation) in operations() {
        let is_public =
            operation["security"].as_array().is_some_and(|needed| needed.is_empty() || needed.contains(&json!({})));
        if method != "GET" || !is_public || ["/livez", "/readyz", "/metrics"].contains(&path.as_str()) {
            continue;
        }
        let path = path.replace("{product_id}", "CABLE").replace("{seller_id}", &seller.user_id);
        let path = path.replace("{keywords}", "cable");
        let expected = anonymous.get(&path).await;
        for login in &logins {
            let answer = anonymous.get_with(&path, &[("authorization", login)]).await;
            assert_eq!(answer.status, expected.status, "{path} {login}");
            if expected.status == 200 {
                assert_eq!(answer.text, expected.text, "{path} {login}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 30, "{checked}");
}

#[tokio::test]
async fn public_keys_are_published_and_answers_with_tokens_are_not_cached() {
    let app = TestApp::new().await;
    let keys = app.anonymous().get("/.well-known/jwks.json").await.expect(200);
    assert_eq!(keys["keys"][0]["crv"], "Ed25519");
    assert!(keys["keys"][0].get("d").is_none());
    app.user("asha", Role::Customer).await;
    let credentials = json!({"email": "asha@example.com", "password": PASSWORD});
    let session = app.anonymous().post("/auth/login", &credentials).await;
    assert_eq!(session.header("cache-control"), "no-store");
    let refreshed = refresh(&app.anonymous(), &session.expect(200)["refresh_token"]).await;
    assert_eq!(refreshed.header("cache-control"), "no-store");
}
