//! Drives one order for the checkout: performs the order's next step, records its outcome in the order, and continues
//! until the order rests.
//!
//! A step begins as soon as the event of the previous step is admitted to the journal, because no event becomes durable
//! without those before it. The driver waits for the disk twice: before a request is sent to the provider, and before
//! the order rests, which is when customers are answered.
//!
//! Every step may be performed twice, and a step with an unknown outcome is repeated, so a crash between any two lines
//! costs a repetition. The checkout sees to it that an order has one driver at a time: of two, one could reserve what
//! the other was refused. This runs in a task for each order, so no actor waits for another one or for the provider.
//!
//! May depend on `payments`, `storage` and `domain`.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use futures::future::join_all;

use super::{
    backoff::Backoff,
    directory::Directory,
    sales::{Reservation, Sales},
    task_error::TaskError,
};
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
    payments::{self, Gateway, Payment, ProviderPayment, Repayment},
    storage::{Fault, Journal, LoadError},
};

/// The pause before an order is driven again that could not be read, or whose driver panicked, in milliseconds.
const FAILED_PAUSE_MS: u64 = 60_000;

/// The shortest pause before a request to the provider that is spent at rest instead of in a task, in milliseconds. The
/// number of tasks is limited: while a provider is down for long, its payments must not keep other orders from being
/// driven.
const PARK_MS: u64 = 1_000;

/// The limits of driving an order.
#[derive(Debug, Clone, Copy)]
pub struct DriveLimits {
    /// How long the provider may take to answer, in milliseconds; then the outcome is unknown. A charge may take
    /// several requests.
    pub provider_ms_max: u64,
    /// How long an entity may take to answer, in milliseconds; then the outcome is unknown.
    pub entity_ms_max: u64,
    /// The first pause before a step with an unknown outcome is repeated, in milliseconds. It doubles each time, with
    /// full jitter.
    pub back_off_ms_min: u64,
    /// The longest pause, in milliseconds.
    pub back_off_ms_max: u64,
    /// The time after which the provider is polled for a payment or refund that waits for somebody, in milliseconds,
    /// because its notice may be lost.
    pub poll_ms: u64,
    /// How long a step may go without a definite outcome before an issue is raised for an operator, in milliseconds.
    /// The step is repeated all the same.
    pub issue_ms: u64,
    /// How long a charge may be repeated, in milliseconds: providers forget idempotency keys after a day. Then a
    /// payment of which nothing is known is voided, and any other is only polled.
    pub repeat_ms_max: u64,
}

impl Default for DriveLimits {
    fn default() -> Self {
        Self {
            provider_ms_max: 30_000,
            entity_ms_max: 10_000,
            back_off_ms_min: 20,
            back_off_ms_max: 30_000,
            poll_ms: 60_000,
            issue_ms: 15 * 60_000,
            repeat_ms_max: 20 * 3_600_000,
        }
    }
}

/// Performs the steps of orders.
#[derive(Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Driver {
    pub orders: Directory<Order>,
    pub carts: Directory<Cart>,
    pub inventories: Directory<Inventory>,
    /// The journal whose barrier comes before every request to the provider.
    pub journal: Journal,
    pub gateway: Arc<dyn Gateway>,
    pub clock: Clock,
    pub limits: DriveLimits,
    pub sales: Arc<Sales>,
}

/// How long an order rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// The checkout has nothing more to do for it, or the shop is closing and the next start resumes it.
    Done,
    /// Until this moment: it waits for its customer, or driving it has failed.
    Until(Timestamp),
    /// Until the first moment, because a step has had no definite answer since the second.
    Parked(Timestamp, Timestamp),
}

/// The order after a step. Its event is admitted; it is durable when the order rests.
type Outcome = Result<Arc<Order>, TaskError>;

impl Driver {
    /// Performs step after step until the order rests. `known` is the order as the caller saw it: it may be outdated,
    /// and not yet durable. `unanswered_since` is the second moment of [`Rest::Parked`], if the order rested so before.
    pub async fn drive(
        &self,
        id: OrderId,
        known: Option<Arc<Order>>,
        poll: Poll,
        unanswered_since: Option<Timestamp>,
    ) -> Rest {
        let (is_ahead, is_from_caller) = (known.is_some(), known.is_some());
        let backoff = Backoff::default();
        let mut drive = Drive { driver: self, id, known, poll, is_ahead, is_from_caller, unanswered_since, backoff };
        loop {
            let (order, step) = match drive.next().await {
                ControlFlow::Continue(next) => next,
                ControlFlow::Break(rest) => return rest,
            };
            match self.perform(id, &order, &step).await {
                Ok(order) => drive.after_success(self.settle_answered(id, order, &step).await),
                Err(TaskError::Closing) => return Rest::Done,
                Err(TaskError::Retry(problem)) => {
                    if let ControlFlow::Break(rest) = drive.after_failure(&order, &step, problem).await {
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
            step => self.perform_effects(id, order, step).await,
        }
    }

    /// Sends the effects of a step to the cart and the inventories, and records their answers in the order.
    async fn perform_effects(&self, id: OrderId, order: &Order, step: &Step) -> Outcome {
        let Some(customer) = order.placement().map(|placement| placement.customer) else {
            return Err(TaskError::Retry("the order has no placement".into()));
        };
        let requests = join_all(step.effects(id, order).into_iter().map(|effect| async move {
            Ok::<_, TaskError>(match effect {
                Effect::Cart(command) => EffectResult::Cart(known(self.send(&self.carts, &customer, command).await)?),
                Effect::Stock(product, command) => {
                    let intended = Reservation::intended(&command, order);
                    let answer = self.send(&self.inventories, &product, command).await;
                    if let Ok(answer) = &answer {
                        self.sales.answered(intended, answer);
                    }
                    EffectResult::Stock(known(answer)?)
                }
            })
        }));
        let results = requests.await.into_iter().collect::<Result<Vec<_>, TaskError>>()?;
        match step.record(results) {
            Ok(command) => self.record(id, command).await,
            Err(retry) => {
                if let Some(known) = retry.known {
                    self.record(id, *known).await?;
                }
                Err(TaskError::Retry(retry.reason))
            }
        }
    }

    /// Raises an issue for an operator if the step has failed for too long. The step is repeated all the same.
    async fn raise_if_overdue(&self, id: OrderId, step: &Step, seen: String, since: Timestamp) {
        if self.clock.now().ms_since(since) >= self.limits.issue_ms {
            let kind = match step {
                Step::Pay(number) | Step::Void(number) => IssueKind::PaymentUnknown { attempt: *number, seen },
                _ => IssueKind::Stuck { seen },
            };
            self.raise(id, kind).await;
        }
    }

    /// Settles the issues that said that this step fails: it has succeeded, even if the order goes on waiting.
    async fn settle_answered(&self, id: OrderId, order: Arc<Order>, step: &Step) -> Arc<Order> {
        let Some(settle) = order.settled_by(step) else { return order };
        // The next answer settles them where this fails.
        self.record(id, settle).await.unwrap_or(order)
    }

    async fn raise(&self, id: OrderId, kind: IssueKind) {
        if let Err(error) = self.record(id, order::Command::RaiseIssue { kind, notice: None }).await {
            tracing::warn!(%id, ?error, "an operator could not be told of an order");
        }
    }

    /// The rest of an order that could not be driven. Money may be at stake, so it does not wait for the next start.
    pub(super) fn rest_after_failure(&self) -> Rest {
        Rest::Until(self.clock.now().plus_ms(FAILED_PAUSE_MS))
    }

    /// Sends the request of a payment step to the provider, and records the answer in the order.
    async fn pay(&self, id: OrderId, order: &Order, step: &Step, number: u32) -> Outcome {
        let (Some(attempt), Some(placement)) = (order.attempt(number), order.placement()) else {
            return Err(TaskError::Retry("the attempt is not recorded".into()));
        };
        if let (Step::Poll(_), Some((reference, _))) = (step, attempt.captured()) {
            return self.poll_captured(id, order, attempt, reference.to_owned()).await;
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
        let answer = self.within_time(self.call_provider(step, attempt, payment)).await;
        let state = match answer {
            Ok(state) => state,
            Err(unknown) => return Err(TaskError::Retry(unknown.problem)),
        };
        let reference = state.reference().unwrap_or_default().to_owned();
        // The provider has accepted the void or the capture, but not finished it.
        let is_unfinished = match (step, &state) {
            (Step::Void(_), state) => !state.is_final(),
            (Step::Capture(_), state) => matches!(state, PaymentState::Authorised { .. }),
            _ => false,
        };
        let advance = order::Command::AdvancePayment { attempt: number, state };
        match self.send(&self.orders, &id, advance).await? {
            Ok(_) if is_unfinished => Err(TaskError::Retry("the provider has not finished it yet".into())),
            Ok(order) => Ok(order),
            Err(rejection) => {
                if let Rejection::AmountMismatch { captured, .. } = rejection {
                    // Raised at once, because it is about money. It resolves itself if the next answer has the right
                    // amount.
                    self.raise(id, IssueKind::AmountMismatch { attempt: number, reference, captured }).await;
                }
                Err(TaskError::Retry(rejection.to_string()))
            }
        }
    }

    /// Polls how much of a captured payment was refunded, and records it in the order.
    async fn poll_captured(&self, id: OrderId, order: &Order, attempt: &Attempt, reference: String) -> Outcome {
        let number = attempt.number;
        let mut found = self.look_up(reference.clone()).await?;
        let refunded = |found: &Option<ProviderPayment>| found.as_ref().map_or(u64::MAX, |it| it.refunded_minor);
        let in_doubt = order.own_refunds_in_doubt(number, refunded(&found));
        if !in_doubt.is_empty() {
            for own in in_doubt {
                self.refund(id, order, own).await?;
            }
            found = self.look_up(reference).await?;
        }
        if let Some(payment) = found {
            self.record_refunded(id, number, &payment).await?;
        }
        // A captured attempt is final, so its state is the same; this records that it was polled.
        let state = attempt.state.clone().ok_or_else(|| TaskError::Retry("the attempt is not recorded".into()))?;
        self.record(id, order::Command::AdvancePayment { attempt: number, state }).await
    }

    async fn look_up(&self, reference: String) -> Result<Option<ProviderPayment>, TaskError> {
        let found = self.within_time(self.gateway.look_up(reference)).await;
        found.map_err(|unknown| TaskError::Retry(unknown.problem))
    }

    /// Records how much of an attempt the provider has refunded. Each command is about one refund.
    async fn record_refunded(&self, id: OrderId, attempt: u32, payment: &ProviderPayment) -> Result<(), TaskError> {
        let refunded_minor = payment.refunded_minor;
        let mut known = None;
        for _ in 0..order::REFUNDS_MAX {
            let record = order::Command::RecordRefunded { attempt, refunded_minor };
            match self.send(&self.orders, &id, record).await? {
                Ok(order) => {
                    let now_known = Some(order.refunded_by_provider(attempt));
                    if now_known == known || now_known == Some(refunded_minor) {
                        break;
                    }
                    known = now_known;
                }
                Err(rejection) => {
                    let what =
                        format!("{refunded_minor} minor units of {} were refunded: {rejection}", payment.reference);
                    self.raise(id, IssueKind::Differs { what }).await;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sends the request of a step about this payment to the provider.
    async fn call_provider(
        &self,
        step: &Step,
        attempt: &Attempt,
        payment: Payment,
    ) -> Result<PaymentState, payments::Unknown> {
        let is_old = self.clock.now().ms_apart(attempt.requested_at) >= self.limits.repeat_ms_max;
        match step {
            Step::Capture(_) => self.gateway.capture(payment).await,
            Step::Void(_) => self.gateway.void(payment).await,
            Step::Poll(_) => {
                let known = attempt.state.clone();
                let found = self.gateway.find(payment).await?;
                found.or(known).ok_or_else(|| payments::Unknown::new("the provider does not know the payment"))
            }
            // A repeat could charge a second time, and no customer waits any more. The answer to a void says what
            // became of the first request.
            _ if is_old && attempt.state.is_none() => self.gateway.void(payment).await,
            _ if is_old => match self.gateway.find(payment).await? {
                Some(state) => Ok(state),
                None => Err(payments::Unknown::new("the provider does not know the payment")),
            },
            _ => self.gateway.pay(payment).await,
        }
    }

    /// Sends a refund to the provider, and records the answer in the order.
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
            Ok(state) => self.record(id, order::Command::AdvanceRefund { number, state }).await,
            Err(unknown) => Err(TaskError::Retry(unknown.problem)),
        }
    }

    async fn within_time<T>(
        &self,
        answer: impl Future<Output = Result<T, payments::Unknown>>,
    ) -> Result<T, payments::Unknown> {
        let limit = Duration::from_millis(self.limits.provider_ms_max);
        let in_time = tokio::time::timeout(limit, answer).await;
        in_time.unwrap_or_else(|_| Err(payments::Unknown::new("the provider did not answer in time")))
    }

    /// Sends a command to the order. A rejection means that the order has changed meanwhile, so its next step is
    /// computed anew.
    async fn record(&self, id: OrderId, command: order::Command) -> Outcome {
        match self.send(&self.orders, &id, command).await? {
            Ok(order) => Ok(order),
            Err(rejection) => Err(TaskError::Retry(rejection.to_string())),
        }
    }

    /// Sends a command to an entity and waits until its event is admitted to the journal.
    async fn send<E: Entity>(
        &self,
        directory: &Directory<E>,
        id: &E::Id,
        command: E::Command,
    ) -> Result<Result<E::View, E::Rejection>, TaskError> {
        let limit = Duration::from_millis(self.limits.entity_ms_max);
        directory.ask_ahead_within(limit, id, command).await
    }
}

/// One order that is driven until it rests.
struct Drive<'a> {
    driver: &'a Driver,
    id: OrderId,
    /// The newest known state of the order; `None` if it has to be read.
    known: Option<Arc<Order>>,
    poll: Poll,
    /// Whether `known`, or the event of a step, may not be durable yet.
    is_ahead: bool,
    /// Whether `known` comes from the caller. It may be outdated, so the order is read before it rests.
    is_from_caller: bool,
    /// When the step began to have no definite answer.
    unanswered_since: Option<Timestamp>,
    backoff: Backoff,
}

impl Drive<'_> {
    /// The next step of the order, or its rest.
    async fn next(&mut self) -> ControlFlow<Rest, (Arc<Order>, Step)> {
        loop {
            let order = self.order().await?;
            let poll = std::mem::replace(&mut self.poll, Poll::IfNeeded);
            let now = self.driver.clock.now();
            let next_poll = now.plus_ms(self.driver.limits.poll_ms);
            // What has not been answered yet still waits for its answer.
            let until = |moment| match self.unanswered_since {
                Some(since) => Rest::Parked(moment, since),
                None => Rest::Until(moment),
            };
            let rest = match order.turn(now, poll) {
                Some(Turn::Do(step)) => {
                    self.is_from_caller = false;
                    // The intent is durable before the request is sent.
                    if step.calls_provider() && self.is_ahead {
                        self.barrier().await?;
                    }
                    return ControlFlow::Continue((order, step));
                }
                Some(Turn::WaitUntil(moment)) => until(moment),
                Some(Turn::PollLater(latest)) => until(latest.map_or(next_poll, |latest| latest.min(next_poll))),
                Some(Turn::Rest) => Rest::Done,
                None => return ControlFlow::Break(Rest::Done),
            };
            if !self.is_from_caller {
                return self.rest(rest).await;
            }
            // After the barrier a read shows at least what the caller saw.
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
                ControlFlow::Break(self.driver.rest_after_failure())
            }
        }
    }

    fn after_success(&mut self, order: Arc<Order>) {
        (self.known, self.is_ahead, self.unanswered_since) = (Some(order), true, None);
        self.backoff.reset();
    }

    /// Pauses before the step is repeated. The order spends a long pause at rest.
    async fn after_failure(&mut self, order: &Order, step: &Step, problem: String) -> ControlFlow<Rest> {
        let (limits, now) = (self.driver.limits, self.driver.clock.now());
        let pause_ms = self.backoff.after_failure(limits.back_off_ms_min, limits.back_off_ms_max);
        tracing::warn!(id = %self.id, ?step, problem, pause_ms, "a step of an order is to be repeated");
        let since = never_answered_since(order, step).unwrap_or(*self.unanswered_since.get_or_insert(now));
        self.driver.raise_if_overdue(self.id, step, problem, since).await;
        self.is_ahead = true;
        if let Step::Poll(_) = step {
            // Nothing waits for a poll of a final attempt, but the order's deadline comes first.
            let next_poll = now.plus_ms(limits.poll_ms);
            let deadline = order.placement().map(|placement| placement.deadline).filter(|at| *at > now);
            let moment = deadline.map_or(next_poll, |deadline| deadline.min(next_poll));
            return self.rest(Rest::Parked(moment, since)).await;
        }
        if step.calls_provider() && pause_ms >= PARK_MS {
            let longest = (now.ms_since(since) / 2).clamp(PARK_MS, limits.back_off_ms_max.max(PARK_MS));
            let moment = now.plus_ms(fastrand::u64(PARK_MS..=longest));
            return self.rest(Rest::Parked(moment, since)).await;
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..=pause_ms.max(1)))).await;
        // The next read must not show an older state than the steps have made.
        self.barrier().await
    }

    /// Rests when the events of all steps are durable.
    async fn rest<T>(&mut self, rest: Rest) -> ControlFlow<Rest, T> {
        if self.is_ahead
            && let ControlFlow::Break(closed) = self.barrier().await
        {
            return ControlFlow::Break(closed);
        }
        ControlFlow::Break(rest)
    }

    /// Waits until the events of all steps are durable. If they cannot become durable any more, the next start resumes
    /// the order.
    async fn barrier(&mut self) -> ControlFlow<Rest> {
        if self.driver.journal.barrier().await.is_err() {
            return ControlFlow::Break(Rest::Done);
        }
        self.is_ahead = false;
        ControlFlow::Continue(())
    }
}

/// When a request was recorded that has had no answer at all; `None` for any other. A restart does not forget it.
fn never_answered_since(order: &Order, step: &Step) -> Option<Timestamp> {
    match step {
        Step::Pay(number) => {
            order.attempt(*number).filter(|attempt| attempt.state.is_none()).map(|attempt| attempt.requested_at)
        }
        Step::Refund(number) => order.refund(*number).filter(|refund| refund.state.is_none()).map(|refund| refund.at),
        _ => None,
    }
}

/// The answer, accepted or rejected; `None` if it is unknown.
fn known<V, R>(answer: Result<Result<V, R>, TaskError>) -> Result<Option<Result<(), R>>, TaskError> {
    match answer {
        Ok(answer) => Ok(Some(answer.map(drop))),
        Err(TaskError::Closing) => Err(TaskError::Closing),
        Err(TaskError::Retry(_)) => Ok(None),
    }
}
