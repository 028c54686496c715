//! How events and snapshots become stored bytes, and back.
//!
//! Every record carries the version of its form: the domain's own type in bincode, which is positional. From the first
//! release on, fields and variants are never reordered, removed or inserted; a new variant of an event goes to the end.
//! The golden bytes in `tests/golden/` hold us to it. A state that has to change after that gets a new version.
//!
//! May depend on `storage::codec` and `domain`.

use crate::{
    domain::entity::Entity,
    storage::{
        Loaded,
        codec::{CodecError, decode, encode},
    },
};

/// The version in which events are written today.
pub const EVENT_VERSION: u16 = 1;

/// The version in which snapshots are written today.
pub const SNAPSHOT_VERSION: u16 = 1;

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
        Some(snapshot) => decode_snapshot(snapshot.version, &snapshot.bytes)?,
        None => E::default(),
    };
    for record in &loaded.records {
        let event = decode_event::<E>(record.version, &record.payload)?;
        erased_since |= E::erases(&event);
        entity.apply(&event);
    }
    Ok(Replayed { entity, erased_since })
}

fn decode_snapshot<E: Entity>(version: u16, bytes: &[u8]) -> Result<E, RecordError> {
    if version != SNAPSHOT_VERSION {
        return Err(RecordError::UnknownVersion { version, newest: SNAPSHOT_VERSION });
    }
    Ok(decode(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            entity::Timestamp,
            ids::OrderId,
            inventory::{Event, HOLDS_MAX, Inventory},
        },
        storage::SNAPSHOT_BYTES_MAX,
    };

    /// An inventory with so many reservations, all finished: that takes the most bytes.
    fn snapshot_bytes(holds: u16) -> usize {
        let (at, deadline) = (Timestamp(1), Timestamp(2));
        let mut inventory = Inventory::default();
        inventory.apply(&Event::Opened { quantity: u64::from(holds) });
        for order in 0..holds {
            let order = OrderId(u128::from(order));
            inventory.apply(&Event::Reserved { order, quantity: 1, deadline, at });
            inventory.apply(&Event::Fulfilled { order, at });
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
