//! What was measured: a latency histogram and the answers by class, for each kind of request.
//!
//! Depends on nothing of the crate.

use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;

use super::report::Row;

/// The longest latency that is told from a longer one, in microseconds: ten minutes.
const MICROSECONDS_MAX: u64 = 600_000_000;
/// Digits that latencies keep.
const DIGITS: u8 = 3;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `GET /products?q=…`.
    Search,
    /// `GET /products/{id}`.
    Page,
    /// `POST /cart/add_products`.
    AddToCart,
    /// `POST /checkout`.
    Checkout,
    /// `POST /payment`.
    Payment,
    /// `GET /order_status={id}`.
    Track,
    /// Everything that prepares or checks a run; not reported.
    Errand,
}

impl Kind {
    /// Those that are reported, in the order of a journey.
    pub(super) const REPORTED: [Self; 6] =
        [Self::Search, Self::Page, Self::AddToCart, Self::Checkout, Self::Payment, Self::Track];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Page => "page",
            Self::AddToCart => "add to cart",
            Self::Checkout => "checkout",
            Self::Payment => "payment",
            Self::Track => "track",
            Self::Errand => "errand",
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// 2xx and 3xx.
    Done,
    /// 4xx: understood and refused. "Sold out" is an answer.
    Refused,
    /// 5xx.
    Failed,
    /// No answer in time, or a broken connection.
    Unanswered,
}

impl Class {
    pub(super) fn of(status: Option<u16>) -> Self {
        match status {
            Some(200..=399) => Self::Done,
            Some(400..=499) => Self::Refused,
            Some(_) => Self::Failed,
            None => Self::Unanswered,
        }
    }
}

struct Measured {
    latencies: Histogram<u64>,
    /// By class.
    answers: [u64; 4],
}

impl Default for Measured {
    fn default() -> Self {
        // The bounds are constants that a histogram can have; a test makes one.
        let latencies = Histogram::new_with_bounds(1, MICROSECONDS_MAX, DIGITS).expect("bounds of a histogram");
        Self { latencies, answers: [0; 4] }
    }
}

/// Gathers what all journeys measure.
#[derive(Default)]
pub(super) struct Recorder([Mutex<Measured>; Kind::REPORTED.len()]);

impl Recorder {
    pub(super) fn record(&self, kind: Kind, took: Duration, class: Class) {
        let Some(index) = Kind::REPORTED.iter().position(|reported| *reported == kind) else { return };
        let mut measured = self.0[index].lock();
        measured.latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
        measured.answers[class as usize] += 1;
    }

    /// Forgets what was measured while the run was prepared.
    pub(super) fn forget(&self) {
        self.0.iter().for_each(|measured| *measured.lock() = Measured::default());
    }

    /// Requests that were answered, and those that failed.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.0.iter().fold((0, 0), |(answered, failed), measured| {
            let [done, refused, broken, unanswered] = measured.lock().answers;
            (answered + done + refused, failed + broken + unanswered)
        })
    }

    /// A row for each kind that was asked at all.
    pub(super) fn rows(&self, seconds: f64) -> Vec<Row> {
        let rows = Kind::REPORTED.iter().zip(&self.0).map(|(kind, measured)| {
            let measured = measured.lock();
            let ms = |quantile| measured.latencies.value_at_quantile(quantile) as f64 / 1e3;
            let [done, refused, failed, unanswered] = measured.answers;
            Row {
                kind: *kind,
                per_second: (done + refused) as f64 / seconds,
                p50_ms: ms(0.5),
                p90_ms: ms(0.9),
                p99_ms: ms(0.99),
                p999_ms: ms(0.999),
                max_ms: measured.latencies.max() as f64 / 1e3,
                done,
                refused,
                failed,
                unanswered,
            }
        });
        rows.filter(|row| row.done + row.refused + row.failed + row.unanswered > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_counted_and_errands_are_not() {
        let recorder = Recorder::default();
        for status in [Some(200), Some(304), Some(409), Some(503), None] {
            recorder.record(Kind::Checkout, Duration::from_millis(2), Class::of(status));
        }
        recorder.record(Kind::Errand, Duration::from_millis(2), Class::Done);
        let rows = recorder.rows(1.0);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].done, rows[0].refused, rows[0].failed, rows[0].unanswered), (2, 1, 1, 1));
        assert!((1.9..2.1).contains(&rows[0].p99_ms), "{}", rows[0].p99_ms);
        assert_eq!(recorder.counts(), (3, 2));
        recorder.forget();
        assert!(recorder.rows(1.0).is_empty());
    }
}
