//! How events and snapshots become stored bytes, and back.
//!
//! A stored event or state is a [`Header`] and the domain's own type behind it, both in bincode, which is positional.
//! Each carries the version of its form. From the first release on, fields and variants are never reordered, removed or
//! inserted, and a new variant of an event goes to the end; a state that has to change gets a new version. The golden
//! bytes in `tests/golden/` hold us to it.
//!
//! May depend on `storage` and `domain`.

use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        entity::{Entity, Tag, Timestamp},
        idempotency::Executed,
        ids::RequestKey,
    },
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

/// What stands before every stored event and state. It takes 10 bytes, and 32 more with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Header {
    /// When the event happened; before a state, its last event. It never decreases along a stream.
    pub time: Timestamp,
    /// What projections want to know of the state after the event.
    pub tag: Tag,
    /// The request with a key that the event executed. `None` before a state, which has a list of them.
    pub request: Option<RequestKey>,
}

/// A stored event or state behind its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored<T> {
    /// What is known of it without understanding the rest.
    pub header: Header,
    /// The event or state.
    pub value: T,
}

/// The stored form of an event.
#[must_use]
pub fn encode_event<E: Entity>(header: Header, event: &E::Event) -> Vec<u8> {
    encode(&Stored { header, value: event })
}

/// An event from its stored form.
///
/// # Errors
/// [`RecordError`].
pub fn decode_event<E: Entity>(version: u16, bytes: &[u8]) -> Result<Stored<E::Event>, RecordError> {
    if version != EVENT_VERSION {
        return Err(RecordError::UnknownVersion { version, newest: EVENT_VERSION });
    }
    Ok(decode(bytes)?)
}

/// The stored form of an entity's state, whose last event was at `time`.
#[must_use]
pub fn encode_snapshot<E: Entity>(time: Timestamp, entity: &E, executed: &Executed) -> Vec<u8> {
    encode(&Stored { header: Header { time, tag: entity.tag(), request: None }, value: (entity, executed) })
}

/// Remembers the request of an event. What an event erases takes the requests with it.
pub fn remember<E: Entity>(executed: &mut Executed, header: Header, event: &E::Event) {
    if E::erases(event) {
        executed.clear();
    }
    if let Some(request) = header.request {
        executed.add(request, header.time, E::REQUESTS_KEPT_MS);
    }
}

/// The entity of a stored stream.
pub struct Replayed<E> {
    /// Its state after its last event.
    pub entity: E,
    /// The requests with a key that it remembers.
    pub executed: Executed,
    /// When its last event happened; the beginning of time where it has had none.
    pub time: Timestamp,
    /// Whether an event since its snapshot erases, so that what it erases is still stored.
    pub erased_since: bool,
}

impl<E: Entity> Default for Replayed<E> {
    /// The entity before its first event.
    fn default() -> Self {
        Self { entity: E::default(), executed: Executed::default(), time: Timestamp::default(), erased_since: false }
    }
}

impl<E: Entity> Replayed<E> {
    /// Applies the next event.
    pub fn apply(&mut self, header: Header, event: &E::Event) {
        self.entity.apply(event);
        remember::<E>(&mut self.executed, header, event);
        self.time = header.time;
        self.erased_since |= E::erases(event);
    }
}

/// The entity of a stored stream: its snapshot and the events since. The same fold for an actor and for a reader.
///
/// # Errors
/// [`RecordError`].
pub fn replay<E: Entity>(loaded: &Loaded) -> Result<Replayed<E>, RecordError> {
    let mut replayed = Replayed::default();
    if let Some(snapshot) = &loaded.snapshot {
        let Stored { header, value: (entity, executed) } = decode_snapshot(snapshot.version, &snapshot.bytes)?;
        replayed = Replayed { entity, executed, time: header.time, erased_since: false };
    }
    for record in &loaded.records {
        let Stored { header, value: event } = decode_event::<E>(record.version, &record.payload)?;
        replayed.apply(header, &event);
    }
    Ok(replayed)
}

fn decode_snapshot<E: Entity>(version: u16, bytes: &[u8]) -> Result<Stored<(E, Executed)>, RecordError> {
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
            ids::{OrderId, UserId},
            inventory::{Event, HOLDS_MAX, Inventory, RELEASED_MAX},
        },
        storage::SNAPSHOT_BYTES_MAX,
    };

    /// The bytes of an inventory with so many reservations, all fulfilled.
    fn snapshot_bytes(holds: u16) -> usize {
        let (at, deadline) = (Timestamp(1), Timestamp(2));
        let mut inventory = Inventory::default();
        inventory.apply(&Event::Opened { quantity: u64::from(holds) });
        for order in 0..holds {
            let order = OrderId(u128::from(order));
            inventory.apply(&Event::Reserved { order, customer: UserId(0), quantity: 1, deadline, at });
            inventory.apply(&Event::Fulfilled { order, at });
        }
        encode_snapshot(at, &inventory, &Executed::default()).len()
    }

    #[test]
    fn an_inventory_with_all_the_reservations_it_may_have_fits_into_a_snapshot() {
        let (some, more) = (snapshot_bytes(100), snapshot_bytes(1_100));
        let (hold_bytes, rest) = ((more - some) / 1_000, 1 << 20);
        // An open hold takes as much as a fulfilled one, a released one less.
        assert!((HOLDS_MAX + RELEASED_MAX) * hold_bytes + rest <= SNAPSHOT_BYTES_MAX, "{hold_bytes} bytes each");
        assert!(HOLDS_MAX * hold_bytes * 2 > SNAPSHOT_BYTES_MAX, "the limit is not far beyond what is needed");
    }
}
