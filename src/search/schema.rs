//! The fields of the index, and their version, which an index on disk must have.
//!
//! Every word of a product is in one field, `words`. How often it occurs in title, label and description is coded in
//! its term frequency ([`super::field_counts`]), so that a search reads one posting list per word. What a page of
//! results shows is stored as one small card.
//!
//! Depends on tantivy.

use tantivy::{
    IndexSettings,
    schema::{BytesOptions, FAST, Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions},
    store::Compressor,
};

/// The version of the schema, of the word analysis and of the card. An index of another version is built anew, so this
/// grows with every change of what is written for a product.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// The name of the tokenizer of the field `words`.
pub(super) const WORDS_TOKENIZER: &str = "word_counts";

/// The size of a block of stored cards, in bytes: a hit costs the copy of one block, and a card has about 250 bytes.
const CARD_BLOCK_BYTES: usize = 2 * 1024;

/// The column of the ids, which break ties.
pub(super) const ID_COLUMN: &str = "id";
/// The columns of the first sixteen bytes of the ids, as two numbers: they order nearly all ids of different segments
/// without a look into the dictionaries of the ids, which are compressed.
pub(super) const ID_HEAD_COLUMNS: [&str; 2] = ["id_head_first", "id_head_second"];
/// The column of the prices, in minor units; products without a price have no value.
pub(super) const PRICE_COLUMN: &str = "price_minor";
/// The column of the moments of the last change, in milliseconds since 1970.
pub(super) const CHANGED_COLUMN: &str = "changed_at_ms";

/// The fields of the index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    /// The id: exact, and a column for the order of ties.
    pub(super) id: Field,
    /// The first sixteen bytes of the id.
    pub(super) id_head: [Field; 2],
    /// All words of the product, with their coded counts.
    pub(super) words: Field,
    /// The path of the category and each of its ancestors, normalised.
    pub(super) category: Field,
    /// The first two levels of the path, with the names as the seller wrote them; they are counted for browsing.
    pub(super) browsed: Field,
    /// The brand, normalised.
    pub(super) brand: Field,
    /// The seller's id.
    pub(super) seller: Field,
    /// The currency of the price.
    pub(super) currency: Field,
    /// The price, in minor units.
    pub(super) price: Field,
    /// When the product last changed.
    pub(super) changed_at: Field,
    /// What a page of results shows, as JSON.
    pub(super) card: Field,
}

/// The schema with its fields.
pub(super) fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(WORDS_TOKENIZER)
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(true);
    let fields = Fields {
        id: builder.add_text_field(ID_COLUMN, STRING | FAST),
        id_head: ID_HEAD_COLUMNS.map(|column| builder.add_u64_field(column, FAST)),
        words: builder.add_text_field("words", TextOptions::default().set_indexing_options(indexing)),
        category: builder.add_text_field("category", STRING),
        // The name of every index on disk: with another one they would all be built anew.
        browsed: builder.add_text_field("shelf", STRING),
        brand: builder.add_text_field("brand", STRING),
        seller: builder.add_bytes_field("seller", BytesOptions::default().set_indexed()),
        currency: builder.add_text_field("currency", STRING),
        price: builder.add_u64_field(PRICE_COLUMN, FAST),
        changed_at: builder.add_u64_field(CHANGED_COLUMN, FAST),
        card: builder.add_text_field("card", STORED),
    };
    (builder.build(), fields)
}

/// Cards are stored uncompressed in small blocks: decompressing a block for each hit would cost more than the search.
pub(super) fn settings() -> IndexSettings {
    IndexSettings {
        docstore_compression: Compressor::None,
        docstore_blocksize: CARD_BLOCK_BYTES,
        ..IndexSettings::default()
    }
}
