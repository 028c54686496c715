//! Converts a product's details to the document in the index, and the stored card back to a hit.
//!
//! Depends on the product of `domain` and on tantivy.

use serde::{Deserialize, Serialize};
use tantivy::{
    TantivyDocument,
    schema::document::{DeserializeError, DocumentDeserialize, DocumentDeserializer},
};

use super::{
    field_counts::{TextField, WordCounts},
    request::Hit,
    schema::Fields,
    words::{Analyzer, normalised},
};
use crate::domain::{
    entity::Timestamp,
    ids::ProductId,
    ids::SellerId,
    money::{Currency, Money},
    product::{Details, Picture},
};

/// The most text of one product's description, attributes and options that is indexed, in bytes. Twice the longest
/// description; it bounds what one product with hundreds of attributes and variants costs.
const DESCRIPTION_BYTES_MAX: usize = 64 * 1024;

/// How many levels of categories are counted for browsing.
const BROWSED_LEVELS: usize = 2;

/// Separates the names of a path in the index. [`normalised`] names cannot contain it.
const LEVEL_SEPARATOR: char = '\u{1f}';
/// Separates the normalised path and the path as written, in the field `browsed`.
const NAME_SEPARATOR: char = '\u{1e}';

/// What a page of results shows of a product, as it is stored: the id, the title, the brand, the price (minor units and
/// currency), the picture with its alternative text. A JSON array: half the time to read of an object.
#[derive(Serialize)]
struct CardToWrite<'a>(&'a str, &'a str, Option<&'a str>, Option<(u64, Currency)>, Option<&'a str>, Option<&'a str>);

#[derive(Deserialize)]
struct CardToRead(ProductId, String, Option<String>, Option<(u64, Currency)>, Option<String>, Option<String>);

/// The normalised form of a path, its key in the index.
pub(super) fn path_key<'a>(levels: impl IntoIterator<Item = &'a String>) -> String {
    let mut key = String::new();
    for (level, name) in levels.into_iter().enumerate() {
        if level > 0 {
            key.push(LEVEL_SEPARATOR);
        }
        key.push_str(&normalised(name));
    }
    key
}

/// The normalised path and the names as written, from the key of a browsed category.
pub(super) fn browsed_path_of_key(key: &str) -> Option<(&str, Vec<String>)> {
    let (path, names) = key.split_once(NAME_SEPARATOR)?;
    Some((path, names.split(LEVEL_SEPARATOR).map(str::to_owned).collect()))
}

/// The first sixteen bytes of an id as two numbers that have the order of the ids.
fn id_heads(id: &str) -> [u64; 2] {
    let mut bytes = id.bytes();
    std::array::from_fn(|_| u64::from_be_bytes(std::array::from_fn(|_| bytes.next().unwrap_or(0))))
}

/// The document of a listed product, or `None` for one that search does not show: a variant is found through its
/// parent.
pub(super) fn document(
    fields: &Fields,
    analyzer: &mut Analyzer,
    id: &ProductId,
    details: &Details,
    seller: SellerId,
    at: Timestamp,
) -> Option<TantivyDocument> {
    if details.variant_of.is_some() {
        return None;
    }
    let mut document = TantivyDocument::default();
    document.add_text(fields.id, id.as_str());
    for (field, head) in fields.id_head.into_iter().zip(id_heads(id.as_str())) {
        document.add_u64(field, head);
    }
    document.add_text(fields.words, word_counts(analyzer, id, details).to_text());
    for levels in 1..=details.category.len() {
        let path = &details.category[..levels];
        document.add_text(fields.category, path_key(path));
        if levels <= BROWSED_LEVELS {
            document.add_text(fields.browsed, browsed_key(path));
        }
    }
    if let Some(brand) = &details.brand {
        document.add_text(fields.brand, normalised(brand));
    }
    document.add_bytes(fields.seller, &seller.0.to_be_bytes());
    if let Some(price) = details.price {
        document.add_u64(fields.price, price.minor);
        document.add_text(fields.currency, price.currency.code());
    }
    document.add_u64(fields.changed_at, at.0);
    document.add_text(fields.card, card(id, details));
    Some(document)
}

/// The card of a product, as it is stored.
pub(super) fn card(id: &ProductId, details: &Details) -> String {
    let (url, alt) = (details.thumbnail.as_ref().map(Picture::url), details.thumbnail_alt());
    let price = details.price.map(|price| (price.minor, price.currency));
    let card = CardToWrite(id.as_str(), &details.title, details.brand.as_deref(), price, url, alt);
    // Strings and numbers always have a form in JSON.
    serde_json::to_string(&card).unwrap_or_default()
}

/// The card of a stored document: its only stored field, read without building a document.
pub(super) struct StoredCard(pub(super) String);

impl DocumentDeserialize for StoredCard {
    fn deserialize<'de, D: DocumentDeserializer<'de>>(mut deserializer: D) -> Result<Self, DeserializeError> {
        match deserializer.next_field::<String>()? {
            Some((_, card)) => Ok(Self(card)),
            None => Err(DeserializeError::custom("a product without a card")),
        }
    }
}

/// The hit of a stored card, or what is wrong with the card.
pub(super) fn hit_of_card(card: &str) -> Result<Hit, serde_json::Error> {
    let CardToRead(product, title, brand, price, thumbnail_url, thumbnail_alt) = serde_json::from_str(card)?;
    let price = price.map(|(minor, currency)| Money { minor, currency });
    Ok(Hit { product, title, brand, price, thumbnail_url, thumbnail_alt })
}

fn browsed_key(path: &[String]) -> String {
    let mut key = path_key(path);
    for (level, name) in path.iter().enumerate() {
        key.push(if level == 0 { NAME_SEPARATOR } else { LEVEL_SEPARATOR });
        let shown = name.split_whitespace().collect::<Vec<_>>().join(" ");
        key.extend(shown.chars().filter(|letter| !letter.is_control()));
    }
    key
}

fn word_counts(analyzer: &mut Analyzer, id: &ProductId, details: &Details) -> WordCounts {
    let mut words = WordCounts::default();
    analyzer.each_word_and_name(&details.title, |word| words.add(word, TextField::Title));
    for label in details.brand.iter().chain(&details.category) {
        analyzer.each_word_and_name(label, |word| words.add(word, TextField::Label));
    }
    let attributes = details.attributes.iter().map(|(_, value)| value);
    let options = details.variants.iter().flat_map(|variant| &variant.options).map(|(_, value)| value);
    let mut bytes_left = DESCRIPTION_BYTES_MAX;
    for text in std::iter::once(&details.description).chain(attributes).chain(options) {
        let Some(left) = bytes_left.checked_sub(text.len()) else { break };
        bytes_left = left;
        analyzer.each_word_and_name(text, |word| words.add(word, TextField::Description));
    }
    // Shoppers paste ids (an ASIN, a SKU); they find the product without ranking above those that say the word.
    analyzer.each_word_and_name(id.as_str(), |word| words.add(word, TextField::Description));
    words
}
