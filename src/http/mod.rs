//! The edge: HTTP in, calls of [`Shop`] out, answers back.
//!
//! Routes stand in their resource's file beside their description, so that no route can exist without one; this file composes
//! them and the layers around them.
//!
//! ```text
//!  request ─▶ trace id ─▶ admission, time limit, metrics, log, panic guard ─▶ handler ─▶ Shop
//! ```
//!
//! May depend on `shop` and the rooms below it. Only this room names axum.

mod admission;
mod auth;
mod bodies;
mod cart;
mod context;
mod erasure;
mod error;
mod events;
mod extract;
mod health;
mod issues;
mod layers;
mod metrics;
mod orders;
mod paging;
mod products;
mod refunds;
mod responses;
mod reviews;
mod stock;
mod webhooks;

use std::sync::Arc;

pub use axum::Router;
use axum::middleware;
use tokio::sync::Semaphore;
use utoipa::{
    OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{admission::Admission, error::Problem, metrics::Metrics, products::RenderedPages};
pub use self::{error::TYPE_BASE, health::Health};
use crate::shop::Shop;

/// What every handler shares.
#[derive(Clone)]
pub(crate) struct App {
    shop: Shop,
    health: Health,
    metrics: Arc<Metrics>,
    pages: Arc<RenderedPages>,
    admission: Arc<Admission>,
    event_streams: Arc<Semaphore>,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Souk", description = "An online shop: browse, search, cart, checkout, payment, tracking."),
    modifiers(&Bearer)
)]
struct Description;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// The shop's router, always ready.
pub fn router(shop: Shop) -> Router {
    router_with(shop, Health::default())
}

/// The shop's router, with a health that its program can turn.
pub fn router_with(shop: Shop, health: Health) -> Router {
    let limits = shop.config().limits.clone();
    let admission = Arc::new(Admission::new(limits.in_flight_max));
    let app = App {
        metrics: Arc::new(Metrics::new(&shop, &admission)),
        pages: Arc::new(RenderedPages::beside(limits.views_bytes_max)),
        admission,
        event_streams: Arc::new(Semaphore::new(limits.event_streams_max)),
        shop,
        health,
    };
    let (admitted, admitted_api) = resources().split_for_parts();
    let (exempt, exempt_api) = operations().split_for_parts();
    let mut api = Description::openapi();
    api.merge(admitted_api);
    api.merge(exempt_api);
    responses::name_media_types(&mut api);
    let document = Arc::new(serde_json::to_vec(&api).unwrap_or_default());
    let admitted = admitted
        .fallback(async || Problem::not_found("resource"))
        .method_not_allowed_fallback(layers::method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), layers::surround_and_admit));
    let exempt = exempt
        .route("/openapi.json", axum::routing::get(async move || layers::json_bytes(&document)))
        .method_not_allowed_fallback(layers::method_not_allowed)
        .layer(middleware::from_fn(layers::surround));
    admitted.merge(exempt).with_state(app)
}

/// What shoppers, sellers and admins use.
fn resources() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(products::search_by_path))
        .routes(routes!(products::list, products::create))
        .routes(routes!(products::show, products::revise, products::delist))
        .routes(routes!(products::categories))
        .routes(routes!(stock::show, stock::count))
        .routes(routes!(stock::receive))
        .routes(routes!(stock::adjust))
        .routes(routes!(reviews::list, reviews::write))
        .routes(routes!(cart::show))
        .routes(routes!(cart::add))
        .routes(routes!(cart::set, cart::remove))
        .routes(routes!(orders::checkout))
        .routes(routes!(orders::pay))
        .routes(routes!(orders::status_by_path))
        .routes(routes!(orders::list))
        .routes(routes!(orders::show))
        .routes(routes!(orders::payments))
        .routes(routes!(orders::cancel))
        .routes(routes!(refunds::refund))
        .routes(routes!(refunds::request_return))
        .routes(routes!(refunds::receive_return))
        .routes(routes!(refunds::reject_return))
        .routes(routes!(refunds::capture))
        .routes(routes!(refunds::abandon_payment))
        .routes(routes!(issues::list))
        .routes(routes!(issues::show, issues::resolve))
        .routes(routes!(issues::reconciliation, issues::reconcile))
        .routes(routes!(issues::notices))
        .routes(routes!(issues::dismiss))
        .routes(routes!(webhooks::take))
        .routes(routes!(orders::pack))
        .routes(routes!(orders::ship))
        .routes(routes!(orders::deliver))
        .routes(routes!(events::follow))
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::logout))
        .routes(routes!(erasure::erase_account))
        .routes(routes!(erasure::erase_customer))
        .routes(routes!(health::settings))
}

/// What operators and other programs use; it must answer also when the shop is full.
fn operations() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::show))
        .routes(routes!(auth::jwks))
}
