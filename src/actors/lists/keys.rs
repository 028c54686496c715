//! The keys of the lists; the table at the top of `lists` says what each serves.
//!
//! May depend on `domain`.

use crate::domain::{
    account::Standing,
    entity::{EntityId, Timestamp},
    ids::{OrderId, UserId},
    order::Stage,
};

/// The projection's name in storage. It has another one when its keys or values change: then it is built again.
pub const NAME: &str = "lists-2";

/// The key under which an order is listed while the checkout has something to do for it.
#[must_use]
pub fn open_order_key(order: OrderId) -> Vec<u8> {
    key(b'o', &[&order.to_key()])
}

/// The key under which an order is listed while an operator has something to decide about it.
pub(super) fn issues_key(order: OrderId) -> Vec<u8> {
    key(b'a', &[&order.to_key()])
}

/// The key under which an order is listed in its stage.
pub(super) fn stage_key(order: OrderId, placed_at: Timestamp, stage: Stage) -> Vec<u8> {
    key(b't', &[&[stage as u8], &newest_first(placed_at), &order.to_key()])
}

/// The key under which a seller is listed.
pub(super) fn standing_key(standing: Standing, registered_at: Timestamp, user: UserId) -> Vec<u8> {
    [standing_list(standing), registered_at.0.to_be_bytes().to_vec(), user.to_key()].concat()
}

/// The prefix of the keys of the sellers who stand so.
pub(super) fn standing_list(standing: Standing) -> Vec<u8> {
    key(b'w', &[&[standing.listed() as u8]])
}

/// The key under which the lists remember the account of a seller.
pub(super) fn seller_key(user: UserId) -> Vec<u8> {
    key(b'u', &[&user.to_key()])
}

pub(super) fn key(list: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(list);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// A moment as key bytes that sort the newest first.
pub(super) fn newest_first(at: Timestamp) -> [u8; 8] {
    (u64::MAX - at.0).to_be_bytes()
}
