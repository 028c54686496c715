//! A guard before a provider: it counts and times the calls, and its breaker keeps them off while the provider's answers are unknown.
//!
//! A definite answer is a success of the provider, also where it is a decline; a call that its caller gave up, as after a time-out,
//! is an unknown one. Depends on its neighbours.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::FutureExt;
use tokio::time::Instant;

pub use super::breaker::BreakerState;
use super::{
    Answer, BooksPage, Gateway, Notice, NoticeRefused, Payment, Repayment, Unknown,
    breaker::{Breaker, Leave},
};
use crate::domain::{
    entity::Timestamp,
    order::{PaymentState, RefundState},
};

/// The upper ends of the classes in which the time of calls is counted, in milliseconds: from a provider next door to the longest
/// that one is waited for.
pub const TOOK_MS: [u64; 10] = [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

/// What a provider is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// [`Gateway::pay`].
    Pay,
    /// [`Gateway::find`].
    Find,
    /// [`Gateway::capture`].
    Capture,
    /// [`Gateway::void`].
    Void,
    /// [`Gateway::refund`].
    Refund,
    /// [`Gateway::books`].
    Books,
}

impl Call {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 6] = [Self::Pay, Self::Find, Self::Capture, Self::Void, Self::Refund, Self::Books];

    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pay => "pay",
            Self::Find => "find",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
            Self::Books => "books",
        }
    }
}

/// What became of the calls of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFigures {
    /// Which kind.
    pub call: Call,
    /// Definite answers.
    pub ok: u64,
    /// Unknown ones, and calls that were given up.
    pub unknown: u64,
    /// Calls that the breaker refused.
    pub refused: u64,
    /// How many took at most so long as the class of [`TOOK_MS`] says, and longer than the class before; the last is of longer ones.
    pub took: [u64; TOOK_MS.len() + 1],
    /// How long all of them took together, in milliseconds; refused ones take no time.
    pub took_ms: u64,
}

/// What a guard has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayFigures {
    /// Whether the provider is asked.
    pub state: BreakerState,
    /// For how long that has been so.
    pub since: Duration,
    /// How often the breaker has opened.
    pub opened: u64,
    /// Calls at work.
    pub in_flight: u64,
    /// By kind.
    pub calls: [CallFigures; Call::ALL.len()],
}

#[derive(Default)]
struct Counters {
    ok: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
    took: [AtomicU64; TOOK_MS.len() + 1],
    took_ms: AtomicU64,
}

/// A provider with a guard before it.
pub struct Guarded {
    gateway: Arc<dyn Gateway>,
    breaker: Breaker,
    in_flight: AtomicU64,
    calls: [Counters; Call::ALL.len()],
}

/// A call at work. Dropped before its answer, it was given up.
struct AtWork<'a> {
    guarded: &'a Guarded,
    call: Call,
    leave: Leave,
    began: Instant,
    definite: bool,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let counters = &self.guarded.calls[self.call as usize];
        let took_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let class = TOOK_MS.partition_point(|end| *end < took_ms);
        counters.took[class].fetch_add(1, Relaxed);
        counters.took_ms.fetch_add(took_ms, Relaxed);
        let outcome = if self.definite { &counters.ok } else { &counters.unknown };
        outcome.fetch_add(1, Relaxed);
        self.guarded.in_flight.fetch_sub(1, Relaxed);
        if let Some(state) = self.guarded.breaker.leave(self.leave, self.definite) {
            let (provider, state) = (self.guarded.gateway.name(), state.as_str());
            tracing::warn!(provider, state, "the breaker before the payment provider has changed");
        }
    }
}

impl Guarded {
    /// This provider, guarded.
    #[must_use]
    pub fn new(gateway: Arc<dyn Gateway>) -> Self {
        Self { gateway, breaker: Breaker::new(), in_flight: AtomicU64::new(0), calls: Default::default() }
    }

    /// What it has seen.
    #[must_use]
    pub fn figures(&self) -> GatewayFigures {
        let (state, since, opened) = self.breaker.state();
        let calls = Call::ALL.map(|call| {
            let counters = &self.calls[call as usize];
            CallFigures {
                call,
                ok: counters.ok.load(Relaxed),
                unknown: counters.unknown.load(Relaxed),
                refused: counters.refused.load(Relaxed),
                took: counters.took.each_ref().map(|class| class.load(Relaxed)),
                took_ms: counters.took_ms.load(Relaxed),
            }
        });
        GatewayFigures { state, since: since.elapsed(), opened, in_flight: self.in_flight.load(Relaxed), calls }
    }

    fn guard<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        ask: impl FnOnce(&'a dyn Gateway) -> Answer<'a, T> + Send + 'a,
    ) -> Answer<'a, T> {
        async move {
            let Some(leave) = self.breaker.enter() else {
                self.calls[call as usize].refused.fetch_add(1, Relaxed);
                return Err(Unknown::new(
                    "too many of the provider's answers were unknown; it is not asked for the moment",
                ));
            };
            self.in_flight.fetch_add(1, Relaxed);
            let mut at_work = AtWork { guarded: self, call, leave, began: Instant::now(), definite: false };
            let answer = ask(&*self.gateway).await;
            at_work.definite = answer.is_ok();
            answer
        }
        .boxed()
    }
}

impl Gateway for Guarded {
    fn name(&self) -> &'static str {
        self.gateway.name()
    }

    fn pay(&self, payment: Payment) -> Answer<'_, PaymentState> {
        self.guard(Call::Pay, |gateway| gateway.pay(payment))
    }

    fn find(&self, payment: Payment) -> Answer<'_, Option<PaymentState>> {
        self.guard(Call::Find, |gateway| gateway.find(payment))
    }

    fn capture(&self, payment: Payment) -> Answer<'_, PaymentState> {
        self.guard(Call::Capture, |gateway| gateway.capture(payment))
    }

    fn void(&self, payment: Payment) -> Answer<'_, PaymentState> {
        self.guard(Call::Void, |gateway| gateway.void(payment))
    }

    fn refund(&self, repayment: Repayment) -> Answer<'_, RefundState> {
        self.guard(Call::Refund, |gateway| gateway.refund(repayment))
    }

    fn books(&self, since: Timestamp, until: Timestamp, after: Option<String>) -> Answer<'_, BooksPage> {
        self.guard(Call::Books, move |gateway| gateway.books(since, until, after))
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
    use tokio::time::{advance, sleep, timeout};

    use super::*;
    use crate::{
        domain::{
            ids::OrderId,
            money::{Currency, Money},
            order::CaptureMode,
        },
        payments::simulated::Simulated,
    };

    /// Answers as the token says: `lost` is unknown, `hangs` for a day, anything else after a while.
    struct Stub;

    impl Gateway for Stub {
        fn name(&self) -> &'static str {
            "stub"
        }

        fn pay(&self, payment: Payment) -> Answer<'_, PaymentState> {
            async move {
                match payment.method.as_str() {
                    "lost" => return Err(Unknown::new("lost")),
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

        fn capture(&self, _: Payment) -> Answer<'_, PaymentState> {
            unreachable!()
        }

        fn void(&self, _: Payment) -> Answer<'_, PaymentState> {
            unreachable!()
        }

        fn refund(&self, _: Repayment) -> Answer<'_, RefundState> {
            unreachable!()
        }

        fn books(&self, _: Timestamp, _: Timestamp, _: Option<String>) -> Answer<'_, BooksPage> {
            unreachable!()
        }

        fn signature_header(&self) -> &'static str {
            "stub"
        }

        fn notice(&self, _: &str, _: &[u8], _: Timestamp) -> Result<Notice, NoticeRefused> {
            Err(NoticeRefused::NotSetUp)
        }
    }

    fn payment(method: &str) -> Payment {
        let amount = Money::new(500, Currency::INR).unwrap();
        let (order, method, capture) = (OrderId(1), method.into(), CaptureMode::AtOnce);
        Payment { order, attempt: 1, amount, method, capture, reference: None }
    }

    /// How many of the calls to pay were definite, unknown, refused.
    fn paid(guarded: &Guarded) -> (u64, u64, u64) {
        let pay = &guarded.figures().calls[Call::Pay as usize];
        (pay.ok, pay.unknown, pay.refused)
    }

    #[tokio::test(start_paused = true)]
    async fn declines_are_definite_and_unknown_answers_open_the_breaker_until_probes_close_it() {
        let guarded = Guarded::new(Arc::new(Stub));
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
    async fn a_call_that_is_given_up_is_unknown_and_not_in_flight_any_more() {
        let guarded = Guarded::new(Arc::new(Stub));
        drop(guarded.pay(payment("hangs")));
        assert_eq!(paid(&guarded), (0, 0, 0), "what was never begun is no call");
        let mut calls = 0;
        while guarded.figures().state == BreakerState::Closed {
            calls += 1;
            timeout(Duration::from_secs(20), guarded.pay(payment("hangs"))).await.unwrap_err();
        }
        assert_eq!((paid(&guarded), guarded.figures().in_flight), ((0, calls, 0), 0));
        let pay = guarded.figures().calls[Call::Pay as usize].clone();
        assert_eq!((pay.took[TOOK_MS.len()], pay.took_ms), (calls, calls * 20_000));
        advance(Duration::from_secs(10)).await;
        timeout(Duration::from_secs(20), guarded.pay(payment("hangs"))).await.unwrap_err();
        assert_eq!(guarded.figures().state, BreakerState::HalfOpen);
        while guarded.figures().state == BreakerState::HalfOpen {
            timeout(Duration::from_secs(20), guarded.pay(payment("hangs"))).await.unwrap_err();
        }
        assert_eq!(guarded.figures().state, BreakerState::Open, "also as probes");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_at_work_is_counted_and_times_fall_into_their_classes() {
        let guarded = Arc::new(Guarded::new(Arc::new(Stub)));
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
        let pay = &figures.calls[Call::Pay as usize];
        assert_eq!((figures.in_flight, pay.ok, pay.took[2], pay.took_ms), (0, 20, 20, 600));
    }

    #[tokio::test]
    async fn every_operation_goes_to_the_provider_and_is_counted_as_itself() {
        let guarded = Guarded::new(Arc::new(Simulated::in_memory()));
        let held = Payment { capture: CaptureMode::Later, ..payment("tok_success") };
        guarded.pay(held.clone()).await.unwrap();
        guarded.find(held.clone()).await.unwrap().unwrap();
        guarded.capture(held.clone()).await.unwrap();
        guarded.void(held.clone()).await.unwrap();
        let (order, number, attempt, amount, payment) = (held.order, 1, 1, held.amount, String::new());
        guarded.refund(Repayment { order, number, attempt, amount, payment, reference: None }).await.unwrap();
        guarded.books(Timestamp(0), Timestamp(u64::MAX), None).await.unwrap();
        for figures in guarded.figures().calls {
            assert_eq!((figures.ok, figures.unknown), (1, 0), "{:?}", figures.call);
        }
        assert_eq!((guarded.name(), guarded.signature_header()), ("simulated", "souk-signature"));
    }
}
