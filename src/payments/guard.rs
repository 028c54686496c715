//! A guard before a provider: it counts and times the calls, its circuit breaker keeps calls back while the answers are
//! unknown, and it asks nothing of an account that the shop is not paid through.
//!
//! A definite answer is a success of the provider, also where it is a decline. A call that its caller drops, as after a
//! time-out, and one that panics count as unknown. Depends on `domain` and its neighbours.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::FutureExt;
use tokio::{sync::OnceCell, time::Instant};

pub use super::breaker::BreakerState;
pub use super::calls::{Call, CallMetrics, CallOutcome};
use super::{
    AmountRefused, Answer, Gateway, Notice, NoticeRefused, Payment, PaymentsPage, ProviderPayment, Repayment, Unknown,
    UnknownMethod,
    breaker::{Breaker, Permit},
    free,
};
use crate::domain::{
    entity::Timestamp,
    money::Money,
    order::{PaymentState, RefundState},
};

/// The state of a guard.
#[derive(Debug, Clone)]
pub struct GatewayFigures {
    /// The state of the breaker.
    pub state: BreakerState,
    /// How long the breaker has been in this state.
    pub since: Duration,
    /// How often the breaker has opened.
    pub opened: u64,
    /// Calls without an answer so far.
    pub in_flight: u64,
    /// Counts and durations of the calls.
    pub calls: CallMetrics,
}

/// Remembers which account of the provider the shop is paid through.
pub(crate) trait Accounts: Send + Sync + 'static {
    /// Remembers the account, durably, where none is known.
    ///
    /// # Errors
    /// The answer says that it is another account than the known one, or could not be remembered.
    fn remember(&self, account: String) -> Answer<'_, ()>;
}

/// A provider with a guard.
pub(crate) struct Guarded {
    gateway: Arc<dyn Gateway>,
    accounts: Arc<dyn Accounts>,
    /// Set once the account is known to be the right one: the gateway's cannot change while the shop runs.
    is_right_account: OnceCell<()>,
    breaker: Breaker,
    in_flight: AtomicU64,
    calls: CallMetrics,
}

/// A call in flight. If it is dropped before its answer, its outcome is unknown.
struct InFlight<'a> {
    guarded: &'a Guarded,
    call: Call,
    permit: Permit,
    began: Instant,
    outcome: CallOutcome,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.guarded.calls.count(self.call, self.outcome);
        self.guarded.calls.observe(self.call, self.began.elapsed());
        self.guarded.in_flight.fetch_sub(1, Relaxed);
        if let Some(state) = self.guarded.breaker.release(self.permit, self.outcome == CallOutcome::Ok) {
            let (provider, state) = (self.guarded.gateway.name(), state.as_str());
            tracing::warn!(provider, state, "the circuit breaker of the payment provider has changed its state");
        }
    }
}

impl Guarded {
    /// Guards this provider, which is asked only through the account that is remembered.
    pub(crate) fn new(gateway: Arc<dyn Gateway>, accounts: Arc<dyn Accounts>) -> Self {
        Self {
            gateway,
            accounts,
            is_right_account: OnceCell::new(),
            breaker: Breaker::new(),
            in_flight: AtomicU64::new(0),
            calls: CallMetrics::default(),
        }
    }

    /// Whether the gateway asks the account that the shop is paid through. In another one, no payment would be found,
    /// and what is not found could be charged again.
    async fn check_account(&self) -> Result<(), Unknown> {
        let check = || async {
            match self.gateway.account().await? {
                Some(account) => self.accounts.remember(account).await,
                None => Ok(()),
            }
        };
        self.is_right_account.get_or_try_init(check).await.map(|&()| ())
    }

    /// The state of the breaker, and the counters.
    #[must_use]
    pub(crate) fn figures(&self) -> GatewayFigures {
        let (state, since, opened) = self.breaker.state();
        let (in_flight, calls) = (self.in_flight.load(Relaxed), self.calls.clone());
        GatewayFigures { state, since: since.elapsed(), opened, in_flight, calls }
    }

    fn guard<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        ask: impl FnOnce(&'a dyn Gateway) -> Answer<'a, T> + Send + 'a,
    ) -> Answer<'a, T> {
        async move {
            let Some(permit) = self.breaker.acquire() else {
                self.calls.count(call, CallOutcome::Refused);
                return Err(Unknown::new(
                    "the provider is not called for now, because too many of its answers were unknown",
                ));
            };
            self.in_flight.fetch_add(1, Relaxed);
            let outcome = CallOutcome::Unknown;
            let mut in_flight = InFlight { guarded: self, call, permit, began: Instant::now(), outcome };
            // A panic says nothing about the payment, so the outcome is unknown. The guard uses nothing of the gateway
            // after it.
            let asking = async {
                self.check_account().await?;
                ask(&*self.gateway).await
            };
            let answer = AssertUnwindSafe(asking).catch_unwind().await;
            let answer = answer.unwrap_or_else(|_| Err(Unknown::new("the payment gateway panicked")));
            if answer.is_ok() {
                in_flight.outcome = CallOutcome::Ok;
            }
            answer
        }
        .boxed()
    }
}

impl Gateway for Guarded {
    fn name(&self) -> &'static str {
        self.gateway.name()
    }

    fn check_amount(&self, amount: Money) -> Result<(), AmountRefused> {
        if amount.minor == 0 { Ok(()) } else { self.gateway.check_amount(amount) }
    }

    fn check_method(&self, method: &str) -> Result<(), UnknownMethod> {
        self.gateway.check_method(method)
    }

    fn pay(&self, payment: Payment) -> Answer<'_, PaymentState> {
        free::paid(&payment).unwrap_or_else(|| self.guard(Call::Pay, |gateway| gateway.pay(payment)))
    }

    fn find(&self, payment: Payment) -> Answer<'_, Option<PaymentState>> {
        free::found(&payment).unwrap_or_else(|| self.guard(Call::Find, |gateway| gateway.find(payment)))
    }

    fn look_up(&self, reference: String) -> Answer<'_, Option<ProviderPayment>> {
        self.guard(Call::Find, |gateway| gateway.look_up(reference))
    }

    fn capture(&self, payment: Payment) -> Answer<'_, PaymentState> {
        free::paid(&payment).unwrap_or_else(|| self.guard(Call::Capture, |gateway| gateway.capture(payment)))
    }

    fn void(&self, payment: Payment) -> Answer<'_, PaymentState> {
        free::voided(&payment).unwrap_or_else(|| self.guard(Call::Void, |gateway| gateway.void(payment)))
    }

    fn refund(&self, repayment: Repayment) -> Answer<'_, RefundState> {
        free::refunded(&repayment).unwrap_or_else(|| self.guard(Call::Refund, |gateway| gateway.refund(repayment)))
    }

    fn list_payments(&self, since: Timestamp, until: Timestamp, after: Option<String>) -> Answer<'_, PaymentsPage> {
        self.guard(Call::List, move |gateway| gateway.list_payments(since, until, after))
    }

    fn signature_header(&self) -> &'static str {
        self.gateway.signature_header()
    }

    fn notice(&self, signature: &str, body: &[u8], now: Timestamp) -> Result<Notice, NoticeRefused> {
        self.gateway.notice(signature, body, now)
    }
}

#[cfg(test)]
mod tests {
    use futures::future;
    use parking_lot::Mutex;
    use tokio::time::{advance, sleep, timeout};

    use super::*;
    use crate::{
        domain::{ids::OrderId, money::Currency, order::CaptureMode},
        payments::fake_provider::FakeProvider,
    };

    /// Its answer depends on the token: `lost` is unknown, `panics` panics, `hangs` takes a day, any other takes a
    /// while.
    struct Stub;

    impl Gateway for Stub {
        fn name(&self) -> &'static str {
            "stub"
        }

        fn account(&self) -> Answer<'_, Option<String>> {
            future::ready(Ok(Some("ours".into()))).boxed()
        }

        fn pay(&self, payment: Payment) -> Answer<'_, PaymentState> {
            async move {
                match payment.method.as_str() {
                    "lost" => return Err(Unknown::new("lost")),
                    "panics" => panic!("by the test"),
                    "hangs" => sleep(Duration::from_secs(86_400)).await,
                    _ => sleep(Duration::from_millis(30)).await,
                }
                Ok(PaymentState::Declined { reason: "no".into() })
            }
            .boxed()
        }

        fn find(&self, _: Payment) -> Answer<'_, Option<PaymentState>> {
            unreachable!()
        }

        fn look_up(&self, _: String) -> Answer<'_, Option<ProviderPayment>> {
            unreachable!()
        }

        fn capture(&self, _: Payment) -> Answer<'_, PaymentState> {
            unreachable!()
        }

        fn void(&self, _: Payment) -> Answer<'_, PaymentState> {
            unreachable!()
        }

        fn refund(&self, _: Repayment) -> Answer<'_, RefundState> {
            unreachable!()
        }

        fn list_payments(&self, _: Timestamp, _: Timestamp, _: Option<String>) -> Answer<'_, PaymentsPage> {
            unreachable!()
        }

        fn signature_header(&self) -> &'static str {
            "stub"
        }

        fn notice(&self, _: &str, _: &[u8], _: Timestamp) -> Result<Notice, NoticeRefused> {
            Err(NoticeRefused::NotSetUp)
        }
    }

    /// Takes any account for the right one.
    struct AnyAccount;

    impl Accounts for AnyAccount {
        fn remember(&self, _: String) -> Answer<'_, ()> {
            future::ready(Ok(())).boxed()
        }
    }

    fn guarded(gateway: impl Gateway) -> Guarded {
        Guarded::new(Arc::new(gateway), Arc::new(AnyAccount))
    }

    fn payment(method: &str) -> Payment {
        let amount = Money::new(500, Currency::INR).unwrap();
        let (order, method, capture) = (OrderId(1), method.into(), CaptureMode::AtOnce);
        Payment { order, attempt: 1, amount, method, capture, requested_at: Timestamp(0), reference: None }
    }

    #[tokio::test]
    async fn an_amount_of_zero_is_paid_voided_and_refunded_without_the_provider() {
        // The stub panics if it is called for anything but a payment.
        let guarded = guarded(Stub);
        let free = Payment { amount: Money::zero(Currency::INR), ..payment("panics") };
        let (reference, amount) = (free::REFERENCE.to_owned(), free.amount);
        let captured = PaymentState::Captured { reference: reference.clone(), amount };
        assert_eq!(guarded.pay(free.clone()).await, Ok(captured.clone()));
        assert_eq!(guarded.find(free.clone()).await, Ok(Some(captured.clone())));
        assert_eq!(guarded.capture(free.clone()).await, Ok(captured));
        assert_eq!(guarded.void(free.clone()).await, Ok(PaymentState::Voided { reference: None }));
        let (order, payment) = (free.order, reference.clone());
        let repayment = Repayment { order, number: 1, attempt: 1, amount, payment, reference: None };
        assert_eq!(guarded.refund(repayment).await, Ok(RefundState::Refunded { reference }));
        assert_eq!(paid(&guarded), (0, 0, 0), "the provider was not called");
    }

    /// The number of calls to pay that were definite, unknown and blocked.
    fn paid(guarded: &Guarded) -> (u64, u64, u64) {
        let calls = guarded.figures().calls;
        let [ok, unknown, refused] = CallOutcome::ALL.map(|outcome| calls.requests(Call::Pay, outcome));
        (ok, unknown, refused)
    }

    #[tokio::test(start_paused = true)]
    async fn declines_are_definite_and_unknown_answers_open_the_breaker_until_probes_close_it() {
        let guarded = guarded(Stub);
        for _ in 0..100 {
            guarded.pay(payment("declined")).await.unwrap();
        }
        assert_eq!((guarded.figures().state, paid(&guarded)), (BreakerState::Closed, (100, 0, 0)));
        while guarded.figures().state == BreakerState::Closed {
            guarded.pay(payment("lost")).await.unwrap_err();
        }
        let unknown = paid(&guarded).1;
        let before = Instant::now();
        guarded.pay(payment("hangs")).await.unwrap_err();
        assert_eq!(before.elapsed(), Duration::ZERO, "it fails at once");
        assert_eq!(paid(&guarded), (100, unknown, 1));
        advance(Duration::from_secs(10)).await;
        assert_eq!(guarded.figures().since, Duration::from_secs(10));
        guarded.pay(payment("declined")).await.unwrap();
        assert_eq!(guarded.figures().state, BreakerState::HalfOpen, "one may be luck");
        guarded.pay(payment("declined")).await.unwrap();
        let figures = guarded.figures();
        assert_eq!((figures.state, figures.opened, figures.in_flight), (BreakerState::Closed, 1, 0));
        assert_eq!(paid(&guarded), (102, unknown, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_call_is_unknown_and_not_in_flight_any_more() {
        let guarded = guarded(Stub);
        drop(guarded.pay(payment("hangs")));
        assert_eq!(paid(&guarded), (0, 0, 0), "a future that was never polled is no call");
        let mut calls = 0_u32;
        while guarded.figures().state == BreakerState::Closed {
            calls += 1;
            timeout(Duration::from_secs(20), guarded.pay(payment("hangs"))).await.unwrap_err();
        }
        assert_eq!((paid(&guarded), guarded.figures().in_flight), ((0, calls.into(), 0), 0));
        let seconds = guarded.figures().calls.seconds(Call::Pay);
        assert!((seconds - f64::from(calls) * 20.0).abs() < 0.1, "{seconds} s of {calls} calls");
        advance(Duration::from_secs(10)).await;
        timeout(Duration::from_secs(20), guarded.pay(payment("hangs"))).await.unwrap_err();
        assert_eq!(guarded.figures().state, BreakerState::HalfOpen);
        while guarded.figures().state == BreakerState::HalfOpen {
            timeout(Duration::from_secs(20), guarded.pay(payment("hangs"))).await.unwrap_err();
        }
        assert_eq!(guarded.figures().state, BreakerState::Open, "also as probes");
    }

    #[tokio::test]
    async fn a_gateway_that_panics_has_an_unknown_outcome_and_can_be_called_again() {
        let guarded = guarded(Stub);
        let unknown = guarded.pay(payment("panics")).await.unwrap_err();
        assert_eq!(unknown.problem, "the payment gateway panicked");
        assert_eq!((paid(&guarded), guarded.figures().in_flight), ((0, 1, 0), 0));
        guarded.pay(payment("declined")).await.unwrap();
    }

    /// Remembers what it was told, where that is allowed, and fails as often as is written.
    struct Remembers {
        allowed: &'static str,
        fails: Mutex<u32>,
        asked: Mutex<u32>,
    }

    impl Accounts for Remembers {
        fn remember(&self, account: String) -> Answer<'_, ()> {
            *self.asked.lock() += 1;
            let mut fails = self.fails.lock();
            let is_down = *fails > 0;
            *fails = fails.saturating_sub(1);
            let answer = if is_down || account != self.allowed { Err(Unknown::new("another account")) } else { Ok(()) };
            future::ready(answer).boxed()
        }
    }

    #[tokio::test]
    async fn nothing_is_asked_of_another_account_and_the_right_one_is_found_out_once() {
        let remembers =
            |allowed, fails| Arc::new(Remembers { allowed, fails: Mutex::new(fails), asked: Mutex::default() });
        let other = Guarded::new(Arc::new(Stub), remembers("theirs", 0));
        for _ in 0..3 {
            // The stub panics where it is called for a void.
            let unknown = other.void(payment("")).await.unwrap_err();
            assert_eq!(unknown.problem, "another account");
        }
        let accounts = remembers("ours", 2);
        let ours = Guarded::new(Arc::new(Stub), Arc::clone(&accounts) as Arc<dyn Accounts>);
        for outcome in [false, false, true, true] {
            assert_eq!(ours.pay(payment("declined")).await.is_ok(), outcome);
        }
        assert_eq!(*accounts.asked.lock(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_flight_are_counted_and_their_times_summed() {
        let guarded = Arc::new(guarded(Stub));
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let guarded = Arc::clone(&guarded);
                tokio::spawn(async move { guarded.pay(payment("declined")).await })
            })
            .collect();
        sleep(Duration::from_millis(10)).await;
        assert_eq!(guarded.figures().in_flight, 20);
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let figures = guarded.figures();
        assert_eq!((figures.in_flight, paid(&guarded)), (0, (20, 0, 0)));
        assert!((figures.calls.seconds(Call::Pay) - 0.6).abs() < 0.01, "20 calls of 30 ms");
    }

    #[tokio::test]
    async fn every_operation_goes_to_the_provider_and_is_counted_as_itself() {
        let guarded = guarded(FakeProvider::in_memory());
        let held = Payment { capture: CaptureMode::Later, ..payment("tok_success") };
        guarded.pay(held.clone()).await.unwrap();
        guarded.find(held.clone()).await.unwrap().unwrap();
        guarded.capture(held.clone()).await.unwrap();
        guarded.void(held.clone()).await.unwrap();
        let (order, number, attempt, amount, payment) = (held.order, 1, 1, held.amount, String::new());
        guarded.refund(Repayment { order, number, attempt, amount, payment, reference: None }).await.unwrap();
        guarded.list_payments(Timestamp(0), Timestamp(u64::MAX), None).await.unwrap();
        for call in Call::ALL {
            let calls = guarded.figures().calls;
            let outcomes = CallOutcome::ALL.map(|outcome| calls.requests(call, outcome));
            assert_eq!(outcomes, [1, 0, 0], "{call:?}");
        }
        assert_eq!((guarded.name(), guarded.signature_header()), ("simulated", "souk-signature"));
    }
}
