//! The keys of the lists; the table at the top of `lists` says what each serves.
//!
//! May depend on `domain`.

use serde::{Deserialize, Serialize};

use crate::domain::{
    entity::{EntityId, Timestamp},
    ids::OrderId,
    order::Status,
};

/// The projection's name in storage. It has another one when its keys change: then it is built again.
pub const NAME: &str = "lists";

/// Where an order stands, as far as its events tell without its state: what lists of orders are filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Stage {
    /// Placed and not yet paid.
    Open = 1,
    /// Paid; its stock is being booked.
    Paid = 2,
    /// Confirmed: the seller's turn.
    Confirmed = 3,
    /// Packed.
    Packed = 4,
    /// On its way.
    Shipped = 5,
    /// Arrived.
    Delivered = 6,
    /// Cancelled, expired or rejected.
    Ended = 7,
    /// The money is held; the seller's turn to capture it.
    Authorised = 8,
}

impl From<Status> for Stage {
    fn from(status: Status) -> Self {
        match status {
            Status::Placed | Status::AwaitingPayment | Status::PaymentPending | Status::Cancelling => Self::Open,
            Status::Authorised => Self::Authorised,
            Status::Paid => Self::Paid,
            Status::Confirmed => Self::Confirmed,
            Status::Packed => Self::Packed,
            Status::Shipped => Self::Shipped,
            Status::Delivered => Self::Delivered,
            Status::Cancelled | Status::Expired | Status::Rejected => Self::Ended,
        }
    }
}

/// The key under which an order is listed until it is confirmed or has ended.
#[must_use]
pub fn open_order_key(order: OrderId) -> Vec<u8> {
    key(b'o', &[&order.to_key()])
}

/// The key under which an order is listed while an operator has to look at it.
pub(super) fn attention_key(order: OrderId) -> Vec<u8> {
    key(b'a', &[&order.to_key()])
}

pub(super) fn key(list: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![list];
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// A moment as key bytes that sort the newest first.
pub(super) fn newest_first(at: Timestamp) -> [u8; 8] {
    (u64::MAX - at.0).to_be_bytes()
}
