//! Completes an answer for those who keep it: caching rules, entity tag, and the content coding that the client
//! prefers.
//!
//! A shop window may be kept by everybody for a moment, what is somebody's own only by themselves, and nothing else by
//! anybody. What is public is encoded once for all who ask for it.
//!
//! Depends on its neighbours.

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::FutureExt;

use super::{
    coding::Coding,
    encoded::EncodedAnswers,
    etag, negotiation,
    responses::{JSON, PROBLEM_JSON},
    route::{Audience, Operation, Route},
};

/// Shorter answers are sent as they are, in bytes: with their headers they fit into one packet anyway.
const ENCODED_BYTES_MIN: u64 = 1_024;
/// Longer answers are sent as they are, in bytes: encoding them would keep a thread from others for too long.
const ENCODED_BYTES_MAX: u64 = 1 << 20;

/// What a client says of the representation that it wants.
pub(super) struct Wanted {
    if_none_match: Option<HeaderValue>,
    coding: Option<Coding>,
    has_token: bool,
}

impl Wanted {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self {
            if_none_match: headers.get(header::IF_NONE_MATCH).cloned(),
            coding: negotiation::coding(headers),
            has_token: headers.contains_key(header::AUTHORIZATION),
        }
    }
}

/// Completes the answer to a method of a route.
pub(super) fn complete(route: &Route, method: &Method, wanted: &Wanted, mut response: Response) -> Response {
    let shown = route.operation(method).filter(|operation| operation.method == Method::GET);
    let shown = shown.filter(|_| response.status() == StatusCode::OK);
    let is_public = shown.is_some_and(|operation| operation.audience == Audience::Everybody) && !wanted.has_token;
    let headers = response.headers_mut();
    if !headers.contains_key(header::CACHE_CONTROL) {
        let rule = match shown {
            Some(_) if is_public => route.edge.public_rule.clone(),
            Some(_) => HeaderValue::from_static("private, no-cache"),
            None => HeaderValue::from_static("no-store"),
        };
        headers.insert(header::CACHE_CONTROL, rule);
    }
    headers.insert(header::VARY, route.vary.clone());
    let tags = shown.is_some_and(|operation| is_tagged(operation, headers));
    let coding = wanted.coding.filter(|_| may_be_encoded(response.headers(), response.body()));
    if tags {
        response = with_tag(response);
    }
    if let (Some(_), Some(known)) = (shown, &wanted.if_none_match)
        && response.headers().get(header::ETAG).is_some_and(|etag| etag::is_known(known, etag))
    {
        return not_modified(response, coding);
    }
    match coding {
        Some(coding) => encode(response, coding, is_public.then_some(&route.edge.encoded)),
        None => response,
    }
}

/// Whether the layer makes the tag of an answer: its handler has made none, and somebody may keep it.
fn is_tagged(operation: &Operation, headers: &HeaderMap) -> bool {
    let is_json = operation.media_type.as_deref() == Some(JSON);
    let is_kept = headers.get(header::CACHE_CONTROL).is_some_and(|rule| rule != "no-store");
    is_json && is_kept && !headers.contains_key(header::ETAG)
}

/// An answer that its handler keeps from every cache may hold tokens, whose length an encoded answer would betray.
fn may_be_encoded(headers: &HeaderMap, body: &Body) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_text = kind == JSON || kind == PROBLEM_JSON || kind.starts_with("text/") || kind.contains("openmetrics");
    let is_long_enough = (ENCODED_BYTES_MIN..=ENCODED_BYTES_MAX).contains(&body.size_hint().exact().unwrap_or(0));
    is_text && is_long_enough && !headers.contains_key(header::CONTENT_ENCODING)
}

/// The bytes of a body that is in memory, as all answers of handlers but streams are.
fn whole(body: Body) -> Option<Bytes> {
    to_bytes(body, usize::MAX).now_or_never()?.ok()
}

/// The answer with the tag of its bytes.
fn with_tag(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Some(bytes) = whole(body) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    if let Some(etag) = etag::of_bytes(&bytes) {
        parts.headers.insert(header::ETAG, etag);
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// The answer to a client that has this representation already. Its headers are those that the answer would have had.
fn not_modified(response: Response, coding: Option<Coding>) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_TYPE);
    mark_tag(&mut parts.headers, coding);
    Response::from_parts(parts, Body::empty())
}

fn encode(response: Response, coding: Coding, cache: Option<&EncodedAnswers>) -> Response {
    let (mut parts, body) = response.into_parts();
    let Some(bytes) = whole(body) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let encoded = match cache {
        Some(cache) => cache.get(&bytes, coding),
        None => coding.encode(&bytes).ok().map(Bytes::from),
    };
    let Some(encoded) = encoded.filter(|encoded| encoded.len() < bytes.len()) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    parts.headers.insert(header::CONTENT_ENCODING, coding.header());
    parts.headers.remove(header::CONTENT_LENGTH);
    mark_tag(&mut parts.headers, Some(coding));
    Response::from_parts(parts, Body::from(encoded))
}

fn mark_tag(headers: &mut HeaderMap, coding: Option<Coding>) {
    if let (Some(coding), Some(etag)) = (coding, headers.get(header::ETAG)) {
        let coded = etag::coded(etag, coding);
        headers.insert(header::ETAG, coded);
    }
}
