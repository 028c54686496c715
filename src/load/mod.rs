//! The load generator: customers that browse and shop at a running shop, over HTTP and from outside.
//!
//! ```text
//!  Plan ─▶ Town (people, goods, queries) ─▶ arrivals ─▶ journeys ─▶ Recorder ─▶ Report (table, JSON, HTML)
//!                                           open: at a constant rate   │  │
//!                                           closed: as many callers    │  Verdict (what was acknowledged is there)
//!                                                                      Witness ─▶ history, for the checker
//! ```
//!
//! *Open* is the honest model: journeys begin at a constant rate whether or not earlier ones have ended, and a journey's first
//! request is timed from the moment it was due, so that a stall of the shop is felt by all who would have come during it.
//! *Closed* keeps a number of callers busy and finds the highest throughput.
//!
//! It knows a shop by its API only. Depends on `verify::history` and `clock`.

mod chart;
mod client;
mod conditions;
mod files;
mod html;
mod journey;
mod marketplace;
mod people;
mod plan;
mod recorder;
mod report;
mod scenario;
mod town;
mod verdict;
mod witness;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{client::Client, recorder::Recorder, town::Town, witness::Witness};
pub use self::{
    conditions::{Conditions, Machine},
    plan::{Arrivals, LoadError, Operator, Plan, Protocol},
    recorder::Kind,
    report::{ProblemCount, Report, Row, Second},
    scenario::Scenario,
    verdict::Verdict,
};
use crate::{
    clock::Clock,
    verify::history::{self, Durability},
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
    /// The last whole second.
    pub last: Second,
}

/// Runs a plan to its end, or until `stop` resolves, and checks what the shop then shows.
///
/// # Errors
/// [`LoadError`]: the plan is impossible, or the shop cannot be reached or shopped at. Once the first journey has begun, a run
/// always ends with a report.
pub async fn run(
    mut plan: Plan,
    stop: impl Future<Output = ()>,
    mut show: impl FnMut(Progress),
) -> Result<Report, LoadError> {
    plan.check()?;
    let (recorder, ended) = (Arc::new(Recorder::default()), CancellationToken::new());
    let witness = witness(&plan, &ended)?;
    let client = Client::new(&plan, Arc::clone(&recorder), witness.clone())?;
    let town = Arc::new(Town::visit(&plan, client).await?);
    plan.users = town.people.count();
    let conditions = conditions(&town).await;
    let stocks = verdict::stocks(&town).await;
    recorder.begin();
    let began = Instant::now();
    let until = began + Duration::from_secs(plan.seconds);
    let journeys = TaskTracker::new();
    let late = Arc::new(AtomicU64::new(0));
    let interrupted = {
        let arrivals = arrive(&plan, &town, &journeys, &late, &ended, began, until);
        tokio::pin!(arrivals, stop);
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = &mut arrivals => break false,
                () = &mut stop => break true,
                () = ended.cancelled() => break true,
                _ = ticks.tick() => show(progress(&recorder, began)),
            }
        }
    };
    // Closed callers look at it before they begin again.
    ended.cancel();
    journeys.close();
    let given_up = tokio::time::timeout(Duration::from_secs(GRACE_SECONDS), journeys.wait()).await.is_err();
    let seconds = began.elapsed().as_secs_f64();
    show(progress(&recorder, began));
    let (rows, series, problems) = (recorder.rows(seconds), recorder.seconds(), recorder.problems());
    let renewals = rows.iter().filter(|row| row.kind == Kind::Renewal);
    let renewals_failed = renewals.map(|row| row.refused + row.failed + row.unanswered).sum();
    let verdict = verdict::check(&town, &stocks).await;
    let history_problem = witness.and_then(|witness| witness.problem());
    let not_sent = late.load(Ordering::Relaxed);
    Ok(Report {
        plan,
        conditions,
        seconds,
        rows,
        series,
        problems,
        not_sent,
        renewals_failed,
        given_up,
        interrupted,
        history_problem,
        verdict,
    })
}

fn witness(plan: &Plan, ended: &CancellationToken) -> Result<Option<Arc<Witness>>, LoadError> {
    let Some(path) = &plan.history else { return Ok(None) };
    let begun = history::Recorder::create(path, &plan.url, Durability::Written);
    let wrong =
        |error: std::io::Error| LoadError::File { path: path.display().to_string(), problem: error.to_string() };
    Ok(Some(Arc::new(Witness::new(begun.map_err(wrong)?, ended.clone()))))
}

/// What the shop tells of itself, and what this is.
async fn conditions(town: &Town) -> Conditions {
    let told = async |path: &str, token: Option<&str>| {
        let answer = town.client.get(Kind::Errand, &[path], &[], token, Instant::now()).await;
        if answer.is_done() { answer.body } else { Value::Null }
    };
    let settings = match town.people.operator(&town.client).await {
        Ok(pass) => told("settings", Some(&pass.token)).await,
        Err(_) => Value::Null,
    };
    let now = i64::try_from(Clock::system().now().0).unwrap_or(i64::MAX);
    let started = jiff::Timestamp::from_millisecond(now).unwrap_or(jiff::Timestamp::MAX).to_string();
    Conditions::new(started, told("readyz", None).await, settings)
}

fn progress(recorder: &Recorder, began: Instant) -> Progress {
    let (answered, failed) = recorder.counts();
    Progress { seconds: began.elapsed().as_secs_f64(), answered, failed, last: recorder.last_second() }
}

/// Lets journeys begin until the time is over.
async fn arrive(
    plan: &Plan,
    town: &Arc<Town>,
    journeys: &TaskTracker,
    not_sent: &Arc<AtomicU64>,
    ended: &CancellationToken,
    began: Instant,
    until: Instant,
) {
    let (town, journeys) = (Arc::clone(town), journeys.clone());
    match plan.arrivals {
        Arrivals::Open { rate } => {
            let (runtime, not_sent) = (tokio::runtime::Handle::current(), Arc::clone(not_sent));
            let places = Arc::new(Semaphore::new(plan.in_flight_max));
            let total = rate * plan.seconds as f64;
            // The thread hears of an early end by the loss of this.
            let (_going_on, stopped) = mpsc::channel::<()>();
            // On a thread of its own: the runtime's timer is a millisecond coarse, which every latency would show.
            let arrivals = tokio::task::spawn_blocking(move || {
                let mut number = 0.0;
                while number < total {
                    let due = began + Duration::from_secs_f64(number / rate);
                    let wait = due.saturating_duration_since(Instant::now());
                    if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
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
                let (town, ended) = (Arc::clone(&town), ended.clone());
                journeys.spawn(async move {
                    while Instant::now() < until && !ended.is_cancelled() {
                        town.journey(Instant::now()).await;
                    }
                });
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }
}
