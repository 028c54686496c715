//! The ledger: a line for each thing that happened to a payment, and what is stored of answers. Books are read from it
//! again.
//!
//! Depends on nothing of its crate.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use serde::{Deserialize, Serialize};

/// Texts under names, by which objects belong to orders.
pub(crate) type Metadata = BTreeMap<String, String>;

/// An amount, in Stripe's units of its currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// The amount, in hundredths for most currencies.
    #[serde(rename = "amount")]
    pub minor: u64,
    /// The code of ISO 4217, in capitals.
    pub currency: String,
}

/// When the money of a payment is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// With its confirmation.
    #[default]
    AtOnce,
    /// When it is captured; until then it is held.
    Later,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Effect {
    /// A payment was announced. No money moved; `GET /ledger` leaves it out.
    Created,
    Captured,
    Held,
    Declined,
    Voided,
    /// It waits for its customer.
    Waits,
    Processing,
    /// A refund is under way.
    RefundPending,
    Refunded,
    RefundFailed,
    Disputed,
    /// The bank has decided about a dispute; `declined` has its word, such as `lost`.
    DisputeClosed,
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The order, the operation and its number, such as `ORDER:charge:1`; the payment in place of the order where it
    /// has none.
    pub key: String,
    /// The amount of the operation.
    pub amount: Money,
    /// The payment method; empty where the operation has none.
    pub method: String,
    /// Why nothing was captured or went back, or what the bank decided.
    pub declined: Option<String>,
    /// What happened.
    pub effect: Effect,
    /// When the money of the payment is taken.
    #[serde(default)]
    pub capture: Capture,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: u64,
    /// The payment: the name of its PaymentIntent.
    pub payment: String,
    /// The name of the refund or the dispute, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The metadata of a new payment or refund.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// Where the customer of a payment that waits is to come back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
}

/// The answer that is stored under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) idempotency_key: String,
    /// The path and the parameters of the request.
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// What a line of the file is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Entry {
    Stored(Stored),
    Line(Line),
}

/// The entries of a file. A line that a kill cut short was never answered and is left out.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for line in BufReader::new(File::open(path)?).lines() {
        entries.extend(serde_json::from_str(&line?).ok());
    }
    Ok(entries)
}
