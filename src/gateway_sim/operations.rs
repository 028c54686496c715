//! The requests of the simulator's protocol: each is checked, is in for what the script says, is done in the books, and answered.
//!
//! May depend on `payments` and `domain`.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::{future, stream};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Fault, Provider, failed, refused};
use crate::{
    domain::{
        entity::Timestamp,
        ids::OrderId,
        money::Money,
        order::{CaptureMode, PaymentState},
    },
    payments::{
        Booked, Operation, OperationKey, Payment, Repayment,
        fake_provider::{BookError, First, SLOW_MS},
        simulator::{
            BookedAnswer, BooksAnswer, BooksBody, ChargeBody, FoundAnswer, KEY_HEADER, PaymentAnswer, PaymentBody,
            RefundAnswer, RefundBody, RefundNameBody, TEXT_BYTES_MAX, VoidBody,
        },
    },
};

type At = State<Arc<Provider>>;

/// What was done, and whether for the first time.
type Done = Result<(Value, First), BookError>;

/// A request whose header and body hold.
struct Asked {
    key: OperationKey,
    method: String,
}

pub(super) async fn charge(State(provider): At, headers: HeaderMap, Json(body): Json<ChargeBody>) -> Response {
    let ChargeBody { order, attempt, amount, method, capture } = body;
    let payment = Payment { order, attempt, amount, method: method.clone(), capture, reference: None };
    let asked = Asked { key: payment.key(Operation::Charge), method };
    if let Err(response) = check(&headers, &asked, Some(amount)) {
        return *response;
    }
    let looked_after = Arc::clone(&provider);
    answer(&provider, asked, |declined| {
        let (state, first) = provider.books.book(&payment, declined)?;
        if matches!((&state, first), (PaymentState::Processing { .. }, First::Yes)) {
            looked_after.look_after(order.to_string(), attempt);
        }
        Ok((value(&PaymentAnswer::from(state)), first))
    })
    .await
}

pub(super) async fn find(State(provider): At, Json(body): Json<PaymentBody>) -> Response {
    let asked = asked(&provider, &body, Operation::Charge);
    answer(&provider, asked, |_| {
        let found = provider.books.look(&body.order.to_string(), body.attempt)?;
        Ok((value(&FoundAnswer { found: found.map(PaymentAnswer::from) }), First::No))
    })
    .await
}

pub(super) async fn capture(State(provider): At, headers: HeaderMap, Json(body): Json<PaymentBody>) -> Response {
    let asked = asked(&provider, &body, Operation::Capture);
    if let Err(response) = check(&headers, &asked, None) {
        return *response;
    }
    answer(&provider, asked, |_| {
        let state = provider.books.capture_held(&body.order.to_string(), body.attempt)?;
        Ok((value(&PaymentAnswer::from(state)), First::No))
    })
    .await
}

pub(super) async fn void(State(provider): At, headers: HeaderMap, Json(body): Json<VoidBody>) -> Response {
    let VoidBody { order, attempt, amount } = body;
    let asked = asked(&provider, &PaymentBody { order, attempt }, Operation::Void);
    if let Err(response) = check(&headers, &asked, Some(amount)) {
        return *response;
    }
    let (method, capture) = (String::new(), CaptureMode::default());
    let payment = Payment { order, attempt, amount, method, capture, reference: None };
    answer(&provider, asked, |_| Ok((value(&PaymentAnswer::from(provider.books.give_up(&payment)?)), First::No))).await
}

pub(super) async fn refund(State(provider): At, headers: HeaderMap, Json(body): Json<RefundBody>) -> Response {
    let RefundBody { order, number, attempt, amount } = body;
    let repayment = Repayment { order, number, attempt, amount, payment: String::new(), reference: None };
    let asked = Asked { key: repayment.key(), method: provider.method_of(&order.to_string(), attempt) };
    if let Err(response) = check(&headers, &asked, Some(amount)) {
        return *response;
    }
    answer(&provider, asked, |fails| {
        let (state, _) = provider.books.repay(&repayment, fails)?;
        Ok((value(&RefundAnswer::of(state)), First::No))
    })
    .await
}

pub(super) async fn find_refund(State(provider): At, Json(body): Json<RefundNameBody>) -> Response {
    let RefundNameBody { order, number } = body;
    let asked = Asked { key: OperationKey { order, operation: Operation::Refund, number }, method: String::new() };
    answer(&provider, asked, |_| {
        let found = provider.books.look_refund(&order.to_string(), number).and_then(RefundAnswer::of);
        Ok((value(&FoundAnswer { found }), First::No))
    })
    .await
}

/// The books are not scripted: what is read there is what the rest is held against.
pub(super) async fn list_payments(State(provider): At, Json(body): Json<BooksBody>) -> Response {
    let (since, until) = (Timestamp(body.since_ms), Timestamp(body.until_ms));
    let page = provider.books.page_of(since, until, body.after.as_deref());
    let payments = page.payments.into_iter().map(booked_answer);
    Json(BooksAnswer { payments: payments.collect(), next: page.next }).into_response()
}

fn booked_answer(booked: Booked) -> BookedAnswer {
    BookedAnswer {
        order: booked.of.map(|(order, _)| order.to_string()),
        attempt: booked.of.map(|(_, attempt)| attempt),
        reference: booked.reference,
        payment: booked.state.into(),
        refunded_minor: booked.refunded_minor,
    }
}

/// Not scripted, as the list is not.
pub(super) async fn look_up(State(provider): At, Json(body): Json<PaymentBody>) -> Response {
    let found = provider.books.booked(&body.order.to_string(), body.attempt).map(booked_answer);
    Json(FoundAnswer { found }).into_response()
}

fn asked(provider: &Provider, body: &PaymentBody, operation: Operation) -> Asked {
    let (order, number): (OrderId, u32) = (body.order, body.attempt);
    let method = provider.method_of(&order.to_string(), number);
    Asked { key: OperationKey { order, operation, number }, method }
}

fn value(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}

fn check(headers: &HeaderMap, asked: &Asked, amount: Option<Money>) -> Result<(), Box<Response>> {
    let key = headers.get(KEY_HEADER).and_then(|key| key.to_str().ok()).unwrap_or_default();
    if key.is_empty() || key.len() > TEXT_BYTES_MAX {
        return Err(refused(StatusCode::BAD_REQUEST, "an Idempotency-Key of 1 to 255 bytes is needed").into());
    }
    // The shop's keys say what they are for, so one on another request was used before, or will be.
    if key != asked.key.to_string() {
        return Err(refused(StatusCode::CONFLICT, &BookError::KeyReused.to_string()).into());
    }
    if amount.is_some_and(|amount| amount.minor > Money::AMOUNT_MAX) || asked.method.len() > TEXT_BYTES_MAX {
        return Err(refused(StatusCode::UNPROCESSABLE_ENTITY, "the amount is too large, or the method too long").into());
    }
    Ok(())
}

/// Does what is asked for, and answers; all in the way that the script wants. The work is told why it is to be declined, if it is.
async fn answer(provider: &Provider, asked: Asked, work: impl FnOnce(Option<String>) -> Done) -> Response {
    let Asked { key, method } = asked;
    let rule = provider.script.of_request(&key.to_string(), key.operation, &method);
    tokio::time::sleep(Duration::from_millis(rule.latency_ms)).await;
    match rule.fault {
        Fault::RequestLost => return broken(),
        Fault::FailsBefore => return refused(StatusCode::INTERNAL_SERVER_ERROR, "by the script"),
        Fault::TooMany => return refused(StatusCode::TOO_MANY_REQUESTS, "by the script"),
        _ => {}
    }
    let done = work((rule.fault == Fault::Declined).then(|| "by_script".to_owned()));
    provider.announce();
    let (mut answer, first) = match done {
        Ok(done) => done,
        Err(error) => return failed(&error),
    };
    match (method.as_str(), first) {
        ("tok_slow", First::Yes) => tokio::time::sleep(Duration::from_millis(SLOW_MS)).await,
        ("tok_timeout_after_charge", First::Yes) => return broken(),
        _ => {}
    }
    match rule.fault {
        Fault::AnswerLost => broken(),
        Fault::Silence => future::pending().await,
        Fault::FailsAfter => refused(StatusCode::INTERNAL_SERVER_ERROR, "by the script"),
        Fault::Garbage => ([(header::CONTENT_TYPE, "application/json")], "{\"status\":").into_response(),
        Fault::WrongAmount => {
            for place in ["/amount/amount", "/found/amount/amount"] {
                if let Some(amount) = answer.pointer_mut(place) {
                    *amount = json!(amount.as_u64().unwrap_or_default() + 1);
                }
            }
            Json(answer).into_response()
        }
        _ => Json(answer).into_response(),
    }
}

/// An answer that breaks off before its first byte.
fn broken() -> Response {
    let nothing = stream::iter([Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionAborted))]);
    let mut response = Response::new(Body::from_stream(nothing));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
