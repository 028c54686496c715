//! The read models of projections, as keys and values in the state.
//!
//! A projection commits its changes together with its position. After a power cut, commits since the last checkpoint
//! may be lost, wholly or in part. So each checkpoint pins the positions, and a start begins at the pins: projections
//! apply what follows once more. Depends on `state`.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{
    batch::u64_at,
    errors::Fault,
    layout::StateEntry,
    record::Position,
    state::{KeyValue, State},
};

/// The longest name of a projection and the longest key in it, in bytes.
pub const READ_MODEL_KEY_BYTES_MAX: usize = 255;
/// How many keys are removed in one batch when a read model is cleared.
const CLEAR_KEYS_MAX: usize = 1_000;
const PIN_PREFIX: &[u8] = b"mpin";

/// A change of a read model.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets the value of a key. A value has at most `VALUE_BYTES_MAX` bytes less 4.
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
}

/// The read models of all projections.
#[derive(Debug)]
pub struct ReadModels {
    state: Arc<State>,
    positions: Mutex<BTreeMap<String, Position>>,
    /// Held while positions become pins, and while a read model is cleared: an old pin must not come back beside an
    /// empty one.
    pub(super) pinning: Mutex<()>,
    /// The positions that the last checkpoint pinned.
    pinned: Mutex<BTreeMap<String, Position>>,
}

impl ReadModels {
    /// Loads the pinned positions. A read model without a pin may hold anything, so it is emptied.
    pub(super) fn open(state: Arc<State>) -> Result<Self, Fault> {
        let mut positions = BTreeMap::new();
        for (key, value) in state.scan(PIN_PREFIX, PIN_PREFIX, usize::MAX)? {
            let name = String::from_utf8_lossy(&key[PIN_PREFIX.len()..]).into_owned();
            if value.len() != 8 {
                return Err(Fault::Damaged(format!("the pin of {name}")));
            }
            positions.insert(name, Position(u64_at(&value, 0)));
        }
        let pinned = Mutex::new(positions.clone());
        let read_models = Self { state, positions: Mutex::new(positions), pinning: Mutex::new(()), pinned };
        for name in read_models.stored_names()? {
            if !read_models.positions.lock().contains_key(&name) {
                read_models.remove_entries(&name)?;
            }
        }
        Ok(read_models)
    }

    fn stored_names(&self) -> Result<Vec<String>, Fault> {
        let mut names = Vec::new();
        let mut after = vec![b'l'];
        while let Some(key) = self.state.key_after(&after)?.filter(|key| key[0] == b'l') {
            let length = key.get(1).map_or(0, |length| usize::from(*length));
            let name = key.get(2..2 + length).unwrap_or_default();
            names.push(String::from_utf8_lossy(name).into_owned());
            // Skip every key of this read model.
            after = key[..(2 + length).min(key.len())].to_vec();
            after.extend_from_slice(&[0xff; READ_MODEL_KEY_BYTES_MAX + 1]);
        }
        Ok(names)
    }

    /// The position of a projection; the beginning if it never committed.
    #[must_use]
    pub fn position(&self, projection: &str) -> Position {
        self.positions.lock().get(projection).copied().unwrap_or_default()
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The state failed, or the value is damaged.
    pub fn get(&self, projection: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.state.get(&entry_key(projection, key)?)
    }

    /// Entries whose keys have this prefix, in order, beginning after `after`.
    ///
    /// # Errors
    /// The state failed, or a value is damaged.
    pub fn scan(
        &self,
        projection: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, Fault> {
        let whole_prefix = entry_key(projection, prefix)?;
        let name_bytes = whole_prefix.len() - prefix.len();
        let from = match after.filter(|after| *after >= prefix) {
            // The next possible key is the same with a zero byte appended.
            Some(after) => [entry_key(projection, after)?.as_slice(), &[0]].concat(),
            None => whole_prefix.clone(),
        };
        let mut entries = self.state.scan(&whole_prefix, &from, limit)?;
        for (key, _) in &mut entries {
            key.drain(..name_bytes);
        }
        Ok(entries)
    }

    /// Makes changes in this order, then moves the projection's position. Readers do not wait meanwhile and may see the
    /// first changes only; a crash may leave just those. Durable with the next checkpoint.
    ///
    /// # Errors
    /// A key or value is too large: nothing changed. Or the state failed: some changes may be made, but the position
    /// has not moved, so the projection applies all of them again.
    pub fn commit(&self, projection: &str, position: Position, changes: Vec<Change>) -> Result<(), Fault> {
        let mut entries: Vec<StateEntry> = Vec::with_capacity(changes.len());
        for change in changes {
            entries.push(match change {
                Change::Put(key, value) => (entry_key(projection, &key)?, Some(value)),
                Change::Delete(key) => (entry_key(projection, &key)?, None),
            });
        }
        self.state.write(entries)?;
        // Only now: a checkpoint that pins this position must find the changes made.
        self.positions.lock().insert(projection.to_owned(), position);
        Ok(())
    }

    /// Empties a read model, durably; its projection begins again.
    ///
    /// # Errors
    /// The state failed; the read model may be half empty, and the next start empties it.
    pub fn clear(&self, projection: &str) -> Result<(), Fault> {
        entry_key(projection, &[])?;
        let _pinning = self.pinning.lock();
        self.positions.lock().remove(projection);
        // Remove the pin first: a crash in between must not leave a position for a read model that has lost entries.
        self.state.apply(vec![(pin_key(projection), None)])?;
        self.state.sync()?;
        self.remove_entries(projection)?;
        self.state.sync()
    }

    fn remove_entries(&self, projection: &str) -> Result<(), Fault> {
        let prefix = entry_key(projection, &[])?;
        loop {
            let keys: Vec<_> = self.state.scan_keys(&prefix, CLEAR_KEYS_MAX)?;
            if keys.is_empty() {
                return Ok(());
            }
            self.state.apply(keys.into_iter().map(|key| (key, None)).collect())?;
        }
    }

    /// The positions as they are now.
    pub(super) fn positions(&self) -> BTreeMap<String, Position> {
        self.positions.lock().clone()
    }

    /// Of earlier positions, those of read models that are still there; where one was cleared and began again, its
    /// position now. A position may be older than the content of its read model, never newer.
    pub(super) fn still_there(&self, mut earlier: BTreeMap<String, Position>) -> BTreeMap<String, Position> {
        let now = self.positions.lock();
        earlier.retain(|name, position| {
            now.get(name).is_some_and(|now| {
                *position = (*position).min(*now);
                true
            })
        });
        earlier
    }

    /// Remembers what the last checkpoint pinned.
    pub(super) fn set_pinned(&self, positions: BTreeMap<String, Position>) {
        *self.pinned.lock() = positions;
    }

    /// Whether no position has moved since the last checkpoint.
    pub(super) fn are_pinned(&self) -> bool {
        *self.pinned.lock() == *self.positions.lock()
    }

    /// The entries that pin these positions.
    pub(super) fn pins(positions: &BTreeMap<String, Position>) -> Vec<StateEntry> {
        let pin = |(name, position): (&String, &Position)| (pin_key(name), Some(position.0.to_le_bytes().to_vec()));
        positions.iter().map(pin).collect()
    }
}

fn pin_key(projection: &str) -> Vec<u8> {
    [PIN_PREFIX, projection.as_bytes()].concat()
}

fn entry_key(projection: &str, key: &[u8]) -> Result<Vec<u8>, Fault> {
    let too_large = || Fault::TooLarge { bytes: projection.len().max(key.len()) };
    let name_bytes = u8::try_from(projection.len()).map_err(|_| too_large())?;
    if key.len() > READ_MODEL_KEY_BYTES_MAX {
        return Err(too_large());
    }
    Ok([&[b'l', name_bytes], projection.as_bytes(), key].concat())
}
