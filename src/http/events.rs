//! An order's history as server-sent events: live, and resumable with `Last-Event-ID`.
//!
//! The id of an event is the order's sequence number, which is in its durable history; so a stream resumes after any restart
//! of the client or of the shop. A stream holds no request permit; streams have a pool of their own.
//!
//! May depend on `shop` and `domain`.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{StreamExt, future, stream};

use super::{
    App,
    bodies::ProblemBody,
    error::Problem,
    extract::{Caller, Id},
    orders::HistoryBody,
    responses::{Read, Token},
};
use crate::domain::{ids::OrderId, order::HistoryEntry};

/// How often a silent stream says that it is alive, in seconds: below the time-outs of common proxies.
const ALIVE_SECONDS: u64 = 15;
/// After how long a client comes back when the stream breaks, in milliseconds.
const RETRY_MS: u64 = 2_000;

/// An order's events, from its beginning or after `Last-Event-ID`. The stream ends when the order does.
#[utoipa::path(get, path = "/orders/{order_id}/events", operation_id = "follow_order",
    tag = "orders", security(("bearer" = [])),
    params(("order_id" = String, Path), ("Last-Event-ID" = Option<u64>, Header, description = "Resume after this event")),
    responses(
    Read, Token,
    (status = 200, description = "Events", content_type = "text/event-stream", body = HistoryBody),
    (status = 404, description = "No such order of yours", body = ProblemBody),
))]
pub(super) async fn follow(
    State(app): State<App>,
    Caller(who): Caller,
    Id(id): Id<OrderId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last_seen = match headers.get("last-event-id") {
        None => 0,
        Some(value) => {
            value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(Problem::invalid_last_event_id)?
        }
    };
    let permit = app.event_streams.clone().try_acquire_owned().map_err(|_| Problem::overloaded())?;
    // A client whose stream ends because the shop stops, or because of a fault, reconnects with the last id that it has.
    let health = app.health.clone();
    let stopped = async move { health.stopped().await };
    let entries = app.shop.order_events_until(&who, id, last_seen, stopped).await?;
    let events = entries.take_while(|entry| future::ready(entry.is_ok())).filter_map(move |entry| {
        let _held = &permit;
        future::ready(entry.ok().map(|entry| event(&entry)))
    });
    let first = stream::iter([Ok(Event::default().retry(Duration::from_millis(RETRY_MS)))]);
    let alive = KeepAlive::new().interval(Duration::from_secs(ALIVE_SECONDS));
    let events = Sse::new(first.chain(events)).keep_alive(alive);
    Ok(([(header::CACHE_CONTROL, "no-store")], events).into_response())
}

fn event(entry: &HistoryEntry) -> Result<Event, Infallible> {
    let data = serde_json::to_string(&HistoryBody::from(entry)).unwrap_or_default();
    Ok(Event::default().id(entry.sequence.to_string()).event(entry.status.as_str()).data(data))
}
