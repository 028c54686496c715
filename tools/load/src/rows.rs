//! The figures that a report consists of.
//!
//! Depends on `answer` and `kind`.

use std::fmt;

use serde::Serialize;

use crate::{answer::NoAnswer, kind::Kind};

/// Requests of one kind.
///
/// Latencies are those of requests that were answered (2xx to 4xx) or timed out. Requests that failed at once have
/// none, because it would make the shop look better than it is.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The kind of request, or [`Kind::Journey`].
    pub kind: Kind,
    /// Answers (2xx to 4xx) per second.
    pub per_second: f64,
    /// Median latency, in milliseconds.
    pub p50_ms: f64,
    /// 90th percentile, in milliseconds.
    pub p90_ms: f64,
    /// 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// 99.9th percentile, in milliseconds.
    pub p999_ms: f64,
    /// The longest latency, in milliseconds.
    pub max_ms: f64,
    /// Answers 2xx and 3xx.
    pub done: u64,
    /// Answers 4xx: understood and refused, for example "sold out".
    pub refused: u64,
    /// Answers 5xx.
    pub failed: u64,
    /// No answer in time, or no connection.
    pub unanswered: u64,
    /// The distribution: quantiles, each with its latency in milliseconds.
    pub curve: Vec<(f64, f64)>,
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
    /// No answer in time, or no connection.
    pub unanswered: u64,
    /// Median latency, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// The longest latency, in milliseconds.
    pub max_ms: f64,
}

/// How often a kind of request was answered with a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ProblemCount {
    pub kind: Kind,
    pub status: u16,
    /// The code in the answer's body.
    pub code: String,
    pub count: u64,
}

/// The width is that of the count.
impl fmt::Display for ProblemCount {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, status, code, count } = self;
        fmt::Display::fmt(count, to)?;
        write!(to, " x {} {status} {code}", kind.name())
    }
}

/// How often a kind of request had no answer, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct UnansweredCount {
    pub kind: Kind,
    pub reason: NoAnswer,
    pub count: u64,
}

/// The width is that of the count.
impl fmt::Display for UnansweredCount {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, reason, count } = self;
        fmt::Display::fmt(count, to)?;
        write!(to, " x {}: {}", kind.name(), reason.name())
    }
}
