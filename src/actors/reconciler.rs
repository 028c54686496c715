//! The reconciler compares the provider's payments with the orders, in both directions: the payments that the provider
//! lists with their orders, and the captures that orders record with the provider's list. So it finds captures without
//! an order, orders without their capture, and amounts that differ. The root starts it. A pass runs every few minutes
//! for recent orders, and once a day for the last month.
//!
//! It decides nothing. If an order and its payment differ, the order records that the provider has news, and the
//! checkout polls the provider; a difference that a poll cannot explain becomes an issue for an operator. An order or a
//! payment that cannot be read is logged and counted as a difference, and the pass continues.
//!
//! It keeps no state but the results of its last passes. May depend on `storage`, `payments` and `domain`.

use std::{collections::HashSet, sync::Arc, time::Duration};

use parking_lot::RwLock;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    checkout::Checkout,
    directory::Directory,
    failures::{Failures, Stopped, in_time},
    follower::Progress,
    lists::{Lists, OrdersOf},
    pages::{Pages, ReadPage},
    reply::AskError,
};
use crate::{
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

/// How much of the past a full pass compares, in milliseconds: as much as notices are kept for.
const FULL_MS: u64 = 30 * DAY_MS;
const DAY_MS: u64 = 86_400_000;
/// The time from the start to the first full pass, in milliseconds: a start has other work to do.
const FIRST_FULL_MS: u64 = 600_000;
/// The length of a slice, in milliseconds: the orders of a slice are compared together, and the payments that the
/// provider lists for them are in memory.
const SLICE_MS: u64 = 3_600_000;
/// How far the provider's clock may be from ours, and how long a payment may take to appear in its list, in
/// milliseconds.
const SLACK_MS: u64 = 600_000;
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

/// The result of a pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Reconciled {
    pub began: Timestamp,
    pub ended: Timestamp,
    /// Payments and orders from this moment on were compared.
    pub since: Timestamp,
    /// How many of the provider's payments were compared with an order.
    pub payments: u64,
    /// How many of the provider's payments name no order of ours.
    pub foreign: u64,
    /// How many orders were compared with the provider's list.
    pub orders: u64,
    /// How many differences were found. For each, the provider was polled or an operator was told.
    pub differences: u64,
    /// Why the pass was not finished, if it was not.
    pub problem: Option<String>,
}

/// The handle of the reconciler. Cheap to clone.
#[derive(Clone)]
pub struct Reconciler(Arc<Shared>);

struct Shared {
    parts: Parts,
    last: RwLock<[Option<Reconciled>; 2]>,
    closing: CancellationToken,
}

/// How much of the past a pass compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Orders that were placed so recently that their payments may still change.
    Recent,
    /// The last month.
    Full,
}

impl Reconciler {
    /// A reconciler with these parts. It makes passes by itself once the root has started its actor.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared { parts, last: RwLock::default(), closing: CancellationToken::new() }))
    }

    pub(super) fn actor(&self) -> ReconcilerActor {
        ReconcilerActor(self.clone())
    }

    /// The result of the last pass of a kind, if there was one since the start.
    #[must_use]
    pub fn last(&self, pass: Pass) -> Option<Reconciled> {
        self.0.last.read()[pass as usize].clone()
    }

    /// Ends the pass that is under way, and starts no other one.
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// Makes a pass now.
    pub async fn pass(&self, pass: Pass) -> Reconciled {
        let parts = &self.0.parts;
        let began = parts.clock.now();
        let back = match pass {
            Pass::Recent => 2 * parts.every_ms + parts.deadline_ms + SLACK_MS,
            Pass::Full => FULL_MS,
        };
        let since = Timestamp(began.0.saturating_sub(back));
        let mut result = Reconciled { began, since, ..Reconciled::default() };
        let work = async {
            let matched = parts.match_notices(began, &mut result).await;
            parts.compare(since, began, &mut result).await.and(matched)
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = self.0.closing.cancelled() => Err(Stopped("the shop closes".into())),
        };
        if let Err(stopped) = outcome {
            tracing::warn!(problem = stopped.0, "a pass of the reconciler could not be finished; the next one goes on");
            result.problem = Some(stopped.0);
        }
        if pass == Pass::Full {
            parts.forget_old_notices(began).await;
        }
        result.ended = parts.clock.now();
        let Reconciled { payments, orders, differences, .. } = result;
        tracing::info!(?pass, payments, orders, differences, "the provider's payments were compared with the orders");
        self.0.last.write()[pass as usize] = Some(result.clone());
        result
    }
}

impl Parts {
    /// Compares the orders placed since this moment with their payments, slice by slice, the newest first.
    async fn compare(&self, since: Timestamp, until: Timestamp, result: &mut Reconciled) -> Result<(), Stopped> {
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
                tracing::warn!(problem = unknown.problem, "a payment in the provider's books is not understood");
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
        for refund in refunded() {
            if refund.cause == RefundCause::Elsewhere {
                let (theirs, reference) = (payment.refunded_minor, &payment.reference);
                let what = format!("the provider has refunded {theirs} of {reference}, the order says {ours}");
                self.record(id, differs(what)).await;
            } else {
                self.poll(id, About::Refund(refund.number)).await;
            }
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
    async fn match_notices(&self, now: Timestamp, result: &mut Reconciled) -> Result<(), Stopped> {
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

    async fn forget_old_notices(&self, now: Timestamp) {
        let Some(beyond) = Day::of(now).kept().last().and_then(|last| last.0.checked_sub(1)) else { return };
        for day in Day(beyond).kept() {
            let kept = self
                .unmatched_notices
                .read(&day)
                .await
                .is_ok_and(|unmatched_notices| !unmatched_notices.view.is_empty());
            if kept && let Err(error) = self.unmatched_notices.ask(&day, unmatched_notices::Command::Forget).await {
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

/// The actor.
pub(super) struct ReconcilerActor(Reconciler);

/// When the next full pass is due, by the monotonic clock: a wall clock that was ahead would delay it.
pub(super) struct NextFull(Instant);

/// The only message: make a pass.
pub(super) struct Reconcile;

impl Actor for ReconcilerActor {
    type Msg = Reconcile;
    type State = NextFull;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Reconcile>, (): ()) -> Result<NextFull, ActorProcessingErr> {
        let parts = &self.0.0.parts;
        myself.send_after(Duration::from_millis(parts.every_ms), || Reconcile);
        Ok(NextFull(Instant::now() + Duration::from_millis(FIRST_FULL_MS)))
    }

    async fn handle(
        &self,
        myself: ActorRef<Reconcile>,
        _: Reconcile,
        next: &mut NextFull,
    ) -> Result<(), ActorProcessingErr> {
        let parts = &self.0.0.parts;
        if Instant::now() >= next.0 {
            self.0.pass(Pass::Full).await;
            next.0 = Instant::now() + Duration::from_millis(DAY_MS);
        } else {
            self.0.pass(Pass::Recent).await;
        }
        // Sent after the pass, so that slow passes do not queue up.
        myself.send_after(Duration::from_millis(parts.every_ms), || Reconcile);
        Ok(())
    }
}

fn differs(what: String) -> Command {
    Command::RaiseIssue { kind: IssueKind::Differs { what }, notice: None }
}
