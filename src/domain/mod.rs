//! The rules of the shop, pure: given a state and a command, which event happens; given an event, which state follows.
//!
//! No clock, no randomness, no I/O, no async: time and ids come in as data, so every rule can be tested by calling it
//! and every state can be rebuilt from its events. Depends on `std`, `serde`, `thiserror` for the words of a rejection,
//! `iso_currency` for ISO 4217, `crc32c` and `data-encoding` for cursors, and `imbl` and `foldhash` for collections
//! that are cheap to copy.

pub mod account;
pub mod address;
pub mod cart;
pub mod charges;
mod countries;
pub mod cursor;
pub mod entity;
pub mod idempotency;
pub mod ids;
pub mod inventory;
pub mod money;
pub mod name;
pub mod order;
pub mod order_number;
pub mod product;
pub mod rating;
pub mod ratings;
pub mod review;
pub mod seller;
pub mod shared_map;
pub(crate) mod text;
pub mod unmatched_notices;

#[cfg(test)]
mod tests {
    use serde::{Serialize, de::DeserializeOwned};

    use super::{idempotency, ids, money, order, product};

    /// [`super::entity::Entity`] requires this of every rejection. Tested here are the types that rejections contain,
    /// and errors beside them.
    #[test]
    fn refusals_own_what_they_hold() {
        fn can_be_sent<T: Serialize + DeserializeOwned>() {}
        can_be_sent::<ids::InvalidId>();
        can_be_sent::<idempotency::InvalidKey>();
        can_be_sent::<money::UnknownCurrency>();
        can_be_sent::<money::MoneyError>();
        can_be_sent::<order::InvalidPlacement>();
        can_be_sent::<product::InvalidDetails>();
    }
}
