//! The state of the provider: all payments, refunds and disputes, computed from the entries of the ledger, and the
//! answers stored under keys.
//!
//! A change is appended to the ledger before its request is answered, all lines of a request at once. The file is not
//! synced, because it stands for another company's machine, which does not lose power together with ours. Depends on
//! `ledger` and `methods`.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io::{self, Write},
};

use crate::{
    ledger::{Capture, Effect, Entry, Line, Metadata, Money, StoredAnswer},
    methods,
};

/// The status of a payment, in Stripe's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Processing,
    RequiresCapture,
    Succeeded,
    Canceled,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::RequiresAction => "requires_action",
            Self::Processing => "processing",
            Self::RequiresCapture => "requires_capture",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
        }
    }
}

/// A payment.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) id: String,
    pub(crate) amount: Money,
    pub(crate) capture: Capture,
    /// The method that it was created with.
    pub(crate) method: String,
    pub(crate) metadata: Metadata,
    pub(crate) created_ms: u64,
    pub(crate) status: Status,
    /// The reason of a decline.
    pub(crate) declined: Option<String>,
    pub(crate) return_url: Option<String>,
    /// When it reached its status.
    pub(crate) since_ms: u64,
    pub(crate) captured: bool,
    /// Whether its money was held once.
    pub(crate) held: bool,
    pub(crate) refunded: u64,
    /// The latest dispute about it.
    pub(crate) dispute: Option<String>,
    pub(crate) refunds: Vec<String>,
}

impl Intent {
    /// The key of an operation on it in the ledger and for the script.
    pub(crate) fn key(&self, operation: &str) -> String {
        key_of(&self.metadata, &self.id, operation)
    }

    /// How much can still be refunded, in minor units; pending refunds count as refunded.
    pub(crate) fn left(&self) -> u64 {
        if self.captured { self.amount.minor.saturating_sub(self.refunded) } else { 0 }
    }
}

/// The key of an operation on a payment with this metadata and id.
pub(crate) fn key_of(metadata: &Metadata, id: &str, operation: &str) -> String {
    match (metadata.get("order"), metadata.get("attempt")) {
        (Some(order), Some(attempt)) => format!("{order}:{operation}:{attempt}"),
        _ => format!("{id}:{operation}:1"),
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Refund {
    pub(crate) id: String,
    pub(crate) payment: String,
    pub(crate) amount: Money,
    pub(crate) status: &'static str,
    pub(crate) failure: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) created_ms: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Dispute {
    pub(crate) id: String,
    pub(crate) payment: String,
    pub(crate) amount: Money,
    /// In Stripe's words, such as `needs_response` or `won`.
    pub(crate) status: String,
    pub(crate) created_ms: u64,
}

impl Dispute {
    /// Whether the bank holds the money: an inquiry takes none, and a dispute that is won returns it.
    pub(crate) fn holds_money(&self) -> bool {
        !self.status.starts_with("warning_") && self.status != "won"
    }

    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.status.as_str(), "won" | "lost" | "warning_closed")
    }
}

/// All payments, refunds and disputes.
#[derive(Default)]
pub(crate) struct Store {
    file: Option<Box<dyn Write + Send>>,
    /// Bytes to be written to the file. What a full disk did not accept stays here and is written later.
    pending: Vec<u8>,
    lines: Vec<Line>,
    intents: HashMap<String, Intent>,
    /// Payments by the order and the attempt in their metadata, oldest first.
    by_attempt: HashMap<(String, String), Vec<String>>,
    /// Payments by time; the number distinguishes those of one millisecond.
    by_time: BTreeSet<(u64, u64, String)>,
    refunds: HashMap<String, Refund>,
    disputes: HashMap<String, Dispute>,
    answers: HashMap<String, StoredAnswer>,
    /// The keys of requests in flight.
    in_use: HashSet<String>,
}

impl Store {
    /// The state after these entries.
    pub(crate) fn new(file: Option<Box<dyn Write + Send>>, entries: Vec<Entry>) -> Self {
        let mut store = Self { file, ..Self::default() };
        for entry in entries {
            match entry {
                Entry::Answer(answer) => drop(store.answers.insert(answer.idempotency_key.clone(), answer)),
                Entry::Line(line) => store.apply(line),
            }
        }
        store
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(crate) fn intent(&self, id: &str) -> Option<&Intent> {
        self.intents.get(id)
    }

    pub(crate) fn refund(&self, id: &str) -> Option<&Refund> {
        self.refunds.get(id)
    }

    /// Whether a refund does not stay as it is.
    pub(crate) fn will_change(&self, refund: &Refund) -> bool {
        let method = self.intent(&refund.payment).map(|intent| intent.method.as_str()).unwrap_or_default();
        refund.status == "pending" || (refund.status == "succeeded" && methods::fails_refunds_later(method))
    }

    pub(crate) fn dispute(&self, id: &str) -> Option<&Dispute> {
        self.disputes.get(id)
    }

    /// The payments of an attempt, oldest first.
    pub(crate) fn of_attempt(&self, order: &str, attempt: &str) -> impl DoubleEndedIterator<Item = &Intent> {
        let ids = self.by_attempt.get(&(order.to_owned(), attempt.to_owned()));
        ids.into_iter().flatten().filter_map(|id| self.intent(id))
    }

    /// All payments, newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Intent> {
        self.by_time.iter().rev().filter_map(|(_, _, id)| self.intent(id))
    }

    pub(crate) fn answer(&self, key: &str, now_ms: u64) -> Option<&StoredAnswer> {
        self.answers.get(key).filter(|answer| now_ms < answer.until_ms)
    }

    /// Marks a key as in use; `false` if it is already.
    pub(crate) fn take_key(&mut self, key: &str) -> bool {
        self.in_use.insert(key.to_owned())
    }

    pub(crate) fn free_key(&mut self, key: &str) {
        self.in_use.remove(key);
    }

    /// Records a change.
    pub(crate) fn record(&mut self, line: Line) {
        self.push(&line);
        self.apply(line);
    }

    /// Stores an answer under its key.
    pub(crate) fn store_answer(&mut self, answer: StoredAnswer) {
        self.push(&answer);
        self.answers.insert(answer.idempotency_key.clone(), answer);
    }

    fn push(&mut self, entry: &impl serde::Serialize) {
        // The newline comes first: a line that a kill cut short must not be continued.
        self.pending.push(b'\n');
        if self.file.is_some() && serde_json::to_writer(&mut self.pending, entry).is_err() {
            tracing::warn!("an entry of the ledger could not be serialised");
        }
    }

    /// Writes what was recorded to the file.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            self.pending.clear();
            return Ok(());
        };
        while !self.pending.is_empty() {
            let written = file.write(&self.pending)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.pending.drain(..written);
        }
        Ok(())
    }

    fn apply(&mut self, line: Line) {
        match line.effect {
            Effect::Created => self.create(&line),
            Effect::RefundPending | Effect::Refunded | Effect::RefundFailed => self.apply_refund(&line),
            Effect::Disputed | Effect::DisputeClosed => self.apply_dispute(&line),
            _ => self.advance(&line),
        }
        self.lines.push(line);
    }

    fn create(&mut self, line: &Line) {
        let (id, metadata) = (line.payment.clone(), line.metadata.clone());
        if let (Some(order), Some(attempt)) = (metadata.get("order"), metadata.get("attempt")) {
            self.by_attempt.entry((order.clone(), attempt.clone())).or_default().push(id.clone());
        }
        self.by_time.insert((line.at_ms, self.intents.len() as u64, id.clone()));
        let intent = Intent {
            id: id.clone(),
            amount: line.amount.clone(),
            capture: line.capture,
            method: line.method.clone(),
            metadata,
            created_ms: line.at_ms,
            status: if line.method.is_empty() { Status::RequiresPaymentMethod } else { Status::RequiresConfirmation },
            declined: None,
            return_url: None,
            since_ms: line.at_ms,
            captured: false,
            held: false,
            refunded: 0,
            dispute: None,
            refunds: Vec::new(),
        };
        self.intents.insert(id, intent);
    }

    /// A payment changes its status.
    fn advance(&mut self, line: &Line) {
        let Some(intent) = self.intents.get_mut(&line.payment) else { return };
        intent.since_ms = line.at_ms;
        intent.status = match line.effect {
            Effect::Captured => {
                intent.captured = true;
                Status::Succeeded
            }
            Effect::Held => {
                intent.held = true;
                Status::RequiresCapture
            }
            Effect::Voided => Status::Canceled,
            // What an account with an older version of the interface shows: the hold has gone back as a refund.
            Effect::Released => {
                intent.refunded = intent.amount.minor;
                Status::Canceled
            }
            Effect::Processing => Status::Processing,
            Effect::Waits => {
                intent.return_url.clone_from(&line.return_url);
                Status::RequiresAction
            }
            _ => {
                intent.declined.clone_from(&line.declined);
                Status::RequiresPaymentMethod
            }
        };
    }

    fn apply_refund(&mut self, line: &Line) {
        let (Some(id), Some(intent)) = (&line.object, self.intents.get_mut(&line.payment)) else { return };
        let before = self.refunds.get(id);
        // A pending refund is subtracted already.
        match (before.is_some(), line.effect) {
            (false, Effect::RefundPending | Effect::Refunded) => intent.refunded += line.amount.minor,
            (true, Effect::RefundFailed) => intent.refunded = intent.refunded.saturating_sub(line.amount.minor),
            _ => {}
        }
        let (metadata, created_ms) =
            before.map_or((line.metadata.clone(), line.at_ms), |refund| (refund.metadata.clone(), refund.created_ms));
        if before.is_none() {
            intent.refunds.push(id.clone());
        }
        let status = match line.effect {
            Effect::RefundPending => "pending",
            Effect::Refunded => "succeeded",
            _ => "failed",
        };
        let (payment, amount, failure) = (line.payment.clone(), line.amount.clone(), line.declined.clone());
        let refund = Refund { id: id.clone(), payment, amount, status, failure, metadata, created_ms };
        self.refunds.insert(id.clone(), refund);
    }

    fn apply_dispute(&mut self, line: &Line) {
        let (Some(id), Some(intent)) = (&line.object, self.intents.get_mut(&line.payment)) else { return };
        intent.dispute = Some(id.clone());
        let created_ms = self.disputes.get(id).map_or(line.at_ms, |dispute| dispute.created_ms);
        let (payment, amount, status) =
            (line.payment.clone(), line.amount.clone(), line.declined.clone().unwrap_or_default());
        self.disputes.insert(id.clone(), Dispute { id: id.clone(), payment, amount, status, created_ms });
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::ledger::read;

    /// A file on a disk that is full once, after this many bytes.
    struct FullOnce(File, usize);

    impl Write for FullOnce {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.1 == 0 {
                self.1 = usize::MAX;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let written = self.0.write(&bytes[..bytes.len().min(self.1)])?;
            self.1 -= if self.1 == usize::MAX { 0 } else { written };
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    fn created(id: &str) -> Line {
        Line {
            key: format!("{id}:create:1"),
            amount: Money { minor: 500, currency: "USD".into() },
            method: "tok_success".into(),
            declined: None,
            effect: Effect::Created,
            capture: Capture::AtOnce,
            at_ms: 1,
            payment: id.into(),
            object: None,
            metadata: Metadata::new(),
            return_url: None,
        }
    }

    #[test]
    fn entries_that_a_full_disk_refused_are_written_later_and_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        for room in [0, 1, 20, 300] {
            let mut store = Store::new(Some(Box::new(FullOnce(File::create(&path).unwrap(), room))), Vec::new());
            store.record(created("pi_1"));
            store.record(created("pi_2"));
            assert!(store.flush().is_err(), "{room}");
            store.flush().unwrap();
            let again = Store::new(None, read(&path).unwrap());
            assert_eq!((again.lines(), again.newest().count()), (store.lines(), 2), "{room}");
        }
    }
}
