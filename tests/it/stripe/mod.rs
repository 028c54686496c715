//! The Stripe adapter against a scripted stub: which requests it sends, in which order, and how it reads every answer
//! that Stripe, or a proxy in between, may give. The stub is a test double; `peers` checks that the requests are what
//! Stripe accepts.

mod paying;
mod peers;
mod settling;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use souk::{
    domain::{
        entity::Timestamp,
        ids::OrderId,
        money::Money,
        order::{CaptureMode, PaymentState},
    },
    internals::stripe::{NAME, Stripe, StripeConfig},
    payments::{Payment, Repayment},
};
use tokio::{net::TcpListener, task::JoinHandle};

const SECRET: &str = "sk_test_verysecret";
const PI: &str = "/v1/payment_intents";
const REQUESTED_AT: Timestamp = Timestamp(1_700_000_000_000);

/// An answer of the stub.
#[derive(Clone)]
enum StubAnswer {
    Json(u16, Value),
    /// The answer that is stored under the key.
    Replay(Value),
    /// A failure of Stripe's own, as remembered under the key.
    Failed,
    Other(u16, &'static str, String),
    Elsewhere,
    Nothing,
}

struct Request {
    /// Such as `POST /v1/payment_intents`.
    line: String,
    headers: HeaderMap,
    body: String,
}

#[derive(Default)]
struct Play {
    script: VecDeque<StubAnswer>,
    seen: Vec<Request>,
}

/// A stub of Stripe. It ends with the test.
struct Stub {
    url: String,
    play: Arc<Mutex<Play>>,
    task: JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(play): State<Arc<Mutex<Play>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let says = {
        let mut play = play.lock();
        let body = String::from_utf8(body.to_vec()).unwrap();
        play.seen.push(Request { line: format!("{method} {uri}"), headers, body });
        play.script.pop_front()
    };
    match says {
        None => (StatusCode::IM_A_TEAPOT, "the script has ended").into_response(),
        Some(StubAnswer::Json(status, value)) => {
            (StatusCode::from_u16(status).unwrap(), axum::Json(value)).into_response()
        }
        Some(StubAnswer::Replay(value)) => ([("idempotent-replayed", "true")], axum::Json(value)).into_response(),
        Some(StubAnswer::Failed) => {
            let error = json!({"error": {"type": "api_error", "message": "no"}});
            (StatusCode::INTERNAL_SERVER_ERROR, [("idempotent-replayed", "true")], axum::Json(error)).into_response()
        }
        Some(StubAnswer::Other(status, kind, text)) => {
            (StatusCode::from_u16(status).unwrap(), [("content-type", kind)], text).into_response()
        }
        Some(StubAnswer::Elsewhere) => {
            (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere"), ("content-type", "application/json")], "{}")
                .into_response()
        }
        Some(StubAnswer::Nothing) => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            StatusCode::OK.into_response()
        }
    }
}

impl Stub {
    async fn new(script: impl IntoIterator<Item = StubAnswer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let play = Arc::new(Mutex::new(Play { script: script.into_iter().collect(), seen: Vec::new() }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&play));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, play, task }
    }

    fn stripe(&self) -> Stripe {
        stripe_at(&self.url)
    }

    /// The requests without their parameters. The script must be used up.
    fn asked(&self) -> Vec<String> {
        let play = self.play.lock();
        assert!(play.script.is_empty(), "{} answers of the script were not used", play.script.len());
        play.seen.iter().map(|request| request.line.split('?').next().unwrap().to_owned()).collect()
    }
}

fn config(url: &str) -> StripeConfig {
    StripeConfig {
        name: NAME,
        api_url: url.to_owned(),
        key: SECRET.into(),
        webhook_secrets: vec!["whsec_new".into(), "whsec_old".into()],
        return_url: None,
        answer_ms_max: 5_000,
    }
}

fn stripe_at(url: &str) -> Stripe {
    Stripe::new(config(url)).unwrap()
}

fn usd(minor: u64) -> Money {
    Money::new(minor, "USD".parse().unwrap()).unwrap()
}

fn payment(order: u128, method: &str, capture: CaptureMode) -> Payment {
    let (order, amount, method, requested_at) = (OrderId(order), usd(1_299), method.into(), REQUESTED_AT);
    Payment { order, attempt: 2, amount, method, capture, requested_at, reference: None }
}

fn card() -> Payment {
    payment(7, "pm_card_visa", CaptureMode::AtOnce)
}

fn known() -> Payment {
    Payment { reference: Some("pi_1".into()), ..card() }
}

fn repayment() -> Repayment {
    let (payment, amount) = ("pi_1".to_owned(), usd(300));
    Repayment { order: OrderId(7), number: 1, attempt: 2, amount, payment, reference: None }
}

fn intent(status: &str) -> Value {
    json!({"object": "payment_intent", "id": "pi_1", "status": status, "created": 1_700_000_000, "currency": "usd",
        "amount": 1_299,
        "amount_received": if status == "succeeded" { 1_299 } else { 0 },
        "amount_capturable": if status == "requires_capture" { 1_299 } else { 0 },
        "next_action": null, "last_payment_error": null, "latest_charge": null,
        "metadata": {"order": OrderId(7).to_string(), "attempt": "2"}})
}

fn with(mut value: Value, field: &str, other: Value) -> Value {
    value[field] = other;
    value
}

fn failed(status: &str) -> Value {
    with(
        intent(status),
        "last_payment_error",
        json!({"type": "card_error", "code": "card_declined", "decline_code": "do_not_honor"}),
    )
}

fn ok(value: Value) -> StubAnswer {
    StubAnswer::Json(200, value)
}

fn error(status: u16, kind: &str, code: &str, param: Option<&str>) -> StubAnswer {
    let message = format!("the key {SECRET} must not be shown");
    StubAnswer::Json(status, json!({"error": {"type": kind, "code": code, "param": param, "message": message}}))
}

fn declined() -> StubAnswer {
    let error =
        json!({"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds", "message": "no"});
    StubAnswer::Json(402, json!({"error": error}))
}

fn page(data: impl Into<Value>, has_more: bool) -> StubAnswer {
    let data: Value = data.into();
    ok(json!({"object": "list", "data": data, "has_more": has_more}))
}

fn captured() -> PaymentState {
    PaymentState::Captured { reference: "pi_1".into(), amount: usd(1_299) }
}

fn voided() -> PaymentState {
    PaymentState::Voided { reference: Some("pi_1".into()) }
}

fn refused(reason: &str) -> PaymentState {
    PaymentState::Declined { reason: reason.into() }
}
