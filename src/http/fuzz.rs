//! Doors to the parsers of the edge for the fuzzers of `fuzz/`, and for the tests that use their corpora: each reads
//! one kind of input, whatever it is, and checks what must hold of the result.
//!
//! Depends on its neighbours.

#![allow(missing_docs, reason = "the names say it")]

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
    response::IntoResponse,
};
use futures::FutureExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    applications::ApplicationsQuery,
    auth::Registration,
    context::Context,
    error::Problem,
    etag::{self, IfMatch},
    events::FollowQuery,
    issues::ResolutionBody,
    json, negotiation,
    once::Key,
    orders::{Checkout, OrdersQuery},
    paging::{self, PageQuery},
    peer::Origin,
    products::{ProductFields, SearchQuery},
    query,
    request_body::check_media_type,
    responses::{JSON, KEY},
    target,
};
use crate::config::Networks;

/// Reads a query as each kind of query that there is.
pub fn query(text: &str) {
    let Ok(uri) = format!("/products?{text}").parse::<Uri>() else { return };
    if let Err(problem) = target::check(&uri) {
        return refuses(problem);
    }
    read::<SearchQuery>(&uri);
    read::<OrdersQuery>(&uri);
    read::<ApplicationsQuery>(&uri);
    read::<FollowQuery>(&uri);
    if let Some(page) = read::<PageQuery>(&uri) {
        let _ = page.limit().map_err(refuses);
        let _ = page.after().map_err(refuses);
    }
}

fn read<T: DeserializeOwned + IntoParams>(uri: &Uri) -> Option<T> {
    query::read(uri).map_err(refuses).ok()
}

/// Reads a cursor: what is read as one is written as it was.
pub fn cursor(text: &str) {
    match paging::cursor(Some(text)) {
        Ok(cursor) => assert_eq!(cursor.map(|cursor| cursor.to_string()).as_deref(), Some(text)),
        Err(problem) => refuses(problem),
    }
}

/// Reads the conditions of `If-Match` and `If-None-Match`. A tag that one of them names is known in every coding.
pub fn etag(value: &[u8]) {
    let Some(headers) = with(header::IF_MATCH, value) else { return };
    let value = &headers[header::IF_MATCH];
    match IfMatch::of(&headers, true) {
        Ok(expected) => drop(expected.version('p')),
        Err(problem) => refuses(problem),
    }
    let own = HeaderValue::from_static("\"p1-0123456789abcdef\"");
    let _ = etag::is_known(value, &own);
    if let Some(coding) = with(header::ACCEPT_ENCODING, b"gzip").and_then(|headers| negotiation::coding(&headers)) {
        assert!(etag::is_known(&etag::coded(&own, coding), &own), "a tag is known in its coding");
    }
}

/// Reads an `Idempotency-Key`: what is taken has the length and the characters that a key may have.
pub fn idempotency_key(value: &[u8]) {
    let Some(headers) = with(KEY, value) else { return };
    match Key::of(&headers) {
        Ok(Key(Some(key))) => {
            assert!((1..=255).contains(&key.chars().count()) && !key.chars().any(char::is_control), "{key:?}");
        }
        Ok(Key(None)) => panic!("the header is there"),
        Err(problem) => refuses(problem),
    }
}

/// Reads every other header that the edge understands.
pub fn headers(value: &[u8]) {
    let names =
        ["accept", "accept-encoding", "content-type", "forwarded", "traceparent", "x-forwarded-for", "x-request-id"];
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let headers: HeaderMap = names.into_iter().map(|name| (HeaderName::from_static(name), value.clone())).collect();
    let _ = negotiation::accepts(&headers, JSON);
    let _ = negotiation::prefers(&headers, JSON, "text/plain");
    let _ = negotiation::coding(&headers);
    let _ = check_media_type(&headers).map_err(refuses);
    let trusted: Networks = serde_json::from_str(r#"["10.0.0.0/8"]"#).unwrap_or_default();
    let _ = Origin::of([10, 0, 0, 1].into(), &trusted.into()).peer(&headers);
    let mut request = Request::new(Body::empty());
    *request.headers_mut() = headers;
    let context = Context::of(&request);
    for id in [&context.request_id, &context.trace_id] {
        let id = id.to_str().unwrap_or_default();
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        assert!((1..=64).contains(&id.len()) && id.bytes().all(is_safe), "{id:?} can stand nowhere");
    }
}

/// Reads a JSON body as some kinds of them: flat and deep, with lists and with choices.
pub fn body(bytes: &[u8]) {
    parse::<Registration>(bytes);
    parse::<Checkout>(bytes);
    parse::<ProductFields>(bytes);
    parse::<ResolutionBody>(bytes);
}

fn parse<T: DeserializeOwned + ToSchema>(bytes: &[u8]) {
    let _ = json::parse::<T>(bytes).map_err(refuses);
}

fn with(name: HeaderName, value: &[u8]) -> Option<HeaderMap> {
    let value = HeaderValue::from_bytes(value).ok()?;
    Some(HeaderMap::from_iter([(name, value)]))
}

/// A refusal is the client's fault, and a problem document.
fn refuses(problem: Problem) {
    let response = problem.into_response();
    assert!(response.status().is_client_error(), "{response:?}");
    let body = to_bytes(response.into_body(), usize::MAX).now_or_never().and_then(Result::ok);
    let body: Value = body.and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
    assert!(body["code"].is_string() && body["detail"].is_string(), "{body}");
}
