//! The checkout's hands: performs the step that an order says is next, records the outcome, and asks again.
//!
//! It runs ahead of the disk: a step begins when the one before it is admitted to the journal, because none can become
//! durable without those before it. It waits for the disk twice: before anything leaves for the provider, and before an
//! order rests, which is when customers are told.
//!
//! Every step may be performed twice, and an unknown outcome is repeated; so a crash between any two lines costs a
//! repetition. But an order has one driver at a time, and the checkout sees to it: of two, one could reserve what the
//! other was refused. No actor waits for another one here, and none is held while the provider answers: this runs in a
//! task per order.
//!
//! May depend on `payments`, `storage` and `domain`.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use futures::future::join_all;

use super::{backoff::Backoff, directory::Directory, task_error::TaskError};
use crate::{
    clock::Clock,
    domain::{
        cart::Cart,
        entity::{Entity, Timestamp},
        ids::OrderId,
        inventory::Inventory,
        order::{
            self, Attempt, Effect, EffectResult, IssueKind, Order, PaymentState, Poll, RefundState, Rejection, Step,
            Turn,
        },
    },
    payments::{self, Gateway, Payment, Repayment},
    storage::{Fault, Journal, LoadError},
};

/// After how long an order that cannot be read, or whose driver panicked, is looked at again, in milliseconds.
const LOOK_AGAIN_MS: u64 = 60_000;

/// From how long on a pause before the provider is asked again is not spent in a task, in milliseconds: there are so
/// many tasks, and while a provider is down for long its payments must not keep others from being driven.
const PARK_MS: u64 = 1_000;

/// The limits of driving an order.
#[derive(Debug, Clone, Copy)]
pub struct DriveLimits {
    /// How long the provider may take to answer, in milliseconds; after it the outcome is unknown. A charge may take
    /// several requests.
    pub provider_ms_max: u64,
    /// How long an entity may take to answer, in milliseconds; after it the outcome is unknown.
    pub entity_ms_max: u64,
    /// The first pause before an unknown outcome is asked for again, in milliseconds. It doubles, with full jitter.
    pub back_off_ms_min: u64,
    /// The longest pause, in milliseconds.
    pub back_off_ms_max: u64,
    /// After how long a payment or refund that waits for somebody is asked about, in milliseconds: should a notice be
    /// lost.
    pub ask_again_ms: u64,
    /// After how long without a definite outcome an operator is told, in milliseconds. The shop goes on trying.
    pub attention_ms: u64,
    /// After how long a request is not repeated any more, in milliseconds: providers forget keys after a day. A payment
    /// of which nothing is known is given up then, and others are only asked about.
    pub only_ask_ms: u64,
}

impl Default for DriveLimits {
    fn default() -> Self {
        Self {
            provider_ms_max: 30_000,
            entity_ms_max: 10_000,
            back_off_ms_min: 20,
            back_off_ms_max: 30_000,
            ask_again_ms: 60_000,
            attention_ms: 15 * 60_000,
            only_ask_ms: 20 * 3_600_000,
        }
    }
}

/// What driving needs.
#[derive(Clone)]
pub struct Driver {
    /// All orders.
    pub orders: Directory<Order>,
    /// All carts.
    pub carts: Directory<Cart>,
    /// All inventories.
    pub inventories: Directory<Inventory>,
    /// What is waited for before anything leaves the shop.
    pub journal: Journal,
    /// The payment provider.
    pub gateway: Arc<dyn Gateway>,
    /// The time.
    pub clock: Clock,
    /// Limits.
    pub limits: DriveLimits,
}

/// Where an order rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// There is nothing more to do for the checkout, or the shop is closing and the next start resumes it.
    Done,
    /// It waits until this moment: for its customer, or because something is wrong with it.
    Until(Timestamp),
    /// It waits until this moment (the first) because the provider has had no definite answer since then (the second).
    Parked(Timestamp, Timestamp),
}

/// The order after a step; admitted, and durable when the order rests.
type Outcome = Result<Arc<Order>, TaskError>;

impl Driver {
    /// Performs step after step until the order rests. `known` is the order as the caller saw it: it may be stale and
    /// not yet durable. `troubled_since` is the second moment of [`Rest::Parked`], if the order rested so.
    pub async fn drive(
        &self,
        id: OrderId,
        known: Option<Arc<Order>>,
        poll: Poll,
        troubled_since: Option<Timestamp>,
    ) -> Rest {
        let (is_ahead, is_from_caller) = (known.is_some(), known.is_some());
        let backoff = Backoff::default();
        let mut drive = Drive { driver: self, id, known, poll, is_ahead, is_from_caller, troubled_since, backoff };
        loop {
            let (order, step) = match drive.next().await {
                ControlFlow::Continue(next) => next,
                ControlFlow::Break(rest) => return rest,
            };
            match self.perform(id, &order, &step).await {
                Ok(order) => drive.after_success(order),
                Err(TaskError::Closing) => return Rest::Done,
                Err(TaskError::Retry(problem)) => {
                    if let ControlFlow::Break(rest) = drive.after_trouble(&order, &step, problem).await {
                        return rest;
                    }
                }
            }
        }
    }

    async fn perform(&self, id: OrderId, order: &Order, step: &Step) -> Outcome {
        match step {
            Step::Pay(number) | Step::Poll(number) | Step::Capture(number) | Step::Void(number) => {
                self.pay(id, order, step, *number).await
            }
            Step::Refund(number) => self.refund(id, order, *number).await,
            step => self.ask_all(id, order, step).await,
        }
    }

    /// Makes the requests of a step and tells the order what was answered.
    async fn ask_all(&self, id: OrderId, order: &Order, step: &Step) -> Outcome {
        let Some(customer) = order.placement().map(|placement| placement.customer) else {
            return Err(TaskError::Retry("the order has no placement".into()));
        };
        let asked = join_all(step.effects(id, order).into_iter().map(|ask| async move {
            Ok::<_, TaskError>(match ask {
                Effect::Cart(command) => EffectResult::Cart(known(self.ask(&self.carts, &customer, command).await)?),
                Effect::Stock(product, command) => {
                    EffectResult::Stock(known(self.ask(&self.inventories, &product, command).await)?)
                }
            })
        }));
        let told = asked.await.into_iter().collect::<Result<Vec<_>, TaskError>>()?;
        match step.record(told) {
            Ok(command) => self.tell(id, command).await,
            Err(again) => {
                if let Some(known) = again.known {
                    self.tell(id, *known).await?;
                }
                Err(TaskError::Retry(again.reason))
            }
        }
    }

    /// Tells an operator of what does not resolve itself for long. The shop goes on trying.
    async fn report(&self, id: OrderId, step: &Step, seen: String, since: Timestamp) {
        if self.clock.now().ms_since(since) >= self.limits.attention_ms {
            let kind = match step {
                Step::Pay(number) | Step::Void(number) => IssueKind::PaymentUnknown { attempt: *number, seen },
                _ => IssueKind::Stuck { seen },
            };
            self.raise(id, kind).await;
        }
    }

    async fn raise(&self, id: OrderId, kind: IssueKind) {
        if let Err(trouble) = self.tell(id, order::Command::RaiseIssue { kind, notice: None }).await {
            tracing::warn!(%id, ?trouble, "an operator could not be told of an order");
        }
    }

    /// Rest for an order that something is wrong with: money may be at stake, so it is not left until the next start.
    pub(super) fn look_again(&self) -> Rest {
        Rest::Until(self.clock.now().plus_ms(LOOK_AGAIN_MS))
    }

    /// Asks the provider about a payment, and tells the order what it said.
    async fn pay(&self, id: OrderId, order: &Order, step: &Step, number: u32) -> Outcome {
        let (Some(attempt), Some(placement)) = (order.attempt(number), order.placement()) else {
            return Err(TaskError::Retry("the attempt is not recorded".into()));
        };
        if let (Step::Poll(_), Some((reference, _))) = (step, attempt.captured()) {
            return self.poll_captured(id, attempt, reference.to_owned()).await;
        }
        let payment = Payment {
            order: id,
            attempt: number,
            amount: placement.total,
            method: attempt.method.clone(),
            capture: attempt.capture,
            requested_at: attempt.requested_at,
            reference: attempt.state.as_ref().and_then(PaymentState::reference).map(str::to_owned),
        };
        let answer = self.within_time(self.ask_provider(step, attempt, payment)).await;
        let state = match answer {
            Ok(state) => state,
            Err(unknown) => return Err(TaskError::Retry(unknown.problem)),
        };
        let reference = state.reference().unwrap_or_default().to_owned();
        // What is to be captured or given up and is not: the provider is still at it.
        let undone = match (step, &state) {
            (Step::Void(_), state) => !state.is_final(),
            (Step::Capture(_), state) => matches!(state, PaymentState::Authorised { .. }),
            _ => false,
        };
        let advance = order::Command::AdvancePayment { attempt: number, state };
        match self.ask(&self.orders, &id, advance).await? {
            Ok(_) if undone => Err(TaskError::Retry("the provider is still at it".into())),
            Ok(order) => Ok(order),
            Err(rejection) => {
                if let Rejection::AmountMismatch { captured, .. } = rejection {
                    // At once, as it is about money; it resolves itself where the next answer is another.
                    self.raise(id, IssueKind::AmountMismatch { attempt: number, reference, captured }).await;
                }
                Err(TaskError::Retry(rejection.to_string()))
            }
        }
    }

    /// Asks what has gone back of a captured payment, and tells the order.
    async fn poll_captured(&self, id: OrderId, attempt: &Attempt, reference: String) -> Outcome {
        let number = attempt.number;
        let found = self.within_time(self.gateway.look_up(reference)).await;
        let found = found.map_err(|unknown| TaskError::Retry(unknown.problem))?;
        if let Some(booked) = found {
            let refunded_minor = booked.refunded_minor;
            let record = order::Command::RecordRefunded { attempt: number, refunded_minor };
            if let Err(rejection) = self.ask(&self.orders, &id, record).await? {
                let what = format!("{} minor units of {} went back: {rejection}", refunded_minor, booked.reference);
                self.raise(id, IssueKind::Differs { what }).await;
            }
        }
        // A capture is final: this records that the provider was asked.
        let state = attempt.state.clone().ok_or_else(|| TaskError::Retry("the attempt is not recorded".into()))?;
        self.tell(id, order::Command::AdvancePayment { attempt: number, state }).await
    }

    async fn ask_provider(
        &self,
        step: &Step,
        attempt: &Attempt,
        payment: Payment,
    ) -> Result<PaymentState, payments::Unknown> {
        let is_old = self.clock.now().ms_apart(attempt.requested_at) >= self.limits.only_ask_ms;
        match step {
            Step::Capture(_) => self.gateway.capture(payment).await,
            Step::Void(_) => self.gateway.void(payment).await,
            Step::Poll(_) => {
                let known = attempt.state.clone();
                let found = self.gateway.find(payment).await?;
                found.or(known).ok_or_else(|| payments::Unknown::new("the provider does not know the payment"))
            }
            // Nobody waits for it any more, and a repeat could be a second payment. Whatever became of it is answered.
            _ if is_old && attempt.state.is_none() => self.gateway.void(payment).await,
            _ if is_old => match self.gateway.find(payment).await? {
                Some(state) => Ok(state),
                None => Err(payments::Unknown::new("the provider does not know the payment")),
            },
            _ => self.gateway.pay(payment).await,
        }
    }

    /// Asks the provider about a refund, and tells the order what it said.
    async fn refund(&self, id: OrderId, order: &Order, number: u32) -> Outcome {
        let refund = order.refund(number);
        let paid = refund.and_then(|refund| order.attempt(refund.attempt)).and_then(Attempt::captured);
        let (Some(refund), Some((payment, _))) = (refund, paid) else {
            return Err(TaskError::Retry("the refund is not recorded".into()));
        };
        let repayment = Repayment {
            order: id,
            number,
            attempt: refund.attempt,
            amount: refund.amount,
            payment: payment.to_owned(),
            reference: match &refund.state {
                Some(RefundState::Processing { reference } | RefundState::Refunded { reference }) => {
                    Some(reference.clone())
                }
                _ => None,
            },
        };
        match self.within_time(self.gateway.refund(repayment)).await {
            Ok(state) => self.tell(id, order::Command::AdvanceRefund { number, state }).await,
            Err(unknown) => Err(TaskError::Retry(unknown.problem)),
        }
    }

    async fn within_time<T>(
        &self,
        asking: impl Future<Output = Result<T, payments::Unknown>>,
    ) -> Result<T, payments::Unknown> {
        let limit = Duration::from_millis(self.limits.provider_ms_max);
        let in_time = tokio::time::timeout(limit, asking).await;
        in_time.unwrap_or_else(|_| Err(payments::Unknown::new("the provider did not answer in time")))
    }

    /// Tells the order something. A refusal says that the order has moved on meanwhile; what is next is asked again.
    async fn tell(&self, id: OrderId, command: order::Command) -> Outcome {
        match self.ask(&self.orders, &id, command).await? {
            Ok(order) => Ok(order),
            Err(rejection) => Err(TaskError::Retry(rejection.to_string())),
        }
    }

    /// Asks an entity ahead.
    async fn ask<E: Entity>(
        &self,
        directory: &Directory<E>,
        id: &E::Id,
        command: E::Command,
    ) -> Result<Result<E::View, E::Rejection>, TaskError> {
        let limit = Duration::from_millis(self.limits.entity_ms_max);
        directory.ask_ahead_within(limit, id, command).await
    }
}

/// An order on its way to rest.
struct Drive<'a> {
    driver: &'a Driver,
    id: OrderId,
    /// Its newest known state; `None` if it is to be read.
    known: Option<Arc<Order>>,
    poll: Poll,
    /// Whether something that was done, or `known`, may not be durable yet.
    is_ahead: bool,
    /// Whether `known` is what the caller saw. Others may have seen more, so the order is read again before it rests.
    is_from_caller: bool,
    /// Since when the provider has had no definite answer.
    troubled_since: Option<Timestamp>,
    backoff: Backoff,
}

impl Drive<'_> {
    /// The next step of the order, or its rest.
    async fn next(&mut self) -> ControlFlow<Rest, (Arc<Order>, Step)> {
        loop {
            let order = self.order().await?;
            let poll = std::mem::replace(&mut self.poll, Poll::IfNeeded);
            let now = self.driver.clock.now();
            let ask_again = now.plus_ms(self.driver.limits.ask_again_ms);
            let rest = match order.turn(now, poll) {
                Some(Turn::Do(step)) => {
                    self.is_from_caller = false;
                    // The intent is durable before a byte leaves.
                    if step.asks_provider() && self.is_ahead {
                        self.barrier().await?;
                    }
                    return ControlFlow::Continue((order, step));
                }
                Some(Turn::WaitUntil(moment)) => Rest::Until(moment),
                Some(Turn::PollLater(latest)) => Rest::Until(latest.map_or(ask_again, |latest| latest.min(ask_again))),
                Some(Turn::Rest) => Rest::Done,
                None => return ControlFlow::Break(Rest::Done),
            };
            if !self.is_from_caller {
                return self.rest(rest).await;
            }
            // Afterwards all that the caller saw is durable, and what came after it, too.
            self.barrier().await?;
            match self.driver.orders.read(&self.id).await {
                Ok(newer) if newer.sequence > order.sequence() => {
                    (self.known, self.poll, self.is_from_caller) = (Some(newer.view), poll, false);
                }
                _ => return ControlFlow::Break(rest),
            }
        }
    }

    /// The newest known state of the order.
    async fn order(&mut self) -> ControlFlow<Rest, Arc<Order>> {
        if let Some(order) = self.known.take() {
            return ControlFlow::Continue(order);
        }
        match self.driver.orders.read(&self.id).await {
            Ok(versioned) => ControlFlow::Continue(versioned.view),
            Err(LoadError::Fault(Fault::Closed | Fault::Failed)) => ControlFlow::Break(Rest::Done),
            Err(error) => {
                tracing::error!(id = %self.id, %error, "an order cannot be read; this is tried again");
                ControlFlow::Break(self.driver.look_again())
            }
        }
    }

    fn after_success(&mut self, order: Arc<Order>) {
        (self.known, self.is_ahead, self.troubled_since) = (Some(order), true, None);
        self.backoff.reset();
    }

    /// Pauses before the step is repeated; a pause that would be long is a rest.
    async fn after_trouble(&mut self, order: &Order, step: &Step, problem: String) -> ControlFlow<Rest> {
        let (limits, now) = (self.driver.limits, self.driver.clock.now());
        let pause_ms = self.backoff.after_failure(limits.back_off_ms_min, limits.back_off_ms_max);
        tracing::warn!(id = %self.id, ?step, problem, pause_ms, "a step of an order is to be repeated");
        let since = since_when(order, step).unwrap_or(*self.troubled_since.get_or_insert(now));
        self.driver.report(self.id, step, problem, since).await;
        self.is_ahead = true;
        if let Step::Poll(_) = step {
            // Nothing waits for it, so there is no hurry; but a deadline comes first.
            let ask_again = now.plus_ms(limits.ask_again_ms);
            let deadline = order.placement().map(|placement| placement.deadline).filter(|at| *at > now);
            let moment = deadline.map_or(ask_again, |deadline| deadline.min(ask_again));
            return self.rest(Rest::Parked(moment, since)).await;
        }
        if step.asks_provider() && pause_ms >= PARK_MS {
            let longest = (now.ms_since(since) / 2).clamp(PARK_MS, limits.back_off_ms_max.max(PARK_MS));
            let moment = now.plus_ms(fastrand::u64(PARK_MS..=longest));
            return self.rest(Rest::Parked(moment, since)).await;
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..=pause_ms.max(1)))).await;
        // What is read next must not be older than what was done.
        self.barrier().await
    }

    /// The order rests when all that was done is durable.
    async fn rest<T>(&mut self, rest: Rest) -> ControlFlow<Rest, T> {
        if self.is_ahead
            && let ControlFlow::Break(closed) = self.barrier().await
        {
            return ControlFlow::Break(closed);
        }
        ControlFlow::Break(rest)
    }

    /// Waits until all that was done is durable. If it cannot become durable any more, the next start resumes the
    /// order.
    async fn barrier(&mut self) -> ControlFlow<Rest> {
        if self.driver.journal.barrier().await.is_err() {
            return ControlFlow::Break(Rest::Done);
        }
        self.is_ahead = false;
        ControlFlow::Continue(())
    }
}

/// When the provider was to be asked first, also over restarts.
fn since_when(order: &Order, step: &Step) -> Option<Timestamp> {
    match step {
        Step::Pay(number) => order.attempt(*number).map(|attempt| attempt.requested_at),
        Step::Refund(number) => order.refund(*number).map(|refund| refund.at),
        _ => None,
    }
}

/// What was answered, refusals included; `None` where that is unknown.
fn known<V, R>(answer: Result<Result<V, R>, TaskError>) -> Result<Option<Result<(), R>>, TaskError> {
    match answer {
        Ok(answer) => Ok(Some(answer.map(drop))),
        Err(TaskError::Closing) => Err(TaskError::Closing),
        Err(TaskError::Retry(_)) => Ok(None),
    }
}
