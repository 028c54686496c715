//! Histories: what clients asked of a shop and what it answered. A run writes the file, and the checker reads it.
//!
//! JSON Lines. The first line is a header; then follows one line when a call begins and one when it ends:
//!
//! ```text
//! {"souk_history":1,"shop":"http://127.0.0.1:8080","started":"2026-11-22T21:12:48Z"}
//! {"op":17,"client":3,"at":81000,"invoke":{"call":"cart_add","customer":"c3","items":[["demo-7",2]]}}
//! {"op":17,"at":92000,"ok":{"cart":{"version":1,"lines":[["demo-7",2]]}}}
//! ```
//!
//! `op` is unique in a file, and `at` is in nanoseconds since its start, by a monotonic clock. A call ends with `ok`,
//! `fail` (a 4xx: refused) or `unknown` (a time-out, a broken connection, a 5xx: perhaps executed); a call without an
//! end is unknown, too. The clients write the file, each line in one write, so it survives whatever happens to the
//! shop.
//!
//! Depends on `domain::money` for amounts and on `clock`.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{clock::Clock, domain::money::Money};

/// The version of the format.
const VERSION: u32 = 1;
/// The longest line, in bytes: an order of 200 lines has about 20,000. A longer line is not that of a history.
const LINE_BYTES_MAX: usize = 1 << 20;

/// A product and how many of it.
pub type Line = (String, u32);

/// A client's request. A customer is named by any text that is always the same for one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub enum Call {
    /// `GET /products/{id}/inventory`
    StockRead { product: String },
    /// `POST /products/{id}/inventory/receipts`
    StockReceive {
        product: String,
        quantity: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receipt: Option<String>,
    },
    /// `POST /products/{id}/inventory/adjustments`
    StockAdjust {
        product: String,
        delta: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receipt: Option<String>,
    },
    /// `PUT /products/{id}/inventory`
    StockSet { product: String, on_hand: u64 },
    /// `GET /cart`
    CartRead { customer: String },
    /// `POST /cart/add_products`
    CartAdd {
        customer: String,
        items: Vec<Line>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// `PUT /cart/items/{id}`
    CartSet { customer: String, product: String, quantity: u32 },
    /// `DELETE /cart/items/{id}`
    CartRemove { customer: String, product: String },
    /// `POST /checkout`; without lines the whole cart. `total` is what the customer stated.
    Checkout {
        customer: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lines: Option<Vec<Line>>,
        total: u64,
    },
    /// `POST /payment`
    Pay {
        customer: String,
        order: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        method: String,
    },
    /// `POST /orders/{id}/cancel`
    Cancel { customer: String, order: String },
    /// `GET /orders/{id}`
    OrderRead { customer: String, order: String },
    /// `POST /orders/{id}/pack`, `/ship` or `/deliver`, by the seller or an admin.
    Advance { order: String, to: String },
}

/// The content of a successful answer.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    Stock(Stock),
    Cart(Cart),
    Order(Order),
    /// The result of a payment.
    Payment(Payment),
    /// Success without further content.
    Done,
}

/// A product's stock, in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Stock {
    pub received: u64,
    pub on_hand: u64,
    pub sold: u64,
    pub reserved: u64,
    pub available: u64,
}

/// A cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cart {
    /// Grows with every change.
    pub version: u64,
    /// In any order.
    pub lines: Vec<Line>,
}

/// An order.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub order: String,
    /// The customer, if the answer shows it: a client that writes its customer's name into the address reads it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The status in the words of the API.
    pub state: String,
    pub lines: Vec<Line>,
    pub total: Money,
    /// Whether its stock was sold, according to its history. If it is cancelled after that, the units return to stock.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sold: bool,
}

/// The result of a payment.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    pub order: String,
    /// The order's status.
    pub state: String,
    pub attempt: u32,
    /// Whether the money is captured; otherwise the payment is pending, or a hold.
    pub captured: bool,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Executed.
    Ok(Answer),
    /// Not executed.
    Fail(Refusal),
    /// Perhaps executed, now or later.
    Unknown(Cause),
}

/// A refusal: a problem of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The HTTP status, a 4xx.
    pub status: u16,
    /// The problem's code.
    pub code: String,
}

/// Why the outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// There was no answer in time.
    #[serde(rename = "timeout")]
    Timeout,
    /// The connection broke, or none was made.
    #[serde(rename = "reset")]
    Reset,
    /// The shop answered that the outcome is unknown, or with another 5xx.
    #[serde(rename = "5xx")]
    ServerError,
}

/// A call and its outcome.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCall {
    /// Its number in the file.
    pub op: u64,
    /// The connection or task that asked; not the customer.
    pub client: u64,
    /// When it began, in nanoseconds since the start.
    pub invoked: u64,
    /// When it ended; `None` if it did not.
    pub returned: Option<u64>,
    pub call: Call,
    /// The outcome; unknown for an op without an end.
    pub outcome: Outcome,
}

impl RecordedCall {
    /// The answer, if there is one.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Ok(answer) => Some(answer),
            Outcome::Fail(_) | Outcome::Unknown(_) => None,
        }
    }
}

/// A whole history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The shop's address.
    pub shop: String,
    /// The ops in the order in which they began.
    pub ops: Vec<RecordedCall>,
    /// Whether the last line was cut off because its writer ended. It is not among the ops.
    pub cut: bool,
}

/// Why a history cannot be read.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// A line is malformed.
    #[error("{}: line {line}: {reason}", path.display())]
    Corrupt {
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    souk_history: u32,
    shop: String,
    started: String,
}

/// A line of the file.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Row {
    op: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<u64>,
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invoke: Option<Call>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ok: Option<Answer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fail: Option<Refusal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown: Option<Cause>,
}

impl History {
    /// Reads a whole history. An unfinished last line is ignored: its writer was killed.
    ///
    /// # Errors
    /// [`HistoryError`], which names the line and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, HistoryError> {
        let unreadable = |source| HistoryError::Unreadable { path: path.to_owned(), source };
        let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
        let mut history = Self::default();
        let mut open = HashMap::new();
        let (mut number, mut line) = (0, Vec::new());
        loop {
            line.clear();
            let limited = &mut io::Read::take(&mut reader, LINE_BYTES_MAX as u64);
            if limited.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
                break;
            }
            number += 1;
            let corrupt = |reason: String| HistoryError::Corrupt { path: path.to_owned(), line: number, reason };
            if line.last() != Some(&b'\n') {
                if line.len() == LINE_BYTES_MAX {
                    return Err(corrupt(format!("it has more than {LINE_BYTES_MAX} bytes")));
                }
                history.cut = true;
                break;
            }
            if number == 1 {
                let header: Header =
                    serde_json::from_slice(&line).map_err(|error| corrupt(format!("no history begins so: {error}")))?;
                if header.souk_history != VERSION {
                    return Err(corrupt(format!("version {}, known is {VERSION}", header.souk_history)));
                }
                history.shop = header.shop;
                continue;
            }
            let row: Row = serde_json::from_slice(&line).map_err(|error| corrupt(error.to_string()))?;
            history.take(row, &mut open).map_err(corrupt)?;
        }
        if number == 0 || (number == 1 && history.cut) {
            let reason = "the file is empty".into();
            return Err(HistoryError::Corrupt { path: path.to_owned(), line: 1, reason });
        }
        Ok(history)
    }

    /// Every product whose stock was read or changed.
    pub(super) fn products(&self) -> impl Iterator<Item = String> {
        let product = |op: &RecordedCall| match &op.call {
            Call::StockRead { product }
            | Call::StockReceive { product, .. }
            | Call::StockAdjust { product, .. }
            | Call::StockSet { product, .. } => Some(product.clone()),
            _ => None,
        };
        self.ops.iter().filter_map(product)
    }

    /// Adds a line. `open` maps each op's number to its index and to whether it has ended.
    fn take(&mut self, row: Row, open: &mut HashMap<u64, (usize, bool)>) -> Result<(), String> {
        let Row { op, client, at, invoke, ok, fail, unknown } = row;
        let ends = [ok.map(Outcome::Ok), fail.map(Outcome::Fail), unknown.map(Outcome::Unknown)];
        let mut ends = ends.into_iter().flatten();
        match (invoke, ends.next(), ends.next()) {
            (Some(call), None, None) => {
                let client = client.ok_or("a call without a client")?;
                let Entry::Vacant(place) = open.entry(op) else { return Err(format!("op {op} begins twice")) };
                if self.ops.last().is_some_and(|last| last.invoked > at) {
                    return Err("it begins before the call in front of it: the time went back".into());
                }
                place.insert((self.ops.len(), false));
                let outcome = Outcome::Unknown(Cause::Reset);
                self.ops.push(RecordedCall { op, client, invoked: at, returned: None, call, outcome });
                Ok(())
            }
            (None, Some(outcome), None) => {
                let (index, ended) = open.get_mut(&op).ok_or_else(|| format!("op {op} ends before it begins"))?;
                if std::mem::replace(ended, true) {
                    return Err(format!("op {op} ends twice"));
                }
                if matches!(&outcome, Outcome::Fail(refusal) if !(400..500).contains(&refusal.status)) {
                    return Err("only a 4xx is a fail".into());
                }
                let op = &mut self.ops[*index];
                if at < op.invoked {
                    return Err("it ends before it begins".into());
                }
                (op.returned, op.outcome) = (Some(at), outcome);
                Ok(())
            }
            _ => Err("exactly one of invoke, ok, fail, unknown is needed".into()),
        }
    }
}

/// How durable each line is before the client continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Handed to the operating system: survives the end of this process.
    Written,
    /// Synced: survives a power cut.
    Synced,
}

/// Writes a history. All clients of a run share it. Its lock keeps lines whole; the ends of calls may be written in
/// another order than that of their times.
#[derive(Debug)]
pub struct Recorder {
    started: Instant,
    durability: Durability,
    open: Mutex<Appender>,
}

#[derive(Debug)]
struct Appender {
    file: File,
    next_op: u64,
}

impl Recorder {
    /// Begins a new history, replacing an existing file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: &Path, shop: &str, durability: Durability) -> io::Result<Self> {
        let mut file = File::create(path)?;
        let now = i64::try_from(Clock::system().now().0).unwrap_or(i64::MAX);
        let started = jiff::Timestamp::from_millisecond(now).map_err(io::Error::other)?.to_string();
        write_line(&mut file, &Header { souk_history: VERSION, shop: shop.to_owned(), started }, durability)?;
        Ok(Self { started: Instant::now(), durability, open: Mutex::new(Appender { file, next_op: 1 }) })
    }

    /// Records the begin of a call, before it is sent. Returns its number, which its end needs.
    ///
    /// # Errors
    /// The file cannot be written; the call must not be sent.
    pub fn invoke(&self, client: u64, call: Call) -> io::Result<u64> {
        let mut open = self.open.lock();
        let op = open.next_op;
        open.next_op += 1;
        let row = Row { op, client: Some(client), at: self.now(), invoke: Some(call), ..Row::default() };
        write_line(&mut open.file, &row, self.durability)?;
        Ok(op)
    }

    /// Records the end of a call.
    ///
    /// # Errors
    /// The file cannot be written; the call is then one without an end.
    pub fn end(&self, op: u64, outcome: Outcome) -> io::Result<()> {
        // Read before the lock is taken: the time of the end must not include the wait for it.
        let at = self.now();
        let row = match outcome {
            Outcome::Ok(answer) => Row { op, at, ok: Some(answer), ..Row::default() },
            Outcome::Fail(refusal) => Row { op, at, fail: Some(refusal), ..Row::default() },
            Outcome::Unknown(cause) => Row { op, at, unknown: Some(cause), ..Row::default() },
        };
        write_line(&mut self.open.lock().file, &row, self.durability)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn write_line(file: &mut File, line: &impl Serialize, durability: Durability) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)?;
    if durability == Durability::Synced { file.sync_data() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"souk_history":1,"shop":"http://127.0.0.1:1","started":"2026-11-22T21:12:48Z"}"#;
    const READ: &str = r#"{"op":1,"client":1,"at":5,"invoke":{"call":"stock_read","product":"a"}}"#;

    fn read(text: &str) -> Result<History, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.jsonl");
        std::fs::write(&path, text).unwrap();
        History::read(&path).map_err(|error| error.to_string().split("jsonl: ").nth(1).unwrap().to_owned())
    }

    #[test]
    fn a_written_history_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.jsonl");
        let recorder = Recorder::create(&path, "http://127.0.0.1:1", Durability::Synced).unwrap();
        let customer = || "c1".to_owned();
        let calls = [
            Call::CartAdd { customer: customer(), items: vec![("a".into(), 2)], key: Some("k".into()) },
            Call::Checkout { customer: customer(), key: None, lines: None, total: 5 },
            Call::StockAdjust { product: "a".into(), delta: -1, receipt: None },
            Call::CartRead { customer: customer() },
        ];
        let total = Money { minor: 5, currency: crate::domain::money::Currency::INR };
        let order =
            Order { order: "o".into(), owner: None, state: "placed".into(), lines: Vec::new(), total, sold: true };
        let outcomes = [
            Outcome::Ok(Answer::Cart(Cart { version: 1, lines: vec![("a".into(), 2)] })),
            Outcome::Ok(Answer::Order(order)),
            Outcome::Fail(Refusal { status: 409, code: "below-reserved".into() }),
        ];
        let ops: Vec<u64> = calls.iter().map(|call| recorder.invoke(7, call.clone()).unwrap()).collect();
        for (op, outcome) in ops.iter().zip(&outcomes) {
            recorder.end(*op, outcome.clone()).unwrap();
        }
        let history = History::read(&path).unwrap();
        assert_eq!(history.shop, "http://127.0.0.1:1");
        assert_eq!(history.ops.iter().map(|op| &op.call).collect::<Vec<_>>(), calls.iter().collect::<Vec<_>>());
        let mut expected = outcomes.to_vec();
        expected.push(Outcome::Unknown(Cause::Reset));
        assert_eq!(history.ops.iter().map(|op| op.outcome.clone()).collect::<Vec<_>>(), expected);
        assert_eq!(history.ops[3].returned, None, "an op without an end is unknown");
        assert!(history.ops.iter().all(|op| op.client == 7 && op.returned.is_none_or(|end| end >= op.invoked)));
    }

    #[test]
    fn an_unfinished_last_line_is_ignored() {
        let history = read(&format!("{HEADER}\n{READ}\n{{\"op\":1,\"at\":9,\"ok\":{{")).unwrap();
        assert!(history.cut);
        assert_eq!(history.ops[0].outcome, Outcome::Unknown(Cause::Reset));
    }

    #[test]
    fn a_malformed_line_is_refused_with_its_number() {
        let row = |row: &str| format!("{HEADER}\n{READ}\n{row}\n");
        let cases = [
            (String::new(), "line 1: the file is empty"),
            (HEADER.replace(":1,", ":2,") + "\n", "line 1: version 2"),
            (format!("{READ}\n"), "line 1: no history begins so"),
            (row("{"), "line 3: EOF"),
            (row(READ), "line 3: op 1 begins twice"),
            (row(r#"{"op":2,"at":9,"ok":"done"}"#), "line 3: op 2 ends before it begins"),
            (row(r#"{"op":1,"at":4,"ok":"done"}"#), "line 3: it ends before it begins"),
            (row(r#"{"op":1,"at":9}"#), "line 3: exactly one"),
            (row(r#"{"op":1,"at":9,"ok":"done","unknown":"reset"}"#), "line 3: exactly one"),
            (row(r#"{"op":1,"at":9,"unknown":"whatever"}"#), "line 3: unknown variant"),
            (row(r#"{"op":1,"at":9,"fail":{"status":500,"code":"fault"}}"#), "line 3: only a 4xx"),
            (row(r#"{"op":1,"at":9,"ok":"done","more":1}"#), "line 3: unknown field"),
            (row(r#"{"op":2,"at":9,"invoke":{"call":"cart_read","customer":"c"}}"#), "line 3: a call without a client"),
            (row(r#"{"op":2,"client":1,"at":4,"invoke":{"call":"cart_read","customer":"c"}}"#), "the time went back"),
            (row(r#"{"op":2,"client":1,"at":9,"invoke":{"call":"cart_read","user":"c"}}"#), "line 3: unknown field"),
            (row(r#"{"op":2,"client":1,"at":9,"invoke":{"call":"fly"}}"#), "line 3: unknown variant"),
            (format!("{HEADER}\n{}\n", "x".repeat(LINE_BYTES_MAX)), "line 2: it has more than"),
        ];
        for (text, reason) in cases {
            let error = read(&text).unwrap_err();
            assert!(error.contains(reason), "{error:?} should say {reason:?}");
        }
    }
}
