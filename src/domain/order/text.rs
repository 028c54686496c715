//! The texts in commands to an order.
//!
//! Depends on `std` and `serde`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text in a command to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Text {
    PaymentMethod,
    Carrier,
    TrackingNumber,
    Reason,
    Note,
}

impl Text {
    /// Its name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PaymentMethod => "payment_method",
            Self::Carrier => "carrier",
            Self::TrackingNumber => "tracking_number",
            Self::Reason => "reason",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
