//! Limits of one client: by user, or else by address; and logins that guessers do not keep others from.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use souk::{
    clock::Clock,
    config::{Config, Switch},
    http::Server,
};
use tokio::net::TcpListener;

use crate::support::{PASSWORD, TestApp};

/// A shop that listens, so that its clients have addresses.
struct Served {
    _app: TestApp,
    url: String,
}

/// An answer of it.
struct Answer {
    status: u16,
    retry_after: Option<u64>,
    policy: String,
    body: Value,
}

impl Served {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        let app = TestApp::with(change, Clock::system()).await;
        app.seller().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::new(app.shop.config());
        tokio::spawn(server.serve(app.router.clone(), listener, std::future::pending()));
        Self { _app: app, url }
    }

    /// A client at this address.
    fn from(&self, address: [u8; 4]) -> Client {
        let address = IpAddr::from(Ipv4Addr::from(address));
        let http = reqwest::Client::builder().local_address(address).no_proxy().build().unwrap();
        Client { http, url: self.url.clone() }
    }
}

#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    async fn get(&self, path: &str) -> Answer {
        self.answer(self.http.get(format!("{}{path}", self.url))).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        let request = self.http.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        self.answer(request.body(body.to_string())).await
    }

    async fn log_in(&self, email: &str, password: &str) -> Answer {
        self.post("/auth/login", json!({"email": email, "password": password})).await
    }

    async fn change_password(&self, token: &Value, old: &str, new: &str) -> Answer {
        let request = self.http.put(format!("{}/account/password", self.url)).bearer_auth(token.as_str().unwrap());
        let body = json!({"old_password": old, "new_password": new}).to_string();
        self.answer(request.header("content-type", "application/json").body(body)).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let retry_after = text("retry-after").map(|seconds| seconds.parse().unwrap());
        let policies = response.headers().get_all("ratelimit-policy").iter();
        let policy = policies.map(|policy| policy.to_str().unwrap()).collect::<Vec<_>>().join(", ");
        let body = serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default();
        Answer { status, retry_after, policy, body }
    }
}

#[tokio::test]
async fn a_user_has_a_quota_and_is_told_what_is_left_of_it() {
    let app = TestApp::with(|config| config.rates.requests_per_minute = 12, Clock::system()).await;
    let (asha, ben) = (app.customer("asha").await, app.customer("ben").await);
    let first = asha.get("/cart").await;
    first.expect(200);
    assert_eq!(first.header("ratelimit-policy"), "\"default\";q=12;w=60");
    assert_eq!(first.header("ratelimit"), "\"default\";r=11;t=5");
    let list = asha.get("/orders").await;
    assert_eq!((list.expect(200)["items"].clone(), list.header("ratelimit")), (json!([]), "\"default\";r=7;t=25"));
    let write = asha.delete("/cart/items/CABLE").await;
    write.expect(204);
    assert_eq!(write.header("ratelimit"), "\"default\";r=5;t=35");
    // A request that is answered with a problem counts, too.
    asha.get("/orders/1").await.problem(404, "not-found");
    for _ in 0..4 {
        asha.get("/cart").await.expect(200);
    }
    let refused = asha.get("/cart").await;
    assert_eq!(refused.problem(429, "rate-limited")["limit"], "default");
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit")), ("5", "\"default\";r=0;t=5"));
    assert_eq!(refused.header("ratelimit-policy"), "\"default\";q=12;w=60");
    ben.get("/cart").await.expect(200);
    for exempt in ["/livez", "/readyz", "/metrics", "/openapi.json", "/.well-known/jwks.json"] {
        let answer = asha.get(exempt).await;
        answer.expect_text(200);
        assert_eq!(answer.header("ratelimit"), "", "{exempt}");
    }
    assert_eq!(asha.metric("souk_requests_refused_total{limit=\"default\"}").await, 1);
}

#[tokio::test]
async fn an_invalid_token_is_refused_as_ever_and_reviews_have_a_quota_of_their_own() {
    let app = TestApp::with(|config| config.rates.reviews_per_hour = 4, Clock::system()).await;
    app.seller().await;
    let asha = app.customer("asha").await;
    let mut forged = asha.clone();
    forged.token = Some("forged".into());
    forged.get("/cart").await.problem(401, "unauthorized");
    let review = |rating| json!({"rating": rating, "title": "Good"});
    for rating in 1..=4 {
        let answer = asha.post("/products/CABLE/reviews", &review(rating)).await;
        assert!(answer.status.is_success(), "{answer:?}");
        assert_eq!(answer.header("ratelimit-policy"), "\"review\";q=4;w=3600");
    }
    let refused = asha.post("/products/CABLE/reviews", &review(5)).await;
    assert_eq!(refused.problem(429, "rate-limited")["limit"], "review");
    assert_eq!(refused.header("retry-after"), "900");
    let read = asha.get("/products/CABLE/reviews").await;
    read.expect(200);
    assert!(read.header("ratelimit-policy").starts_with("\"default\""), "{read:?}");
}

#[tokio::test]
async fn rates_that_are_off_limit_nothing_and_say_nothing() {
    let change = |config: &mut Config| {
        config.rates.requests_per_minute = 4;
        config.limits.rates = Switch::Off;
    };
    let app = TestApp::with(change, Clock::system()).await;
    let asha = app.customer("asha").await;
    for _ in 0..9 {
        let answer = asha.get("/cart").await;
        answer.expect(200);
        assert_eq!(answer.header("ratelimit"), "");
    }
}

#[tokio::test]
async fn anonymous_requests_and_registrations_count_by_address() {
    let change = |config: &mut Config| {
        config.rates.requests_per_minute = 12;
        config.rates.registrations_per_hour = 4;
    };
    let shop = Served::new(change).await;
    let (one, other) = (shop.from([127, 0, 1, 1]), shop.from([127, 0, 2, 1]));
    for number in 0..4 {
        for _ in 0..3 {
            assert_eq!(one.get("/products/CABLE").await.status, 200);
        }
        let new = json!({"email": format!("new-{number}@example.org"), "password": PASSWORD});
        let registered = one.post("/auth/register", new).await;
        assert_eq!((registered.status, &*registered.policy), (201, "\"registration\";q=4;w=3600"));
    }
    // The registrations took a while, in which a part of the quota came back.
    let mut refused = one.get("/products/CABLE").await;
    while refused.status == 200 {
        refused = one.get("/products/CABLE").await;
    }
    assert_eq!((refused.status, &refused.body["code"]), (429, &json!("rate-limited")));
    assert!((1..=5).contains(&refused.retry_after.unwrap()), "{:?}", refused.retry_after);
    let refused = one.post("/auth/register", json!({"email": "x@example.org", "password": PASSWORD})).await;
    assert_eq!((refused.status, &refused.body["limit"]), (429, &json!("registration")));
    assert!((800..=900).contains(&refused.retry_after.unwrap()), "{:?}", refused.retry_after);
    assert_eq!(one.log_in("new-0@example.org", PASSWORD).await.status, 200, "a quota of its own");
    assert_eq!(other.get("/products/CABLE").await.status, 200);
}

#[tokio::test]
async fn what_no_handler_answers_counts_by_address() {
    let shop = Served::new(|config| config.rates.requests_per_minute = 12).await;
    let mut last = 1;
    for (method, path, status) in [
        ("OPTIONS", "/cart", 204),
        ("GET", "/nowhere", 404),
        ("GET", "/products/CABLE/", 308),
        ("PATCH", "/cart", 405),
        ("GET", "/cart?x=1", 400),
        ("GET", "/products/%ff", 400),
    ] {
        let client = shop.from([127, 0, 1, last]);
        last += 1;
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let http = reqwest::Client::builder().local_address(IpAddr::from([127, 0, 1, last])).no_proxy();
        let http = http.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let ask = || client.answer(http.request(method.clone(), format!("{}{path}", shop.url)));
        let first = ask().await;
        assert_eq!((first.status, &*first.policy), (status, "\"default\";q=12;w=60"), "{method} {path}");
        let mut answer = first;
        for _ in 0..20 {
            answer = ask().await;
        }
        assert_eq!((answer.status, answer.retry_after.is_some()), (429, true), "{method} {path}");
        let health = client.answer(http.request(reqwest::Method::OPTIONS, format!("{}/livez", shop.url))).await;
        assert_eq!(health.status, 204, "what must always be answered is not counted");
    }
}

#[tokio::test]
async fn guesses_of_an_old_password_count_like_logins() {
    let shop = Served::new(|config| config.rates.wrong_passwords_per_hour = 4).await;
    let (thief, owner) = (shop.from([127, 0, 1, 1]), shop.from([127, 0, 2, 1]));
    let email = "seller@example.com";
    // A device that is logged in, and somebody at it who does not know the password.
    let token = thief.log_in(email, PASSWORD).await.body["access_token"].clone();
    for _ in 0..4 {
        let wrong = thief.change_password(&token, "a wrong password", "battery staple horse").await;
        assert_eq!((wrong.status, &wrong.body["code"]), (401, &json!("wrong-credentials")));
    }
    let refused = thief.change_password(&token, PASSWORD, "battery staple horse").await;
    assert_eq!((refused.status, &refused.body["limit"]), (429, &json!("password")));
    assert_eq!(refused.policy, "\"password\";q=4;w=3600, \"login\";q=600;w=60");
    assert_eq!(thief.log_in(email, PASSWORD).await.status, 429, "one count for both");
    let token = owner.log_in(email, PASSWORD).await.body["access_token"].clone();
    let changed = owner.change_password(&token, PASSWORD, "battery staple horse").await;
    assert_eq!(changed.status, 200, "{:?}", changed.body);
}

#[tokio::test]
async fn guesses_slow_the_guesser_down_and_never_the_owner() {
    let shop = Served::new(|config| config.rates.wrong_passwords_per_hour = 4).await;
    let (guesser, owner) = (shop.from([127, 0, 1, 1]), shop.from([127, 0, 2, 1]));
    let email = "seller@example.com";
    // The right password ends the count.
    for password in ["wrong", "wrong", PASSWORD, "wrong", "wrong", "wrong", "wrong"] {
        let expected = if password == PASSWORD { 200 } else { 401 };
        assert_eq!(guesser.log_in(email, password).await.status, expected);
    }
    for (spelling, password) in [(email, "wrong"), (email, PASSWORD), (" Seller@EXAMPLE.com", PASSWORD)] {
        let refused = guesser.log_in(spelling, password).await;
        assert_eq!((refused.status, &refused.body["limit"]), (429, &json!("password")), "{spelling}");
        assert_eq!(refused.policy, "\"password\";q=4;w=3600, \"login\";q=600;w=60");
        assert!((800..=900).contains(&refused.retry_after.unwrap()), "{:?}", refused.retry_after);
    }
    assert_eq!(guesser.log_in("nobody@example.com", "wrong").await.status, 401, "another account");
    assert_eq!(owner.log_in(email, PASSWORD).await.status, 200);
}

/// 150 connections guess from one address, and as many from 75 others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_keeps_nobody_from_logging_in_or_registering() {
    let shop = Served::new(|_| {}).await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut guessers = Vec::new();
    for number in 0..300_u16 {
        let host = u8::try_from(number.saturating_sub(150) / 2 + 1).unwrap();
        let (client, stop, answered) = (shop.from([127, 0, 1, host]), Arc::clone(&stop), Arc::clone(&answered));
        guessers.push(tokio::spawn(async move {
            for guess in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let status =
                    client.log_in(&format!("nobody-{number}-{guess}@example.com"), "wrong password").await.status;
                assert!([401, 429, 503, 504].contains(&status), "{status}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    while answered.load(Ordering::Relaxed) < 300 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let honest = shop.from([127, 0, 2, 1]);
    for number in 0..10 {
        assert_eq!(honest.log_in("seller@example.com", PASSWORD).await.status, 200, "login {number}");
        let new = json!({"email": format!("honest-{number}@example.org"), "password": PASSWORD});
        assert_eq!(honest.post("/auth/register", new).await.status, 201, "registration {number}");
    }
    stop.store(true, Ordering::Relaxed);
    for guesser in guessers {
        guesser.await.unwrap();
    }
}

#[tokio::test]
async fn a_body_that_no_handler_sees_counts_by_address() {
    let shop = Served::new(|config| config.rates.requests_per_minute = 12).await;
    let client = shop.from([127, 0, 1, 1]);
    let pack = format!("{}/orders/{}/pack", shop.url, "0".repeat(32));
    let ask = || client.answer(client.http.post(&pack).header("content-type", "text/plain").body("x"));
    assert_eq!(ask().await.status, 415);
    let mut last = ask().await;
    for _ in 0..20 {
        last = ask().await;
    }
    assert_eq!((last.status, last.retry_after.is_some()), (429, true));
}

#[tokio::test]
async fn a_preflight_of_an_allowed_page_counts_for_nobody() {
    let change = |config: &mut Config| {
        config.rates.requests_per_minute = 12;
        config.http.cors_origins = "https://shop.example".into();
    };
    let shop = Served::new(change).await;
    let client = shop.from([127, 0, 1, 1]);
    let ask = |origin: &str| {
        let options = client.http.request(reqwest::Method::OPTIONS, format!("{}/cart", shop.url));
        client.answer(options.header("origin", origin).header("access-control-request-method", "PUT"))
    };
    for _ in 0..30 {
        let answer = ask("https://shop.example").await;
        assert_eq!((answer.status, &*answer.policy), (204, ""));
    }
    let mut last = ask("https://other.example").await;
    for _ in 0..20 {
        last = ask("https://other.example").await;
    }
    assert_eq!(last.status, 429, "other pages have nothing to ask");
}
