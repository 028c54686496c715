//! Issues of orders, which operators resolve, and notices that no order took.
//!
//! Every resolution is an event of the order, with operator and reason. Depends on the rooms below.

use super::{
    Error, Shop, access,
    orders::{OrderPage, OrdersPage, check_page},
};
use crate::{
    actors::reconciler::{Pass, Reconciled},
    domain::{
        ids::{OrderId, UserId},
        order::{
            self, Attempt, Command, Issue, IssueKind, Order, PaymentState, Poll, RefundRequest, RefundState, Status,
        },
        unmatched_notices::{self, Day, UnmatchedNotice},
    },
    identity::Principal,
};

/// The length of a cursor of the list, in bytes: an order's id.
const ID_BYTES: usize = 16;

/// An operator's resolution of an order's issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Try the failed step again.
    Retry,
    /// It is settled. For a payment with an unknown outcome, and for a failed refund, this records what became of it.
    Settled(Option<Settled>),
    /// Refund everything.
    Refund,
}

/// What an operator found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The payment was captured in full, under this name at the provider.
    Captured(String),
    /// Nothing was charged, and nothing will be.
    NotCharged,
    /// The money of a failed refund was returned in another way.
    GivenBack,
}

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

impl Shop {
    /// Lists orders with open issues.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others than admins.
    pub async fn issues(&self, who: &Principal, after: Option<Vec<u8>>, limit: usize) -> Result<OrdersPage, Error> {
        access::administer(who)?;
        check_page(after.as_deref(), ID_BYTES, limit)?;
        self.catch_up_lists().await;
        let lists = self.0.runtime.lists.clone();
        let listed = tokio::task::spawn_blocking(move || lists.attention(after.as_deref(), limit)).await;
        let listed = listed.map_err(Error::fault)??;
        let mut orders = Vec::with_capacity(listed.items.len());
        for id in listed.items {
            orders.push(OrderPage { id, order: self.0.runtime.entities.orders.read(&id).await?.view });
        }
        Ok(OrdersPage { orders, next: listed.next })
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

    /// The results of the reconciler's last passes: over recent payments, and over the last month.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others than admins.
    pub fn reconciled(&self, who: &Principal) -> Result<[Option<Reconciled>; 2], Error> {
        access::administer(who)?;
        Ok([Pass::Recent, Pass::Full].map(|pass| self.0.runtime.reconciler.last(pass)))
    }

    /// Compares the provider's payments with the orders now.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for others than admins.
    pub async fn reconcile(&self, who: &Principal, pass: Pass) -> Result<Reconciled, Error> {
        access::administer(who)?;
        Ok(self.0.runtime.reconciler.pass(pass).await)
    }

    /// Dismisses a notice that no order took, with a note.
    ///
    /// # Errors
    /// The rejection of the day's notices.
    pub async fn dismiss_notice(&self, who: &Principal, day: Day, id: u128, note: &str) -> Result<(), Error> {
        access::administer(who)?;
        let command = unmatched_notices::Command::Dismiss { id, by: who.user, note: note.to_owned() };
        self.0.runtime.entities.unmatched_notices.ask(&day, command).await?;
        Ok(())
    }

    /// Does something about an order's problems: about all that are open, or about the one of this number. What the
    /// resolution is not for stays open, as does what is seen meanwhile.
    ///
    /// # Errors
    /// [`order::Rejection::NothingToResolve`] where no open problem is settled by it; otherwise the order's rejection.
    pub async fn resolve(
        &self,
        who: &Principal,
        id: OrderId,
        problem: Option<u32>,
        resolution: Resolution,
        note: &str,
    ) -> Result<OrderPage, Error> {
        access::administer(who)?;
        let page = self.order(who, id).await?;
        order::check_note(note)?;
        let what = match &resolution {
            Resolution::Retry => "retry",
            Resolution::Settled(_) => "settled",
            Resolution::Refund => "refund",
        };
        let actions = Action::all_of(&page.order, problem, &resolution, who, note)?;
        let (shop, by, note) = (self.clone(), who.user, format!("{what}: {note}"));
        // It goes on where whoever asked does not wait.
        tokio::spawn(async move { shop.carry_out(id, actions, by, &note).await })
            .await
            .map_err(|_| Error::Unknown)??;
        self.order(who, id).await
    }

    /// Action by deed: what was done before one is refused stays done, is on record and is driven on.
    async fn carry_out(&self, id: OrderId, actions: Vec<Action>, by: UserId, note: &str) -> Result<(), Error> {
        let mut outcome = Ok(());
        for Action { command, settles } in actions {
            outcome = match command {
                Some(command) => self.0.runtime.entities.orders.ask(&id, command).await.map(drop),
                None => Ok(()),
            };
            if outcome.is_ok() {
                let resolve = Command::ResolveIssues { issues: settles, by: Some(by), note: note.to_owned() };
                outcome = self.0.runtime.entities.orders.ask(&id, resolve).await.map(drop);
            }
            if outcome.is_err() {
                break;
            }
        }
        // Around: whoever tries again wants the provider to be asked now.
        self.drive_for_a_while(id, None, Poll::Now).await;
        Ok(outcome?)
    }
}

/// A part of what a resolution comes to: what the order is told, and which of its problems are settled by that.
struct Action {
    command: Option<Command>,
    settles: Vec<u32>,
}

impl Action {
    fn all_of(
        order: &Order,
        number: Option<u32>,
        resolution: &Resolution,
        who: &Principal,
        note: &str,
    ) -> Result<Vec<Self>, Error> {
        let total = order.placement().map(|placement| placement.total).ok_or(Error::NotFound("order"))?;
        let (mut actions, mut with_everything) = (Vec::new(), Vec::new());
        let is_meant = |known: &&Issue| number.is_none_or(|number| number == known.number);
        let is_final = |attempt: u32| order.attempt(attempt).is_some_and(Attempt::is_final);
        for known in order.open_issues().filter(is_meant) {
            let command = match (&known.kind, resolution) {
                // One refund at a time: the others stay open.
                (IssueKind::RefundFailed { .. }, Resolution::Retry | Resolution::Refund)
                    if actions
                        .iter()
                        .any(|known: &Self| matches!(known.command, Some(Command::RetryRefund { .. }))) =>
                {
                    continue;
                }
                (IssueKind::RefundFailed { refund, .. }, Resolution::Retry | Resolution::Refund) => {
                    Some(Command::RetryRefund { number: *refund, by: who.user })
                }
                (IssueKind::RefundFailed { refund, .. }, Resolution::Settled(Some(Settled::GivenBack))) => {
                    Some(Command::AdvanceRefund { number: *refund, state: RefundState::ByHand })
                }
                // The order counts it already: what is settled is what becomes of the goods.
                (IssueKind::RefundedElsewhere { .. }, Resolution::Settled(Some(Settled::GivenBack))) => None,
                // What is said of a payment is not about one whose outcome is known.
                (
                    IssueKind::PaymentUnknown { attempt, .. } | IssueKind::AmountMismatch { attempt, .. },
                    Resolution::Settled(Some(_)),
                ) if is_final(*attempt) => continue,
                (
                    IssueKind::PaymentUnknown { attempt, .. } | IssueKind::AmountMismatch { attempt, .. },
                    Resolution::Settled(Some(Settled::Captured(reference))),
                ) => {
                    let state = PaymentState::Captured { reference: reference.clone(), amount: total };
                    Some(Command::AdvancePayment { attempt: *attempt, state })
                }
                (
                    IssueKind::PaymentUnknown { attempt, .. } | IssueKind::AmountMismatch { attempt, .. },
                    Resolution::Settled(Some(Settled::NotCharged)),
                ) => {
                    let state = PaymentState::Declined { reason: "settled_by_operator".into() };
                    Some(Command::AdvancePayment { attempt: *attempt, state })
                }
                (IssueKind::AmountMismatch { attempt, reference, captured }, Resolution::Refund) => {
                    let (reference, captured) = (reference.clone(), *captured);
                    Some(Command::TakeBack { attempt: *attempt, reference, captured })
                }
                // A payment whose outcome is unknown is given up with the order; should that stay unknown, too, it is
                // raised again.
                (
                    IssueKind::PaymentUnknown { .. }
                    | IssueKind::Stuck { .. }
                    | IssueKind::Differs { .. }
                    | IssueKind::Disputed { .. }
                    | IssueKind::RefundedElsewhere { .. }
                    | IssueKind::DisputeEnded { .. },
                    Resolution::Refund,
                ) => {
                    with_everything.push(known.number);
                    continue;
                }
                // A dispute is between the customer and their bank: there is nothing to try again.
                (IssueKind::Disputed { .. } | IssueKind::DisputeEnded { .. }, Resolution::Retry)
                | (_, Resolution::Settled(Some(_))) => continue,
                (_, Resolution::Retry | Resolution::Settled(None)) => None,
            };
            actions.push(Self { command, settles: vec![known.number] });
        }
        // An order that is over has nothing to cancel: its problem stays open.
        let is_over = order.status().is_some_and(|status| {
            matches!(status, Status::Cancelling | Status::Cancelled | Status::Expired | Status::Rejected)
        });
        if !with_everything.is_empty() && actions.is_empty() && !is_over {
            actions.push(Self { command: Some(give_everything_back(order, who, note)), settles: with_everything });
        }
        if actions.is_empty() { Err(order::Rejection::NothingToResolve.into()) } else { Ok(actions) }
    }
}

fn give_everything_back(order: &Order, who: &Principal, note: &str) -> Command {
    match order.status() {
        Some(Status::Shipped | Status::Delivered) => Command::Refund(RefundRequest {
            lines: Vec::new(),
            shipping: false,
            restock: None,
            reason: note.to_owned(),
            by: who.user,
            key: None,
        }),
        _ => Command::Cancel,
    }
}
