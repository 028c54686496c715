//! What admission must know about a route before its handler runs: class, query, and whether it reads a body.
//!
//! Depends on its neighbours.

use axum::http::{Method, Uri};

use super::{App, admission::Class};

/// What admission knows about a route.
pub(super) struct Route {
    pub(super) app: App,
    /// The path in the description, which names the route in metrics and logs.
    pub(super) template: String,
    /// The class of its writes.
    pub(super) writes: Class,
    pub(super) query: QueryRule,
    /// The methods whose handlers read a body.
    pub(super) bodies: Vec<Method>,
}

/// What happens to a query string.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum QueryRule {
    /// The handler of GET reads it.
    OnGet,
    /// It is refused, so that a mistake is noticed.
    Refused,
    /// There is no such path, and the answer says so.
    Ignored,
}

impl Route {
    /// The class of a request with this method.
    pub(super) fn class(&self, method: &Method) -> Class {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) { Class::Read } else { self.writes }
    }

    /// Whether the handler of this method reads a body.
    pub(super) fn takes_body(&self, method: &Method) -> bool {
        self.bodies.contains(method)
    }

    /// Whether the request has a query that its handler would not read.
    pub(super) fn refuses_query(&self, method: &Method, uri: &Uri) -> bool {
        let reads_it = match self.query {
            QueryRule::OnGet => matches!(*method, Method::GET | Method::HEAD),
            QueryRule::Refused => false,
            QueryRule::Ignored => true,
        };
        !reads_it && uri.query().is_some_and(|query| !query.is_empty())
    }
}
