//! A back-off that doubles with every failure in a row, up to a limit.
//!
//! Depends on `std`.

/// A back-off. The default has had no failure.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure, in milliseconds: `min` after the first, doubled with each further one, at most
    /// `max`.
    pub(crate) fn after_failure(&mut self, min: u64, max: u64) -> u64 {
        let pause = min.saturating_mul(1_u64.checked_shl(self.failures).unwrap_or(u64::MAX)).min(max);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Forgets the failures, after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_limit_and_a_success_resets_it() {
        let mut backoff = Backoff::default();
        let mut pauses = |count| (0..count).map(|_| backoff.after_failure(100, 1_000)).collect::<Vec<_>>();
        assert_eq!(pauses(6), [100, 200, 400, 800, 1_000, 1_000]);
        assert!(pauses(100).iter().all(|pause| *pause == 1_000), "it never overflows");
        backoff.reset();
        assert_eq!(backoff.after_failure(100, 1_000), 100);
        assert_eq!(backoff.after_failure(0, 0), 0);
    }
}
