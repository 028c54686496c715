//! Refunds by sellers and admins, and returns by customers.
//!
//! Depends on the rooms below.

use super::{
    Error, Missing, Shop, access,
    orders::{Done, OrderPage},
};
use crate::{
    domain::{
        idempotency::Fields,
        ids::{OrderId, ProductId},
        order::{Command, Order, RefundRequest, Restock, Shipping, Units},
    },
    identity::Principal,
};

/// Units of a product.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemUnits {
    /// A product of the order.
    pub product: ProductId,
    pub quantity: u32,
}

/// A request for a refund.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RefundAsked {
    /// The units; with no units and no shipping, everything that is left.
    pub items: Vec<ItemUnits>,
    pub shipping: Shipping,
    /// Whether the units return to stock; `None`: only if they are not shipped yet.
    pub restock: Option<Restock>,
    pub reason: String,
}

/// A decision about a return.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReturnDecision {
    /// The goods were received and are refunded.
    Receive { restock: Restock },
    /// The goods are not accepted.
    Reject { note: String },
}

impl Shop {
    /// Refunds units of an order, and waits for the provider for a while. An order has one refund at a time. With a
    /// key, a repeat refunds nothing more.
    ///
    /// # Errors
    /// The order's rejection: more than is left, another refund in progress, not paid.
    pub async fn refund(
        &self,
        who: &Principal,
        id: OrderId,
        asked: &RefundAsked,
        key: Option<&str>,
    ) -> Result<Done<OrderPage>, Error> {
        let page = self.order_to_fulfil(who, id).await?;
        let lines = units(&page.order, &asked.items)?;
        let body = fields(id, &lines)
            .with("shipping", asked.shipping == Shipping::Included)
            .with_some("restock", asked.restock.map(|restock| restock == Restock::Yes))
            .with("reason", &asked.reason);
        let key = key.map(|key| self.requests_of(who).with_key("refund", key, body.as_bytes())).transpose()?;
        let _in_flight = key.map(|key| self.0.in_flight.begin(key.key ^ id.0)).transpose()?;
        let RefundAsked { shipping, restock, ref reason, .. } = *asked;
        let request = RefundRequest { lines, shipping, restock, reason: reason.clone(), by: who.user, key };
        self.execute_and_drive(id, Command::Refund(request)).await
    }

    /// Requests a return. For the order's customer, after shipment. With a key, a repeat requests nothing more.
    ///
    /// # Errors
    /// The order's rejection: more than is left, not shipped yet.
    pub async fn request_return(
        &self,
        who: &Principal,
        id: OrderId,
        items: &[ItemUnits],
        reason: &str,
        key: Option<&str>,
    ) -> Result<Done<OrderPage>, Error> {
        let page = self.own_order(who, id).await?;
        let (lines, reason) = (units(&page.order, items)?, reason.to_owned());
        let body = fields(id, &lines).with("reason", &reason);
        let key = key.map(|key| self.requests_of(who).with_key("return", key, body.as_bytes())).transpose()?;
        let _in_flight = key.map(|key| self.0.in_flight.begin(key.key ^ id.0)).transpose()?;
        let accepted = self.0.runtime.entities.orders.ask(&id, Command::RequestReturn { lines, reason, key }).await?;
        Ok(Done { outcome: OrderPage { id, order: accepted.view }, changed: accepted.changed })
    }

    /// Decides a return. For admins, and for the seller of all lines.
    ///
    /// # Errors
    /// The order's rejection: no such return, or already decided.
    pub async fn decide_return(
        &self,
        who: &Principal,
        id: OrderId,
        number: u32,
        decision: ReturnDecision,
    ) -> Result<OrderPage, Error> {
        self.order_to_fulfil(who, id).await?;
        match decision {
            ReturnDecision::Receive { restock } => {
                let command = Command::ReceiveReturn { number, restock, by: who.user };
                Ok(self.execute_and_drive(id, command).await?.outcome)
            }
            ReturnDecision::Reject { note } => {
                let reject = Command::RejectReturn { number, note };
                Ok(OrderPage { id, order: self.ask_once(&self.0.runtime.entities.orders, &id, reject).await?.view })
            }
        }
    }

    /// An order, if the caller may fulfil it: an admin, or the seller of all its lines.
    pub(super) async fn order_to_fulfil(&self, who: &Principal, id: OrderId) -> Result<OrderPage, Error> {
        let page = self.order(who, id).await?;
        access::fulfil_order(who, &page.order)?;
        Ok(page)
    }

    /// An order, if the caller placed it.
    pub(super) async fn own_order(&self, who: &Principal, id: OrderId) -> Result<OrderPage, Error> {
        let page = self.order(who, id).await?;
        access::own_order(who, &page.order)?;
        Ok(page)
    }
}

/// What the fingerprint of a request about units of an order begins with.
fn fields(order: OrderId, units: &Units) -> Fields {
    let add = |fields: Fields, (line, quantity): &(u16, u32)| fields.with("line", line).with("quantity", quantity);
    units.iter().fold(Fields::default().with("order", order), add)
}

/// Converts products to lines of the order.
fn units(order: &Order, items: &[ItemUnits]) -> Result<Units, Error> {
    let lines = order.placement().map(|placement| placement.lines.as_slice()).unwrap_or_default();
    let line = |item: &ItemUnits| {
        let index = lines.iter().position(|line| line.product == item.product);
        let index =
            index.and_then(|index| u16::try_from(index).ok()).ok_or(Error::NotFound(Missing::ProductInOrder))?;
        Ok((index, item.quantity))
    };
    items.iter().map(line).collect()
}
