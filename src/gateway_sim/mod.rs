//! `souk gateway-sim`: a payment provider to try a shop with, as a program of its own: it moves no money, has a ledger, and fails
//! when its script says so. What it understands stands in `payments/simulator.rs`; beside that, for whoever tests:
//!
//! | request | what |
//! |---|---|
//! | `GET /ledger` | all that was ever booked, declined charges included |
//! | `GET /script`, `PUT /script` | the rules by which it fails: a list of [`Rule`] |
//! | `GET /livez` | 200 |
//!
//! May depend on `payments` and `domain`.

mod script;

use std::{io, path::Path, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::{future, stream};
use serde_json::json;

use self::script::Script;
pub use self::script::{Fault, Rule};
use crate::{
    domain::{money::Money, order::PaymentOutcome},
    payments::{
        simulated::{BookError, Booked, LedgerLine, Simulated},
        simulator::{ChargeAnswer, ChargeBody, KEY_HEADER},
    },
};

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;

struct Provider {
    books: Simulated,
    script: Script,
}

/// A provider whose ledger is kept in a file, which fails by these rules.
///
/// # Errors
/// The ledger cannot be read or written.
pub fn open(ledger: &Path, rules: Vec<Rule>) -> io::Result<Router> {
    Ok(router(Simulated::open(ledger)?, rules))
}

/// A provider over these books, which fails by these rules.
pub fn router(books: Simulated, rules: Vec<Rule>) -> Router {
    let provider = Provider { books, script: Script::default() };
    provider.script.replace(rules);
    Router::new()
        .route("/charges", post(charge))
        .route("/ledger", get(ledger))
        .route("/script", get(show_script).put(replace_script))
        .route("/livez", get(|| async { StatusCode::OK }))
        .with_state(Arc::new(provider))
}

async fn ledger(State(provider): State<Arc<Provider>>) -> Json<Vec<LedgerLine>> {
    Json(provider.books.ledger())
}

async fn show_script(State(provider): State<Arc<Provider>>) -> Json<Vec<Rule>> {
    Json(provider.script.rules())
}

async fn replace_script(State(provider): State<Arc<Provider>>, Json(rules): Json<Vec<Rule>>) -> StatusCode {
    provider.script.replace(rules);
    StatusCode::NO_CONTENT
}

async fn charge(State(provider): State<Arc<Provider>>, headers: HeaderMap, Json(body): Json<ChargeBody>) -> Response {
    let key = headers.get(KEY_HEADER).and_then(|key| key.to_str().ok()).unwrap_or_default();
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return refused(StatusCode::BAD_REQUEST, "an Idempotency-Key of 1 to 255 bytes is needed");
    }
    let rule = provider.script.next(key, &body.method);
    tokio::time::sleep(Duration::from_millis(rule.latency_ms)).await;
    match rule.fault {
        Fault::RequestLost => return broken(),
        Fault::FailsBefore => return refused(StatusCode::INTERNAL_SERVER_ERROR, "by the script"),
        Fault::TooMany => return refused(StatusCode::TOO_MANY_REQUESTS, "by the script"),
        _ => {}
    }
    let declined = (rule.fault == Fault::Declined).then(|| "by_script".to_owned());
    let outcome = match provider.books.book(key, body.amount, &body.method, declined) {
        Ok(Booked { outcome, .. }) => outcome,
        Err(problem @ BookError::KeyReused) => return refused(StatusCode::CONFLICT, &problem.to_string()),
        Err(problem) => return refused(StatusCode::INTERNAL_SERVER_ERROR, &problem.to_string()),
    };
    match (rule.fault, outcome) {
        (Fault::AnswerLost, _) => broken(),
        (Fault::Silence, _) => future::pending().await,
        (Fault::FailsAfter, _) => refused(StatusCode::INTERNAL_SERVER_ERROR, "by the script"),
        (Fault::Garbage, _) => ([(header::CONTENT_TYPE, "application/json")], "{\"status\":").into_response(),
        (Fault::WrongAmount, PaymentOutcome::Captured { reference, amount }) => {
            let amount = Money { minor: amount.minor + 1, ..amount };
            Json(ChargeAnswer::Captured { reference, amount }).into_response()
        }
        (_, outcome) => Json(ChargeAnswer::from(outcome)).into_response(),
    }
}

fn refused(status: StatusCode, problem: &str) -> Response {
    (status, Json(json!({ "problem": problem }))).into_response()
}

/// An answer that breaks off before its first byte.
fn broken() -> Response {
    let nothing = stream::iter([Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionAborted))]);
    let mut response = Response::new(Body::from_stream(nothing));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
