//! Starts journeys: at a constant rate, or from a number of callers.
//!
//! Depends on `plan` and `world` and on `tokio` and `tokio_util`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    plan::{Arrivals, Plan},
    world::World,
};

/// How long journeys may continue after the end of the time, in seconds; then they are abandoned.
pub(crate) const GRACE_SECONDS: u64 = 30;

/// The journeys of a run.
#[derive(Default)]
pub(crate) struct Journeys {
    tasks: TaskTracker,
    not_sent: Arc<AtomicU64>,
}

impl Journeys {
    /// Starts journeys until the time is over, or until `ended` in the closed model.
    pub(crate) async fn arrive(&self, plan: &Plan, world: &Arc<World>, ended: &CancellationToken, began: Instant) {
        match plan.arrivals {
            Arrivals::Open { rate } => self.at_rate(rate, plan, world, began).await,
            Arrivals::Closed { callers } => {
                let until = began + Duration::from_secs(plan.seconds);
                for _ in 0..callers {
                    let (world, ended) = (Arc::clone(world), ended.clone());
                    self.tasks.spawn(async move {
                        while Instant::now() < until && !ended.is_cancelled() {
                            world.journey(Instant::now()).await;
                        }
                    });
                }
                tokio::time::sleep_until(until.into()).await;
            }
        }
    }

    async fn at_rate(&self, rate: f64, plan: &Plan, world: &Arc<World>, began: Instant) {
        let (world, tasks, not_sent) = (Arc::clone(world), self.tasks.clone(), Arc::clone(&self.not_sent));
        let (runtime, permits) = (tokio::runtime::Handle::current(), Arc::new(Semaphore::new(plan.in_flight_max)));
        let total = rate * plan.seconds as f64;
        // Dropping the sender, with this future, ends the thread.
        let (_going_on, stopped) = mpsc::channel::<()>();
        // On a thread of its own: the runtime's timer has a granularity of a millisecond, which would show in every
        // latency.
        let arrivals = tokio::task::spawn_blocking(move || {
            let mut number = 0.0;
            while number < total {
                let due = began + Duration::from_secs_f64(number / rate);
                let wait = due.saturating_duration_since(Instant::now());
                if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                number += 1.0;
                // A generator that cannot keep up reports it; waiting here would make the shop look better than it is.
                let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                    not_sent.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                let world = Arc::clone(&world);
                let journey = async move {
                    world.journey(due).await;
                    drop(permit);
                };
                tasks.spawn_on(journey, &runtime);
            }
        });
        // An error is impossible: the thread does not panic, and nothing aborts it.
        let _ = arrivals.await;
    }

    /// Waits for the journeys that have begun; `false` if some had not ended after [`GRACE_SECONDS`].
    pub(crate) async fn wait(&self) -> bool {
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(GRACE_SECONDS), self.tasks.wait()).await.is_ok()
    }

    /// How many journeys were due and not begun.
    pub(crate) fn not_sent(&self) -> u64 {
        self.not_sent.load(Ordering::Relaxed)
    }
}
