//! Cross-origin requests of browsers (CORS): which origins may call the shop, and what their scripts may read.
//!
//! By hand and not by tower-http's layer: that one takes every `OPTIONS` for a preflight, which hides `Allow`, knows
//! nothing of a route's methods, and costs every request a box more. The shop uses no cookies, so credentials are never
//! allowed.
//!
//! May depend on `config`.

use axum::http::{HeaderMap, HeaderValue, Method, header};

use crate::config::Origins;

/// What a script may read of an answer beside its body.
const EXPOSED: &str = "ETag, Link, Location, Retry-After, RateLimit, RateLimit-Policy, Idempotent-Replayed, \
                       Souk-Version, WWW-Authenticate, X-Request-Id";
/// What a script may send.
const SENT: &str = "Accept, Accept-Language, Authorization, Content-Encoding, Content-Type, Idempotency-Key, \
                    If-Match, If-None-Match, Last-Event-ID, Souk-Version, X-Request-Id, traceparent, tracestate";
/// How long a browser may remember a preflight, in seconds: two hours, the most that Chromium remembers.
const MAX_AGE_SECONDS: &str = "7200";

/// The origins that may call the shop.
#[derive(Debug)]
pub(super) struct Cors(Origins);

impl Cors {
    /// `None` where no origin is configured: then no answer says anything of other origins.
    pub(super) fn new(origins: &Origins) -> Option<Self> {
        (!origins.is_empty()).then(|| Self(origins.clone()))
    }

    /// Whether answers differ by `Origin`, which caches must know.
    pub(super) fn varies(&self) -> bool {
        !self.0.is_any()
    }

    /// The answer to this origin; `None` where it may not call.
    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        if self.0.is_any() {
            return Some(HeaderValue::from_static("*"));
        }
        origin.filter(|origin| origin.to_str().is_ok_and(|origin| self.0.contains(origin))).cloned()
    }

    /// Marks an answer for scripts of the origin.
    pub(super) fn mark(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        if let Some(allowed) = self.allowed(origin) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }

    /// Whether a browser asks, for a page of an allowed origin, whether a request may be sent.
    pub(super) fn is_preflight(&self, request: &HeaderMap) -> bool {
        request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && self.allowed(request.get(header::ORIGIN)).is_some()
    }

    /// Answers a preflight: `OPTIONS` with the method that a script wants to use. `allow` are the route's methods.
    pub(super) fn preflight(&self, request: &HeaderMap, allow: &HeaderValue, answer: &mut HeaderMap) {
        if !self.is_preflight(request) {
            return;
        }
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow.clone());
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(SENT));
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_SECONDS));
    }
}

/// What `OPTIONS` answers to all others: the methods of the route.
pub(super) fn allow(methods: impl Iterator<Item = Method>) -> HeaderValue {
    let mut names: Vec<String> = methods.map(|method| method.to_string()).collect();
    if names.iter().any(|name| name == "GET") {
        names.push("HEAD".to_owned());
    }
    names.push("OPTIONS".to_owned());
    // Names of methods are always a valid header value.
    HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}
