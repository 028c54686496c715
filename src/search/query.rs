//! Answers a search request from one snapshot of the index.
//!
//! The text of a query is split into words here, never parsed by tantivy's query language, so no text is a syntax
//! error. A search runs on the caller's thread and takes tens to hundreds of microseconds.
//!
//! Depends on `domain` and on tantivy.

use tantivy::Term;

use super::{
    document::{StoredCard, hit_of_card, path_key},
    matching::{Plan, Role, Word, collect},
    page::{More, Page},
    page_end::{Need, PageEnd, SortKey},
    request::{
        PAGE_PRODUCTS_DEFAULT, PAGE_PRODUCTS_MAX, QUERY_BYTES_MAX, SearchError, SearchPage, SearchRequest, Sort,
    },
    schema::Fields,
    snapshot::Snapshot,
    words::{Analyzer, is_stop_word, normalised},
};
use crate::domain::cursor::Cursor;

/// The most different words of a query that are looked for; later ones are ignored. Each costs a posting list.
pub const QUERY_WORDS_MAX: usize = 16;
/// Where fewer products than this have all words of a query, products with some of the words follow: enough to fill one
/// page of the usual size. Only in the order of relevance, where they come last. In every other order they would stand
/// between the good ones, so there they are shown only where no product has all words.
pub const ALL_WORDS_PRODUCTS_MIN: usize = PAGE_PRODUCTS_DEFAULT;

/// Answers `request` from one state of the index.
pub(super) fn find(
    snapshot: &Snapshot,
    fields: &Fields,
    analyzer: &mut Analyzer,
    request: &SearchRequest,
) -> Result<SearchPage, SearchError> {
    if !(1..=PAGE_PRODUCTS_MAX).contains(&request.limit) {
        return Err(SearchError::LimitOutOfRange { limit: request.limit });
    }
    let list = request.list();
    let before = match &request.after {
        Some(cursor) => Some(PageEnd::from_key(cursor.key(&list)?)?),
        None => None,
    };
    let plan = plan(snapshot, fields, analyzer, request)?;
    let mut page = Page::new(request.limit, before.as_ref().map(|before| &before.last));
    let need = match &before {
        Some(before) => {
            collect(snapshot, &plan, before.need, &mut page)?;
            before.need
        }
        None => collect_first(snapshot, &plan, &mut page)?,
    };
    let collected = page.finish(snapshot)?;
    let mut hits = Vec::with_capacity(collected.found.len());
    for (_, address) in &collected.found {
        let StoredCard(card) = snapshot.searcher.doc(*address)?;
        let fault = |error: serde_json::Error| SearchError::Fault { problem: format!("a stored card: {error}") };
        hits.push(hit_of_card(&card).map_err(fault)?);
    }
    let next = match (collected.more, collected.found.last(), hits.last()) {
        (More::Yes, Some((key, _)), Some(hit)) => {
            let last = SortKey { rank: *key, id: hit.product.as_str().to_owned() };
            Some(Cursor::new(&list, &PageEnd { need, last }.to_key()))
        }
        _ => None,
    };
    Ok(SearchPage { hits, next, total: collected.total })
}

/// Collects the first page, of products with all words or, where those are too few, with any.
fn collect_first<'a>(snapshot: &'a Snapshot, plan: &Plan, page: &mut Page<'a>) -> tantivy::Result<Need> {
    collect(snapshot, plan, Need::All, page)?;
    let enough = match plan.sort {
        Sort::Relevance => ALL_WORDS_PRODUCTS_MIN,
        Sort::PriceAscending | Sort::PriceDescending | Sort::Newest => 1,
    };
    match &plan.words {
        Some(words) if words.len() > 1 && page.total() < enough => {
            page.clear();
            collect(snapshot, plan, Need::Any, page)?;
            Ok(Need::Any)
        }
        Some(_) | None => Ok(Need::All),
    }
}

fn plan(
    snapshot: &Snapshot,
    fields: &Fields,
    analyzer: &mut Analyzer,
    request: &SearchRequest,
) -> Result<Plan, SearchError> {
    let words = match request.text.as_deref() {
        Some(text) if text.len() > QUERY_BYTES_MAX => {
            return Err(SearchError::TextTooLong { bytes: text.len() });
        }
        Some(text) if !text.trim().is_empty() => Some(words_of(snapshot, fields, analyzer, text)?),
        Some(_) | None => None,
    };
    let mut filters = Vec::new();
    if !request.category.is_empty() {
        filters.push(Term::from_field_text(fields.category, &path_key(&request.category)));
    }
    if let Some(brand) = &request.brand {
        filters.push(Term::from_field_text(fields.brand, &normalised(brand)));
    }
    if let Some(seller) = request.seller {
        filters.push(Term::from_field_bytes(fields.seller, &seller.0.to_be_bytes()));
    }
    if let Some(currency) = request.currency {
        filters.push(Term::from_field_text(fields.currency, currency.code()));
    }
    let price_minor = match request.price_minor {
        (None, None) => None,
        (least, greatest) => Some((least.unwrap_or(0), greatest.unwrap_or(u64::MAX))),
    };
    let sort = match (request.sort, &words) {
        (Sort::Relevance, None) => Sort::Newest,
        (sort, _) => sort,
    };
    Ok(Plan { words, filters, price_minor, sort })
}

/// The different words of a text, looked up.
fn words_of(
    snapshot: &Snapshot,
    fields: &Fields,
    analyzer: &mut Analyzer,
    text: &str,
) -> Result<Vec<Word>, SearchError> {
    let mut texts: Vec<String> = Vec::new();
    analyzer.each_word(text, |word| {
        if texts.len() < QUERY_WORDS_MAX && !texts.iter().any(|known| known == word) {
            texts.push(word.to_owned());
        }
    });
    let only_stop_words = texts.iter().all(|word| is_stop_word(word));
    let mut words = Vec::with_capacity(texts.len());
    for text in &texts {
        let role = if is_stop_word(text) && !only_stop_words { Role::Stop } else { Role::Content };
        words.push(Word::look_up(snapshot, &Term::from_field_text(fields.words, text), role)?);
    }
    Ok(words)
}
