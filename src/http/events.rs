//! An order's history as server-sent events: live, and resumable with `Last-Event-ID`.
//!
//! The id of an event is its sequence number in the order's durable history, so a stream resumes after a restart of the
//! client or of the shop. It is not an opaque cursor: the same number stands beside each entry of `history`, so that a
//! client can match the two, and it says nothing of other orders or of the log. A stream holds no request permit;
//! streams have places of their own, some for each user.
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
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    App,
    bodies::{ProblemBody, time},
    context::public_path,
    error::Problem,
    extract::{Caller, Id, Query},
    json::Json,
    orders::HistoryBody,
    responses::{Read, Token, Write},
    streams::NoPlace,
};
use crate::{
    domain::{ids::OrderId, order::HistoryEntry},
    shop::IssuedTicket,
};

/// The interval of keep-alive comments, in seconds: below the time-outs of common proxies.
const ALIVE_SECONDS: u64 = 15;
/// The delay before a client reconnects, in milliseconds.
const RETRY_MS: u64 = 2_000;

/// Who follows.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FollowQuery {
    /// A ticket for this order, in place of a token.
    ticket: Option<String>,
}

/// A ticket for the events of an order.
#[derive(Serialize, ToSchema)]
pub(super) struct TicketBody {
    ticket: String,
    /// The address of the event stream with the ticket in its query.
    #[schema(
        format = "uri-reference",
        example = "/orders/b60817f7dca5c2961aa3865d07460622/events?ticket=souk_ticket_1_"
    )]
    url: String,
    /// Until then a stream can be begun with it.
    expires_at: String,
}

/// Issues a ticket with which a browser's `EventSource`, which sends no token, follows the order as the caller.
///
/// The ticket is good for a minute and for this order only; a stream that began with it goes on.
#[utoipa::path(post, path = "/orders/{order_id}/events/tickets", operation_id = "issue_ticket",
    tag = "orders", security(("bearer" = [])),
    params(("order_id" = String, Path)), responses(
    Write, Token,
    (status = 200, description = "The ticket", body = TicketBody),
    (status = 404, description = "No such order of yours", body = ProblemBody),
))]
pub(super) async fn issue_ticket(
    State(app): State<App>,
    Caller(who): Caller,
    Id(id): Id<OrderId>,
) -> Result<Json<TicketBody>, Problem> {
    let IssuedTicket { ticket, expires_at } = app.shop.order_events_ticket(&who, id).await?;
    let ticket = ticket.expose_secret().to_owned();
    let url = public_path(&format!("/orders/{id}/events?ticket={ticket}"));
    Ok(Json(TicketBody { ticket, url, expires_at: time(expires_at) }))
}

/// Streams an order's events, from the first one or after `Last-Event-ID`.
///
/// A history is sent as it happens, one event for each entry.
/// The stream ends with the order, and when the access token expires or is revoked; a stream that began with a ticket
/// ends with the token for which the ticket was issued.
#[utoipa::path(get, path = "/orders/{order_id}/events", operation_id = "follow_order",
    tag = "orders", security(("bearer" = []), ("ticket" = [])),
    params(("order_id" = String, Path), FollowQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "Resume after this event; empty for the beginning")),
    responses(
    Read, Token,
    (status = 200, description = "A stream of events: `id` is the sequence number, `event` the order's status after it, `data` a `HistoryBody` as JSON; a comment every 15 s keeps the connection alive, and `retry` says when to reconnect",
        content_type = "text/event-stream", body = String),
    (status = 404, description = "No such order of yours", body = ProblemBody),
    (status = 429, description = "The client has used up its quota, or has as many streams open as one user may have", body = ProblemBody),
))]
pub(super) async fn follow(
    State(app): State<App>,
    caller: Result<Caller, Problem>,
    id: Result<Id<OrderId>, Problem>,
    Query(query): Query<FollowQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (who, id) = match query.ticket {
        // The browser may send the login of a proxy beside it.
        Some(ticket) => {
            let Id(id) = id?;
            (app.shop.authenticate_ticket(&ticket, id).await?, id)
        }
        None => (caller?.0, id?.0),
    };
    let last_seen = match headers.get("last-event-id") {
        Some(value) if !value.is_empty() => {
            value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(Problem::invalid_last_event_id)?
        }
        // An `EventSource` that has seen no event sends it empty.
        Some(_) | None => 0,
    };
    let known = app.shop.order(&who, id).await?.order.sequence();
    if last_seen > known {
        return Err(Problem::invalid_last_event_id());
    }
    let place = app.streams.open(who.user, who.expires_at).map_err(|none| match none {
        NoPlace::Full => Problem::overloaded("too many event streams are open"),
        NoPlace::OfUser { streams_max, first_ends_at } => {
            app.metrics.refused("streams");
            let wait_ms = first_ends_at.ms_since(app.shop.clock().now());
            Problem::too_many_streams(streams_max, Duration::from_millis(wait_ms))
        }
    })?;
    // When the shop stops or fails, the stream ends and the client reconnects with its last id.
    let health = app.program.health.clone();
    let stopped = async move { health.stopped().await };
    let entries = app.shop.order_events_until(&who, id, last_seen, stopped).await?;
    let events = entries.take_while(|entry| future::ready(entry.is_ok())).filter_map(move |entry| {
        let _held = &place;
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
