//! The port to the payment provider: what the shop needs of any provider.
//!
//! Requests have a key made of the order, the operation and the attempt. So the provider recognises the repeat of an
//! unanswered request and moves no more money. An answer is the state of the payment ([`PaymentState`]), or it is
//! **unknown**: a time-out, a reset, a 5xx, an unreadable answer. After an unknown answer the request is repeated with
//! the same key and body, never with a new one.
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

/// An operation of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Announce the payment, for providers that require it. No money moves.
    Create,
    /// Hold the money, and capture it at once if the payment asks for that.
    Charge,
    /// Capture the money that is held.
    Capture,
    /// Cancel a payment that was not captured.
    Void,
    /// Refund money.
    Refund,
}

impl Operation {
    /// Its name in keys.
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

/// The idempotency key of an operation: the same for every repeat of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct OperationKey {
    pub order: OrderId,
    pub operation: Operation,
    /// The number of the attempt or refund. It grows only after a definite answer, never after an unknown one.
    pub number: u32,
}

impl fmt::Display for OperationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.order, self.operation.as_str(), self.number)
    }
}

/// A request to be paid. Its content was frozen in the order before the provider is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Payment {
    pub order: OrderId,
    pub attempt: u32,
    pub amount: Money,
    /// The provider's token of the payment method.
    pub method: String,
    /// When the money is captured.
    pub capture: CaptureMode,
    /// When it was asked for: no request for it was made before.
    pub requested_at: Timestamp,
    /// The provider's name of the payment, if it is known already.
    pub reference: Option<String>,
}

impl Payment {
    /// The idempotency key of an operation on this payment.
    #[must_use]
    pub fn key(&self, operation: Operation) -> OperationKey {
        OperationKey { order: self.order, operation, number: self.attempt }
    }
}

/// A request to refund money. Its content was frozen in the order before the provider is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Repayment {
    pub order: OrderId,
    /// The number of the refund.
    pub number: u32,
    /// The attempt whose money is refunded.
    pub attempt: u32,
    pub amount: Money,
    /// The provider's name of the payment.
    pub payment: String,
    /// The provider's name of the refund, if it is known already.
    pub reference: Option<String>,
}

impl Repayment {
    /// The idempotency key of the refund.
    #[must_use]
    pub fn key(&self) -> OperationKey {
        OperationKey { order: self.order, operation: Operation::Refund, number: self.number }
    }
}

/// A payment as the provider reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ProviderPayment {
    /// The order and the attempt for which it was made; `None` if it names no order of this shop.
    pub of: Option<(OrderId, u32)>,
    /// The provider's name of the payment.
    pub reference: String,
    pub state: PaymentState,
    /// How much of what was captured has gone back, in minor units. The end of a hold gives nothing back.
    pub refunded_minor: u64,
}

/// A page of the provider's list of payments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentsPage {
    /// Payments, in the provider's order.
    pub payments: Vec<ProviderPayment>,
    /// Why payments of ours are not among them: the provider shows them in a way that is not understood.
    pub unreadable: Vec<Unknown>,
    /// The cursor of the next page; `None` on the last page.
    pub next: Option<String>,
}

/// A notice of the provider: a hint that there is news, about which the shop then asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The provider's name of the notice: the same for every repeat.
    pub id: String,
    /// When the provider created it.
    pub at: Timestamp,
    /// What it is about, if it names an order of this shop.
    pub of: Option<(OrderId, About)>,
    /// The provider's name of the payment, refund or dispute.
    pub reference: Option<String>,
    /// The provider's name of the payment.
    pub payment: Option<String>,
    /// The provider's word for what happened.
    pub what: String,
    /// What kind of thing happened.
    pub subject: NoticeSubject,
}

/// Why a notice was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoticeRefused {
    /// No secret is configured, so no notice can be trusted.
    #[error("no webhook secret is configured for this provider")]
    NotSetUp,
    /// The signature is missing, wrong, or too old.
    #[error("the signature is not valid: {0}")]
    Signature(&'static str),
    /// The signature is right, but the body is not a notice of the provider.
    #[error("the body cannot be read: {0}")]
    Unreadable(String),
}

/// Why a provider does not accept an amount. This is known without asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum AmountRefused {
    /// It is below the provider's minimum for this currency.
    #[error("the payment provider accepts at least {least}")]
    TooSmall { least: Money },
    /// It is above the provider's maximum for this currency.
    #[error("the payment provider accepts at most {greatest}")]
    TooLarge { greatest: Money },
    /// The provider does not support the currency, or not such fractions of it.
    #[error("the payment provider does not accept this amount in this currency")]
    NotSupported,
}

impl AmountRefused {
    /// The reason code of the decline that it causes, in the style of Stripe's codes.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooSmall { .. } => "amount_too_small",
            Self::TooLarge { .. } => "amount_too_large",
            Self::NotSupported => "amount_not_supported",
        }
    }

    /// The minimum or the maximum, if that is the reason.
    #[must_use]
    pub fn limit(self) -> Option<Money> {
        match self {
            Self::TooSmall { least: limit } | Self::TooLarge { greatest: limit } => Some(limit),
            Self::NotSupported => None,
        }
    }

    /// Whether an order over this amount can be placed all the same. The minimum also depends on the currency of the
    /// provider's account, so the payment is declined instead.
    #[must_use]
    pub fn can_be_ordered(self) -> bool {
        matches!(self, Self::TooSmall { .. })
    }
}

/// The provider has no such payment method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the payment provider knows no such payment method")]
pub struct UnknownMethod;

/// The provider gave no definite answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the provider's answer is unknown: {problem}")]
pub struct Unknown {
    /// The error or the answer.
    pub problem: String,
}

impl Unknown {
    /// An unknown answer with its reason.
    pub fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into() }
    }
}

/// An answer that may be unknown.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Unknown>>;

/// A payment provider. Every call may be repeated; a repeat changes nothing more.
///
/// Two promises protect the shop's money: an attempt that was answered as declined or voided will never be charged, not
/// even by a request that is still on its way; and a payment is captured once, however often a request is repeated.
pub trait Gateway: Send + Sync + 'static {
    /// A short name for URLs, logs and metrics.
    fn name(&self) -> &'static str;

    /// The account at the provider that is asked; `None` where there is none, or it is not shown.
    ///
    /// A provider shows each account its own payments only, so that an account that has changed would make all earlier
    /// payments look as if they had never been. The shop therefore asks for it before anything else.
    fn account(&self) -> Answer<'_, Option<String>> {
        future::ready(Ok(None)).boxed()
    }

    /// Whether the provider accepts this amount at all, which depends on the currency.
    ///
    /// # Errors
    /// [`AmountRefused`].
    fn check_amount(&self, amount: Money) -> Result<(), AmountRefused> {
        let _ = amount;
        Ok(())
    }

    /// Whether the provider may know this payment method, as far as that can be said without asking it. One that is
    /// refused here uses up no attempt.
    ///
    /// # Errors
    /// [`UnknownMethod`].
    fn check_method(&self, method: &str) -> Result<(), UnknownMethod> {
        let _ = method;
        Ok(())
    }

    /// Asks for a payment. If it was asked for before, returns its state.
    fn pay(&self, payment: Payment) -> Answer<'_, PaymentState>;

    /// The state of a payment. Never starts one; `None` if the provider does not know it.
    fn find(&self, payment: Payment) -> Answer<'_, Option<PaymentState>>;

    /// The payment with this name, and how much of it was refunded; `None` if the provider does not know it.
    fn look_up(&self, reference: String) -> Answer<'_, Option<ProviderPayment>>;

    /// Captures the money that is held.
    fn capture(&self, payment: Payment) -> Answer<'_, PaymentState>;

    /// Cancels a payment that is not captured, even one that the provider has never received. Returns its state, for it
    /// may be too late.
    fn void(&self, payment: Payment) -> Answer<'_, PaymentState>;

    /// Refunds money. If it was asked for before, returns the state of the refund.
    fn refund(&self, repayment: Repayment) -> Answer<'_, RefundState>;

    /// A page of the payments created from `since` on and before `until`.
    fn list_payments(&self, since: Timestamp, until: Timestamp, after: Option<String>) -> Answer<'_, PaymentsPage>;

    /// The header that contains the signature of a notice.
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
