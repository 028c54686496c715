//! Stripe's objects as JSON, with the members that a shop reads and the most common others.
//!
//! Depends on `store`, `ledger` and `methods`.

use serde_json::{Value, json};

use crate::{
    ledger::{Capture, Effect, Line, Metadata},
    methods,
    store::{Dispute, Intent, Refund, Status, Store},
};

/// Whether the charge of a payment is shown as a whole, which a request has to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expand {
    Nothing,
    Charge,
}

fn currency(code: &str) -> String {
    code.to_ascii_lowercase()
}

fn charge_name(intent: &Intent) -> String {
    format!("ch_{}", intent.id.trim_start_matches("pi_"))
}

/// A payment. `page` is the URL where customers authenticate themselves.
pub(crate) fn intent(store: &Store, intent: &Intent, page: &str, expand: Expand) -> Value {
    let amount = intent.amount.minor;
    let in_status = |status: Status| if intent.status == status { amount } else { 0 };
    let is_charged = intent.captured || intent.held || intent.status == Status::Processing;
    let charge = match expand {
        _ if !is_charged && intent.declined.is_none() => Value::Null,
        Expand::Nothing => json!(charge_name(intent)),
        Expand::Charge => charge(store, intent),
    };
    json!({
        "id": intent.id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": in_status(Status::RequiresCapture),
        "amount_received": in_status(Status::Succeeded),
        "capture_method": match intent.capture { Capture::AtOnce => "automatic", Capture::Later => "manual" },
        "client_secret": format!("{}_secret", intent.id),
        "created": intent.created_ms / 1_000,
        "currency": currency(&intent.amount.currency),
        "last_payment_error": intent.declined.as_deref().map(card_error),
        "latest_charge": charge,
        "livemode": false,
        "metadata": intent.metadata,
        "next_action": next_action(intent, page),
        // Stripe detaches the method of a payment that was declined.
        "payment_method": if intent.declined.is_some() || intent.method.is_empty() { Value::Null } else { json!(intent.method) },
        "payment_method_types": ["card"],
        "status": intent.status.as_str(),
    })
}

fn next_action(intent: &Intent, page: &str) -> Value {
    if intent.status != Status::RequiresAction {
        return Value::Null;
    }
    let Some(back) = &intent.return_url else {
        return json!({"type": "use_stripe_sdk", "use_stripe_sdk": {}});
    };
    let url = match (intent.metadata.get("order"), intent.metadata.get("attempt")) {
        (Some(order), Some(attempt)) => format!("{page}/{order}/{attempt}"),
        _ => format!("{page}/{}/1", intent.id),
    };
    json!({"type": "redirect_to_url", "redirect_to_url": {"url": url, "return_url": back}})
}

/// The error of a declined card.
pub(crate) fn card_error(reason: &str) -> Value {
    let (code, is_decline) = methods::code_of(reason);
    json!({
        "type": "card_error",
        "code": code,
        "decline_code": is_decline.then_some(reason),
        "message": "The card was declined.",
    })
}

fn charge(store: &Store, intent: &Intent) -> Value {
    let dispute = intent.dispute.as_deref().and_then(|id| store.dispute(id));
    let amount = intent.amount.minor;
    json!({
        "id": charge_name(intent),
        "object": "charge",
        "amount": amount,
        "amount_captured": if intent.captured { amount } else { 0 },
        "amount_refunded": intent.refunded,
        "captured": intent.captured,
        "created": intent.created_ms / 1_000,
        "currency": currency(&intent.amount.currency),
        "disputed": dispute.is_some_and(|dispute| !dispute.status.starts_with("warning_")),
        "livemode": false,
        "metadata": intent.metadata,
        "paid": intent.captured || intent.held,
        "payment_intent": intent.id,
        "refunded": intent.refunded == amount,
        "status": if intent.declined.is_some() { "failed" } else { "succeeded" },
    })
}

/// The JSON of a refund.
pub(crate) fn refund(refund: &Refund) -> Value {
    let mut object = json!({
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount.minor,
        "created": refund.created_ms / 1_000,
        "currency": currency(&refund.amount.currency),
        "metadata": refund.metadata,
        "payment_intent": refund.payment,
        "reason": null,
        "status": refund.status,
    });
    if let Some(reason) = &refund.failure {
        object["failure_reason"] = json!(reason);
    }
    object
}

/// A dispute. As at Stripe, it has none of the shop's metadata.
pub(crate) fn dispute(dispute: &Dispute) -> Value {
    json!({
        "id": dispute.id,
        "object": "dispute",
        "amount": dispute.amount.minor,
        "charge": format!("ch_{}", dispute.payment.trim_start_matches("pi_")),
        "created": dispute.created_ms / 1_000,
        "currency": currency(&dispute.amount.currency),
        "is_charge_refundable": dispute.status.starts_with("warning_"),
        "livemode": false,
        "metadata": Metadata::new(),
        "payment_intent": dispute.payment,
        "reason": "fraudulent",
        "status": dispute.status,
    })
}

/// A page of a list.
pub(crate) fn list(url: &str, data: &[Value], has_more: bool) -> Value {
    json!({"object": "list", "url": url, "data": data, "has_more": has_more})
}

/// The events about a line of the ledger.
pub(crate) fn events(store: &Store, line: &Line, page: &str) -> Vec<Value> {
    let types: &[&str] = match line.effect {
        // The shop has created the payment itself, so there is no event.
        Effect::Created => &[],
        Effect::Captured => &["payment_intent.succeeded"],
        Effect::Held => &["payment_intent.amount_capturable_updated"],
        Effect::Declined => &["payment_intent.payment_failed"],
        Effect::Voided => &["payment_intent.canceled"],
        Effect::Released => &["charge.refunded", "payment_intent.canceled"],
        Effect::Waits => &["payment_intent.requires_action"],
        Effect::Processing => &["payment_intent.processing"],
        Effect::RefundPending => &["refund.created", "charge.refunded"],
        Effect::Refunded if is_late(store, line) => &["refund.updated"],
        Effect::Refunded => &["refund.created", "charge.refunded"],
        Effect::RefundFailed => &["refund.failed"],
        Effect::Disputed => &["charge.dispute.created"],
        Effect::DisputeClosed => &["charge.dispute.closed"],
    };
    let payment = store.intent(&line.payment);
    let object = |kind: &str| match kind {
        "charge.refunded" => payment.map(|payment| charge(store, payment)),
        kind if kind.starts_with("refund.") => line.object.as_deref().and_then(|id| store.refund(id)).map(refund),
        kind if kind.starts_with("charge.dispute.") => {
            line.object.as_deref().and_then(|id| store.dispute(id)).map(dispute)
        }
        _ => payment.map(|payment| intent(store, payment, page, Expand::Nothing)),
    };
    types.iter().filter_map(|kind| Some(event(line, kind, &object(kind)?))).collect()
}

/// Whether the refund of a line existed before it.
fn is_late(store: &Store, line: &Line) -> bool {
    let refund = line.object.as_deref().and_then(|id| store.refund(id));
    refund.is_some_and(|refund| refund.created_ms < line.at_ms)
}

fn event(line: &Line, kind: &str, object: &Value) -> Value {
    // An object reaches each of its states once, so the id is unique, also after a restart.
    let of = line.object.as_deref().unwrap_or(&line.payment);
    json!({
        "id": format!("evt_{of}_{}", kind.replace('.', "_")),
        "object": "event",
        "created": line.at_ms / 1_000,
        "data": {"object": object},
        "livemode": false,
        "pending_webhooks": 1,
        "request": {"id": null, "idempotency_key": null},
        "type": kind,
    })
}
