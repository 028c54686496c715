//! The commands to an order. The list is flat, where the events are nested by part: commands are not stored, and
//! `Order::decide` is the one place that says which part decides which.
//!
//! Depends on `std` and its neighbours.

use std::sync::Arc;

use super::{
    About, CaptureMode, EndReason, IssueKind, PaymentState, Placement, RefundRequest, RefundState, Restock,
    StockAnswer, Tracking, Units,
};
use crate::domain::ids::{RequestKey, UserId};

/// A command to an order.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Command {
    /// Place the order.
    Place(Arc<Placement>),
    /// The lines have left the cart.
    RecordTaken,
    /// The cart has rejected the order.
    RejectByCart(EndReason),
    /// The inventories' answers, by index of the line.
    RecordStock(Vec<(u16, StockAnswer)>),
    /// The customer wants to pay. This intent is recorded before the provider is asked.
    RequestPayment {
        /// The provider's token of the payment method.
        method: String,
        /// The identity of the request.
        key: Option<RequestKey>,
        /// When the money is to be captured.
        capture: CaptureMode,
    },
    /// The provider said how far a payment has come: in an answer, a notice or a reconciliation.
    AdvancePayment {
        attempt: u32,
        state: PaymentState,
    },
    /// The seller wants to capture the money that is held.
    Capture,
    /// The customer wants to pay in another way: void the attempt that waits for them.
    AbandonPayment,
    /// There may be news, so the provider has to be asked.
    Notify {
        about: About,
        /// Hash of the provider's name of its notice, if there was one: a repeat changes nothing.
        notice: Option<u64>,
    },
    /// Refund a part of the order, or all of it.
    Refund(RefundRequest),
    /// Refund what the shop itself owes: a stray, or the payment of a cancelled order.
    RefundOwed,
    /// Retry a refund that failed.
    RetryRefund {
        number: u32,
        by: UserId,
    },
    /// The provider said how far a refund has come: in an answer, a notice or a reconciliation.
    AdvanceRefund {
        number: u32,
        state: RefundState,
    },
    /// How much of an attempt's money the provider has refunded in total, whoever asked for it.
    RecordRefunded {
        attempt: u32,
        /// In minor units of the order's currency.
        refunded_minor: u64,
    },
    /// The units of a refund are back in stock.
    RecordRestocked {
        number: u32,
    },
    /// The customer wants to send goods back.
    RequestReturn {
        lines: Units,
        reason: String,
        /// The identity of the request: with it, a repeat asks for nothing more.
        key: Option<RequestKey>,
    },
    /// The goods of a return have arrived; refund their price.
    ReceiveReturn {
        number: u32,
        /// Whether the goods are sold again.
        restock: Restock,
        by: UserId,
    },
    /// The goods of a return are not accepted.
    RejectReturn {
        number: u32,
        note: String,
    },
    /// Something needs an operator.
    RaiseIssue {
        kind: IssueKind,
        /// Hash of the provider's name of its notice, if there was one: a repeat changes nothing.
        notice: Option<u64>,
    },
    /// These issues are settled, as an operator decided or (`None`) as the shop itself found.
    ResolveIssues {
        /// The numbers of the issues.
        issues: Vec<u32>,
        by: Option<UserId>,
        note: String,
    },
    /// Give up a payment of another amount than the order's total: a hold is released, a capture goes back.
    TakeBack {
        attempt: u32,
    },
    /// All stock is recorded as sold, and the order is closed in the cart.
    RecordFulfilled,
    /// The customer or an admin cancels the order.
    Cancel,
    /// The deadline may have passed.
    Expire,
    /// What the order held is given back: its stock is released, and its lines are in the cart. It ends, at once or
    /// when its refund is over.
    Finish,
    Pack,
    /// The parcel is with the carrier.
    Ship(Tracking),
    Deliver,
    /// The customer is being erased: remove whatever identifies them.
    Erase,
}
