//! Idempotent requests: which requests count as the same, and what happens to a repeat.
//!
//! A client identifies a request by a key. The same key with the same request is a repeat, which changes nothing; the
//! same key with another request is rejected. Only keyed hashes of keys and requests are stored; the caller holds the
//! secret. The runtime keeps the requests of each entity ([`Executed`]), in the same record as their effect; an order
//! keeps those itself by whose key something is found: a payment, a refund, a return.
//!
//! Depends on `entity`, `ids` and `serde`.

use std::{collections::VecDeque, fmt};

use serde::{Deserialize, Serialize};

use crate::domain::{
    entity::Timestamp,
    ids::{OrderId, RequestKey, UserId},
};

/// The longest idempotency key, in characters: room for a UUID with a prefix, and a limit to what has to be hashed.
pub const KEY_CHARACTERS_MAX: usize = 255;

/// How many requests an entity remembers: 48 KB. Of a client that sends more of them within their time the oldest is
/// forgotten, because a refused request would cost it more.
pub const REQUESTS_MAX: usize = 1_000;

/// A text that is not an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("an idempotency key has 1 to {KEY_CHARACTERS_MAX} printable characters")]
pub struct InvalidKey;

/// The key was used with another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyReused;

/// Checks a key's length and characters.
///
/// # Errors
/// [`InvalidKey`].
pub fn check_key(key: &str) -> Result<(), InvalidKey> {
    let printable = key.chars().all(|character| !character.is_control());
    let fits = !key.is_empty() && key.chars().count() <= KEY_CHARACTERS_MAX;
    if fits && printable { Ok(()) } else { Err(InvalidKey) }
}

impl RequestKey {
    /// Whether this request repeats one of the `earlier` requests.
    ///
    /// # Errors
    /// [`KeyReused`] if an earlier request had the same key and another body.
    pub fn repeats(self, earlier: impl IntoIterator<Item = Self>) -> Result<bool, KeyReused> {
        match earlier.into_iter().find(|earlier| earlier.key == self.key) {
            None => Ok(false),
            Some(earlier) if earlier == self => Ok(true),
            Some(_) => Err(KeyReused),
        }
    }
}

/// The requests with a key that an entity has executed, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed(VecDeque<(Timestamp, RequestKey)>);

impl Executed {
    /// Whether this request was executed.
    ///
    /// # Errors
    /// [`KeyReused`].
    pub fn has(&self, request: RequestKey) -> Result<bool, KeyReused> {
        request.repeats(self.0.iter().map(|(_, earlier)| *earlier))
    }

    /// Adds a request, and forgets those before it that are older than `kept_ms`, or too many.
    pub fn add(&mut self, request: RequestKey, at: Timestamp, kept_ms: u64) {
        while self.0.front().is_some_and(|(earlier, _)| at.ms_apart(*earlier) > kept_ms) {
            self.0.pop_front();
        }
        if self.0.len() >= REQUESTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((at, request));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// What the fingerprint of a request is made of: its fields, each with its name and the length of its value, so that no
/// two requests read the same. Fingerprints are stored. A field without a value adds nothing, so a field that becomes
/// part of a request later leaves the fingerprints of requests without it as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(String);

impl Fields {
    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        self.0 += &format!("{name}={}:{value};", value.len());
        self
    }

    /// Adds a field, if it has a value.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The text to hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Derives the identities of one user's requests.
#[derive(Debug, Clone, Copy)]
pub struct Requests<H> {
    /// The user who sends them. The same key of two users identifies two requests.
    pub user: UserId,
    /// The shop's keyed hash: of a purpose, and the parts of the text.
    pub hash: H,
}

impl<H: Fn(&str, &[&[u8]]) -> u128> Requests<H> {
    /// The identity of a request with a key: the same key of another user, or for another operation, is another.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn with_key(&self, operation: &str, key: &str, body: &[u8]) -> Result<RequestKey, InvalidKey> {
        check_key(key)?;
        let user = self.user.0.to_be_bytes();
        Ok(RequestKey {
            key: (self.hash)("idempotency-key", &[operation.as_bytes(), &user, key.as_bytes()]),
            fingerprint: (self.hash)("request", &[operation.as_bytes(), &user, body]),
        })
    }

    /// The order of a checkout with a key: the same key gives the same order.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn order_by_key(&self, key: &str) -> Result<OrderId, InvalidKey> {
        check_key(key)?;
        let hash = (self.hash)("order-by-key", &[&self.user.0.to_be_bytes(), key.as_bytes()]);
        Ok(OrderId::of_customer(self.user, hash))
    }

    /// The order of a checkout without a key: the same request for the same version of the cart gives the same order.
    #[must_use]
    pub fn order_by_cart(&self, cart_version: u64, fingerprint: u128) -> OrderId {
        let (user, version) = (self.user.0.to_be_bytes(), cart_version.to_be_bytes());
        OrderId::of_customer(self.user, (self.hash)("order-by-cart", &[&user, &version, &fingerprint.to_be_bytes()]))
    }

    /// The fingerprint of a checkout, which differs between two checkouts with the same key and different bodies.
    #[must_use]
    pub fn checkout_fingerprint(&self, body: &Fields) -> u128 {
        (self.hash)("checkout", &[&self.user.0.to_be_bytes(), body.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

    fn requests(user: u128) -> Requests<impl Fn(&str, &[&[u8]]) -> u128> {
        let hash = |purpose: &str, parts: &[&[u8]]| {
            let mut hasher = DefaultHasher::new();
            (purpose, parts).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        Requests { user: UserId(user), hash }
    }

    #[test]
    fn a_key_has_1_to_255_printable_characters() {
        for good in ["a", "a key", "ä", &"ä".repeat(KEY_CHARACTERS_MAX)] {
            assert_eq!(check_key(good), Ok(()), "{good:?}");
        }
        for bad in ["", "a\tb", "a\0", "a\n", &"a".repeat(KEY_CHARACTERS_MAX + 1)] {
            assert_eq!(check_key(bad), Err(InvalidKey), "{bad:?}");
            assert_eq!(requests(1).with_key("add", bad, b"").unwrap_err(), InvalidKey);
            assert_eq!(requests(1).order_by_key(bad), Err(InvalidKey));
        }
    }

    #[test]
    fn the_same_key_is_a_repeat_only_with_the_same_request() {
        let of = |user, operation, key, text: &str| requests(user).with_key(operation, key, text.as_bytes()).unwrap();
        let earlier = [of(1, "add", "other", "x"), of(1, "add", "key", "x")];
        assert_eq!(of(1, "add", "key", "x").repeats(earlier), Ok(true));
        assert_eq!(of(1, "add", "key", "y").repeats(earlier), Err(KeyReused));
        for new in [of(1, "add", "new", "x"), of(2, "add", "key", "x"), of(1, "refund", "key", "x")] {
            assert_eq!(new.repeats(earlier), Ok(false));
        }
    }

    #[test]
    fn an_entity_remembers_its_last_requests_for_their_time() {
        let request = |key: usize| RequestKey { key: key as u128, fingerprint: 1 };
        let mut executed = Executed::default();
        for key in 0..=REQUESTS_MAX {
            executed.add(request(key), Timestamp(key as u64), u64::MAX);
        }
        assert_eq!(executed.has(request(0)), Ok(false), "the oldest made room");
        assert_eq!([1, REQUESTS_MAX].map(|key| executed.has(request(key))), [Ok(true); 2]);
        assert_eq!(executed.has(RequestKey { key: 1, fingerprint: 2 }), Err(KeyReused));

        executed.add(request(5_000), Timestamp(5_000), 4_500);
        assert_eq!([499, 500].map(|key| executed.has(request(key))), [Ok(false), Ok(true)]);
        executed.clear();
        assert_eq!(executed, Executed::default());
    }

    #[test]
    fn fields_read_the_same_only_where_they_are_the_same() {
        let none = || Fields::default().with_some("a", None::<u8>);
        assert_eq!(none(), Fields::default());
        assert_eq!(none().with("a", 1).as_bytes(), b"a=1:1;");
        let different = [
            none().with("a", "1;b=1:2"),
            none().with("a", 1).with("b", 2),
            none().with("b", 2).with("a", 1),
            none().with("a", 12),
            none().with("a", ""),
        ];
        for (at, one) in different.iter().enumerate() {
            assert!(!different[at + 1..].contains(one), "{one:?}");
        }
    }

    #[test]
    fn an_order_begins_with_the_first_bits_of_its_customer() {
        let user = UserId(0xabcd_0000_0000_0000_0000_0000_0000_1234);
        let requests = Requests { user, hash: |_: &str, _: &[&[u8]]| u128::MAX };
        for order in [requests.order_by_key("key").unwrap(), requests.order_by_cart(3, 7)] {
            assert_eq!(order, OrderId(0xabcd_ffff_ffff_ffff_ffff_ffff_ffff_ffff));
        }
    }

    #[test]
    fn a_checkout_finds_its_order_by_key_or_by_cart_and_request() {
        let (asha, ben) = (requests(1), requests(2));
        assert_eq!(asha.order_by_key("key"), asha.order_by_key("key"));
        assert_ne!(asha.order_by_key("key"), ben.order_by_key("key"));
        assert_eq!(asha.order_by_cart(3, 7), asha.order_by_cart(3, 7));
        for other in [asha.order_by_cart(4, 7), asha.order_by_cart(3, 8), ben.order_by_cart(3, 7)] {
            assert_ne!(asha.order_by_cart(3, 7), other);
        }
        let of = |name: &str| asha.checkout_fingerprint(&Fields::default().with("name", name));
        assert_ne!(of("a"), of("b"));
    }
}
