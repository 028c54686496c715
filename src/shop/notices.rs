//! Notices of the payment provider. A notice is a hint that something has changed, and is durable before it is
//! acknowledged.
//!
//! The shop never believes its content: the order records that there was a notice, and the checkout asks the provider.
//! So it does not matter in which order notices come, how often and how late, and a forged one costs one request at
//! most. A notice without an order of ours is kept for an operator. One that names only its payment is kept, too, while
//! the provider cannot be asked about it, and the reconciler looks it up later. Depends on the rooms below.

use std::time::Duration;

use super::{Error, Missing, Shop};
use crate::{
    actors::reply::{AskError, Changed},
    domain::{
        ids::OrderId,
        order::{About, Poll, Rejection},
        unmatched_notices::{self, Day, LookUp, UnmatchedNotice},
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
        if gateway.name() == provider {
            Ok(gateway.signature_header())
        } else {
            Err(Error::NotFound(Missing::Provider))
        }
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
            NoticeRefused::NotSetUp => Error::NotFound(Missing::Provider),
            refused => Error::Notice(refused),
        })?;
        match (notice.of, &notice.subject) {
            (Some((order, about)), _) => self.record_hint(order, about, &notice).await,
            // These name the payment, not the order; the provider knows which order that payment was made for.
            (None, NoticeSubject::Dispute { .. } | NoticeSubject::DisputeEnded { .. } | NoticeSubject::Refund) => {
                let is_refund = notice.subject == NoticeSubject::Refund;
                let Some(payment) = &notice.payment else {
                    return if is_refund { Ok(()) } else { self.keep(&notice, None).await };
                };
                let limit = Duration::from_millis(LOOK_UP_MS_MAX);
                match tokio::time::timeout(limit, self.0.gateway.look_up(payment.clone())).await {
                    Ok(Ok(found)) => match found.and_then(|payment| payment.of) {
                        Some((order, attempt)) => self.record_hint(order, About::Attempt(attempt), &notice).await,
                        None if is_refund => Ok(()),
                        None => self.keep(&notice, None).await,
                    },
                    Ok(Err(_)) | Err(_) => {
                        let (payment, subject) = (payment.clone(), notice.subject.clone());
                        self.keep(&notice, Some(LookUp { payment, subject })).await
                    }
                }
            }
            // A payment without an order of ours: providers send notices about much else.
            (None, NoticeSubject::Payment) => Ok(()),
        }
    }

    /// The name of a notice here.
    fn name_of(&self, notice: &Notice) -> u128 {
        self.0.identity.hash_u128("notice", &[self.0.gateway.name().as_bytes(), notice.id.as_bytes()])
    }

    async fn record_hint(&self, order: OrderId, about: About, notice: &Notice) -> Result<(), Error> {
        let command = notice.subject.command(about, Some(unmatched_notices::id_in_order(self.name_of(notice))));
        match self.0.runtime.entities.orders.ask(&order, command).await {
            Ok(accepted) => {
                // A notice that changes nothing causes no request to the provider, and does not delay the next one.
                if accepted.view.next_step().is_some_and(|step| step.calls_provider()) {
                    // After a repeated notice the state that it saw may be outdated.
                    let known = (accepted.changed == Changed::Yes).then_some(accepted.view);
                    let checkout = self.0.runtime.checkout.clone();
                    tokio::spawn(async move { checkout.drive(order, known, Poll::IfNeeded).await });
                }
                Ok(())
            }
            Err(AskError::Rejected(Rejection::NotFound | Rejection::WrongStatus { .. })) => {
                self.keep(notice, None).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn keep(&self, notice: &Notice, look_up: Option<LookUp>) -> Result<(), Error> {
        let order = notice.of.map(|(order, _)| order.to_string()).unwrap_or_default();
        let now = self.0.clock.now();
        let reference = notice.reference.as_deref().unwrap_or_default();
        let kept = UnmatchedNotice { look_up, ..UnmatchedNotice::new(&notice.what, reference, &order, now) };
        let keep = unmatched_notices::Command::Keep { id: self.name_of(notice), notice: kept };
        self.0.runtime.entities.unmatched_notices.ask(&Day::to_keep(notice.at, now), keep).await?;
        Ok(())
    }
}
