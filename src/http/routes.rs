//! Registers routes together with what admission must know about them.
//!
//! The facts are written beside each route in `http/mod.rs` and belong to the route, not to its path: so the router
//! works nested under any path, and no route can lack them. Whether a route takes a query is derived from its
//! description.
//!
//! Depends on its neighbours.

use std::sync::Arc;

use axum::{
    http::Method,
    middleware,
    routing::{MethodRouter, any},
};
use utoipa::openapi::{
    OpenApi, RefOr,
    path::{Operation, Parameter, ParameterIn, Paths},
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::{
    App,
    admission::Class,
    error::Problem,
    layers,
    route::{QueryRule, Route},
};

/// Routes behind admission.
pub(super) struct Routes {
    app: App,
    router: OpenApiRouter<App>,
}

impl Routes {
    pub(super) fn new(app: App) -> Self {
        Self { app, router: OpenApiRouter::new() }
    }

    /// A route that only reads.
    pub(super) fn reads(self, routes: UtoipaMethodRouter<App>) -> Self {
        self.add(Class::Read, routes)
    }

    /// A route whose writes start a purchase or are unrelated to one.
    pub(super) fn starts(self, routes: UtoipaMethodRouter<App>) -> Self {
        self.add(Class::Start, routes)
    }

    /// Like [`Self::starts`], for a handler that checks queries itself, because only some of its paths take one.
    pub(super) fn starts_and_checks_query(self, routes: UtoipaMethodRouter<App>) -> Self {
        self.add_with(Class::Start, Some(QueryRule::OnGet), routes)
    }

    /// A route whose writes continue a purchase.
    pub(super) fn continues(self, routes: UtoipaMethodRouter<App>) -> Self {
        self.add(Class::Continue, routes)
    }

    fn add(self, writes: Class, routes: UtoipaMethodRouter<App>) -> Self {
        self.add_with(writes, None, routes)
    }

    fn add_with(
        self,
        writes: Class,
        query: Option<QueryRule>,
        (schemas, paths, methods): UtoipaMethodRouter<App>,
    ) -> Self {
        let (template, described, bodies) = described(&paths);
        let query = query.unwrap_or(described);
        let route = Route { app: self.app.clone(), template, writes, query, bodies };
        let methods = around(route, methods.fallback(layers::method_not_allowed));
        Self { app: self.app, router: self.router.routes((schemas, paths, methods)) }
    }

    /// The router, with an answer for unknown paths.
    pub(super) fn finish(self) -> (axum::Router<App>, OpenApi) {
        let Self { app, router } = self;
        let route = Route {
            app: app.clone(),
            template: "unmatched".to_owned(),
            writes: Class::Start,
            query: QueryRule::Ignored,
            bodies: Vec::new(),
        };
        let unmatched = around(route, any(async || Problem::not_found("resource")));
        let (router, api) = router.split_for_parts();
        (router.fallback_service(unmatched.with_state(app)), api)
    }
}

/// The path of a description, whether its GET takes a query, and which methods read a body.
fn described(paths: &Paths) -> (String, QueryRule, Vec<Method>) {
    let Some((path, item)) = paths.paths.iter().next() else { return (String::new(), QueryRule::Refused, Vec::new()) };
    let mut parameters = item.get.iter().filter_map(|operation| operation.parameters.as_ref()).flatten();
    let is_query = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => false,
    };
    let query = if parameters.any(is_query) { QueryRule::OnGet } else { QueryRule::Refused };
    let writes = [
        (Method::POST, &item.post),
        (Method::PUT, &item.put),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    let reads_body = |operation: &Option<Operation>| operation.as_ref().is_some_and(|it| it.request_body.is_some());
    let bodies = writes.into_iter().filter(|(_, operation)| reads_body(operation)).map(|(method, _)| method);
    (path.clone(), query, bodies.collect())
}

/// Adds the layers of a route to its handlers.
fn around(route: Route, methods: MethodRouter<App>) -> MethodRouter<App> {
    methods.layer(middleware::from_fn_with_state(Arc::new(route), layers::surround_and_admit))
}
