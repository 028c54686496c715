//! Opens the index on disk: as it is if it is whole, empty if there is none, and empty again if it is damaged.
//!
//! The index is a projection: whatever is lost in it can be built again from the log, so damage never keeps the shop
//! closed. A damaged index is moved aside, not deleted, so that its damage can be examined. Depends on `storage`,
//! tantivy and the file system.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tantivy::{
    Index, IndexReader, ReloadPolicy, TantivyError,
    directory::{
        MmapDirectory,
        error::{LockError, OpenDirectoryError, OpenReadError, OpenWriteError},
    },
};

use super::{
    field_counts::WordCountsTokenizer,
    schema::{Fields, SCHEMA_VERSION, WORDS_TOKENIZER, schema, settings},
    snapshot::Snapshot,
};
use crate::{
    config::layout::{DIRECTORY_MODE, LOST_AND_FOUND},
    directories,
    storage::Position,
};

/// The file that tantivy opens first.
const META_FILE: &str = "meta.json";

/// How many blocks of stored cards are cached for each segment; 2 KiB each.
const CARD_BLOCKS_CACHED: usize = 64;

/// What every commit carries beside the documents.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    schema_version: u32,
    /// The store whose log is indexed.
    store: u64,
    position: u64,
}

/// The payload of a commit at `position`.
pub(super) fn payload(store: u64, position: Position) -> String {
    format!(r#"{{"schema_version":{SCHEMA_VERSION},"store":{store},"position":{}}}"#, position.0)
}

/// Why there is no index to work with, not even an empty one.
#[derive(Debug, thiserror::Error)]
#[error("cannot open or make a search index in {}: {problem}", directory.display())]
pub struct OpenError {
    /// The directory of the index.
    pub directory: PathBuf,
    /// What failed.
    pub problem: String,
    /// The system's error, if there was one.
    #[source]
    pub cause: Option<Arc<io::Error>>,
}

impl OpenError {
    fn io(directory: &Path, error: io::Error) -> Self {
        Self { directory: directory.to_owned(), problem: error.to_string(), cause: Some(Arc::new(error)) }
    }

    fn of(directory: &Path, damage: &Damage) -> Self {
        let cause = match damage {
            Damage::Refused(cause) => Some(Arc::clone(cause)),
            _ => None,
        };
        Self { directory: directory.to_owned(), problem: damage.to_string(), cause }
    }
}

/// Why an index is not used as it stands.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Damage {
    /// The system has no room or no file descriptors left, which says nothing about the index.
    #[error("{0}")]
    Refused(Arc<io::Error>),
    /// A file is missing, cannot be read or makes no sense.
    #[error("{0}")]
    Unreadable(String),
    /// Files do not have the checksums they were written with.
    #[error("wrong checksums: {0:?}")]
    Checksums(Vec<PathBuf>),
    /// Written by another version of the shop.
    #[error("it has another schema")]
    OtherSchema,
    /// The index of another shop, or of a copy of this one whose log goes on otherwise.
    #[error("it belongs to another shop, or to another copy of this one")]
    OtherStore,
}

impl From<tantivy::TantivyError> for Damage {
    fn from(error: tantivy::TantivyError) -> Self {
        match io_error(&error) {
            Some(cause) if is_about_the_system(cause) => Self::Refused(Arc::clone(cause)),
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

fn io_error(error: &TantivyError) -> Option<&Arc<io::Error>> {
    match error {
        TantivyError::IoError(error)
        | TantivyError::OpenDirectoryError(OpenDirectoryError::IoError { io_error: error, .. })
        | TantivyError::OpenReadError(OpenReadError::IoError { io_error: error, .. })
        | TantivyError::OpenWriteError(OpenWriteError::IoError { io_error: error, .. })
        | TantivyError::LockFailure(LockError::IoError(error), _) => Some(error),
        _ => None,
    }
}

/// Whether another attempt may succeed on the same files.
fn is_about_the_system(error: &io::Error) -> bool {
    use io::ErrorKind::{OutOfMemory, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let out_of_descriptors = [Errno::MFILE, Errno::NFILE].iter().any(|code| Errno::from_io_error(error) == Some(*code));
    out_of_descriptors || matches!(error.kind(), OutOfMemory | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

/// An index that is open.
pub(super) struct Opened {
    /// The index, for a writer.
    pub(super) index: Index,
    /// The source of snapshots.
    pub(super) reader: IndexReader,
    /// The committed state.
    pub(super) snapshot: Snapshot,
    /// Whether it existed before.
    pub(super) origin: Origin,
}

/// Whether an open index existed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It existed already.
    Kept,
    /// It is new and empty.
    New,
}

/// The log that an index must be of.
pub(super) struct Log<'a> {
    /// The store's identity.
    pub(super) store: u64,
    /// Whether the log can be followed from a position.
    pub(super) can_follow: &'a dyn Fn(Position) -> bool,
}

pub(super) fn is_present(directory: &Path) -> bool {
    directory.join(META_FILE).exists()
}

/// Opens the index in `directory`, or makes an empty one where there is none, a damaged one or one of another log.
pub(super) fn open(directory: &Path, fields: &Fields, log: &Log<'_>) -> Result<Opened, OpenError> {
    let empty = match fs::read_dir(directory) {
        Ok(entries) => entries.filter_map(Result::ok).all(|entry| entry.file_name() == LOST_AND_FOUND),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(OpenError::io(directory, error)),
    };
    if empty {
        return create(directory, fields);
    }
    let ours = |opened: Opened| match commit_of(&opened.index)? {
        Some(Payload { store, position, .. }) if store != log.store || !(log.can_follow)(Position(position)) => {
            Err(Damage::OtherStore)
        }
        _ => Ok(opened),
    };
    match guarded(|| open_whole(directory, fields).and_then(ours)) {
        Ok(opened) => Ok(opened),
        Err(refused @ Damage::Refused(_)) => Err(OpenError::of(directory, &refused)),
        Err(damage) => replace(directory, fields, &damage),
    }
}

/// Moves what is in `directory` aside and makes an empty index in its place. One damaged index is kept: the last.
pub(super) fn replace(directory: &Path, fields: &Fields, damage: &Damage) -> Result<Opened, OpenError> {
    let failed = |error| OpenError::io(directory, error);
    let aside = directories::aside_of(directory, None);
    tracing::error!(
        directory = %directory.display(), moved_to = %aside.display(), %damage,
        "the search index is not usable and is built anew; search is incomplete until that is done"
    );
    match fs::remove_dir_all(&aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    match directories::move_aside(directory, &aside) {
        // It was deleted while the shop runs.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        moved => moved.map_err(failed)?,
    }
    create(directory, fields)
}

fn create(directory: &Path, fields: &Fields) -> Result<Opened, OpenError> {
    let made = guarded(|| {
        let made = fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
        made.map_err(|error| Damage::Refused(Arc::new(error)))?;
        let files = MmapDirectory::open(directory).map_err(tantivy::TantivyError::from)?;
        let index = Index::create(files, schema().0, settings())?;
        with_reader(index, fields, Origin::New)
    });
    made.map_err(|damage| OpenError::of(directory, &damage))
}

/// The index as it stands, if it is whole.
pub(super) fn open_whole(directory: &Path, fields: &Fields) -> Result<Opened, Damage> {
    let files = MmapDirectory::open(directory).map_err(tantivy::TantivyError::from)?;
    let index = Index::open(files)?;
    if index.schema() != schema().0 || *index.settings() != settings() {
        return Err(Damage::OtherSchema);
    }
    committed(&index)?;
    verify(&index)?;
    with_reader(index, fields, Origin::Kept)
}

fn with_reader(index: Index, fields: &Fields, origin: Origin) -> Result<Opened, Damage> {
    index.tokenizers().register(WORDS_TOKENIZER, WordCountsTokenizer::default());
    let reader = index
        .reader_builder()
        .reload_policy(ReloadPolicy::Manual)
        .doc_store_cache_num_blocks(CARD_BLOCKS_CACHED)
        .try_into()?;
    let snapshot = Snapshot::open(reader.searcher(), fields)?;
    Ok(Opened { index, reader, snapshot, origin })
}

/// The position of the last commit; an index that was never committed to is at the beginning.
pub(super) fn committed(index: &Index) -> Result<Position, Damage> {
    Ok(commit_of(index)?.map_or(Position::BEGINNING, |payload| Position(payload.position)))
}

fn commit_of(index: &Index) -> Result<Option<Payload>, Damage> {
    let Some(text) = index.load_metas()?.payload else { return Ok(None) };
    let payload: Payload = serde_json::from_str(&text).map_err(|error| Damage::Unreadable(error.to_string()))?;
    if payload.schema_version == SCHEMA_VERSION { Ok(Some(payload)) } else { Err(Damage::OtherSchema) }
}

/// Reads every file of the index and compares it with its checksum.
pub(super) fn verify(index: &Index) -> Result<(), Damage> {
    let mut wrong: Vec<PathBuf> = index.validate_checksum()?.into_iter().collect();
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.sort();
    Err(Damage::Checksums(wrong))
}

/// Runs `work` on files that may hold anything; tantivy panics on some of what it does not expect.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Damage>) -> Result<T, Damage> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(Damage::Unreadable(format!("a panic: {text}")))
        }
    }
}
