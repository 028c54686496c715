//! Orders: checkout, lists, cancellation, and fulfilment.
//!
//! Depends on the rooms below.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::sync::oneshot;

use super::{Error, Shop, access};
use crate::{
    actors::{
        reply::{Accepted, Changed},
        views::{Subscription, Versioned},
    },
    domain::{
        cart,
        charges::Charges,
        idempotency::Fields,
        ids::{OrderId, ProductId},
        money::{Currency, Money},
        order::{Address, Command, EndReason, InvalidPlacement, Order, OrderLine, Placement, Poll, Status, Tracking},
    },
    identity::Principal,
    payments::Gateway,
};

/// A request to order lines of the cart.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Default, Clone)]
pub struct CheckoutRequest {
    /// The lines to order, all of them in the cart; empty for the whole cart.
    pub items: Vec<CheckoutItem>,
    /// The amount that the customer expects to pay, with shipping and tax, in minor units.
    pub total_minor: u64,
    /// The currency of `total_minor`; `None` for the cart's.
    pub currency: Option<Currency>,
    pub address: Address,
}

impl CheckoutRequest {
    /// Orders the whole cart, in its currency.
    #[must_use]
    pub fn new(total_minor: u64, address: Address) -> Self {
        Self { total_minor, address, ..Self::default() }
    }

    /// The request as the shop takes it: whether a form sends an empty field or leaves it out is the same.
    fn without_blanks(&self) -> Self {
        let request = self.clone();
        Self { address: request.address.without_blanks(), ..request }
    }

    /// What its fingerprint is made of: all that it says. Stored with the order.
    fn fields(&self) -> Fields {
        let Self { items, total_minor, currency, address } = self;
        let Address { name, line1, line2, city, region, postal_code, country, phone } = address;
        let items = items.iter().fold(Fields::default(), |fields, CheckoutItem { product, quantity }| {
            fields.with("product", product).with_some("quantity", *quantity)
        });
        items
            .with("total_minor", total_minor)
            .with_some("currency", currency.as_ref().map(Currency::code))
            .with("name", name)
            .with("line1", line1)
            .with_some("line2", line2.as_ref())
            .with("city", city)
            .with_some("region", region.as_ref())
            .with("postal_code", postal_code)
            .with("country", country)
            .with_some("phone", phone.as_ref())
    }
}

/// A product to order.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone)]
pub struct CheckoutItem {
    pub product: ProductId,
    /// In units; `None` for the quantity in the cart.
    pub quantity: Option<u32>,
}

/// An order with its id.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone)]
pub struct OrderPage {
    pub id: OrderId,
    /// The durable state of the order.
    pub order: Arc<Order>,
}

/// An outcome, which may be that of an earlier request with the same identity.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone)]
pub struct Done<T> {
    pub outcome: T,
    /// Whether this request caused it.
    pub changed: Changed,
}

/// A step of fulfilment, by a seller or an admin.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Advance {
    Pack,
    Ship(Tracking),
    Deliver,
}

impl Shop {
    /// Places an order and reserves its stock; it then awaits its payment.
    ///
    /// The order's id is derived from the customer and the key, so the same key finds the same order. Without a key it
    /// is derived from the cart's version and the request. If the cart no longer holds the lines, the open order of the
    /// same request is found.
    ///
    /// # Errors
    /// [`Error`]: products that cannot be bought, another total, too little stock, a key that was used for another
    /// request.
    pub async fn checkout(
        &self,
        who: &Principal,
        request: &CheckoutRequest,
        key: Option<&str>,
    ) -> Result<Done<OrderPage>, Error> {
        let request = &request.without_blanks();
        let cart = self.0.runtime.entities.carts.read(&who.user).await?.view;
        let requests = self.requests_of(who);
        let fingerprint = requests.checkout_fingerprint(&request.fields());
        let wanted = wanted_lines(request, &cart);
        let id = match (key, &wanted) {
            (Some(key), _) => requests.order_by_key(key)?,
            (None, Ok(_)) => requests.order_by_cart(cart.version, fingerprint),
            // The lines have left the cart: this is a repeat of the request that took them, or a mistake.
            (None, Err(_)) => match cart.open_orders.iter().find(|(_, known)| *known == fingerprint) {
                Some((order, _)) => *order,
                None => return Err(wanted.err().unwrap_or(Error::EmptyCart)),
            },
        };
        let _in_flight = key.map(|_| self.0.in_flight.begin(id.0)).transpose()?;
        let placement = match wanted {
            Ok(wanted) => self.placement(who, request, wanted, &cart, fingerprint).await,
            Err(refused) => Err(refused),
        };
        // An order that exists already does not depend on what could be placed now.
        let placed = match placement {
            Ok(placement) => self.execute_and_drive(id, Command::Place(Arc::new(placement))).await?,
            Err(refused) => {
                let outcome = self.drive_earlier(id, fingerprint, refused).await?;
                Done { outcome, changed: Changed::No }
            }
        };
        checkout_outcome(placed)
    }

    /// Drives an order that an earlier request has placed, if there is one; otherwise this request is refused.
    async fn drive_earlier(&self, id: OrderId, fingerprint: u128, refused: Error) -> Result<OrderPage, Error> {
        let known = self.0.runtime.entities.orders.read(&id).await?.view;
        if !known.is_placed_by(fingerprint)? {
            return Err(refused);
        }
        if matches!(known.status(), Some(Status::Placed | Status::Cancelling)) {
            self.drive_for_a_while(id, None, Poll::IfNeeded).await;
        }
        Ok(OrderPage { id, order: self.read_changed(id).await?.view })
    }

    /// Sends a command to an order, drives the order until it is at rest, or for as long as a request may wait, and
    /// returns it when what the command has changed is durable. In a task of its own, so that a client that disconnects
    /// does not leave an order that nobody drives.
    ///
    /// # Errors
    /// The order's rejection. [`Error::Unknown`] where the journal has failed and the next start may find the order
    /// without the command.
    pub(super) async fn execute_and_drive(&self, id: OrderId, command: Command) -> Result<Done<OrderPage>, Error> {
        let (shop, (begun, accepted)) = (self.clone(), oneshot::channel());
        let driven = tokio::spawn(async move { shop.execute_and_drive_here(id, command, begun).await });
        driven.await.map_err(|_| Error::Unknown)?;
        let Accepted { view: accepted, changed } = accepted.await.map_err(|_| Error::Unknown)??;
        let mut durable = self.read_changed(id).await?;
        // An order that has rested is durable. But the drive may have ended because its time was up, or because nobody
        // could drive the order.
        if durable.sequence < accepted.sequence() {
            self.0.journal.barrier().await.map_err(|_| Error::Unknown)?;
            durable = self.read_changed(id).await?;
        }
        Ok(Done { outcome: OrderPage { id, order: durable.view }, changed })
    }

    /// The durable view of an order that a call has changed already.
    pub(super) async fn read_changed(&self, id: OrderId) -> Result<Versioned<Arc<Order>>, Error> {
        self.0.runtime.entities.orders.read(&id).await.map_err(|error| Error::from(error).after_change())
    }

    /// Sends a command to an order and drives it, in the caller's task. `begun` receives at once whether the order has
    /// accepted the command; it need not be durable yet, neither then nor when this returns.
    pub(super) async fn execute_and_drive_here(
        &self,
        id: OrderId,
        command: Command,
        begun: oneshot::Sender<Result<Accepted<Arc<Order>>, Error>>,
    ) {
        let accepted = match self.ask_ahead_once(&self.0.runtime.entities.orders, &id, command).await {
            Ok(accepted) => accepted,
            Err(refused) => {
                let _ = begun.send(Err(refused.into()));
                return;
            }
        };
        let known = Some(Arc::clone(&accepted.view));
        // A customer who repeats a request may have returned from their bank.
        let poll = if accepted.changed != Changed::Yes { Poll::Now } else { Poll::IfNeeded };
        let _ = begun.send(Ok(accepted));
        self.drive_for_a_while(id, known, poll).await;
    }

    /// Drives an order until it is at rest, or for as long as a request may wait; then it is driven in the background.
    pub(super) async fn drive_for_a_while(&self, id: OrderId, known: Option<Arc<Order>>, poll: Poll) {
        let limit = Duration::from_millis(self.config().limits.payment_wait_ms_max);
        let _ = tokio::time::timeout(limit, self.0.runtime.checkout.drive(id, known, poll)).await;
    }

    /// The placement of a checkout. A refusal here is not recorded, because nothing has been placed.
    async fn placement(
        &self,
        who: &Principal,
        request: &CheckoutRequest,
        wanted: Vec<cart::Line>,
        cart: &cart::View,
        fingerprint: u128,
    ) -> Result<Placement, Error> {
        let read = join_all(wanted.iter().map(|line| self.for_sale(&line.product))).await;
        let mut lines: Vec<OrderLine> = Vec::with_capacity(wanted.len());
        for (cart::Line { product, quantity }, read) in wanted.into_iter().zip(read) {
            let (view, unit_price) = read?;
            let left = lines.first().map_or(unit_price.currency, |first| first.unit_price.currency);
            if left != unit_price.currency {
                return Err(Error::MixedCurrencies { left, right: unit_price.currency });
            }
            let (title, seller) = (view.details.title.clone(), view.seller);
            lines.push(OrderLine { product, title, seller, quantity, unit_price });
        }
        let currency = lines.first().ok_or(Error::EmptyCart)?.unit_price.currency;
        let subtotal = Placement::total_of(&lines, Money::zero(currency), Money::zero(currency))?;
        let Charges { shipping, tax } = self.rates().charges(subtotal).map_err(InvalidPlacement::from)?;
        let total = Placement::total_of(&lines, shipping, tax)?;
        let at = self.0.clock.now();
        let placement = Placement {
            customer: who.user,
            lines,
            shipping,
            tax,
            total,
            address: request.address.clone(),
            cart_version: cart.version,
            fingerprint,
            deadline: at.plus_ms(self.config().payment_deadline_ms),
            at,
        };
        let stated = Money { minor: request.total_minor, currency: request.currency.unwrap_or(currency) };
        placement.check(stated).map_err(|invalid| match invalid {
            InvalidPlacement::TotalMismatch { computed, stated } => Error::TotalMismatch { computed, stated },
            other => other.into(),
        })?;
        if let Err(refused) = self.0.gateway.check_amount(total)
            && !refused.can_be_ordered()
        {
            return Err(Error::Amount(refused));
        }
        self.check_stock(&placement).await?;
        self.check_unpaid_units(who, cart, &placement.lines).await?;
        Ok(placement)
    }

    /// Refuses early what is sold out: most checkouts of a flash sale end here, without a write.
    async fn check_stock(&self, placement: &Placement) -> Result<(), Error> {
        let inventories = &self.0.runtime.entities.inventories;
        let read = join_all(placement.lines.iter().map(|line| inventories.read(&line.product))).await;
        for (line, read) in placement.lines.iter().zip(read) {
            let available = read?.view.available;
            if available < u64::from(line.quantity) {
                let (product, requested) = (line.product.clone(), line.quantity);
                return Err(Error::InsufficientStock { product, requested, available, order: None });
            }
        }
        Ok(())
    }

    /// An order, for its customer, its sellers and admins.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for somebody else's order.
    pub async fn order(&self, who: &Principal, id: OrderId) -> Result<OrderPage, Error> {
        let order = self.0.runtime.entities.orders.read(&id).await?.view;
        access::see_order(who, &order)?;
        Ok(OrderPage { id, order })
    }

    /// Cancels an order that is not shipped yet. Held money is released, captured money is refunded.
    ///
    /// # Errors
    /// The order's rejection: it is shipped, or a refund is in progress.
    pub async fn cancel_order(&self, who: &Principal, id: OrderId) -> Result<OrderPage, Error> {
        let page = self.order(who, id).await?;
        access::cancel_order(who, &page.order)?;
        if page.order.status() == Some(Status::Paid) {
            // It will be confirmed in a moment, and can be cancelled then.
            let limit = Duration::from_millis(self.config().limits.payment_wait_ms_max);
            let _ = tokio::time::timeout(limit, self.0.runtime.checkout.drive(id, None, Poll::IfNeeded)).await;
        }
        Ok(self.execute_and_drive(id, Command::Cancel).await?.outcome)
    }

    /// Moves a confirmed order to its next step: packed, shipped, delivered. For admins, and for the seller of all its
    /// lines.
    ///
    /// # Errors
    /// The order's rejection.
    pub async fn advance_order(&self, who: &Principal, id: OrderId, advance: Advance) -> Result<OrderPage, Error> {
        self.order_to_fulfil(who, id).await?;
        let command = match advance {
            Advance::Pack => Command::Pack,
            Advance::Ship(tracking) => Command::Ship(tracking),
            Advance::Deliver => Command::Deliver,
        };
        let order = self.ask_once(&self.0.runtime.entities.orders, &id, command).await?.view;
        Ok(OrderPage { id, order })
    }

    /// Notifies of changes of an order; read the order after each.
    pub(crate) async fn follow_order(&self, who: &Principal, id: OrderId) -> Result<Subscription<Order>, Error> {
        let subscription = self.0.runtime.entities.orders.subscribe(&id);
        self.order(who, id).await?;
        Ok(subscription)
    }
}

/// What became of an order that was placed and driven.
fn checkout_outcome(placed: Done<OrderPage>) -> Result<Done<OrderPage>, Error> {
    let OrderPage { id, order } = &placed.outcome;
    match (order.status(), order.end_reason()) {
        (None, _) => Err(Error::Unknown),
        (Some(Status::Placed), _) => Err(Error::CheckoutInProgress(*id)),
        (Some(Status::Rejected | Status::Cancelling), Some(EndReason::CartChanged)) => Err(Error::CartChanged),
        (Some(Status::Rejected | Status::Cancelling), Some(EndReason::CustomerErased)) => {
            Err(cart::Rejection::Erased.into())
        }
        (Some(Status::Rejected | Status::Cancelling), Some(EndReason::TooManyOpenOrders)) => {
            Err(cart::Rejection::TooManyOpenOrders.into())
        }
        (
            Some(Status::Rejected | Status::Cancelling),
            Some(EndReason::InsufficientStock { product, requested, available }),
        ) => Err(Error::InsufficientStock {
            product: product.clone(),
            requested: *requested,
            available: *available,
            order: Some(*id),
        }),
        _ => Ok(placed),
    }
}

/// The lines that a checkout asks for, checked against the cart.
fn wanted_lines(request: &CheckoutRequest, cart: &cart::View) -> Result<Vec<cart::Line>, Error> {
    if cart.lines.is_empty() && request.items.is_empty() {
        return Err(Error::EmptyCart);
    }
    if request.items.is_empty() {
        return Ok(cart.lines.as_ref().clone());
    }
    let mut named = HashSet::new();
    let mut wanted = Vec::with_capacity(request.items.len());
    for CheckoutItem { product, quantity } in &request.items {
        if !named.insert(product) {
            return Err(Error::NamedTwice { product: product.clone() });
        }
        let in_cart = cart.lines.iter().find(|line| line.product == *product).map_or(0, |line| line.quantity);
        let requested = quantity.unwrap_or(in_cart.max(1));
        if requested == 0 {
            return Err(cart::Rejection::InvalidQuantity { product: product.clone() }.into());
        }
        if requested > in_cart {
            return Err(Error::NotInCart { product: product.clone(), requested, in_cart });
        }
        wanted.push(cart::Line { product: product.clone(), quantity: requested });
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fingerprints are stored: another text makes the repeat of a checkout from before an upgrade a conflict.
    #[test]
    fn the_text_behind_a_fingerprint_stays_as_it_is() {
        let text = |request: &CheckoutRequest| String::from_utf8(request.fields().as_bytes().to_vec()).unwrap();
        let address = Address { name: "Asha".into(), city: "Pune".into(), country: "IN".into(), ..Address::default() };
        let least = "name=4:Asha;line1=0:;city=4:Pune;postal_code=0:;country=2:IN;";
        assert_eq!(text(&CheckoutRequest::new(500, address.clone())), format!("total_minor=3:500;{least}"));
        let address =
            Address { line2: Some("2".into()), region: Some("MH".into()), phone: Some("+91 20".into()), ..address };
        let item = |product: &str, quantity| CheckoutItem { product: product.parse().unwrap(), quantity };
        let items = vec![item("CABLE", Some(2)), item("PHONE", None)];
        let request = CheckoutRequest { items, total_minor: 7, currency: Some(Currency::INR), address };
        assert_eq!(
            text(&request),
            "product=5:CABLE;quantity=1:2;product=5:PHONE;total_minor=1:7;currency=3:INR;name=4:Asha;line1=0:;\
             line2=1:2;city=4:Pune;region=2:MH;postal_code=0:;country=2:IN;phone=6:+91 20;"
        );
    }
}
