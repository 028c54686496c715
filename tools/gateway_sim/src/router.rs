//! Every route of the provider.
//!
//! Depends on `api`, `intents`, `operator`, `page`, `provider` and `refunds`.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware,
    routing::{get, post},
};

use crate::{api, intents, operator, page, provider::Provider, refunds};

/// The longest request, in bytes: a script with the maximum number of rules.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The routes of a provider.
pub fn router(provider: Arc<Provider>) -> Router {
    let stripe = Router::new()
        .route("/v1/payment_intents", post(intents::create).get(intents::list))
        .route("/v1/payment_intents/search", get(intents::search))
        .route("/v1/payment_intents/{id}", get(intents::retrieve))
        .route("/v1/payment_intents/{id}/confirm", post(intents::confirm))
        .route("/v1/payment_intents/{id}/capture", post(intents::capture))
        .route("/v1/payment_intents/{id}/cancel", post(intents::cancel))
        .route("/v1/refunds", post(refunds::create).get(refunds::list))
        .route("/v1/refunds/{id}", get(refunds::retrieve))
        .route("/v1/account", get(api::account))
        .layer(middleware::from_fn(api::authorise));
    stripe
        .route("/", get(page::home))
        .route("/authenticate/{order}/{attempt}", get(page::show).post(page::decide))
        .route("/refunds", post(operator::refund))
        .route("/holds/release", post(operator::release))
        .route("/disputes", post(operator::dispute))
        .route("/disputes/{id}/close", post(operator::close_dispute))
        .route("/ledger", get(operator::ledger))
        .route("/script", get(operator::show_script).put(operator::replace_script))
        .route("/livez", get(|| async { StatusCode::OK }))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(provider)
}
