//! What was measured: a latency histogram and the answers by class, for each kind of request and for each second.
//!
//! Depends on nothing of the crate.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;

use super::report::{ProblemCount, Row, Second};

/// The longest latency that is told from a longer one, in microseconds: ten minutes.
const MICROSECONDS_MAX: u64 = 600_000_000;
/// Digits that latencies keep.
const DIGITS: u8 = 3;

/// How many different problems are told apart; a shop has about fifty codes.
const PROBLEMS_MAX: usize = 500;
/// Where the curve of a kind's latencies is drawn, as quantiles.
const CURVE: [f64; 16] =
    [0.0, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 0.99999, 1.0];

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
    /// `POST /orders/{id}/pack`.
    Pack,
    /// `POST /orders/{id}/ship`.
    Ship,
    /// `POST /orders/{id}/deliver`.
    Deliver,
    /// `GET /orders` as the operator.
    SellerOrders,
    /// `GET /products/{id}/inventory`.
    Stock,
    /// `PUT /products/{id}` with another price.
    Reprice,
    /// `PUT /products/{id}` with the next edition.
    Replace,
    /// `POST /auth/refresh`.
    Renewal,
    /// Everything that prepares or checks a run; not reported.
    Errand,
}

impl Kind {
    /// Those that are reported, in the order of their numbers.
    pub(super) const REPORTED: [Self; 14] = [
        Self::Search,
        Self::Page,
        Self::AddToCart,
        Self::Checkout,
        Self::Payment,
        Self::Track,
        Self::Pack,
        Self::Ship,
        Self::Deliver,
        Self::SellerOrders,
        Self::Stock,
        Self::Reprice,
        Self::Replace,
        Self::Renewal,
    ];

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
            Self::Pack => "pack",
            Self::Ship => "ship",
            Self::Deliver => "deliver",
            Self::SellerOrders => "orders",
            Self::Stock => "stock",
            Self::Reprice => "price",
            Self::Replace => "replace",
            Self::Renewal => "renew token",
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

fn histogram() -> Histogram<u64> {
    // The bounds are constants that a histogram can have; a test makes one.
    Histogram::new_with_bounds(1, MICROSECONDS_MAX, DIGITS).expect("bounds of a histogram")
}

fn ms(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e3
}

struct Measured {
    latencies: Histogram<u64>,
    /// By class.
    answers: [u64; 4],
}

impl Default for Measured {
    fn default() -> Self {
        Self { latencies: histogram(), answers: [0; 4] }
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
        self.answers = [0; 4];
    }
}

/// All requests by the second in which they ended.
struct Series {
    began: Instant,
    past: Vec<Second>,
    current: Measured,
}

impl Series {
    /// Ends every second that is over.
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

/// Gathers what all journeys measure.
pub(super) struct Recorder {
    kinds: [Mutex<Measured>; Kind::REPORTED.len()],
    series: Mutex<Series>,
    problems: Mutex<BTreeMap<(Kind, u16, String), u64>>,
}

impl Default for Recorder {
    fn default() -> Self {
        let series = Series { began: Instant::now(), past: Vec::new(), current: Measured::default() };
        Self { kinds: Default::default(), series: Mutex::new(series), problems: Mutex::default() }
    }
}

impl Recorder {
    /// A request has ended. `None` is the latency of one that failed at once: it would only flatter the shop.
    pub(super) fn record(&self, kind: Kind, took: Option<Duration>, class: Class) {
        let Some(measured) = self.kinds.get(kind as usize) else { return };
        measured.lock().record(took, class);
        let mut series = self.series.lock();
        series.proceed();
        series.current.record(took, class);
    }

    /// An answer was a problem with this code.
    pub(super) fn problem(&self, kind: Kind, status: u16, code: &str) {
        let mut problems = self.problems.lock();
        if kind != Kind::Errand && problems.len() < PROBLEMS_MAX {
            *problems.entry((kind, status, code.to_owned())).or_default() += 1;
        }
    }

    /// Forgets what was measured while the run was prepared, and begins to count seconds.
    pub(super) fn begin(&self) {
        self.kinds.iter().for_each(|measured| measured.lock().clear());
        self.problems.lock().clear();
        *self.series.lock() = Series { began: Instant::now(), past: Vec::new(), current: Measured::default() };
    }

    /// Requests that were answered, and those that failed.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.kinds.iter().fold((0, 0), |(answered, failed), measured| {
            let [done, refused, broken, unanswered] = measured.lock().answers;
            (answered + done + refused, failed + broken + unanswered)
        })
    }

    /// A row for each kind that was asked at all.
    pub(super) fn rows(&self, seconds: f64) -> Vec<Row> {
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
    pub(super) fn last_second(&self) -> Second {
        let mut series = self.series.lock();
        series.proceed();
        series.past.last().copied().unwrap_or_default()
    }

    /// Every second until now.
    pub(super) fn seconds(&self) -> Vec<Second> {
        let mut series = self.series.lock();
        series.proceed();
        if series.current.answers.iter().sum::<u64>() > 0 {
            series.end();
        }
        series.past.clone()
    }

    /// The problems that were answered, the most frequent first.
    pub(super) fn problems(&self) -> Vec<ProblemCount> {
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
    fn every_class_is_counted_and_errands_are_not() {
        let recorder = Recorder::default();
        for status in [Some(200), Some(304), Some(409), Some(503), None] {
            recorder.record(Kind::Checkout, Some(Duration::from_millis(2)), Class::of(status));
        }
        recorder.record(Kind::Errand, Some(Duration::from_millis(2)), Class::Done);
        for _ in 0..9 {
            recorder.record(Kind::Checkout, None, Class::Unanswered);
        }
        let rows = recorder.rows(1.0);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].done, rows[0].refused, rows[0].failed, rows[0].unanswered), (2, 1, 1, 10));
        assert!((1.9..2.1).contains(&rows[0].p50_ms), "those that failed at once have no latency: {}", rows[0].p50_ms);
        assert_eq!(recorder.counts(), (3, 11));
        let seconds = recorder.seconds();
        assert_eq!(seconds.iter().map(|second| second.done + second.refused).sum::<u64>(), 3);
        assert_eq!(seconds.iter().map(|second| second.failed + second.unanswered).sum::<u64>(), 11);
        recorder.problem(Kind::Checkout, 409, "insufficient-stock");
        assert_eq!((recorder.problems()[0].status, recorder.problems()[0].count), (409, 1));
        recorder.begin();
        assert!(recorder.rows(1.0).is_empty() && recorder.seconds().is_empty() && recorder.problems().is_empty());
    }

    #[test]
    fn every_kind_has_its_place() {
        for (place, kind) in Kind::REPORTED.iter().enumerate() {
            assert_eq!(*kind as usize, place, "{}", kind.name());
        }
        assert_eq!(Kind::Errand as usize, Kind::REPORTED.len());
    }
}
