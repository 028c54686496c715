//! What a run found, as a table for people and as JSON for programs.
//!
//! Depends on nothing of the crate.

use std::fmt;

use serde::Serialize;

use super::{
    plan::{Arrivals, Plan},
    recorder::Kind,
    verdict::Verdict,
};

/// What a run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was to be done.
    pub plan: Plan,
    /// How long it took until the last answer, in seconds.
    pub seconds: f64,
    /// By kind of request.
    pub rows: Vec<Row>,
    /// Journeys that were due and not begun, because too many were under way: the generator or the shop could not keep up.
    pub not_sent: u64,
    /// Whether journeys were still under way long after the end.
    pub given_up: bool,
    /// Whether what was acknowledged is there.
    pub verdict: Verdict,
}

/// Requests of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Which kind.
    pub kind: Kind,
    /// Answers (2xx to 4xx) per second.
    pub per_second: f64,
    /// Half of them took at most this, in milliseconds, from the moment they were due.
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
}

impl Report {
    /// Whether everything was answered, and all that was acknowledged is there.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let failures: u64 = self.rows.iter().map(|row| row.failed + row.unanswered).sum();
        failures == 0 && self.not_sent == 0 && !self.given_up && self.verdict.wrong == 0 && self.verdict.unknown == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { url, arrivals, users, seed, protocol, .. } = &self.plan;
        let arrivals = match arrivals {
            Arrivals::Open { rate } => format!("open, {rate} journeys/s"),
            Arrivals::Closed { callers } => format!("closed, {callers} callers"),
        };
        let scenario = self.plan.scenario;
        writeln!(
            to,
            "{scenario:?} at {url}: {arrivals}, {users} users, {protocol:?}, seed {seed}, {:.1} s",
            self.seconds
        )?;
        writeln!(to, "The generator shares the machine with the shop where both run on one.\n")?;
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
        if self.not_sent > 0 {
            writeln!(to, "\n{} journeys were due and not begun: too many were under way.", self.not_sent)?;
        }
        if self.given_up {
            writeln!(to, "\nSome journeys had not ended long after the time was over.")?;
        }
        let Verdict { orders, wrong, unknown, forgotten } = self.verdict;
        write!(to, "\nVerdict: {orders} paid orders looked at again, {wrong} wrong, {unknown} unknown")?;
        if forgotten > 0 { writeln!(to, "; {forgotten} more were not remembered") } else { writeln!(to) }
    }
}
