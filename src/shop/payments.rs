//! Payments of orders.
//!
//! Depends on the rooms below.

use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    Error, Shop,
    once::InFlight,
    orders::{Done, OrderPage},
};
use crate::{
    actors::reply::Changed,
    domain::{
        idempotency::Fields,
        ids::{OrderId, RequestKey},
        order::{Attempt, CaptureMode, Command, PaymentState, Status},
    },
    identity::Principal,
    payments::Gateway,
};

/// The result of a payment request.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone)]
pub struct PaymentPage {
    pub order: OrderPage,
    /// The attempt that the request started or joined.
    pub attempt: Attempt,
    pub result: PaymentResult,
}

/// The result of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PaymentResult {
    /// The money is captured, and the order is or will be confirmed; or it is held, if it is captured later.
    Success,
    /// Nothing was charged.
    Fail,
    /// Not known yet: read the order later, or repeat the request.
    Pending,
}

impl Shop {
    /// Pays an order. The intent is durable before the provider is asked, so neither a repeat nor a crash charges
    /// twice: with a key the request finds its attempt, without one it joins the pending attempt or finds the order
    /// paid.
    ///
    /// # Errors
    /// The order's rejection: already paid by another request, another payment pending, too late, too many attempts.
    /// [`Error::Unknown`] where the journal fails: the next start may find the attempt and charge it.
    pub async fn pay(
        &self,
        who: &Principal,
        id: OrderId,
        method: &str,
        key: Option<&str>,
    ) -> Result<Done<PaymentPage>, Error> {
        self.begin_payment(who, id, method, key).await?.outcome().await
    }

    /// Like [`Shop::pay`], up to the request to the provider: the intent is durable, and only the outcome is missing.
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
        // Sellers and admins may see an order, but only its customer pays it.
        let page = self.own_order(who, id).await?;
        if page.order.status() == Some(Status::Placed) {
            return Err(Error::CheckoutInProgress(id));
        }
        // An order over zero needs no provider.
        if page.order.placement().is_some_and(|placement| placement.total.minor > 0) {
            self.0.gateway.check_method(method).map_err(Error::PaymentMethod)?;
        }
        let body = Fields::default().with("order", id).with("method", method);
        let key = key.map(|key| self.requests_of(who).with_key("payment", key, body.as_bytes())).transpose()?;
        let in_flight = key.map(|key| self.0.in_flight.begin(key.key ^ id.0)).transpose()?;
        let capture = if self.config().payments.capture_later { CaptureMode::Later } else { CaptureMode::AtOnce };
        let request = Command::RequestPayment { method: method.to_owned(), key, capture };
        let (begun, accepted) = oneshot::channel();
        let shop = self.clone();
        let driven = tokio::spawn(async move { shop.execute_and_drive_here(id, request, begun).await });
        let changed = accepted.await.map_err(|_| Error::Unknown)??.changed;
        // Waiting for a slow disk counts as work of this request, waiting for the provider does not. If the journal
        // fails, the attempt may be in the log all the same, and the next start then asks the provider for it.
        self.0.journal.barrier().await.map_err(|_| Error::Unknown)?;
        Ok(Paying { shop: self.clone(), id, key, changed, driven, _in_flight: in_flight })
    }
}

/// A payment whose outcome the provider has yet to tell.
pub struct Paying {
    shop: Shop,
    id: OrderId,
    key: Option<RequestKey>,
    changed: Changed,
    driven: JoinHandle<()>,
    /// A repeat is refused until the outcome was told.
    _in_flight: Option<InFlight>,
}

impl Paying {
    /// The outcome so far, after waiting as long as a request may.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn outcome(self) -> Result<Done<PaymentPage>, Error> {
        let Self { shop, id, key, changed, driven, _in_flight } = self;
        driven.await.map_err(|_| Error::Unknown)?;
        let order = shop.read_changed(id).await?.view;
        let attempt = order.attempt_of(key).cloned().ok_or(Error::Unknown)?;
        let result = match &attempt.state {
            Some(PaymentState::Captured { .. } | PaymentState::Authorised { .. }) => PaymentResult::Success,
            Some(PaymentState::Declined { .. } | PaymentState::Voided { .. }) => PaymentResult::Fail,
            None | Some(PaymentState::ActionRequired { .. } | PaymentState::Processing { .. }) => {
                PaymentResult::Pending
            }
        };
        Ok(Done { outcome: PaymentPage { order: OrderPage { id, order }, attempt, result }, changed })
    }
}

impl Shop {
    /// Gives up a payment that waits for its customer, so that they can pay in another way.
    ///
    /// # Errors
    /// The order's rejection: no payment waits for the customer.
    pub async fn abandon_payment(&self, who: &Principal, id: OrderId) -> Result<OrderPage, Error> {
        self.own_order(who, id).await?;
        Ok(self.execute_and_drive(id, Command::AbandonPayment).await?.outcome)
    }

    /// Captures an authorised payment. For admins, and for the seller of all its lines.
    ///
    /// # Errors
    /// The order's rejection: nothing is authorised.
    pub async fn capture(&self, who: &Principal, id: OrderId) -> Result<OrderPage, Error> {
        self.order_to_fulfil(who, id).await?;
        Ok(self.execute_and_drive(id, Command::Capture).await?.outcome)
    }
}
