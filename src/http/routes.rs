//! Registers routes together with what the layers must know about them.
//!
//! The facts are written beside each route in `http/mod.rs` and belong to the route, not to its path: so the router
//! works nested under any path, and no route can lack them. Its methods, and whether they take a query or a body and
//! answer JSON, are derived from its description.
//!
//! Depends on its neighbours.

use std::sync::Arc;

use axum::{
    http::{HeaderValue, Method},
    middleware,
    routing::{MethodRouter, any},
};
use utoipa::openapi::{
    self, OpenApi, RefOr,
    path::{Parameter, ParameterIn, Paths},
    security::SecurityRequirement,
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::{
    App,
    admission::Class,
    cors::{self, Cors},
    layers,
    rates::{self, Policy},
    responses::{self, EVENT_STREAM, JSON},
    route::{Audience, Charge, Edge, Operation, QueryRule, Route},
};

/// Routes with their layers.
pub(super) struct Routes {
    app: App,
    edge: Arc<Edge>,
    router: OpenApiRouter<App>,
    /// How rate limits count the next route.
    next: Charge,
}

impl Routes {
    pub(super) fn new(app: App, edge: Arc<Edge>) -> Self {
        Self { app, edge, router: OpenApiRouter::new(), next: Charge::default() }
    }

    /// The reads of the next route are lists or searches.
    pub(super) fn list(mut self) -> Self {
        self.next.read = rates::LIST_COST;
        self
    }

    /// The writes of the next route have a rate limit of their own.
    pub(super) fn limited(mut self, writes: Policy) -> Self {
        self.next.writes = writes;
        self
    }

    /// A route that only reads.
    pub(super) fn reads(self, routes: UtoipaMethodRouter<App>) -> Self {
        self.add(Some(Class::Read), routes)
    }

    /// A route whose writes start a purchase or are unrelated to one.
    pub(super) fn starts(self, routes: UtoipaMethodRouter<App>) -> Self {
        self.add(Some(Class::Start), routes)
    }

    /// Like [`Self::starts`], for a handler that checks queries itself, because only some of its paths take one.
    pub(super) fn starts_and_checks_query(self, routes: UtoipaMethodRouter<App>) -> Self {
        self.add_with(Some(Class::Start), Some(QueryRule::OnGet), routes)
    }

    /// A route whose writes continue a purchase.
    pub(super) fn continues(self, routes: UtoipaMethodRouter<App>) -> Self {
        self.add(Some(Class::Continue), routes)
    }

    /// A route for operators and programs, which is answered even under overload.
    pub(super) fn always(self, routes: UtoipaMethodRouter<App>) -> Self {
        self.add(None, routes)
    }

    fn add(self, writes: Option<Class>, routes: UtoipaMethodRouter<App>) -> Self {
        self.add_with(writes, None, routes)
    }

    fn add_with(
        self,
        writes: Option<Class>,
        query: Option<QueryRule>,
        (schemas, paths, methods): UtoipaMethodRouter<App>,
    ) -> Self {
        let (template, described, operations) = described(&paths);
        let query = query.unwrap_or(described);
        let methods = around(self.route(template, writes, query, operations), methods);
        Self { router: self.router.routes((schemas, paths, methods)), next: Charge::default(), ..self }
    }

    /// A document, such as the description of the API, which no description contains.
    pub(super) fn document(&self, path: &str, show: MethodRouter<App>) -> MethodRouter<App> {
        around(self.undescribed(path, None, Some(JSON.to_owned())), show)
    }

    /// A page for people, which no description contains. Programs may get another form of it.
    pub(super) fn page(&self, path: &str, show: MethodRouter<App>) -> MethodRouter<App> {
        let mut route = self.undescribed(path, Some(Class::Start), None);
        let vary = route.vary.to_str().map(|vary| HeaderValue::try_from(format!("Accept, {vary}")));
        if let Ok(Ok(vary)) = vary {
            route.vary = vary;
        }
        around(route, show)
    }

    fn undescribed(&self, path: &str, writes: Option<Class>, media_type: Option<String>) -> Route {
        let show_it = Operation {
            method: Method::GET,
            takes_body: false,
            takes_key: false,
            media_type,
            audience: Audience::Everybody,
        };
        self.route(path.to_owned(), writes, QueryRule::Refused, vec![show_it])
    }

    /// The description of all routes.
    pub(super) fn description(&self) -> OpenApi {
        self.router.get_openapi().clone()
    }

    /// The router, with an answer for unknown paths.
    pub(super) fn finish(self) -> axum::Router<App> {
        let unmatched = self.route("unmatched".to_owned(), Some(Class::Start), QueryRule::Refused, Vec::new());
        let unmatched = around(unmatched, any(async || ()));
        let (router, _) = self.router.split_for_parts();
        router.fallback_service(unmatched.with_state(self.app))
    }

    fn route(&self, template: String, writes: Option<Class>, query: QueryRule, operations: Vec<Operation>) -> Route {
        let (app, edge) = (self.app.clone(), Arc::clone(&self.edge));
        let allow = cors::allow(operations.iter().map(|operation| operation.method.clone()));
        let is_public = operations.iter().any(|operation| operation.audience == Audience::Everybody);
        let by_token = if is_public { "Authorization, " } else { "" };
        let by_origin = if edge.cors.as_ref().is_some_and(Cors::varies) { ", Origin" } else { "" };
        // Names of headers are always a valid header value.
        let vary = HeaderValue::try_from(format!("{by_token}Accept-Encoding{by_origin}"));
        let vary = vary.unwrap_or_else(|_| HeaderValue::from_static("*"));
        let times = writes.map(|_| app.metrics.of_route(&template));
        Route { app, edge, template, writes, query, operations, allow, vary, charge: self.next, times }
    }
}

/// The path of a description, whether its GET takes a query, and its operations.
fn described(paths: &Paths) -> (String, QueryRule, Vec<Operation>) {
    let Some((path, item)) = paths.paths.iter().next() else {
        return (String::new(), QueryRule::Refused, Vec::new());
    };
    let mut parameters = item.get.iter().filter_map(|operation| operation.parameters.as_ref()).flatten();
    let is_query = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => false,
    };
    let query = if parameters.any(is_query) { QueryRule::OnGet } else { QueryRule::Refused };
    let methods = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    let operations = methods.into_iter().filter_map(|(method, described)| Some(operation(method, described.as_ref()?)));
    (path.clone(), query, operations.collect())
}

fn operation(method: Method, described: &openapi::path::Operation) -> Operation {
    let mut answers = described.responses.responses.iter().filter(|(status, _)| status.starts_with('2'));
    let media_type = answers.find_map(|(_, response)| match response {
        RefOr::T(response) => response.content.keys().next().cloned(),
        RefOr::Ref(_) => None,
    });
    // Text is for people and scrapers, which take it whatever they say.
    let media_type = media_type.filter(|media_type| media_type == JSON || media_type == EVENT_STREAM);
    // An operation without a requirement, or with an empty one beside others, is for everybody.
    let is_empty = |requirement: &SecurityRequirement| *requirement == SecurityRequirement::default();
    let is_public = described.security.as_ref().is_none_or(|requirements| requirements.iter().any(is_empty));
    let audience = if is_public { Audience::Everybody } else { Audience::Caller };
    let (takes_body, takes_key) = (described.request_body.is_some(), responses::takes_key(described));
    Operation { method, takes_body, takes_key, media_type, audience }
}

/// Adds the layers of a route to its handlers.
fn around(route: Route, methods: MethodRouter<App>) -> MethodRouter<App> {
    methods.fallback(async || ()).layer(middleware::from_fn_with_state(Arc::new(route), layers::surround))
}
