//! What a run found, as a table for people and as JSON for programs.
//!
//! Depends on nothing of the crate.

use std::fmt;

use serde::Serialize;

use super::{
    conditions::Conditions,
    plan::{Arrivals, Plan},
    recorder::Kind,
    verdict::Verdict,
};

/// How many kinds of problems the table shows; the JSON has all.
const PROBLEMS_SHOWN: usize = 10;

/// What a run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was to be done.
    pub plan: Plan,
    /// What it ran on.
    pub conditions: Conditions,
    /// How long it took until the last answer, in seconds.
    pub seconds: f64,
    /// By kind of request.
    pub rows: Vec<Row>,
    /// All requests, by the second of the run in which they ended.
    pub series: Vec<Second>,
    /// Answers that were problems, the most frequent first.
    pub problems: Vec<ProblemCount>,
    /// Journeys that were due and not begun, because too many were under way: the generator or the shop could not keep up.
    pub not_sent: u64,
    /// Tokens that could not be renewed when it was time.
    pub renewals_failed: u64,
    /// Whether journeys were still under way long after the end.
    pub given_up: bool,
    /// Whether somebody ended it early.
    pub interrupted: bool,
    /// Why the history is incomplete, where one was to be written and is.
    pub history_problem: Option<String>,
    /// Whether what was acknowledged is there.
    pub verdict: Verdict,
}

/// Requests that ended in one second of the run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Second {
    /// Answers 2xx and 3xx.
    pub done: u64,
    /// Answers 4xx.
    pub refused: u64,
    /// Answers 5xx.
    pub failed: u64,
    /// No answer in time, or a broken connection.
    pub unanswered: u64,
    /// Half of them took at most this, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// How often a kind of request was answered with a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProblemCount {
    /// Which kind.
    pub kind: Kind,
    /// The status.
    pub status: u16,
    /// The problem's code.
    pub code: String,
    /// How often.
    pub count: u64,
}

/// Requests of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Which kind.
    pub kind: Kind,
    /// Answers (2xx to 4xx) per second.
    pub per_second: f64,
    /// Half of those that were answered (2xx to 4xx) or timed out took at most this, in milliseconds, from the moment they were
    /// due. What failed at once has no latency.
    pub p50_ms: f64,
    /// 9 of 10 took at most this.
    pub p90_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1,000.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// Answers 2xx and 3xx.
    pub done: u64,
    /// Answers 4xx: understood and refused, as "sold out" is.
    pub refused: u64,
    /// Answers 5xx.
    pub failed: u64,
    /// No answer in time, or a broken connection.
    pub unanswered: u64,
    /// The distribution: quantiles, each with its latency in milliseconds.
    pub curve: Vec<(f64, f64)>,
}

impl Report {
    /// Whether everything was answered, and all that was acknowledged is there.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures() == 0
            && self.not_sent == 0
            && self.renewals_failed == 0
            && !self.given_up
            && !self.interrupted
            && self.history_problem.is_none()
            && self.verdict.is_clean()
    }

    /// Requests that failed: 5xx and unanswered.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.rows.iter().map(|row| row.failed + row.unanswered).sum()
    }

    /// The settings in a line.
    pub(super) fn settings(&self) -> String {
        let Plan { url, scenario, arrivals, users, seed, protocol, .. } = &self.plan;
        let arrivals = match arrivals {
            Arrivals::Open { rate } => format!("open, {rate} journeys/s"),
            Arrivals::Closed { callers } => format!("closed, {callers} callers"),
        };
        let seconds = self.seconds;
        let (scenario, protocol) = (scenario.name(), protocol.name());
        format!("{scenario} at {url}: {arrivals}, {users} users, {protocol}, seed {seed}, {seconds:.1} s")
    }

    /// What has to be said beside the figures, a sentence each.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.interrupted {
            remarks.push("The run was ended early; the figures are those until then.".into());
        }
        if self.not_sent > 0 {
            remarks.push(format!("{} journeys were due and not begun: too many were under way.", self.not_sent));
        }
        if self.renewals_failed > 0 {
            remarks.push(format!("{} renewals of tokens failed.", self.renewals_failed));
        }
        if self.given_up {
            remarks.push("Some journeys had not ended long after the time was over.".into());
        }
        if let Some(problem) = &self.history_problem {
            remarks.push(format!("The history is incomplete: {problem}"));
        }
        remarks
    }
}

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{}", self.settings())?;
        writeln!(to, "{}", self.conditions)?;
        writeln!(
            to,
            "{:<12} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8}   {:>8} {:>8} {:>6} {:>10}",
            "request", "answers/s", "p50 ms", "p90 ms", "p99 ms", "p99.9", "max", "2xx/3xx", "4xx", "5xx", "unanswered"
        )?;
        for row in &self.rows {
            writeln!(
                to,
                "{:<12} {:>9.0} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.2}   {:>8} {:>8} {:>6} {:>10}",
                row.kind.name(),
                row.per_second,
                row.p50_ms,
                row.p90_ms,
                row.p99_ms,
                row.p999_ms,
                row.max_ms,
                row.done,
                row.refused,
                row.failed,
                row.unanswered
            )?;
        }
        if !self.problems.is_empty() {
            writeln!(to)?;
        }
        for ProblemCount { kind, status, code, count } in self.problems.iter().take(PROBLEMS_SHOWN) {
            writeln!(to, "{count:>8} x {} {status} {code}", kind.name())?;
        }
        for remark in self.remarks() {
            writeln!(to, "\n{remark}")?;
        }
        write!(to, "\nVerdict: {}", self.verdict)
    }
}
