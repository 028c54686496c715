//! The reconciler: holds the provider's books against the orders, both ways, every few minutes for what is recent and
//! once a day for the last month. It starts by itself.
//!
//! What cannot be read or asked about is logged and counted as a difference, and the pass goes on.
//!
//! It decides nothing. Where the two differ, the order hears that there is news, and the checkout asks the provider;
//! what cannot be explained that way goes to an operator. Captured without an order, an order without its capture, and
//! amounts that differ are all found: what the provider lists is looked up among the orders, and what orders say was
//! captured among what the provider listed.
//!
//! It keeps nothing but what its last pass has seen. May depend on `storage`, `payments` and `domain`.

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
    payments::{Booked, Gateway, Payment},
};

/// How much of the past is looked at once a day, in milliseconds: as long as notices are kept.
const FULL_MS: u64 = 30 * DAY_MS;
const DAY_MS: u64 = 86_400_000;
/// How long after the start the first full pass begins, in milliseconds: a start has enough to do.
const FIRST_FULL_MS: u64 = 600_000;
/// How much of the past is compared at once, in milliseconds: what the provider lists of it is in memory.
const SLICE_MS: u64 = 3_600_000;
/// How far the provider's clock may be from ours, and how long a payment may take to appear in its books, in
/// milliseconds.
const SLACK_MS: u64 = 600_000;
/// How many orders are looked at before a pause, and how long that is, in milliseconds: at most 2,000 orders a second,
/// so that shoppers do not notice.
const PAGE: usize = 100;
const PAUSE_MS: u64 = 50;
/// How long the lists may take to catch up before a pass, in milliseconds.
const CATCH_UP_MS: u64 = 5_000;
/// How long a pass waits for the provider's word on one order, in milliseconds.
const ASK_MS_MAX: u64 = 10_000;

/// What the reconciler works with.
#[derive(Clone)]
pub struct Parts {
    /// All orders.
    pub orders: Directory<Order>,
    /// Where it stands what belongs to no order.
    pub unmatched_notices: Directory<UnmatchedNotices>,
    /// The payment provider.
    pub gateway: Arc<dyn Gateway>,
    /// Who asks the provider about an order.
    pub checkout: Checkout,
    /// Orders by stage.
    pub lists: Lists,
    /// How far the lists have come.
    pub progress: Progress,
    /// The time.
    pub clock: Clock,
    /// The pause between two passes, in milliseconds.
    pub every_ms: u64,
    /// How long an order may take to be paid, in milliseconds.
    pub deadline_ms: u64,
}

/// What a pass has seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// From when on payments were compared.
    pub since: Timestamp,
    /// Payments of the provider's books.
    pub payments: u64,
    /// Payments in its books that name no order of ours.
    pub foreign: u64,
    /// Orders of ours.
    pub orders: u64,
    /// Differences that were found; the provider is asked about each, or an operator told.
    pub differences: u64,
    /// Why it could not be finished, where it could not.
    pub problem: Option<String>,
}

/// The way to the reconciler. Cheap to clone.
#[derive(Clone)]
pub struct Reconciler(Arc<Shared>);

struct Shared {
    parts: Parts,
    last: RwLock<[Option<Reconciled>; 2]>,
    closing: CancellationToken,
}

/// Which pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// What is recent.
    Recent,
    /// The last month.
    Full,
}

impl Reconciler {
    /// A reconciler with these parts; it works when the root has started its actor.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared { parts, last: RwLock::default(), closing: CancellationToken::new() }))
    }

    pub(super) fn actor(&self) -> ReconcilerActor {
        ReconcilerActor(self.clone())
    }

    /// What the last pass of a kind has seen.
    #[must_use]
    pub fn last(&self, pass: Pass) -> Option<Reconciled> {
        self.0.last.read()[pass as usize].clone()
    }

    /// Ends the pass that is under way; there will be none after it.
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
        let mut seen = Reconciled { began, since, ..Reconciled::default() };
        let work = async {
            let matched = parts.match_notices(began, &mut seen).await;
            parts.compare(since, began, &mut seen).await.and(matched)
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = self.0.closing.cancelled() => Err(Stopped("the shop closes".into())),
        };
        if let Err(stopped) = outcome {
            tracing::warn!(problem = stopped.0, "a pass of the reconciler could not be finished; the next one goes on");
            seen.problem = Some(stopped.0);
        }
        if pass == Pass::Full {
            parts.forget_old_notices(began).await;
        }
        seen.ended = parts.clock.now();
        let Reconciled { payments, orders, differences, .. } = seen;
        tracing::info!(?pass, payments, orders, differences, "the provider's books were held against the orders");
        self.0.last.write()[pass as usize] = Some(seen.clone());
        seen
    }
}

impl Parts {
    /// Slice by slice, the newest first.
    async fn compare(&self, since: Timestamp, until: Timestamp, seen: &mut Reconciled) -> Result<(), Stopped> {
        self.progress.catch_up(Duration::from_millis(CATCH_UP_MS)).await;
        let mut cursors: Vec<_> = Stage::ALL.map(|stage| Newest::of(stage, &self.lists)).into();
        let mut failures = Failures::default();
        let mut end = until;
        while end > since {
            let begin = Timestamp(end.0.saturating_sub(SLICE_MS)).max(since);
            // A payment is made between its order's placing and its deadline.
            let listed_until = end.plus_ms(self.deadline_ms + SLACK_MS);
            let listed_since = Timestamp(begin.0.saturating_sub(SLACK_MS));
            let listed = self.what_the_provider_lists(listed_since, listed_until, begin..end, seen).await?;
            for cursor in &mut cursors {
                while let Some((id, order)) = cursor.next_placed_since(begin, self, seen).await? {
                    seen.orders += 1;
                    self.look_for_captures(id, &order, &listed, until, (seen, &mut failures)).await?;
                }
            }
            end = begin;
        }
        Ok(())
    }

    /// Provider to shop: every payment it lists is looked up. Those of orders that were placed in the slice are
    /// counted.
    async fn what_the_provider_lists(
        &self,
        since: Timestamp,
        until: Timestamp,
        slice: std::ops::Range<Timestamp>,
        seen: &mut Reconciled,
    ) -> Result<HashSet<(OrderId, u32)>, Stopped> {
        let (mut listed, mut after, mut failures) = (HashSet::new(), None, Failures::default());
        loop {
            let page = in_time(self.gateway.list_payments(since, until, after)).await?;
            for unknown in page.unreadable {
                tracing::warn!(problem = unknown.problem, "a payment in the provider's books is not understood");
                seen.differences += 1;
            }
            for booked in page.payments {
                let Some((id, attempt)) = booked.of else {
                    seen.foreign += 1;
                    continue;
                };
                listed.insert((id, attempt));
                let read = self.orders.read(&id).await.map_err(Stopped::from);
                let Some(read) = failures.or_next(&id, read, &mut seen.differences)? else { continue };
                let order = read.view;
                let placed = order.placement().map(|placement| placement.at);
                // Slices overlap at the provider; each order is compared in one of them.
                if placed.is_none_or(|placed| slice.contains(&placed)) {
                    seen.payments += 1;
                    seen.differences += self.hold_against(id, attempt, &order, &booked).await;
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(listed);
            }
            tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
        }
    }

    /// How many differences there are between a payment in the provider's books and its order.
    async fn hold_against(&self, id: OrderId, number: u32, order: &Order, booked: &Booked) -> u64 {
        let Some(attempt) = order.attempt(number) else {
            if booked.state.amount().is_none() {
                return 0;
            }
            let what =
                format!("the provider has {} of attempt {number}, which the order does not know", booked.reference);
            match order.placement() {
                Some(_) => self.tell(id, differs(what)).await,
                None => self.keep(id, number, booked).await,
            }
            return 1;
        };
        let mut differences = 0;
        let known = attempt.state.as_ref().map(PaymentState::as_str);
        // What nothing is known of yet is being asked for anyway.
        if known.is_some_and(|known| known != booked.state.as_str()) {
            if attempt.captured().is_some() {
                let theirs = booked.state.as_str();
                let what = format!("the order is paid by {}, which the provider has as {theirs}", booked.reference);
                self.tell(id, differs(what)).await;
            } else {
                self.ask_about(id, About::Attempt(number)).await;
            }
            differences += 1;
        }
        differences + self.compare_refunds(id, attempt, order, booked).await
    }

    /// Only what was captured goes back: where the order knows of no capture yet, that is asked about first.
    async fn compare_refunds(&self, id: OrderId, attempt: &Attempt, order: &Order, booked: &Booked) -> u64 {
        if attempt.captured().is_none() {
            return 0;
        }
        let of_attempt = || order.refunds().iter().filter(|refund| refund.attempt == attempt.number);
        if of_attempt().any(|refund| refund.is_pending()) {
            return 0;
        }
        // What an operator settled by hand is not in the provider's books.
        if order.refunded_by_provider(attempt.number) < booked.refunded_minor {
            self.ask_about(id, About::Refunds(attempt.number)).await;
            return 1;
        }
        let refunded = || of_attempt().filter(|refund| matches!(refund.state, Some(RefundState::Refunded { .. })));
        let ours: u64 = refunded().map(|refund| refund.amount.minor).sum();
        if ours <= booked.refunded_minor {
            return 0;
        }
        for refund in refunded() {
            if refund.cause == RefundCause::Elsewhere {
                let (theirs, reference) = (booked.refunded_minor, &booked.reference);
                let what = format!("the provider has given back {theirs} of {reference}, the order says {ours}");
                self.tell(id, differs(what)).await;
            } else {
                self.ask_about(id, About::Refund(refund.number)).await;
            }
        }
        1
    }

    /// Shop to provider: what an order says was captured or is held, and the provider did not list, is asked for by
    /// itself.
    async fn look_for_captures(
        &self,
        id: OrderId,
        order: &Order,
        listed: &HashSet<(OrderId, u32)>,
        until: Timestamp,
        (seen, failures): (&mut Reconciled, &mut Failures),
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
            if let Some(None) = failures.or_next(&id, found, &mut seen.differences)? {
                let what = format!("the provider does not know the payment of attempt {}", attempt.number);
                self.tell(id, differs(what)).await;
                seen.differences += 1;
            }
        }
        Ok(())
    }

    async fn ask_about(&self, id: OrderId, about: About) {
        self.tell(id, Command::Notify { about, notice: None }).await;
        // A provider that does not answer must not hold the pass up; the checkout goes on with the order.
        let limit = Duration::from_millis(ASK_MS_MAX);
        let _ = tokio::time::timeout(limit, self.checkout.drive(id, None, Poll::Now)).await;
    }

    async fn tell(&self, id: OrderId, command: Command) {
        if let Err(error) = self.orders.ask(&id, command).await {
            tracing::warn!(%id, ?error, "an order could not be told of a difference; the next pass finds it again");
        }
    }

    /// Money for an order that does not exist.
    async fn keep(&self, id: OrderId, attempt: u32, booked: &Booked) {
        let now = self.clock.now();
        let notice = UnmatchedNotice::new("captured without an order", &booked.reference, &id.to_string(), now);
        let name = id.0.wrapping_add(u128::from(attempt));
        // The books go on to show it: it is noted once.
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

    /// Looks up the orders of notices that named only their payments, while the provider could not be asked.
    async fn match_notices(&self, now: Timestamp, seen: &mut Reconciled) -> Result<(), Stopped> {
        let mut failures = Failures::default();
        for day in Day::of(now).kept() {
            let read = self.unmatched_notices.read(&day).await.map_err(Stopped::from);
            let Some(read) = failures.or_next(&day, read, &mut seen.differences)? else { continue };
            let notices = read.view.notices().iter();
            for (id, look_up) in notices.filter_map(|(id, kept)| Some((*id, kept.look_up.as_ref()?))) {
                let taken = self.match_notice(day, id, look_up).await;
                if let Some(Some(order)) = failures.or_next(&look_up.payment, taken, &mut seen.differences)? {
                    let limit = Duration::from_millis(ASK_MS_MAX);
                    let _ = tokio::time::timeout(limit, self.checkout.drive(order, None, Poll::IfNeeded)).await;
                }
            }
        }
        Ok(())
    }

    /// Looks one up; the order that has taken it.
    async fn match_notice(&self, day: Day, id: u128, look_up: &LookUp) -> Result<Option<OrderId>, Stopped> {
        let found = in_time(self.gateway.look_up(look_up.payment.clone())).await?.and_then(|booked| booked.of);
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
            Err(error) => Err(Stopped(format!("a notice of day {day} was looked up in vain: {error:?}"))),
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

/// The orders of a stage, newest first, as far as they have been looked at.
struct Newest<F> {
    pages: Pages<F>,
    /// The next ones, the nearest at the end.
    page: Vec<OrderId>,
}

impl Newest<()> {
    fn of(stage: Stage, lists: &Lists) -> Newest<impl ReadPage<OrderId> + use<>> {
        let read = move |lists: &Lists, after: Option<&Cursor>| lists.orders(OrdersOf::Stage(stage), after, PAGE);
        Newest { pages: Pages::new(lists, read), page: Vec::new() }
    }
}

impl<F: ReadPage<OrderId>> Newest<F> {
    /// The next order, where it was placed since this moment.
    async fn next_placed_since(
        &mut self,
        since: Timestamp,
        parts: &Parts,
        seen: &mut Reconciled,
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
            let Some(read) = failures.or_next(&id, read, &mut seen.differences)? else {
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

/// When the next full pass is due, by a clock that nobody sets: otherwise one that was ahead would put it off.
pub(super) struct NextFull(Instant);

/// The only message: see whether a pass is due.
pub(super) struct Due;

impl Actor for ReconcilerActor {
    type Msg = Due;
    type State = NextFull;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Due>, (): ()) -> Result<NextFull, ActorProcessingErr> {
        let parts = &self.0.0.parts;
        myself.send_after(Duration::from_millis(parts.every_ms), || Due);
        Ok(NextFull(Instant::now() + Duration::from_millis(FIRST_FULL_MS)))
    }

    async fn handle(&self, myself: ActorRef<Due>, _: Due, next: &mut NextFull) -> Result<(), ActorProcessingErr> {
        let parts = &self.0.0.parts;
        if Instant::now() >= next.0 {
            self.0.pass(Pass::Full).await;
            next.0 = Instant::now() + Duration::from_millis(DAY_MS);
        } else {
            self.0.pass(Pass::Recent).await;
        }
        // After the pass, so that slow ones do not queue up.
        myself.send_after(Duration::from_millis(parts.every_ms), || Due);
        Ok(())
    }
}

fn differs(what: String) -> Command {
    Command::RaiseIssue { kind: IssueKind::Differs { what }, notice: None }
}
