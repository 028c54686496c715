//! The names of the parts of a data directory.
//!
//! Several rooms look into it: the shop, which owns it, the checker, and the program's control socket.
//!
//! Depends on `std` only.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The log, its bases and the state.
pub(crate) const JOURNAL: &str = "journal";
/// The keys of the shop.
pub(crate) const IDENTITY: &str = "identity";
/// The search index.
pub(crate) const SEARCH: &str = "search";
/// The socket of the running shop.
pub(crate) const CONTROL: &str = "control";
/// Names the store that the other parts belong to.
pub(crate) const STORE_IDENTITY: &str = "souk.identity";
/// The ledger of the fake provider in the process, unless the settings name another file.
pub(crate) const LEDGER: &str = "simulated-provider.jsonl";
/// An empty file that is there from before a restore writes its first file until its last one is durable.
pub(crate) const RESTORING: &str = "souk.restoring";

/// What the system makes on a new file system, and no part of the shop.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";

/// The file that shows that a restore into this directory has not finished, if it is there.
pub(crate) fn unfinished_restore(data: &Path) -> io::Result<Option<PathBuf>> {
    let file = data.join(RESTORING);
    match file.symlink_metadata() {
        Ok(_) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
