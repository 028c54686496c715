//! What Stripe answers with: its objects, as far as they are needed, and how far a payment or refund has come by them.
//!
//! Only what is definite becomes an end; everything that is not understood is unknown. May depend on `domain` and its
//! neighbours.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::money::{currency_of, money_of};
use crate::{
    domain::{
        ids::OrderId,
        money::{Currency, Money},
        order::{About, PaymentState, RefundState},
    },
    payments::{Booked, Repayment, Unknown},
};

/// The longest name of an object and the longest reason code.
const WORD_BYTES_MAX: usize = 255;
/// The longest address to which a customer is sent.
const URL_BYTES_MAX: usize = 2_048;

/// Where our metadata says which order an object is for.
pub(super) const ORDER: &str = "order";
/// Where it says which attempt.
pub(super) const ATTEMPT: &str = "attempt";
/// Where it says which refund.
pub(super) const REFUND: &str = "refund";

/// Metadata: texts under names.
pub(super) type Metadata = BTreeMap<String, String>;

/// Which order, and what of it, an object was made for.
pub(super) fn about(metadata: &Metadata) -> Option<(OrderId, About)> {
    let order = metadata.get(ORDER)?.parse().ok()?;
    let number = |name| metadata.get(name).and_then(|number| number.parse().ok());
    // A refund's metadata may name the attempt too.
    let about = number(REFUND).map(About::Refund).or_else(|| number(ATTEMPT).map(About::Attempt))?;
    Some((order, about))
}

/// Whether it is a word of Stripe's, such as a name or a code. Others go into no address, log or answer.
pub(super) fn is_word(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=WORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(fits) && text.bytes().any(|byte| byte != b'.')
}

fn word(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| is_word(text))
}

/// A payment.
#[derive(Deserialize)]
pub(super) struct Intent {
    object: String,
    pub(super) id: String,
    status: String,
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

/// The charge of a payment: its name, or all of it where that was asked for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Charge {
    Whole { amount_refunded: u64 },
    Named(#[expect(dead_code, reason = "only told from the whole charge")] String),
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
    /// The issuer's reason where it gives one, else Stripe's.
    pub(super) fn reason(&self) -> Option<String> {
        word(self.decline_code.as_ref()).or_else(|| word(self.code.as_ref())).map(str::to_owned)
    }

    pub(super) fn kind(&self) -> &str {
        word(self.kind.as_ref()).unwrap_or("no type")
    }

    pub(super) fn param(&self) -> Option<&str> {
        word(self.param.as_ref())
    }

    /// What may be shown of it: words, no sentences, for those may name what is nobody else's business.
    pub(super) fn shown(&self) -> String {
        let code = self.reason().unwrap_or_else(|| "no code".into());
        format!("{}, {code}, {}", self.kind(), self.param().unwrap_or("no parameter"))
    }
}

/// How far a payment has come.
pub(super) enum Stage {
    /// It stands somewhere, and goes on without us.
    Stands(PaymentState),
    /// It was never confirmed, so nobody was asked for money yet.
    Unconfirmed,
    /// It failed, but whoever has its secret could try it again.
    Failed(String),
}

impl Intent {
    /// What has to hold of every intent, whoever asked for it.
    pub(super) fn checked(self) -> Result<Self, Unknown> {
        if self.object == "payment_intent" && is_word(&self.id) {
            Ok(self)
        } else {
            Err(Unknown::new("the answer is no payment intent"))
        }
    }

    /// Which attempt of which order it was made for.
    pub(super) fn of(&self) -> Option<(OrderId, u32)> {
        match about(self.metadata.as_ref()?)? {
            (order, About::Attempt(attempt)) => Some((order, attempt)),
            (_, About::Refund(_) | About::Refunds(_)) => None,
        }
    }

    pub(super) fn is_canceled(&self) -> bool {
        self.status == "canceled"
    }

    /// How far it has come, where it is in this currency.
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
            // It failed and was given up for that.
            ("canceled", Some(reason)) => Stage::Stands(PaymentState::Declined { reason }),
            ("canceled", None) => Stage::Stands(PaymentState::Voided { reference: Some(reference) }),
            ("requires_action", _) => match self.action_url() {
                Some(url) => Stage::Stands(PaymentState::ActionRequired { reference, url }),
                // What has to be done needs the client secret, which no customer of ours has.
                None => Stage::Failed("authentication_required".into()),
            },
            ("requires_payment_method", Some(reason)) => Stage::Failed(reason),
            ("requires_payment_method" | "requires_confirmation", _) => Stage::Unconfirmed,
            (status, _) => {
                let status = if is_word(status) { status } else { "in no status" };
                return Err(Unknown::new(format!("{reference} is {status}")));
            }
        })
    }

    /// Where the customer has to go. Only to a web page: a browser would run other addresses.
    fn action_url(&self) -> Option<String> {
        let url = self.next_action.as_ref()?.redirect_to_url.as_ref()?.url.as_ref()?;
        let is_page = url.starts_with("https://") || url.starts_with("http://");
        (is_page && url.len() <= URL_BYTES_MAX).then(|| url.clone())
    }

    /// Its line in the books; `None` where it is not ours and in money that cannot be ours either.
    pub(super) fn booked(&self) -> Result<Option<Booked>, Unknown> {
        let line = || {
            let currency = currency_of(&self.currency)?;
            let reference = self.id.clone();
            let state = match self.stage(currency)? {
                Stage::Stands(state) => state,
                // Neither paid nor given up: that a failed one is given up for good is seen to by who asks for it
                // alone.
                Stage::Unconfirmed | Stage::Failed(_) => PaymentState::Processing { reference: reference.clone() },
            };
            let refunded_minor = match &self.latest_charge {
                Some(Charge::Whole { amount_refunded }) => money_of(*amount_refunded, currency)?.minor,
                Some(Charge::Named(_)) => return Err(Unknown::new(format!("{reference} came without its charge"))),
                None => 0,
            };
            Ok(Booked { of: self.of(), reference, state, refunded_minor })
        };
        match line() {
            Err(_) if self.of().is_none() => Ok(None),
            line => line.map(Some),
        }
    }
}

/// A refund.
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
    /// Whether it was made for this repayment.
    pub(super) fn is_of(&self, repayment: &Repayment) -> bool {
        self.metadata.as_ref().and_then(about) == Some((repayment.order, About::Refund(repayment.number)))
    }

    /// How far it has come, where it is what was asked for.
    pub(super) fn state(&self, repayment: &Repayment) -> Result<RefundState, Unknown> {
        if self.object != "refund" || !is_word(&self.id) {
            return Err(Unknown::new("the answer is no refund"));
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
            // A refund that waits for its customer goes on without us, like one that waits for a bank.
            Some("pending" | "requires_action") => Ok(RefundState::Processing { reference }),
            Some(status @ ("failed" | "canceled")) => {
                let reason = word(self.failure_reason.as_ref()).unwrap_or(status).to_owned();
                Ok(RefundState::Failed { reason })
            }
            _ => Err(Unknown::new(format!("{reference} is in no status that is known"))),
        }
    }
}

/// A page of a list, or of what a search found.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    pub(super) has_more: bool,
}
