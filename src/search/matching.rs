//! Finds the products that match and scores them: reads the posting lists of a query's words and filters, segment by
//! segment.
//!
//! There are two ways. *All words*: the lists leapfrog over each other. *Any word*: shares are added up in a window of
//! documents, which also counts how many of the words a product has. Both add the shares of a product in the order of
//! the query, so its score is the same number in both, in every segment and on every page. Depends on `domain` and
//! tantivy's posting lists.

use tantivy::{
    DocId, DocSet, TERMINATED, Term,
    fastfield::Column,
    postings::{Postings, SegmentPostings, TermInfo},
    schema::IndexRecordOption,
};

use super::{
    page::Page,
    page_end::Need,
    ranking::WordRank,
    request::Sort,
    snapshot::{Segment, Snapshot},
};

/// How many documents one window of *any word* has; 16 KiB of scores stay in the processor's first cache.
const WINDOW_DOCS: DocId = 4096;

/// The key of the greatest price. Cheaper products have greater keys, and a product without a price has the least.
const PRICE_KEY_MAX: u64 = crate::domain::money::Money::AMOUNT_MAX + 1;

/// Whether a word of the query decides which products are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Decides which products are found.
    Content,
    /// Only refines the order of the products found.
    Stop,
}

/// A word of the query, looked up.
pub(super) struct Word {
    role: Role,
    rank: WordRank,
    /// The posting list in each segment.
    lists: Vec<Option<TermInfo>>,
}

impl Word {
    /// Looks a word up in all segments.
    pub(super) fn look_up(snapshot: &Snapshot, term: &Term, role: Role) -> tantivy::Result<Self> {
        let mut lists = Vec::with_capacity(snapshot.segments.len());
        let mut with_word = 0_u64;
        for segment in &snapshot.segments {
            let list = segment.words.get_term_info(term)?;
            with_word += list.as_ref().map_or(0, |list| u64::from(list.doc_freq));
            lists.push(list);
        }
        Ok(Self { role, rank: WordRank::new(with_word, snapshot.products), lists })
    }

    fn postings(&self, ordinal: usize, segment: &Segment) -> tantivy::Result<Option<SegmentPostings>> {
        let read = |list| segment.words.read_postings_from_terminfo(list, IndexRecordOption::WithFreqs);
        Ok(self.lists[ordinal].as_ref().map(read).transpose()?)
    }
}

/// What to look for, without the bounds of the page.
pub(super) struct Plan {
    /// The words, in the order of the query; `None` where there is no text and everything is browsed.
    pub(super) words: Option<Vec<Word>>,
    /// Exact terms that a product must have.
    pub(super) filters: Vec<Term>,
    /// The least and greatest price, in minor units; products without a price are outside of any bounds.
    pub(super) price_minor: Option<(u64, u64)>,
    /// The order of the products found.
    pub(super) sort: Sort,
}

/// The keys and bounds of one segment.
struct Keys<'a> {
    sort: Sort,
    price_minor: Option<(u64, u64)>,
    prices: Option<&'a Column<u64>>,
    changed: Option<&'a Column<u64>>,
}

impl Keys<'_> {
    fn price(&self, doc: DocId) -> Option<u64> {
        self.prices.and_then(|prices| prices.first(doc))
    }

    #[inline]
    fn admits(&self, doc: DocId) -> bool {
        match self.price_minor {
            None => true,
            Some((least, greatest)) => self.price(doc).is_some_and(|price| (least..=greatest).contains(&price)),
        }
    }

    /// The key of the order: greater comes first, products without a price come last.
    #[inline]
    fn key(&self, doc: DocId, words: u8, score: f32) -> u64 {
        match self.sort {
            // More of the words come first. Scores are not negative, and the bits of such numbers have the numbers'
            // order.
            Sort::Relevance => u64::from(words) << 32 | u64::from(score.to_bits()),
            Sort::PriceAscending => self.price(doc).map_or(0, |price| PRICE_KEY_MAX.saturating_sub(price).max(1)),
            Sort::PriceDescending => self.price(doc).map_or(0, |price| price.saturating_add(1)),
            Sort::Newest => self.changed.and_then(|changed| changed.first(doc)).unwrap_or(0),
        }
    }
}

/// Offers every product that matches `plan` to `page`.
pub(super) fn collect<'a>(snapshot: &'a Snapshot, plan: &Plan, need: Need, page: &mut Page<'a>) -> tantivy::Result<()> {
    let mut window = None;
    for (ordinal, segment) in snapshot.segments.iter().enumerate() {
        let Some(mut filters) = filters_of(segment, &plan.filters)? else { continue };
        page.begin_segment(u32::try_from(ordinal).unwrap_or(u32::MAX), segment)?;
        let keys = Keys {
            sort: plan.sort,
            price_minor: plan.price_minor,
            prices: segment.prices.as_ref(),
            changed: segment.changed.as_ref(),
        };
        let alive = segment.alive();
        let mut offer = |doc: DocId, words: u8, score: f32| {
            if alive.is_none_or(|alive| alive.is_alive(doc)) && keys.admits(doc) {
                page.offer(keys.key(doc, words, score), doc);
            }
        };
        match (&plan.words, need) {
            (None, _) => every_doc(segment, &mut filters, |doc| offer(doc, 0, 0.0)),
            (Some(words), Need::All) => {
                all_words(snapshot, ordinal, words, &mut filters, &mut offer)?;
            }
            (Some(words), Need::Any) => {
                let window = window.get_or_insert_with(Window::new);
                any_word(snapshot, ordinal, words, &mut filters, window, &mut offer)?;
            }
        }
    }
    Ok(())
}

/// The posting lists of the filters, or `None` where no document of the segment has one of them.
fn filters_of(segment: &Segment, filters: &[Term]) -> tantivy::Result<Option<Vec<SegmentPostings>>> {
    let mut lists = Vec::with_capacity(filters.len());
    for term in filters {
        match segment.exact(term.field())?.read_postings(term, IndexRecordOption::Basic)? {
            Some(postings) => lists.push(postings),
            None => return Ok(None),
        }
    }
    // The rarest leads, so that the others skip most of their documents.
    lists.sort_by_key(SegmentPostings::doc_freq);
    Ok(Some(lists))
}

/// Moves a list to `target` or behind it.
#[inline]
fn seek(list: &mut SegmentPostings, target: DocId) -> DocId {
    let doc = list.doc();
    if doc < target { list.seek(target) } else { doc }
}

/// The first document from `target` on that all lists have.
#[inline]
fn meet(lists: &mut [SegmentPostings], mut target: DocId) -> DocId {
    'again: loop {
        for list in lists.iter_mut() {
            let doc = seek(list, target);
            if doc > target {
                if doc == TERMINATED {
                    return TERMINATED;
                }
                target = doc;
                continue 'again;
            }
        }
        return target;
    }
}

fn every_doc(segment: &Segment, filters: &mut [SegmentPostings], mut offer: impl FnMut(DocId)) {
    if filters.is_empty() {
        // The newest are last in a segment and come first when everything is browsed, so the page is full of them at
        // once.
        (0..segment.end()).rev().for_each(offer);
        return;
    }
    let mut doc = 0;
    while doc < segment.end() {
        doc = meet(filters, doc);
        if doc >= segment.end() {
            break;
        }
        offer(doc);
        doc += 1;
    }
}

fn all_words(
    snapshot: &Snapshot,
    ordinal: usize,
    words: &[Word],
    filters: &mut [SegmentPostings],
    offer: &mut impl FnMut(DocId, u8, f32),
) -> tantivy::Result<()> {
    let segment = &snapshot.segments[ordinal];
    let mut lists: Vec<(&Word, SegmentPostings)> = Vec::with_capacity(words.len());
    for word in words {
        match (word.postings(ordinal, segment)?, word.role) {
            (Some(postings), _) => lists.push((word, postings)),
            (None, Role::Stop) => {}
            (None, Role::Content) => return Ok(()),
        }
    }
    let mut order: Vec<usize> = (0..lists.len()).filter(|index| lists[*index].0.role == Role::Content).collect();
    if order.is_empty() {
        return Ok(());
    }
    let content = u8::try_from(order.len()).unwrap_or(u8::MAX);
    order.sort_by_key(|index| lists[*index].1.doc_freq());
    if let ([(word, list)], []) = (lists.as_mut_slice(), &*filters) {
        // One word and nothing else, the most frequent of all queries.
        let mut doc = list.doc();
        while doc != TERMINATED {
            let correction = snapshot.lengths.correction(segment.lengths.fieldnorm_id(doc));
            offer(doc, content, word.rank.share(list.term_freq(), correction));
            doc = list.advance();
        }
        return Ok(());
    }
    let mut doc = 0;
    'documents: loop {
        doc = meet(filters, doc);
        if doc >= segment.end() {
            return Ok(());
        }
        for index in &order {
            let found = seek(&mut lists[*index].1, doc);
            if found > doc {
                doc = found;
                continue 'documents;
            }
        }
        let correction = snapshot.lengths.correction(segment.lengths.fieldnorm_id(doc));
        let mut score = 0.0;
        for (word, postings) in &mut lists {
            if seek(postings, doc) == doc {
                score += word.rank.share(postings.term_freq(), correction);
            }
        }
        offer(doc, content, score);
        doc += 1;
    }
}

/// The sums of a run of documents.
struct Window {
    scores: Box<[f32; WINDOW_DOCS as usize]>,
    /// How many content words each document has.
    counts: Box<[u8; WINDOW_DOCS as usize]>,
    /// A bit for each document that has a content word.
    touched: [u64; WINDOW_DOCS as usize / 64],
}

impl Window {
    fn new() -> Self {
        let (scores, counts) = (Box::new([0.0; WINDOW_DOCS as usize]), Box::new([0; WINDOW_DOCS as usize]));
        Self { scores, counts, touched: [0; WINDOW_DOCS as usize / 64] }
    }

    #[inline]
    fn add(&mut self, slot: usize, role: Role, share: f32) {
        self.scores[slot] += share;
        if role == Role::Content {
            self.counts[slot] += 1;
            self.touched[slot / 64] |= 1 << (slot % 64);
        }
    }

    /// Passes the documents with a content word to `each`, in order, and empties the window.
    fn drain(&mut self, mut each: impl FnMut(DocId, u8, f32)) {
        for (block, first) in self.touched.iter_mut().zip((0..).step_by(64)) {
            while *block != 0 {
                let slot = first + block.trailing_zeros();
                *block &= *block - 1;
                each(slot, self.counts[slot as usize], self.scores[slot as usize]);
            }
        }
        self.scores.fill(0.0);
        self.counts.fill(0);
    }
}

fn any_word(
    snapshot: &Snapshot,
    ordinal: usize,
    words: &[Word],
    filters: &mut [SegmentPostings],
    window: &mut Window,
    offer: &mut impl FnMut(DocId, u8, f32),
) -> tantivy::Result<()> {
    let segment = &snapshot.segments[ordinal];
    let mut lists = Vec::with_capacity(words.len());
    for word in words {
        if let Some(postings) = word.postings(ordinal, segment)? {
            lists.push((word, postings));
        }
    }
    loop {
        let Some(begin) = lists.iter().map(|(_, postings)| postings.doc()).min() else { return Ok(()) };
        if begin == TERMINATED {
            return Ok(());
        }
        let begin = meet(filters, begin);
        if begin >= segment.end() {
            return Ok(());
        }
        let end = begin.saturating_add(WINDOW_DOCS).min(segment.end());
        for (word, postings) in &mut lists {
            let mut doc = seek(postings, begin);
            while doc < end {
                let correction = snapshot.lengths.correction(segment.lengths.fieldnorm_id(doc));
                let share = word.rank.share(postings.term_freq(), correction);
                window.add((doc - begin) as usize, word.role, share);
                doc = postings.advance();
            }
        }
        window.drain(|slot, count, score| {
            let doc = begin + slot;
            if meet(filters, doc) == doc {
                offer(doc, count, score);
            }
        });
    }
}
