//! The control socket of a running shop: a Unix socket in the data directory, for whoever may read that directory
//! anyway. With it `souk backup`, `compact`, `import` and `export` are the same commands whether the shop runs or not.
//!
//! ```text
//! client ── Request ──────────────────────▶ server
//!        ◀─ Report, Report, … the outcome ──        backup, compact, export
//!        ◀─ Ready { rows_max } ────────────
//!        ── RowRequest, RowRequest, … ────▶         import: at most `rows_max` without an answer
//!        ◀─ Row, Row, … ───────────────────         in any order, by their numbers
//! ```
//!
//! While a command is in progress the server sends `Working` from time to time, and the client of an import `Reading`,
//! so that each side can tell a busy other side from one that is gone.
//!
//! Every message is a frame: its length in four bytes, then JSON. Files are read and written by the client, so that the
//! shop holds no more of them than the rows in progress.
//!
//! May depend on `shop`, `storage` and `catalogue`.

pub mod client;
mod frames;
mod message;
pub mod server;

use std::path::{Path, PathBuf};

pub use self::message::{Report, Request, Upkeep};
use crate::config::layout;

/// Where the socket of a data directory is.
#[must_use]
pub fn socket(data: &Path) -> PathBuf {
    data.join(layout::CONTROL).join("souk.sock")
}
