//! The routes of refunds, and the rules of refunds.
//!
//! Depends on `api`, `store`, `intents`, `ledger`, `methods`, `objects`, `provider` and `script`.

use axum::{
    Form, Json,
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde_json::Value;

use crate::{
    api::{Params, Refusal, RequestInfo, change, inspect},
    intents::{At, Pairs, asked},
    ledger::{Effect, Line, Metadata, Money},
    methods, objects,
    provider::{Provider, line, new_name},
    script::Operation,
    store::{Refund, Store},
};

const REFUNDS: &str = "/v1/refunds";

/// The key of a refund in the ledger: the order and the number in its metadata, if it has them.
fn key_of(metadata: &Metadata, payment: &str) -> String {
    match (metadata.get("order"), metadata.get("refund")) {
        (Some(order), Some(number)) => format!("{order}:refund:{number}"),
        _ => format!("{payment}:refund:1"),
    }
}

/// A refund to make.
pub(crate) struct NewRefund {
    pub(crate) payment: String,
    /// By default all that is left.
    pub(crate) amount: Option<u64>,
    pub(crate) metadata: Metadata,
    pub(crate) key: String,
    /// The reason of a failure, if it fails.
    pub(crate) fails: Option<String>,
}

/// Refunds a payment.
pub(crate) fn refund_payment(store: &mut Store, new: NewRefund) -> Result<Refund, Refusal> {
    let NewRefund { payment, amount, metadata, key, fails } = new;
    Provider::settle(store, &payment);
    let intent = store.intent(&payment).ok_or_else(|| Refusal::missing("payment_intent"))?;
    if !intent.captured {
        return Err(Refusal::not_now(None, "This PaymentIntent does not have a successful charge to refund."));
    }
    let dispute = intent.dispute.as_deref().and_then(|id| store.dispute(id));
    if dispute.is_some_and(|dispute| dispute.holds_money()) {
        return Err(Refusal::not_now(Some("charge_disputed"), "The charge has been charged back."));
    }
    let left = intent.left();
    if left == 0 {
        return Err(Refusal::not_now(Some("charge_already_refunded"), "The charge has already been refunded."));
    }
    let minor = amount.unwrap_or(left);
    if minor == 0 {
        return Err(Refusal::invalid(Some("parameter_invalid_integer"), "amount", "The amount must be at least 1."));
    }
    if minor > left {
        let message = "The amount is greater than the unrefunded amount of the charge.";
        return Err(Refusal::invalid(None, "amount", message));
    }
    let by_method = methods::fails_refunds(&intent.method).then(|| methods::EXPIRED.to_owned());
    let declined = fails.or(by_method);
    let effect = match &declined {
        Some(_) => Effect::RefundFailed,
        None if methods::delays_refunds(&intent.method) => Effect::RefundPending,
        None => Effect::Refunded,
    };
    let (id, amount) = (new_name("re"), Money { minor, currency: intent.amount.currency.clone() });
    let object = Some(id.clone());
    let line = Line { key, amount, declined, object, metadata, ..line(intent, Operation::Refund, effect) };
    store.record(line);
    store.refund(&id).cloned().ok_or_else(|| Refusal::missing("refund"))
}

pub(crate) async fn create(State(provider): At, headers: HeaderMap, Form(pairs): Form<Pairs>) -> Response {
    let read = || {
        let params = Params::new(pairs, &["payment_intent", "amount", "metadata", "reason"])?;
        let (payment, metadata) = (params.require("payment_intent")?.to_owned(), params.metadata()?);
        let amount = params.number("amount")?;
        Ok::<_, Refusal>((params, payment, metadata, amount))
    };
    let (params, payment, metadata, amount) = match read() {
        Ok(read) => read,
        Err(refusal) => return refusal.into_response(),
    };
    let asked = asked(&provider, &payment, Operation::Refund, "refund", REFUNDS.to_owned());
    let key = key_of(&metadata, &payment);
    let asked = RequestInfo { key: key.clone(), ..asked };
    let mut takes_a_while = false;
    let response = change(&provider, &headers, asked, &params, |store, is_declined| {
        let fails = is_declined.then(|| "by_script".to_owned());
        let refund = refund_payment(store, NewRefund { payment: payment.clone(), amount, metadata, key, fails })?;
        takes_a_while = store.will_change(&refund);
        Ok(objects::refund(&refund))
    })
    .await;
    if takes_a_while {
        provider.finish_later(payment);
    }
    response
}

pub(crate) async fn retrieve(State(provider): At, Path(id): Path<String>) -> Response {
    let payment = provider.store.lock().refund(&id).map(|refund| refund.payment.clone()).unwrap_or_default();
    let asked = asked(&provider, &payment, Operation::LookUp, "look_up", String::new());
    inspect(&provider, asked, |store| {
        Provider::settle(store, &payment);
        store.refund(&id).map(objects::refund).ok_or_else(|| Refusal::missing("refund"))
    })
    .await
}

pub(crate) async fn list(State(provider): At, Query(pairs): Query<Pairs>) -> Response {
    let read = || {
        let params = Params::new(pairs, &["payment_intent", "limit", "starting_after"])?;
        let payment = params.require("payment_intent")?.to_owned();
        Ok::<_, Refusal>((params, payment))
    };
    let (params, payment) = match read() {
        Ok(read) => read,
        Err(refusal) => return refusal.into_response(),
    };
    let asked = asked(&provider, &payment, Operation::LookUp, "look_up", String::new());
    inspect(&provider, asked, |store| {
        Provider::settle(store, &payment);
        let intent = store.intent(&payment).ok_or_else(|| Refusal::missing("payment_intent"))?;
        let refunds = intent.refunds.iter().rev().filter_map(|id| store.refund(id));
        let (page, has_more) = params.page(refunds, |refund| &refund.id)?;
        let data: Vec<Value> = page.into_iter().map(objects::refund).collect();
        Ok(objects::list(REFUNDS, &data, has_more))
    })
    .await
}

/// A refund as JSON.
pub(crate) fn shown(refund: &Refund) -> Response {
    Json(objects::refund(refund)).into_response()
}
