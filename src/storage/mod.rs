//! Storage: makes events durable and loads them again.
//!
//! ```text
//! append ─▶ log (source of truth) ─▶ memtable (memory) ─▶ state (sled) ─▶ load
//!            └─▶ pages ─▶ projections ─▶ read models
//! ```
//!
//! A record is acknowledged only when a sync of the log has made it durable. The memtable holds what is not in the
//! state yet; a checkpoint writes it there; an entity is loaded from both. This room handles bytes: it decodes and
//! folds nothing. Depends on no other room.

#[cfg(feature = "cli")]
mod audit;
mod batch;
mod boot;
mod checkpoint;
pub mod codec;
mod directory_lock;
mod disk_space;
mod errors;
mod files;
mod journal;
mod layout;
mod lease;
mod limits;
mod log;
mod manifest;
mod memtable;
mod preallocator;
mod queue;
mod read_models;
mod read_pool;
mod record;
mod requests;
mod retention;
mod scan;
mod segment;
mod segment_map;
mod shared;
mod spares;
mod state;
mod status;
mod watchdog;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

#[cfg(feature = "cli")]
pub use audit::{Audit, Bases, LogScan};
pub use directory_lock::DirectoryLock;
pub use errors::{AppendError, Damage, Fault, LoadError, OpenError, PageError, Refused};
pub use files::{File, Files, RealFiles};
pub use journal::{Journal, JournalConfig};
pub use lease::Lease;
pub use limits::{JournalLimits, SNAPSHOT_BYTES_MAX, VALUE_BYTES_MAX};
pub use queue::Slot;
pub use read_models::{Change, READ_MODEL_KEY_BYTES_MAX, ReadModels};
pub use record::{Append, Loaded, Page, Position, Record, STREAM_BYTES_MAX, Snapshot, Stream};
pub use retention::{
    copy::{CopyProgress, JournalCopy},
    shared::Compacted,
};
pub use scan::Scan;
pub use state::KeyValue;
pub use status::{Figures, Status};
