//! Log lines that a fault would repeat hundreds of times a second: one a second is written, with how many were left
//! out.
//!
//! Logs live on the same disk as the shop more often than not, and such a fault may be a full disk. Depends on nothing.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// The least time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// One kind of log line.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    last: Mutex<Option<Instant>>,
    left_out: AtomicU64,
}

impl Throttle {
    /// A kind of line of which none was written yet.
    #[must_use]
    pub(crate) const fn new() -> Self {
        Self { last: Mutex::new(None), left_out: AtomicU64::new(0) }
    }

    /// How many lines were left out since the last one, if it is time for another; otherwise this one is left out.
    pub(crate) fn next_line(&self) -> Option<u64> {
        self.next_line_at(Instant::now())
    }

    fn next_line_at(&self, now: Instant) -> Option<u64> {
        let mut last = self.last.lock();
        if last.is_some_and(|last| now.duration_since(last) < LINE_EVERY) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *last = Some(now);
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_line_a_second_with_the_number_of_those_left_out() {
        let (throttle, start) = (Throttle::new(), Instant::now());
        let lines: Vec<_> = (0..40).filter_map(|step| throttle.next_line_at(start + step * LINE_EVERY / 10)).collect();
        assert_eq!(lines, [0, 9, 9, 9]);
    }
}
