//! The query of a search: `metadata['name']:'text'`, several joined by ` AND `. No other part of Stripe's query
//! language is supported.
//!
//! Depends on `store` and `ledger`.

use crate::{ledger::Metadata, store::Intent, store::Store};

/// The metadata that the payments must have; `None` if the query is not supported.
pub(crate) fn read(query: &str) -> Option<Metadata> {
    query.split(" AND ").map(clause).collect()
}

fn clause(text: &str) -> Option<(String, String)> {
    let (name, text) = text.trim().strip_prefix("metadata['")?.split_once("']:'")?;
    let text = text.strip_suffix('\'')?;
    let is_plain = |text: &str| !text.is_empty() && !text.contains('\'');
    (is_plain(name) && is_plain(text)).then(|| (name.to_owned(), text.to_owned()))
}

/// The payments with this metadata that were created before a moment, newest first.
pub(crate) fn find<'a>(store: &'a Store, wanted: &'a Metadata, before_ms: u64) -> Vec<&'a Intent> {
    let fits = |intent: &&Intent| {
        let has = |(name, text): (&String, &String)| intent.metadata.get(name) == Some(text);
        intent.created_ms <= before_ms && wanted.iter().all(has)
    };
    match (wanted.get("order"), wanted.get("attempt")) {
        (Some(order), Some(attempt)) => store.of_attempt(order, attempt).rev().filter(fits).collect(),
        _ => store.newest().filter(fits).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_joined_by_and() {
        let pairs = |query: &str| read(query).map(|metadata| metadata.into_iter().collect::<Vec<_>>());
        let two = "metadata['order']:'ab' AND metadata['attempt']:'2'";
        assert_eq!(pairs(two).unwrap(), [("attempt".into(), "2".into()), ("order".into(), "ab".into())]);
        for bad in ["", "order:'ab'", "metadata['order']:ab", "metadata['order']:'a'b'", "metadata['']:'x'"] {
            assert_eq!(pairs(bad), None, "{bad}");
        }
    }
}
