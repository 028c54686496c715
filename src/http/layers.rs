//! The layers around every handler: trace id, conventions of HTTP, admission, time limit, metrics, log line, panic
//! guard.
//!
//! Depends on its neighbours.

use std::{
    ops::ControlFlow,
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
    access_log::{AccessLog, Answered},
    admission::{Class, Ticket},
    context::{self, Context},
    error::Problem,
    extract::Caller,
    negotiation,
    peer::Peer,
    rates::{self, Left, Policy},
    representation::{self, Wanted},
    request_body::expect_none,
    responses::{KEY, REPLAYED},
    route::{Operation, Route},
    target, version,
};
use crate::log_throttle::Throttle;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Lines about requests that were refused because there is too much to do (503).
static OVERLOADED: Throttle = Throttle::new();
/// Lines about requests that were refused because the disk is full (507).
static DISK_FULL: Throttle = Throttle::new();

/// All layers, combined in one, because each layer costs a box and a copy of the service per request. Gives the request
/// its ids, for its problems, its response and its log lines.
pub(super) fn surround(
    State(route): State<Arc<Route>>,
    request: Request,
    next: Next,
) -> impl Future<Output = Response> + Send + 'static {
    let context = Context::of(&request);
    let request_id = context.request_id.clone();
    context::within(context, reported(route, request, next)).map(|mut response| {
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, request_id);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        version::mark(headers);
        response
    })
}

/// Answers the request, and reports it in metrics and logs unless the route is for operators.
async fn reported(route: Arc<Route>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let wanted = Wanted::of(request.headers());
    let access_log = route.app.program.access_log.as_deref();
    let peer = access_log.and_then(|_| peer_of(&request));
    let origin = route.edge.cors.as_ref().and_then(|_| request.headers().get(header::ORIGIN).cloned());
    let response = match operation(&route, &request) {
        Ok(ControlFlow::Continue(operation)) => admitted(&route, operation, request, next).await,
        Ok(ControlFlow::Break(response)) if is_preflight(&route, &request) => Ok(response),
        Ok(ControlFlow::Break(response)) => without_handler(&route, peer_of(&request), Ok(response)),
        Err(problem) => without_handler(&route, peer_of(&request), Err(problem)),
    };
    let response = response.unwrap_or_else(Problem::into_response);
    let mut response = representation::complete(&route, &method, &wanted, response);
    if response.status().is_success() && context::is_repeat() {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    if let Some(cors) = &route.edge.cors {
        cors.mark(origin.as_ref(), response.headers_mut());
    }
    if let Some(times) = &route.times {
        times.observe(&method, response.status(), began.elapsed());
        report(&route, &method, response.status(), began.elapsed());
        if let Some(access_log) = access_log {
            record(access_log, &route, &method, &response, began.elapsed(), peer);
        }
    }
    response
}

/// Checks the request against the conventions that every route keeps, and finds its operation, or else an answer.
fn operation<'a>(route: &'a Route, request: &Request) -> Result<ControlFlow<Response, &'a Operation>, Problem> {
    let method = request.method();
    target::check(request.uri())?;
    if route.operations.is_empty() {
        return unmatched(request).map(ControlFlow::Break);
    }
    version::check(request.headers())?;
    if *method == Method::OPTIONS {
        return Ok(ControlFlow::Break(options(route, request.headers())));
    }
    let Some(operation) = route.operation(method) else {
        return Ok(ControlFlow::Break(not_allowed(route, method)));
    };
    if route.refuses_query(method, request.uri()) {
        return Err(Problem::invalid_query("this resource takes no query parameters"));
    }
    check_accept(operation, request.headers())?;
    if *method == Method::POST && !operation.takes_key && request.headers().contains_key(KEY) {
        return Err(Problem::key_not_taken());
    }
    Ok(ControlFlow::Continue(operation))
}

/// Admits the request or refuses it at once: in a queue everybody would only wait. The permit is held until the
/// response begins, or until the handler releases it. Event streams have a pool of their own.
///
/// What only some requests need is in a box, so that the future of a page is small: every request moves it.
async fn admitted(route: &Route, operation: &Operation, mut request: Request, next: Next) -> Result<Response, Problem> {
    let class = route.class(request.method());
    if let (true, Some(class)) = (operation.takes_body, class) {
        return Box::pin(admitted_with_body(route, class, request, next)).await;
    }
    // The body of a GET has no meaning (RFC 9110, 9.3.1) and is not waited for; in all others a mistake must be
    // noticed.
    if !operation.takes_body && !request.method().is_safe() && !request.body().is_end_stream() {
        let peer = peer_of(&request);
        match Box::pin(without_body(route, request)).await {
            Ok(emptied) => request = emptied,
            Err(problem) => return without_handler(route, peer, Err(problem)),
        }
    }
    let admitted = class.map(|class| route.app.admission.admit(class).ok_or_else(Problem::too_many_requests));
    let _held = admitted.transpose()?;
    in_time(route, class, request, next).await
}

/// The request, if it says nothing in its body.
async fn without_body(route: &Route, request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    expect_none(&route.app, &parts, body).await?;
    Ok(Request::from_parts(parts, Body::empty()))
}

/// Handles the request within its time limit.
fn in_time(
    route: &Route,
    class: Option<Class>,
    request: Request,
    next: Next,
) -> impl Future<Output = Result<Response, Problem>> {
    let method = request.method().clone();
    let limit = Duration::from_millis(route.app.shop.config().limits.request_ms_max);
    tokio::time::timeout(limit, limited(route, class, request, next))
        .map(move |answered| answered.unwrap_or_else(|_| Err(Problem::timed_out(&method))))
}

/// Has a request with a body handled. It is admitted when its body is here, by
/// [`RawBody`](super::request_body::RawBody).
async fn admitted_with_body(
    route: &Route,
    class: Class,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let method = request.method().clone();
    let out_of_time = |_| Problem::timed_out(&method);
    let limits = &route.app.shop.config().limits;
    let limit = Duration::from_millis(limits.request_ms_max);
    let ticket = Ticket::new(class);
    request.extensions_mut().insert(ticket.clone());
    let mut work = pin!(limited(route, Some(class), request, next));
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
async fn limited(route: &Route, class: Option<Class>, mut request: Request, next: Next) -> Result<Response, Problem> {
    // What is answered even under overload is not counted.
    let left = if class.is_some() { count(route, &mut request).await? } else { None };
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
    let peer = peer_of(request);
    rates.take(policy, cost, user, peer).transpose().map_err(|exceeded| rates::refusal(app, exceeded))
}

/// Whether a browser asks for a script, before the request of a user. It counts for nobody: a browser would take a
/// refusal for a prohibition, the user's quota may be whole when the peer's is not, and a refusal costs as much as the
/// answer.
fn is_preflight(route: &Route, request: &Request) -> bool {
    let is_allowed = route.edge.cors.as_ref().is_some_and(|cors| cors.is_preflight(request.headers()));
    *request.method() == Method::OPTIONS && is_allowed
}

fn peer_of(request: &Request) -> Option<Peer> {
    request.extensions().get::<Peer>().copied()
}

/// An answer for which nobody has to be known counts for the peer: methods, paths that nobody has, and what breaks the
/// conventions of HTTP.
fn without_handler(route: &Route, peer: Option<Peer>, answer: Result<Response, Problem>) -> Result<Response, Problem> {
    let Some(rates) = route.app.rates.as_deref().filter(|_| route.writes.is_some()) else { return answer };
    match rates.take(Policy::Requests, rates::COST, None, peer) {
        Some(Ok(left)) => {
            let mut response = answer.unwrap_or_else(Problem::into_response);
            left.show(response.headers_mut());
            Ok(response)
        }
        Some(Err(exceeded)) => Err(rates::refusal(&route.app, exceeded)),
        None => answer,
    }
}

/// Turns a panic of the handler into a problem, so that it ends only its own request.
fn guarded(request: Request, next: Next) -> impl Future<Output = Response> {
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
    answered.map(|answered| answered.unwrap_or_else(|_| Problem::fault().into_response()))
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

/// One line per request in the access log.
fn record(
    access_log: &AccessLog,
    route: &Route,
    method: &Method,
    response: &Response,
    took: Duration,
    peer: Option<Peer>,
) {
    let [request_id, trace_id] = context::ids();
    access_log.tell(&Answered {
        at: route.app.shop.clock().now(),
        method,
        route: route.template.as_str(),
        status: response.status(),
        // The answer to HEAD says how long a body would be, and has none.
        bytes: if *method == Method::HEAD { Some(0) } else { response.body().size_hint().exact() },
        took,
        peer,
        role: context::role(),
        request_id: &request_id,
        trace_id: &trace_id,
    });
}

/// One line per request at debug level, a warning for a server error. Never the query, which may contain a user's
/// search. Refusals may come by the thousand, so there is one line a second of them.
fn report(route: &Route, method: &Method, status: StatusCode, elapsed: Duration) {
    let template = route.template.as_str();
    if status == StatusCode::UNAUTHORIZED {
        route.app.metrics.unauthorized();
    }
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
