//! An immutable state of the index, with everything that a search reads already opened.
//!
//! Opening columns and dictionaries costs more than a small search, so it is done once per commit instead of once per
//! query. Depends on tantivy.

use std::sync::{Arc, OnceLock};

use tantivy::{
    DocId, Searcher, SegmentReader,
    columnar::StrColumn,
    fastfield::{AliveBitSet, Column},
    fieldnorm::FieldNormReader,
    index::InvertedIndexReader,
    schema::Field,
};

use super::{
    ranking::LengthTable,
    request::CategoryCount,
    schema::{CHANGED_COLUMN, Fields, ID_COLUMN, ID_HEAD_COLUMNS, PRICE_COLUMN},
};

/// An immutable state of the index.
pub(super) struct Snapshot {
    /// For the stored cards.
    pub(super) searcher: Searcher,
    /// The segments, in the searcher's order.
    pub(super) segments: Vec<Segment>,
    /// The length correction of ranking.
    pub(super) lengths: LengthTable,
    /// How many products there are, deleted ones of unmerged segments included: the base of the words' weights.
    pub(super) products: u64,
    /// The counts of categories; computed when they are first requested.
    pub(super) categories: OnceLock<Arc<[CategoryCount]>>,
}

/// A segment of the index with its opened lists and columns.
pub(super) struct Segment {
    reader: SegmentReader,
    /// The words' posting lists.
    pub(super) words: Arc<InvertedIndexReader>,
    /// The words' text lengths.
    pub(super) lengths: FieldNormReader,
    /// The ids, as ordinals in their order.
    pub(super) ids: Option<StrColumn>,
    /// The first sixteen bytes of the ids.
    id_heads: [Option<Column<u64>>; 2],
    /// The prices; `None` where no product has one.
    pub(super) prices: Option<Column<u64>>,
    /// The moments of change.
    pub(super) changed: Option<Column<u64>>,
}

impl Segment {
    /// The posting lists of an exact field.
    pub(super) fn exact(&self, field: Field) -> tantivy::Result<Arc<InvertedIndexReader>> {
        self.reader.inverted_index(field)
    }

    /// Which documents are not deleted; `None` if none is deleted.
    pub(super) fn alive(&self) -> Option<&AliveBitSet> {
        self.reader.alive_bitset()
    }

    /// The first sixteen bytes of a document's id; they have the order of the ids, as far as they differ.
    pub(super) fn id_head(&self, doc: DocId) -> [u64; 2] {
        let head = |column: &Option<Column<u64>>| column.as_ref().and_then(|heads| heads.first(doc)).unwrap_or(0);
        [head(&self.id_heads[0]), head(&self.id_heads[1])]
    }

    /// The document id after the last one.
    pub(super) fn end(&self) -> DocId {
        self.reader.max_doc()
    }
}

impl Snapshot {
    /// Opens everything that a search of `searcher` reads.
    pub(super) fn open(searcher: Searcher, fields: &Fields) -> tantivy::Result<Self> {
        let mut segments = Vec::with_capacity(searcher.segment_readers().len());
        let (mut tokens, mut products) = (0_u64, 0_u64);
        for reader in searcher.segment_readers() {
            let column = |name: &str| reader.fast_fields().column_opt::<u64>(name);
            let words = reader.inverted_index(fields.words)?;
            tokens = tokens.saturating_add(words.total_num_tokens());
            products = products.saturating_add(u64::from(reader.max_doc()));
            segments.push(Segment {
                words,
                lengths: reader.get_fieldnorms_reader(fields.words)?,
                ids: reader.fast_fields().str(ID_COLUMN)?,
                id_heads: [column(ID_HEAD_COLUMNS[0])?, column(ID_HEAD_COLUMNS[1])?],
                prices: column(PRICE_COLUMN)?,
                changed: column(CHANGED_COLUMN)?,
                reader: reader.clone(),
            });
        }
        let average = tokens as f32 / products.max(1) as f32;
        let lengths = LengthTable::new(average, FieldNormReader::id_to_fieldnorm);
        Ok(Self { searcher, segments, lengths, products, categories: OnceLock::new() })
    }
}
