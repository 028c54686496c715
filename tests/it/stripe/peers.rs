//! The Stripe adapter against other implementations of Stripe: `localstripe` (PyPI), which stores payments, and
//! `stripe-mock` (a Go module), which validates every request against Stripe's own description of its API and stores
//! nothing.
//!
//! Both are test doubles, and both lack something, so a proxy completes their answers; the types of the two say how.
//! If one cannot be installed, its tests are skipped.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::post,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use souk::{
    domain::{
        entity::Timestamp,
        ids::OrderId,
        order::{About, CaptureMode, PaymentState, RefundState},
    },
    internals::stripe::{Stripe, StripeConfig},
    payments::{Gateway, NoticeRefused, NoticeSubject, Payment, Repayment},
};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    sync::{OnceCell, mpsc},
    task::JoinHandle,
};

use super::{SECRET, config, payment, stripe_at, usd};
use crate::skipped::skip;

const LOCALSTRIPE: &str = "localstripe==1.15.10";
const STRIPE_MOCK: &str = "github.com/stripe/stripe-mock@v0.203.0";

async fn run(command: &mut Command) -> Result<(), String> {
    let ran = tokio::time::timeout(Duration::from_secs(300), command.kill_on_drop(true).output()).await;
    match ran {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it took too long".into()),
    }
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("stripe-peers")
}

async fn install_localstripe() -> Result<PathBuf, String> {
    let home = peers().join(LOCALSTRIPE);
    let program = home.join("bin/localstripe");
    if !program.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&home)).await?;
        run(Command::new(home.join("bin/pip")).args(["install", "--quiet", LOCALSTRIPE])).await?;
    }
    Ok(program)
}

async fn install_stripe_mock() -> Result<PathBuf, String> {
    let home = peers().join("stripe-mock");
    let program = home.join("stripe-mock");
    if !program.exists() {
        run(Command::new("go").args(["install", STRIPE_MOCK]).env("GOBIN", &home)).await?;
    }
    Ok(program)
}

/// A running peer. It ends with the test.
struct Peer {
    url: String,
    _child: Child,
}

impl Peer {
    /// Starts a program that takes its port as an argument, and waits for it.
    async fn start(program: &Path, arguments: impl Fn(u16) -> Vec<String>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .args(arguments(port))
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Self { url: format!("http://127.0.0.1:{port}"), _child: child };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} does not listen", program.display());
    }
}

async fn localstripe() -> Option<Peer> {
    static INSTALLED: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    match INSTALLED.get_or_init(install_localstripe).await {
        Ok(program) => {
            Some(Peer::start(program, |port| vec!["--port".into(), port.to_string(), "--from-scratch".into()]).await)
        }
        Err(why) => {
            skip("the Stripe adapter against localstripe", why);
            None
        }
    }
}

async fn stripe_mock(scheme: &str) -> Option<Peer> {
    static INSTALLED: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    match INSTALLED.get_or_init(install_stripe_mock).await {
        Ok(program) => {
            let address = format!("-{scheme}-addr");
            let arguments = |port| vec![address.clone(), format!("127.0.0.1:{port}"), "-strict-version-check".into()];
            Some(Peer::start(program, arguments).await)
        }
        Err(why) => {
            skip("the Stripe adapter against stripe-mock", why);
            None
        }
    }
}

/// Completes a request's query and the answer to it.
trait Fill: Send + Sync + 'static {
    fn query(&self, query: &str) -> String {
        query.to_owned()
    }
    fn answer(&self, status: StatusCode, path: &str, answer: &mut Value);
}

/// A proxy between the adapter and a peer, which records requests and their answers.
struct Between {
    url: String,
    log: Arc<Mutex<Vec<(String, StatusCode, Value)>>>,
    task: JoinHandle<()>,
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Passing {
    to: String,
    fill: Box<dyn Fill>,
    log: Arc<Mutex<Vec<(String, StatusCode, Value)>>>,
}

async fn pass(
    State(passing): State<Arc<Passing>>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    headers.remove("host");
    let query = passing.fill.query(uri.query().unwrap_or_default());
    let url = format!("{}{}?{query}", passing.to, uri.path());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answered = client.request(method.clone(), url).headers(headers).body(body).send().await.unwrap();
    let status = answered.status();
    let mut answer: Value = answered.json().await.unwrap_or_default();
    passing.log.lock().push((format!("{method} {}", uri.path()), status, answer.clone()));
    passing.fill.answer(status, uri.path(), &mut answer);
    (status, axum::Json(answer)).into_response()
}

impl Between {
    async fn new(to: &str, fill: impl Fill) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::default();
        let passing = Passing { to: to.to_owned(), fill: Box::new(fill), log: Arc::clone(&log) };
        let router = Router::new().fallback(pass).with_state(Arc::new(passing));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, log, task }
    }

    fn asked(&self, line: &str) -> usize {
        self.log.lock().iter().filter(|(asked, ..)| asked == line).count()
    }
}

/// localstripe does not report how much of a payment was captured or is held, reports a card error under another type,
/// and does not filter by time.
struct Localstripe;

impl Fill for Localstripe {
    fn query(&self, query: &str) -> String {
        query.split('&').filter(|part| !part.starts_with("created")).collect::<Vec<_>>().join("&")
    }

    fn answer(&self, status: StatusCode, _: &str, answer: &mut Value) {
        if status == StatusCode::PAYMENT_REQUIRED {
            answer["error"]["type"] = json!("card_error");
        }
        fill_amounts(answer);
        if let Some(data) = answer["data"].as_array_mut() {
            data.iter_mut().for_each(fill_amounts);
            // In Stripe's order.
            data.reverse();
        }
    }
}

fn fill_amounts(object: &mut Value) {
    if object["object"] == "payment_intent" {
        let amount = object["amount"].clone();
        let of = |status: &str| if object["status"] == status { amount.clone() } else { json!(0) };
        (object["amount_received"], object["amount_capturable"]) = (of("succeeded"), of("requires_capture"));
    }
}

fn named(payment: &Payment, state: &PaymentState) -> Payment {
    Payment { reference: state.reference().map(str::to_owned), ..payment.clone() }
}

fn repayment(payment: &Payment, state: &PaymentState, number: u32, minor: u64) -> Repayment {
    Repayment {
        order: payment.order,
        number,
        attempt: payment.attempt,
        amount: usd(minor),
        payment: state.reference().unwrap().to_owned(),
        reference: None,
    }
}

async fn pay(stripe: &Stripe, order: u128, method: &str, capture: CaptureMode) -> (Payment, PaymentState) {
    let asked = payment(order, method, capture);
    let state = stripe.pay(asked.clone()).await.unwrap();
    (asked, state)
}

#[tokio::test]
async fn with_localstripe_payments_are_made_captured_given_up_found_and_given_back() {
    let Some(peer) = localstripe().await else { return };
    let between = Between::new(&peer.url, Localstripe).await;
    let stripe = stripe_at(&between.url);

    let (asked, paid) = pay(&stripe, 1, "pm_card_visa", CaptureMode::AtOnce).await;
    assert!(matches!(&paid, PaymentState::Captured { amount, .. } if *amount == usd(1_299)), "{paid:?}");
    assert_eq!(stripe.pay(named(&asked, &paid)).await.unwrap(), paid);
    assert_eq!(stripe.find(asked.clone()).await.unwrap(), Some(paid.clone()), "without a search, through the newest");
    assert_eq!(stripe.find(payment(99, "", CaptureMode::AtOnce)).await.unwrap(), None);
    assert_eq!(stripe.void(named(&asked, &paid)).await.unwrap(), paid, "too late");

    let (later, held) = pay(&stripe, 2, "pm_card_visa", CaptureMode::Later).await;
    assert!(matches!(&held, PaymentState::Authorised { amount, .. } if *amount == usd(1_299)), "{held:?}");
    let later = named(&later, &held);
    let taken = stripe.capture(later.clone()).await.unwrap();
    assert!(matches!(&taken, PaymentState::Captured { amount, .. } if *amount == usd(1_299)), "{taken:?}");
    assert_eq!(stripe.capture(later).await.unwrap(), taken, "once");

    let (asked, held) = pay(&stripe, 3, "pm_card_visa", CaptureMode::Later).await;
    let voided = PaymentState::Voided { reference: held.reference().map(str::to_owned) };
    assert_eq!(stripe.void(asked.clone()).await.unwrap(), voided, "found without its name");
    assert_eq!(stripe.void(named(&asked, &held)).await.unwrap(), voided);
    assert_eq!(stripe.capture(named(&asked, &held)).await.unwrap(), voided);
    let never = stripe.void(payment(4, "pm_card_visa", CaptureMode::AtOnce)).await.unwrap();
    assert!(matches!(never, PaymentState::Voided { reference: Some(_) }), "{never:?}");

    let (_, declined) = pay(&stripe, 5, "pm_card_chargeCustomerFail", CaptureMode::AtOnce).await;
    assert_eq!(declined, PaymentState::Declined { reason: "card_declined".into() });
    let cancelled = |(line, status, intent): &(String, StatusCode, Value)| {
        line.ends_with("/cancel") && *status == 200 && intent["metadata"]["order"] == OrderId(5).to_string()
    };
    assert!(between.log.lock().iter().any(cancelled), "declined for good");

    let (asked, paid) = pay(&stripe, 6, "pm_card_visa", CaptureMode::AtOnce).await;
    let part = stripe.refund(repayment(&asked, &paid, 1, 300)).await.unwrap();
    let RefundState::Refunded { reference } = &part else { panic!("{part:?}") };
    assert_eq!(stripe.refund(repayment(&asked, &paid, 1, 300)).await.unwrap(), part, "once, even without keys");
    let by_name = Repayment { reference: Some(reference.clone()), ..repayment(&asked, &paid, 1, 300) };
    assert_eq!(stripe.refund(by_name).await.unwrap(), part);
    let rest = stripe.refund(repayment(&asked, &paid, 2, 999)).await.unwrap();
    assert!(matches!(rest, RefundState::Refunded { .. }) && rest != part);
    assert_eq!(between.asked("POST /v1/refunds"), 2);

    let page = stripe.list_payments(Timestamp(0), Timestamp(u64::MAX), None).await.unwrap();
    let line = |order: u128| page.payments.iter().find(|line| line.of == Some((OrderId(order), 2))).unwrap();
    assert_eq!((page.payments.len(), page.next.as_deref()), (6, None));
    assert_eq!((&line(6).state, line(6).refunded_minor), (&paid, 1_299));
    assert_eq!((&line(3).state, line(3).refunded_minor), (&voided, 0));

    let foreign = Stripe::new(StripeConfig { key: "pk_test_1".into(), ..config(&between.url) });
    let error = foreign.unwrap().pay(payment(7, "pm_card_visa", CaptureMode::AtOnce)).await.unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
    assert!(
        between
            .log
            .lock()
            .iter()
            .all(|(line, _, answer)| !line.contains(SECRET) && !answer.to_string().contains(SECRET))
    );
}

#[tokio::test]
async fn a_notice_that_localstripe_signed_is_accepted() {
    let Some(peer) = localstripe().await else { return };
    let between = Between::new(&peer.url, Localstripe).await;
    let stripe = stripe_at(&between.url);
    let (send, mut notices) = mpsc::unbounded_channel();
    let hear = move |headers: HeaderMap, body: Bytes| async move {
        send.send((headers["stripe-signature"].to_str().unwrap().to_owned(), body)).unwrap();
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/notices", listener.local_addr().unwrap());
    let listening = tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/notices", post(hear))).await.unwrap();
    });
    let body = json!({"url": url, "secret": "whsec_old"});
    let set =
        reqwest::Client::new().post(format!("{}/_config/webhooks/shop", peer.url)).json(&body).send().await.unwrap();
    assert_eq!(set.status(), 200);
    let (_, paid) = pay(&stripe, 1, "pm_card_visa", CaptureMode::AtOnce).await;
    let (signature, body) = tokio::time::timeout(Duration::from_secs(20), notices.recv()).await.unwrap().unwrap();
    listening.abort();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Timestamp(u64::try_from(now.as_millis()).unwrap());
    let notice = stripe.notice(&signature, &body, now).unwrap();
    assert_eq!(notice.of, Some((OrderId(1), About::Attempt(2))));
    assert_eq!((notice.what.as_str(), notice.reference.as_deref()), ("payment_intent.succeeded", paid.reference()));
    assert!(notice.at.ms_since(Timestamp(now.0 - 60_000)) > 0 && notice.subject == NoticeSubject::Payment);
    let tampered = [&body[..], b" "].concat();
    assert!(matches!(stripe.notice(&signature, &tampered, now), Err(NoticeRefused::Signature(_))));
    assert!(stripe.notice(&signature, &body, now.plus_ms(600_000)).is_err(), "too late");
}

/// stripe-mock answers with examples, whatever was requested before; the proxy replaces in them what the next step
/// needs.
struct Mock(&'static str);

impl Fill for Mock {
    fn answer(&self, _: StatusCode, path: &str, answer: &mut Value) {
        if path.contains("payment_intents/") && answer["object"] == "payment_intent" {
            answer["status"] = json!(self.0);
            answer["amount_capturable"] = json!(1_299);
        }
    }
}

#[tokio::test]
async fn every_request_is_allowed_by_stripes_own_description() {
    let Some(peer) = stripe_mock("http").await else { return };
    let mut asked = Vec::new();
    for status in ["requires_confirmation", "requires_capture", "succeeded", "canceled"] {
        let between = Between::new(&peer.url, Mock(status)).await;
        let back = Some("https://shop.example/back".to_owned());
        let stripe = Stripe::new(StripeConfig { return_url: back, ..config(&between.url) }).unwrap();
        for capture in [CaptureMode::AtOnce, CaptureMode::Later] {
            // The outcome depends on the examples.
            let unnamed = payment(1, "pm_card_visa", capture);
            let named = Payment { reference: Some("pi_1".into()), ..unnamed.clone() };
            if status == "succeeded" {
                let stood = stripe.find(named.clone()).await.unwrap();
                assert!(
                    matches!(stood, Some(PaymentState::Captured { .. })),
                    "the example of the description: {stood:?}"
                );
            }
            for payment in [unnamed, named] {
                let _ = stripe.pay(payment.clone()).await;
                let _ = stripe.find(payment.clone()).await;
                let _ = stripe.capture(payment.clone()).await;
                let _ = stripe.void(payment).await;
            }
        }
        let repayment = Repayment {
            order: OrderId(1),
            number: 1,
            attempt: 2,
            amount: usd(300),
            payment: "pi_1".into(),
            reference: None,
        };
        let _ = stripe.account().await;
        let _ = stripe.refund(repayment.clone()).await;
        let _ = stripe.refund(Repayment { reference: Some("re_1".into()), ..repayment }).await;
        let after = Some("pi_1".to_owned());
        for after in [None, after] {
            let _ = stripe.list_payments(Timestamp(1_700_000_000_000), Timestamp(1_800_000_000_000), after).await;
        }
        asked.extend(between.log.lock().drain(..));
    }
    for (line, status, answer) in &asked {
        assert_eq!(*status, StatusCode::OK, "{line}: {answer}");
    }
    let mut lines: Vec<_> = asked.iter().map(|(line, ..)| line.as_str()).collect();
    lines.sort_unstable();
    lines.dedup();
    lines.retain(|line| !line.contains("pi_") || line.contains("pi_1"));
    for line in [
        "POST /v1/payment_intents",
        "GET /v1/payment_intents",
        "GET /v1/payment_intents/search",
        "GET /v1/payment_intents/pi_1",
        "POST /v1/payment_intents/pi_1/confirm",
        "POST /v1/payment_intents/pi_1/capture",
        "POST /v1/payment_intents/pi_1/cancel",
        "POST /v1/refunds",
        "GET /v1/refunds",
        "GET /v1/refunds/re_1",
        "GET /v1/account",
    ] {
        assert!(lines.contains(&line), "{line} was not tried: {lines:?}");
    }
}

#[tokio::test]
async fn the_key_is_not_sent_to_a_server_with_an_untrusted_certificate() {
    // stripe-mock has a self-signed certificate.
    let Some(peer) = stripe_mock("https").await else { return };
    let stripe = stripe_at(&peer.url.replace("http://", "https://"));
    let error = stripe.find(payment(1, "", CaptureMode::AtOnce)).await.unwrap_err().to_string();
    assert!(error.contains("certificate") && !error.contains(SECRET), "{error}");
}
