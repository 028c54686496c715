//! What surrounds every handler: trace ids, admission, the time limit, metrics and the log line.
//!
//! Depends on its neighbours.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use futures::FutureExt;
use tokio::{sync::SemaphorePermit, time::error::Elapsed};

use super::{
    App,
    admission::{Class, PermitRelease},
    context::{self, Context},
    error::Problem,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Surrounds what must answer also when the shop is full.
pub(super) async fn surround(request: Request, next: Next) -> Response {
    traced(request, |request| guarded(request, next)).await
}

/// Surrounds everything else: one layer, because each costs a box and a copy of the service with every request.
pub(super) async fn surround_and_admit(State(app): State<App>, request: Request, next: Next) -> Response {
    traced(request, |request| admitted(app, request, next)).await
}

/// Gives the request its trace id, in its problems, its answer and its log lines.
async fn traced<F: Future<Output = Response>>(request: Request, answer: impl FnOnce(Request) -> F) -> Response {
    let context = Context::of(request.uri(), request.headers());
    let trace_id = context.trace_id.clone();
    let mut response = context::within(context, answer(request)).await;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, trace_id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A handler that panics is a fault of ours and ends its own request only.
async fn guarded(request: Request, next: Next) -> Response {
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answered.unwrap_or_else(|_| Problem::fault().into_response())
}

/// The routes that take query parameters; on any other a query is a mistake that should not go unnoticed.
const ROUTES_WITH_QUERY: [&str; 6] = [
    "/products",
    "/products/{product_id}",
    "/products/search_item={*keywords}",
    "/products/{product_id}/reviews",
    "/orders",
    "/admin/payments/attention",
];

/// Admits the request, or refuses it at once: a queue would only make everybody wait. The place is held until the answer
/// begins; event streams have a pool of their own.
async fn admitted(app: App, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let template = route.as_ref().map_or("", MatchedPath::as_str);
    let takes_query = method == Method::GET && ROUTES_WITH_QUERY.contains(&template);
    let response = match app.admission.admit(Class::of(&method, template)) {
        Some(_) if !takes_query && route.is_some() && request.uri().query().is_some_and(|query| !query.is_empty()) => {
            Problem::bad_request("invalid-query", "this resource takes no query parameters").into_response()
        }
        Some(permit) => {
            let limit = Duration::from_millis(app.shop.config().limits.request_ms_max);
            let answered = if template == PAYMENT {
                answered_or_waiting(request, next, limit, permit).await
            } else {
                let answered = tokio::time::timeout(limit, guarded(request, next)).await;
                drop(permit);
                answered
            };
            answered.unwrap_or_else(|_| Problem::timed_out().into_response())
        }
        None => Problem::overloaded().into_response(),
    };
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    report(&app, &method, route, response.status(), began.elapsed());
    response
}

/// The one route whose requests wait for somebody else, at no cost to the shop.
const PAYMENT: &str = "/payment";

/// Answers a request that may give its place back before.
async fn answered_or_waiting(
    mut request: Request,
    next: Next,
    limit: Duration,
    permit: SemaphorePermit<'_>,
) -> Result<Response, Elapsed> {
    let release = PermitRelease::default();
    request.extensions_mut().insert(release.clone());
    let mut answered = pin!(tokio::time::timeout(limit, guarded(request, next)));
    tokio::select! {
        answer = &mut answered => return answer,
        () = release.released() => drop(permit),
    }
    answered.await
}

/// One line a request at debug level, failures of ours at warning level. Never the query, which may hold what somebody seeks.
fn report(app: &App, method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
    app.metrics.request(method, route, status, elapsed);
    let milliseconds = elapsed.as_secs_f64() * 1e3;
    if status.is_server_error() {
        let trace_id = context::trace_id();
        tracing::warn!(%method, route, status = status.as_u16(), milliseconds, trace_id, "request failed");
    } else if tracing::enabled!(tracing::Level::DEBUG) {
        let trace_id = context::trace_id();
        tracing::debug!(%method, route, status = status.as_u16(), milliseconds, trace_id, "request");
    }
}

/// The answer to a method that the resource does not know; axum adds the `Allow` header.
pub(super) async fn method_not_allowed(method: Method) -> Problem {
    let detail = format!("this resource does not take {method}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Another method", detail)
}

/// A response of JSON bytes that are ready.
pub(super) fn json_bytes(bytes: &[u8]) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes.to_vec()).into_response()
}
