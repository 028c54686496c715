//! The tests of this room: power cuts, disk faults, guarantees of the interface, a model, retention.

mod checkpoint;
mod crash;
mod cut_state;
mod faults;
mod journal;
mod model;
mod retention;
mod simulated_disk;
mod strange_batches;

use std::path::Path;

pub(crate) use simulated_disk::copy_dir;

use super::state::{KeyValue, State};

/// All keys and values of a state as a kill at this moment would leave them: also what is deleted, but not on the disk
/// yet.
pub(crate) fn stored_now(state: &Path) -> Vec<KeyValue> {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(state, copy.path());
    let state = State::open(copy.path(), 1 << 20, &std::sync::Arc::default()).expect("the copy is whole");
    state.scan(&[], &[], usize::MAX).unwrap()
}
