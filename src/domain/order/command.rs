//! What an order can be asked to do.
//!
//! Depends on `std` and its neighbours.

use std::sync::Arc;

use super::{
    About, CaptureMode, EndReason, IssueKind, PaymentState, Placement, RefundRequest, RefundState, Restock,
    StockAnswer, Tracking, Units,
};
use crate::domain::{
    ids::{RequestKey, UserId},
    money::Money,
};

/// What an order can be asked to do.
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
        /// Whether the goods are sold again.
        restock: Restock,
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
