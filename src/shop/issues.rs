//! Issues of orders, which operators resolve, and notices that no order took.
//!
//! Every resolution is an event of the order, with operator and reason. Depends on the rooms below.

use std::time::Duration;

use super::{Error, Shop, access, order_lists::OrdersPage, orders::OrderPage};
use crate::{
    actors::{
        reconciler::{Pass, Reconciled},
        reply::NotDelivered,
    },
    domain::{
        cursor::Cursor,
        entity::Timestamp,
        ids::OrderId,
        order::{Command, Poll, Resolution},
        unmatched_notices::{self, Day, UnmatchedNotice},
    },
    identity::Principal,
};

/// A notice that no order took.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptNotice {
    /// The day under which it is kept.
    pub day: Day,
    /// Its id within the day.
    pub id: u128,
    pub notice: UnmatchedNotice,
}

/// The reconciler's last passes since the start.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// The last pass over recent payments.
    pub recent: Option<Reconciled>,
    /// Over the last month.
    pub full: Option<Reconciled>,
    /// When the pass began that is under way.
    pub under_way_since: Option<Timestamp>,
}

impl Shop {
    /// Lists orders with open issues.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others than admins; as [`Shop::orders`].
    pub async fn issues(&self, who: &Principal, after: Option<Cursor>, limit: usize) -> Result<OrdersPage, Error> {
        access::administer(who)?;
        let listed = self.list_page(limit, move |lists| lists.orders_with_issues(after.as_ref(), limit)).await?;
        self.orders_page(listed).await
    }

    /// An order with its issues.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others than admins.
    pub async fn order_for_operator(&self, who: &Principal, id: OrderId) -> Result<OrderPage, Error> {
        access::administer(who)?;
        self.order(who, id).await
    }

    /// Notices of the last month that no order took, newest day first.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others than admins.
    pub async fn kept_notices(&self, who: &Principal) -> Result<Vec<KeptNotice>, Error> {
        access::administer(who)?;
        let mut notices = Vec::new();
        for day in Day::of(self.0.clock.now()).kept() {
            let kept = self.0.runtime.entities.unmatched_notices.read(&day).await?.view;
            notices.extend(kept.notices().iter().map(|(id, notice)| KeptNotice {
                day,
                id: *id,
                notice: notice.clone(),
            }));
        }
        Ok(notices)
    }

    /// The reconciler's last passes, and whether one is under way.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others than admins.
    pub fn reconciliation(&self, who: &Principal) -> Result<Reconciliation, Error> {
        access::administer(who)?;
        let reconciler = &self.0.runtime.reconciler;
        let [recent, full] = [Pass::Recent, Pass::Full].map(|pass| reconciler.last(pass));
        Ok(Reconciliation { recent, full, under_way_since: reconciler.under_way_since() })
    }

    /// Has the provider's payments compared with the orders now. One pass runs at a time; it continues where it takes
    /// longer than a request may wait, and then this returns `None`. A repeat of a request with an idempotency key
    /// starts none, and shows the last one.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others than admins; [`Error::NotDelivered`] while the shop closes or the reconciler
    /// recovers.
    pub async fn reconcile(&self, who: &Principal, pass: Pass) -> Result<Option<Reconciled>, Error> {
        access::administer(who)?;
        if self.note(who).await? {
            return Ok(self.0.runtime.reconciler.last(pass));
        }
        let (limit, reconciler) = (self.config().limits.payment_wait_ms_max, self.0.runtime.reconciler.clone());
        match tokio::time::timeout(Duration::from_millis(limit), reconciler.request(pass)).await {
            Ok(Some(result)) => Ok(Some(result)),
            Ok(None) => Err(Error::NotDelivered(NotDelivered::Busy)),
            Err(_) => Ok(None),
        }
    }

    /// Dismisses a notice that no order took, with a note.
    ///
    /// # Errors
    /// The rejection of the day's notices.
    pub async fn dismiss_notice(&self, who: &Principal, day: Day, id: u128, note: &str) -> Result<(), Error> {
        access::administer(who)?;
        let command = unmatched_notices::Command::Dismiss { id, by: who.user, note: note.to_owned() };
        self.ask_once(&self.0.runtime.entities.unmatched_notices, &day, command).await?;
        Ok(())
    }

    /// Carries out an operator's decision about an order's open issues, or about the one with this number. Issues that
    /// the resolution does not fit stay open, and so do those that are raised meanwhile.
    ///
    /// # Errors
    /// [`NothingToResolve`](crate::domain::order::Rejection::NothingToResolve) if it settles no open issue; otherwise
    /// the order's rejection.
    pub async fn resolve(
        &self,
        who: &Principal,
        id: OrderId,
        issue: Option<u32>,
        resolution: Resolution,
        note: &str,
    ) -> Result<OrderPage, Error> {
        access::administer(who)?;
        let page = self.order(who, id).await?;
        if self.has_executed(&self.0.runtime.entities.orders, &id).await? {
            return Ok(page);
        }
        let commands = page.order.resolve(issue, &resolution, who.user, note)?;
        let shop = self.clone();
        // In a task of its own, so that a client that disconnects does not leave it half done.
        tokio::spawn(async move { shop.carry_out(id, commands).await }).await.map_err(|_| Error::Unknown)??;
        self.order(who, id).await.map_err(Error::after_change)
    }

    /// Sends the order these commands until one is rejected, and drives it. Commands before a rejection take effect.
    /// The first one carries the request's key: the others only settle what it is about, and may be sent twice.
    async fn carry_out(&self, id: OrderId, commands: Vec<Command>) -> Result<(), Error> {
        let (mut outcome, orders) = (Ok(()), &self.0.runtime.entities.orders);
        for (done, command) in commands.into_iter().enumerate() {
            let executed = match done {
                0 => self.ask_once(orders, &id, command).await,
                _ => orders.ask(&id, command).await,
            };
            outcome = executed.map(drop).map_err(Error::from);
            if outcome.is_err() {
                outcome = outcome.map_err(|error| if done == 0 { error } else { error.after_change() });
                break;
            }
        }
        // An operator who decides to retry wants the provider to be asked now.
        self.drive_for_a_while(id, None, Poll::Now).await;
        outcome
    }
}
