//! Power loss: what was acknowledged before the cut is there after it.
//!
//! A file system of its own (ext4 in a file, on a loop device) takes the writes; ext4's shutdown ioctl cuts the power:
//! what is not yet on the disk, data and metadata, is lost. Acknowledgements are kept outside of it. Three faults: the
//! journal alone, the journal with its syncs taken out (which must lose something, or the cut proves nothing), and the
//! whole shop.
//!
//! It needs root, loop devices, `mkfs.ext4` and `perl` (which issues the ioctl, so that no unsafe code is needed here).

mod journal;
mod shop;

use std::{env, path::PathBuf};

use crate::{Length, Outcome, Skipped, disk};

/// What was found wrong.
type Violations = Vec<String>;

/// The journal keeps what it acknowledged.
pub(crate) async fn journal(length: Length) -> Outcome {
    disk::probe_power().map_err(Skipped)?;
    Ok(journal::cut_the_journal(length).await)
}

/// Without its syncs it does not, and that is seen.
pub(crate) async fn control(_length: Length) -> Outcome {
    disk::probe_power().map_err(Skipped)?;
    Ok(journal::cut_without_syncs().await)
}

/// The shop keeps its promises.
pub(crate) async fn shop(length: Length) -> Outcome {
    disk::probe_power().map_err(Skipped)?;
    Ok(shop::cut_the_shop(length).await)
}

/// Whether this process was started to write to a journal; it has done so then.
pub(crate) async fn writes_here() -> bool {
    let Some(directory) = env::var_os(journal::WRITER_DIR) else { return false };
    journal::write(PathBuf::from(directory), env::var_os(journal::WRITER_SYNCS).is_some()).await;
    true
}
