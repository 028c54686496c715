//! What an order can be asked and told, what can have happened to it, and why it refuses.
//!
//! Depends on `std`, `serde` and its neighbours.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    ATTEMPTS_MAX, CaptureMode, EndReason, IssueKind, PaymentState, Placement, REFUNDS_MAX, RETURNS_MAX, Refund,
    RefundRequest, RefundState, Status, StockAnswer, Text, Tracking, Units,
};
use crate::domain::{
    entity::Timestamp,
    idempotency::KeyReused,
    ids::{RequestKey, UserId},
    money::Money,
};

/// What a provider's notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum About {
    /// An attempt to pay, by its number.
    Attempt(u32),
    /// A refund, by its number.
    Refund(u32),
    /// What has gone back of an attempt, also where the shop did not ask for it.
    Refunds(u32),
}

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
        /// When the money is to be taken.
        capture: CaptureMode,
    },
    /// How far a payment has come: what the provider said, to whomever asked.
    AdvancePayment {
        /// Which attempt.
        attempt: u32,
        /// What the provider said.
        state: PaymentState,
    },
    /// The seller wants what is held.
    Capture,
    /// The customer wants to pay otherwise: the attempt that waits for them is given up.
    AbandonPayment,
    /// There may be news: the provider is to be asked.
    Notify {
        /// Of what.
        about: About,
        /// Hash of the provider's name for its notice, where one said so: a repetition changes nothing.
        notice: Option<u64>,
    },
    /// Money is to go back.
    Refund(RefundRequest),
    /// The shop itself owes money: for a stray, or because the order is cancelled.
    RefundOwed,
    /// A refund that failed is to be tried again.
    RetryRefund {
        /// Which.
        number: u32,
        /// Who asks.
        by: UserId,
    },
    /// How far a refund has come: what the provider said, to whomever asked.
    AdvanceRefund {
        /// Which.
        number: u32,
        /// What the provider said.
        state: RefundState,
    },
    /// How much of an attempt's money the provider has given back in all, whoever asked for that.
    RecordRefunded {
        /// Which attempt.
        attempt: u32,
        /// In minor units of its currency.
        refunded_minor: u64,
    },
    /// The units of a refund are back in stock.
    RecordRestocked {
        /// Which refund.
        number: u32,
    },
    /// The customer wants to send goods back.
    RequestReturn {
        /// What.
        lines: Units,
        /// Why.
        reason: String,
        /// The identity of the request: with it, a repeat asks for nothing more.
        key: Option<RequestKey>,
    },
    /// The goods of a return are back; their money goes back, too.
    ReceiveReturn {
        /// Which.
        number: u32,
        /// Whether they are to be sold again.
        restock: bool,
        /// Who says so.
        by: UserId,
    },
    /// A return is not taken.
    RejectReturn {
        /// Which.
        number: u32,
        /// Why.
        note: String,
    },
    /// Something does not resolve itself.
    RaiseIssue {
        /// What.
        kind: IssueKind,
        /// Hash of the provider's name for its notice, where one said so: a repetition changes nothing.
        notice: Option<u64>,
    },
    /// These issues are settled: an operator says so, or (`None`) the shop has seen it.
    ResolveIssues {
        /// Which, by their numbers.
        issues: Vec<u32>,
        /// Who.
        by: Option<UserId>,
        /// What they did.
        note: String,
    },
    /// A payment of another amount than the order's is taken as it is, so that it can be refunded.
    TakeBack {
        /// Which attempt.
        attempt: u32,
        /// The provider's name for it.
        reference: String,
        /// What it took.
        captured: Money,
    },
    /// All its stock is booked as sold and its cart knows.
    RecordFulfilled,
    /// Its customer or an admin does not want it any more.
    Cancel,
    /// Its deadline may have passed.
    Expire,
    /// All its stock is released and its lines are back in the cart.
    RecordUndone,
    /// Nothing is left to give back, or an operator has to see to it.
    Finish,
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
    /// The provider said how far a payment has come.
    PaymentAdvanced {
        /// Which attempt.
        attempt: u32,
        /// What it said.
        state: PaymentState,
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
    /// The intent to hold the money and to capture it later, durable before a byte leaves for the provider.
    AuthorisationRequested {
        /// The provider's token of the payment method.
        method: String,
        /// The identity of the request.
        key: Option<RequestKey>,
        /// When.
        at: Timestamp,
    },
    /// The intent to capture what is held.
    CaptureRequested {
        /// Of which attempt.
        attempt: u32,
        /// When.
        at: Timestamp,
    },
    /// The intent to give up an attempt; the order goes on.
    VoidRequested {
        /// Which.
        attempt: u32,
        /// When.
        at: Timestamp,
    },
    /// The provider captured what cannot pay the order: it had declined or voided the attempt, or it took another amount.
    StrayCaptured {
        /// Which attempt.
        attempt: u32,
        /// The provider's name for it.
        reference: String,
        /// What it took.
        amount: Money,
        /// When.
        at: Timestamp,
    },
    /// The provider announced news, about which it is to be asked.
    Notified {
        /// Of what.
        about: About,
        /// Hash of the provider's name for the notice, where it was one.
        notice: Option<u64>,
        /// When.
        at: Timestamp,
    },
    /// The provider was asked after a notice, and said what was known.
    NothingNew {
        /// Of what.
        about: About,
        /// When.
        at: Timestamp,
    },
    /// The intent to refund, durable before a byte leaves for the provider.
    RefundRequested {
        /// The refund.
        refund: Refund,
    },
    /// The provider said how far a refund has come.
    RefundAdvanced {
        /// Which.
        number: u32,
        /// What it said.
        state: RefundState,
        /// When.
        at: Timestamp,
    },
    /// The units of a refund are back in stock.
    Restocked {
        /// Which refund.
        number: u32,
        /// When.
        at: Timestamp,
    },
    /// The customer wants to send goods back.
    ReturnRequested {
        /// What.
        lines: Units,
        /// Why.
        reason: String,
        /// The identity of the request.
        key: Option<RequestKey>,
        /// When.
        at: Timestamp,
    },
    /// The goods of a return are back, and their money is to go back.
    ReturnReceived {
        /// Which return.
        number: u32,
        /// The refund.
        refund: Refund,
    },
    /// A return is not taken.
    ReturnRejected {
        /// Which.
        number: u32,
        /// Why.
        note: String,
        /// When.
        at: Timestamp,
    },
    /// All its stock is released and its lines are back in the cart; money is still on its way back.
    Undone {
        /// When.
        at: Timestamp,
    },
    /// An operator has to look at it.
    IssueRaised {
        /// What is wrong.
        kind: IssueKind,
        /// Hash of the provider's name for the notice that said so, where one did.
        notice: Option<u64>,
        /// When.
        at: Timestamp,
    },
    /// Problems are settled.
    IssuesResolved {
        /// Which, by their numbers.
        issues: Vec<u32>,
        /// By whom; `None` where it has resolved itself.
        by: Option<UserId>,
        /// What was done.
        note: String,
        /// When.
        at: Timestamp,
    },
    /// Money was refunded at the provider's own site; the order counts it as its own refund from now on.
    RefundedElsewhere {
        /// The refund.
        refund: Refund,
    },
}

/// Why a command to an order was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
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
    /// Nothing that was asked for is left to refund.
    #[error("nothing of it is left to refund")]
    NothingToRefund,
    /// More was asked for than is left.
    #[error("only {left} of it are left")]
    MoreThanLeft {
        /// Units.
        left: u32,
    },
    /// All of its money was refunded at the provider's own site.
    #[error("its money was given back at the provider: cancel the order instead")]
    RefundedElsewhere,
    /// A refund of everything before it is sent is a cancellation.
    #[error("nothing would be left to send: cancel the order instead")]
    CancelInstead,
    /// One refund at a time.
    #[error("a refund is under way")]
    RefundInProgress,
    /// [`REFUNDS_MAX`] or [`RETURNS_MAX`] is reached.
    #[error("at most {REFUNDS_MAX} refunds and {RETURNS_MAX} returns")]
    TooManyRefunds,
    /// There is no such return.
    #[error("there is no such return")]
    NoSuchReturn,
    /// None of its issues is one that this settles.
    #[error("no issue of the order is settled by this")]
    NothingToResolve,
    /// The return is received or rejected already.
    #[error("the return is decided already")]
    ReturnDecided,
    /// A text is empty or too long.
    #[error("{field} must be 1 to {bytes_max} bytes")]
    InvalidText {
        /// The field, as it is called in JSON.
        field: Text,
        /// Its limit in bytes.
        bytes_max: usize,
    },
}

impl From<KeyReused> for Rejection {
    fn from(KeyReused: KeyReused) -> Self {
        Self::KeyReused
    }
}
