//! Collects one page: keeps the best `limit` products that come after a cursor, and counts all that match.
//!
//! Products are ordered by a sort key (greater first) and then by their id (smaller first). Within a segment the
//! ordinals of ids have the order of the ids. Across segments the first bytes of the ids are compared, and the whole
//! ids only where those are equal.
//!
//! Depends on tantivy's columns.

use std::cmp::Reverse;

use tantivy::{
    DocAddress, DocId, SegmentOrdinal,
    columnar::{StrColumn, TermOrdHit},
};

use super::{
    page_end::SortKey,
    snapshot::{Segment, Snapshot},
};

/// A product that may be on the page.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    key: u64,
    segment: SegmentOrdinal,
    id_ordinal: u64,
    doc: DocId,
}

impl Candidate {
    /// The order of candidates of one segment; of several segments only where the keys differ.
    fn rank(&self) -> (Reverse<u64>, SegmentOrdinal, u64) {
        (Reverse(self.key), self.segment, self.id_ordinal)
    }
}

/// A page that is being collected.
pub(super) struct Page<'a> {
    limit: usize,
    after: Option<&'a SortKey>,
    /// The candidates so far, those of finished segments first.
    candidates: Vec<Candidate>,
    /// Where the current segment's candidates begin.
    segment_begins: usize,
    /// Candidates with a smaller key cannot be on the page.
    key_min: u64,
    /// How many products match, on all pages.
    total: usize,
    /// How many of them come after the cursor.
    remaining: usize,
    segment: SegmentOrdinal,
    ids: Option<&'a StrColumn>,
    /// Products with the key of `after` belong to this page from this ordinal on.
    ordinal_min: u64,
}

/// A page that is complete.
pub(super) struct Collected {
    /// The products in order, with their keys.
    pub(super) found: Vec<(u64, DocAddress)>,
    /// How many products match, on all pages.
    pub(super) total: usize,
    /// Whether products follow this page.
    pub(super) more: More,
}

/// Whether products follow a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    Yes,
    No,
}

impl<'a> Page<'a> {
    /// An empty page of at most `limit` products, those after `after`.
    pub(super) fn new(limit: usize, after: Option<&'a SortKey>) -> Self {
        Self {
            limit: limit.max(1),
            after,
            candidates: Vec::with_capacity(limit.saturating_mul(2).max(2)),
            segment_begins: 0,
            key_min: 0,
            total: 0,
            remaining: 0,
            segment: 0,
            ids: None,
            ordinal_min: 0,
        }
    }

    /// Removes everything, to collect again.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit, self.after);
    }

    /// How many products matched so far.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Starts collecting from this segment.
    pub(super) fn begin_segment(&mut self, ordinal: SegmentOrdinal, segment: &'a Segment) -> tantivy::Result<()> {
        self.prune();
        self.key_min = self.limit_th_key();
        self.segment_begins = self.candidates.len();
        self.segment = ordinal;
        self.ids = segment.ids.as_ref();
        self.ordinal_min = match (self.after, self.ids) {
            (Some(after), Some(ids)) => first_ordinal_after(ids, &after.id)?,
            (Some(_), None) | (None, _) => 0,
        };
        Ok(())
    }

    /// Adds a product that matches, if it belongs to the page.
    #[inline]
    pub(super) fn offer(&mut self, key: u64, doc: DocId) {
        self.total += 1;
        let mut id_ordinal = None;
        if let Some(after) = self.after {
            if key > after.rank {
                return;
            }
            if key == after.rank {
                let ordinal = self.id_ordinal(doc);
                if ordinal < self.ordinal_min {
                    return;
                }
                id_ordinal = Some(ordinal);
            }
        }
        self.remaining += 1;
        if key < self.key_min {
            return;
        }
        let id_ordinal = id_ordinal.unwrap_or_else(|| self.id_ordinal(doc));
        self.candidates.push(Candidate { key, segment: self.segment, id_ordinal, doc });
        if self.candidates.len() - self.segment_begins >= 2 * self.limit {
            self.prune();
        }
    }

    fn id_ordinal(&self, doc: DocId) -> u64 {
        self.ids.and_then(|ids| ids.ords().first(doc)).unwrap_or(0)
    }

    /// Removes all but the best `limit` candidates of the current segment.
    fn prune(&mut self) {
        let current = &mut self.candidates[self.segment_begins..];
        if current.len() > self.limit {
            current.select_nth_unstable_by_key(self.limit - 1, Candidate::rank);
            self.key_min = self.key_min.max(current[self.limit - 1].key);
            self.candidates.truncate(self.segment_begins + self.limit);
        }
    }

    /// The key that a further candidate must at least have, or 0 where there is room.
    fn limit_th_key(&self) -> u64 {
        if self.candidates.len() < self.limit {
            return 0;
        }
        let mut keys: Vec<u64> = self.candidates.iter().map(|candidate| candidate.key).collect();
        let (_, key, _) = keys.select_nth_unstable_by_key(self.limit - 1, |key| Reverse(*key));
        *key
    }

    /// Puts the candidates of all segments in order.
    pub(super) fn finish(mut self, snapshot: &Snapshot) -> tantivy::Result<Collected> {
        self.prune();
        let key_min = self.limit_th_key();
        self.candidates.retain(|candidate| candidate.key >= key_min);
        self.candidates.sort_unstable_by_key(Candidate::rank);
        order_ties(&mut self.candidates, snapshot)?;
        self.candidates.truncate(self.limit);
        let more = if self.remaining > self.candidates.len() { More::Yes } else { More::No };
        let address = |found: &Candidate| (found.key, DocAddress::new(found.segment, found.doc));
        Ok(Collected { found: self.candidates.iter().map(address).collect(), total: self.total, more })
    }
}

/// Orders candidates of one key that come from several segments by their ids.
fn order_ties(candidates: &mut [Candidate], snapshot: &Snapshot) -> tantivy::Result<()> {
    let one_segment = |tied: &[Candidate]| tied.iter().all(|candidate| candidate.segment == tied[0].segment);
    let segment = |candidate: &Candidate| &snapshot.segments[candidate.segment as usize];
    let head = |candidate: &Candidate| segment(candidate).id_head(candidate.doc);
    for tied in candidates.chunk_by_mut(|left, right| left.key == right.key) {
        if one_segment(tied) {
            continue;
        }
        tied.sort_by_cached_key(|candidate| (head(candidate), candidate.segment, candidate.id_ordinal));
        for same_head in tied.chunk_by_mut(|left, right| head(left) == head(right)) {
            if one_segment(same_head) {
                continue;
            }
            let mut with_ids = Vec::with_capacity(same_head.len());
            for candidate in same_head.iter() {
                let mut id = String::new();
                if let Some(ids) = &segment(candidate).ids {
                    ids.ord_to_str(candidate.id_ordinal, &mut id)?;
                }
                with_ids.push((id, *candidate));
            }
            with_ids.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
            for (place, (_, candidate)) in same_head.iter_mut().zip(with_ids) {
                *place = candidate;
            }
        }
    }
    Ok(())
}

/// The ordinal from which on the ids of a segment are greater than `id`.
fn first_ordinal_after(ids: &StrColumn, id: &str) -> tantivy::Result<u64> {
    Ok(match ids.dictionary().term_ord_or_next(id)? {
        TermOrdHit::Exact(ordinal) => ordinal + 1,
        TermOrdHit::Next(ordinal) => ordinal,
    })
}
