//! Stripe: payments are its PaymentIntents, with cards.
//!
//! ```text
//!  pay      create ─▶ confirm ─▶ succeeded / requires_capture / requires_action / processing
//!                        └─▶ declined ─▶ cancel ─▶ Declined, and not before
//!  void     find, else create ─▶ cancel
//!  capture  look ─▶ capture
//!  refund   look among the payment's refunds, else refund
//! ```
//!
//! A payment takes two requests, so that money moves only where the answer to the first was read: a request that
//! arrives late can announce a payment, never make one. A payment that was declined could be confirmed again with
//! another card, so it is cancelled before it is called declined. Before anything changes money, the payment is read:
//! Stripe stores answers under their keys, errors of its own included, and repeats them for a day.
//!
//! May depend on `domain` and its neighbours.

mod api;
mod money;
mod notice;
mod objects;

use futures::FutureExt;
use reqwest::StatusCode;
use secrecy::SecretString;

use self::{
    api::{Api, Trouble},
    objects::{Intent, Stage},
};
use super::{
    AmountRefused, Answer, Booked, Gateway, Notice, NoticeRefused, Operation, Payment, PaymentsPage, Repayment,
    Unknown, client::ClientError, signature,
};
use crate::domain::{
    entity::Timestamp,
    money::{Currency, Money},
    order::{PaymentState, RefundState},
};

/// Where Stripe is.
pub const API_URL: &str = "https://api.stripe.com";
/// Its name in addresses, logs and metrics.
pub const NAME: &str = "stripe";
/// The key for a fake provider. It is no secret.
pub const FAKE_KEY: &str = "sk_test_simulator";
/// How many pages of the newest payments are looked through for one that a search could not look for.
const LOOK_PAGES_MAX: usize = 10;

/// How Stripe is asked.
#[derive(Debug, Clone)]
pub struct StripeConfig {
    /// The name of the provider in addresses, logs and metrics: [`NAME`], unless it is a fake one.
    pub name: &'static str,
    /// Where: [`API_URL`], or a stand-in on this machine.
    pub api_url: String,
    /// The secret or restricted key; it is sent in the clear to this machine only, unless it is [`FAKE_KEY`].
    pub key: SecretString,
    /// The secrets of the webhook endpoint: two while one is replaced; without any, no notice is taken.
    pub webhook_secrets: Vec<SecretString>,
    /// Where customers come back to when they have authenticated themselves; without it a payment that needs that is
    /// declined.
    pub return_url: Option<String>,
    /// How long an answer may take, in milliseconds.
    pub answer_ms_max: u64,
}

/// Stripe, as a provider.
pub struct Stripe {
    name: &'static str,
    api: Api,
    webhook_secrets: Vec<SecretString>,
    return_url: Option<String>,
}

/// What is done with a payment that was announced and never confirmed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unconfirmed {
    Confirm,
    Leave,
}

impl Stripe {
    /// Stripe as it is configured. It is not asked anything yet.
    ///
    /// # Errors
    /// The address is none, or not one to which a key may be sent; the key is none.
    pub fn new(config: StripeConfig) -> Result<Self, ClientError> {
        let StripeConfig { name, api_url, key, webhook_secrets, return_url, answer_ms_max } = config;
        Ok(Self { name, api: Api::new(&api_url, &key, answer_ms_max)?, webhook_secrets, return_url })
    }

    async fn pay_for(&self, payment: Payment) -> Result<PaymentState, Unknown> {
        let intent = match &payment.reference {
            Some(reference) => self.api.intent(reference).await?,
            None => match self.api.create(&payment).await {
                Ok(created) if created.is_replay => self.api.intent(&created.intent.id).await?,
                Ok(created) => created.intent,
                // This answer comes again for as long as the key is stored, whether or not there is an intent.
                Err(Trouble::Stored(unknown)) => self.look_up(&payment).await?.ok_or(unknown)?,
                // There is no intent, so there is nothing that could ever be confirmed.
                Err(trouble) => {
                    return trouble
                        .refusal()
                        .map(|reason| PaymentState::Declined { reason })
                        .ok_or_else(|| trouble.into());
                }
            },
        };
        self.settle(intent, &payment, Unconfirmed::Confirm).await
    }

    /// How an intent stands, after it was confirmed where it was not, and given up where it failed.
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
                Err(Trouble::Refused(_, error)) if error.kind() == "card_error" => {
                    Stage::Failed(error.reason().unwrap_or_else(|| "declined".into()))
                }
                // Under this key it cannot be confirmed any more. Where it was not, it is given up for another attempt.
                Err(Trouble::Stored(_)) => match self.api.intent(&intent.id).await?.stage(currency)? {
                    Stage::Unconfirmed => Stage::Failed("processing_error".into()),
                    stage => stage,
                },
                Err(trouble) => match trouble.refusal() {
                    // It may have been confirmed before, by a request whose answer was lost.
                    Some(reason) => match self.api.intent(&intent.id).await?.stage(currency)? {
                        Stage::Unconfirmed => Stage::Failed(reason),
                        stage => stage,
                    },
                    None => return Err(trouble.into()),
                },
            };
        }
        match stage {
            Stage::Stands(state) => Ok(state),
            Stage::Failed(reason) => {
                // Definite only now: nobody can confirm it again.
                self.give_up(&intent.id, currency).await?;
                Ok(PaymentState::Declined { reason })
            }
            Stage::Unconfirmed => Err(Unknown::new(format!("{} was announced, but is not confirmed", intent.id))),
        }
    }

    /// Cancels an intent.
    async fn give_up(&self, id: &str, currency: Currency) -> Result<PaymentState, Unknown> {
        let intent = self.api.cancel(id).await?;
        match intent.stage(currency)? {
            Stage::Stands(state) if intent.is_canceled() => Ok(state),
            _ => Err(Unknown::new(format!("{id} was to be cancelled, and is not"))),
        }
    }

    /// The intent of a payment whose name was never heard.
    ///
    /// Stripe's search lags behind: by a minute, at times by an hour. That is enough here: the request that creates an
    /// intent is repeated under its key for a day and finds it again, and the search finds what is older than that.
    /// There is no search for merchants in India; without it the newest payments are looked through, as many as can be
    /// in a reasonable time.
    async fn look_up(&self, payment: &Payment) -> Result<Option<Intent>, Unknown> {
        let found = match self.api.search(payment).await {
            Ok(found) => found,
            Err(_) => self.look_through(payment).await?,
        };
        let (over, mut live): (Vec<_>, Vec<_>) =
            found.into_iter().filter(|intent| is_of(intent, payment)).partition(Intent::is_canceled);
        let Some(intent) = live.pop().or_else(|| over.into_iter().next()) else { return Ok(None) };
        if let Some(other) = live.pop() {
            return Err(Unknown::new(format!("{} and {} are the same attempt", intent.id, other.id)));
        }
        // A search may show how it stood a while ago.
        Ok(Some(self.api.intent(&intent.id).await?))
    }

    async fn look_through(&self, payment: &Payment) -> Result<Vec<Intent>, Unknown> {
        let (mut found, mut after) = (Vec::new(), None);
        for _ in 0..LOOK_PAGES_MAX {
            let page = self.api.intents(&[], after.as_deref()).await?;
            after = page.data.last().map(|last| last.id.clone());
            found.extend(page.data.into_iter().filter(|intent| is_of(intent, payment)));
            if !found.is_empty() || !page.has_more || after.is_none() {
                return Ok(found);
            }
        }
        Err(Unknown::new("the payment cannot be searched for, and is not among the newest"))
    }

    async fn find_payment(&self, payment: Payment) -> Result<Option<PaymentState>, Unknown> {
        if payment.reference.is_none()
            && let Err(refused) = money::charge_of(payment.amount)
        {
            return Ok(Some(PaymentState::Declined { reason: refused.code().to_owned() }));
        }
        let intent = match &payment.reference {
            Some(reference) => Some(self.api.intent(reference).await?),
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
            None => self.look_up(&payment).await?.ok_or_else(|| Unknown::new("Stripe knows of nothing to capture"))?,
        };
        if !matches!(intent.stage(payment.amount.currency)?, Stage::Stands(PaymentState::Authorised { .. })) {
            return self.settle(intent, &payment, Unconfirmed::Leave).await;
        }
        let captured = match self.api.capture(&intent.id, payment.key(Operation::Capture)).await {
            Ok(captured) => captured,
            // It was captured or given up meanwhile, or is not held any longer.
            Err(Trouble::Refused(..)) => self.api.intent(&intent.id).await?,
            Err(trouble) => return Err(trouble.into()),
        };
        self.settle(captured, &payment, Unconfirmed::Leave).await
    }

    async fn void_payment(&self, payment: Payment) -> Result<PaymentState, Unknown> {
        if payment.reference.is_none() && money::charge_of(payment.amount).is_err() {
            // It was never asked for.
            return Ok(PaymentState::Voided { reference: None });
        }
        let known = match &payment.reference {
            Some(reference) => Some(self.api.intent(reference).await?),
            None => self.look_up(&payment).await?,
        };
        let intent = match known {
            Some(intent) => intent,
            // What the search does not show yet is found again under its key. Where it was never created it is now, to
            // be cancelled.
            None => match self.api.create(&payment).await {
                Ok(created) if created.is_replay => self.api.intent(&created.intent.id).await?,
                Ok(created) => created.intent,
                // It cannot be created, so it was not; and what is not confirmed by us moves no money.
                Err(Trouble::Amount(_) | Trouble::Refused(..)) => {
                    return Ok(PaymentState::Voided { reference: None });
                }
                Err(trouble) => return Err(trouble.into()),
            },
        };
        let currency = payment.amount.currency;
        match intent.stage(currency)? {
            Stage::Stands(state) if state.is_final() => Ok(state),
            _ => self.give_up(&intent.id, currency).await,
        }
    }

    async fn give_back(&self, repayment: Repayment) -> Result<RefundState, Unknown> {
        if let Some(reference) = &repayment.reference {
            return self.api.refund(reference).await?.state(&repayment);
        }
        // The key holds for a day; this holds for ever, and a list, unlike a search, is never behind.
        let made = self.api.refunds(&repayment.payment).await?;
        if let Some(refund) = made.data.iter().find(|refund| refund.is_of(&repayment)) {
            return refund.state(&repayment);
        }
        if made.has_more {
            return Err(Unknown::new("the payment has more refunds than can be looked through"));
        }
        match self.api.give_back(&repayment).await {
            Ok(refund) => refund.state(&repayment),
            // Refused for what it says or for how the payment stands.
            Err(trouble) => {
                trouble.refusal().map(|reason| RefundState::Failed { reason }).ok_or_else(|| trouble.into())
            }
        }
    }

    /// A payment by its own name, with what has gone back of it.
    async fn look_up_reference(&self, reference: &str) -> Result<Option<Booked>, Unknown> {
        match self.api.intent_with_charge(reference).await {
            Ok(intent) => intent.booked(),
            Err(Trouble::Refused(StatusCode::NOT_FOUND, _)) => Ok(None),
            Err(trouble) => Err(trouble.into()),
        }
    }

    async fn page(&self, since: Timestamp, until: Timestamp, after: Option<String>) -> Result<PaymentsPage, Unknown> {
        // Stripe counts seconds. A payment of a second that is partly asked for is shown: twice is better than never.
        let (since, until) = ((since.0 / 1_000).to_string(), until.0.div_ceil(1_000).to_string());
        let filter = [("created[gte]", &*since), ("created[lt]", &until), ("expand[]", "data.latest_charge")];
        let page = self.api.intents(&filter, after.as_deref()).await?;
        let last = page.data.last().map(|last| last.id.clone());
        if page.has_more && (last.is_none() || last == after) {
            return Err(Unknown::new("the books go on, but not from where they are"));
        }
        let lines = page.data.iter().map(Intent::booked).collect::<Result<Vec<_>, _>>()?;
        Ok(PaymentsPage { payments: lines.into_iter().flatten().collect(), next: last.filter(|_| page.has_more) })
    }
}

fn is_of(intent: &Intent, payment: &Payment) -> bool {
    intent.of() == Some((payment.order, payment.attempt))
}

impl Gateway for Stripe {
    fn name(&self) -> &'static str {
        self.name
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

    fn look_up(&self, reference: String) -> Answer<'_, Option<Booked>> {
        async move { self.look_up_reference(&reference).await }.boxed()
    }

    fn capture(&self, payment: Payment) -> Answer<'_, PaymentState> {
        self.capture_held(payment).boxed()
    }

    fn void(&self, payment: Payment) -> Answer<'_, PaymentState> {
        self.void_payment(payment).boxed()
    }

    fn refund(&self, repayment: Repayment) -> Answer<'_, RefundState> {
        self.give_back(repayment).boxed()
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
