//! The result of a run, as a table for people and as JSON for programs.
//!
//! Depends on `arrivals`, `conditions`, `kind`, `plan`, `rows` and `verdict`.

use std::fmt;

use serde::Serialize;

use crate::{
    answer::TOO_MANY_REQUESTS,
    arrivals::GRACE_SECONDS,
    conditions::Conditions,
    kind::Kind,
    plan::{Arrivals, Plan, WITHOUT_LIMITS},
    rows::{ProblemCount, Row, Second, UnansweredCount},
    verdict::Verdict,
};

/// How many kinds of problems and of reasons the table shows; the JSON has all.
const PROBLEMS_SHOWN: usize = 10;
/// The requests with which customers buy.
const BUYING: [Kind; 3] = [Kind::AddToCart, Kind::Checkout, Kind::Payment];
/// The requests with which customers look around.
const LOOKING: [Kind; 2] = [Kind::Search, Kind::Page];

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The plan that was carried out.
    pub plan: Plan,
    /// The generator's machine and program, and the shop.
    pub conditions: Conditions,
    /// The time until the last answer, in seconds.
    pub seconds: f64,
    /// One row for each kind of request, and the last for whole journeys.
    pub rows: Vec<Row>,
    /// All requests, by the second of the run in which they ended.
    pub series: Vec<Second>,
    /// Answers that were problems, the most frequent first.
    pub problems: Vec<ProblemCount>,
    /// Why requests had no answer, the most frequent reason first.
    pub unanswered: Vec<UnansweredCount>,
    /// Journeys that were due but not begun, because too many were under way: the generator or the shop could not keep
    /// up.
    pub not_sent: u64,
    /// Renewals of tokens that failed.
    pub renewals_failed: u64,
    /// Whether journeys were still under way long after the end.
    pub given_up: bool,
    /// Whether the run was ended early, by a signal or because the history could not be written.
    pub interrupted: bool,
    /// Why the history is incomplete.
    pub history_problem: Option<String>,
    /// Whether everything that was acknowledged is there.
    pub verdict: Verdict,
}

impl Report {
    /// Whether the run went to its end, everything was answered, what the scenario is for was achieved, and everything
    /// acknowledged is there.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !self.interrupted && self.is_clean_so_far()
    }

    /// [`Self::is_clean`] for a run that may have been ended early.
    #[must_use]
    pub fn is_clean_so_far(&self) -> bool {
        self.failures() == 0
            && self.not_sent == 0
            && self.renewals_failed == 0
            && !self.given_up
            && self.history_problem.is_none()
            && self.in_vain().is_none()
            && self.rate_limited() == 0
            && self.verdict.is_clean()
    }

    /// What the scenario is for, if it was tried and never achieved, with the requests on the way to it. A 4xx is an
    /// answer, but a run in which nothing else came back has measured refusals.
    fn in_vain(&self) -> Option<(&'static str, &'static [Kind])> {
        let (outcome, kinds, achieved) = if self.plan.scenario.buys() {
            ("Nothing was sold", &BUYING[..], self.verdict.orders + self.verdict.forgotten)
        } else {
            ("Nothing was shown", &LOOKING[..], self.rows_of(&LOOKING).map(|row| row.done).sum())
        };
        (achieved == 0 && self.rows_of(kinds).next().is_some()).then_some((outcome, kinds))
    }

    /// The number of answers that say that the run has reached a limit of one client.
    fn rate_limited(&self) -> u64 {
        let problems = self.problems.iter().filter(|problem| problem.status == TOO_MANY_REQUESTS);
        problems.map(|problem| problem.count).sum()
    }

    fn rows_of(&self, kinds: &[Kind]) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| kinds.contains(&row.kind))
    }

    /// The answers to these requests that were no success, in a line. A payment may be answered with success and not be
    /// one: the provider may not know yet.
    fn answers(&self, kinds: &[Kind]) -> String {
        let problems = self.problems.iter().filter(|one| kinds.contains(&one.kind)).map(ProblemCount::to_string);
        let unanswered = self.unanswered.iter().filter(|one| kinds.contains(&one.kind)).map(UnansweredCount::to_string);
        let unpaid = self.rows_of(kinds).filter(|row| row.kind == Kind::Payment && row.done > 0);
        let unpaid = unpaid.map(|row| format!("{} x {} answered, but not as paid", row.done, row.kind.name()));
        problems
            .take(PROBLEMS_SHOWN)
            .chain(unanswered.take(PROBLEMS_SHOWN))
            .chain(unpaid)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The number of requests that failed: 5xx and unanswered.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let requests = self.rows.iter().filter(|row| row.kind != Kind::Journey);
        requests.map(|row| row.failed + row.unanswered).sum()
    }

    /// The settings, in a line.
    pub(crate) fn settings(&self) -> String {
        let Plan { url, scenario, arrivals, users, seed, protocol, .. } = &self.plan;
        let arrivals = match arrivals {
            Arrivals::Open { rate } => format!("open, {rate} journeys/s"),
            Arrivals::Closed { callers } => format!("closed, {callers} callers"),
        };
        let seconds = self.seconds;
        let (scenario, protocol) = (scenario.name(), protocol.name());
        format!("{scenario} at {url}: {arrivals}, {users} users, {protocol}, seed {seed}, {seconds:.1} s")
    }

    /// Remarks that a reader of the figures needs, one sentence each.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Arrivals::Closed { callers } = self.plan.arrivals {
            remarks.push(format!(
                "Closed model: a stall of the shop delays {callers} journeys at most, so it hardly shows in percentiles. Use --rate to \
                 measure latencies."
            ));
        }
        if self.interrupted {
            remarks.push("The run was ended early; the figures are those until then.".into());
        }
        if self.not_sent > 0 {
            remarks.push(format!(
                "* {} journeys were due and not begun, because --in-flight {} were under way: latencies are those of the others.",
                self.not_sent, self.plan.in_flight_max
            ));
        }
        if self.rate_limited() > 0 {
            remarks.push(format!("{} requests were refused: {WITHOUT_LIMITS}.", self.rate_limited()));
        }
        if self.renewals_failed > 0 {
            remarks.push(format!("{} renewals of tokens failed.", self.renewals_failed));
        }
        if self.given_up {
            remarks.push(format!("Some journeys had not ended {GRACE_SECONDS} s after the time was over."));
        }
        if let Some((outcome, kinds)) = self.in_vain() {
            remarks.push(format!("{outcome}: {}.", self.answers(kinds)));
        }
        if let Some(problem) = &self.history_problem {
            remarks.push(format!("The history is incomplete: {problem}"));
        }
        remarks
    }
}

impl Report {
    /// The heading of the first column, with a mark if the latencies are not those of all journeys that were due.
    pub(crate) fn request_heading(&self) -> &'static str {
        if self.not_sent > 0 { "request *" } else { "request" }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{}", self.settings())?;
        writeln!(to, "{}", self.conditions)?;
        writeln!(
            to,
            "{:<12} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8}   {:>8} {:>8} {:>6} {:>10}",
            self.request_heading(),
            "answers/s",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9",
            "max",
            "2xx/3xx",
            "4xx",
            "5xx",
            "unanswered"
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
        if !self.problems.is_empty() || !self.unanswered.is_empty() {
            writeln!(to)?;
        }
        for problem in self.problems.iter().take(PROBLEMS_SHOWN) {
            writeln!(to, "{problem:>8}")?;
        }
        for unanswered in self.unanswered.iter().take(PROBLEMS_SHOWN) {
            writeln!(to, "{unanswered:>8}")?;
        }
        for remark in self.remarks() {
            writeln!(to, "\n{remark}")?;
        }
        write!(to, "\nVerdict: {}", self.verdict)
    }
}
