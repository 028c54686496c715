//! What the shop's operator and the customer's bank do at the provider's own site, and what tests read. The script does
//! not apply here.
//!
//! Depends on `store`, `intents`, `ledger`, `objects`, `provider`, `refunds`, `script` and `api`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    api::Refusal,
    intents::{At, disputed},
    ledger::{Effect, Line, Metadata, Money},
    objects::{self, Expand},
    provider::{Provider, line},
    refunds::{NewRefund, refund_payment, shown},
    script::{Operation, Rule},
    store::{Intent, Status, Store},
};

/// The number of the first refund here without a number of its own: the shop's own numbers begin with 1.
const NUMBER_MIN: usize = 1_000;

/// Selects a payment: by its id, or the last one of an order or of an attempt.
#[derive(Debug, Deserialize)]
pub(crate) struct Which {
    payment: Option<String>,
    order: Option<String>,
    attempt: Option<u32>,
}

impl Which {
    /// The last payment of which this is so.
    fn find<'a>(&self, store: &'a Store, is: fn(&Intent) -> bool) -> Option<&'a Intent> {
        if let Some(id) = &self.payment {
            return store.intent(id).filter(|intent| is(intent));
        }
        let order = self.order.as_deref()?;
        match self.attempt {
            Some(attempt) => store.of_attempt(order, &attempt.to_string()).rfind(|intent| is(intent)),
            None => store
                .newest()
                .filter(|intent| is(intent))
                .find(|intent| intent.metadata.get("order").is_some_and(|of| of == order)),
        }
    }

    fn captured<'a>(&self, store: &'a Store) -> Option<&'a Intent> {
        self.find(store, |intent| intent.captured)
    }
}

fn nothing() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"problem": "there is no such payment"}))).into_response()
}

/// Writes the changes to the ledger, and then answers.
fn answer(provider: &Arc<Provider>, store: parking_lot::MutexGuard<'_, Store>, response: Response) -> Response {
    let mut store = store;
    if let Err(error) = store.flush() {
        let problem = json!({"problem": format!("the ledger cannot be written: {error}")});
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(problem)).into_response();
    }
    drop(store);
    provider.announce();
    response
}

/// A refund at the provider's own site. The shop has not asked for it, so it has no metadata.
#[derive(Debug, Deserialize)]
pub(crate) struct RefundBody {
    #[serde(flatten)]
    which: Which,
    /// Its number in the ledger.
    number: Option<u32>,
    /// By default all that is left.
    amount: Option<Money>,
}

pub(crate) async fn refund(State(provider): At, Json(body): Json<RefundBody>) -> Response {
    let mut store = provider.store.lock();
    let Some(intent) = body.which.captured(&store) else { return nothing() };
    if body.amount.as_ref().is_some_and(|amount| amount.currency != intent.amount.currency) {
        return Refusal::invalid(None, "currency", "The payment is in another currency.").into_response();
    }
    let number = body.number.map_or(NUMBER_MIN + intent.refunds.len(), |number| number as usize);
    let of = intent.metadata.get("order").unwrap_or(&intent.id);
    let (key, payment) = (format!("{of}:refund:{number}"), intent.id.clone());
    let was_made = |line: &Line| line.key == key && line.effect != Effect::RefundFailed;
    if body.number.is_some() && store.lines().iter().any(was_made) {
        let problem = json!({"problem": "a refund with this number exists"});
        return (StatusCode::CONFLICT, Json(problem)).into_response();
    }
    let amount = body.amount.map(|amount| amount.minor);
    let made = refund_payment(
        &mut store,
        NewRefund { payment: payment.clone(), amount, metadata: Metadata::new(), key, fails: None },
    );
    let refund = match made {
        Ok(refund) => refund,
        Err(refusal) => return refusal.into_response(),
    };
    if store.will_change(&refund) {
        provider.finish_later(payment);
    }
    answer(&provider, store, shown(&refund))
}

/// A hold ends without the shop: it has expired, or was released at the provider's own site.
pub(crate) async fn release(State(provider): At, Json(which): Json<Which>) -> Response {
    let mut store = provider.store.lock();
    let held = which.find(&store, |intent| intent.status == Status::RequiresCapture);
    let Some(line) = held.map(|intent| line(intent, Operation::Void, Effect::Released)) else { return nothing() };
    let id = line.payment.clone();
    store.record(line);
    let shown = store.intent(&id).map(|intent| objects::intent(&store, intent, &provider.page, Expand::Charge));
    answer(&provider, store, Json(shown).into_response())
}

/// A customer disputes a payment at their bank.
#[derive(Debug, Deserialize)]
pub(crate) struct DisputeBody {
    #[serde(flatten)]
    which: Which,
    /// `needs_response` by default, or `warning_needs_response`, an inquiry that takes no money yet.
    #[serde(default)]
    status: Opened,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Opened {
    #[default]
    NeedsResponse,
    WarningNeedsResponse,
}

pub(crate) async fn dispute(State(provider): At, Json(body): Json<DisputeBody>) -> Response {
    let mut store = provider.store.lock();
    let Some(intent) = body.which.captured(&store) else { return nothing() };
    let status = match body.status {
        Opened::NeedsResponse => "needs_response",
        Opened::WarningNeedsResponse => "warning_needs_response",
    };
    let line = disputed(intent, status);
    let id = line.object.clone().unwrap_or_default();
    store.record(line);
    let shown = store.dispute(&id).map(objects::dispute);
    answer(&provider, store, Json(shown).into_response())
}

/// The end of a dispute.
#[derive(Debug, Deserialize)]
pub(crate) struct CloseBody {
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Won,
    Lost,
    WarningClosed,
}

pub(crate) async fn close_dispute(
    State(provider): At,
    Path(id): Path<String>,
    Json(body): Json<CloseBody>,
) -> Response {
    let mut store = provider.store.lock();
    let open = store.dispute(&id).filter(|dispute| dispute.is_open());
    let Some((dispute, intent)) = open.and_then(|dispute| Some((dispute, store.intent(&dispute.payment)?))) else {
        let problem = json!({"problem": "there is no such open dispute"});
        return (StatusCode::NOT_FOUND, Json(problem)).into_response();
    };
    let status = match body.outcome {
        Outcome::Won => "won",
        Outcome::Lost => "lost",
        Outcome::WarningClosed => "warning_closed",
    };
    let (amount, declined, object) = (dispute.amount.clone(), Some(status.to_owned()), Some(id.clone()));
    let line = Line { amount, declined, object, ..line(intent, Operation::Dispute, Effect::DisputeClosed) };
    store.record(line);
    let shown = store.dispute(&id).map(objects::dispute);
    answer(&provider, store, Json(shown).into_response())
}

/// All changes of payments, except their creation.
pub(crate) async fn ledger(State(provider): At) -> Json<Vec<Line>> {
    let store = provider.store.lock();
    Json(store.lines().iter().filter(|line| line.effect != Effect::Created).cloned().collect())
}

pub(crate) async fn show_script(State(provider): At) -> Json<Vec<Rule>> {
    Json(provider.script.rules())
}

pub(crate) async fn replace_script(State(provider): At, Json(rules): Json<Vec<Rule>>) -> Response {
    match provider.script.replace(rules) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"problem": error.to_string()}))).into_response(),
    }
}
