//! What the layers must know about a route before its handler runs: its operations, class and query,
//! and how rate limits count it.
//!
//! May depend on `config`.

use std::{num::NonZeroU32, sync::Arc};

use axum::http::{HeaderValue, Method, Uri};

use super::{
    App,
    admission::Class,
    cors::Cors,
    encoded::EncodedAnswers,
    metrics::RequestTimes,
    rates::{self, Policy},
};
use crate::config::Config;

/// What the layers of all routes share, and handlers do not need.
pub(super) struct Edge {
    pub(super) cors: Option<Cors>,
    /// The `Cache-Control` of public answers.
    pub(super) public_rule: HeaderValue,
    pub(super) encoded: EncodedAnswers,
}

impl Edge {
    pub(super) fn new(config: &Config) -> Self {
        let seconds = config.http.cache_seconds;
        let rule = if seconds == 0 { "public, no-cache".to_owned() } else { format!("public, max-age={seconds}") };
        Self {
            cors: Cors::new(&config.http.cors_origins),
            // A number is always a valid header value.
            public_rule: HeaderValue::try_from(rule).unwrap_or_else(|_| HeaderValue::from_static("no-cache")),
            encoded: EncodedAnswers::beside(config.limits.views_bytes_max),
        }
    }
}

/// What the layers know about a route.
pub(super) struct Route {
    pub(super) app: App,
    pub(super) edge: Arc<Edge>,
    /// The path in the description, which names the route in metrics and logs.
    pub(super) template: String,
    /// The class of its writes. `None` where it is answered even under overload, without a permit: health, metrics,
    /// documents.
    pub(super) writes: Option<Class>,
    pub(super) query: QueryRule,
    /// Empty where there is no such path.
    pub(super) operations: Vec<Operation>,
    /// Its methods, for `Allow`.
    pub(super) allow: HeaderValue,
    /// The request headers by which its answers differ, for caches.
    pub(super) vary: HeaderValue,
    pub(super) charge: Charge,
    /// Where its requests are counted; those for operators are not.
    pub(super) times: Option<Arc<RequestTimes>>,
}

/// How rate limits count the requests of a route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge {
    /// What one of its reads counts.
    pub(super) read: NonZeroU32,
    /// The limit that counts its writes.
    pub(super) writes: Policy,
}

impl Default for Charge {
    fn default() -> Self {
        Self { read: rates::COST, writes: Policy::Requests }
    }
}

/// What the layers know about a method of a route, from its description.
pub(super) struct Operation {
    pub(super) method: Method,
    /// Whether its handler reads a body; no other operation takes one.
    pub(super) takes_body: bool,
    /// Whether it takes an `Idempotency-Key`.
    pub(super) takes_key: bool,
    /// The media type that it answers; `None` if it never answers more than a status.
    pub(super) media_type: Option<String>,
    pub(super) audience: Audience,
}

/// For whom an answer is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// For everybody who sends no token; with one it may be another.
    Everybody,
    /// For whoever has the token.
    Caller,
}

/// What happens to a query string.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum QueryRule {
    /// The handler of GET reads it.
    OnGet,
    /// It is refused, so that a mistake is noticed.
    Refused,
}

impl Route {
    /// The class of a request with this method, if it needs a permit.
    pub(super) fn class(&self, method: &Method) -> Option<Class> {
        if method.is_safe() { self.writes.map(|_| Class::Read) } else { self.writes }
    }

    /// The limit that counts a request with this method, and how much it counts.
    pub(super) fn charge(&self, method: &Method) -> (Policy, NonZeroU32) {
        match self.charge.writes {
            _ if method.is_safe() => (Policy::Requests, self.charge.read),
            Policy::Requests => (Policy::Requests, rates::WRITE_COST),
            own => (own, rates::COST),
        }
    }

    /// The operation of a method. `HEAD` is that of `GET`, whose body is left out.
    pub(super) fn operation(&self, method: &Method) -> Option<&Operation> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.operations.iter().find(|operation| operation.method == *method)
    }

    /// Whether the request has a query that its handler would not read.
    pub(super) fn refuses_query(&self, method: &Method, uri: &Uri) -> bool {
        let reads_it = self.query == QueryRule::OnGet && matches!(*method, Method::GET | Method::HEAD);
        !reads_it && uri.query().is_some_and(|query| !query.is_empty())
    }
}
