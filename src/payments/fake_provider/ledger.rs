//! The simulated provider's ledger: a file of JSON lines, one for each thing that happened to somebody's money.
//!
//! May depend on `domain`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::domain::{money::Money, order::CaptureMode};

/// What a line did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Money was taken.
    Captured,
    /// Money is held.
    Held,
    /// Nothing was taken, nor will be.
    Declined,
    /// It was given up; nothing will be taken.
    Voided,
    /// It waits for its customer.
    Waits,
    /// The provider works on it.
    Processing,
    /// Money went back.
    Refunded,
    /// Money was to go back and did not.
    RefundFailed,
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// The order, the operation and its number, as [`crate::payments::OperationKey`] prints them.
    pub key: String,
    /// The amount of the operation.
    pub amount: Money,
    /// The token; empty where the operation has none.
    pub method: String,
    /// Why nothing was captured, or nothing went back.
    pub declined: Option<String>,
    /// What it did; `None` in the ledgers of the first release, which only captured and declined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// When the money of the payment is taken.
    #[serde(default)]
    pub capture: CaptureMode,
    /// When, in milliseconds since 1970.
    #[serde(default)]
    pub at_ms: u64,
}

impl LedgerLine {
    /// What it did.
    #[must_use]
    pub fn effect(&self) -> Effect {
        let first = if self.declined.is_some() { Effect::Declined } else { Effect::Captured };
        self.effect.unwrap_or(first)
    }

    /// The order, the operation and its number.
    #[must_use]
    pub fn parts(&self) -> Option<(&str, &str, u32)> {
        let mut parts = self.key.split(':');
        match (parts.next(), parts.next(), parts.next().and_then(|number| number.parse().ok()), parts.next()) {
            (Some(order), Some(operation), Some(number), None) => Some((order, operation, number)),
            _ => None,
        }
    }
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
