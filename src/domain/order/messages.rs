//! What an order can be asked and told, what can have happened to it, and why it refuses.
//!
//! Depends on `std`, `serde` and its neighbours.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ATTEMPTS_MAX, EndReason, PaymentOutcome, Placement, Status, StockAnswer, Tracking};
use crate::domain::{entity::Timestamp, ids::RequestKey, money::Money};

/// What an order can be asked, or told.
#[derive(Debug, Clone)]
pub enum Command {
    /// Make it exist.
    Place(Arc<Placement>),
    /// Its lines have left the cart.
    RecordTaken,
    /// The cart would not give the lines.
    RejectByCart(EndReason),
    /// What the inventories said, by index of the line.
    RecordStock(Vec<(u16, StockAnswer)>),
    /// The customer wants to pay: the intent, recorded before the provider is asked.
    RequestPayment {
        /// The provider's token of the payment method.
        method: String,
        /// The identity of the request.
        key: Option<RequestKey>,
    },
    /// The provider's answer is known.
    SettlePayment {
        /// To which attempt.
        attempt: u32,
        /// The answer.
        outcome: PaymentOutcome,
    },
    /// All its stock is booked as sold and its cart knows.
    RecordFulfilled,
    /// Its customer or an admin does not want it any more.
    Cancel,
    /// Its deadline may have passed.
    Expire,
    /// All its stock is released and its lines are back in the cart.
    RecordUndone,
    /// It is packed.
    Pack,
    /// It is on its way.
    Ship(Tracking),
    /// It has arrived.
    Deliver,
    /// Its customer is being erased: forget whatever says who they are.
    Erase,
}

/// What can have happened to an order. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It was placed.
    Placed(Arc<Placement>),
    /// Its lines left the cart.
    CartTaken {
        /// When.
        at: Timestamp,
    },
    /// Inventories answered.
    StockAnswered {
        /// What they said, by index of the line.
        answers: Vec<(u16, StockAnswer)>,
        /// When.
        at: Timestamp,
    },
    /// The intent to charge, durable before a byte leaves for the provider.
    PaymentRequested {
        /// The provider's token of the payment method.
        method: String,
        /// The identity of the request.
        key: Option<RequestKey>,
        /// When.
        at: Timestamp,
    },
    /// The provider answered.
    PaymentSettled {
        /// To which attempt.
        attempt: u32,
        /// The answer.
        outcome: PaymentOutcome,
        /// When.
        at: Timestamp,
    },
    /// All stock is sold: confirmed.
    Fulfilled {
        /// When.
        at: Timestamp,
    },
    /// It comes to nothing; what it holds is to be given back.
    EndBegun {
        /// Why.
        reason: EndReason,
        /// When.
        at: Timestamp,
    },
    /// All is given back.
    Ended {
        /// When.
        at: Timestamp,
    },
    /// It was packed.
    Packed {
        /// When.
        at: Timestamp,
    },
    /// It was handed to a carrier.
    Shipped {
        /// How it can be followed.
        tracking: Tracking,
        /// When.
        at: Timestamp,
    },
    /// It arrived.
    Delivered {
        /// When.
        at: Timestamp,
    },
    /// Whatever says who its customer is was forgotten.
    Erased {
        /// When.
        at: Timestamp,
    },
}

/// Why a command to an order was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no such order.
    #[error("there is no such order")]
    NotFound,
    /// The key was used with another body.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// The order cannot do that where it stands.
    #[error("the order is {}", status.as_str())]
    WrongStatus {
        /// Where it stands.
        status: Status,
    },
    /// A payment is under way, and its outcome comes first.
    #[error("payment attempt {attempt} is still pending")]
    PaymentInProgress {
        /// The attempt.
        attempt: u32,
    },
    /// It is paid already, by another request.
    #[error("the order is already paid")]
    AlreadyPaid,
    /// It was not paid in time.
    #[error("the order's deadline has passed")]
    DeadlinePassed,
    /// [`ATTEMPTS_MAX`] is reached.
    #[error("at most {ATTEMPTS_MAX} payment attempts")]
    TooManyAttempts,
    /// The provider speaks of another amount than the order.
    #[error("the provider captured {captured}, the order is over {total}")]
    AmountMismatch {
        /// What the provider says.
        captured: Money,
        /// What the order says.
        total: Money,
    },
    /// A text is empty or too long.
    #[error("{field} must be 1 to {bytes_max} bytes")]
    InvalidText {
        /// The field, as it is called in JSON.
        field: &'static str,
        /// Its limit in bytes.
        bytes_max: usize,
    },
}
