//! The page on which a customer authenticates themselves, as with 3-D Secure: approve or decline.
//!
//! Depends on `store`, `intents`, `ledger`, `provider` and `script`.

use std::net::IpAddr;

use axum::{
    Form, Json,
    extract::{Path, Query, State},
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    intents::{At, taken},
    ledger::{Effect, Line},
    provider::line,
    script::Operation,
    store::{Intent, Status, Store},
};

/// The page loads nothing and runs no scripts.
const POLICY: [(HeaderName, HeaderValue); 1] =
    [(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"))];
/// The reason of the decline if the customer does not approve the payment.
const NOT_APPROVED: &str = "payment_intent_authentication_failure";

/// Where the customer goes afterwards, instead of to the URL that the shop gave.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Afterwards {
    return_url: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Approve,
    Decline,
}

/// The customer's decision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decided {
    decision: Decision,
}

/// A URL on this machine: the page redirects nowhere else.
fn local(url: &str) -> Option<Uri> {
    let is_loopback = |host: &str| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    };
    let uri: Uri = url.parse().ok()?;
    let fits = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(is_loopback);
    fits.then_some(uri)
}

fn page(text: &str) -> Response {
    let head = "<!doctype html><meta charset=\"utf-8\"><title>Fake bank</title><h1>Fake bank</h1>";
    (POLICY, Html(format!("{head}{text}"))).into_response()
}

fn problem(status: StatusCode, problem: &str) -> Response {
    (status, Json(json!({ "problem": problem }))).into_response()
}

fn elsewhere() -> Response {
    problem(StatusCode::UNPROCESSABLE_ENTITY, "return_url is not an HTTP URL on this machine")
}

/// The payment of an order's attempt, or with this id.
fn find<'a>(store: &'a Store, order: &str, attempt: u32) -> Option<&'a Intent> {
    store.of_attempt(order, &attempt.to_string()).next_back().or_else(|| store.intent(order))
}

/// The page to which customers return if their shop gave no URL.
pub(crate) async fn home() -> Response {
    page("<p>This provider moves no money. There is nothing to do here.</p>")
}

pub(crate) async fn show(
    State(provider): At,
    Path((order, attempt)): Path<(String, u32)>,
    Query(afterwards): Query<Afterwards>,
) -> Response {
    if afterwards.return_url.is_some_and(|url| local(&url).is_none()) {
        return elsewhere();
    }
    let store = provider.store.lock();
    match find(&store, &order, attempt) {
        Some(intent) if intent.status == Status::RequiresAction => page(
            "<p>Somebody wants to be paid with your card. No money moves.</p>\
             <form method=\"post\"><button name=\"decision\" value=\"approve\">Approve</button> \
             <button name=\"decision\" value=\"decline\">Decline</button></form>",
        ),
        Some(intent) => page(&format!("<p>There is nothing to do: {}.</p>", intent.status.as_str())),
        None => problem(StatusCode::NOT_FOUND, "there is no such payment"),
    }
}

/// Decides once: a payment that does not wait any more does not change.
pub(crate) async fn decide(
    State(provider): At,
    Path((order, attempt)): Path<(String, u32)>,
    Query(afterwards): Query<Afterwards>,
    Form(decided): Form<Decided>,
) -> Response {
    let given = match afterwards.return_url.map(|url| local(&url)) {
        Some(None) => return elsewhere(),
        Some(given) => given,
        None => None,
    };
    let (status, back) = {
        let mut store = provider.store.lock();
        let Some(intent) = find(&store, &order, attempt) else {
            return problem(StatusCode::NOT_FOUND, "there is no such payment");
        };
        let (id, back) = (intent.id.clone(), intent.return_url.clone());
        if intent.status == Status::RequiresAction {
            let lines = match decided.decision {
                Decision::Approve => taken(intent),
                Decision::Decline => {
                    let declined = Some(NOT_APPROVED.to_owned());
                    vec![Line { declined, ..line(intent, Operation::Charge, Effect::Declined) }]
                }
            };
            lines.into_iter().for_each(|line| store.record(line));
        }
        if let Err(error) = store.flush() {
            return problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("the ledger cannot be written: {error}"));
        }
        (store.intent(&id).map_or("unknown", |intent| intent.status.as_str()), back)
    };
    provider.announce();
    match given.or_else(|| local(&back?)) {
        Some(uri) => Redirect::to(&uri.to_string()).into_response(),
        None => page(&format!("<p>Thank you: {status}.</p>")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_returns_to_this_machine_only() {
        for url in ["http://127.0.0.1:8080/x?y=z", "https://localhost/", "http://[::1]:9/"] {
            assert!(local(url).is_some(), "{url}");
        }
        let elsewhere = [
            "https://example.org/",
            "http://127.0.0.1@example.org/",
            "http://127.0.0.1.example.org/",
            "http://127.0.0.1\\@example.org/",
            "//127.0.0.1/",
            "/x",
            "javascript:alert(1)",
            "ftp://127.0.0.1/",
            "",
        ];
        for url in elsewhere {
            assert!(local(url).is_none(), "{url}");
        }
    }
}
