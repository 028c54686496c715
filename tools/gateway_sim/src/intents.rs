//! The routes of PaymentIntents.
//!
//! Depends on `amounts`, `api`, `store`, `ledger`, `methods`, `objects`, `provider`, `query` and `script`.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    amounts,
    api::{Params, Refusal, RequestInfo, change, inspect},
    ledger::{Capture, Effect, Line, Money},
    methods::{self, Outcome},
    objects::{self, Expand},
    provider::{Provider, charged, line, new_name, now_ms},
    query,
    script::Operation,
    store::{Intent, Status, Store, key_of},
};

pub(crate) type At = State<Arc<Provider>>;
/// The pairs of a form or a query, in order.
pub(crate) type Pairs = Vec<(String, String)>;

const INTENTS: &str = "/v1/payment_intents";
/// For how long a search does not find a new payment, in milliseconds. At Stripe that is up to a minute, in outages up
/// to an hour.
const SEARCH_LAG_MS: u64 = 60_000;

/// What the script needs to know about a request for a payment.
pub(crate) fn asked(provider: &Provider, id: &str, operation: Operation, name: &str, path: String) -> RequestInfo {
    let store = provider.store.lock();
    let intent = store.intent(id);
    let key = intent.map_or_else(|| format!("{id}:{name}:1"), |intent| intent.key(name));
    let method = intent.map(|intent| intent.method.clone()).unwrap_or_default();
    RequestInfo { key, operation, method, path }
}

/// The payment with this id, after pending changes that are due.
fn settled<'a>(store: &'a mut Store, id: &str) -> Result<&'a Intent, Refusal> {
    Provider::settle(store, id);
    store.intent(id).ok_or_else(|| Refusal::missing("intent"))
}

fn shown(store: &Store, id: &str, page: &str, expand: Expand) -> Value {
    store.intent(id).map(|intent| objects::intent(store, intent, page, expand)).unwrap_or_default()
}

pub(crate) async fn create(State(provider): At, headers: HeaderMap, Form(pairs): Form<Pairs>) -> Response {
    let known = ["amount", "currency", "capture_method", "payment_method_types", "payment_method", "metadata"];
    let read = || {
        let params = Params::new(pairs, &known)?;
        let metadata = params.metadata()?;
        Ok::<_, Refusal>((params, metadata))
    };
    let (params, metadata) = match read() {
        Ok(read) => read,
        Err(refusal) => return refusal.into_response(),
    };
    let method = params.get("payment_method").unwrap_or_default().to_owned();
    let key = key_of(&metadata, "", "create");
    let asked = RequestInfo { key, operation: Operation::Create, method: method.clone(), path: INTENTS.to_owned() };
    change(&provider, &headers, asked, &params, |store, _| {
        let (amount, currency) = (params.number("amount")?, params.require("currency")?.to_ascii_lowercase());
        let amount = amount.ok_or_else(|| Refusal::invalid(Some("parameter_missing"), "amount", "Missing amount."))?;
        amounts::check(amount, &currency, &method)
            .map_err(|error| Refusal::invalid(Some(error.code), error.param, "This amount cannot be charged."))?;
        let capture = match params.one_of("capture_method", &["automatic", "automatic_async", "manual"])? {
            "manual" => Capture::Later,
            _ => Capture::AtOnce,
        };
        if !method.is_empty() && methods::outcome(&method).is_none() {
            return Err(Refusal::invalid(Some("resource_missing"), "payment_method", "No such PaymentMethod."));
        }
        let id = new_name("pi");
        store.record(Line {
            key: key_of(&metadata, &id, "create"),
            amount: Money { minor: amount, currency: currency.to_ascii_uppercase() },
            method,
            declined: None,
            effect: Effect::Created,
            capture,
            at_ms: now_ms(),
            payment: id.clone(),
            object: None,
            metadata,
            return_url: None,
        });
        Ok(shown(store, &id, &provider.page, Expand::Nothing))
    })
    .await
}

pub(crate) async fn confirm(
    State(provider): At,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(pairs): Form<Pairs>,
) -> Response {
    let params = match Params::new(pairs, &["return_url"]) {
        Ok(params) => params,
        Err(refusal) => return refusal.into_response(),
    };
    let asked = asked(&provider, &id, Operation::Charge, "charge", format!("{INTENTS}/{id}/confirm"));
    let return_url = params.get("return_url").map(str::to_owned);
    let mut takes_a_while = false;
    let response = change(&provider, &headers, asked, &params, |store, is_declined| {
        let intent = settled(store, &id)?;
        match intent.status {
            Status::RequiresConfirmation => {}
            Status::RequiresAction => return Ok(shown(store, &id, &provider.page, Expand::Nothing)),
            _ => return Err(unexpected(intent)),
        }
        let outcome = match is_declined {
            true => Outcome::Declined("by_script"),
            false => methods::outcome(&intent.method).unwrap_or(Outcome::Declined("generic_decline")),
        };
        let lines = match outcome {
            Outcome::Taken => taken(intent),
            Outcome::Waits => vec![Line { return_url, ..line(intent, Operation::Charge, Effect::Waits) }],
            Outcome::Processing => vec![line(intent, Operation::Charge, Effect::Processing)],
            Outcome::Declined(reason) => {
                let declined = Some(reason.to_owned());
                vec![Line { declined, ..line(intent, Operation::Charge, Effect::Declined) }]
            }
        };
        takes_a_while = outcome == Outcome::Processing;
        lines.into_iter().for_each(|line| store.record(line));
        let intent = shown(store, &id, &provider.page, Expand::Nothing);
        match outcome {
            Outcome::Declined(reason) => Err(Refusal::declined(reason, intent)),
            _ => Ok(intent),
        }
    });
    // Boxed, because it is large.
    let response = Box::pin(response).await;
    if takes_a_while {
        provider.finish_later(id);
    }
    response
}

/// The lines of a successful charge; payments with some methods are disputed at once.
pub(crate) fn taken(intent: &Intent) -> Vec<Line> {
    let mut lines = vec![charged(intent)];
    if let Some(status) = methods::disputes(&intent.method).filter(|_| intent.capture == Capture::AtOnce) {
        lines.push(disputed(intent, status));
    }
    lines
}

/// A new dispute about the whole payment.
pub(crate) fn disputed(intent: &Intent, status: &str) -> Line {
    let (declined, object) = (Some(status.to_owned()), Some(new_name("dp")));
    Line { declined, object, ..line(intent, Operation::Dispute, Effect::Disputed) }
}

fn unexpected(intent: &Intent) -> Refusal {
    let message = format!("This PaymentIntent's status is {}, which does not allow that.", intent.status.as_str());
    Refusal::not_now(Some("payment_intent_unexpected_state"), &message)
}

pub(crate) async fn capture(
    State(provider): At,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(pairs): Form<Pairs>,
) -> Response {
    let params = match Params::new(pairs, &[]) {
        Ok(params) => params,
        Err(refusal) => return refusal.into_response(),
    };
    let asked = asked(&provider, &id, Operation::Capture, "capture", format!("{INTENTS}/{id}/capture"));
    change(&provider, &headers, asked, &params, |store, _| {
        let intent = settled(store, &id)?;
        if intent.status != Status::RequiresCapture {
            return Err(unexpected(intent));
        }
        let line = line(intent, Operation::Capture, Effect::Captured);
        store.record(line);
        Ok(shown(store, &id, &provider.page, Expand::Nothing))
    })
    .await
}

pub(crate) async fn cancel(
    State(provider): At,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(pairs): Form<Pairs>,
) -> Response {
    let params = match Params::new(pairs, &["cancellation_reason"]) {
        Ok(params) => params,
        Err(refusal) => return refusal.into_response(),
    };
    let asked = asked(&provider, &id, Operation::Void, "void", format!("{INTENTS}/{id}/cancel"));
    change(&provider, &headers, asked, &params, |store, _| {
        let intent = settled(store, &id)?;
        if matches!(intent.status, Status::Succeeded | Status::Canceled | Status::Processing) {
            return Err(unexpected(intent));
        }
        let line = line(intent, Operation::Void, Effect::Voided);
        store.record(line);
        Ok(shown(store, &id, &provider.page, Expand::Nothing))
    })
    .await
}

pub(crate) async fn retrieve(State(provider): At, Path(id): Path<String>, Query(pairs): Query<Pairs>) -> Response {
    let expand = match Params::new(pairs, &["expand"]) {
        Ok(params) if params.get("expand[]") == Some("latest_charge") => Expand::Charge,
        Ok(_) => Expand::Nothing,
        Err(refusal) => return refusal.into_response(),
    };
    let asked = asked(&provider, &id, Operation::LookUp, "look_up", String::new());
    inspect(&provider, asked, |store| {
        settled(store, &id)?;
        Ok(shown(store, &id, &provider.page, expand))
    })
    .await
}

/// Not scripted, because tests compare everything else with it.
pub(crate) async fn list(State(provider): At, Query(pairs): Query<Pairs>) -> Response {
    let read = || {
        let params = Params::new(pairs, &["created", "limit", "starting_after", "expand"])?;
        let seconds = |name: &str| params.number(name);
        let (from, until) = (seconds("created[gte]")?.unwrap_or(0), seconds("created[lt]")?.unwrap_or(u64::MAX));
        let store = provider.store.lock();
        let expand = match params.get("expand[]") {
            Some("data.latest_charge") => Expand::Charge,
            _ => Expand::Nothing,
        };
        let of_that_time = store.newest().filter(|intent| (from..until).contains(&(intent.created_ms / 1_000)));
        let (found, has_more) = params.page(of_that_time, |intent| &intent.id)?;
        let show = |intent| objects::intent(&store, intent, &provider.page, expand);
        let data: Vec<Value> = found.into_iter().map(show).collect();
        Ok::<_, Refusal>(objects::list(INTENTS, &data, has_more))
    };
    match read() {
        Ok(page) => axum::Json(page).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

pub(crate) async fn search(State(provider): At, Query(pairs): Query<Pairs>) -> Response {
    let read = || {
        let params = Params::new(pairs, &["query", "limit"])?;
        let wanted = query::read(params.require("query")?);
        wanted.ok_or_else(|| Refusal::invalid(None, "query", "The query is not understood."))
    };
    let wanted = match read() {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal.into_response(),
    };
    let key = key_of(&wanted, "", "look_up");
    let asked = RequestInfo { key, operation: Operation::LookUp, method: String::new(), path: String::new() };
    inspect(&provider, asked, |store| {
        let found = query::find(store, &wanted, now_ms().saturating_sub(SEARCH_LAG_MS));
        let data: Vec<Value> =
            found.into_iter().map(|intent| objects::intent(store, intent, &provider.page, Expand::Nothing)).collect();
        let url = format!("{INTENTS}/search");
        Ok(json!({"object": "search_result", "url": url, "data": data, "has_more": false, "next_page": null}))
    })
    .await
}
