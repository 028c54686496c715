//! The ledger: a line for each change of a payment, and the stored answers. The provider's state is computed from it.
//!
//! Depends on no other file of its crate.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use serde::{Deserialize, Serialize};

/// Metadata by which objects belong to orders.
pub(crate) type Metadata = BTreeMap<String, String>;

/// An amount, in Stripe's units of its currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// In hundredths for most currencies.
    #[serde(rename = "amount")]
    pub minor: u64,
    /// The ISO 4217 code, in capitals.
    pub currency: String,
}

/// When the money of a payment is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// Together with the confirmation.
    #[default]
    AtOnce,
    /// With a separate request; until then it is held.
    Later,
}

/// The effect of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Effect {
    /// A payment was created. No money moved; `GET /ledger` leaves it out.
    Created,
    Captured,
    Held,
    Declined,
    Voided,
    /// A hold ended without the shop: it expired, or was released at the provider's own site.
    Released,
    /// It waits for an action of its customer.
    Waits,
    Processing,
    /// A refund is pending.
    RefundPending,
    Refunded,
    RefundFailed,
    Disputed,
    /// The bank has decided about a dispute; `declined` has its decision, such as `lost`.
    DisputeClosed,
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Line {
    /// The order, the operation and its number, such as `ORDER:charge:1`; the payment's id if it belongs to no order.
    pub key: String,
    /// The amount of the operation.
    pub amount: Money,
    /// The payment method; empty if the operation has none.
    pub method: String,
    /// The reason of a decline or of a failed refund, or the bank's decision.
    pub declined: Option<String>,
    pub effect: Effect,
    /// When the money of the payment is captured.
    #[serde(default)]
    pub capture: Capture,
    /// The time, in milliseconds since 1970.
    pub at_ms: u64,
    /// The id of the PaymentIntent.
    pub payment: String,
    /// The id of the refund or the dispute, if the line is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The metadata of a new payment or refund.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// Where the customer of a payment that waits returns to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
}

/// The answer that is stored under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredAnswer {
    pub(crate) idempotency_key: String,
    /// The path and the parameters of the request.
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) body: String,
    /// When it is forgotten, in milliseconds since 1970.
    pub(crate) until_ms: u64,
}

/// A line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Entry {
    Answer(StoredAnswer),
    Line(Line),
}

/// Reads the entries of a file. A line that a kill cut short is left out: its request was never answered.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for line in BufReader::new(File::open(path)?).lines() {
        entries.extend(serde_json::from_str(&line?).ok());
    }
    Ok(entries)
}
