//! The layers around every handler: trace id, admission, time limit, metrics, log line, panic guard.
//!
//! Depends on its neighbours.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;

use super::{
    admission::Ticket,
    context::{self, Context},
    error::Problem,
    route::Route,
};
use crate::log_throttle::Throttle;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Lines about requests that were refused because there is too much to do (503).
static OVERLOADED: Throttle = Throttle::new();
/// Lines about requests that were refused because the disk is full (507).
static DISK_FULL: Throttle = Throttle::new();

/// The layers of routes that must answer even under overload.
pub(super) async fn surround(request: Request, next: Next) -> Response {
    traced(request, |request| guarded(request, next)).await
}

/// The layers of all other routes, combined in one, because each layer costs a box and a copy of the service per
/// request.
pub(super) async fn surround_and_admit(State(route): State<Arc<Route>>, request: Request, next: Next) -> Response {
    traced(request, |request| admitted(route, request, next)).await
}

/// Gives the request a trace id, for its problems, its response and its log lines.
async fn traced<F: Future<Output = Response>>(request: Request, answer: impl FnOnce(Request) -> F) -> Response {
    let context = Context::of(&request);
    let trace_id = context.trace_id.clone();
    let mut response = context::within(context, answer(request)).await;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, trace_id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Turns a panic of the handler into a problem, so that it ends only its own request.
async fn guarded(request: Request, next: Next) -> Response {
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answered.unwrap_or_else(|_| Problem::fault().into_response())
}

/// Admits the request or refuses it at once: in a queue everybody would only wait. A request with a body is admitted
/// when its body is here, by [`RawBody`](super::extract::RawBody). The permit is held until the response begins, or
/// until the handler releases it. Event streams have a pool of their own.
async fn admitted(route: Arc<Route>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let response = answer(&route, &method, request, next).await.unwrap_or_else(Problem::into_response);
    report(&route, &method, response.status(), began.elapsed());
    response
}

async fn answer(route: &Route, method: &Method, mut request: Request, next: Next) -> Result<Response, Problem> {
    let (admission, class) = (&route.app.admission, route.class(method));
    let limits = &route.app.shop.config().limits;
    let limit = Duration::from_millis(limits.request_ms_max);
    if route.takes_body(method) {
        let ticket = Ticket::new(class);
        request.extensions_mut().insert(ticket.clone());
        refuse_query(route, method, &request)?;
        let mut work = pin!(guarded(request, next));
        // The body has limits of its own; this one is for what comes before it.
        let arrival = limit.saturating_add(Duration::from_millis(limits.body_ms_max));
        let arrived = async {
            tokio::select! {
                biased;
                response = &mut work => Some(response),
                () = ticket.admitted() => None,
            }
        };
        let out_of_time = |_| Problem::timed_out(method);
        match tokio::time::timeout(arrival, arrived).await.map_err(out_of_time)? {
            Some(response) => Ok(response),
            None => tokio::time::timeout(limit, work).await.map_err(out_of_time),
        }
    } else {
        let _held = admission.admit(class).ok_or_else(too_many_requests)?;
        refuse_query(route, method, &request)?;
        tokio::time::timeout(limit, guarded(request, next)).await.map_err(|_| Problem::timed_out(method))
    }
}

fn refuse_query(route: &Route, method: &Method, request: &Request) -> Result<(), Problem> {
    if route.refuses_query(method, request.uri()) {
        return Err(Problem::invalid_query("this resource takes no query parameters"));
    }
    Ok(())
}

pub(super) fn too_many_requests() -> Problem {
    Problem::overloaded("too many requests are in flight; nothing was done")
}

/// One line per request at debug level, a warning for a server error. Never the query, which may contain a user's
/// search. Refusals may come by the thousand, so there is one line a second of them.
fn report(route: &Route, method: &Method, status: StatusCode, elapsed: Duration) {
    let template = route.template.as_str();
    route.app.metrics.request(method, template, status, elapsed);
    let milliseconds = elapsed.as_secs_f64() * 1e3;
    let left_out = match status {
        StatusCode::SERVICE_UNAVAILABLE => OVERLOADED.next_line(),
        StatusCode::INSUFFICIENT_STORAGE => DISK_FULL.next_line(),
        _ => Some(0),
    };
    if status.is_server_error() {
        let Some(left_out) = left_out else { return };
        let (status, trace_id) = (status.as_u16(), context::trace_id());
        tracing::warn!(%method, route = template, status, milliseconds, trace_id, left_out, "request failed");
    } else if tracing::enabled!(tracing::Level::DEBUG) {
        let trace_id = context::trace_id();
        tracing::debug!(%method, route = template, status = status.as_u16(), milliseconds, trace_id, "request");
    }
}

/// The answer to a method that the resource does not have; axum adds the `Allow` header.
pub(super) async fn method_not_allowed(method: Method) -> Problem {
    Problem::method_not_allowed(&method)
}

/// A response of JSON bytes.
pub(super) fn json_bytes(bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}
