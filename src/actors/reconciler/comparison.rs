//! How the reconciler compares the provider's payments with the orders, and what it does about a difference.
//!
//! May depend on `storage`, `payments` and `domain`.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{
    Reconciled,
    failures::{Failures, Stopped, in_time},
};
use crate::{
    actors::{
        checkout::Checkout,
        directory::Directory,
        follower::Progress,
        lists::{Lists, OrdersOf},
        pages::{Pages, ReadPage},
        reply::AskError,
    },
    clock::Clock,
    domain::{
        cursor::Cursor,
        entity::Timestamp,
        ids::OrderId,
        order::{
            About, Attempt, CaptureMode, Command, IssueKind, Order, PaymentState, Poll, RefundCause, RefundState, Stage,
        },
        unmatched_notices::{self, Day, LookUp, UnmatchedNotice, UnmatchedNotices},
    },
    payments::{Gateway, Payment, ProviderPayment},
};

/// The length of a slice, in milliseconds: the orders of a slice are compared together, and the payments that the
/// provider lists for them are in memory.
const SLICE_MS: u64 = 3_600_000;
/// How far the provider's clock may be from ours, and how long a payment may take to appear in its list, in
/// milliseconds.
pub(super) const SLACK_MS: u64 = 600_000;
/// How many orders are read before a pause, and the pause, in milliseconds: at most 2,000 orders a second, so that
/// shoppers do not notice.
const PAGE: usize = 100;
const PAUSE_MS: u64 = 50;
/// How long the lists may take to catch up before a pass, in milliseconds.
const CATCH_UP_MS: u64 = 5_000;
/// How long a pass waits until one order is driven to rest, in milliseconds.
const DRIVE_MS_MAX: u64 = 10_000;

/// The parts of the shop that the reconciler reads and changes.
#[derive(Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Parts {
    pub orders: Directory<Order>,
    /// Keeps payments that belong to no order.
    pub unmatched_notices: Directory<UnmatchedNotices>,
    pub gateway: Arc<dyn Gateway>,
    /// Polls the provider for an order.
    pub checkout: Checkout,
    /// The orders by stage.
    pub lists: Lists,
    pub progress: Progress,
    pub clock: Clock,
    /// The pause between two passes, in milliseconds.
    pub every_ms: u64,
    /// How long an order may take to be paid, in milliseconds.
    pub deadline_ms: u64,
}

impl Parts {
    /// Compares the orders placed since this moment with their payments, slice by slice, the newest first.
    pub(super) async fn compare(
        &self,
        since: Timestamp,
        until: Timestamp,
        result: &mut Reconciled,
    ) -> Result<(), Stopped> {
        self.progress.catch_up(Duration::from_millis(CATCH_UP_MS)).await;
        let mut cursors: Vec<_> = Stage::ALL.map(|stage| Newest::of(stage, &self.lists)).into();
        let mut failures = Failures::default();
        let mut end = until;
        while end > since {
            let begin = Timestamp(end.0.saturating_sub(SLICE_MS)).max(since);
            // A payment is made between its order's placing and its deadline.
            let listed_until = end.plus_ms(self.deadline_ms + SLACK_MS);
            let listed_since = Timestamp(begin.0.saturating_sub(SLACK_MS));
            let listed = self.compare_payments(listed_since, listed_until, begin..end, result).await?;
            for cursor in &mut cursors {
                while let Some((id, order)) = cursor.next_placed_since(begin, self, result).await? {
                    result.orders += 1;
                    self.compare_captures(id, &order, &listed, until, (result, &mut failures)).await?;
                }
            }
            end = begin;
        }
        Ok(())
    }

    /// From the provider to the shop: compares every listed payment with its order, if that was placed in the slice.
    /// Returns all attempts that the provider lists.
    async fn compare_payments(
        &self,
        since: Timestamp,
        until: Timestamp,
        slice: std::ops::Range<Timestamp>,
        result: &mut Reconciled,
    ) -> Result<HashSet<(OrderId, u32)>, Stopped> {
        let (mut listed, mut after, mut failures) = (HashSet::new(), None, Failures::default());
        loop {
            let page = in_time(self.gateway.list_payments(since, until, after)).await?;
            for unknown in page.unreadable {
                tracing::warn!(problem = unknown.problem, "a payment of the provider is not understood");
                result.differences += 1;
            }
            for payment in page.payments {
                let Some((id, attempt)) = payment.of else {
                    result.foreign += 1;
                    continue;
                };
                listed.insert((id, attempt));
                let read = self.orders.read(&id).await.map_err(Stopped::from);
                let Some(read) = failures.or_next(&id, read, &mut result.differences)? else { continue };
                let order = read.view;
                let placed = order.placement().map(|placement| placement.at);
                // What the provider lists for two slices overlaps; each order is compared in one of them.
                if placed.is_none_or(|placed| slice.contains(&placed)) {
                    result.payments += 1;
                    result.differences += self.compare_payment(id, attempt, &order, &payment).await;
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(listed);
            }
            tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
        }
    }

    /// Compares a payment of the provider with its order, and returns the number of differences.
    async fn compare_payment(&self, id: OrderId, number: u32, order: &Order, payment: &ProviderPayment) -> u64 {
        let Some(attempt) = order.attempt(number) else {
            if payment.state.amount().is_none() {
                return 0;
            }
            let reference = &payment.reference;
            let what = format!("the provider has {reference} of attempt {number}, which the order does not know");
            match order.placement() {
                Some(_) => self.record(id, differs(what)).await,
                None => self.keep(id, number, payment).await,
            }
            return 1;
        };
        let mut differences = 0;
        let known = attempt.state.as_ref().map(PaymentState::as_str);
        // The checkout is already requesting an attempt whose state is unknown.
        if known.is_some_and(|known| known != payment.state.as_str()) {
            if attempt.captured().is_some() {
                let theirs = payment.state.as_str();
                let what = format!("the order is paid by {}, which the provider has as {theirs}", payment.reference);
                self.record(id, differs(what)).await;
            } else {
                self.poll(id, About::Attempt(number)).await;
            }
            differences += 1;
        }
        differences + self.compare_refunds(id, attempt, order, payment).await
    }

    /// Compares the refunds of a captured attempt. If the order knows of no capture yet, that difference comes first.
    async fn compare_refunds(&self, id: OrderId, attempt: &Attempt, order: &Order, payment: &ProviderPayment) -> u64 {
        if attempt.captured().is_none() {
            return 0;
        }
        let of_attempt = || order.refunds().iter().filter(|refund| refund.attempt == attempt.number);
        if of_attempt().any(|refund| refund.is_pending()) {
            return 0;
        }
        // The provider does not know of refunds that an operator has made by hand.
        if order.refunded_by_provider(attempt.number) < payment.refunded_minor {
            self.poll(id, About::Refunds(attempt.number)).await;
            return 1;
        }
        let refunded = || of_attempt().filter(|refund| matches!(refund.state, Some(RefundState::Refunded { .. })));
        let ours: u64 = refunded().map(|refund| refund.amount.minor).sum();
        if ours <= payment.refunded_minor {
            return 0;
        }
        for refund in refunded().filter(|refund| refund.cause != RefundCause::Elsewhere) {
            self.poll(id, About::Refund(refund.number)).await;
        }
        if refunded().any(|refund| refund.cause == RefundCause::Elsewhere) {
            self.poll(id, About::Refunds(attempt.number)).await;
        }
        1
    }

    /// From the shop to the provider: looks up each captured or held payment of an order that the provider did not
    /// list.
    async fn compare_captures(
        &self,
        id: OrderId,
        order: &Order,
        listed: &HashSet<(OrderId, u32)>,
        until: Timestamp,
        (result, failures): (&mut Reconciled, &mut Failures),
    ) -> Result<(), Stopped> {
        let Some(placement) = order.placement() else { return Ok(()) };
        for attempt in order.attempts() {
            let has_money = attempt.state.as_ref().and_then(PaymentState::amount).is_some();
            let is_recent = until.ms_since(attempt.requested_at) < SLACK_MS;
            if !has_money || is_recent || listed.contains(&(id, attempt.number)) {
                continue;
            }
            let payment = Payment {
                order: id,
                attempt: attempt.number,
                amount: placement.total,
                method: attempt.method.clone(),
                capture: CaptureMode::default(),
                requested_at: attempt.requested_at,
                reference: attempt.state.as_ref().and_then(PaymentState::reference).map(str::to_owned),
            };
            let found = in_time(self.gateway.find(payment)).await;
            if let Some(None) = failures.or_next(&id, found, &mut result.differences)? {
                let what = format!("the provider does not know the payment of attempt {}", attempt.number);
                self.record(id, differs(what)).await;
                result.differences += 1;
            }
        }
        Ok(())
    }

    /// Has the checkout poll the provider for an order.
    async fn poll(&self, id: OrderId, about: About) {
        self.record(id, Command::Notify { about, notice: None }).await;
        self.drive(id, Poll::Now).await;
    }

    /// Drives an order, within a time: a provider that does not answer must not delay the pass. The checkout continues
    /// with the order all the same.
    async fn drive(&self, id: OrderId, poll: Poll) {
        let limit = Duration::from_millis(DRIVE_MS_MAX);
        let _ = tokio::time::timeout(limit, self.checkout.drive(id, None, poll)).await;
    }

    async fn record(&self, id: OrderId, command: Command) {
        if let Err(error) = self.orders.ask(&id, command).await {
            tracing::warn!(%id, ?error, "an order could not be told of a difference; the next pass finds it again");
        }
    }

    /// Keeps a captured or held payment whose order does not exist, for an operator.
    async fn keep(&self, id: OrderId, attempt: u32, payment: &ProviderPayment) {
        let now = self.clock.now();
        let notice = UnmatchedNotice::new("captured without an order", &payment.reference, &id.to_string(), now);
        let name = id.0.wrapping_add(u128::from(attempt));
        // Every pass finds it again, so it is kept once.
        for day in Day::of(now).kept() {
            if self.unmatched_notices.read(&day).await.is_ok_and(|unmatched_notices| unmatched_notices.view.knows(name))
            {
                return;
            }
        }
        let keep = unmatched_notices::Command::Keep { id: name, notice };
        if let Err(error) = self.unmatched_notices.ask(&Day::of(now), keep).await {
            tracing::warn!(%id, ?error, "a payment without an order could not be noted; the next pass finds it again");
        }
    }

    /// Looks up the orders of notices that name only their payment, and came while the provider did not answer.
    pub(super) async fn match_notices(&self, now: Timestamp, result: &mut Reconciled) -> Result<(), Stopped> {
        let mut failures = Failures::default();
        for day in Day::of(now).kept() {
            let read = self.unmatched_notices.read(&day).await.map_err(Stopped::from);
            let Some(read) = failures.or_next(&day, read, &mut result.differences)? else { continue };
            let notices = read.view.notices().iter();
            for (id, look_up) in notices.filter_map(|(id, kept)| Some((*id, kept.look_up.as_ref()?))) {
                let taken = self.match_notice(day, id, look_up).await;
                if let Some(Some(order)) = failures.or_next(&look_up.payment, taken, &mut result.differences)? {
                    self.drive(order, Poll::IfNeeded).await;
                }
            }
        }
        Ok(())
    }

    /// Looks up the order of a notice. Returns the order if it has taken the notice.
    async fn match_notice(&self, day: Day, id: u128, look_up: &LookUp) -> Result<Option<OrderId>, Stopped> {
        let found = in_time(self.gateway.look_up(look_up.payment.clone())).await?.and_then(|payment| payment.of);
        let mut taken_by = None;
        if let Some((order, attempt)) = found {
            let command = look_up.subject.command(About::Attempt(attempt), Some(unmatched_notices::id_in_order(id)));
            match self.orders.ask(&order, command).await {
                Ok(_) => taken_by = Some(order),
                Err(AskError::Rejected(_)) => {}
                Err(error) => return Err(Stopped(format!("{order} could not take a notice: {error:?}"))),
            }
        }
        let looked_up = unmatched_notices::Command::LookedUp { id, order: taken_by };
        match self.unmatched_notices.ask(&day, looked_up).await {
            Ok(_) => Ok(taken_by),
            Err(error) => {
                Err(Stopped(format!("the look-up of a notice of day {day} could not be recorded: {error:?}")))
            }
        }
    }

    /// Forgets the notices of every day that is too long ago, also after a long downtime.
    pub(super) async fn forget_old_notices(&self, now: Timestamp) {
        for (number, day) in (1..).zip(Day::of(now).not_kept()) {
            if number % PAGE == 0 {
                tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
            }
            let has_notices = self.unmatched_notices.read(&day).await.is_ok_and(|read| !read.view.is_empty());
            if has_notices
                && let Err(error) = self.unmatched_notices.ask(&day, unmatched_notices::Command::Forget).await
            {
                tracing::warn!(%day, ?error, "old notices could not be forgotten; the next pass does it");
            }
        }
    }
}

/// Reads the orders of a stage, newest first.
struct Newest<F> {
    pages: Pages<F>,
    /// The orders of the page that are not read yet, the next one at the end.
    page: Vec<OrderId>,
}

impl Newest<()> {
    fn of(stage: Stage, lists: &Lists) -> Newest<impl ReadPage<OrderId> + use<>> {
        let read = move |lists: &Lists, after: Option<&Cursor>| lists.orders(OrdersOf::Stage(stage), after, PAGE);
        Newest { pages: Pages::new(lists, read), page: Vec::new() }
    }
}

impl<F: ReadPage<OrderId>> Newest<F> {
    /// The next order, if it was placed at this moment or later.
    async fn next_placed_since(
        &mut self,
        since: Timestamp,
        parts: &Parts,
        result: &mut Reconciled,
    ) -> Result<Option<(OrderId, Arc<Order>)>, Stopped> {
        let mut failures = Failures::default();
        loop {
            if self.page.is_empty()
                && let Some(page) = self.pages.next().await?
            {
                self.page = page.into_iter().rev().collect();
                tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
            }
            let Some(id) = self.page.last().copied() else { return Ok(None) };
            let read = parts.orders.read(&id).await.map_err(Stopped::from);
            let Some(read) = failures.or_next(&id, read, &mut result.differences)? else {
                self.page.pop();
                continue;
            };
            let order = read.view;
            if order.placement().is_some_and(|placement| placement.at < since) {
                return Ok(None);
            }
            self.page.pop();
            return Ok(Some((id, order)));
        }
    }
}

fn differs(what: String) -> Command {
    Command::RaiseIssue { kind: IssueKind::Differs { what }, notice: None }
}
