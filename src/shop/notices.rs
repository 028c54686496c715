//! What the payment provider announces by itself: a hint that there is news, durable before it is acknowledged.
//!
//! A notice never says what is true: the order remembers that it has been hinted at, and the checkout asks the provider. So the order
//! in which notices come, how often and how late, makes no difference, and a forged one only costs a question. What
//! names no order of ours is kept for an operator. Depends on the rooms below.

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
    planted::{Bug, planted},
};

/// How long the provider may take to say which order a payment is of, in milliseconds: it waits for our answer meanwhile.
const LOOK_UP_MS_MAX: u64 = 5_000;

impl Shop {
    /// The header in which the provider of this name signs its notices.
    ///
    /// # Errors
    /// [`Error::NotFound`]: another provider is asked for the money.
    pub fn signature_header(&self, provider: &str) -> Result<&'static str, Error> {
        let gateway = &self.0.gateway;
        if gateway.name() == provider { Ok(gateway.signature_header()) } else { Err(Error::NotFound("provider")) }
    }

    /// Takes a notice. When this returns, it is durable, or there was nothing to remember.
    ///
    /// # Errors
    /// [`Error::Notice`] where its signature does not hold or it cannot be read; otherwise the provider may send it again.
    pub async fn take_notice(&self, provider: &str, signature: &str, body: &[u8]) -> Result<(), Error> {
        self.signature_header(provider)?;
        let now = self.0.clock.now();
        let notice = self.0.gateway.notice(signature, body, now).map_err(|refused| match refused {
            NoticeRefused::NotSetUp => Error::NotFound("provider"),
            refused => Error::Notice(refused),
        })?;
        if planted(Bug::NoticeDropped) {
            return Ok(());
        }
        match (notice.of, &notice.subject) {
            (Some((order, about)), _) => self.hear(order, about, &notice).await,
            // These name the payment, not the order; the provider knows which order that payment was made for.
            (None, NoticeSubject::Dispute | NoticeSubject::DisputeEnded { .. } | NoticeSubject::Refund) => {
                match self.order_of(&notice).await? {
                    Some((order, attempt)) => self.hear(order, About::Attempt(attempt), &notice).await,
                    None if notice.subject == NoticeSubject::Refund => Ok(()),
                    None => self.keep(&notice).await,
                }
            }
            // Providers announce much that is no business of an order.
            (None, NoticeSubject::Payment) => Ok(()),
        }
    }

    /// The order and the attempt that the payment of a notice was made for.
    ///
    /// # Errors
    /// [`Error::Unknown`] where the provider does not say: nothing is remembered then, and it sends the notice again.
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

    async fn hear(&self, order: OrderId, about: About, notice: &Notice) -> Result<(), Error> {
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
                // What changes nothing costs no question, and does not put off the next one.
                if accepted.view.next_step().is_some_and(|step| step.asks_provider()) {
                    // A repetition has brought nothing, so what it saw may have been asked about since.
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
