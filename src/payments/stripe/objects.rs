//! The objects of Stripe's answers, as far as they are needed, and the state of a payment or refund in them.
//!
//! Only a definite answer becomes a final state; everything that is not understood is unknown. May depend on `domain`
//! and its neighbours.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::money::{currency_of, money_of};
use crate::{
    domain::{
        ids::OrderId,
        money::{Currency, Money},
        order::{About, PaymentState, RefundState},
    },
    payments::{ProviderPayment, Repayment, Unknown},
};

/// The longest id and the longest reason code, in bytes.
const WORD_BYTES_MAX: usize = 255;
/// The longest URL to which a customer is sent, in bytes.
const URL_BYTES_MAX: usize = 2_048;

/// The metadata key for the order.
pub(super) const ORDER: &str = "order";
/// The metadata key for the attempt.
pub(super) const ATTEMPT: &str = "attempt";
/// The metadata key for the refund.
pub(super) const REFUND: &str = "refund";

/// Metadata: texts under names.
pub(super) type Metadata = BTreeMap<String, String>;

/// The order, and the attempt or refund of it, for which an object was created.
pub(super) fn about(metadata: &Metadata) -> Option<(OrderId, About)> {
    let order = metadata.get(ORDER)?.parse().ok()?;
    let number = |name| metadata.get(name).and_then(|number| number.parse().ok());
    // The metadata of a refund may name the attempt, too.
    let about = number(REFUND).map(About::Refund).or_else(|| number(ATTEMPT).map(About::Attempt))?;
    Some((order, about))
}

/// Whether it looks like an id or a code of Stripe's. Other texts do not get into URLs, logs or answers.
pub(super) fn is_word(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=WORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(fits) && text.bytes().any(|byte| byte != b'.')
}

fn word(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| is_word(text))
}

/// Stripe's PaymentIntent, with the fields that the adapter reads.
#[derive(Deserialize)]
pub(super) struct Intent {
    object: String,
    pub(super) id: String,
    status: String,
    /// When, in seconds since 1970. Only a search among the newest payments uses it.
    pub(super) created: Option<u64>,
    currency: String,
    amount_received: Option<u64>,
    amount_capturable: Option<u64>,
    next_action: Option<NextAction>,
    last_payment_error: Option<PaymentError>,
    metadata: Option<Metadata>,
    latest_charge: Option<Charge>,
}

#[derive(Deserialize)]
struct NextAction {
    redirect_to_url: Option<Redirect>,
}

#[derive(Deserialize)]
struct Redirect {
    url: Option<String>,
}

/// The charge of a payment: its id, or the whole charge if the request asked for it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Charge {
    Whole { captured: bool, amount_refunded: u64 },
    Named(#[expect(dead_code, reason = "it only distinguishes an id from the whole charge")] String),
}

/// Why a payment or a request failed.
#[derive(Deserialize)]
pub(super) struct PaymentError {
    #[serde(rename = "type")]
    kind: Option<String>,
    code: Option<String>,
    decline_code: Option<String>,
    param: Option<String>,
}

impl PaymentError {
    /// The issuer's reason if there is one, or else Stripe's.
    pub(super) fn reason(&self) -> Option<String> {
        word(self.decline_code.as_ref()).or_else(|| word(self.code.as_ref())).map(str::to_owned)
    }

    pub(super) fn kind(&self) -> &str {
        word(self.kind.as_ref()).unwrap_or("no type")
    }

    /// Whether an object does not exist that the request names, in its address (404) or in its body (400).
    pub(super) fn is_missing(&self) -> bool {
        self.code.as_deref() == Some("resource_missing")
    }

    pub(super) fn param(&self) -> Option<&str> {
        word(self.param.as_ref())
    }

    /// The part of the error that may be logged: codes, but no sentences, because those may contain private data.
    pub(super) fn shown(&self) -> String {
        let code = self.reason().unwrap_or_else(|| "no code".into());
        format!("{}, {code}, {}", self.kind(), self.param().unwrap_or("no parameter"))
    }
}

/// The state of an intent.
pub(super) enum Stage {
    /// A state of a payment, which changes without the shop.
    Stands(PaymentState),
    /// It was never confirmed, so no money was asked for.
    Unconfirmed,
    /// It failed, but whoever has its client secret could try it again.
    Failed(String),
}

impl Intent {
    /// Checks what must be true of every intent.
    pub(super) fn checked(self) -> Result<Self, Unknown> {
        if self.object == "payment_intent" && is_word(&self.id) {
            Ok(self)
        } else {
            Err(Unknown::new("the answer is not a payment intent"))
        }
    }

    /// The order and the attempt for which it was created.
    pub(super) fn of(&self) -> Option<(OrderId, u32)> {
        match about(self.metadata.as_ref()?)? {
            (order, About::Attempt(attempt)) => Some((order, attempt)),
            (_, About::Refund(_) | About::Refunds(_)) => None,
        }
    }

    pub(super) fn is_canceled(&self) -> bool {
        self.status == "canceled"
    }

    /// Its state, if it is in this currency.
    pub(super) fn stage(&self, currency: Currency) -> Result<Stage, Unknown> {
        let own = currency_of(&self.currency)?;
        if own != currency {
            return Err(Unknown::new(format!("{} is in {own}, not in {currency}", self.id)));
        }
        let reference = self.id.clone();
        let amount = |amount: Option<u64>| match amount {
            Some(amount) => money_of(amount, currency),
            None => Err(Unknown::new(format!("{} is {} without its amount", self.id, self.status))),
        };
        let failed = self.last_payment_error.as_ref().map(|error| error.reason().unwrap_or_else(|| "declined".into()));
        Ok(match (self.status.as_str(), failed) {
            ("succeeded", _) => {
                Stage::Stands(PaymentState::Captured { reference, amount: amount(self.amount_received)? })
            }
            ("requires_capture", _) => {
                Stage::Stands(PaymentState::Authorised { reference, amount: amount(self.amount_capturable)? })
            }
            ("processing", _) => Stage::Stands(PaymentState::Processing { reference }),
            // It failed, and was cancelled because of that.
            ("canceled", Some(reason)) => Stage::Stands(PaymentState::Declined { reason }),
            ("canceled", None) => Stage::Stands(PaymentState::Voided { reference: Some(reference) }),
            ("requires_action", _) => match self.action_url() {
                Some(url) => Stage::Stands(PaymentState::ActionRequired { reference, url }),
                // The next action needs the client secret, which no customer of the shop has.
                None => Stage::Failed("authentication_required".into()),
            },
            ("requires_payment_method", Some(reason)) => Stage::Failed(reason),
            ("requires_payment_method" | "requires_confirmation", _) => Stage::Unconfirmed,
            (status, _) => {
                let status = if is_word(status) { status } else { "in an unknown status" };
                return Err(Unknown::new(format!("{reference} is {status}")));
            }
        })
    }

    /// The URL to which the customer has to go. Only a web page is accepted: a browser would run other URLs.
    fn action_url(&self) -> Option<String> {
        let url = self.next_action.as_ref()?.redirect_to_url.as_ref()?.url.as_ref()?;
        let is_page = url.starts_with("https://") || url.starts_with("http://");
        (is_page && url.len() <= URL_BYTES_MAX).then(|| url.clone())
    }

    /// The payment as the gateway reports it; `None` if it belongs to another shop and has a currency or an amount that
    /// this shop cannot represent.
    pub(super) fn report(&self) -> Result<Option<ProviderPayment>, Unknown> {
        let line = || {
            let currency = currency_of(&self.currency)?;
            let reference = self.id.clone();
            let state = match self.stage(currency)? {
                Stage::Stands(state) => state,
                // It is neither paid nor cancelled. Only a request for this payment cancels a failed one for good.
                Stage::Unconfirmed | Stage::Failed(_) => PaymentState::Processing { reference: reference.clone() },
            };
            let refunded_minor = match &self.latest_charge {
                // By older versions of the interface, which an account may have set, the end of a hold is a refund.
                Some(Charge::Whole { captured: false, .. }) => 0,
                Some(Charge::Whole { captured: true, amount_refunded }) => money_of(*amount_refunded, currency)?.minor,
                Some(Charge::Named(_)) => return Err(Unknown::new(format!("{reference} came without its charge"))),
                None => 0,
            };
            Ok(ProviderPayment { of: self.of(), reference, state, refunded_minor })
        };
        match line() {
            Err(_) if self.of().is_none() => Ok(None),
            line => line.map(Some),
        }
    }
}

/// Stripe's Refund, with the fields that the adapter reads.
#[derive(Deserialize)]
pub(super) struct Refund {
    object: String,
    pub(super) id: String,
    status: Option<String>,
    amount: u64,
    currency: String,
    payment_intent: Option<String>,
    failure_reason: Option<String>,
    metadata: Option<Metadata>,
}

impl Refund {
    /// Whether it was created for this request.
    pub(super) fn is_of(&self, repayment: &Repayment) -> bool {
        self.metadata.as_ref().and_then(about) == Some((repayment.order, About::Refund(repayment.number)))
    }

    /// Its state, if it is the refund that was requested.
    pub(super) fn state(&self, repayment: &Repayment) -> Result<RefundState, Unknown> {
        if self.object != "refund" || !is_word(&self.id) {
            return Err(Unknown::new("the answer is not a refund"));
        }
        if self.payment_intent.as_deref() != Some(repayment.payment.as_str()) {
            return Err(Unknown::new(format!("{} is a refund of another payment", self.id)));
        }
        let amount: Money = money_of(self.amount, currency_of(&self.currency)?)?;
        if amount != repayment.amount {
            return Err(Unknown::new(format!("{} is a refund of {amount}, not of {}", self.id, repayment.amount)));
        }
        let reference = self.id.clone();
        match self.status.as_deref() {
            Some("succeeded") => Ok(RefundState::Refunded { reference }),
            // A refund that waits for its customer continues without the shop, as one does that waits for a bank.
            Some("pending" | "requires_action") => Ok(RefundState::Processing { reference }),
            Some(status @ ("failed" | "canceled")) => {
                let reason = word(self.failure_reason.as_ref()).unwrap_or(status).to_owned();
                Ok(RefundState::Failed { reason })
            }
            _ => Err(Unknown::new(format!("{reference} is in an unknown status"))),
        }
    }
}

/// A page of a list or of a search.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    pub(super) has_more: bool,
}
