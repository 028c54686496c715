//! A circuit breaker for a provider: while the outcomes of its calls are unknown, only a few probes call it, and all
//! other calls fail at once instead of waiting for a time-out.
//!
//! ```text
//!            a run, or a high share, of unknown outcomes
//!   closed ────────────────────────────────────────────▶ open
//!     ▲                                                 ▲   │ after a pause
//!     │ enough definite answers           too few      │   ▼
//!     └───────────────────────────────────────────── half open
//! ```
//!
//! It is our own because the crates do not fit: `recloser` and `failsafe` let any number of calls through while half
//! open, do not expose their state, and do not notice a call that its caller dropped. `tower::retry::budget` limits the
//! retries of one client; here each order retries by itself, and the sum has to be limited. The clock is tokio's, which
//! a test can advance. Depends on no other file of its room.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many unknown outcomes in a row open the breaker: more than the retries of one order while others are answered.
const RUN_MAX: u32 = 10;
/// How long calls are counted together, in milliseconds: a failure of half a minute is noticed within it.
const WINDOW_MS: u64 = 10_000;
/// How many outcomes a window must have: below that, the share is chance.
const WINDOW_CALLS_MIN: u32 = 50;
/// The percentage of unknown outcomes in a window at which the breaker opens: then the provider does more harm than
/// good.
const UNKNOWN_PERCENT_MAX: u32 = 50;
/// How long it stays open, in milliseconds: shorter than a shopper waits, and long enough for the provider's queue to
/// drain.
const OPEN_MS: u64 = 2_000;
/// How many probes there are while it is half open. A provider may fail for some orders only, for a long time, and
/// still serve the others. With one probe at a time, all of which had to be definite, about a dozen such orders and
/// their retries blocked all others for minutes.
const PROBES_MAX: u32 = 8;
/// How many probes must have a definite answer to close it: a single one may be luck.
const PROBES_WANTED: u32 = 2;

/// Whether the provider is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// All calls are made.
    Closed,
    /// No call is made for a while.
    Open,
    /// Only probes are made.
    HalfOpen,
}

impl BreakerState {
    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The breaker of one provider.
pub(super) struct Breaker(Mutex<Phase>);

/// Permission for one call, tied to a phase: an outcome that arrives in a later phase is ignored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permit(u64);

/// A period in one state.
struct Phase {
    state: BreakerState,
    since: Instant,
    /// The number of earlier phases.
    number: u64,
    /// How often it has opened.
    opened: u64,
    /// Unknown outcomes in a row; while half open, definite outcomes of the probes.
    run: u32,
    /// The window: its start, its outcomes, and how many of these are unknown.
    window: (Instant, u32, u32),
    /// The probes that were permitted, and how many of these are still in flight.
    probes: (u32, u32),
}

impl Phase {
    fn enter(&mut self, state: BreakerState, now: Instant) {
        let opened = self.opened + u64::from(state == BreakerState::Open);
        *self =
            Self { state, since: now, number: self.number + 1, opened, run: 0, window: (now, 0, 0), probes: (0, 0) };
    }
}

impl Breaker {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let (state, window) = (BreakerState::Closed, (now, 0, 0));
        Self(Mutex::new(Phase { state, since: now, number: 0, opened: 0, run: 0, window, probes: (0, 0) }))
    }

    /// The state, when it began, and how often the breaker has opened.
    pub(super) fn state(&self) -> (BreakerState, Instant, u64) {
        let phase = self.0.lock();
        (phase.state, phase.since, phase.opened)
    }

    /// A permit for one call to the provider; `None` if it must not be called now.
    pub(super) fn acquire(&self) -> Option<Permit> {
        let now = Instant::now();
        let mut phase = self.0.lock();
        if phase.state == BreakerState::Open && now.duration_since(phase.since) >= Duration::from_millis(OPEN_MS) {
            phase.enter(BreakerState::HalfOpen, now);
        }
        match phase.state {
            BreakerState::Open => return None,
            BreakerState::HalfOpen if phase.probes.0 >= PROBES_MAX => return None,
            BreakerState::HalfOpen => phase.probes = (phase.probes.0 + 1, phase.probes.1 + 1),
            BreakerState::Closed => {}
        }
        Some(Permit(phase.number))
    }

    /// Records the outcome of a call, or that its caller dropped it. Returns the new state if the outcome changed it.
    pub(super) fn release(&self, permit: Permit, definite: bool) -> Option<BreakerState> {
        let now = Instant::now();
        let mut phase = self.0.lock();
        if phase.number != permit.0 {
            return None;
        }
        let next = match phase.state {
            BreakerState::Open => None,
            BreakerState::HalfOpen => {
                let (begun, at_work) = (phase.probes.0, phase.probes.1.saturating_sub(1));
                phase.probes = (begun, at_work);
                phase.run += u32::from(definite);
                let still_possible = phase.run + (PROBES_MAX - begun) + at_work;
                match phase.run >= PROBES_WANTED {
                    true => Some(BreakerState::Closed),
                    false => (still_possible < PROBES_WANTED).then_some(BreakerState::Open),
                }
            }
            BreakerState::Closed => {
                phase.run = if definite { 0 } else { phase.run + 1 };
                let (began, mut calls, mut unknown) = phase.window;
                let is_over = now.duration_since(began) >= Duration::from_millis(WINDOW_MS);
                let began = if is_over { now } else { began };
                if is_over {
                    (calls, unknown) = (0, 0);
                }
                (calls, unknown) = (calls + 1, unknown + u32::from(!definite));
                phase.window = (began, calls, unknown);
                let too_many = calls >= WINDOW_CALLS_MIN && unknown * 100 >= calls * UNKNOWN_PERCENT_MAX;
                (phase.run >= RUN_MAX || too_many).then_some(BreakerState::Open)
            }
        };
        next.inspect(|state| phase.enter(*state, now))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn answer(breaker: &Breaker, definite: bool) {
        let permit = breaker.acquire().unwrap();
        breaker.release(permit, definite);
    }

    fn state(breaker: &Breaker) -> BreakerState {
        breaker.state().0
    }

    async fn opened() -> Breaker {
        let breaker = Breaker::new();
        (0..RUN_MAX).for_each(|_| answer(&breaker, false));
        assert_eq!(state(&breaker), BreakerState::Open);
        breaker
    }

    async fn pause() {
        advance(Duration::from_millis(OPEN_MS)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_of_unknown_answers_opens_it_and_a_definite_one_ends_the_run() {
        let breaker = Breaker::new();
        for _ in 0..3 {
            (1..RUN_MAX).for_each(|_| answer(&breaker, false));
            answer(&breaker, true);
        }
        assert_eq!(state(&breaker), BreakerState::Closed);
        (0..RUN_MAX).for_each(|_| answer(&breaker, false));
        assert_eq!((state(&breaker), breaker.state().2), (BreakerState::Open, 1));
        assert!(breaker.acquire().is_none(), "it fails at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_high_share_opens_it_but_not_over_several_windows() {
        let half = |breaker: &Breaker, calls: u32| (0..calls).for_each(|call| answer(breaker, call % 2 == 0));
        let breaker = Breaker::new();
        for _ in 0..3 {
            half(&breaker, WINDOW_CALLS_MIN - 2);
            advance(Duration::from_millis(WINDOW_MS)).await;
        }
        assert_eq!(state(&breaker), BreakerState::Closed);
        half(&breaker, WINDOW_CALLS_MIN);
        assert_eq!(state(&breaker), BreakerState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn half_open_there_are_a_few_probes_and_enough_definite_ones_close_it() {
        let breaker = opened().await;
        advance(Duration::from_millis(OPEN_MS - 1)).await;
        assert!(breaker.acquire().is_none());
        pause().await;
        let probes: Vec<_> = (0..PROBES_MAX).map(|_| breaker.acquire().unwrap()).collect();
        assert!(breaker.acquire().is_none(), "one too many");
        // Some orders fail for ever; the others are enough.
        for (number, probe) in (1..).zip(probes) {
            assert_eq!(state(&breaker), BreakerState::HalfOpen, "before {number}");
            breaker.release(probe, number > PROBES_MAX - PROBES_WANTED);
        }
        assert_eq!(state(&breaker), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn too_few_definite_probes_open_it_again() {
        let breaker = opened().await;
        pause().await;
        (1..PROBES_WANTED).for_each(|_| answer(&breaker, true));
        (PROBES_WANTED..PROBES_MAX).for_each(|_| answer(&breaker, false));
        assert_eq!(state(&breaker), BreakerState::HalfOpen);
        answer(&breaker, false);
        assert_eq!((state(&breaker), breaker.state().2), (BreakerState::Open, 2));
        assert!(breaker.acquire().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_of_an_earlier_phase_is_ignored() {
        let breaker = Breaker::new();
        let late: Vec<_> = (0..PROBES_MAX).map(|_| breaker.acquire().unwrap()).collect();
        (0..RUN_MAX).for_each(|_| answer(&breaker, false));
        pause().await;
        let probes: Vec<_> = (0..PROBES_MAX).map(|_| breaker.acquire().unwrap()).collect();
        for permit in late {
            assert_eq!(breaker.release(permit, false), None);
        }
        assert_eq!(state(&breaker), BreakerState::HalfOpen);
        assert!(breaker.acquire().is_none(), "the probes are still in flight");
        for probe in probes {
            breaker.release(probe, true);
        }
        assert_eq!(state(&breaker), BreakerState::Closed);
    }

    #[test]
    fn many_threads_at_once_lose_no_probe() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let breaker = runtime.block_on(opened());
        runtime.block_on(pause());
        let _inside = runtime.enter();
        let handle = runtime.handle();
        let admitted = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3 * PROBES_MAX)
                .map(|_| {
                    scope.spawn(|| {
                        let _inside = handle.enter();
                        u32::from(breaker.acquire().is_some())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>()
        });
        assert_eq!(admitted, PROBES_MAX);
    }
}
