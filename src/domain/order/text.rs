//! The texts that come with commands to an order, and the rule for them.
//!
//! Depends on `std`, `serde` and its neighbours.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Rejection;

/// A text that comes with a command to an order.
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

    /// Holds it against its rule: something printable, of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`Rejection::InvalidText`].
    pub(super) fn check(self, text: &str, bytes_max: usize) -> Result<(), Rejection> {
        let printable = text.chars().all(|character| !character.is_control());
        if text.trim().is_empty() || text.len() > bytes_max || !printable {
            return Err(Rejection::InvalidText { field: self, bytes_max });
        }
        Ok(())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
