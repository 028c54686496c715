//! Storage: how what happened is made durable, and found again.
//!
//! ```text
//! append ─▶ log (the truth) ─▶ tail (memory) ─▶ state (sled) ─▶ load
//!            └─▶ pages ─▶ projections ─▶ lists
//! ```
//!
//! A record is acknowledged when a sync of the log has made it durable, and by nothing else. The tail holds what the state
//! does not have yet; a checkpoint carries it over; an entity is loaded from both. This room knows bytes only: it decodes
//! and folds nothing, and uses nothing else of the shop.

mod audit;
mod batch;
mod boot;
mod checkpoint;
pub mod codec;
mod errors;
mod files;
mod journal;
mod keeper;
mod layout;
mod lease;
mod limits;
mod lists;
mod loads;
mod log;
mod marker;
mod queue;
mod record;
mod retention;
mod segment;
mod shared;
mod state;
mod status;
mod tail;
mod walk;
mod watch;
mod writer;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests_crash;
#[cfg(test)]
mod tests_faults;
#[cfg(test)]
mod tests_journal;
#[cfg(test)]
mod tests_model;
#[cfg(test)]
mod tests_retention;

pub use audit::{Audit, Bases, LogWalk};
pub use errors::{AppendError, Damage, Fault, LoadError, OpenError, PageError, Refused};
pub use files::{File, Files, RealFiles};
pub use journal::{Journal, JournalConfig};
pub use lease::Lease;
pub use limits::{JournalLimits, SNAPSHOT_BYTES_MAX, VALUE_BYTES_MAX};
pub use lists::{Change, LIST_KEY_BYTES_MAX, Lists};
pub use queue::Slot;
pub use record::{Append, Loaded, Page, Position, Record, STREAM_BYTES_MAX, Snapshot, Stream};
pub use retention::{
    compactor::Compacted,
    copy::{CopyProgress, JournalCopy},
};
pub use state::KeyValue;
pub use status::{Figures, Status};
pub use walk::Walk;
