//! The messages between client and server.
//!
//! May depend on `shop`, `storage`, `catalogue` and `domain`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    app::{failure::Failure, rows::RowResult},
    catalogue::entry::Row,
    domain::product::Kept,
    shop::{import::SetStock, upkeep::Backup},
    storage::Compacted,
};

/// A command of an operator to a running shop.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Compact the log or take a backup.
    Upkeep(Upkeep),
    /// Send the catalogue.
    Export,
    /// Import the rows that follow.
    Import {
        /// The e-mail address of the seller to whom new products belong; without one, the operator.
        seller: Option<String>,
        /// Whether a stock in the file replaces one that was set before.
        set_stock: SetStock,
        /// Whether rows are only checked.
        dry_run: bool,
    },
}

/// What keeps a shop's files small and safe.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upkeep {
    /// Take a base and remove what it replaces.
    Compact,
    /// Copy the shop into this directory, which must not exist.
    Backup {
        /// Must be absolute: client and shop have different working directories.
        to: PathBuf,
    },
}

/// A report of the shop about the command.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// A copy is under way.
    Copying {
        /// Bytes copied so far.
        done: u64,
        /// Bytes to copy in all.
        total: u64,
    },
    /// The log was compacted.
    Compacted {
        /// Where the log goes on after the base.
        position: u64,
        /// The length of the base, in bytes.
        base_bytes: u64,
        /// The length of the log that is kept, in bytes.
        log_bytes: u64,
        /// How many segments were removed.
        segments_removed: u64,
    },
    /// The backup is complete.
    BackedUp(Backup),
    /// Lines of an export.
    Lines(String),
    /// The export is complete.
    Exported {
        /// How many products were written.
        products: u64,
    },
    /// The client may send rows.
    Ready {
        /// How many rows may be without an answer at once.
        rows_max: usize,
        /// How long the client may be silent while none of its rows is in progress, in milliseconds.
        idle_ms_max: u64,
    },
    /// The result of a row.
    Row {
        /// The number of its request.
        number: u64,
        /// What it changed, or why it was refused.
        result: RowResult,
    },
    /// The shop is already serving as many commands as it can.
    Busy,
    /// The command failed.
    Failed(Failure),
    /// The command is in progress; sent at once, and again while there is nothing else to report.
    Working,
}

/// A message of the client of an import.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RowRequest {
    /// A row to import.
    Row {
        /// The client's number for it.
        number: u64,
        /// What its products keep where the row does not state it.
        keep: Vec<Kept>,
        row: Row,
    },
    /// The client is still reading its file.
    Reading,
}

impl From<Compacted> for Report {
    fn from(compacted: Compacted) -> Self {
        let Compacted { position, base_bytes, log_bytes, segments_removed } = compacted;
        Self::Compacted { position: position.0, base_bytes, log_bytes, segments_removed }
    }
}
