//! What is counted of the calls to a provider: how many ended how, and how long they took.
//!
//! Plain atomic counters, so that a shop without the edge needs no library for metrics. Depends on nothing of its room.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// The upper bounds of the histogram of durations, in seconds: from a provider next door to the longest that one answer
/// is waited for. A last bucket without a bound follows.
const BOUNDS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The methods of a gateway that call the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
#[non_exhaustive]
pub enum Call {
    Pay,
    Find,
    Capture,
    Void,
    Refund,
    List,
}

impl Call {
    /// Every kind of call.
    pub const ALL: [Self; 6] = [Self::Pay, Self::Find, Self::Capture, Self::Void, Self::Refund, Self::List];

    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pay => "pay",
            Self::Find => "find",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
            Self::List => "list",
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallOutcome {
    /// A definite answer.
    Ok,
    /// An unknown one, a call that was dropped, or one that panicked.
    Unknown,
    /// The breaker refused the call.
    Refused,
}

impl CallOutcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Unknown, Self::Refused];

    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
        }
    }
}

/// Counts and times of the calls to the provider. Refused calls take no time. Cheap to clone: clones share the
/// counters.
#[derive(Debug, Clone, Default)]
pub struct CallMetrics(Arc<[Counts; Call::ALL.len()]>);

/// Those of one method.
#[derive(Debug, Default)]
struct Counts {
    outcomes: [AtomicU64; CallOutcome::ALL.len()],
    nanoseconds: AtomicU64,
    /// How many calls took at most so long, and longer than the bound before.
    buckets: [AtomicU64; BOUNDS.len() + 1],
}

impl CallMetrics {
    pub(super) fn count(&self, call: Call, outcome: CallOutcome) {
        self.0[call as usize].outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn observe(&self, call: Call, took: Duration) {
        let counts = &self.0[call as usize];
        counts.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        let bucket = BOUNDS.partition_point(|bound| *bound < took.as_secs_f64());
        counts.buckets[bucket].fetch_add(1, Relaxed);
    }

    /// How many calls ended so.
    #[must_use]
    pub fn requests(&self, call: Call, outcome: CallOutcome) -> u64 {
        self.0[call as usize].outcomes[outcome as usize].load(Relaxed)
    }

    /// How long the calls of this method took in all, in seconds.
    #[must_use]
    pub fn seconds(&self, call: Call) -> f64 {
        self.0[call as usize].nanoseconds.load(Relaxed) as f64 / 1e9
    }

    /// How many calls of this method took how long: the upper bounds of the buckets in seconds, the last one infinite,
    /// each with the calls in it that are in none before.
    #[must_use]
    pub fn durations(&self, call: Call) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        bounds.zip(&self.0[call as usize].buckets).map(|(bound, calls)| (bound, calls.load(Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let metrics = CallMetrics::default();
        for ms in [10, 11, 10_001] {
            metrics.observe(Call::Void, Duration::from_millis(ms));
        }
        let buckets = metrics.durations(Call::Void);
        let filled: Vec<_> = buckets.into_iter().filter(|(_, calls)| *calls > 0).collect();
        assert_eq!(filled, [(0.01, 1), (0.025, 1), (f64::INFINITY, 1)]);
        assert!((metrics.seconds(Call::Void) - 10.022).abs() < 1e-9);
        assert!(metrics.durations(Call::Pay).iter().all(|(_, calls)| *calls == 0));
    }
}
