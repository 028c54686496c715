//! The parts of an order: where it stands, its history, why it ended.
//!
//! Depends on `std`, `serde` and its neighbours.

use serde::{Deserialize, Serialize};

use crate::domain::{entity::Timestamp, ids::ProductId};

/// Where an order stands, as its customer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// It exists; its stock is being reserved.
    Placed,
    /// Its stock is reserved and it waits for its payment, until its deadline.
    AwaitingPayment,
    /// The provider has been asked, and the outcome is not known yet.
    PaymentPending,
    /// The money is captured; the stock is being booked as sold.
    Paid,
    /// Paid and sold; the seller's turn.
    Confirmed,
    /// Packed.
    Packed,
    /// On its way.
    Shipped,
    /// Arrived.
    Delivered,
    /// It comes to nothing; its stock is being released.
    Cancelling,
    /// The customer did not want it any more.
    Cancelled,
    /// It was not paid in time.
    Expired,
    /// It could not be had as ordered.
    Rejected,
    // Histories are stored, so what is new stands at the end.
    /// The money is held; it is captured when the seller asks for it.
    Authorised,
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

    /// Whether money has been captured for good.
    #[must_use]
    pub fn is_paid(self) -> bool {
        matches!(self, Self::Paid | Self::Confirmed | Self::Packed | Self::Shipped | Self::Delivered)
    }

    /// Whether nothing will ever happen to it again.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Cancelled | Self::Expired | Self::Rejected)
    }
}

/// Why an order comes to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EndReason {
    /// Its customer (or an admin) cancelled it.
    Cancelled,
    /// Its deadline passed before it was paid.
    Expired,
    /// The cart was not the one it was computed from any more.
    CartChanged,
    /// Its customer has too many open orders.
    TooManyOpenOrders,
    /// There was not enough of a product.
    InsufficientStock {
        /// Of which.
        product: ProductId,
        /// Units wanted.
        requested: u32,
        /// Units there were.
        available: u64,
    },
    /// Its customer is erased. It was placed while that began.
    CustomerErased,
}

impl EndReason {
    /// Where an order stands that ended for this reason.
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

/// What the inventory said to one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StockAnswer {
    /// It is kept for this order.
    Reserved,
    /// There are only so many units.
    Refused {
        /// Units that could have been reserved.
        available: u64,
    },
    /// The deadline had passed.
    TooLate,
}

/// How a parcel can be followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracking {
    /// Who carries it.
    pub carrier: String,
    /// The carrier's number for it.
    pub number: String,
}

/// Something that happened to an order, as its customer may read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The order's sequence number of the event: the id in its event stream.
    pub sequence: u64,
    /// Where the order stood after it.
    pub status: Status,
    /// A detail for the customer, such as the reason of a decline.
    pub note: Option<String>,
    /// When it happened.
    pub at: Timestamp,
}
