//! Requests to Stripe, and what their answers mean: an object, a definite refusal, or unknown.
//!
//! | request | key |
//! |---|---|
//! | `POST /v1/payment_intents` | `order:create:attempt` |
//! | `POST /v1/payment_intents/{id}/confirm` | `order:charge:attempt` |
//! | `POST /v1/payment_intents/{id}/capture` | `order:capture:attempt` |
//! | `POST /v1/payment_intents/{id}/cancel` | none: what is cancelled cannot be cancelled again |
//! | `POST /v1/refunds` | `order:refund:number` |
//! | `GET /v1/payment_intents`, `/{id}`, `/search`; `GET /v1/refunds`, `/{id}` | |
//!
//! Stripe remembers the first answer under a key, errors included, for at least a day, and tells it again; that is why
//! a remembered answer is never taken for how a payment stands now. May depend on `domain` and its neighbours.

use reqwest::{
    RequestBuilder, StatusCode,
    header::{AUTHORIZATION, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    FAKE_KEY,
    money::{amount_of, charge_of, code_of},
    objects::{ATTEMPT, Intent, ORDER, Page, PaymentError, REFUND, Refund, is_word},
};
use crate::{
    domain::order::CaptureMode,
    payments::{
        AmountRefused, Operation, OperationKey, Payment, Repayment, Unknown,
        client::{Client, ClientError, Reply},
    },
};

/// The version of Stripe's interface that this is written for. Without one, an account's own default would decide what
/// answers look like, and could be changed at the account. It is the one whose description `stripe-mock` has, against
/// which the tests hold every request; a later one is to be taken together with a later `stripe-mock`. Stripe keeps
/// versions working.
const VERSION: &str = "2026-08-26.dahlia";
/// How many objects a page has: Stripe's maximum.
const PAGE: &str = "100";

const INTENTS: &str = "payment_intents";

/// Why there is no object.
pub(super) enum Trouble {
    /// Nothing was sent, as Stripe does not take the amount.
    Amount(AmountRefused),
    /// Stripe has understood the request and did nothing.
    Refused(StatusCode, PaymentError),
    /// Stripe's own failure, which is stored under the key of the request and comes again for as long as the key is
    /// stored.
    Stored(Unknown),
    /// Anything else.
    Unknown(Unknown),
}

impl From<AmountRefused> for Trouble {
    fn from(refused: AmountRefused) -> Self {
        Self::Amount(refused)
    }
}

impl From<Unknown> for Trouble {
    fn from(unknown: Unknown) -> Self {
        Self::Unknown(unknown)
    }
}

impl From<Trouble> for Unknown {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Amount(refused) => Self::new(refused.code()),
            Trouble::Refused(status, error) => Self::new(format!("{status}: {}", error.shown())),
            Trouble::Stored(unknown) | Trouble::Unknown(unknown) => unknown,
        }
    }
}

impl Trouble {
    /// The reason code where the request will never be fulfilled: its amount cannot be asked for, or Stripe has
    /// refused what it says. An object that does not exist is no such reason: the key may be of another account.
    pub(super) fn refusal(&self) -> Option<String> {
        match self {
            Self::Amount(refused) => Some(refused.code().to_owned()),
            Self::Refused(StatusCode::NOT_FOUND, _) | Self::Stored(_) | Self::Unknown(_) => None,
            Self::Refused(_, error) => {
                let parameter = || error.param().map(|name| format!("invalid_{name}"));
                Some(error.reason().or_else(parameter).unwrap_or_else(|| "refused".to_owned()))
            }
        }
    }
}

/// A new intent, or the one that was made under the same key before.
pub(super) struct Created {
    pub(super) intent: Intent,
    /// Whether the intent is shown as it was then, and not as it is now.
    pub(super) is_replay: bool,
}

/// Stripe's interface, asked with one key.
pub(super) struct Api {
    client: Client,
    authorization: HeaderValue,
}

type Fields<'a> = &'a [(&'a str, &'a str)];

#[derive(Deserialize)]
struct ErrorBody {
    error: PaymentError,
}

impl Api {
    pub(super) fn new(url: &str, key: &SecretString, answer_ms_max: u64) -> Result<Self, ClientError> {
        let client = Client::new(url, answer_ms_max)?;
        let key = key.expose_secret();
        if !client.is_private() && key != FAKE_KEY {
            return Err(ClientError::InTheClear(url.to_owned()));
        }
        let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        let mut authorization = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| ClientError::Key)?;
        authorization.set_sensitive(true);
        if is_key { Ok(Self { client, authorization }) } else { Err(ClientError::Key) }
    }

    async fn reply(&self, request: RequestBuilder) -> Result<Reply, Unknown> {
        let request = request.header(AUTHORIZATION, self.authorization.clone()).header("Stripe-Version", VERSION);
        self.client.send(request).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str], query: Fields<'_>) -> Result<T, Trouble> {
        let reply = self.reply(self.client.get(&[&["v1"], path].concat()).query(query)).await?;
        read(&reply)
    }

    /// Sends a form; `key` is what Stripe knows the request by.
    async fn post(&self, path: &[&str], key: Option<OperationKey>, form: Fields<'_>) -> Result<Reply, Unknown> {
        let mut request = self.client.post(&[&["v1"], path].concat()).form(form);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key.to_string());
        }
        self.reply(request).await
    }

    /// Announces a payment. It is not confirmed, so no money moves, and nobody else can confirm it: its secret goes
    /// nowhere.
    pub(super) async fn create(&self, payment: &Payment) -> Result<Created, Trouble> {
        let (order, attempt) = (payment.order.to_string(), payment.attempt.to_string());
        let capture = match payment.capture {
            CaptureMode::AtOnce => "automatic",
            CaptureMode::Later => "manual",
        };
        let form = [
            ("amount", &*charge_of(payment.amount)?.to_string()),
            ("currency", &code_of(payment.amount.currency)),
            ("capture_method", capture),
            // With others a payment could stay in the air for days, while stock is held for it.
            ("payment_method_types[]", "card"),
            // Here and not when it is confirmed: after a decline Stripe drops it, so that a second confirmation has
            // nothing to charge.
            ("payment_method", &payment.method),
            (&format!("metadata[{ORDER}]"), &order),
            (&format!("metadata[{ATTEMPT}]"), &attempt),
        ];
        let reply = self.post(&[INTENTS], Some(payment.key(Operation::Create)), &form).await?;
        Ok(Created { intent: read::<Intent>(&reply)?.checked()?, is_replay: is_replay(&reply) })
    }

    /// Has the payment made.
    pub(super) async fn confirm(
        &self,
        id: &str,
        key: OperationKey,
        return_url: Option<&str>,
    ) -> Result<Intent, Trouble> {
        let form: Vec<_> = return_url.into_iter().map(|url| ("return_url", url)).collect();
        self.change(id, "confirm", Some(key), &form).await
    }

    /// Takes all that is held.
    pub(super) async fn capture(&self, id: &str, key: OperationKey) -> Result<Intent, Trouble> {
        self.change(id, "capture", Some(key), &[]).await
    }

    /// Gives a payment up.
    pub(super) async fn cancel(&self, id: &str) -> Result<Intent, Trouble> {
        self.change(id, "cancel", None, &[]).await
    }

    async fn change(
        &self,
        id: &str,
        what: &str,
        key: Option<OperationKey>,
        form: Fields<'_>,
    ) -> Result<Intent, Trouble> {
        let reply = self.post(&[INTENTS, check_name(id)?, what], key, form).await?;
        named(id, read::<Intent>(&reply)?.checked()?)
    }

    /// A payment as it stands.
    pub(super) async fn intent(&self, id: &str) -> Result<Intent, Trouble> {
        named(id, self.get::<Intent>(&[INTENTS, check_name(id)?], &[]).await?.checked()?)
    }

    /// A payment as it stands, with its charge.
    pub(super) async fn intent_with_charge(&self, id: &str) -> Result<Intent, Trouble> {
        let expand = [("expand[]", "latest_charge")];
        named(id, self.get::<Intent>(&[INTENTS, check_name(id)?], &expand).await?.checked()?)
    }

    /// Payments by what their metadata says.
    pub(super) async fn search(&self, payment: &Payment) -> Result<Vec<Intent>, Trouble> {
        let query = format!("metadata['{ORDER}']:'{}' AND metadata['{ATTEMPT}']:'{}'", payment.order, payment.attempt);
        let found: Page<Intent> = self.get(&[INTENTS, "search"], &[("query", &query)]).await?;
        found.data.into_iter().map(|intent| intent.checked().map_err(Trouble::Unknown)).collect()
    }

    /// A page of payments, newest first.
    pub(super) async fn intents(&self, filter: Fields<'_>, after: Option<&str>) -> Result<Page<Intent>, Trouble> {
        let query: Vec<_> =
            filter.iter().copied().chain([("limit", PAGE)]).chain(after.map(|id| ("starting_after", id))).collect();
        let page: Page<Intent> = self.get(&[INTENTS], &query).await?;
        let checked = page.data.into_iter().map(Intent::checked).collect::<Result<_, _>>()?;
        Ok(Page { data: checked, ..page })
    }

    /// A refund as it stands.
    pub(super) async fn refund(&self, id: &str) -> Result<Refund, Trouble> {
        let refund: Refund = self.get(&["refunds", check_name(id)?], &[]).await?;
        if refund.id == id { Ok(refund) } else { Err(Unknown::new(format!("{id} was asked for, not this")).into()) }
    }

    /// The refunds of a payment.
    pub(super) async fn refunds(&self, payment: &str) -> Result<Page<Refund>, Trouble> {
        self.get(&["refunds"], &[("payment_intent", payment), ("limit", PAGE)]).await
    }

    /// Has money given back.
    pub(super) async fn give_back(&self, repayment: &Repayment) -> Result<Refund, Trouble> {
        let form = [
            ("payment_intent", &*repayment.payment),
            ("amount", &amount_of(repayment.amount)?.to_string()),
            (&format!("metadata[{ORDER}]"), &repayment.order.to_string()),
            (&format!("metadata[{REFUND}]"), &repayment.number.to_string()),
        ];
        read(&self.post(&["refunds"], Some(repayment.key()), &form).await?)
    }
}

/// What is to be part of an address is a name of Stripe's; it comes from an order, and there from an answer.
fn check_name(id: &str) -> Result<&str, Unknown> {
    if is_word(id) { Ok(id) } else { Err(Unknown::new("the reference is no name of Stripe's")) }
}

fn named(id: &str, intent: Intent) -> Result<Intent, Trouble> {
    if intent.id == id {
        Ok(intent)
    } else {
        Err(Unknown::new(format!("{id} was asked for, not {}", intent.id)).into())
    }
}

/// Whether an answer is the one that is stored under the key of the request.
fn is_replay(reply: &Reply) -> bool {
    reply.headers.get("Idempotent-Replayed").is_some_and(|value| value == "true")
}

/// What an answer says. Only 200 brings an object, and only an error that Stripe blames on the request or the card is
/// a refusal: a key that is not taken (401, 403), a key in use (409), too many requests (429) and Stripe's own faults
/// say nothing of the payment.
fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, Trouble> {
    let status = reply.status;
    // The reader's own words may quote what it read.
    let unreadable = |_| Unknown::new(format!("{status} with a body that is not as expected"));
    if status == StatusCode::OK {
        return serde_json::from_slice(&reply.body).map_err(|error| unreadable(error).into());
    }
    let ErrorBody { error } = serde_json::from_slice(&reply.body).map_err(unreadable)?;
    match (status.as_u16(), error.kind()) {
        (400 | 402 | 404, "invalid_request_error" | "card_error") => Err(Trouble::Refused(status, error)),
        (500.., _) if is_replay(reply) => Err(Trouble::Stored(Unknown::new(format!("{status}: {}", error.shown())))),
        _ => Err(Unknown::new(format!("{status}: {}", error.shown())).into()),
    }
}
