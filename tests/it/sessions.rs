//! Registering, logging in, staying logged in, logging out.

use serde_json::json;
use souk::domain::account::Role;

use crate::support::{PASSWORD, TestApp};

#[tokio::test]
async fn a_refresh_token_is_good_once_and_a_repeat_is_forgiven() {
    let app = TestApp::new().await;
    let credentials = json!({ "email": "Asha@Example.org ", "password": PASSWORD });
    app.send("POST", "/auth/register", None, Some(credentials.clone()), &[]).await.expect(201);
    let again = app.send("POST", "/auth/register", None, Some(credentials.clone()), &[]).await;
    again.expect_problem(409, "already-registered");
    let session = app.send("POST", "/auth/login", None, Some(credentials), &[]).await.expect(200);
    let refresh = |token: &serde_json::Value| {
        app.send("POST", "/auth/refresh", None, Some(json!({ "refresh_token": token })), &[])
    };
    let second = refresh(&session["refresh_token"]).await.expect(200);
    let repeated = refresh(&session["refresh_token"]).await.expect(200);
    assert_eq!(second["refresh_token"], repeated["refresh_token"], "an honest repeat gets the same token");
    let third = refresh(&second["refresh_token"]).await.expect(200);
    refresh(&session["refresh_token"]).await.expect_problem(401, "refresh-reused");
    refresh(&third["refresh_token"]).await.expect_problem(401, "unauthorized");
    let token = third["access_token"].as_str().unwrap();
    app.get("/cart", Some(token)).await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn logging_out_ends_the_session_at_once_and_for_good() {
    let app = TestApp::new().await;
    let token = app.login_as("asha", Role::Customer).await;
    app.get("/cart", Some(&token)).await.expect(200);
    app.send("POST", "/auth/logout", Some(&token), None, &[]).await.expect(204);
    app.get("/cart", Some(&token)).await.expect_problem(401, "unauthorized");
    let app = app.restart().await;
    app.get("/cart", Some(&token)).await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn wrong_credentials_do_not_say_what_is_wrong() {
    let app = TestApp::new().await;
    app.login_as("asha", Role::Customer).await;
    for email in ["asha@example.org", "nobody@example.org"] {
        let body = json!({ "email": email, "password": "not the password" });
        app.send("POST", "/auth/login", None, Some(body), &[]).await.expect_problem(401, "wrong-credentials");
    }
    let admin = json!({ "email": "a@example.org", "password": PASSWORD, "role": "admin" });
    app.send("POST", "/auth/register", None, Some(admin), &[]).await.expect_problem(403, "forbidden");
}
