//! Problems (RFC 9457): the only place where an error becomes a status code.
//!
//! May depend on `shop` and `domain`.

pub(super) mod kinds;
mod of_shop;

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};

use self::kinds::Kind;
use super::{coding::Coding, context, rates::Exceeded, responses::PROBLEM_JSON, schema::Fault};
use crate::{domain::ids::OrderId, shop::Error};

/// The prefix of problem types, which docs/API.md describes.
pub const TYPE_BASE: &str = "https://souk.example/problems/";
/// The `Retry-After` of an overloaded shop and of a pending payment, in seconds.
pub(super) const RETRY_AFTER_SECONDS: &str = "1";
/// The member with the faults of a body.
const ERRORS: &str = "errors";

/// A problem document (RFC 9457): what the shop's routes answer where a request fails. A handler of another program
/// makes one from an [`Error`] and gives it back as its response.
#[derive(Debug)]
pub struct Problem {
    kind: &'static Kind,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem without members and headers of its own.
    pub(super) fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), members: Map::new(), headers: Vec::new() }
    }

    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        self.kind.status
    }

    /// Adds a member beside the standard ones.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub(super) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// Adds the `Retry-After` of something that may have changed in a moment.
    #[must_use]
    fn retry(self) -> Self {
        self.header(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// Adds `Retry-After`, rounded up to whole seconds.
    fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = u64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1);
        self.headers.push((header::RETRY_AFTER, seconds.into()));
        self
    }

    /// A field of the body breaks a rule; the whole body if the pointer is empty.
    pub(super) fn invalid(pointer: &str, detail: impl Into<String>) -> Self {
        let fault = Fault { pointer: pointer.to_owned(), detail: detail.into() };
        Self::new(&kinds::INVALID_BODY, fault.detail.clone()).with(ERRORS, vec![fault.to_json()])
    }

    /// Fields of the body break rules of its schema.
    pub(super) fn invalid_fields(faults: &[Fault]) -> Self {
        let first = faults.first().map(|fault| format!("{}: {}", fault.json_pointer(), fault.detail));
        let errors: Vec<Value> = faults.iter().map(Fault::to_json).collect();
        Self::new(&kinds::INVALID_BODY, first.unwrap_or_default()).with(ERRORS, errors)
    }

    /// The body is not JSON.
    pub(super) fn malformed_json(error: &serde_json::Error) -> Self {
        Self::new(&kinds::MALFORMED_JSON, error.to_string())
    }

    /// The connection broke within the body.
    pub(super) fn unreadable_body() -> Self {
        Self::new(&kinds::UNREADABLE_BODY, "the body could not be read")
    }

    /// The bytes of the body are not what its content coding says.
    pub(super) fn undecodable_body(coding: Coding) -> Self {
        Self::new(&kinds::UNREADABLE_BODY, format!("the body is not {}", coding.name()))
    }

    /// The encoding or the names of the path break a rule.
    pub(super) fn invalid_path(detail: impl Into<String>) -> Self {
        Self::new(&kinds::INVALID_PATH, detail)
    }

    /// The query has an unknown name or breaks a rule.
    pub(super) fn invalid_query(detail: impl Into<String>) -> Self {
        Self::new(&kinds::INVALID_QUERY, detail)
    }

    /// `If-Match` is not a list of ETags.
    pub(super) fn invalid_etag() -> Self {
        Self::new(&kinds::INVALID_ETAG, "If-Match must be `*` or ETags in quotes, separated by commas")
    }

    /// The thing has another version than `If-Match` says.
    pub(super) fn version_mismatch(current: u64) -> Self {
        let detail = "it has changed since the ETag in If-Match was read: read it again";
        Self::new(&kinds::VERSION_MISMATCH, detail).with("current_version", current)
    }

    /// The shop wants `If-Match` on writes, and there is none.
    pub(super) fn precondition_required() -> Self {
        let detail = "send the ETag that you have read in If-Match, so that nobody else's change is overwritten";
        Self::new(&kinds::PRECONDITION_REQUIRED, detail)
    }

    /// `Last-Event-ID` is not an event of the stream.
    pub(super) fn invalid_last_event_id() -> Self {
        let detail = "Last-Event-ID must be the id of an event of this stream";
        Self::new(&kinds::INVALID_LAST_EVENT_ID, detail)
    }

    /// The resource does not have this method.
    pub(super) fn method_not_allowed(method: &Method) -> Self {
        let detail = format!("this resource does not take {method}");
        Self::new(&kinds::METHOD_NOT_ALLOWED, detail)
    }

    /// The operation's answer is not for repeats, so its requests take no idempotency key.
    pub(super) fn key_not_taken() -> Self {
        let detail =
            "this operation takes no Idempotency-Key, because its answer must not be kept: send it without one";
        Self::new(&kinds::IDEMPOTENCY_KEY_NOT_TAKEN, detail)
    }

    /// The body did not arrive within its time limit.
    pub(super) fn request_timeout() -> Self {
        let detail = "the body did not arrive in time";
        Self::new(&kinds::REQUEST_TIMEOUT, detail)
    }

    /// The body has more than `bytes_max` bytes.
    pub(super) fn body_too_large(bytes_max: usize) -> Self {
        let detail = format!("a body has at most {bytes_max} bytes");
        Self::new(&kinds::BODY_TOO_LARGE, detail)
    }

    /// The body has another media type than JSON.
    pub(super) fn unsupported_media_type() -> Self {
        let detail = "the content type must be application/json";
        Self::new(&kinds::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// The body has a content coding that the shop does not decode.
    pub(super) fn unsupported_encoding() -> Self {
        let detail = format!("the content coding of the body must be one of {}, or none", Coding::NAMES);
        Self::new(&kinds::UNSUPPORTED_ENCODING, detail).header(header::ACCEPT_ENCODING, Coding::NAMES)
    }

    /// The client takes no answer that this resource gives.
    pub(super) fn not_acceptable(media_type: &str) -> Self {
        let detail = format!("this resource answers {media_type}, which the Accept header excludes");
        Self::new(&kinds::NOT_ACCEPTABLE, detail)
    }

    /// The payment was declined or given up.
    pub(super) fn payment_declined(order: OrderId, attempt: u32, reason: &str) -> Self {
        Self::new(&kinds::PAYMENT_DECLINED, format!("the payment was declined: {reason}"))
            .with("payment_status", "fail")
            .with("order_id", order.to_string())
            .with("attempt", attempt)
            .with("declined_reason", reason)
    }

    /// The thing does not exist, or it belongs to somebody else.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(&kinds::NOT_FOUND, format!("there is no such {what}"))
    }

    /// A token is required, and the request has none.
    pub(super) fn anonymous() -> Self {
        let detail = "a bearer token is needed: log in with POST /auth/login";
        Self::new(&kinds::UNAUTHORIZED, detail).header(header::WWW_AUTHENTICATE, "Bearer")
    }

    /// Whether the shop does not know who sends the request.
    pub(super) fn is_of_login(&self) -> bool {
        self.kind.status == StatusCode::UNAUTHORIZED
    }

    /// The token is not valid.
    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(&kinds::UNAUTHORIZED, detail).header(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
    }

    /// The user follows as many orders as one may at once. The first stream ends within `wait`.
    pub(super) fn too_many_streams(streams_max: usize, wait: Duration) -> Self {
        let detail = format!("at most {streams_max} event streams of one user may be open: close one of them");
        Self::new(&kinds::TOO_MANY_STREAMS, detail).retry_after(wait)
    }

    /// Too much of what the detail names is under way; nothing was done.
    pub(super) fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(&kinds::OVERLOADED, detail).retry()
    }

    pub(super) fn rate_limited(Exceeded { requests_max, window, left }: Exceeded) -> Self {
        let detail = format!("the limit \"{}\" of {requests_max} in {} s is reached", left.name, window.as_secs());
        let mut problem = Self::new(&kinds::RATE_LIMITED, detail);
        problem.headers.extend(left.headers());
        problem.with("limit", left.name).retry_after(left.after)
    }

    /// There is no permit for the request.
    pub(super) fn too_many_requests() -> Self {
        Self::overloaded("too many requests are in flight; nothing was done")
    }

    /// The request took too long. If it would have changed something, perhaps it did.
    pub(super) fn timed_out(method: &Method) -> Self {
        if !method.is_safe() {
            return Error::Unknown.into();
        }
        let detail = "the answer was not ready in time; nothing was changed";
        Self::new(&kinds::TIMED_OUT, detail).retry()
    }

    /// A fault of the shop, not of the request.
    pub(super) fn fault() -> Self {
        Self::new(&kinds::FAULT, "the shop has a fault; the trace id finds it in its logs")
    }
}

impl Problem {
    /// Tells every fault of the body: the one for which it was refused, and what else its schema says against it.
    fn tell_faults(&mut self) {
        let Some(Value::Array(errors)) = self.members.get_mut(ERRORS) else { return };
        for fault in context::faults() {
            let pointer = fault.json_pointer();
            if !errors.iter().any(|known| known["pointer"] == pointer) {
                errors.push(fault.to_json());
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        if *self.kind == kinds::INVALID_BODY {
            self.tell_faults();
        }
        let Kind { code, status, title, .. } = *self.kind;
        let mut body = self.members;
        body.insert("type".into(), format!("{TYPE_BASE}{code}").into());
        body.insert("title".into(), title.into());
        body.insert("status".into(), status.as_u16().into());
        body.insert("detail".into(), self.detail.into());
        body.insert("code".into(), code.into());
        // Outside of the shop's router there is neither.
        for (name, value) in [("instance", context::path()), ("trace_id", context::trace_id())] {
            if !value.is_empty() {
                body.insert(name.into(), value.into());
            }
        }
        let mut response = (status, Value::Object(body).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;
    use crate::domain::unmatched_notices;

    #[test]
    fn only_a_method_that_changes_something_may_have_done_it_when_its_time_is_up() {
        for (method, code) in
            [(Method::GET, "timed-out"), (Method::HEAD, "timed-out"), (Method::POST, "unknown-outcome")]
        {
            let problem = Problem::timed_out(&method);
            assert_eq!((problem.kind.status, problem.kind.code), (StatusCode::GATEWAY_TIMEOUT, code), "{method}");
            assert_eq!(problem.detail.contains("Idempotency-Key"), code == "unknown-outcome", "{method}");
        }
    }

    #[test]
    fn what_is_full_is_named() {
        let full = Problem::from(Error::UnmatchedNotices(unmatched_notices::Rejection::Full));
        assert_eq!((full.kind.status.as_u16(), full.kind.code), (503, "overloaded"));
        assert!(full.detail.contains("notices"), "{}", full.detail);
    }
}
