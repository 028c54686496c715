//! Reads an index so that the checker can compare it with the catalogue. It repairs and moves nothing.
//!
//! Opening an index leaves a lock file in its directory, so the checker opens a copy.
//!
//! Depends on `opening`, `document`, `storage` and `domain`.

use std::{collections::BTreeMap, path::Path};

use super::{
    document::{StoredCard, card, hit_of_card},
    opening::{Damage, committed, guarded, open_whole},
    schema,
};
use crate::{
    domain::{ids::ProductId, product::Details},
    storage::Position,
};

/// The content of an index.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// The position in the log up to which the index was made.
    pub position: Position,
    /// The card of each product.
    pub cards: BTreeMap<ProductId, String>,
    /// The products with more than one card.
    pub duplicates: Vec<ProductId>,
}

/// Reads the index in `directory`, after comparing its files with their checksums.
///
/// # Errors
/// [`Damage`]: the index is damaged.
pub fn contents(directory: &Path) -> Result<Contents, Damage> {
    let (_, fields) = schema::schema();
    guarded(|| {
        let opened = open_whole(directory, &fields)?;
        let mut contents = Contents { position: committed(&opened.index)?, ..Contents::default() };
        let searcher = &opened.snapshot.searcher;
        for (ordinal, segment) in (0..).zip(searcher.segment_readers()) {
            for doc in segment.doc_ids_alive() {
                let StoredCard(text) = searcher.doc(tantivy::DocAddress::new(ordinal, doc))?;
                let hit = hit_of_card(&text).map_err(|error| Damage::Unreadable(error.to_string()))?;
                if contents.cards.insert(hit.product.clone(), text).is_some() {
                    contents.duplicates.push(hit.product);
                }
            }
        }
        Ok(contents)
    })
}

/// The card that the index must have of a listed product; `None` for a variant, which is found through its parent.
#[must_use]
pub fn expected(id: &ProductId, details: &Details) -> Option<String> {
    details.variant_of.is_none().then(|| card(id, details))
}
