//! How events and snapshots become stored bytes, and back.
//!
//! Every record carries the version of its form. The newest of each is the domain's own type in bincode, which is positional:
//! fields and variants are never reordered, removed or inserted; a new variant of an event goes to the end. The golden bytes
//! in `tests/golden/` hold us to it. When a state has to change, its version grows, and `lift` makes the new form of the old.
//!
//! May depend on `storage::codec` and `domain`.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    domain::{
        entity::{Entity, Kind},
        ids::UserId,
        order::{Order, OrderV1},
    },
    storage::{
        Loaded,
        codec::{CodecError, decode, encode},
    },
};

/// The version in which events are written today.
pub const EVENT_VERSION: u16 = 1;

/// The version in which the snapshots of a kind are written today.
#[must_use]
pub const fn snapshot_version(kind: Kind) -> u16 {
    match kind {
        Kind::Product | Kind::Inventory | Kind::Review | Kind::UnmatchedNotices => 1,
        Kind::Cart | Kind::Account | Kind::Reviews | Kind::Order => 2,
    }
}

/// Stored bytes that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by a later release.
    #[error("stored in version {version}, this release knows up to {newest}")]
    UnknownVersion {
        /// The version found.
        version: u16,
        /// The newest one known.
        newest: u16,
    },
    /// The bytes do not decode.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// The stored form of an event.
#[must_use]
pub fn encode_event<E: Entity>(event: &E::Event) -> Vec<u8> {
    encode(event)
}

/// An event from its stored form.
///
/// # Errors
/// [`RecordError`].
pub fn decode_event<E: Entity>(version: u16, bytes: &[u8]) -> Result<E::Event, RecordError> {
    if version != EVENT_VERSION {
        return Err(RecordError::UnknownVersion { version, newest: EVENT_VERSION });
    }
    Ok(decode(bytes)?)
}

/// The stored form of an entity's state.
#[must_use]
pub fn encode_snapshot<E: Entity>(entity: &E) -> Vec<u8> {
    encode(entity)
}

/// The entity of a stored stream.
pub struct Replayed<E> {
    /// As it is after its last event.
    pub entity: E,
    /// Whether an event since its snapshot erases, so that what it erases is still stored.
    pub erased_since: bool,
}

/// The entity of a stored stream: its snapshot and the events since. The same fold for an actor and for a reader.
///
/// # Errors
/// [`RecordError`].
pub fn replay<E: Entity>(loaded: &Loaded) -> Result<Replayed<E>, RecordError> {
    let mut erased_since = false;
    let mut entity: E = match &loaded.snapshot {
        Some(snapshot) => decode(&lift(E::KIND, snapshot.version, &snapshot.bytes)?)?,
        None => E::default(),
    };
    for record in &loaded.records {
        let event = decode_event::<E>(record.version, &record.payload)?;
        erased_since |= E::erases(&event);
        entity.apply(&event);
    }
    Ok(Replayed { entity, erased_since })
}

/// Today's form of a stored state.
///
/// # Errors
/// [`RecordError`].
fn lift(kind: Kind, version: u16, bytes: &[u8]) -> Result<Cow<'_, [u8]>, RecordError> {
    let newest = snapshot_version(kind);
    match (kind, version) {
        _ if version == newest => Ok(Cow::Borrowed(bytes)),
        // A field more, at the end: an account knew no former holder (`None`), a cart was not erased (`false`).
        (Kind::Account | Kind::Cart, 1) => Ok(Cow::Owned([bytes, &[0]].concat())),
        (Kind::Order, 1) => Ok(Cow::Owned(encode(&Order::from(decode::<OrderV1>(bytes)?)))),
        // Beside the stars stood a hash of the text, where now stands the version of the review, which had none.
        (Kind::Reviews, 1) => {
            let (mut by_customer, stars): (BTreeMap<UserId, (u8, u64)>, u64) = decode(bytes)?;
            by_customer.values_mut().for_each(|(_, version)| *version = 0);
            Ok(Cow::Owned(encode(&(by_customer, stars))))
        }
        _ => Err(RecordError::UnknownVersion { version, newest }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            entity::Timestamp,
            ids::OrderId,
            inventory::{Event, HOLDS_MAX, Hold, Inventory},
        },
        storage::SNAPSHOT_BYTES_MAX,
    };

    /// An inventory with so many reservations, all finished: that takes the most bytes.
    fn snapshot_bytes(holds: u16) -> usize {
        let (at, deadline) = (Timestamp(1), Timestamp(2));
        let mut inventory = Inventory::default();
        inventory.apply(&Event::Opened { quantity: u64::from(holds) });
        for order in 0..holds {
            let hold = Hold { order: OrderId(u128::from(order)), round: 0 };
            inventory.apply(&Event::Reserved { hold, quantity: 1, deadline, at });
            inventory.apply(&Event::Fulfilled { hold, at });
        }
        encode_snapshot(&inventory).len()
    }

    #[test]
    fn an_inventory_with_all_the_reservations_it_may_have_fits_into_a_snapshot() {
        let (some, more) = (snapshot_bytes(100), snapshot_bytes(1_100));
        let (hold_bytes, rest) = ((more - some) / 1_000, 1 << 20);
        assert!(HOLDS_MAX * hold_bytes + rest <= SNAPSHOT_BYTES_MAX, "{hold_bytes} bytes each");
        assert!(HOLDS_MAX * hold_bytes * 2 > SNAPSHOT_BYTES_MAX, "the limit is not far beyond what is needed");
    }
}
