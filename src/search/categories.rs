//! Counts the products of each category of the first two levels, once per state of the index.
//!
//! Depends on tantivy's dictionaries.

use std::{cmp::Reverse, collections::BTreeMap};

use tantivy::schema::IndexRecordOption;

use super::{document::browsed_path_of_key, request::CategoryCount, schema::Fields, snapshot::Snapshot};

/// The most categories that are shown. Sellers write categories freely, so their number needs a limit; a list of more
/// than this cannot be browsed anyway. The largest are kept.
pub const CATEGORIES_MAX: usize = 1_000;

/// The counts, in the order of the paths without regard to case, so that each category follows its parent.
pub(super) fn count(snapshot: &Snapshot, fields: &Fields) -> tantivy::Result<Vec<CategoryCount>> {
    // The spellings of each normalised path, with their counts.
    let mut categories: BTreeMap<String, BTreeMap<Vec<String>, usize>> = BTreeMap::new();
    for segment in &snapshot.segments {
        let lists = segment.exact(fields.browsed)?;
        let mut terms = lists.terms().stream()?;
        while let Some((key, list)) = terms.next() {
            let products = match segment.alive() {
                None => list.doc_freq,
                Some(alive) => {
                    lists.read_postings_from_terminfo(list, IndexRecordOption::Basic)?.doc_freq_given_deletes(alive)
                }
            };
            let Some((path, names)) = std::str::from_utf8(key).ok().and_then(browsed_path_of_key) else { continue };
            if products > 0 {
                let spellings = categories.entry(path.to_owned()).or_default();
                *spellings.entry(names).or_default() += products as usize;
            }
        }
    }
    let mut counted: Vec<(String, CategoryCount)> = Vec::with_capacity(categories.len());
    let mut parent: Option<CategoryCount> = None;
    for (key, spellings) in categories {
        let Some(mut category) = count_of(spellings) else { continue };
        // A parent comes right before its children, which take its spelling for their first level.
        match (&parent, category.path.as_mut_slice()) {
            (Some(parent), [first, _]) => first.clone_from(&parent.path[0]),
            _ => parent = Some(category.clone()),
        }
        counted.push((key, category));
    }
    if counted.len() > CATEGORIES_MAX {
        counted.sort_by(|(left_path, left), (right_path, right)| {
            right.count.cmp(&left.count).then_with(|| left_path.cmp(right_path))
        });
        counted.truncate(CATEGORIES_MAX);
        counted.sort_by(|(left, _), (right, _)| left.cmp(right));
    }
    Ok(counted.into_iter().map(|(_, count)| count).collect())
}

/// Counts all spellings of a path and names it by the most frequent one.
fn count_of(spellings: BTreeMap<Vec<String>, usize>) -> Option<CategoryCount> {
    let count = spellings.values().sum();
    let (path, _) = spellings.into_iter().max_by_key(|(path, products)| (*products, Reverse(path.clone())))?;
    Some(CategoryCount { path, count })
}
