//! Pages of lists: `limit` and `after` in, `items` and `next_cursor` out, and a `Link` to the next page.
//!
//! May depend on `shop`.

use axum::{
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{error::Problem, json, responses::JSON};
use crate::shop::{Cursor, Error, InvalidCursor, PAGE_PRODUCTS_DEFAULT, PAGE_PRODUCTS_MAX};

/// The default size of a page, in items: that of a search.
const LIMIT_DEFAULT: usize = PAGE_PRODUCTS_DEFAULT;
/// The largest size of a page, in items: that of a search.
const LIMIT_MAX: usize = PAGE_PRODUCTS_MAX;

/// About how long the JSON of a page is beside its items, and that of an item, in bytes: the initial capacity.
const PAGE_JSON_BYTES: usize = 512;
const ITEM_JSON_BYTES: usize = 320;

/// The page to show.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// The size of the page: 1 to 100, 20 by default.
    #[param(minimum = 1, maximum = 100)]
    pub(super) limit: Option<usize>,
    /// The `next_cursor` of the previous page.
    pub(super) after: Option<String>,
}

/// The size of the page, checked against its bounds.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        _ => Err(Problem::invalid_query("limit must be 1 to 100")),
    }
}

/// Reads a cursor; the list checks whether it is one of its own.
pub(super) fn cursor(text: Option<&str>) -> Result<Option<Cursor>, Problem> {
    text.map(str::parse).transpose().map_err(|invalid: InvalidCursor| Error::from(invalid).into())
}

impl PageQuery {
    /// The size of the page, checked.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        limit(self.limit)
    }

    /// The cursor of the page.
    pub(super) fn after(&self) -> Result<Option<Cursor>, Problem> {
        cursor(self.after.as_deref())
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// The cursor of the next page, for `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// The number of items on all pages, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
}

impl<T: Serialize> Page<T> {
    pub(super) fn new(items: Vec<T>, next: Option<&Cursor>) -> Self {
        Self { items, next_cursor: next.map(Cursor::to_string), total: None }
    }

    pub(super) fn with_total(self, total: usize) -> Self {
        Self { total: Some(total), ..self }
    }

    /// The response, with a `Link` to the next page.
    pub(super) fn respond(self, uri: &Uri) -> Response {
        let link = self.next_cursor.as_ref().map(|cursor| next_link(uri, cursor));
        let about = PAGE_JSON_BYTES + ITEM_JSON_BYTES * self.items.len();
        let body = match json::bytes(&self, about) {
            Ok(body) => body,
            Err(problem) => return problem.into_response(),
        };
        let mut response = ([(header::CONTENT_TYPE, HeaderValue::from_static(JSON))], body).into_response();
        if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

fn next_link(uri: &Uri, cursor: &str) -> String {
    let kept =
        uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("after="));
    let after = format!("after={cursor}");
    let query: Vec<&str> = kept.chain([after.as_str()]).collect();
    format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"))
}
