//! The simulator's protocol, and the adapter that speaks it: `souk gateway-sim` is a provider of its own, behind HTTP.
//!
//! | request | answer |
//! |---|---|
//! | `POST /charges` with `Idempotency-Key`, [`ChargeBody`] | 200 [`ChargeAnswer`]; 409 where the key is known with another body |
//!
//! May depend on `domain` and its neighbours.

use futures::{FutureExt, future::BoxFuture};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use super::{
    Charge, Gateway, Unknown,
    client::{Client, ClientError},
};
use crate::domain::{money::Money, order::PaymentOutcome};

/// The header with the key of an operation.
pub const KEY_HEADER: &str = "idempotency-key";

/// What is to be charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChargeBody {
    /// How much.
    pub amount: Money,
    /// The provider's token of the payment method.
    pub method: String,
}

/// What came of a charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum ChargeAnswer {
    /// The money is captured.
    Captured {
        /// The provider's name for it.
        reference: String,
        /// What was captured.
        amount: Money,
    },
    /// Definitely not.
    Declined {
        /// Why.
        reason: String,
    },
}

impl From<PaymentOutcome> for ChargeAnswer {
    fn from(outcome: PaymentOutcome) -> Self {
        match outcome {
            PaymentOutcome::Captured { reference, amount } => Self::Captured { reference, amount },
            PaymentOutcome::Declined { reason } => Self::Declined { reason },
        }
    }
}

impl From<ChargeAnswer> for PaymentOutcome {
    fn from(answer: ChargeAnswer) -> Self {
        match answer {
            ChargeAnswer::Captured { reference, amount } => Self::Captured { reference, amount },
            ChargeAnswer::Declined { reason } => Self::Declined { reason },
        }
    }
}

/// A simulator somewhere.
pub struct Simulator(Client);

impl Simulator {
    /// The simulator at this address, whose answers may take so many milliseconds.
    ///
    /// # Errors
    /// It is no address.
    pub fn at(url: &str, answer_ms_max: u64) -> Result<Self, ClientError> {
        Client::new(url, answer_ms_max).map(Self)
    }
}

impl Gateway for Simulator {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn charge(&self, charge: Charge) -> BoxFuture<'_, Result<PaymentOutcome, Unknown>> {
        async move {
            let body = ChargeBody { amount: charge.amount, method: charge.method };
            let request = self.0.post(&["charges"]).header(KEY_HEADER, charge.key.to_string()).json(&body);
            let reply = self.0.send(request).await?;
            if reply.status != StatusCode::OK {
                return Err(Unknown { problem: format!("the simulator answered {}", reply.status) });
            }
            let answer: Result<ChargeAnswer, _> = serde_json::from_slice(&reply.body);
            answer
                .map(PaymentOutcome::from)
                .map_err(|error| Unknown { problem: format!("an unreadable answer: {error}") })
        }
        .boxed()
    }
}
