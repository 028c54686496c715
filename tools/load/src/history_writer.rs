//! Records the calls of customers and the shop's answers, if a history is wanted.
//!
//! Depends on `answer`, `history` and `plan` and on `tokio_util`.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    answer::{Answer, NoAnswer},
    history::{self, Call, Cause, Log, Outcome, Payment, Refusal},
    plan::{LoadError, Plan},
};

/// Clients that make a single call have numbers from here on; customers have their own numbers below.
const SINGLE_CALLS: u64 = 1 << 32;

/// Writes the history of a run.
pub(crate) struct HistoryWriter {
    /// `None` where no history is wanted.
    log: Option<Log>,
    next_client: AtomicU64,
    problem: Mutex<Option<String>>,
    /// Cancelled when the history cannot be written: a run that cannot be checked need not go on.
    ended: CancellationToken,
}

impl HistoryWriter {
    pub(crate) fn create(plan: &Plan, ended: CancellationToken) -> Result<Self, LoadError> {
        let create = |path: &std::path::PathBuf| {
            let wrong =
                |error: io::Error| LoadError::File { path: path.display().to_string(), problem: error.to_string() };
            Log::create(path, &plan.url).map_err(wrong)
        };
        let log = plan.history.as_ref().map(create).transpose()?;
        Ok(Self { log, next_client: AtomicU64::new(SINGLE_CALLS), problem: Mutex::default(), ended })
    }

    /// The reason why the history is incomplete.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// Awaits `request` and writes its call before and its outcome after it. `read` takes what is checked from a
    /// successful answer. `caller` makes one call at a time; `None` makes a single call.
    pub(crate) async fn record(
        &self,
        caller: Option<usize>,
        call: impl FnOnce() -> Call,
        read: fn(&Value) -> Option<history::Answer>,
        request: impl Future<Output = Answer>,
    ) -> Answer {
        let Some(log) = &self.log else { return request.await };
        let caller = match caller {
            Some(number) => number as u64,
            None => self.next_client.fetch_add(1, Ordering::Relaxed),
        };
        let Some(op) = self.written(log.invoke(caller, call())) else { return Answer::missing(NoAnswer::NotSent) };
        let answer = request.await;
        let outcome = match answer.status {
            Err(NoAnswer::TimedOut) => Outcome::Unknown(Cause::Timeout),
            Err(_) => Outcome::Unknown(Cause::Reset),
            Ok(status @ 400..=499) => {
                let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
                Outcome::Fail(Refusal { status, code })
            }
            Ok(500..) => Outcome::Unknown(Cause::ServerError),
            Ok(_) => Outcome::Ok(read(&answer.body).unwrap_or(history::Answer::Done)),
        };
        self.written(log.end(op, outcome));
        answer
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

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn lines(items: &Value) -> Option<Vec<history::Line>> {
    let line = |item: &Value| Some((text(&item["product_id"])?, u32::try_from(item["quantity"].as_u64()?).ok()?));
    items.as_array()?.iter().map(line).collect()
}

/// Reads the answer of `GET /cart` and of the requests that change the cart.
pub(crate) fn cart(body: &Value) -> Option<history::Answer> {
    let cart = history::Cart { version: body["version"].as_u64()?, lines: lines(&body["items"])? };
    Some(history::Answer::Cart(cart))
}

/// Reads the answer of a checkout and of `GET /orders/{id}`.
pub(crate) fn order(body: &Value) -> Option<history::Answer> {
    Some(history::Answer::Order(history::Order {
        order: text(&body["order_id"])?,
        owner: text(&body["shipping_address"]["name"]),
        state: text(&body["status"])?,
        lines: lines(&body["items"])?,
        total: Some(&body["total"]).filter(|total| total.is_object())?.clone(),
        sold: body["history"].as_array()?.iter().any(|entry| entry["status"] == "confirmed"),
    }))
}

/// Reads the answer of a payment.
pub(crate) fn payment(body: &Value) -> Option<history::Answer> {
    Some(history::Answer::Payment(Payment {
        order: text(&body["order_id"])?,
        state: text(&body["order_status"])?,
        attempt: u32::try_from(body["payment"]["attempt"].as_u64()?).ok()?,
        // A hold is a success, too, and may end without a capture.
        captured: body["status"] == "success"
            && ["paid", "confirmed", "packed", "shipped", "delivered"].iter().any(|paid| body["order_status"] == *paid),
    }))
}

/// Reads the answer of `GET /products/{id}/inventory`.
pub(crate) fn stock(body: &Value) -> Option<history::Answer> {
    let figure = |name: &str| body[name].as_u64();
    Some(history::Answer::Stock(history::Stock {
        received: figure("received")?,
        on_hand: figure("on_hand")?,
        sold: figure("sold")?,
        reserved: figure("reserved_quantity")?,
        available: figure("available")?,
    }))
}
