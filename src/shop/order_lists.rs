//! Lists of orders: one's own, those with one's products, those in a stage; filtered.
//!
//! Depends on the rooms below.

use super::{Error, Shop, access, orders::OrderPage};
use crate::{
    actors::lists::{Listed, Lists, OrdersFilter, OrdersOf},
    domain::{
        cursor::Cursor,
        entity::Timestamp,
        ids::OrderId,
        order::{Order, Stage},
        order_number::OrderNumber,
    },
    identity::Principal,
};

/// Among how many of a customer's newest orders one is looked for by its number: more than a person places, and some
/// ten milliseconds of reading.
const NUMBERED_MAX: usize = 10_000;

/// How many orders one page reads at most while it looks for those that have changed: a few pages, which is what its
/// cost in rate limits stands for.
const READ_MAX: usize = 250;
/// How often a request looks at the list at most, where an order has to be read to know whether it is wanted: a look
/// may wait for the lists, for `limits.list_wait_ms_max`, and 100 orders a look reach [`READ_MAX`] in three.
const LOOKS_MAX: usize = 4;

/// Whose orders to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The caller's own, as a customer.
    Own,
    /// Those with lines of the calling seller.
    Sold,
    /// All in a stage, for admins.
    Everybodys(Stage),
}

/// Which orders to show; the default shows all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Filter {
    pub stage: Option<Stage>,
    /// Placed then or later.
    pub from: Option<Timestamp>,
    /// Placed before then.
    pub before: Option<Timestamp>,
    /// Changed then or later.
    pub updated_since: Option<Timestamp>,
}

/// A page of orders.
#[derive(Debug, Clone)]
pub struct OrdersPage {
    /// Newest first.
    pub orders: Vec<OrderPage>,
    /// The cursor of the next page; `None` on the last one.
    pub next: Option<Cursor>,
}

impl Shop {
    /// The caller's orders, newest first, including every order that was acknowledged before.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`], [`Error::InvalidLimit`]; the storage failed.
    pub async fn orders(&self, who: &Principal, after: Option<Cursor>, limit: usize) -> Result<OrdersPage, Error> {
        self.list_orders(OrdersOf::Customer(who.user), after, limit).await
    }

    /// The caller's own orders with this number, almost always one, among their newest `NUMBERED_MAX`.
    ///
    /// There is no list by number: ids are random, so each entry would cost a page of the state.
    ///
    /// # Errors
    /// A fault of the storage.
    pub async fn orders_by_number(&self, who: &Principal, number: OrderNumber) -> Result<Vec<OrderPage>, Error> {
        let of = OrdersOf::Customer(who.user);
        let listed = self.read_lists(move |lists| lists.orders(of, None, NUMBERED_MAX)).await?;
        let mut orders = Vec::new();
        for id in listed.items {
            if OrderNumber::of(id) == number {
                orders.push(OrderPage { id, order: self.0.runtime.entities.orders.read(&id).await?.view });
            }
        }
        Ok(orders)
    }

    /// Orders with lines of the calling seller.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for customers; as [`Shop::orders`].
    pub async fn sold_orders(&self, who: &Principal, after: Option<Cursor>, limit: usize) -> Result<OrdersPage, Error> {
        access::see_sold_orders(who)?;
        self.list_orders(OrdersOf::Seller(access::acts_for(who)), after, limit).await
    }

    /// All orders in a stage, for admins.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others; as [`Shop::orders`].
    pub async fn orders_in_stage(
        &self,
        who: &Principal,
        stage: Stage,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<OrdersPage, Error> {
        access::administer(who)?;
        self.list_orders(OrdersOf::Stage(stage), after, limit).await
    }

    pub(super) async fn list_orders(
        &self,
        of: OrdersOf,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<OrdersPage, Error> {
        let listed = self.list_page(limit, move |lists| lists.orders(of, after.as_ref(), limit)).await?;
        self.orders_page(listed).await
    }

    /// The orders of a page of their ids.
    pub(super) async fn orders_page(&self, listed: Listed<OrderId>) -> Result<OrdersPage, Error> {
        let mut orders = Vec::with_capacity(listed.items.len());
        for id in listed.items {
            orders.push(OrderPage { id, order: self.0.runtime.entities.orders.read(&id).await?.view });
        }
        Ok(OrdersPage { orders, next: listed.next })
    }

    /// Which of the orders of a list to show, newest first. Every filter may be left out; the cursors of a filtered
    /// list belong to its filters. A page for which many orders were passed over may have fewer than `limit`, even
    /// none, and still a next page.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where the list is not the caller's to see; as [`Shop::orders`].
    pub async fn orders_where(
        &self,
        who: &Principal,
        whose: Whose,
        filter: Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<OrdersPage, Error> {
        let Filter { stage, from, before, updated_since } = filter;
        let (of, stage) = match whose {
            Whose::Own => (OrdersOf::Customer(who.user), stage),
            Whose::Sold => {
                access::see_sold_orders(who)?;
                (OrdersOf::Seller(access::acts_for(who)), stage)
            }
            // The list has no others.
            Whose::Everybodys(stage) => {
                access::administer(who)?;
                (OrdersOf::Stage(stage), None)
            }
        };
        let filter = OrdersFilter { stage, from, before };
        let extra = updated_since.map(|since| since.0.to_be_bytes().to_vec()).unwrap_or_default();
        let (mut orders, mut read, mut next) = (Vec::new(), 0, after);
        for _ in 0..LOOKS_MAX {
            let wanted = (limit - orders.len()).min(READ_MAX - read);
            let (after, extra) = (next, extra.clone());
            let look = move |lists: &Lists| lists.orders_where(of, &filter, &extra, after.as_ref(), wanted);
            let page = self.orders_page(self.list_page(limit, look).await?).await?;
            let found = page.orders.len();
            read += found;
            orders.extend(page.orders.into_iter().filter(|page| was_updated(&page.order, updated_since)));
            next = page.next;
            // Fewer than wanted: the list has passed over as many as it may.
            if next.is_none() || found < wanted || orders.len() >= limit || read >= READ_MAX || updated_since.is_none()
            {
                break;
            }
        }
        Ok(OrdersPage { orders, next })
    }
}

fn was_updated(order: &Order, since: Option<Timestamp>) -> bool {
    since.is_none_or(|since| order.history().last().is_some_and(|entry| entry.at >= since))
}
