//! The projection that writes the index.
//!
//! The position in the log is part of every commit of the index, so content and position never disagree. Each change
//! replaces the product's whole document, so a change may be applied twice.
//!
//! Depends on `actors` (projections, records), `storage`, `domain` and tantivy.

use std::time::{Duration, Instant};

use tantivy::{
    IndexWriter, TantivyDocument, Term,
    indexer::{IndexWriterOptions, LogMergePolicy},
};

use super::{
    Search,
    document::document,
    opening::{Damage, committed, guarded, payload},
    words::Analyzer,
};
use crate::{
    actors::{
        projection::{Projection, ProjectionFault},
        records,
    },
    domain::{
        entity::{Entity, EntityId, Kind, Timestamp},
        ids::{ProductId, SellerId},
        product::{Details, Event, Product, View},
    },
    storage::{Loaded, Position, Record, Stream},
};

/// The projection's name in logs and metrics.
const NAME: &str = "search";

/// What the writer may hold in memory before it writes a segment, in bytes: little more than tantivy's least of 15 MB.
/// The process has 300 MB, and a larger heap makes only a first build faster.
const WRITER_HEAP_BYTES: usize = 20_000_000;

/// How many segments of a size are merged into one. Fewer segments make searches faster, fewer merges make writing
/// cheaper; a catalogue is searched more than it is changed.
const MERGED_SEGMENTS_MIN: usize = 4;

/// The share of deleted documents from which on a segment is rewritten: they cost every search time.
const DELETED_SHARE_MAX: f32 = 0.2;

/// How many commits without any change of the catalogue may pass before the position is written. Most records of the
/// log are not about products; writing the index for them would sync the disk for nothing. After a crash they are read
/// again.
const COMMITS_SKIPPED_MAX: u32 = 64;

/// After how long the position is written in any case, so that a compaction of the log does not outrun it.
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(600);

/// Keeps the index up to date with the catalogue. There is one at a time: it holds the index's only writer.
pub struct IndexProjection {
    search: Search,
    analyzer: Analyzer,
    /// `None` once it has failed.
    writer: Option<IndexWriter>,
    position: Position,
    /// Whether something was applied since the last commit.
    pending: Pending,
    commits_skipped: u32,
    committed_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Nothing,
    Changes,
}

impl IndexProjection {
    /// A projection that continues where the index's last commit ended.
    ///
    /// # Errors
    /// Another projection holds the writer, or no index can be made on the disk.
    pub fn new(search: Search) -> Result<Self, ProjectionFault> {
        let (writer, position) = match guarded(|| open_writer(&search)) {
            Ok(opened) => opened,
            Err(refused @ Damage::Refused(_)) => return Err(fault(&refused)),
            Err(damage) => {
                search.replace(&damage).map_err(|error| fault(&error))?;
                guarded(|| open_writer(&search)).map_err(|damage| fault(&damage))?
            }
        };
        let writer = Some(writer.map_err(|busy| fault(&busy))?);
        // A commit may have succeeded before its reload failed; then no later commit might come to show its content.
        guarded(|| search.reload()).map_err(|damage| fault(&damage))?;
        Ok(Self {
            search,
            analyzer: Analyzer::default(),
            writer,
            position,
            pending: Pending::Nothing,
            commits_skipped: 0,
            committed_at: Instant::now(),
        })
    }

    /// Writes a change of a product.
    pub(super) fn apply_event(&mut self, id: &ProductId, event: &Event) -> Result<(), ProjectionFault> {
        match event {
            Event::Listed { seller, details, at } => self.put(id, details, *seller, *at),
            Event::Delisted { .. } => self.replace(id, None),
        }
    }

    fn put(
        &mut self,
        id: &ProductId,
        details: &Details,
        seller: SellerId,
        at: Timestamp,
    ) -> Result<(), ProjectionFault> {
        let added = document(self.search.fields(), &mut self.analyzer, id, details, seller, at);
        self.replace(id, added)
    }

    /// Replaces the product's document, or removes it.
    fn replace(&mut self, id: &ProductId, added: Option<TantivyDocument>) -> Result<(), ProjectionFault> {
        let Some(writer) = &self.writer else { return Err(fault(&"the writer has failed before")) };
        let id_field = self.search.fields().id;
        let written = guarded(|| {
            writer.delete_term(Term::from_field_text(id_field, id.as_str()));
            if let Some(added) = added {
                writer.add_document(added)?;
            }
            Ok(())
        });
        self.pending = Pending::Changes;
        self.unless_failed(written)
    }

    /// Drops the writer if it has failed: it cannot be used again, and it holds the lock that the next one needs.
    fn unless_failed<T>(&mut self, done: Result<T, Damage>) -> Result<T, ProjectionFault> {
        done.map_err(|damage| {
            self.writer = None;
            fault(&damage)
        })
    }
}

/// The writer is held by another projection.
#[derive(Debug, thiserror::Error)]
#[error("the index has another writer: {0}")]
struct Busy(String);

/// The writer with the position to continue from. That another writer has the lock says nothing about the index.
fn open_writer(search: &Search) -> Result<(Result<IndexWriter, Busy>, Position), Damage> {
    let index = search.index();
    let position = committed(&index)?;
    let options = IndexWriterOptions::builder()
        .num_worker_threads(1)
        .num_merge_threads(1)
        .memory_budget_per_thread(WRITER_HEAP_BYTES)
        .build();
    let writer: IndexWriter = match index.writer_with_options(options) {
        Ok(writer) => writer,
        Err(tantivy::TantivyError::LockFailure(error, _)) => return Ok((Err(Busy(format!("{error:?}"))), position)),
        Err(error) => return Err(error.into()),
    };
    let mut policy = LogMergePolicy::default();
    policy.set_min_num_segments(MERGED_SEGMENTS_MIN);
    policy.set_del_docs_ratio_before_merge(DELETED_SHARE_MAX);
    writer.set_merge_policy(Box::new(policy));
    // A commit that failed leaves files behind whose names the same commit, made again, gives to its own, and it would
    // fail for ever.
    if let Err(error) = writer.garbage_collect_files().wait() {
        // The index is not damaged by that.
        tracing::warn!(%error, "what a commit left behind in the search index cannot be removed");
    }
    Ok((Ok(writer), position))
}

fn fault(problem: &impl ToString) -> ProjectionFault {
    ProjectionFault { projection: NAME, problem: problem.to_string() }
}

impl Projection for IndexProjection {
    fn name(&self) -> &'static str {
        NAME
    }

    fn position(&self) -> Position {
        self.position
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Product]
    }

    fn clear(&mut self) -> Result<(), ProjectionFault> {
        let Some(writer) = &self.writer else { return Err(fault(&"the writer has failed before")) };
        let cleared = guarded(|| Ok(writer.delete_all_documents()?));
        self.pending = Pending::Changes;
        self.unless_failed(cleared).map(drop)
    }

    fn seed(&mut self, stream: &Stream, loaded: &Loaded) -> Result<(), ProjectionFault> {
        let Some(id) = ProductId::from_key(stream.key()) else { return Ok(()) };
        match records::replay::<Product>(loaded) {
            Ok(replayed) => match replayed.entity.view().filter(|view| view.listed) {
                Some(View { details, seller, changed_at, .. }) => self.put(&id, &details, seller, changed_at),
                None => Ok(()),
            },
            Err(error) => {
                tracing::error!(%id, %error, "a product cannot be read and is left out of the index");
                Ok(())
            }
        }
    }

    fn apply(&mut self, records: &[Record]) -> Result<(), ProjectionFault> {
        for record in records.iter().filter(|record| record.stream.kind() == Kind::Product as u8) {
            let Some(id) = ProductId::from_key(record.stream.key()) else { continue };
            match records::decode_event::<Product>(record.version, &record.payload) {
                Ok(stored) => self.apply_event(&id, &stored.value)?,
                Err(error) => {
                    tracing::error!(%id, %error, "a change of a product cannot be read and is left out of the index");
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, position: Position) -> Result<(), ProjectionFault> {
        let recent = self.committed_at.elapsed() < COMMIT_WAIT_MAX;
        if self.pending == Pending::Nothing && self.commits_skipped < COMMITS_SKIPPED_MAX && recent {
            self.commits_skipped += 1;
            self.position = position;
            return Ok(());
        }
        let Some(writer) = &mut self.writer else { return Err(fault(&"the writer has failed before")) };
        let committed = guarded(|| {
            let mut prepared = writer.prepare_commit()?;
            prepared.set_payload(&payload(self.search.store(), position));
            prepared.commit()?;
            self.search.reload()
        });
        self.unless_failed(committed)?;
        self.position = position;
        self.pending = Pending::Nothing;
        self.commits_skipped = 0;
        self.committed_at = Instant::now();
        Ok(())
    }
}
