//! The layers around every handler: trace id, conventions of HTTP, admission, time limit, metrics, log line, panic
//! guard.
//!
//! Depends on its neighbours.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;

use super::{
    admission::Ticket,
    context::{self, Context},
    error::Problem,
    extract::Caller,
    negotiation,
    peer::Peer,
    rates::{self, Left},
    representation::{self, Wanted},
    request_body::expect_none,
    route::{Operation, Route},
    target,
};
use crate::log_throttle::Throttle;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Lines about requests that were refused because there is too much to do (503).
static OVERLOADED: Throttle = Throttle::new();
/// Lines about requests that were refused because the disk is full (507).
static DISK_FULL: Throttle = Throttle::new();

/// All layers, combined in one, because each layer costs a box and a copy of the service per request. Gives the request
/// its ids, for its problems, its response and its log lines.
pub(super) async fn surround(State(route): State<Arc<Route>>, request: Request, next: Next) -> Response {
    let context = Context::of(&request);
    let request_id = context.request_id.clone();
    let mut response = context::within(context, reported(route, request, next)).await;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, request_id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Answers the request, and reports it in metrics and logs unless the route is for operators.
async fn reported(route: Arc<Route>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let wanted = Wanted::of(request.headers());
    let origin = route.edge.cors.as_ref().and_then(|_| request.headers().get(header::ORIGIN).cloned());
    let response = answer(&route, &method, request, next).await.unwrap_or_else(Problem::into_response);
    let mut response = representation::complete(&route, &method, wanted, response).await;
    if let Some(cors) = &route.edge.cors {
        cors.mark(origin.as_ref(), response.headers_mut());
    }
    if route.writes.is_some() {
        report(&route, &method, response.status(), began.elapsed());
    }
    response
}

/// Checks the request against the conventions that every route keeps, then has it admitted and handled.
async fn answer(route: &Route, method: &Method, mut request: Request, next: Next) -> Result<Response, Problem> {
    target::check(request.uri())?;
    if route.operations.is_empty() {
        return unmatched(&request);
    }
    if *method == Method::OPTIONS {
        return Ok(options(route, request.headers()));
    }
    let Some(operation) = route.operation(method) else { return Ok(not_allowed(route, method)) };
    if route.refuses_query(method, request.uri()) {
        return Err(Problem::invalid_query("this resource takes no query parameters"));
    }
    check_accept(operation, request.headers())?;
    // The body of a GET has no meaning (RFC 9110, 9.3.1) and is not waited for; in all others a mistake must be
    // noticed.
    if !operation.takes_body && !method.is_safe() && !request.body().is_end_stream() {
        let (parts, body) = request.into_parts();
        expect_none(&route.app, &parts, body).await?;
        request = Request::from_parts(parts, Body::empty());
    }
    admitted(route, operation, request, next).await
}

/// Admits the request or refuses it at once: in a queue everybody would only wait. A request with a body is admitted
/// when its body is here, by [`RawBody`](super::request_body::RawBody). The permit is held until the response begins,
/// or until the handler releases it. Event streams have a pool of their own.
async fn admitted(route: &Route, operation: &Operation, mut request: Request, next: Next) -> Result<Response, Problem> {
    let (admission, method) = (&route.app.admission, request.method().clone());
    let limits = &route.app.shop.config().limits;
    let limit = Duration::from_millis(limits.request_ms_max);
    let out_of_time = |_| Problem::timed_out(&method);
    let Some(class) = route.class(&method) else {
        return tokio::time::timeout(limit, guarded(request, next)).await.map_err(out_of_time);
    };
    if !operation.takes_body {
        let _held = admission.admit(class).ok_or_else(Problem::too_many_requests)?;
        return tokio::time::timeout(limit, limited(route, request, next)).await.map_err(out_of_time)?;
    }
    let ticket = Ticket::new(class);
    request.extensions_mut().insert(ticket.clone());
    let mut work = pin!(limited(route, request, next));
    // The body has limits of its own; this one is for what comes before it.
    let arrival = limit.saturating_add(Duration::from_millis(limits.body_ms_max));
    let arrived = async {
        tokio::select! {
            biased;
            answered = &mut work => Some(answered),
            () = ticket.admitted() => None,
        }
    };
    match tokio::time::timeout(arrival, arrived).await.map_err(out_of_time)? {
        Some(answered) => answered,
        None => tokio::time::timeout(limit, work).await.map_err(out_of_time)?,
    }
}

/// Runs the handler if the client's quota allows it, and tells the client what is left of it.
async fn limited(route: &Route, mut request: Request, next: Next) -> Result<Response, Problem> {
    let left = count(route, &mut request).await?;
    let mut response = guarded(request, next).await;
    if let Some(left) = left {
        left.show(response.headers_mut());
    }
    Ok(response)
}

/// Counts a request against the quota of its client. The caller whom it finds is left in the request's extensions, so
/// that the token is verified once.
async fn count(route: &Route, request: &mut Request) -> Result<Option<Left>, Problem> {
    let app = &route.app;
    let Some(rates) = app.rates.as_deref() else { return Ok(None) };
    let (policy, cost) = route.charge(request.method());
    let mut user = None;
    // An invalid token is refused by the handlers that read it.
    if policy.counts_users()
        && let Ok(Some(caller)) = Caller::of(request.headers(), app).await
    {
        user = Some(caller.0.user);
        request.extensions_mut().insert(caller);
    }
    let peer = request.extensions().get::<Peer>().copied();
    rates.take(policy, cost, user, peer).transpose().map_err(|exceeded| rates::refusal(app, exceeded))
}

/// Turns a panic of the handler into a problem, so that it ends only its own request.
async fn guarded(request: Request, next: Next) -> Response {
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answered.unwrap_or_else(|_| Problem::fault().into_response())
}

/// There is no such path, unless only the slash at its end is too many.
fn unmatched(request: &Request) -> Result<Response, Problem> {
    let elsewhere = target::without_slash(request.uri().path(), &context::uri());
    match elsewhere.and_then(|target| HeaderValue::try_from(target).ok()) {
        Some(target) => Ok((StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, target)]).into_response()),
        None => Err(Problem::not_found("resource")),
    }
}

/// The methods of the route, and what a script of another origin may do.
fn options(route: &Route, request: &HeaderMap) -> Response {
    let mut response = (StatusCode::NO_CONTENT, [(header::ALLOW, route.allow.clone())]).into_response();
    if let Some(cors) = &route.edge.cors {
        cors.preflight(request, &route.allow, response.headers_mut());
    }
    response
}

fn not_allowed(route: &Route, method: &Method) -> Response {
    let mut response = Problem::method_not_allowed(method).into_response();
    response.headers_mut().insert(header::ALLOW, route.allow.clone());
    response
}

fn check_accept(operation: &Operation, headers: &HeaderMap) -> Result<(), Problem> {
    match &operation.media_type {
        Some(media_type) if !negotiation::accepts(headers, media_type) => Err(Problem::not_acceptable(media_type)),
        _ => Ok(()),
    }
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
        let (status, trace_id, request_id) = (status.as_u16(), context::trace_id(), context::request_id());
        tracing::warn!(
            %method, route = template, status, milliseconds, trace_id, request_id, left_out, "request failed"
        );
    } else if tracing::enabled!(tracing::Level::DEBUG) {
        let (trace_id, request_id) = (context::trace_id(), context::request_id());
        tracing::debug!(
            %method, route = template, status = status.as_u16(), milliseconds, trace_id, request_id, "request"
        );
    }
}
