//! What is sent to and from the simulator, as JSON. The domain's own types are stored by position and say nothing of names; these do.
//!
//! May depend on `domain`.

use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::OrderId,
    money::Money,
    order::{CaptureMode, PaymentState, RefundState},
};

/// The header with the key of an operation.
pub const KEY_HEADER: &str = "idempotency-key";
/// The header in which a notice is signed.
pub const SIGNATURE_HEADER: &str = "souk-signature";
/// The longest key, token, name and word in the protocol, in bytes.
pub const TEXT_BYTES_MAX: usize = 255;

/// An order's id as its 32 digits: JSON has no numbers of 128 bits.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::OrderId;

    pub(super) fn serialize<S: Serializer>(id: &OrderId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OrderId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What is to be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChargeBody {
    /// The order.
    #[serde(with = "as_text")]
    pub order: OrderId,
    /// The attempt.
    pub attempt: u32,
    /// How much.
    pub amount: Money,
    /// The provider's token of the payment method.
    pub method: String,
    /// When the money is to be taken.
    #[serde(default)]
    pub capture: CaptureMode,
}

/// A payment that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentBody {
    /// The order.
    #[serde(with = "as_text")]
    pub order: OrderId,
    /// The attempt.
    pub attempt: u32,
}

/// What is to be given up. The amount is for the case that it was never heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoidBody {
    /// The order.
    #[serde(with = "as_text")]
    pub order: OrderId,
    /// The attempt.
    pub attempt: u32,
    /// How much it was to be.
    pub amount: Money,
}

/// What is to go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundBody {
    /// The order.
    #[serde(with = "as_text")]
    pub order: OrderId,
    /// The refund.
    pub number: u32,
    /// The attempt whose money it is.
    pub attempt: u32,
    /// How much.
    pub amount: Money,
}

/// A refund that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundNameBody {
    /// The order.
    #[serde(with = "as_text")]
    pub order: OrderId,
    /// The refund.
    pub number: u32,
}

/// Which page of the books is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BooksBody {
    /// From then on, in milliseconds since 1970.
    pub since_ms: u64,
    /// Before then.
    pub until_ms: u64,
    /// The `next` of the page before.
    #[serde(default)]
    pub after: Option<String>,
}

/// How far a payment has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[allow(missing_docs, reason = "it is `PaymentState`, with names")]
pub enum PaymentAnswer {
    Captured { reference: String, amount: Money },
    Declined { reason: String },
    Voided { reference: Option<String> },
    Authorised { reference: String, amount: Money },
    ActionRequired { reference: String, url: String },
    Processing { reference: String },
}

impl From<PaymentState> for PaymentAnswer {
    fn from(state: PaymentState) -> Self {
        match state {
            PaymentState::Captured { reference, amount } => Self::Captured { reference, amount },
            PaymentState::Declined { reason } => Self::Declined { reason },
            PaymentState::Voided { reference } => Self::Voided { reference },
            PaymentState::Authorised { reference, amount } => Self::Authorised { reference, amount },
            PaymentState::ActionRequired { reference, url } => Self::ActionRequired { reference, url },
            PaymentState::Processing { reference } => Self::Processing { reference },
        }
    }
}

impl From<PaymentAnswer> for PaymentState {
    fn from(answer: PaymentAnswer) -> Self {
        match answer {
            PaymentAnswer::Captured { reference, amount } => Self::Captured { reference, amount },
            PaymentAnswer::Declined { reason } => Self::Declined { reason },
            PaymentAnswer::Voided { reference } => Self::Voided { reference },
            PaymentAnswer::Authorised { reference, amount } => Self::Authorised { reference, amount },
            PaymentAnswer::ActionRequired { reference, url } => Self::ActionRequired { reference, url },
            PaymentAnswer::Processing { reference } => Self::Processing { reference },
        }
    }
}

/// How far a refund has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[allow(missing_docs, reason = "it is `RefundState`, with names")]
pub enum RefundAnswer {
    Processing { reference: String },
    Refunded { reference: String },
    Failed { reason: String },
}

impl RefundAnswer {
    /// The same in the protocol; `None` for what only an operator can say.
    #[must_use]
    pub fn of(state: RefundState) -> Option<Self> {
        match state {
            RefundState::Processing { reference } => Some(Self::Processing { reference }),
            RefundState::Refunded { reference } => Some(Self::Refunded { reference }),
            RefundState::Failed { reason } => Some(Self::Failed { reason }),
            RefundState::ByHand => None,
        }
    }
}

impl From<RefundAnswer> for RefundState {
    fn from(answer: RefundAnswer) -> Self {
        match answer {
            RefundAnswer::Processing { reference } => Self::Processing { reference },
            RefundAnswer::Refunded { reference } => Self::Refunded { reference },
            RefundAnswer::Failed { reason } => Self::Failed { reason },
        }
    }
}

/// What was looked for. It says so where there is nothing: a 404 could also be of a wrong address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundAnswer<T> {
    /// What was found; `null` where it was never heard of.
    #[serde(deserialize_with = "Option::deserialize", bound(deserialize = "T: Deserialize<'de>"))]
    pub found: Option<T>,
}

/// A payment in the books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookedAnswer {
    /// The order; `None` where it is none of the shop's.
    pub order: Option<String>,
    /// The attempt.
    pub attempt: Option<u32>,
    /// The provider's name for it.
    pub reference: String,
    /// How far it has come.
    pub payment: PaymentAnswer,
    /// How much of it has gone back, in minor units.
    pub refunded_minor: u64,
}

/// A page of the books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BooksAnswer {
    /// The payments, oldest first.
    pub payments: Vec<BookedAnswer>,
    /// What to pass as `after` for the next page; `null` at the end.
    pub next: Option<String>,
}

/// A notice of something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeBody {
    /// The same for every repetition.
    pub id: String,
    /// When it happened, in seconds since 1970.
    pub created: u64,
    /// What happened: `captured`, `authorised`, `declined`, `voided`, `refunded`, `refund_failed`, `disputed`.
    pub what: String,
    /// The order, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The attempt, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The refund, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<u32>,
    /// The provider's name for what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}
