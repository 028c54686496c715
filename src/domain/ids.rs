//! Ids of entities. They are opaque to clients. A seller chooses the ids of products; the others are 128 bits.
//!
//! Depends on `std` and `serde`.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::domain::entity::EntityId;

/// A text is not an id of this kind; says what such an id looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[allow(missing_docs, reason = "the names say it")]
pub enum InvalidId {
    #[error(
        "not a valid product id: 1 to {} characters of A-Z a-z 0-9 . _ : - beginning with a letter or digit",
        ProductId::BYTES_MAX
    )]
    Product,
    #[error("not a valid order id: 32 lower-case hexadecimal digits")]
    Order,
    #[error("not a valid user id: 32 lower-case hexadecimal digits")]
    User,
    #[error("not a valid account id: 32 lower-case hexadecimal digits")]
    Account,
    #[error("not a valid receipt id: 32 lower-case hexadecimal digits")]
    Receipt,
    #[error("not a valid seller id: 32 lower-case hexadecimal digits")]
    Seller,
}

/// A product's id, chosen by the seller, such as an ASIN or a SKU: 1 to 64 of `A-Z a-z 0-9 . _ : -`, beginning with a
/// letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ProductId(Arc<str>);

impl ProductId {
    /// The longest id, in bytes. Longer than every id in the catalogues we have seen, and short enough for a stored
    /// key.
    pub const BYTES_MAX: usize = 64;

    /// Whether an id may contain this character.
    #[must_use]
    pub fn may_contain(character: char) -> bool {
        character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | ':' | '-')
    }

    /// Whether an id may begin with this character.
    #[must_use]
    pub fn may_begin_with(character: char) -> bool {
        character.is_ascii_alphanumeric()
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProductId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let is_id = text.starts_with(Self::may_begin_with) && text.chars().all(Self::may_contain);
        if is_id && text.len() <= Self::BYTES_MAX { Ok(Self(text.into())) } else { Err(InvalidId::Product) }
    }
}

impl<'de> Deserialize<'de> for ProductId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ProductId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl EntityId for ProductId {
    fn to_key(&self) -> Vec<u8> {
        self.0.as_bytes().to_vec()
    }

    fn from_key(key: &[u8]) -> Option<Self> {
        std::str::from_utf8(key).ok()?.parse().ok()
    }
}

/// Declares a 128-bit id, written as 32 lower-case hexadecimal digits.
macro_rules! id_of_128_bits {
    ($(#[$doc:meta])* $name:ident, $invalid:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({:032x})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let legal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                if text.len() != 32 || !text.bytes().all(legal) {
                    return Err(InvalidId::$invalid);
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidId::$invalid)
            }
        }

        impl EntityId for $name {
            fn to_key(&self) -> Vec<u8> {
                self.0.to_be_bytes().to_vec()
            }

            fn from_key(key: &[u8]) -> Option<Self> {
                Some(Self(u128::from_be_bytes(key.try_into().ok()?)))
            }
        }
    };
}

id_of_128_bits! {
    /// An order's id: derived from its customer and the request, so that a repeated request finds the same order. See
    /// [`OrderId::of_customer`].
    OrderId, Order
}
id_of_128_bits! {
    /// The id of somebody with an account: a customer, a seller or an admin. It is the subject of their tokens and the
    /// id of their cart.
    UserId, User
}
id_of_128_bits! {
    /// An account's id: a keyed hash of the normalised e-mail address. So an address has at most one account.
    AccountId, Account
}
id_of_128_bits! {
    /// The id of one receipt or adjustment of stock, by which a repeat is recognised.
    ReceiptId, Receipt
}

id_of_128_bits! {
    /// A seller's id, which products and lines of orders refer to.
    SellerId, Seller
}

impl SellerId {
    /// The seller for whom this user acts: both have the same number.
    #[must_use]
    pub fn of(user: UserId) -> Self {
        Self(user.0)
    }
}

/// How many bits at the beginning of an order's id come from its customer's id.
const CUSTOMER_BITS: u32 = 16;

impl OrderId {
    /// Makes an order's id: 16 bits of its customer's id, then bits of a hash. Where streams are divided among nodes by
    /// the beginning of their keys, an order, its cart and its customer's list stay on one node.
    #[must_use]
    pub fn of_customer(customer: UserId, hash: u128) -> Self {
        let of_hash = u128::MAX >> CUSTOMER_BITS;
        Self(customer.0 & !of_hash | hash & of_hash)
    }
}

/// The identity of a request that must take effect only once: the hash of its key and the hash of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestKey {
    /// Hash of the idempotency key and the user who sent it.
    pub key: u128,
    /// Hash of the request: the same key with another fingerprint is rejected.
    pub fingerprint: u128,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_ids_are_checked() {
        for good in ["B0868JG5T4", "ic-1399", "mg-MH01:MH01-XS-Black", "a", &"x".repeat(64)] {
            assert_eq!(good.parse::<ProductId>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a b", "a/b", "ä", "%3D", "a\0", &"x".repeat(65)] {
            assert!(bad.parse::<ProductId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_round_trip_through_text_and_key() {
        let id = OrderId(0x0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "00000000000000000123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(OrderId::from_key(&id.to_key()), Some(id));
        for bad in ["", "0", "00000000000000000123456789ABCDEF", "+0000000000000000123456789abcdef", "ffff"] {
            assert!(bad.parse::<OrderId>().is_err(), "{bad:?}");
        }
    }
}
