//! Small parts of an order: its status, its history, the reason of its end.
//!
//! Depends on `std`, `serde` and its neighbours.

use serde::{Deserialize, Serialize};

use crate::domain::{entity::Timestamp, ids::ProductId};

/// The status of an order, as its customer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum Status {
    /// The order exists; its stock is being reserved.
    Placed,
    /// Its stock is reserved, and it waits for its payment until its deadline.
    AwaitingPayment,
    /// The provider has been asked, and the outcome is not known yet.
    PaymentPending,
    /// The money is held; it is captured when the seller asks for it.
    Authorised,
    /// The money is captured; the stock is being recorded as sold.
    Paid,
    /// Paid and sold; the seller has to pack it.
    Confirmed,
    Packed,
    Shipped,
    Delivered,
    /// It is ending; its stock is being released.
    Cancelling,
    /// The customer or an admin cancelled it.
    Cancelled,
    /// It was not paid in time.
    Expired,
    /// The stock or the cart did not allow it.
    Rejected,
}

impl Status {
    /// The word used in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::AwaitingPayment => "awaiting_payment",
            Self::PaymentPending => "payment_pending",
            Self::Authorised => "authorised",
            Self::Paid => "paid",
            Self::Confirmed => "confirmed",
            Self::Packed => "packed",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
        }
    }

    /// Whether the money has been captured and pays for the order.
    #[must_use]
    pub fn is_paid(self) -> bool {
        matches!(self, Self::Paid | Self::Confirmed | Self::Packed | Self::Shipped | Self::Delivered)
    }

    /// Whether the order has ended.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Cancelled | Self::Expired | Self::Rejected)
    }
}

/// Why an order ends without being delivered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum EndReason {
    /// Its customer or an admin cancelled it.
    Cancelled,
    /// Its deadline passed before it was paid.
    Expired,
    /// The cart had changed since the order was computed.
    CartChanged,
    /// Its customer had too many open orders.
    TooManyOpenOrders,
    /// Fewer units of a product were available than ordered.
    InsufficientStock { product: ProductId, requested: u32, available: u64 },
    /// Its customer is erased. It was placed while the erasure began.
    CustomerErased,
}

impl EndReason {
    /// The final status of an order that ends for this reason.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Cancelled => Status::Cancelled,
            Self::Expired => Status::Expired,
            Self::CartChanged | Self::TooManyOpenOrders | Self::InsufficientStock { .. } | Self::CustomerErased => {
                Status::Rejected
            }
        }
    }
}

/// An inventory's answer about one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StockAnswer {
    /// The units are reserved for this order.
    Reserved,
    /// Fewer units were available.
    Refused {
        /// Units that could have been reserved.
        available: u64,
    },
    /// The reservation arrived after its deadline.
    TooLate,
}

/// How a parcel can be tracked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Tracking {
    pub carrier: String,
    /// The carrier's tracking number.
    pub number: String,
}

/// An entry of an order's history, as its customer may read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct HistoryEntry {
    /// The order's sequence number of the event; also its id in the event stream of the API.
    pub sequence: u64,
    /// The status after it.
    pub status: Status,
    /// A detail for the customer, such as the reason of a decline.
    pub note: Option<String>,
    pub at: Timestamp,
}
