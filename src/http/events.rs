//! An order's history as server-sent events: live, and resumable with `Last-Event-ID`.
//!
//! The id of an event is the order's sequence number, which is in its durable history; so a stream resumes after any restart
//! of the client or of the shop. A stream holds no request permit; streams have a pool of their own.
//!
//! May depend on `shop` and `domain`.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::stream;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    App, Health,
    bodies::ProblemBody,
    error::Problem,
    extract::{Caller, Id},
    orders::HistoryBody,
    responses::{Read, Token},
};
use crate::{
    actors::views::Subscription,
    domain::{
        ids::OrderId,
        order::{HistoryEntry, Order},
    },
    identity::Principal,
    shop::Shop,
};

/// How often a silent stream says that it is alive, in seconds: below the time-outs of common proxies.
const ALIVE_SECONDS: u64 = 15;
/// After how long a client comes back when the stream breaks, in milliseconds.
const RETRY_MS: u64 = 2_000;

struct Stream {
    shop: Shop,
    health: Health,
    who: Principal,
    id: OrderId,
    changes: Subscription<Order>,
    last_seen: u64,
    ready: VecDeque<HistoryEntry>,
    ended: Ended,
    _permit: OwnedSemaphorePermit,
}

#[derive(PartialEq, Eq)]
enum Ended {
    No,
    Yes,
}

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
        Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
            Problem::bad_request("invalid-last-event-id", "Last-Event-ID must be the id of an event of this stream")
        })?,
    };
    let permit = app.event_streams.clone().try_acquire_owned().map_err(|_| Problem::overloaded())?;
    // Subscribed before anything is read: nothing can happen unseen in between.
    let changes = app.shop.follow_order(&who, id).await?;
    let (shop, health) = (app.shop.clone(), app.health.clone());
    let (ready, ended) = (VecDeque::new(), Ended::No);
    let stream = Stream { shop, health, who, id, changes, last_seen, ready, ended, _permit: permit };
    let first = stream::once(async { Ok(Event::default().retry(Duration::from_millis(RETRY_MS))) });
    let events = futures::StreamExt::chain(first, stream::unfold(stream, next));
    let alive = KeepAlive::new().interval(Duration::from_secs(ALIVE_SECONDS));
    Ok(([(header::CACHE_CONTROL, "no-store")], Sse::new(events).keep_alive(alive)).into_response())
}

async fn next(mut stream: Stream) -> Option<(Result<Event, Infallible>, Stream)> {
    loop {
        if let Some(entry) = stream.ready.pop_front() {
            stream.last_seen = entry.sequence;
            let event = Event::default().id(entry.sequence.to_string()).event(entry.status.as_str());
            let data = serde_json::to_string(&HistoryBody::from(&entry)).unwrap_or_default();
            return Some((Ok(event.data(data)), stream));
        }
        if stream.ended == Ended::Yes {
            return None;
        }
        let order = stream.shop.order(&stream.who, stream.id).await.ok()?.order;
        let news = order.history().iter().filter(|entry| entry.sequence > stream.last_seen);
        stream.ready = news.cloned().collect();
        if order.status().is_some_and(|status| status.is_final()) && order.is_settled() {
            stream.ended = Ended::Yes;
        } else if stream.ready.is_empty() {
            tokio::select! {
                () = stream.changes.changed() => {}
                // Whoever follows comes back to the next start with the last id they have.
                () = stream.health.stopped() => return None,
            }
        }
    }
}
