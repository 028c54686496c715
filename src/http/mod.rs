//! The edge: translates HTTP requests into calls of [`Shop`], and their results into responses.
//!
//! A route is defined in its resource's file together with its OpenAPI description, so that none can lack one; this
//! file composes the routes and the layers around them.
//!
//! ```text
//!  request ─▶ ids ─▶ metrics, log ─▶ conventions of HTTP ─▶ admission, time, rate, panic guard ─▶ handler ─▶ Shop
//! ```
//!
//! May depend on `shop` and `domain`. Only this room names axum.

mod access_log;
mod account;
mod admission;
mod applications;
mod arriving;
mod auth;
mod bodies;
mod cart;
mod coding;
mod context;
mod cors;
mod document;
mod encoded;
mod erasure;
mod error;
mod etag;
mod events;
mod extract;
#[cfg(feature = "internals")]
pub(crate) mod fuzz;
mod health;
mod issues;
mod json;
mod layers;
mod metrics;
mod negotiation;
mod once;
mod operators;
mod orders;
mod pages;
mod paging;
mod peer;
mod products;
mod query;
mod rates;
mod refunds;
mod representation;
mod request_body;
mod responses;
mod reviews;
mod route;
mod routes;
mod schema;
mod sellers;
mod serve;
mod stock;
mod streams;
mod target;
mod version;
mod webhooks;

use std::sync::Arc;

pub use axum::Router;
use axum::routing::get;
use utoipa::{
    OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::routes;

#[cfg(feature = "tls")]
pub use self::serve::{Tls, TlsError, TlsFiles};
pub use self::{
    access_log::AccessLog,
    error::{Problem, TYPE_BASE},
    health::Health,
    operators::LogFilter,
    pages::DemoLogin,
    serve::{Drained, Figures, Server, serve},
};
use self::{
    admission::Admission,
    arriving::Arriving,
    document::Document,
    metrics::Metrics,
    products::RenderedPages,
    rates::{Policy, Rates},
    route::Edge,
    routes::Routes,
    streams::Streams,
};
use crate::shop::Shop;

/// The path of the OpenAPI document.
const DOCUMENT: &str = "/openapi.json";
/// How long caches may keep documents and keys, which change with a version of the program or hardly ever.
const DOCUMENT_RULE: &str = "public, max-age=300";

/// The state shared by all handlers.
#[derive(Clone)]
pub(crate) struct App {
    shop: Shop,
    program: Arc<Program>,
    metrics: Arc<Metrics>,
    pages: Arc<RenderedPages>,
    admission: Arc<Admission>,
    arriving: Arc<Arriving>,
    streams: Arc<Streams>,
    rates: Option<Arc<Rates>>,
    metrics_are_for: MetricsAreFor,
}

/// Who sees the metrics on the shop's own port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricsAreFor {
    /// Whoever is on this machine.
    Loopback,
    /// Nobody: operators have a listener of their own.
    Nobody,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Souk"),
    modifiers(&Logins)
)]
struct Description;

struct Logins;

impl utoipa::Modify for Logins {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.bearer_format = Some("JWT".to_owned());
        bearer.description = Some("The `access_token` of `POST /auth/login`".to_owned());
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let ticket = ApiKeyValue::with_description("ticket", "A ticket for the events of one order");
        components.add_security_scheme("ticket", SecurityScheme::ApiKey(ApiKey::Query(ticket)));
    }
}

/// What the router shows of the program that serves it.
#[derive(Debug, Default, Clone)]
pub struct Program {
    /// Whether the program wants requests; without it readiness follows the shop's alone.
    pub health: Health,
    /// What the server counts, for the metrics.
    pub connections: Arc<Figures>,
    /// Settings of the program, shown to admins beside the shop's.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// What is logged, for operators to change.
    pub logs: Option<Arc<dyn LogFilter>>,
    /// Where a line for each request is written.
    pub access_log: Option<Arc<AccessLog>>,
    /// The logins of a demo, which the front page shows.
    pub demo_logins: Vec<DemoLogin>,
}

/// The routers of a shop whose operators have a listener of their own.
#[derive(Debug)]
pub struct Routers {
    /// Everything but the metrics.
    pub shop: Router,
    /// Health, metrics, the log filter and the actors, without a token.
    pub operators: Router,
}

/// The shop's router.
pub fn router(shop: Shop) -> Router {
    router_with(shop, Program::default())
}

/// The shop's router, which also shows something of the program that serves it.
pub fn router_with(shop: Shop, program: Program) -> Router {
    shop_router(&app(shop, program, MetricsAreFor::Loopback))
}

/// The shop's router, and one for operators that is to be served on another address ([`Server::for_operators`]).
pub fn routers(shop: Shop, program: Program) -> Routers {
    let app = app(shop, program, MetricsAreFor::Nobody);
    Routers { shop: shop_router(&app), operators: operators::router(app) }
}

fn app(shop: Shop, program: Program, metrics_are_for: MetricsAreFor) -> App {
    let limits = shop.config().limits.clone();
    let admission = Arc::new(Admission::new(limits.in_flight_max));
    App {
        metrics: Arc::new(Metrics::new(&shop, &admission, &program)),
        pages: Arc::new(RenderedPages::beside(limits.views_bytes_max)),
        admission,
        arriving: Arc::new(Arriving::new(limits.clone())),
        rates: Rates::new(shop.config()).map(Arc::new),
        streams: Arc::new(Streams::new(limits.event_streams_max, limits.user_event_streams_max)),
        shop,
        program: Arc::new(program),
        metrics_are_for,
    }
}

fn shop_router(app: &App) -> Router {
    let routes = operations(resources(Routes::new(app.clone(), Arc::new(Edge::new(app.shop.config())))));
    let mut api = Description::openapi();
    api.merge(routes.description());
    responses::complete(&mut api);
    let description = Arc::new(Document::of(api));
    let document = routes.document(DOCUMENT, get(async move || description.answer()));
    let pages = pages::all(&routes);
    let router = routes.finish().route(DOCUMENT, document);
    pages.into_iter().fold(router, |router, (path, page)| router.route(path, page)).with_state(app.clone())
}

/// Routes for shoppers, sellers and admins, each with the class of its writes (see [`admission`]) and how rate limits
/// count it (see [`rates`]).
fn resources(routes: Routes) -> Routes {
    routes
        .list()
        .reads(routes!(products::search_by_path))
        .list()
        .starts(routes!(products::list, products::create))
        .starts_and_checks_query(routes!(products::show, products::revise, products::delist))
        .reads(routes!(products::categories))
        .starts(routes!(sellers::show, sellers::name))
        .starts(routes!(stock::show, stock::count))
        .starts(routes!(stock::receive))
        .starts(routes!(stock::adjust))
        .list()
        .limited(Policy::Reviews)
        .starts(routes!(reviews::list, reviews::write))
        .reads(routes!(cart::show))
        .starts(routes!(cart::add))
        .starts(routes!(cart::set, cart::remove))
        .continues(routes!(orders::checkout))
        .continues(routes!(orders::pay))
        .reads(routes!(orders::status_by_path))
        .list()
        .reads(routes!(orders::list))
        .reads(routes!(orders::show))
        .reads(routes!(orders::payments))
        .continues(routes!(orders::cancel))
        .continues(routes!(refunds::refund))
        .continues(routes!(refunds::request_return))
        .continues(routes!(refunds::receive_return))
        .continues(routes!(refunds::reject_return))
        .continues(routes!(refunds::capture))
        .continues(routes!(refunds::abandon_payment))
        .list()
        .reads(routes!(issues::list))
        .starts(routes!(issues::show, issues::resolve))
        .starts(routes!(issues::reconciliation, issues::reconcile))
        .list()
        .reads(routes!(issues::notices))
        .starts(routes!(issues::dismiss))
        .limited(Policy::Notices)
        .continues(routes!(webhooks::take))
        .continues(routes!(orders::pack))
        .continues(routes!(orders::ship))
        .continues(routes!(orders::deliver))
        .reads(routes!(events::follow))
        .starts(routes!(events::issue_ticket))
        .limited(Policy::Registrations)
        .starts(routes!(auth::register))
        .limited(Policy::Logins)
        .starts(routes!(auth::login))
        .continues(routes!(auth::refresh))
        .continues(routes!(auth::logout))
        .starts(routes!(account::show, account::revise, erasure::erase_account))
        .limited(Policy::Logins)
        .starts(routes!(account::change_password))
        .starts(routes!(erasure::erase_customer))
        .list()
        .reads(routes!(applications::list))
        .starts(routes!(applications::approve))
        .starts(routes!(applications::refuse))
        .reads(routes!(health::settings))
}

/// Routes for operators and other programs; they must answer even under overload.
fn operations(routes: Routes) -> Routes {
    routes
        .always(routes!(health::live))
        .always(routes!(health::ready))
        .always(routes!(metrics::show))
        .always(routes!(auth::jwks))
}
