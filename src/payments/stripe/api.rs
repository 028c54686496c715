//! Requests to Stripe, and the meaning of their answers: an object, a definite refusal, or an unknown outcome.
//!
//! | request | key |
//! |---|---|
//! | `POST /v1/payment_intents` | `order:create:attempt` |
//! | `POST /v1/payment_intents/{id}/confirm` | `order:charge:attempt` |
//! | `POST /v1/payment_intents/{id}/capture` | `order:capture:attempt` |
//! | `POST /v1/payment_intents/{id}/cancel` | none: an intent can be cancelled only once |
//! | `POST /v1/refunds` | `order:refund:number` |
//! | `GET /v1/payment_intents`, `/{id}`, `/search`; `GET /v1/refunds`, `/{id}`; `GET /v1/account` | |
//!
//! Stripe stores the first answer under a key, including errors, for at least a day and returns it again. So a stored
//! answer is never taken for the current state of a payment. May depend on `domain` and its neighbours.

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

/// The version of Stripe's API for which this is written. Without it, the account's default version would decide the
/// form of the answers, and could be changed in the account. `stripe-mock`, which checks every request in the tests,
/// describes this version; a later one comes with a later `stripe-mock`. Stripe keeps old versions working.
const VERSION: &str = "2026-08-26.dahlia";
/// How many objects a page has: Stripe's maximum.
const PAGE: &str = "100";

const INTENTS: &str = "payment_intents";

/// Why a request returned no object.
pub(super) enum ApiError {
    /// Nothing was sent, because Stripe does not accept the amount.
    Amount(AmountRefused),
    /// Stripe has understood the request and refused it.
    Refused(StatusCode, PaymentError),
    /// An error of Stripe's own. Stripe stores it under the request's key and returns it again as long as the key is
    /// stored.
    Stored(Unknown),
    /// The outcome is unknown.
    Unknown(Unknown),
}

impl From<AmountRefused> for ApiError {
    fn from(refused: AmountRefused) -> Self {
        Self::Amount(refused)
    }
}

impl From<Unknown> for ApiError {
    fn from(unknown: Unknown) -> Self {
        Self::Unknown(unknown)
    }
}

impl From<ApiError> for Unknown {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Amount(refused) => Self::new(refused.code()),
            ApiError::Refused(status, error) => Self::new(format!("{status}: {}", error.shown())),
            ApiError::Stored(unknown) | ApiError::Unknown(unknown) => unknown,
        }
    }
}

impl ApiError {
    /// Whether Stripe knows nothing of an object that the request names: the API key may belong to another account.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused(status, error) if *status == StatusCode::NOT_FOUND || error.is_missing())
    }

    /// The reason code, if the request can never succeed: its amount is not accepted, or Stripe refused its content. A
    /// missing object is no such reason: the API key may belong to another account.
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

/// A new intent, or the one that was created under the same key before.
pub(super) struct Created {
    pub(super) intent: Intent,
    /// Whether the answer shows the intent as it was when it was created, and not as it is now.
    pub(super) is_replay: bool,
}

/// Stripe's API, with one API key.
pub(super) struct Api {
    client: Client,
    authorization: HeaderValue,
    /// Payments of the one mode cannot be seen with a key for the other.
    mode: &'static str,
}

type Fields<'a> = &'a [(&'a str, &'a str)];

#[derive(Deserialize)]
struct Account {
    object: String,
    id: String,
}

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
        let mode = if key.contains("_test_") { "test" } else { "live" };
        if is_key { Ok(Self { client, authorization, mode }) } else { Err(ClientError::Key) }
    }

    async fn reply(&self, request: RequestBuilder) -> Result<Reply, Unknown> {
        let request = request.header(AUTHORIZATION, self.authorization.clone()).header("Stripe-Version", VERSION);
        self.client.send(request).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str], query: Fields<'_>) -> Result<T, ApiError> {
        let reply = self.reply(self.client.get(&[&["v1"], path].concat()).query(query)).await?;
        read(&reply)
    }

    /// Sends a form. `key` is its idempotency key.
    async fn post(&self, path: &[&str], key: Option<OperationKey>, form: Fields<'_>) -> Result<Reply, Unknown> {
        let mut request = self.client.post(&[&["v1"], path].concat()).form(form);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key.to_string());
        }
        self.reply(request).await
    }

    /// The account of the key and the mode of the key; `None` where a restricted key may not read it, or where a server
    /// in Stripe's place has no accounts.
    pub(super) async fn account(&self) -> Result<Option<String>, ApiError> {
        let reply = self.reply(self.client.get(&["v1", "account"])).await?;
        if matches!(reply.status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
            return Ok(None);
        }
        let Account { object, id } = read(&reply)?;
        if object != "account" || !is_word(&id) {
            return Err(Unknown::new("the answer is no account").into());
        }
        Ok(Some(format!("{id}:{}", self.mode)))
    }

    /// Creates an intent without confirming it, so no money moves. Nobody else can confirm it, because its client
    /// secret is given to nobody.
    pub(super) async fn create(&self, payment: &Payment) -> Result<Created, ApiError> {
        let (order, attempt) = (payment.order.to_string(), payment.attempt.to_string());
        let capture = match payment.capture {
            CaptureMode::AtOnce => "automatic",
            CaptureMode::Later => "manual",
        };
        let form = [
            ("amount", &*charge_of(payment.amount)?.to_string()),
            ("currency", &code_of(payment.amount.currency)),
            ("capture_method", capture),
            // With other methods a payment could stay open for days, while stock is reserved for it.
            ("payment_method_types[]", "card"),
            // Attached here and not at the confirmation: after a decline Stripe detaches it, so that a second
            // confirmation has nothing to charge.
            ("payment_method", &payment.method),
            (&format!("metadata[{ORDER}]"), &order),
            (&format!("metadata[{ATTEMPT}]"), &attempt),
        ];
        let reply = self.post(&[INTENTS], Some(payment.key(Operation::Create)), &form).await?;
        Ok(Created { intent: read::<Intent>(&reply)?.checked()?, is_replay: is_replay(&reply) })
    }

    /// Confirms an intent.
    pub(super) async fn confirm(
        &self,
        id: &str,
        key: OperationKey,
        return_url: Option<&str>,
    ) -> Result<Intent, ApiError> {
        let form: Vec<_> = return_url.into_iter().map(|url| ("return_url", url)).collect();
        self.change(id, "confirm", Some(key), &form).await
    }

    /// Captures all that is held.
    pub(super) async fn capture(&self, id: &str, key: Option<OperationKey>) -> Result<Intent, ApiError> {
        self.change(id, "capture", key, &[]).await
    }

    /// Cancels an intent.
    pub(super) async fn cancel(&self, id: &str) -> Result<Intent, ApiError> {
        self.change(id, "cancel", None, &[]).await
    }

    async fn change(
        &self,
        id: &str,
        what: &str,
        key: Option<OperationKey>,
        form: Fields<'_>,
    ) -> Result<Intent, ApiError> {
        let reply = self.post(&[INTENTS, check_name(id)?, what], key, form).await?;
        named(id, read::<Intent>(&reply)?.checked()?)
    }

    /// The current state of an intent.
    pub(super) async fn intent(&self, id: &str) -> Result<Intent, ApiError> {
        named(id, self.get::<Intent>(&[INTENTS, check_name(id)?], &[]).await?.checked()?)
    }

    /// The current state of an intent, with its charge.
    pub(super) async fn intent_with_charge(&self, id: &str) -> Result<Intent, ApiError> {
        let expand = [("expand[]", "latest_charge")];
        named(id, self.get::<Intent>(&[INTENTS, check_name(id)?], &expand).await?.checked()?)
    }

    /// Searches intents by their metadata.
    pub(super) async fn search(&self, payment: &Payment) -> Result<Vec<Intent>, ApiError> {
        let query = format!("metadata['{ORDER}']:'{}' AND metadata['{ATTEMPT}']:'{}'", payment.order, payment.attempt);
        let found: Page<Intent> = self.get(&[INTENTS, "search"], &[("query", &query)]).await?;
        found.data.into_iter().map(|intent| intent.checked().map_err(ApiError::Unknown)).collect()
    }

    /// A page of intents, newest first.
    pub(super) async fn intents(&self, filter: Fields<'_>, after: Option<&str>) -> Result<Page<Intent>, ApiError> {
        let query: Vec<_> =
            filter.iter().copied().chain([("limit", PAGE)]).chain(after.map(|id| ("starting_after", id))).collect();
        let page: Page<Intent> = self.get(&[INTENTS], &query).await?;
        let checked = page.data.into_iter().map(Intent::checked).collect::<Result<_, _>>()?;
        Ok(Page { data: checked, ..page })
    }

    /// The current state of a refund.
    pub(super) async fn refund(&self, id: &str) -> Result<Refund, ApiError> {
        let refund: Refund = self.get(&["refunds", check_name(id)?], &[]).await?;
        if refund.id == id {
            Ok(refund)
        } else {
            Err(Unknown::new(format!("Stripe answered with another refund than {id}")).into())
        }
    }

    /// The refunds of a payment.
    pub(super) async fn refunds(&self, payment: &str) -> Result<Page<Refund>, ApiError> {
        self.get(&["refunds"], &[("payment_intent", payment), ("limit", PAGE)]).await
    }

    /// Creates a refund.
    pub(super) async fn create_refund(&self, repayment: &Repayment) -> Result<Refund, ApiError> {
        let form = [
            ("payment_intent", &*repayment.payment),
            ("amount", &amount_of(repayment.amount)?.to_string()),
            (&format!("metadata[{ORDER}]"), &repayment.order.to_string()),
            (&format!("metadata[{REFUND}]"), &repayment.number.to_string()),
        ];
        read(&self.post(&["refunds"], Some(repayment.key()), &form).await?)
    }
}

/// An id that becomes a part of a URL must look like one of Stripe's. It comes from an order, and originally from an
/// answer.
fn check_name(id: &str) -> Result<&str, Unknown> {
    if is_word(id) { Ok(id) } else { Err(Unknown::new("the reference is not an id of Stripe")) }
}

fn named(id: &str, intent: Intent) -> Result<Intent, ApiError> {
    if intent.id == id {
        Ok(intent)
    } else {
        Err(Unknown::new(format!("Stripe answered with {} instead of {id}", intent.id)).into())
    }
}

/// Whether an answer is the one that Stripe has stored under the request's key.
fn is_replay(reply: &Reply) -> bool {
    reply.headers.get("Idempotent-Replayed").is_some_and(|value| value == "true")
}

/// Reads an answer. Only a 200 has an object, and only an error that Stripe attributes to the request or the card is a
/// refusal: a rejected key (401, 403), a key in use (409), too many requests (429) and Stripe's own errors say nothing
/// about the payment.
fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, ApiError> {
    let status = reply.status;
    // The text of a JSON error may quote what was read, so it is not passed on.
    let unreadable = |_| Unknown::new(format!("{status} with an unexpected body"));
    if status == StatusCode::OK {
        return serde_json::from_slice(&reply.body).map_err(|error| unreadable(error).into());
    }
    let ErrorBody { error } = serde_json::from_slice(&reply.body).map_err(unreadable)?;
    match (status.as_u16(), error.kind()) {
        (400 | 402 | 404, "invalid_request_error" | "card_error") => Err(ApiError::Refused(status, error)),
        (500.., _) if is_replay(reply) => Err(ApiError::Stored(Unknown::new(format!("{status}: {}", error.shown())))),
        _ => Err(Unknown::new(format!("{status}: {}", error.shown())).into()),
    }
}
