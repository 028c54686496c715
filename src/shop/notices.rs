//! Notices of the payment provider. A notice is a hint that something has changed, and is durable before it is
//! acknowledged.
//!
//! The shop never believes its content: the order records that there was a notice, and the checkout asks the provider.
//! So it does not matter in which order notices come, how often and how late, and a forged one costs one request at
//! most. A notice without an order of ours is kept for an operator. Depends on the rooms below.

use std::time::Duration;

use super::{Error, Shop};
use crate::{
    actors::reply::{AskError, Effect},
    domain::{
        ids::OrderId,
        order::{About, Command, IssueKind, Poll, Rejection},
        unmatched_notices::{self, Day, UnmatchedNotice},
    },
    payments::{Gateway, Notice, NoticeRefused, NoticeSubject},
};

/// How long the provider may take to tell to which order a payment belongs, in milliseconds: it waits for our answer
/// meanwhile.
const LOOK_UP_MS_MAX: u64 = 5_000;

impl Shop {
    /// The header in which the provider of this name signs its notices.
    ///
    /// # Errors
    /// [`Error::NotFound`]: another provider is configured.
    pub fn signature_header(&self, provider: &str) -> Result<&'static str, Error> {
        let gateway = &self.0.gateway;
        if gateway.name() == provider { Ok(gateway.signature_header()) } else { Err(Error::NotFound("provider")) }
    }

    /// Receives a notice. When this returns, it is durable, or there was nothing to record.
    ///
    /// # Errors
    /// [`Error::Notice`] if its signature is wrong or it cannot be read; after any other error the provider may send it
    /// again.
    pub async fn take_notice(&self, provider: &str, signature: &str, body: &[u8]) -> Result<(), Error> {
        self.signature_header(provider)?;
        let now = self.0.clock.now();
        let notice = self.0.gateway.notice(signature, body, now).map_err(|refused| match refused {
            NoticeRefused::NotSetUp => Error::NotFound("provider"),
            refused => Error::Notice(refused),
        })?;
        match (notice.of, &notice.subject) {
            (Some((order, about)), _) => self.record_hint(order, about, &notice).await,
            // These name the payment, not the order; the provider knows to which order the payment belongs.
            (None, NoticeSubject::Dispute | NoticeSubject::DisputeEnded { .. } | NoticeSubject::Refund) => {
                match self.order_of(&notice).await? {
                    Some((order, attempt)) => self.record_hint(order, About::Attempt(attempt), &notice).await,
                    None if notice.subject == NoticeSubject::Refund => Ok(()),
                    None => self.keep(&notice).await,
                }
            }
            // A payment without an order of ours: providers send notices about much else.
            (None, NoticeSubject::Payment) => Ok(()),
        }
    }

    /// The order and the attempt to which the payment of a notice belongs.
    ///
    /// # Errors
    /// [`Error::Unknown`] if the provider does not tell: then nothing is recorded, and the provider sends the notice
    /// again.
    async fn order_of(&self, notice: &Notice) -> Result<Option<(OrderId, u32)>, Error> {
        let Some(payment) = notice.payment.clone() else { return Ok(None) };
        let found = tokio::time::timeout(Duration::from_millis(LOOK_UP_MS_MAX), self.0.gateway.look_up(payment)).await;
        match found {
            Ok(Ok(booked)) => Ok(booked.and_then(|booked| booked.of)),
            Ok(Err(unknown)) => {
                tracing::warn!(
                    id = notice.id,
                    problem = unknown.problem,
                    "the order of a notice could not be looked up"
                );
                Err(Error::Unknown)
            }
            Err(_) => Err(Error::Unknown),
        }
    }

    async fn record_hint(&self, order: OrderId, about: About, notice: &Notice) -> Result<(), Error> {
        let hash = self.0.identity.hash_u128("notice", &[notice.id.as_bytes()]);
        let name = u64::try_from(hash >> 64).ok();
        let payment = || notice.payment.as_ref().or(notice.reference.as_ref()).cloned().unwrap_or_default();
        let command = match (&notice.subject, about) {
            (NoticeSubject::Dispute, _) => {
                Command::RaiseIssue { kind: IssueKind::Disputed { reference: payment() }, notice: name }
            }
            (NoticeSubject::DisputeEnded { outcome }, _) => {
                let kind = IssueKind::DisputeEnded { reference: payment(), outcome: outcome.clone() };
                Command::RaiseIssue { kind, notice: name }
            }
            (NoticeSubject::Refund, About::Attempt(attempt)) => {
                Command::Notify { about: About::Refunds(attempt), notice: name }
            }
            (NoticeSubject::Refund | NoticeSubject::Payment, about) => Command::Notify { about, notice: name },
        };
        match self.0.runtime.entities.orders.ask(&order, command).await {
            Ok(accepted) => {
                // A notice that changes nothing causes no request to the provider, and does not delay the next one.
                if accepted.view.next_step().is_some_and(|step| step.asks_provider()) {
                    // After a repeated notice the state that it saw may be outdated.
                    let known = (accepted.effect == Effect::Changed).then_some(accepted.view);
                    let checkout = self.0.runtime.checkout.clone();
                    tokio::spawn(async move { checkout.drive(order, known, Poll::IfNeeded).await });
                }
                Ok(())
            }
            Err(AskError::Rejected(Rejection::NotFound | Rejection::WrongStatus { .. })) => self.keep(notice).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn keep(&self, notice: &Notice) -> Result<(), Error> {
        let order = notice.of.map(|(order, _)| order.to_string()).unwrap_or_default();
        let now = self.0.clock.now();
        let kept = UnmatchedNotice::new(&notice.what, notice.reference.as_deref().unwrap_or_default(), &order, now);
        let id = self.0.identity.hash_u128("notice", &[self.0.gateway.name().as_bytes(), notice.id.as_bytes()]);
        self.0
            .runtime
            .entities
            .unmatched_notices
            .ask(&Day::to_keep(notice.at, now), unmatched_notices::Command::Keep { id, notice: kept })
            .await?;
        Ok(())
    }
}
