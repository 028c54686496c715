//! The history of a run: JSON Lines that `souk verify --history` reads; docs/VERIFY.md describes them.
//!
//! The shop's checker has its own types of the same format; a test of the shop compares the two.
//!
//! Depends on `parking_lot`, `serde` and `serde_json`.

use std::{fs::File, io, io::Write, path::Path, time::Instant};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

/// The version of the format.
const VERSION: u32 = 1;

/// A product and a number of units.
pub type Line = (String, u32);

/// A call of a client. A customer is identified by any text that is always the same for one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "call", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub enum Call {
    /// `GET /products/{id}/inventory`
    StockRead { product: String },
    /// `POST /cart/add_products`
    CartAdd { customer: String, items: Vec<Line> },
    /// `DELETE /cart/items/{id}`
    CartRemove { customer: String, product: String },
    /// `POST /checkout` of the whole cart. `total` is what the customer stated.
    Checkout { customer: String, total: u64 },
    /// `POST /payment`
    Pay { customer: String, order: String, method: String },
    /// `GET /orders/{id}`
    OrderRead { customer: String, order: String },
    /// `POST /orders/{id}/pack`, `/ship` or `/deliver`, by the seller or an admin.
    Advance { order: String, to: String },
}

/// What a successful answer contained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Answer {
    Stock(Stock),
    Cart(Cart),
    Order(Order),
    Payment(Payment),
    /// The request succeeded; nothing else of the answer is checked.
    Done,
}

/// A product's stock, in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Stock {
    pub received: u64,
    pub on_hand: u64,
    pub sold: u64,
    pub reserved: u64,
    pub available: u64,
}

/// A cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Cart {
    pub version: u64,
    pub lines: Vec<Line>,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Order {
    pub order: String,
    /// The customer's name in the shipping address, which the generator sets to the customer's user id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub state: String,
    pub lines: Vec<Line>,
    /// An amount as the API writes it: `{"amount": 100, "currency": "INR"}`.
    pub total: Value,
    /// Whether the order was confirmed at any time, so that its stock was sold.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sold: bool,
}

/// The result of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Payment {
    pub order: String,
    /// The order's state.
    pub state: String,
    pub attempt: u32,
    /// Whether the money is captured; otherwise the payment is pending, or a hold.
    pub captured: bool,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Ok(Answer),
    /// Refused.
    Fail(Refusal),
    /// The request may have been executed, or may be later.
    Unknown(Cause),
}

/// A refusal, in the form of the API's problems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Refusal {
    /// The status, a 4xx.
    pub status: u16,
    pub code: String,
}

/// Why the outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Cause {
    #[serde(rename = "timeout")]
    Timeout,
    /// The connection broke, or none was made.
    #[serde(rename = "reset")]
    Reset,
    /// The shop answered that it does not know the outcome.
    #[serde(rename = "5xx")]
    ServerError,
}

#[derive(Serialize)]
struct Header<'a> {
    souk_history: u32,
    shop: &'a str,
    started: String,
}

#[derive(Serialize)]
struct Begin {
    op: u64,
    client: u64,
    at: u64,
    invoke: Call,
}

#[derive(Serialize)]
struct End {
    op: u64,
    at: u64,
    #[serde(flatten)]
    outcome: Outcome,
}

/// Appends to a history. All clients of a run share it. Its lock keeps lines whole; the ends of calls may be written in
/// another order than that of their times.
#[derive(Debug)]
pub struct Log {
    started: Instant,
    open: Mutex<Appender>,
}

#[derive(Debug)]
struct Appender {
    file: File,
    next_op: u64,
}

impl Log {
    /// Begins a new history; an existing file is replaced. Lines survive the end of this process, not a power cut.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: &Path, shop: &str) -> io::Result<Self> {
        let mut file = File::create(path)?;
        let started = jiff::Timestamp::now().to_string();
        write_line(&mut file, &Header { souk_history: VERSION, shop, started })?;
        Ok(Self { started: Instant::now(), open: Mutex::new(Appender { file, next_op: 1 }) })
    }

    /// Writes that a call begins, before it is sent, and returns its number.
    ///
    /// # Errors
    /// The file cannot be written; the call must not be sent.
    pub fn invoke(&self, client: u64, call: Call) -> io::Result<u64> {
        let mut open = self.open.lock();
        let op = open.next_op;
        open.next_op += 1;
        write_line(&mut open.file, &Begin { op, client, at: self.now(), invoke: call })?;
        Ok(op)
    }

    /// Writes that a call has ended.
    ///
    /// # Errors
    /// The file cannot be written; then the call has no end.
    pub fn end(&self, op: u64, outcome: Outcome) -> io::Result<()> {
        // Taken before the lock: the time of the end must not include waiting for other writers.
        let at = self.now();
        write_line(&mut self.open.lock().file, &End { op, at, outcome })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn write_line(file: &mut File, line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)
}
