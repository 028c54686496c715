//! The port to the payment provider: what the shop needs of one, and nothing about any.
//!
//! The provider is asked under a key made of the order, the operation and the attempt, so that a repeat of an
//! unanswered request is known there and moves no more money. An answer says how far a payment has come
//! ([`PaymentState`]), or it is **unknown**: a time-out, a reset, a 5xx, an unreadable answer. An unknown one is
//! repeated with the same key and body, never with a new one.
//!
//! May depend on `domain`; knows nothing of actors.

mod breaker;
mod calls;
#[cfg(feature = "stripe")]
mod client;
pub(crate) mod fake_provider;
mod free;
pub(crate) mod guard;
#[cfg(feature = "stripe")]
pub(crate) mod signature;
#[cfg(feature = "stripe")]
pub(crate) mod stripe;

use std::fmt;

use futures::{
    FutureExt,
    future::{self, BoxFuture},
};
use serde::{Deserialize, Serialize};

#[cfg(feature = "stripe")]
pub use self::client::ClientError;
pub use crate::domain::unmatched_notices::Subject as NoticeSubject;
use crate::domain::{
    entity::Timestamp,
    ids::OrderId,
    money::Money,
    order::{About, CaptureMode, PaymentState, RefundState},
};

/// What is done with money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// It is announced, where a provider wants that first; no money moves.
    Create,
    /// It is held, and captured at once where that is wanted.
    Charge,
    /// What is held is captured.
    Capture,
    /// What is not captured is given up.
    Void,
    /// It goes back.
    Refund,
}

impl Operation {
    /// Its name in keys and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Charge => "charge",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }
}

/// The key under which a provider knows an operation: the same for every repetition of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationKey {
    /// The order.
    pub order: OrderId,
    /// What is done.
    pub operation: Operation,
    /// The attempt, which grows only after a definite answer, never after an unknown one; of a refund its number.
    pub number: u32,
}

impl fmt::Display for OperationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.order, self.operation.as_str(), self.number)
    }
}

/// An attempt to be paid: everything in it is frozen in the order before the provider is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The order.
    pub order: OrderId,
    /// The attempt.
    pub attempt: u32,
    /// How much.
    pub amount: Money,
    /// The provider's token of the payment method.
    pub method: String,
    /// When the money is to be taken.
    pub capture: CaptureMode,
    /// When it was asked for: no request for it was made before.
    pub requested_at: Timestamp,
    /// The provider's name for it, where it is known already.
    pub reference: Option<String>,
}

impl Payment {
    /// The key of an operation on it.
    #[must_use]
    pub fn key(&self, operation: Operation) -> OperationKey {
        OperationKey { order: self.order, operation, number: self.attempt }
    }
}

/// Money that is to go back: everything in it is frozen in the order before the provider is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repayment {
    /// The order.
    pub order: OrderId,
    /// The refund.
    pub number: u32,
    /// The attempt whose money it is.
    pub attempt: u32,
    /// How much.
    pub amount: Money,
    /// The provider's name for the payment.
    pub payment: String,
    /// The provider's name for the refund, where it is known already.
    pub reference: Option<String>,
}

impl Repayment {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> OperationKey {
        OperationKey { order: self.order, operation: Operation::Refund, number: self.number }
    }
}

/// A payment as the provider's books have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked {
    /// The order and the attempt that it was made for; `None` where it names none of ours.
    pub of: Option<(OrderId, u32)>,
    /// The provider's name for it.
    pub reference: String,
    /// How far it has come.
    pub state: PaymentState,
    /// How much of what was captured has gone back, in minor units. The end of a hold gives nothing back.
    pub refunded_minor: u64,
}

/// A page of the provider's books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentsPage {
    /// Payments, in the provider's order.
    pub payments: Vec<Booked>,
    /// Why payments of ours are not among them: the provider shows them in a way that is not understood.
    pub unreadable: Vec<Unknown>,
    /// What to pass as `after` for the next page; `None` at the end.
    pub next: Option<String>,
}

/// What a provider announced: a hint that there is news, which is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The provider's name for the announcement: the same for every repetition.
    pub id: String,
    /// When the provider made it.
    pub at: Timestamp,
    /// What it is about, where it is about an order of ours.
    pub of: Option<(OrderId, About)>,
    /// The provider's name for what it is about.
    pub reference: Option<String>,
    /// The provider's name for the payment in question.
    pub payment: Option<String>,
    /// The provider's word for what happened.
    pub what: String,
    /// What kind of thing happened.
    pub subject: NoticeSubject,
}

/// Why a notice is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoticeRefused {
    /// No secret is configured, so no notice can be believed.
    #[error("notices of this provider are not set up")]
    NotSetUp,
    /// The signature is missing or wrong, or too old.
    #[error("the signature does not hold: {0}")]
    Signature(&'static str),
    /// The signature holds, but the body is none of the provider's.
    #[error("the body cannot be read: {0}")]
    Unreadable(String),
}

/// Why a provider cannot be asked for an amount, which is known without asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmountRefused {
    /// It is below what the provider takes in this currency.
    #[error("the payment provider takes {least} at least")]
    TooSmall {
        /// The least amount.
        least: Money,
    },
    /// It is above what the provider can take in this currency.
    #[error("the payment provider takes {greatest} at most")]
    TooLarge {
        /// The greatest amount.
        greatest: Money,
    },
    /// The provider does not count the currency, or not so finely.
    #[error("the payment provider cannot take this amount in this currency")]
    NotSupported,
}

impl AmountRefused {
    /// The reason code of the decline that follows from it, in the manner of Stripe's codes.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooSmall { .. } => "amount_too_small",
            Self::TooLarge { .. } => "amount_too_large",
            Self::NotSupported => "amount_not_supported",
        }
    }

    /// The least or the greatest amount, where there is one.
    #[must_use]
    pub fn limit(self) -> Option<Money> {
        match self {
            Self::TooSmall { least: limit } | Self::TooLarge { greatest: limit } => Some(limit),
            Self::NotSupported => None,
        }
    }

    /// Whether it can be ordered all the same. The least amount depends on the currency of the provider's account,
    /// too, so it is the payment that says no.
    #[must_use]
    pub fn can_be_ordered(self) -> bool {
        matches!(self, Self::TooSmall { .. })
    }
}

/// The provider did not answer definitely.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the provider's answer is unknown: {problem}")]
pub struct Unknown {
    /// What was seen.
    pub problem: String,
}

impl Unknown {
    /// What was seen.
    pub fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into() }
    }
}

/// An answer that may be unknown.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Unknown>>;

/// A payment provider. Every call may be repeated, and then changes nothing more.
///
/// Two promises carry the shop's money: an attempt that was answered as declined or voided will never be charged, not
/// even by a request that is still on its way; and what is captured is captured once, whatever is repeated.
pub trait Gateway: Send + Sync + 'static {
    /// A short name for addresses, logs and metrics.
    fn name(&self) -> &'static str;

    /// The account at the provider that is asked; `None` where there is none, or it is not shown.
    ///
    /// A provider shows each account its own payments only, so that an account that has changed would make all earlier
    /// payments look as if they had never been. The shop therefore asks for it before anything else.
    fn account(&self) -> Answer<'_, Option<String>> {
        future::ready(Ok(None)).boxed()
    }

    /// Whether the provider can be asked for this amount at all; what it takes depends on the currency.
    ///
    /// # Errors
    /// [`AmountRefused`].
    fn check_amount(&self, amount: Money) -> Result<(), AmountRefused> {
        let _ = amount;
        Ok(())
    }

    /// Asks to be paid; or, where that was asked before, how far it has come.
    fn pay(&self, payment: Payment) -> Answer<'_, PaymentState>;

    /// Only asks how far a payment has come, and never begins one; `None` where the provider knows nothing of it.
    fn find(&self, payment: Payment) -> Answer<'_, Option<PaymentState>>;

    /// The payment of this name of the provider's, with what has gone back of it; `None` where the provider knows none.
    fn look_up(&self, reference: String) -> Answer<'_, Option<Booked>>;

    /// Captures what is held.
    fn capture(&self, payment: Payment) -> Answer<'_, PaymentState>;

    /// Gives up what is not captured, also where it was never heard of. The answer says what has become of it: it may
    /// be too late.
    fn void(&self, payment: Payment) -> Answer<'_, PaymentState>;

    /// Gives money back; or, where that was asked before, how far it has come.
    fn refund(&self, repayment: Repayment) -> Answer<'_, RefundState>;

    /// A page of the payments made from `since` on, before `until`.
    fn list_payments(&self, since: Timestamp, until: Timestamp, after: Option<String>) -> Answer<'_, PaymentsPage>;

    /// The header in which the provider signs its notices.
    fn signature_header(&self) -> &'static str {
        "signature"
    }

    /// What a notice says, where its signature holds. A provider that sends none keeps this implementation.
    ///
    /// # Errors
    /// [`NoticeRefused`].
    fn notice(&self, signature: &str, body: &[u8], now: Timestamp) -> Result<Notice, NoticeRefused> {
        let _ = (signature, body, now);
        Err(NoticeRefused::NotSetUp)
    }
}
