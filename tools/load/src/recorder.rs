//! Counts a run: a latency histogram and the answers by class, for each kind of request and for each second.
//!
//! Depends on `answer`, `kind` and `rows` and on `hdrhistogram`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::{
    answer::{NoAnswer, Status},
    kind::{Class, Kind},
    rows::{ProblemCount, Row, Second, UnansweredCount},
};

/// Longer latencies are recorded as this one, in microseconds: ten minutes, the longest time-out of a request.
const MICROSECONDS_MAX: u64 = 600_000_000;
/// The precision of latencies, in significant digits.
const DIGITS: u8 = 3;

/// How many different problems are counted; a shop has about fifty codes.
const PROBLEMS_MAX: usize = 500;
/// The quantiles at which the distribution of latencies is reported.
const CURVE: [f64; 16] =
    [0.0, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 0.99999, 1.0];

fn histogram() -> Histogram<u64> {
    // The bounds are constants, and every test creates a histogram with them.
    Histogram::new_with_bounds(1, MICROSECONDS_MAX, DIGITS).expect("bounds of a histogram")
}

fn ms(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e3
}

/// How many classes of answers there are.
const CLASSES: usize = 4;

struct Measured {
    latencies: Histogram<u64>,
    /// The number of answers of each class.
    answers: [u64; CLASSES],
}

impl Default for Measured {
    fn default() -> Self {
        Self { latencies: histogram(), answers: [0; CLASSES] }
    }
}

impl Measured {
    fn record(&mut self, took: Option<Duration>, class: Class) {
        if let Some(took) = took {
            self.latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
        }
        self.answers[class as usize] += 1;
    }

    fn clear(&mut self) {
        self.latencies.reset();
        self.answers = [0; CLASSES];
    }
}

/// All requests by the second in which they ended.
struct Series {
    began: Instant,
    past: Vec<Second>,
    current: Measured,
}

impl Series {
    /// Ends every second that has passed.
    fn proceed(&mut self) {
        let second = usize::try_from(self.began.elapsed().as_secs()).unwrap_or(usize::MAX);
        while self.past.len() < second {
            self.end();
        }
    }

    fn end(&mut self) {
        let Measured { latencies, answers: [done, refused, failed, unanswered] } = &self.current;
        let (p50_ms, p99_ms, max_ms) = (ms(latencies, 0.5), ms(latencies, 0.99), ms(latencies, 1.0));
        let [done, refused, failed, unanswered] = [*done, *refused, *failed, *unanswered];
        self.past.push(Second { done, refused, failed, unanswered, p50_ms, p99_ms, max_ms });
        self.current.clear();
    }
}

/// Collects the measurements of all journeys.
pub(crate) struct Recorder {
    kinds: [Mutex<Measured>; Kind::REPORTED.len()],
    series: Mutex<Series>,
    problems: Mutex<BTreeMap<(Kind, u16, String), u64>>,
    unanswered: Mutex<BTreeMap<(Kind, NoAnswer), u64>>,
}

impl Default for Recorder {
    fn default() -> Self {
        let series = Series { began: Instant::now(), past: Vec::new(), current: Measured::default() };
        Self {
            kinds: Default::default(),
            series: Mutex::new(series),
            problems: Mutex::default(),
            unanswered: Mutex::default(),
        }
    }
}

impl Recorder {
    /// Records the end of a request, or of a journey by its last request.
    pub(crate) fn record(&self, kind: Kind, took: Duration, status: Status) {
        let Some(measured) = self.kinds.get(kind as usize) else { return };
        let class = Class::of(status);
        // The latency of a request that failed at once would make the shop look better than it is.
        let took = match (class, status) {
            (Class::Done | Class::Refused, _) | (_, Err(NoAnswer::TimedOut)) => Some(took),
            _ => None,
        };
        measured.lock().record(took, class);
        // A journey is counted by its requests.
        if kind == Kind::Journey {
            return;
        }
        if let Err(reason) = status {
            *self.unanswered.lock().entry((kind, reason)).or_default() += 1;
        }
        let mut series = self.series.lock();
        series.proceed();
        series.current.record(took, class);
    }

    /// Counts an answer that was a problem with this code.
    pub(crate) fn problem(&self, kind: Kind, status: u16, code: &str) {
        let mut problems = self.problems.lock();
        if kind != Kind::Setup && problems.len() < PROBLEMS_MAX {
            *problems.entry((kind, status, code.to_owned())).or_default() += 1;
        }
    }

    /// Discards what was recorded while the run was prepared, and begins to count seconds.
    pub(crate) fn begin(&self) {
        self.kinds.iter().for_each(|measured| measured.lock().clear());
        self.problems.lock().clear();
        self.unanswered.lock().clear();
        *self.series.lock() = Series { began: Instant::now(), past: Vec::new(), current: Measured::default() };
    }

    /// The numbers of requests that were answered and of those that failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let requests = self.kinds.iter().zip(Kind::REPORTED).filter(|(_, kind)| *kind != Kind::Journey);
        requests.fold((0, 0), |(answered, failed), (measured, _)| {
            let [done, refused, broken, unanswered] = measured.lock().answers;
            (answered + done + refused, failed + broken + unanswered)
        })
    }

    /// A row for each kind of which there was any request.
    pub(crate) fn rows(&self, seconds: f64) -> Vec<Row> {
        let rows = Kind::REPORTED.iter().zip(&self.kinds).map(|(kind, measured)| {
            let measured = measured.lock();
            let ms = |quantile| ms(&measured.latencies, quantile);
            let [done, refused, failed, unanswered] = measured.answers;
            Row {
                kind: *kind,
                per_second: (done + refused) as f64 / seconds,
                p50_ms: ms(0.5),
                p90_ms: ms(0.9),
                p99_ms: ms(0.99),
                p999_ms: ms(0.999),
                max_ms: ms(1.0),
                done,
                refused,
                failed,
                unanswered,
                curve: CURVE.iter().map(|quantile| (*quantile, ms(*quantile))).collect(),
            }
        });
        rows.filter(|row| row.done + row.refused + row.failed + row.unanswered > 0).collect()
    }

    /// The last whole second.
    pub(crate) fn last_second(&self) -> Second {
        let mut series = self.series.lock();
        series.proceed();
        series.past.last().copied().unwrap_or_default()
    }

    /// Every second until now.
    pub(crate) fn seconds(&self) -> Vec<Second> {
        let mut series = self.series.lock();
        series.proceed();
        if series.current.answers.iter().sum::<u64>() > 0 {
            series.end();
        }
        series.past.clone()
    }

    /// Why requests had no answer, the most frequent reason first.
    pub(crate) fn unanswered(&self) -> Vec<UnansweredCount> {
        let unanswered = self.unanswered.lock();
        let count = |((kind, reason), count): (&(Kind, NoAnswer), &u64)| UnansweredCount {
            kind: *kind,
            reason: *reason,
            count: *count,
        };
        let mut counted: Vec<UnansweredCount> = unanswered.iter().map(count).collect();
        counted.sort_by_key(|unanswered| std::cmp::Reverse(unanswered.count));
        counted
    }

    /// The answers that were problems, the most frequent first.
    pub(crate) fn problems(&self) -> Vec<ProblemCount> {
        let problems = self.problems.lock();
        let count = |((kind, status, code), count): (&(Kind, u16, String), &u64)| ProblemCount {
            kind: *kind,
            status: *status,
            code: code.clone(),
            count: *count,
        };
        let mut counted: Vec<ProblemCount> = problems.iter().map(count).collect();
        counted.sort_by_key(|problem| std::cmp::Reverse(problem.count));
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_counted_except_for_setup() {
        let (recorder, ms) = (Recorder::default(), Duration::from_millis);
        for status in [Ok(200), Ok(304), Ok(409), Ok(503), Err(NoAnswer::TimedOut)] {
            recorder.record(Kind::Checkout, ms(2), status);
        }
        recorder.record(Kind::Setup, ms(2), Ok(200));
        recorder.record(Kind::Journey, ms(9), Ok(200));
        for _ in 0..9 {
            recorder.record(Kind::Checkout, ms(0), Err(NoAnswer::ConnectionRefused));
        }
        let rows = recorder.rows(1.0);
        assert_eq!(rows.iter().map(|row| row.kind).collect::<Vec<_>>(), [Kind::Checkout, Kind::Journey]);
        assert_eq!((rows[0].done, rows[0].refused, rows[0].failed, rows[0].unanswered), (2, 1, 1, 10));
        assert!(
            (1.9..2.1).contains(&rows[0].p50_ms),
            "a request that failed at once has no latency: {}",
            rows[0].p50_ms
        );
        assert_eq!(recorder.counts(), (3, 11));
        let reasons: Vec<_> = recorder.unanswered().iter().map(|counted| (counted.reason, counted.count)).collect();
        assert_eq!(reasons, [(NoAnswer::ConnectionRefused, 9), (NoAnswer::TimedOut, 1)]);
        let seconds = recorder.seconds();
        assert_eq!(seconds.iter().map(|second| second.done + second.refused).sum::<u64>(), 3);
        assert_eq!(seconds.iter().map(|second| second.failed + second.unanswered).sum::<u64>(), 11);
        recorder.problem(Kind::Checkout, 409, "insufficient-stock");
        assert_eq!((recorder.problems()[0].status, recorder.problems()[0].count), (409, 1));
        recorder.begin();
        assert!(recorder.rows(1.0).is_empty() && recorder.seconds().is_empty());
        assert!(recorder.problems().is_empty() && recorder.unanswered().is_empty());
    }
}
