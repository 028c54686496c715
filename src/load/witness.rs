//! Writes down what was asked and answered, where a history is wanted: the checker reads it.
//!
//! Depends on `verify::history`.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::client::{Answer, Client, Fate};
use crate::verify::history::{self, Call, Cause, Outcome, Payment, Recorder, Refusal};

/// The numbers of those who call once begin here; below are customers, by their numbers.
const PASSERS_BY: u64 = 1 << 32;

/// A history under way.
pub(super) struct Witness {
    recorder: Recorder,
    next_client: AtomicU64,
    problem: Mutex<Option<String>>,
    /// Cancelled when the history cannot be written: what cannot be judged need not be asked.
    ended: CancellationToken,
}

impl Witness {
    pub(super) fn new(recorder: Recorder, ended: CancellationToken) -> Self {
        Self { recorder, next_client: AtomicU64::new(PASSERS_BY), problem: Mutex::default(), ended }
    }

    /// Why it could not be written to the end.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    fn written<T>(&self, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(error) => {
                self.ended.cancel();
                self.problem.lock().get_or_insert_with(|| error.to_string());
                None
            }
        }
    }
}

impl Client {
    /// Sends `request`, with `call` and what `read` makes of a good answer in the history. `caller` does one thing at a time;
    /// `None` is somebody who calls once.
    pub(super) async fn witnessed(
        &self,
        caller: Option<usize>,
        call: impl FnOnce() -> Call,
        read: fn(&Value) -> Option<history::Answer>,
        request: impl Future<Output = Answer>,
    ) -> Answer {
        let Some(witness) = self.witness() else { return request.await };
        let caller = match caller {
            Some(number) => number as u64,
            None => witness.next_client.fetch_add(1, Ordering::Relaxed),
        };
        let Some(op) = witness.written(witness.recorder.invoke(caller, call())) else { return Answer::not_sent() };
        let answer = request.await;
        let outcome = match (answer.fate, answer.status) {
            (Fate::TimedOut, _) => Outcome::Unknown(Cause::Timeout),
            (Fate::Broken, _) | (_, None) => Outcome::Unknown(Cause::Reset),
            (Fate::Answered, Some(status @ 400..=499)) => {
                let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
                Outcome::Fail(Refusal { status, code })
            }
            (Fate::Answered, Some(500..)) => Outcome::Unknown(Cause::ServerError),
            (Fate::Answered, Some(_)) => Outcome::Ok(read(&answer.body).unwrap_or(history::Answer::Done)),
        };
        witness.written(witness.recorder.end(op, outcome));
        answer
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn lines(items: &Value) -> Option<Vec<history::Line>> {
    let line = |item: &Value| Some((text(&item["product_id"])?, u32::try_from(item["quantity"].as_u64()?).ok()?));
    items.as_array()?.iter().map(line).collect()
}

/// The answer of `GET /cart` and of whatever changes it.
pub(super) fn cart(body: &Value) -> Option<history::Answer> {
    let cart = history::Cart { version: body["version"].as_u64()?, lines: lines(&body["items"])? };
    Some(history::Answer::Cart(cart))
}

/// The answer of a checkout and of `GET /orders/{id}`. Customers write their user id as their name.
pub(super) fn order(body: &Value) -> Option<history::Answer> {
    Some(history::Answer::Order(history::Order {
        order: text(&body["order_id"])?,
        owner: text(&body["shipping_address"]["name"]),
        state: text(&body["status"])?,
        lines: lines(&body["items"])?,
        total: serde_json::from_value(body["total"].clone()).ok()?,
        sold: body["history"].as_array()?.iter().any(|entry| entry["status"] == "confirmed"),
    }))
}

/// The answer of a payment.
pub(super) fn payment(body: &Value) -> Option<history::Answer> {
    Some(history::Answer::Payment(Payment {
        order: text(&body["order_id"])?,
        state: text(&body["order_status"])?,
        attempt: u32::try_from(body["payment"]["attempt"].as_u64()?).ok()?,
        captured: body["status"] == "success",
    }))
}

/// The answer of `GET /products/{id}/inventory`.
pub(super) fn stock(body: &Value) -> Option<history::Answer> {
    let figure = |name: &str| body[name].as_u64();
    Some(history::Answer::Stock(history::Stock {
        received: figure("received")?,
        on_hand: figure("on_hand")?,
        sold: figure("sold")?,
        reserved: figure("reserved_quantity")?,
        available: figure("available")?,
    }))
}
