//! A run from its plan to its report.
//!
//! Depends on `arrivals`, `client`, `conditions`, `history_writer`, `kind`, `plan`, `recorder`, `report`, `rows`,
//! `verdict` and `world`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    arrivals::Journeys,
    client::Client,
    conditions::Conditions,
    history_writer::HistoryWriter,
    kind::Kind,
    plan::{LoadError, Plan},
    recorder::Recorder,
    report::Report,
    rows::Second,
    verdict,
    world::World,
};

/// The progress of a run under way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Seconds since the first arrival.
    pub seconds: f64,
    /// The number of requests that were answered (2xx to 4xx).
    pub answered: u64,
    /// The number of requests that failed: 5xx, time-outs, broken connections.
    pub failed: u64,
    /// The last whole second.
    pub last: Second,
}

/// Performs a plan to its end, or until `stop` resolves, and checks what was acknowledged.
///
/// # Errors
/// [`LoadError`]: the plan is not valid, or the shop cannot be reached or sells nothing. After the first journey has
/// begun, a run always ends with a report.
pub async fn run(
    mut plan: Plan,
    stop: impl Future<Output = ()>,
    mut show: impl FnMut(Progress),
) -> Result<Report, LoadError> {
    plan.check()?;
    let (recorder, ended) = (Arc::new(Recorder::default()), CancellationToken::new());
    let history = HistoryWriter::create(&plan, ended.clone())?;
    let client = Client::new(&plan, Arc::clone(&recorder))?;
    let world = Arc::new(World::prepare(&plan, client, history).await?);
    plan.users = world.people.count();
    let conditions = conditions(&plan, &world).await;
    let stocks = verdict::stocks(&world).await;
    recorder.begin();
    let began = Instant::now();
    let journeys = Journeys::default();
    let interrupted = {
        let arrivals = journeys.arrive(&plan, &world, &ended, began);
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
    // Callers of the closed model check this before each journey.
    ended.cancel();
    let given_up = !journeys.wait().await;
    let seconds = began.elapsed().as_secs_f64();
    show(progress(&recorder, began));
    let rows = recorder.rows(seconds);
    let renewals = rows.iter().filter(|row| row.kind == Kind::Renewal);
    let renewals_failed = renewals.map(|row| row.refused + row.failed + row.unanswered).sum();
    let (series, problems, unanswered) = (recorder.seconds(), recorder.problems(), recorder.unanswered());
    let verdict = verdict::check(&world, &stocks).await;
    Ok(Report {
        plan,
        conditions,
        seconds,
        rows,
        series,
        problems,
        unanswered,
        not_sent: journeys.not_sent(),
        renewals_failed,
        given_up,
        interrupted,
        history_problem: world.history.problem(),
        verdict,
    })
}

/// Asks the shop about itself.
async fn conditions(plan: &Plan, world: &World) -> Conditions {
    let read = async |path: &str, token: Option<&str>| {
        let answer = world.client.get(Kind::Setup, &[path], &[], token, Instant::now()).await;
        if answer.is_done() { answer.body } else { Value::Null }
    };
    let settings = match world.people.operator(&world.client).await {
        Ok(operator) => read("settings", Some(&operator.token)).await,
        Err(_) => Value::Null,
    };
    Conditions::new(plan.generator.clone(), read("readyz", None).await, settings)
}

fn progress(recorder: &Recorder, began: Instant) -> Progress {
    let (answered, failed) = recorder.counts();
    Progress { seconds: began.elapsed().as_secs_f64(), answered, failed, last: recorder.last_second() }
}
