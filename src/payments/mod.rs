//! The port to the payment provider: what the shop needs of one, and nothing about any.
//!
//! The provider is asked under a key made of the order, the operation and the attempt, so that a repeat of an unanswered
//! request is known there and charges nothing more. An answer is definite (captured, declined) or it is **unknown**: a
//! time-out, a reset, a 5xx, an unreadable answer. An unknown one is repeated with the same key and body, never with a new one.
//!
//! May depend on `domain`; knows nothing of actors.

mod client;
pub mod simulated;
pub mod simulator;

use std::fmt;

use futures::future::BoxFuture;

pub use self::client::ClientError;
use crate::domain::{ids::OrderId, money::Money, order::PaymentOutcome};

/// The key under which a provider knows an operation: the same for every repetition of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationKey {
    /// The order.
    pub order: OrderId,
    /// The attempt; grows only after a definite decline, never after an unknown outcome.
    pub attempt: u32,
}

impl fmt::Display for OperationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:charge:{}", self.order, self.attempt)
    }
}

/// A charge: everything in it is frozen in the order before the provider is asked.
#[derive(Debug, Clone)]
pub struct Charge {
    /// Under which key.
    pub key: OperationKey,
    /// How much.
    pub amount: Money,
    /// The provider's token of the payment method.
    pub method: String,
}

/// The provider did not answer definitely.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the provider's answer is unknown: {problem}")]
pub struct Unknown {
    /// What was seen.
    pub problem: String,
}

/// A payment provider.
pub trait Gateway: Send + Sync + 'static {
    /// A short name for logs and metrics.
    fn name(&self) -> &'static str;

    /// Authorises and captures a charge. Calling it again with the same key charges nothing more and gives the same answer.
    fn charge(&self, charge: Charge) -> BoxFuture<'_, Result<PaymentOutcome, Unknown>>;
}
