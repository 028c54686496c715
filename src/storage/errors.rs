//! What can go wrong in storage, by what the caller can do about it.
//!
//! Depends on `thiserror`.

use std::{io, path::PathBuf, sync::Arc};

use super::record::Position;

/// Why the journal takes no append. Nothing was executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(unnameable_types, reason = "it only becomes a public error")]
pub enum Refused {
    /// The disk is nearly full. Reads go on; writes resume when there is room again.
    #[error("the journal is read-only: the disk is nearly full")]
    ReadOnly,
    /// A write or a sync failed. The process must start again.
    #[error("the journal has failed")]
    Failed,
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why an append was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The lease was lost, or the sequence is not the next one: there is a second writer. The record is not written.
    #[error("another writer has the stream")]
    Conflict,
    /// The payload is larger than a record may be. The record is not written.
    #[error("the record is too large")]
    TooLarge,
    /// The write or the sync failed, or the journal stopped before it. The record may or may not be durable.
    #[error("the write failed: perhaps it is durable, perhaps not")]
    Failed,
}

/// Bytes in a file differ from what was written.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is damaged at byte {offset}: {what}", file.display())]
pub struct Damage {
    pub file: PathBuf,
    /// In bytes from the beginning of the file.
    pub offset: u64,
    pub what: String,
}

/// A failure of the disk or of the state's store.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A call on a file failed.
    #[error("{doing}: {source}")]
    Io {
        /// The operation, for the message.
        doing: String,
        source: Arc<io::Error>,
    },
    /// The state's store failed.
    #[error("the state store failed: {0}")]
    State(String),
    /// A stored value differs from what was written.
    #[error("the state is damaged: {0}")]
    Damaged(String),
    /// A value or a name is larger than the state takes.
    #[error("a key and value of {bytes} bytes are too large for the state")]
    TooLarge { bytes: usize },
    /// A write or a sync of the log failed earlier.
    #[error("the journal has failed")]
    Failed,
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

impl Fault {
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source: Arc::new(source) }
    }
}

/// Why a stream could not be loaded.
#[derive(Debug, Clone, thiserror::Error)]
#[allow(unnameable_types, reason = "it only becomes a public error")]
pub enum LoadError {
    /// What is stored of it is inconsistent.
    #[error("the stream is damaged: {0}")]
    Damaged(String),
    /// It could not be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a page of the log could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PageError {
    /// The position is older than the oldest segment: seed from the state instead.
    #[error("the log begins at byte {}", oldest.0)]
    Gone {
        /// Where the log begins now.
        oldest: Position,
    },
    /// The position is not the end of a batch, or the log is damaged there.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The log could not be read.
    #[error("cannot read the log: {0}")]
    Io(#[source] Arc<io::Error>),
}

impl From<io::Error> for PageError {
    fn from(source: io::Error) -> Self {
        Self::Io(Arc::new(source))
    }
}

/// Names the segment that the manifest mentions.
fn newest_segment(first: Option<u64>) -> String {
    first.map(|first| format!(", its newest segment is {first:020}.log")).unwrap_or_default()
}

/// Why a journal did not open. Trying again repairs none of these, and none may end as an empty shop.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds the directory's lock.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The log or the manifest is damaged.
    #[error("{0}; restore the data directory from a copy")]
    Damaged(#[from] Damage),
    /// There is data, but no manifest that says to which store it belongs.
    #[error("{} has data but no manifest file; restore the manifest or the whole directory from a backup", .0.display())]
    ManifestMissing(PathBuf),
    /// The manifest mentions a later position than the log reaches: data is missing.
    #[error(
        "the log in {} was known to reach byte {}, but it ends at byte {}: data is missing{}; restore the directory from a copy",
        log.display(), known.0, end.0, newest_segment(*segment)
    )]
    Short {
        log: PathBuf,
        /// The position in the manifest.
        known: Position,
        /// The newest segment in the manifest.
        segment: Option<u64>,
        /// Where the log ends now.
        end: Position,
    },
    /// The state must be rebuilt, but the beginning of the log is missing.
    #[error(
        "{} cannot be rebuilt ({why}): the log begins with {:020}.log, and the segments before it are missing; restore the directory from a copy",
        state.display(), oldest.0
    )]
    CannotRebuild {
        state: PathBuf,
        /// Why the state cannot be used.
        why: String,
        oldest: Position,
    },
    /// The disk or the state's store failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}
