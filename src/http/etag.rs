//! Entity tags (RFC 9110, 8.8.3) and the conditions that clients make of them.
//!
//! A tag begins with the version of the thing, with which `If-Match` is compared, so that what only changes around it
//! (a price in a cart, a sale of a product) refuses no edit. The rest identifies the bytes. An answer with a content
//! coding has the same tag with the coding's name behind it; whatever a client sends back is compared without that
//! name.
//!
//! May depend on `config`.

use std::hash::BuildHasher;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use foldhash::quality::FixedState;
use serde::Serialize;

use super::{App, coding::Coding, error::Problem, json, responses::JSON};

/// The version of a thing that no thing ever has: what a tag of something else expects.
const NO_VERSION: u64 = u64::MAX;
/// So that the tags of the same bytes are the same after a restart.
const HASH: FixedState = FixedState::with_seed(0);

/// The tag of these bytes.
pub(super) fn of_bytes(bytes: &[u8]) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{:016x}\"", HASH.hash_one(bytes))).ok()
}

/// A JSON answer whose tag begins with the version of what it shows, such as `c3`.
pub(super) fn json(version: &str, body: &impl Serialize) -> Response {
    let bytes = match json::bytes(body, json::ANSWER_BYTES) {
        Ok(bytes) => bytes,
        Err(problem) => return problem.into_response(),
    };
    let etag = HeaderValue::try_from(format!("\"{version}-{:016x}\"", HASH.hash_one(bytes.as_slice())));
    let mut response =
        (StatusCode::OK, [(header::CONTENT_TYPE, HeaderValue::from_static(JSON))], bytes).into_response();
    if let Ok(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// The tag of an answer in this coding.
pub(super) fn coded(etag: &HeaderValue, coding: Coding) -> HeaderValue {
    let text = etag.to_str().ok().and_then(|text| text.strip_suffix('"'));
    let coded = text.and_then(|text| HeaderValue::try_from(format!("{text}-{}\"", coding.name())).ok());
    coded.unwrap_or_else(|| etag.clone())
}

/// Whether `If-None-Match` names this tag. The comparison is weak, since a proxy that encodes an answer weakens its
/// tag.
pub(super) fn is_known(if_none_match: &HeaderValue, etag: &HeaderValue) -> bool {
    let Ok(names) = if_none_match.to_str() else { return false };
    let etag = etag.to_str().unwrap_or_default().trim_matches('"');
    names.trim() == "*" || tags(names).is_some_and(|tags| tags.iter().any(|tag| tag.value == etag))
}

/// A tag as a client names it.
#[derive(Debug, PartialEq, Eq)]
struct Tag<'a> {
    is_weak: bool,
    /// Without quotes and coding.
    value: &'a str,
}

/// The tags of a list; `None` where it is malformed.
fn tags(text: &str) -> Option<Vec<Tag<'_>>> {
    let mut tags = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (is_weak, opened) = match rest.strip_prefix("W/") {
            Some(weak) => (true, weak),
            None => (false, rest),
        };
        let (value, behind) = opened.strip_prefix('"')?.split_once('"')?;
        let uncoded = Coding::ALL.into_iter().find_map(|coding| value.strip_suffix(coding.name())?.strip_suffix('-'));
        tags.push(Tag { is_weak, value: uncoded.unwrap_or(value) });
        rest = behind.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    Some(tags)
}

/// What `If-Match` expects of a thing. It is refused (428) where it is missing and the shop wants it.
pub(super) struct IfMatch(Option<HeaderValue>);

impl FromRequestParts<App> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Self::of(&parts.headers, app.shop.config().http.require_if_match)
    }
}

impl IfMatch {
    pub(super) fn of(headers: &HeaderMap, is_required: bool) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::IF_MATCH) else {
            return if is_required { Err(Problem::precondition_required()) } else { Ok(Self(None)) };
        };
        let text = value.to_str().unwrap_or_default().trim();
        match tags(text) {
            Some(tags) if !tags.is_empty() => Ok(Self(Some(value.clone()))),
            _ if text == "*" => Ok(Self(None)),
            _ => Err(Problem::invalid_etag()),
        }
    }

    /// The version that the thing must have, whose tags begin with `kind`; `None` for any. Weak tags never match, nor
    /// do those of other things. Versions only grow, so of several the greatest counts: who has seen it knows that the
    /// others are gone.
    pub(super) fn version(&self, kind: char) -> Option<u64> {
        let tags = tags(self.0.as_ref()?.to_str().ok()?)?;
        let strong = tags.iter().filter(|tag| !tag.is_weak);
        let versions = strong.filter_map(|tag| tag.value.strip_prefix(kind)?.split('-').next()?.parse().ok());
        Some(versions.max().unwrap_or(NO_VERSION))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> HeaderValue {
        HeaderValue::try_from(text).unwrap()
    }

    #[test]
    fn tags_are_compared_weakly_and_without_their_coding() {
        let etag = value("\"p1-s2\"");
        for known in ["\"p1-s2\"", "W/\"p1-s2\"", "*", "\"a\", W/\"p1-s2-gzip\"", "\"a,b\",\"p1-s2-br\"", " \"p1-s2\" "]
        {
            assert!(is_known(&value(known), &etag), "{known}");
        }
        for other in ["\"p1\"", "p1-s2", "\"p1-s2", "\"p1-s2-deflate\"", "", "w/\"p1-s2\"", "\"a\" \"p1-s2\""] {
            assert!(!is_known(&value(other), &etag), "{other}");
        }
        assert_eq!(coded(&etag, Coding::Gzip), "\"p1-s2-gzip\"");
    }

    #[test]
    fn a_condition_is_a_version_that_only_strong_tags_name() {
        let version = |text: &str| {
            let headers = HeaderMap::from_iter([(header::IF_MATCH, value(text))]);
            IfMatch::of(&headers, true).map(|expected| expected.version('p')).map_err(|_| "refused")
        };
        assert_eq!(version("\"p7-s2\""), Ok(Some(7)));
        assert_eq!(version("\"p7-s2-br\""), Ok(Some(7)));
        assert_eq!(version("\"p7-s2\", \"p9\", W/\"p11\""), Ok(Some(9)));
        assert_eq!(version("*"), Ok(None));
        for other in ["W/\"p7-s2\"", "\"c7\"", "\"x\"", "\"p\""] {
            assert_eq!(version(other), Ok(Some(NO_VERSION)), "{other}");
        }
        for malformed in ["", "p7", "\"p7", "\"p7\" x"] {
            assert_eq!(version(malformed), Err("refused"), "{malformed}");
        }
        assert!(IfMatch::of(&HeaderMap::new(), true).is_err());
        assert_eq!(IfMatch::of(&HeaderMap::new(), false).unwrap().version('p'), None);
    }
}
