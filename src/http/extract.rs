//! Extractors: bodies, queries, ids, idempotency keys, versions and callers. Malformed input gets a typed 4xx.
//!
//! May depend on `shop` and `domain`.

use std::str::FromStr;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request},
    http::{HeaderMap, HeaderValue, header, request::Parts},
};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::{
    App,
    admission::{Admitted, Ticket},
    error::Problem,
    layers::too_many_requests,
};
use crate::{
    domain::{
        idempotency::{InvalidKey, check_key},
        ids::{OrderId, ProductId, SellerId},
    },
    shop::{self, Principal},
};

/// The raw body, of bounded size and time. When it is here, the request is admitted.
pub(super) struct RawBody(pub(super) Bytes);

impl FromRequest<App> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let peer = parts.extensions.get().copied();
        let bytes = app.arriving.read(body, &parts.headers, peer).await?;
        match parts.extensions.get::<Ticket>() {
            Some(ticket) if ticket.admit(&app.admission) == Admitted::No => Err(too_many_requests()),
            _ => Ok(Self(bytes)),
        }
    }
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(Problem::unsupported_media_type());
        }
        let RawBody(bytes) = RawBody::from_request(request, app).await?;
        // serde would accept a list as an object, its elements being the fields in order.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(Problem::invalid("", "must be an object, not a list"));
        }
        let mut deserializer = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let pointer = pointer(error.path());
            let inner = error.into_inner();
            match inner.classify() {
                serde_json::error::Category::Data => Problem::invalid(&pointer, inner.to_string()),
                serde_json::error::Category::Io
                | serde_json::error::Category::Syntax
                | serde_json::error::Category::Eof => Problem::malformed_json(&inner),
            }
        })?;
        deserializer.end().map_err(|error| Problem::malformed_json(&error))?;
        Ok(Self(value))
    }
}

/// The JSON pointer to the faulty field, without its first `/`.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let segment = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().filter_map(segment).collect::<Vec<_>>().join("/")
}

/// The parameters of the query; unknown ones are refused.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::invalid_query(rejection.body_text())),
        }
    }
}

/// The parameters in the path. What they name need not exist.
pub(super) struct Names<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Names<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = <axum::extract::Path<T> as FromRequestParts<App>>::from_request_parts(parts, app).await;
        let axum::extract::Path(names) = path.map_err(|rejection| Problem::invalid_path(&rejection))?;
        Ok(Self(names))
    }
}

/// An id in the path. A malformed id is answered like one that does not exist.
pub(super) struct Id<T>(pub(super) T);

/// A type of ids in paths.
pub(super) trait PathId: FromStr {
    /// What it identifies, for "there is no such …".
    const NAMES: &'static str;
}

impl PathId for OrderId {
    const NAMES: &'static str = "order";
}

impl PathId for ProductId {
    const NAMES: &'static str = "product";
}

impl PathId for SellerId {
    const NAMES: &'static str = "seller";
}

impl<T: PathId> FromRequestParts<App> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Names(text) = Names::<String>::from_request_parts(parts, app).await?;
        text.parse().map(Self).map_err(|_| Problem::not_found(T::NAMES))
    }
}

/// The sender of the request. As `Option<Caller>`: `None` without a token; an invalid token is refused all the same.
pub(super) struct Caller(pub(super) Principal);

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = <Self as OptionalFromRequestParts<App>>::from_request_parts(parts, app).await?;
        caller.ok_or_else(Problem::anonymous)
    }
}

impl OptionalFromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, Problem> {
        let Some(value) = parts.headers.get(header::AUTHORIZATION) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default();
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Problem::unauthorized("the Authorization header must be `Bearer` and a token"));
        }
        Ok(Some(Self(app.shop.authenticate(token.trim()).await?)))
    }
}

/// The `Idempotency-Key` header: a structured-field string, or the bare text.
pub(super) struct Key(pub(super) Option<String>);

impl FromRequestParts<App> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let invalid = || shop::Error::from(InvalidKey);
        let text = value.to_str().map_err(|_| invalid())?.trim();
        let key = match text.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"').ok_or_else(invalid)?.replace("\\\"", "\""),
            None => text.to_owned(),
        };
        check_key(&key).map_err(shop::Error::from)?;
        Ok(Self(Some(key)))
    }
}

/// The product version of `If-Match`: only the product part of the ETag counts, so that a sale does not refuse an edit.
pub(super) fn expected_version(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text.strip_prefix("\"p").and_then(|rest| rest.split(['-', '"']).next()?.parse().ok());
    version.map(Some).ok_or_else(Problem::invalid_etag)
}

/// Whether `If-None-Match` contains this ETag.
pub(super) fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> Known {
    let names = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let matches = names.split(',').any(|name| matches!(name.trim(), "*") || etag == name.trim());
    if matches { Known::Yes } else { Known::No }
}

/// Whether the client has the current version.
#[derive(PartialEq, Eq)]
pub(super) enum Known {
    /// It has: the answer is 304.
    Yes,
    No,
}
