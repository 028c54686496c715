//! How events and snapshots become stored bytes, and back.
//!
//! Every record carries the version of its form. Version 1 of each is the domain's own type in bincode, which is positional:
//! fields and variants are never reordered, removed or inserted. The golden bytes in `tests/golden/` hold us to it. When a
//! type has to change, its old form is kept here, and `decode_…` lifts it to the new one.
//!
//! May depend on `storage::codec` and `domain`.

use crate::{
    domain::entity::Entity,
    storage::{
        Loaded,
        codec::{CodecError, decode, encode},
    },
};

/// The version in which events and snapshots are written today.
pub const VERSION: u16 = 1;

/// Stored bytes that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by a later release.
    #[error("stored in version {version}, this release knows up to {VERSION}")]
    UnknownVersion {
        /// The version found.
        version: u16,
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
    check(version)?;
    Ok(decode(bytes)?)
}

/// The stored form of an entity's state.
#[must_use]
pub fn encode_snapshot<E: Entity>(entity: &E) -> Vec<u8> {
    encode(entity)
}

/// The entity of a stored stream: its snapshot and the events since. The same fold for an actor and for a reader.
///
/// # Errors
/// [`RecordError`].
pub fn replay<E: Entity>(loaded: &Loaded) -> Result<E, RecordError> {
    let mut entity = match &loaded.snapshot {
        Some(snapshot) => {
            check(snapshot.version)?;
            decode(&snapshot.bytes)?
        }
        None => E::default(),
    };
    for record in &loaded.records {
        entity.apply(&decode_event::<E>(record.version, &record.payload)?);
    }
    Ok(entity)
}

fn check(version: u16) -> Result<(), RecordError> {
    if version == VERSION { Ok(()) } else { Err(RecordError::UnknownVersion { version }) }
}
