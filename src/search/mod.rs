//! Search: a tantivy index of the products that are listed, written by a projection and read by everybody.
//!
//! ```text
//! records of products ─▶ IndexProjection ─▶ words, field_counts, document ─▶ tantivy ─▶ snapshot
//!                                                                                          │
//!                  SearchPage ◀─ page (the best, in order) ◀─ matching ◀─ SearchRequest ◀──┘
//! ```
//!
//! tantivy keeps the posting lists, the columns and the commits. Which products match and in which order is decided
//! here, in `matching` and `page`: one posting list per word, exact totals, pages that continue after the last product
//! shown.
//!
//! *Invariants.* A search finds what was committed last; a commit holds its position in the log. A damaged index is
//! moved aside and built again, and never keeps the shop from starting. The text of a query is never a query language.
//!
//! Depends on `domain` (products), `actors` (what a projection is) and `storage` (records and positions).

#[cfg(feature = "cli")]
pub mod audit;
mod categories;
mod document;
mod field_counts;
mod index;
mod matching;
mod opening;
mod page;
mod page_end;
mod query;
mod ranking;
mod request;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;
mod words;

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use tantivy::{Index, IndexReader};

pub use self::{
    categories::CATEGORIES_MAX,
    index::IndexProjection,
    opening::{Damage, OpenError},
    query::{ALL_WORDS_PRODUCTS_MIN, QUERY_WORDS_MAX},
    request::{
        CategoryCount, Hit, PAGE_PRODUCTS_DEFAULT, PAGE_PRODUCTS_MAX, QUERY_BYTES_MAX, SearchError, SearchPage,
        SearchRequest, Sort,
    },
};
use self::{
    opening::{Opened, Origin, guarded},
    schema::Fields,
    snapshot::Snapshot,
    words::Analyzer,
};
use crate::storage::Position;

thread_local! {
    /// The filters of words keep buffers; making them for each query would cost more than a short query takes.
    static ANALYZER: RefCell<Analyzer> = RefCell::new(Analyzer::default());
}

/// Whether the index holds the whole catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It holds the catalogue up to the projection's position.
    Ready,
    /// It began empty and is being built; what is not in it yet is not found.
    Rebuilding,
}

/// The search index of the shop. Cheap to clone; all clones are the same index.
#[derive(Clone)]
pub struct Search {
    shared: Arc<Shared>,
}

struct Shared {
    directory: PathBuf,
    /// The store whose log is indexed.
    store: u64,
    fields: Fields,
    files: Mutex<Files>,
    snapshot: RwLock<Arc<Snapshot>>,
    status: RwLock<Status>,
}

/// The index as the writer needs it.
struct Files {
    index: Index,
    reader: IndexReader,
}

impl Search {
    /// Whether there is an index in `directory`, even a damaged one.
    #[must_use]
    pub fn is_present(directory: &Path) -> bool {
        opening::is_present(directory)
    }

    /// Opens the index in `directory`, of the log of `store`, which says whether it can be followed from a position.
    /// Where there is no index it begins empty; where it is damaged, of another version or of another log it is moved
    /// aside, with an error in the log, and begins empty: [`Search::status`] tells.
    ///
    /// # Errors
    /// Not even an empty index can be made there.
    pub fn open_for(directory: &Path, store: u64, can_follow: &dyn Fn(Position) -> bool) -> Result<Self, OpenError> {
        let (_, fields) = schema::schema();
        let log = opening::Log { store, can_follow };
        let Opened { index, reader, snapshot, origin } = opening::open(directory, &fields, &log)?;
        let status = match origin {
            Origin::Kept => Status::Ready,
            Origin::New => Status::Rebuilding,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                directory: directory.to_owned(),
                store,
                fields,
                files: Mutex::new(Files { index, reader }),
                snapshot: RwLock::new(Arc::new(snapshot)),
                status: RwLock::new(status),
            }),
        })
    }

    /// Finds a page of products. Runs on the caller's thread, without waiting for anything but memory-mapped files.
    ///
    /// # Errors
    /// [`SearchError`]: the request is not possible, or the index cannot be read.
    pub fn find(&self, request: &SearchRequest) -> Result<SearchPage, SearchError> {
        let snapshot = self.snapshot();
        let mut found = None;
        let read = guarded(|| {
            ANALYZER.with_borrow_mut(|analyzer| {
                found = Some(query::find(&snapshot, &self.shared.fields, analyzer, request));
            });
            Ok(())
        });
        match (read, found) {
            (Ok(()), Some(found)) => found,
            (Ok(()), None) => Err(SearchError::Fault { problem: "no answer".to_owned() }),
            (Err(damage), _) => Err(SearchError::Fault { problem: damage.to_string() }),
        }
    }

    /// The categories of the first two levels with their numbers of products; counted once per commit.
    ///
    /// # Errors
    /// [`SearchError::Fault`]: the index cannot be read.
    pub fn categories(&self) -> Result<Arc<[CategoryCount]>, SearchError> {
        let snapshot = self.snapshot();
        if let Some(counted) = snapshot.categories.get() {
            return Ok(Arc::clone(counted));
        }
        let counted = guarded(|| Ok(categories::count(&snapshot, &self.shared.fields)?));
        let counted = counted.map_err(|damage| SearchError::Fault { problem: damage.to_string() })?;
        Ok(Arc::clone(snapshot.categories.get_or_init(|| counted.into())))
    }

    /// How many products the index has.
    #[must_use]
    pub fn products(&self) -> u64 {
        self.snapshot().searcher.num_docs()
    }

    /// Whether the index holds the whole catalogue.
    #[must_use]
    pub fn status(&self) -> Status {
        *self.shared.status.read()
    }

    /// Called when the projection has come to the end of the log: a rebuilt index is complete again.
    pub fn caught_up(&self) {
        *self.shared.status.write() = Status::Ready;
    }

    /// Reads every file of the index and compares it with its checksum: for a check in the background. Takes about as
    /// long as reading the files.
    ///
    /// # Errors
    /// [`Damage`]; [`Search::open_for`] then builds the index again.
    #[cfg(feature = "cli")]
    pub fn verify(&self) -> Result<(), Damage> {
        let index = self.index();
        guarded(|| opening::verify(&index))
    }

    /// Opens an index without a journal beside it.
    #[cfg(test)]
    pub(crate) fn open(directory: &Path) -> Result<Self, OpenError> {
        Self::open_for(directory, 0, &|_| true)
    }

    fn store(&self) -> u64 {
        self.shared.store
    }

    fn fields(&self) -> &Fields {
        &self.shared.fields
    }

    fn index(&self) -> Index {
        self.shared.files.lock().index.clone()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shared.snapshot.read())
    }

    /// Makes what was committed visible to searches.
    fn reload(&self) -> Result<(), Damage> {
        let files = self.shared.files.lock();
        files.reader.reload()?;
        let snapshot = Snapshot::open(files.reader.searcher(), &self.shared.fields)?;
        *self.shared.snapshot.write() = Arc::new(snapshot);
        Ok(())
    }

    /// Puts an empty index in the place of a damaged one. Searches under way end on the old one.
    fn replace(&self, damage: &Damage) -> Result<(), OpenError> {
        let mut files = self.shared.files.lock();
        let opened = opening::replace(&self.shared.directory, &self.shared.fields, damage)?;
        *self.shared.status.write() = Status::Rebuilding;
        *self.shared.snapshot.write() = Arc::new(opened.snapshot);
        *files = Files { index: opened.index, reader: opened.reader };
        Ok(())
    }
}
