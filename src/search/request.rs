//! Search requests and their results.
//!
//! Depends on `domain`.

use crate::domain::{
    cursor::{Cursor, InvalidCursor},
    idempotency::Fields,
    ids::{ProductId, SellerId},
    money::{Currency, Money},
};

/// The longest text of a query, in bytes. Of 900 real queries the longest has 92.
pub const QUERY_BYTES_MAX: usize = 256;
/// The most products of one page.
pub const PAGE_PRODUCTS_MAX: usize = 100;
/// The products of a page unless the request says otherwise.
pub const PAGE_PRODUCTS_DEFAULT: usize = 20;

/// The order of the products found. The id breaks ties in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
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
    /// Words to look for, at most [`QUERY_BYTES_MAX`]. Absent or blank: everything. Without any letter or digit:
    /// nothing.
    pub text: Option<String>,
    /// Only products in this category or below it: the path, top level first, without regard to case. Empty: all.
    pub category: Vec<String>,
    /// Only products of this brand, without regard to case.
    pub brand: Option<String>,
    /// Only this seller's products.
    pub seller: Option<SellerId>,
    /// The least and the greatest price in minor units, both included. Either excludes products without a price.
    pub price_minor: (Option<u64>, Option<u64>),
    /// Only products with a price in this currency.
    pub currency: Option<Currency>,
    /// The order of the products found.
    pub sort: Sort,
    /// How many products at most, 1 to [`PAGE_PRODUCTS_MAX`].
    pub limit: usize,
    /// The cursor of the page before.
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

impl SearchRequest {
    /// Identifies the list that its cursors belong to: everything that decides which products are found and in which
    /// order.
    pub(super) fn list(&self) -> Vec<u8> {
        let Self { text, category, brand, seller, price_minor, currency, sort, limit: _, after: _ } = self;
        let sort = match sort {
            Sort::Relevance => "relevance",
            Sort::PriceAscending => "price_ascending",
            Sort::PriceDescending => "price_descending",
            Sort::Newest => "newest",
        };
        let search = Fields::default().with("list", "search").with_some("text", text.as_ref());
        let search = category.iter().fold(search, |search, level| search.with("category", level));
        search
            .with_some("brand", brand.as_ref())
            .with_some("seller", *seller)
            .with_some("price_minor_min", price_minor.0)
            .with_some("price_minor_max", price_minor.1)
            .with_some("currency", currency.as_ref().map(Currency::code))
            .with("sort", sort)
            .as_bytes()
            .to_vec()
    }
}

/// A product found, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Hit {
    pub product: ProductId,
    pub title: String,
    pub brand: Option<String>,
    /// The price of one unit; `None` if the product has no price.
    pub price: Option<Money>,
    /// The URL of a small picture.
    pub thumbnail_url: Option<String>,
    /// What that picture shows.
    pub thumbnail_alt: Option<String>,
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

/// A category with the number of products in it and below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CategoryCount {
    /// The path, top level first: one or two names, each as most of its products write it.
    pub path: Vec<String>,
    /// How many products are in it or below it.
    pub count: usize,
}

/// Why a search has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The text is too long.
    #[error("the query has {bytes} bytes, more than {QUERY_BYTES_MAX}")]
    TextTooLong {
        /// The length of the text, in bytes.
        bytes: usize,
    },
    /// The limit is out of bounds.
    #[error("the limit is {limit}, not between 1 and {PAGE_PRODUCTS_MAX}")]
    LimitOutOfRange {
        /// The limit that was asked for.
        limit: usize,
    },
    /// The cursor belongs to another list or request.
    #[error(transparent)]
    InvalidCursor(#[from] InvalidCursor),
    /// The index cannot be read: a fault of the shop, not of the request.
    #[error("the search index cannot be read: {problem}")]
    Fault {
        /// The error of tantivy.
        problem: String,
    },
}

impl From<tantivy::TantivyError> for SearchError {
    fn from(error: tantivy::TantivyError) -> Self {
        Self::Fault { problem: error.to_string() }
    }
}
