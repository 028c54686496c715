//! Paying an order.
//!
//! Depends on the rooms below.

use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    Error, Shop,
    orders::{Done, OrderPage},
};
use crate::{
    actors::reply::Effect,
    domain::{
        ids::{OrderId, RequestKey},
        order::{Attempt, CaptureMode, Command, PaymentState, Status},
    },
    identity::Principal,
};

/// What came of a payment.
#[derive(Debug, Clone)]
pub struct PaymentPage {
    /// The order, as durable.
    pub order: OrderPage,
    /// The attempt that the request made, or joined.
    pub attempt: Attempt,
    /// What came of it.
    pub result: PaymentResult,
}

/// What came of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentResult {
    /// The money is captured, and the order is or will be confirmed; or it is held, where it is captured later.
    Success,
    /// Nothing was charged.
    Fail,
    /// Not known yet: look at the order again, or repeat the request.
    Pending,
}

impl Shop {
    /// Pays an order. The intent is durable before the provider is asked, so a repeat (or a crash) never charges twice: with
    /// a key it finds its attempt, without one it joins the pending attempt or finds the order paid.
    ///
    /// # Errors
    /// The order's rejection: already paid by another request, another payment pending, too late, too many attempts.
    pub async fn pay(
        &self,
        who: &Principal,
        id: OrderId,
        method: &str,
        key: Option<&str>,
    ) -> Result<Done<PaymentPage>, Error> {
        self.begin_payment(who, id, method, key).await?.outcome().await
    }

    /// As [`Shop::pay`], up to where the provider is asked: the intent is durable, and what remains is waiting.
    ///
    /// # Errors
    /// As [`Shop::pay`].
    pub async fn begin_payment(
        &self,
        who: &Principal,
        id: OrderId,
        method: &str,
        key: Option<&str>,
    ) -> Result<Paying, Error> {
        // Sellers and admins may look at an order, but only its customer pays it.
        let page = self.own_order(who, id).await?;
        if page.order.status() == Some(Status::Placed) {
            return Err(Error::CheckoutInProgress(id));
        }
        let key = match key {
            Some(key) => Some(self.requests_of(who).with_key("payment", key, format!("{id}:{method}").as_bytes())?),
            None => None,
        };
        let capture = if self.config().payments.capture_later { CaptureMode::Later } else { CaptureMode::AtOnce };
        let request = Command::RequestPayment { method: method.to_owned(), key, capture };
        let (begun, accepted) = oneshot::channel();
        let shop = self.clone();
        let driven = tokio::spawn(async move { shop.tell_and_drive_from(id, request, begun).await });
        let effect = accepted.await.map_err(|_| Error::Unknown)??;
        // Who waits for a slow disk is at work; who waits for the provider is not.
        let _ = self.0.journal.barrier().await;
        Ok(Paying { shop: self.clone(), id, key, effect, driven })
    }
}

/// A payment that the provider is being asked for.
pub struct Paying {
    shop: Shop,
    id: OrderId,
    key: Option<RequestKey>,
    effect: Effect,
    driven: JoinHandle<()>,
}

impl Paying {
    /// What came of it, for as long as a request may wait for that.
    ///
    /// # Errors
    /// A fault of the storage.
    pub async fn outcome(self) -> Result<Done<PaymentPage>, Error> {
        let Self { shop, id, key, effect, driven } = self;
        driven.await.map_err(|_| Error::Unknown)?;
        let order = shop.0.runtime.entities.orders.read(&id).await?.view;
        let attempt = order.attempt_of(key).cloned().ok_or(Error::Unknown)?;
        let result = match &attempt.state {
            Some(PaymentState::Captured { .. } | PaymentState::Authorised { .. }) => PaymentResult::Success,
            Some(PaymentState::Declined { .. } | PaymentState::Voided { .. }) => PaymentResult::Fail,
            None | Some(PaymentState::ActionRequired { .. } | PaymentState::Processing { .. }) => {
                PaymentResult::Pending
            }
        };
        Ok(Done { outcome: PaymentPage { order: OrderPage { id, order }, attempt, result }, effect })
    }
}

impl Shop {
    /// Gives up a payment that waits for its customer, so that they can pay otherwise.
    ///
    /// # Errors
    /// The order's rejection: the payment is not one that waits.
    pub async fn abandon_payment(&self, who: &Principal, id: OrderId) -> Result<OrderPage, Error> {
        self.own_order(who, id).await?;
        self.tell_and_drive(id, Command::AbandonPayment).await?;
        self.order(who, id).await
    }

    /// Captures what is held for an order. For admins, and for the seller of all its lines.
    ///
    /// # Errors
    /// The order's rejection: nothing is held.
    pub async fn capture(&self, who: &Principal, id: OrderId) -> Result<OrderPage, Error> {
        self.order_to_run(who, id).await?;
        self.tell_and_drive(id, Command::Capture).await?;
        self.order(who, id).await
    }
}
