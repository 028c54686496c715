//! Power loss: everything that was acknowledged before the cut is there after it.
//!
//! A file system of its own (ext4 in a file, on a loop device) takes the writes. ext4's shutdown ioctl cuts the power:
//! data and metadata that have not reached the disk are lost. Acknowledgements are kept outside of it. There are three
//! faults: the journal alone, the journal without its syncs (which must lose something, or the cut proves nothing), and
//! the whole shop.
//!
//! It needs root, loop devices, `mkfs.ext4` and `perl` (which issues the ioctl, so that no unsafe code is needed here).

mod journal;
mod shop;

use std::{env, path::PathBuf};

use crate::{Length, Outcome, Skipped, disk};

/// The violations that were found.
type Violations = Vec<String>;

/// The journal keeps everything that it acknowledged.
pub(crate) async fn journal(length: Length) -> Outcome {
    disk::probe_power().map_err(Skipped)?;
    Ok(journal::cut_the_journal(length).await)
}

/// Without its syncs it does not, and the test notices that.
pub(crate) async fn control(_length: Length) -> Outcome {
    disk::probe_power().map_err(Skipped)?;
    Ok(journal::cut_without_syncs().await)
}

/// The shop keeps everything that it acknowledged.
pub(crate) async fn shop(length: Length) -> Outcome {
    disk::probe_power().map_err(Skipped)?;
    Ok(shop::cut_the_shop(length).await)
}

/// Whether this process was started to write to a journal; then it has done so.
pub(crate) async fn writes_here() -> bool {
    let Some(directory) = env::var_os(journal::WRITER_DIR) else { return false };
    journal::write(PathBuf::from(directory), env::var_os(journal::WRITER_SYNCS).is_some()).await;
    true
}
