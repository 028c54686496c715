//! The built-in simulated provider, for demos and tests: no money moves.
//!
//! | token | what happens |
//! |---|---|
//! | `tok_success` | captured |
//! | `tok_decline` | declined: `card_declined` |
//! | `tok_insufficient_funds` | declined: `insufficient_funds` |
//! | `tok_timeout_after_charge` | charged, but the first answer is lost: unknown; a repeat with the same key is told |
//! | `tok_slow` | captured after two seconds |
//! | any other | declined: `unknown_token` |
//!
//! Like a real one it has a ledger that outlives the shop's process: a file of JSON lines, one per charge, written before
//! the answer leaves. It is not synced: it stands for another company's machine, which does not lose power with ours.
//!
//! May depend on `domain`.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Charge, Gateway, Unknown};
use crate::domain::{money::Money, order::PaymentOutcome};

/// How long `tok_slow` takes, in milliseconds: longer than a shopper's request should wait.
const SLOW_MS: u64 = 2_000;

/// A line of the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LedgerLine {
    /// The order and attempt, as [`super::OperationKey`] prints them.
    pub key: String,
    /// The amount captured, or asked for where it was declined.
    pub amount: Money,
    /// The token.
    pub method: String,
    /// Why nothing was captured; `None` where it was.
    pub declined: Option<String>,
}

/// The lines of a ledger's file, as they stand there. One that was cut short by a kill or a full disk was never answered and is
/// left out.
///
/// # Errors
/// The file cannot be read.
pub fn read_ledger(path: &Path) -> io::Result<Vec<LedgerLine>> {
    let mut lines = Vec::new();
    for line in BufReader::new(File::open(path)?).lines() {
        lines.extend(serde_json::from_str::<LedgerLine>(&line?).ok());
    }
    Ok(lines)
}

/// The provider.
pub struct Simulated {
    ledger: Mutex<Ledger>,
}

struct Ledger {
    file: Option<Box<dyn Write + Send>>,
    /// What was answered under each key.
    known: HashMap<String, LedgerLine>,
}

impl Simulated {
    /// A provider whose ledger is kept in a file.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let known = match read_ledger(path) {
            Ok(lines) => lines.into_iter().map(|line| (line.key.clone(), line)).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => HashMap::new(),
            Err(error) => return Err(error),
        };
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { ledger: Mutex::new(Ledger { file: Some(Box::new(file)), known }) })
    }

    /// A provider that forgets with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { ledger: Mutex::new(Ledger { file: None, known: HashMap::new() }) }
    }

    /// All charges so far, declined ones included.
    #[must_use]
    pub fn ledger(&self) -> Vec<LedgerLine> {
        self.ledger.lock().known.values().cloned().collect()
    }

    /// Books a charge under its key, or finds it booked. `declined` declines it, whatever the token.
    ///
    /// # Errors
    /// The key is known with another charge, or the ledger cannot be written; nothing is booked then.
    pub fn book(&self, key: &str, amount: Money, method: &str, declined: Option<String>) -> Result<Booked, BookError> {
        let mut ledger = self.ledger.lock();
        if let Some(known) = ledger.known.get(key) {
            if (known.amount, known.method.as_str()) != (amount, method) {
                return Err(BookError::KeyReused);
            }
            return Ok(Booked { outcome: known.outcome(), first: First::No });
        }
        let declined = declined.or_else(|| match method {
            "tok_success" | "tok_timeout_after_charge" | "tok_slow" => None,
            "tok_decline" => Some("card_declined".to_owned()),
            "tok_insufficient_funds" => Some("insufficient_funds".to_owned()),
            _ => Some("unknown_token".to_owned()),
        });
        let line = LedgerLine { key: key.to_owned(), amount, method: method.to_owned(), declined };
        if let Some(file) = &mut ledger.file {
            let text = serde_json::to_string(&line).map_err(io::Error::from)?;
            // The end of the line before comes first: one that was cut short by a kill or a full disk is not continued.
            file.write_all(format!("\n{text}").as_bytes())?;
        }
        let outcome = line.outcome();
        ledger.known.insert(key.to_owned(), line);
        Ok(Booked { outcome, first: First::Yes })
    }
}

impl LedgerLine {
    fn outcome(&self) -> PaymentOutcome {
        match &self.declined {
            Some(reason) => PaymentOutcome::Declined { reason: reason.clone() },
            None => PaymentOutcome::Captured { reference: format!("sim_{}", self.key), amount: self.amount },
        }
    }
}

/// What a charge came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked {
    /// The answer.
    pub outcome: PaymentOutcome,
    /// Whether this was the first request with its key.
    pub first: First,
}

/// Whether a request was the first with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// It was.
    Yes,
    /// It was a repetition.
    No,
}

/// Why nothing was booked.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The key is known with another charge.
    #[error("the key was used for another charge")]
    KeyReused,
    /// The ledger cannot be written.
    #[error("the ledger: {0}")]
    Ledger(#[from] io::Error),
}

impl Gateway for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn charge(&self, charge: Charge) -> BoxFuture<'_, Result<PaymentOutcome, Unknown>> {
        async move {
            let booked = self.book(&charge.key.to_string(), charge.amount, &charge.method, None);
            let Booked { outcome, first } = booked.map_err(|error| Unknown { problem: error.to_string() })?;
            match (charge.method.as_str(), first) {
                ("tok_slow", First::Yes) => tokio::time::sleep(Duration::from_millis(SLOW_MS)).await,
                ("tok_timeout_after_charge", First::Yes) => {
                    return Err(Unknown { problem: "no answer in time (simulated)".into() });
                }
                _ => {}
            }
            Ok(outcome)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{ids::OrderId, money::Currency},
        payments::OperationKey,
    };

    fn charge(attempt: u32, method: &str) -> Charge {
        let key = OperationKey { order: OrderId(1), attempt };
        Charge { key, amount: Money::new(500, Currency::INR).unwrap(), method: method.into() }
    }

    #[tokio::test]
    async fn the_same_key_charges_once_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        let provider = Simulated::open(&path).unwrap();
        let first = provider.charge(charge(1, "tok_success")).await.unwrap();
        assert_eq!(provider.charge(charge(1, "tok_success")).await.unwrap(), first);
        let restarted = Simulated::open(&path).unwrap();
        assert_eq!(restarted.charge(charge(1, "tok_success")).await.unwrap(), first);
        assert_eq!(restarted.ledger().len(), 1);
    }

    /// A file on a disk that is full after so many bytes, once.
    struct FullOnce(File, usize);

    impl Write for FullOnce {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match std::mem::replace(&mut self.1, usize::MAX) {
                0 => Err(io::ErrorKind::StorageFull.into()),
                room => {
                    let written = self.0.write(&bytes[..bytes.len().min(room)])?;
                    self.1 = if room == usize::MAX { room } else { room - written };
                    Ok(written)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    #[tokio::test]
    async fn a_line_that_a_full_disk_cut_short_does_not_spoil_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        for room in [1, 20] {
            let file: Box<dyn Write + Send> = Box::new(FullOnce(File::create(&path).unwrap(), room));
            let provider = Simulated { ledger: Mutex::new(Ledger { file: Some(file), known: HashMap::new() }) };
            assert!(provider.charge(charge(1, "tok_success")).await.is_err());
            provider.charge(charge(2, "tok_success")).await.unwrap();
            provider.charge(charge(1, "tok_success")).await.unwrap();
            let mut keys: Vec<String> = read_ledger(&path).unwrap().into_iter().map(|line| line.key).collect();
            keys.sort_unstable();
            assert_eq!(keys, [1, 2].map(|attempt| charge(attempt, "").key.to_string()));
        }
    }

    #[tokio::test]
    async fn a_lost_answer_is_found_again_under_the_same_key() {
        let provider = Simulated::in_memory();
        assert!(provider.charge(charge(1, "tok_timeout_after_charge")).await.is_err());
        let told = provider.charge(charge(1, "tok_timeout_after_charge")).await.unwrap();
        assert!(matches!(told, PaymentOutcome::Captured { .. }));
        assert_eq!(provider.ledger().len(), 1, "charged once");
    }

    #[tokio::test]
    async fn declines_say_why() {
        let provider = Simulated::in_memory();
        let cases = [
            ("tok_decline", "card_declined"),
            ("tok_insufficient_funds", "insufficient_funds"),
            ("tok_x", "unknown_token"),
        ];
        for (attempt, (method, reason)) in (1..).zip(cases) {
            let outcome = provider.charge(charge(attempt, method)).await.unwrap();
            assert_eq!(outcome, PaymentOutcome::Declined { reason: reason.into() });
        }
    }
}
