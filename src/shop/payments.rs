//! Paying an order.
//!
//! Depends on the rooms below.

use super::{
    Error, Shop,
    orders::{Done, OrderPage},
};
use crate::{
    domain::{
        ids::OrderId,
        order::{Attempt, Command, PaymentOutcome, Status},
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
    /// The money is captured; the order is or will be confirmed.
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
        let page = self.order(who, id).await?;
        // Sellers and admins may look at an order, but only its customer pays it.
        if page.order.placement().is_none_or(|placement| placement.customer != who.user) {
            return Err(Error::NotFound("order"));
        }
        if page.order.status() == Some(Status::Placed) {
            return Err(Error::CheckoutInProgress(id));
        }
        let key = match key {
            Some(key) => Some(self.request_key("payment", who.user, key, format!("{id}:{method}").as_bytes())?),
            None => None,
        };
        let request = Command::RequestPayment { method: method.to_owned(), key };
        let effect = self.tell_and_drive(id, request).await?.effect;
        let order = self.0.orders.read(&id).await?.view;
        let attempt = order.attempt_of(key).cloned().ok_or(Error::Unknown)?;
        let result = match &attempt.outcome {
            Some(PaymentOutcome::Captured { .. }) => PaymentResult::Success,
            Some(PaymentOutcome::Declined { .. }) => PaymentResult::Fail,
            None => PaymentResult::Pending,
        };
        Ok(Done { outcome: PaymentPage { order: OrderPage { id, order }, attempt, result }, effect })
    }
}
