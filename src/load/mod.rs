//! The load generator: customers that browse and shop at a running shop, over HTTP and from outside.
//!
//! ```text
//!  Plan ─▶ Town (users, goods, queries) ─▶ arrivals ─▶ journeys ─▶ Recorder ─▶ Report
//!                                          open: at a constant rate            │
//!                                          closed: as many callers        Verdict (what was acknowledged is there)
//! ```
//!
//! *Open* is the honest model: journeys begin at a constant rate whether or not earlier ones have ended, and a journey's first
//! request is timed from the moment it was due, so that a stall of the shop is felt by all who would have come during it.
//! *Closed* keeps a number of callers busy and finds the highest throughput.
//!
//! It knows a shop by its API only. Depends on nothing else of the crate.

mod client;
mod journey;
mod plan;
mod recorder;
mod report;
mod town;
mod verdict;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use self::{client::Client, recorder::Recorder, town::Town};
pub use self::{
    plan::{Arrivals, LoadError, Plan, Protocol, Scenario},
    recorder::Kind,
    report::{Report, Row},
    verdict::Verdict,
};

/// How long journeys that have begun may take to end after the time is over, in seconds; then they are given up.
const GRACE_SECONDS: u64 = 30;

/// What the progress shows while a run is under way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Seconds since the first arrival.
    pub seconds: f64,
    /// Requests answered so far.
    pub answered: u64,
    /// Requests that failed so far: 5xx, time-outs, broken connections.
    pub failed: u64,
}

/// Runs a plan to its end and checks what the shop then shows.
///
/// # Errors
/// [`LoadError`]: the plan is impossible, or the shop cannot be reached or shopped at. Once the first journey has begun, a run
/// always ends with a report.
pub async fn run(plan: Plan, mut show: impl FnMut(Progress)) -> Result<Report, LoadError> {
    plan.check()?;
    let recorder = Arc::new(Recorder::default());
    let client = Client::new(&plan, Arc::clone(&recorder))?;
    let town = Arc::new(Town::visit(&plan, client).await?);
    recorder.forget();
    let began = Instant::now();
    let until = began + Duration::from_secs(plan.seconds);
    let journeys = TaskTracker::new();
    let late = Arc::new(AtomicU64::new(0));
    {
        let arrivals = arrive(&plan, &town, &journeys, &late, began, until);
        tokio::pin!(arrivals);
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = &mut arrivals => break,
                _ = ticks.tick() => show(progress(&recorder, began)),
            }
        }
    }
    journeys.close();
    let given_up = tokio::time::timeout(Duration::from_secs(GRACE_SECONDS), journeys.wait()).await.is_err();
    let seconds = began.elapsed().as_secs_f64();
    show(progress(&recorder, began));
    let rows = recorder.rows(seconds);
    let verdict = verdict::check(&town).await;
    Ok(Report { plan, seconds, rows, not_sent: late.load(Ordering::Relaxed), given_up, verdict })
}

fn progress(recorder: &Recorder, began: Instant) -> Progress {
    let (answered, failed) = recorder.counts();
    Progress { seconds: began.elapsed().as_secs_f64(), answered, failed }
}

/// Lets journeys begin until the time is over.
async fn arrive(
    plan: &Plan,
    town: &Arc<Town>,
    journeys: &TaskTracker,
    not_sent: &Arc<AtomicU64>,
    began: Instant,
    until: Instant,
) {
    let (town, journeys) = (Arc::clone(town), journeys.clone());
    match plan.arrivals {
        Arrivals::Open { rate } => {
            let (runtime, not_sent) = (tokio::runtime::Handle::current(), Arc::clone(not_sent));
            let places = Arc::new(Semaphore::new(plan.in_flight_max));
            let total = rate * plan.seconds as f64;
            // On a thread of its own: the runtime's timer is a millisecond coarse, which every latency would show.
            let arrivals = tokio::task::spawn_blocking(move || {
                let mut number = 0.0;
                while number < total {
                    let due = began + Duration::from_secs_f64(number / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    number += 1.0;
                    // A generator that cannot keep up says so, rather than wait and flatter the shop.
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                        not_sent.fetch_add(1, Ordering::Relaxed);
                        continue;
                    };
                    let town = Arc::clone(&town);
                    let journey = async move {
                        town.journey(due).await;
                        drop(place);
                    };
                    journeys.spawn_on(journey, &runtime);
                }
            });
            // It cannot fail: there is nothing in it that panics, and nobody aborts it.
            let _ = arrivals.await;
        }
        Arrivals::Closed { callers } => {
            for _ in 0..callers {
                let town = Arc::clone(&town);
                journeys.spawn(async move {
                    while Instant::now() < until {
                        town.journey(Instant::now()).await;
                    }
                });
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }
}
