//! The page on which a customer of the simulated provider authenticates themselves, as with 3-D Secure: approve or decline.
//!
//! May depend on `payments` and `domain`.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Form,
    extract::{Path, Query, State},
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{Provider, failed, refused};
use crate::domain::{ids::OrderId, order::PaymentState};

/// Nothing is loaded and nothing runs on the page.
const POLICY: [(HeaderName, HeaderValue); 1] =
    [(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"))];

/// Where the customer goes afterwards.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Afterwards {
    return_url: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Approve,
    Decline,
}

/// What the customer says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    decision: Decision,
}

/// An address to return to: of this machine only, so that the page sends nobody elsewhere.
fn return_to(afterwards: Afterwards) -> Result<Option<Uri>, Box<Response>> {
    let Some(url) = afterwards.return_url else { return Ok(None) };
    let is_loopback = |host: &str| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    };
    let uri: Option<Uri> = url.parse().ok();
    let fits = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(is_loopback);
    match uri.filter(fits) {
        Some(uri) => Ok(Some(uri)),
        None => Err(refused(StatusCode::UNPROCESSABLE_ENTITY, "return_url is no http address of this machine").into()),
    }
}

fn page(text: &str) -> Response {
    let head = "<!doctype html><meta charset=\"utf-8\"><title>FakeProvider bank</title><h1>FakeProvider bank</h1>";
    (POLICY, Html(format!("{head}{text}"))).into_response()
}

pub(super) async fn show(
    State(provider): State<Arc<Provider>>,
    Path((order, attempt)): Path<(String, u32)>,
    Query(afterwards): Query<Afterwards>,
) -> Response {
    if let Err(response) = return_to(afterwards) {
        return *response;
    }
    let Ok(order) = order.parse::<OrderId>() else { return refused(StatusCode::NOT_FOUND, "there is no such payment") };
    match provider.books.look(&order.to_string(), attempt) {
        Ok(Some(PaymentState::ActionRequired { .. })) => page(&format!(
            "<p>Payment {attempt} of order {order}. No money moves.</p>\
             <form method=\"post\"><button name=\"decision\" value=\"approve\">Approve</button> \
             <button name=\"decision\" value=\"decline\">Decline</button></form>"
        )),
        Ok(Some(state)) => page(&format!("<p>There is nothing to do: {}.</p>", state.as_str())),
        Ok(None) => refused(StatusCode::NOT_FOUND, "there is no such payment"),
        Err(error) => failed(&error),
    }
}

/// Says it once: a payment that does not wait any more stays what it is.
pub(super) async fn decide(
    State(provider): State<Arc<Provider>>,
    Path((order, attempt)): Path<(String, u32)>,
    Query(afterwards): Query<Afterwards>,
    Form(said): Form<Said>,
) -> Response {
    let return_to = match return_to(afterwards) {
        Ok(return_to) => return_to,
        Err(response) => return *response,
    };
    let declined = match said.decision {
        Decision::Approve => None,
        Decision::Decline => Some("authentication_failed".to_owned()),
    };
    let state = match provider.books.authenticate(&order, attempt, declined) {
        Ok(state) => state,
        Err(error) => return failed(&error),
    };
    provider.announce();
    match return_to {
        Some(uri) => Redirect::to(&uri.to_string()).into_response(),
        None => page(&format!("<p>Thank you: {}.</p>", state.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_returns_to_this_machine_only() {
        let goes = |url: &str| return_to(Afterwards { return_url: Some(url.into()) }).is_ok();
        for url in ["http://127.0.0.1:8080/x?y=z", "https://localhost/", "http://[::1]:9/"] {
            assert!(goes(url), "{url}");
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
            assert!(!goes(url), "{url}");
        }
    }
}
