//! The names of the parts of a data directory, and the modes of its files.
//!
//! Several rooms look into it: the shop, which owns it, the checker, and the program's control socket.
//!
//! Depends on `std` only.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The mode of each file that the shop makes: it has customers' data or secrets in it, so only its owner may read it.
pub(crate) const FILE_MODE: u32 = 0o600;
/// The mode of each directory that the shop makes, for the same reason.
pub(crate) const DIRECTORY_MODE: u32 = 0o700;
/// The permission bits of everybody but the owner.
pub(crate) const OTHERS_MODE: u32 = 0o077;

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
/// The ledger of the built-in fake provider, unless the settings name another file.
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
