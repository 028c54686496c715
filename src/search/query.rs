//! The reader's side: what can be asked of the index, and the answer.
//!
//! The text of a query is taken apart here, never by tantivy's query language: whatever it contains, it is words to look for.
//! A search runs on the caller's thread and takes some ten to some hundred microseconds. Depends on the domain and on
//! tantivy.

use tantivy::Term;

use super::{
    cursor::{Cursor, InvalidCursor},
    document::{StoredCard, hit_of_card, path_key},
    matching::{Need, Plan, Role, Word, collect},
    page::{More, Page, Place},
    schema::Fields,
    snapshot::Snapshot,
    words::{Analyzer, is_filler, normalised},
};
use crate::domain::{
    ids::{ProductId, UserId},
    money::{Currency, Money},
};

/// The longest text of a query, in bytes. Of 900 real queries the longest has 92.
pub const QUERY_BYTES_MAX: usize = 256;
/// The most different words of a query that are looked for; later ones are ignored. Each costs a posting list.
pub const QUERY_WORDS_MAX: usize = 16;
/// Where fewer products than this have all the words of a query, those that have some of them follow: one page of the usual
/// size is filled. Only by relevance, where they come last; in every other order they would stand between the good ones, so
/// there they are shown only where no product has all words.
pub const ALL_WORDS_PRODUCTS_MIN: usize = PAGE_PRODUCTS_DEFAULT;
/// The most products of one page.
pub const PAGE_PRODUCTS_MAX: usize = 100;
/// The products of a page where nothing else is said.
pub const PAGE_PRODUCTS_DEFAULT: usize = 20;

/// The order of the products found. The id breaks ties in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// The best match first; without a text, as [`Sort::Newest`].
    #[default]
    Relevance,
    /// The cheapest first, those without a price last. Currencies are not converted: filter by one.
    PriceAscending,
    /// The dearest first, those without a price last. Currencies are not converted: filter by one.
    PriceDescending,
    /// The last changed first.
    Newest,
}

/// What is looked for. The default finds everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRequest {
    /// Words to look for, at most [`QUERY_BYTES_MAX`]. Absent or blank: everything. Without any letter or digit: nothing.
    pub text: Option<String>,
    /// Only products in this category or below it: the path, top level first, without regard to case. Empty: all.
    pub category: Vec<String>,
    /// Only products of this brand, without regard to case.
    pub brand: Option<String>,
    /// Only this seller's products.
    pub seller: Option<UserId>,
    /// The least and the greatest price in minor units, both included. Either excludes products without a price.
    pub price_minor: (Option<u64>, Option<u64>),
    /// Only products with a price in this currency.
    pub currency: Option<Currency>,
    /// The order.
    pub sort: Sort,
    /// How many products at most, 1 to [`PAGE_PRODUCTS_MAX`].
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<Cursor>,
}

impl Default for SearchRequest {
    fn default() -> Self {
        Self {
            text: None,
            category: Vec::new(),
            brand: None,
            seller: None,
            price_minor: (None, None),
            currency: None,
            sort: Sort::default(),
            limit: PAGE_PRODUCTS_DEFAULT,
            after: None,
        }
    }
}

/// A product found, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The product.
    pub product: ProductId,
    /// Its name.
    pub title: String,
    /// Its brand, where there is one.
    pub brand: Option<String>,
    /// The price of one, where it has one.
    pub price: Option<Money>,
    /// URL of a small picture.
    pub thumbnail_url: Option<String>,
}

/// One page of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPage {
    /// The products, in order.
    pub hits: Vec<Hit>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
    /// How many products there are on all pages, exactly.
    pub total: usize,
}

/// Why a search has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The text is too long.
    #[error("the query has {bytes} bytes, more than {QUERY_BYTES_MAX}")]
    TextTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The limit is no possible number of products.
    #[error("the limit is {limit}, not between 1 and {PAGE_PRODUCTS_MAX}")]
    LimitOutOfRange {
        /// What was asked for.
        limit: usize,
    },
    /// The cursor is not one of this search.
    #[error(transparent)]
    InvalidCursor(#[from] InvalidCursor),
    /// The index cannot be read: a fault of ours.
    #[error("the search index cannot be read: {problem}")]
    Fault {
        /// What tantivy says.
        problem: String,
    },
}

impl From<tantivy::TantivyError> for SearchError {
    fn from(error: tantivy::TantivyError) -> Self {
        Self::Fault { problem: error.to_string() }
    }
}

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
    if let Some(cursor) = &request.after {
        cursor.check(request)?;
    }
    let plan = plan(snapshot, fields, analyzer, request)?;
    let mut page = Page::new(request.limit, request.after.as_ref().map(|cursor| &cursor.last));
    let need = match &request.after {
        Some(cursor) => {
            collect(snapshot, &plan, cursor.need, &mut page)?;
            cursor.need
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
        (More::Follow, Some((key, _)), Some(hit)) => {
            let last = Place { key: *key, id: hit.product.as_str().to_owned() };
            Some(Cursor::new(request, need, last))
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
    let only_fillers = texts.iter().all(|word| is_filler(word));
    let mut words = Vec::with_capacity(texts.len());
    for text in &texts {
        let role = if is_filler(text) && !only_fillers { Role::Filler } else { Role::Content };
        words.push(Word::look_up(snapshot, &Term::from_field_text(fields.words, text), role)?);
    }
    Ok(words)
}
