//! A look at an index on disk for whoever holds it against the catalogue. Nothing is repaired or moved.
//!
//! Opening an index leaves a lock file in its directory, so it is a copy that should be looked at.
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

/// What an index holds.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Up to where the log is part of it.
    pub position: Position,
    /// What it shows of each product.
    pub cards: BTreeMap<ProductId, String>,
    /// Products that it shows more than once.
    pub doubled: Vec<ProductId>,
}

/// Reads the index in `directory`, after holding its files against their checksums.
///
/// # Errors
/// What is damaged.
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
                    contents.doubled.push(hit.product);
                }
            }
        }
        Ok(contents)
    })
}

/// What the index has to show of a listed product; `None` for a variant, which is found through its parent.
#[must_use]
pub fn expected(id: &ProductId, details: &Details) -> Option<String> {
    details.variant_of.is_none().then(|| card(id, details))
}
