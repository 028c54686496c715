//! The adapter for Stripe: a payment is a PaymentIntent of Stripe, paid by card.
//!
//! ```text
//!  pay      create ─▶ confirm ─▶ succeeded / requires_capture / requires_action / processing
//!                        └─▶ declined ─▶ cancel ─▶ Declined, and not before
//!  void     find, else create ─▶ cancel
//!  capture  read ─▶ capture
//!  refund   find among the payment's refunds, else create
//! ```
//!
//! A payment takes two requests, so that money moves only after the answer to the first was read: a request that
//! arrives late can create an intent, but never charge. A declined intent could be confirmed again with another card,
//! so it is cancelled before it counts as declined. The intent is read before every operation that moves money, because
//! Stripe stores answers under their keys, including its own errors, and repeats them for a day. If such an error hides
//! whether an intent was created, the list of intents shows it: the list is never out of date.
//!
//! May depend on `domain` and its neighbours.

mod api;
mod money;
mod notice;
mod objects;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures::FutureExt;
use reqwest::StatusCode;
use secrecy::SecretString;

use self::{
    api::{Api, ApiError},
    objects::{Intent, Stage},
};
use super::{
    AmountRefused, Answer, Gateway, Notice, NoticeRefused, Operation, Payment, PaymentsPage, ProviderPayment,
    Repayment, Unknown, client::ClientError, signature,
};
use crate::domain::{
    entity::Timestamp,
    money::{Currency, Money},
    order::{PaymentState, RefundState},
};

/// The URL of Stripe's API.
pub const API_URL: &str = "https://api.stripe.com";
/// Its name in URLs, logs and metrics.
pub const NAME: &str = "stripe";
/// The API key for a fake provider. It is not secret.
pub const FAKE_KEY: &str = "sk_test_simulator";
/// How many pages of the newest payments are read to find a payment for which a search is not available.
const LOOK_PAGES_MAX: usize = 10;
/// How far Stripe's clock may be from ours, in seconds.
const CLOCK_SLACK_SECONDS: u64 = 600;

/// The configuration of the adapter for Stripe.
#[derive(Debug, Clone)]
pub struct StripeConfig {
    /// The name of the provider in URLs, logs and metrics: [`NAME`], unless it is a fake one.
    pub name: &'static str,
    /// The URL of the API: [`API_URL`], or a fake provider on this machine.
    pub api_url: String,
    /// The secret or restricted API key. It is sent unencrypted to this machine only, unless it is [`FAKE_KEY`].
    pub key: SecretString,
    /// The secrets of the webhook endpoint: two while one is being replaced. Without any, all notices are refused.
    pub webhook_secrets: Vec<SecretString>,
    /// Where customers return after they have authenticated themselves. Without it, a payment that needs authentication
    /// is declined.
    pub return_url: Option<String>,
    /// How long an answer may take, in milliseconds.
    pub answer_ms_max: u64,
}

/// The adapter for Stripe.
pub struct Stripe {
    name: &'static str,
    api: Api,
    webhook_secrets: Vec<SecretString>,
    return_url: Option<String>,
    /// Whether the key's account is known, and so compared with the one that the shop is paid through.
    knows_account: AtomicBool,
}

/// What to do with an intent that was never confirmed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unconfirmed {
    Confirm,
    Leave,
}

impl Stripe {
    /// An adapter with this configuration. It sends no request yet.
    ///
    /// # Errors
    /// The URL is not valid, or the API key must not be sent to it; the API key is not valid.
    pub fn new(config: StripeConfig) -> Result<Self, ClientError> {
        let StripeConfig { name, api_url, key, webhook_secrets, return_url, answer_ms_max } = config;
        let (api, knows_account) = (Api::new(&api_url, &key, answer_ms_max)?, AtomicBool::new(false));
        Ok(Self { name, api, webhook_secrets, return_url, knows_account })
    }

    async fn pay_for(&self, payment: Payment) -> Result<PaymentState, Unknown> {
        let intent = match &payment.reference {
            Some(reference) => self.api.intent(reference).await?,
            None => match self.api.create(&payment).await {
                Ok(created) if created.is_replay => self.api.intent(&created.intent.id).await?,
                Ok(created) => created.intent,
                Err(ApiError::Stored(_)) => match self.look_everywhere(&payment).await? {
                    Some(intent) => intent,
                    // None can be created under this key any more, and an intent that is not confirmed moves no money.
                    None => return Ok(PaymentState::Declined { reason: "processing_error".into() }),
                },
                // There is no intent, so nothing could ever be confirmed.
                Err(error) => {
                    return error.refusal().map(|reason| PaymentState::Declined { reason }).ok_or_else(|| error.into());
                }
            },
        };
        self.settle(intent, &payment, Unconfirmed::Confirm).await
    }

    /// The state of an intent. Confirms it first if necessary, and cancels it if it failed.
    async fn settle(
        &self,
        intent: Intent,
        payment: &Payment,
        unconfirmed: Unconfirmed,
    ) -> Result<PaymentState, Unknown> {
        let currency = payment.amount.currency;
        let mut stage = intent.stage(currency)?;
        if matches!(stage, Stage::Unconfirmed) && unconfirmed == Unconfirmed::Confirm {
            let key = payment.key(Operation::Charge);
            stage = match self.api.confirm(&intent.id, key, self.return_url.as_deref()).await {
                Ok(confirmed) => confirmed.stage(currency)?,
                Err(ApiError::Refused(_, error)) if error.kind() == "card_error" => {
                    Stage::Failed(error.reason().unwrap_or_else(|| "declined".into()))
                }
                // It cannot be confirmed under this key any more. If it was not, it is cancelled for another attempt.
                Err(ApiError::Stored(_)) => match self.api.intent(&intent.id).await?.stage(currency)? {
                    Stage::Unconfirmed => Stage::Failed("processing_error".into()),
                    stage => stage,
                },
                Err(error) => match error.refusal() {
                    // It may have been confirmed before, by a request whose answer was lost.
                    Some(reason) => match self.api.intent(&intent.id).await?.stage(currency)? {
                        Stage::Unconfirmed => Stage::Failed(reason),
                        stage => stage,
                    },
                    None => return Err(error.into()),
                },
            };
        }
        match stage {
            Stage::Stands(state) => Ok(state),
            Stage::Failed(reason) => {
                // Definite only after this: nobody can confirm it again.
                self.cancel(&intent.id, currency).await?;
                Ok(PaymentState::Declined { reason })
            }
            Stage::Unconfirmed => Err(Unknown::new(format!("{} was created, but is not confirmed", intent.id))),
        }
    }

    /// Cancels an intent.
    async fn cancel(&self, id: &str, currency: Currency) -> Result<PaymentState, Unknown> {
        let intent = self.api.cancel(id).await?;
        match intent.stage(currency)? {
            Stage::Stands(state) if intent.is_canceled() => Ok(state),
            _ => Err(Unknown::new(format!("{id} could not be cancelled"))),
        }
    }

    /// The intent of a payment whose id is not known.
    ///
    /// Stripe's search lags behind by a minute, at times by an hour. That is enough here: for a day, the request that
    /// creates an intent finds it again under its key, and the search finds older ones. Stripe refuses searches of
    /// merchants in India; for them the newest payments are read, up to a limit.
    async fn look_up(&self, payment: &Payment) -> Result<Option<Intent>, Unknown> {
        match self.api.search(payment).await {
            Ok(found) => self.one_of(found, payment).await,
            Err(ApiError::Refused(..)) => self.read_newest(payment).await,
            Err(error) => Err(error.into()),
        }
    }

    /// The same, and if the search does not find it, by the list of payments, which is never out of date.
    async fn look_everywhere(&self, payment: &Payment) -> Result<Option<Intent>, Unknown> {
        match self.look_up(payment).await? {
            Some(intent) => Ok(Some(intent)),
            None => self.read_newest(payment).await,
        }
    }

    /// The intent of a payment among those found: the one that is not cancelled.
    async fn one_of(&self, found: Vec<Intent>, payment: &Payment) -> Result<Option<Intent>, Unknown> {
        let (over, mut live): (Vec<_>, Vec<_>) =
            found.into_iter().filter(|intent| is_of(intent, payment)).partition(Intent::is_canceled);
        let Some(intent) = live.pop().or_else(|| over.into_iter().next()) else { return Ok(None) };
        if let Some(other) = live.pop() {
            return Err(Unknown::new(format!("{} and {} are of the same attempt", intent.id, other.id)));
        }
        // A search result may be out of date.
        Ok(Some(self.api.intent(&intent.id).await?))
    }

    /// Reads the newest payments, back to when this one was requested.
    async fn read_newest(&self, payment: &Payment) -> Result<Option<Intent>, Unknown> {
        let since = (payment.requested_at.0 / 1_000).saturating_sub(CLOCK_SLACK_SECONDS);
        let mut after = None;
        for _ in 0..LOOK_PAGES_MAX {
            let page = self.api.intents(&[], after.as_deref()).await?;
            let last = page.data.last().map(|last| (last.id.clone(), last.created));
            let own: Vec<_> = page.data.into_iter().filter(|intent| is_of(intent, payment)).collect();
            if !own.is_empty()
                || !page.has_more
                || last.as_ref().is_some_and(|(_, created)| created.is_some_and(|created| created < since))
            {
                return self.one_of(own, payment).await;
            }
            after = last.map(|(id, _)| id);
        }
        Err(Unknown::new("the payment cannot be searched, and is not among the newest"))
    }

    async fn find_payment(&self, payment: Payment) -> Result<Option<PaymentState>, Unknown> {
        if payment.reference.is_none()
            && let Err(refused) = money::charge_of(payment.amount)
        {
            return Ok(Some(PaymentState::Declined { reason: refused.code().to_owned() }));
        }
        let intent = match &payment.reference {
            Some(reference) => match self.api.intent(reference).await {
                Ok(intent) => Some(intent),
                // Another account may have it.
                Err(ApiError::Refused(_, error)) if error.is_missing() && self.knows_account.load(Relaxed) => None,
                Err(error) => return Err(error.into()),
            },
            None => self.look_up(&payment).await?,
        };
        match intent {
            Some(intent) => self.settle(intent, &payment, Unconfirmed::Leave).await.map(Some),
            None => Ok(None),
        }
    }

    async fn capture_held(&self, payment: Payment) -> Result<PaymentState, Unknown> {
        let intent = match &payment.reference {
            Some(reference) => self.api.intent(reference).await?,
            None => self.look_up(&payment).await?.ok_or_else(|| Unknown::new("Stripe has no payment to capture"))?,
        };
        if !matches!(intent.stage(payment.amount.currency)?, Stage::Stands(PaymentState::Authorised { .. })) {
            return self.settle(intent, &payment, Unconfirmed::Leave).await;
        }
        let mut captured = self.api.capture(&intent.id, Some(payment.key(Operation::Capture))).await;
        if let Err(ApiError::Stored(_)) = captured {
            // Under its key this comes again. Without one it is done once as well: what is captured is not held.
            captured = self.api.capture(&intent.id, None).await;
        }
        let captured = match captured {
            Ok(captured) => captured,
            // It was captured or cancelled meanwhile, or is not held any longer.
            Err(ApiError::Refused(..)) => self.api.intent(&intent.id).await?,
            Err(error) => return Err(error.into()),
        };
        self.settle(captured, &payment, Unconfirmed::Leave).await
    }

    async fn void_payment(&self, payment: Payment) -> Result<PaymentState, Unknown> {
        if payment.reference.is_none() && money::charge_of(payment.amount).is_err() {
            // The provider was never asked for it.
            return Ok(PaymentState::Voided { reference: None });
        }
        let known = match &payment.reference {
            Some(reference) => Some(self.api.intent(reference).await?),
            None => self.look_up(&payment).await?,
        };
        let intent = match known {
            Some(intent) => intent,
            // An intent that the search does not show yet is found under its key. If it was never created, it is
            // created now, to be cancelled.
            None => match self.api.create(&payment).await {
                Ok(created) if created.is_replay => self.api.intent(&created.intent.id).await?,
                Ok(created) => created.intent,
                Err(ApiError::Stored(_)) => match self.look_everywhere(&payment).await? {
                    Some(intent) => intent,
                    None => return Ok(PaymentState::Voided { reference: None }),
                },
                // What does not exist for this key may exist for the one that the payment was made with.
                Err(error) if error.is_missing() && !self.knows_account.load(Relaxed) => return Err(error.into()),
                // It cannot be created, so it was not created; and an intent that the shop does not confirm moves no
                // money.
                Err(error) if error.refusal().is_some() => return Ok(PaymentState::Voided { reference: None }),
                Err(error) => return Err(error.into()),
            },
        };
        let currency = payment.amount.currency;
        match intent.stage(currency)? {
            Stage::Stands(state) if state.is_final() => Ok(state),
            _ => self.cancel(&intent.id, currency).await,
        }
    }

    async fn refund_once(&self, repayment: Repayment) -> Result<RefundState, Unknown> {
        if let Some(reference) = &repayment.reference {
            return self.api.refund(reference).await?.state(&repayment);
        }
        // The key works for a day, the list always; and unlike a search, a list is never out of date.
        let made = self.api.refunds(&repayment.payment).await?;
        if let Some(refund) = made.data.iter().find(|refund| refund.is_of(&repayment)) {
            return refund.state(&repayment);
        }
        if made.has_more {
            return Err(Unknown::new("the payment has more refunds than can be read"));
        }
        match self.api.create_refund(&repayment).await {
            Ok(refund) => refund.state(&repayment),
            // Refused for its content, or for the state of the payment.
            Err(error) => error.refusal().map(|reason| RefundState::Failed { reason }).ok_or_else(|| error.into()),
        }
    }

    /// The payment with this id, and how much of it was refunded.
    async fn look_up_reference(&self, reference: &str) -> Result<Option<ProviderPayment>, Unknown> {
        match self.api.intent_with_charge(reference).await {
            Ok(intent) => intent.report(),
            Err(ApiError::Refused(StatusCode::NOT_FOUND, _)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn page(&self, since: Timestamp, until: Timestamp, after: Option<String>) -> Result<PaymentsPage, Unknown> {
        // Stripe counts seconds. Payments of a second that is only partly asked for are included: twice is better than
        // never.
        let (since, until) = ((since.0 / 1_000).to_string(), until.0.div_ceil(1_000).to_string());
        let filter = [("created[gte]", &*since), ("created[lt]", &until), ("expand[]", "data.latest_charge")];
        let page = self.api.intents(&filter, after.as_deref()).await?;
        let last = page.data.last().map(|last| last.id.clone());
        if page.has_more && (last.is_none() || last == after) {
            return Err(Unknown::new("the list of payments continues, but without a cursor"));
        }
        let (mut payments, mut unreadable) = (Vec::new(), Vec::new());
        for intent in &page.data {
            match intent.report() {
                Ok(payment) => payments.extend(payment),
                Err(unknown) => unreadable.push(unknown),
            }
        }
        Ok(PaymentsPage { payments, unreadable, next: last.filter(|_| page.has_more) })
    }
}

/// The money of an amount as Stripe counts it, such as in the ledger of the fake provider that speaks its API; `None`
/// where it is none that the shop could have asked for.
#[cfg(feature = "cli")]
pub(crate) fn money_of(amount: u64, currency: Currency) -> Option<Money> {
    money::money_of(amount, currency).ok()
}

fn is_of(intent: &Intent, payment: &Payment) -> bool {
    intent.of() == Some((payment.order, payment.attempt))
}

impl Gateway for Stripe {
    fn name(&self) -> &'static str {
        self.name
    }

    fn account(&self) -> Answer<'_, Option<String>> {
        async {
            let account = self.api.account().await?;
            self.knows_account.store(account.is_some(), Relaxed);
            if account.is_none() {
                tracing::warn!(
                    provider = self.name,
                    "the provider's key may not read its own account, so a key of another account would go unnoticed"
                );
            }
            Ok(account)
        }
        .boxed()
    }

    fn check_amount(&self, amount: Money) -> Result<(), AmountRefused> {
        money::charge_of(amount).map(drop)
    }

    fn pay(&self, payment: Payment) -> Answer<'_, PaymentState> {
        self.pay_for(payment).boxed()
    }

    fn find(&self, payment: Payment) -> Answer<'_, Option<PaymentState>> {
        self.find_payment(payment).boxed()
    }

    fn look_up(&self, reference: String) -> Answer<'_, Option<ProviderPayment>> {
        async move { self.look_up_reference(&reference).await }.boxed()
    }

    fn capture(&self, payment: Payment) -> Answer<'_, PaymentState> {
        self.capture_held(payment).boxed()
    }

    fn void(&self, payment: Payment) -> Answer<'_, PaymentState> {
        self.void_payment(payment).boxed()
    }

    fn refund(&self, repayment: Repayment) -> Answer<'_, RefundState> {
        self.refund_once(repayment).boxed()
    }

    fn list_payments(&self, since: Timestamp, until: Timestamp, after: Option<String>) -> Answer<'_, PaymentsPage> {
        self.page(since, until, after).boxed()
    }

    fn signature_header(&self) -> &'static str {
        "stripe-signature"
    }

    fn notice(&self, signature: &str, body: &[u8], now: Timestamp) -> Result<Notice, NoticeRefused> {
        signature::verify(signature, &self.webhook_secrets, body, now)?;
        notice::read(body)
    }
}
