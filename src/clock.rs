//! The clock. Only this file reads the wall clock; the shop gets the time from a [`Clock`] that it is given, so tests
//! can stop it or let it jump, and a program that embeds the shop can supply its own. What stands for something else
//! keeps the machine's time: the fake provider, a recorded history, the checker.
//!
//! Depends on the `Timestamp` of `domain`, and on nothing else of the crate.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::domain::entity::Timestamp;

/// A source of time. Cheap to clone; clones of a manual clock move together.
#[derive(Clone, Default)]
pub struct Clock(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<AtomicU64>),
    Custom(Arc<dyn Fn() -> Timestamp + Send + Sync>),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until it is advanced.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(start.0))))
    }

    /// A clock that calls `now`: once per round of an entity, from many threads at once, so it must be cheap and must
    /// not block.
    #[must_use]
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Source::Custom(Arc::new(now)))
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
            }
            Source::Manual(now) => Timestamp(now.load(Ordering::SeqCst)),
            Source::Custom(now) => now(),
        }
    }

    /// Advances a manual clock. Other clocks are not affected.
    pub fn advance_ms(&self, ms: u64) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(ms, Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Clock({})", self.now().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_custom_clock_is_asked_each_time_and_only_a_manual_one_is_moved() {
        let ticks = AtomicU64::new(41);
        let custom = Clock::from_fn(move || Timestamp(ticks.fetch_add(1, Ordering::SeqCst)));
        custom.advance_ms(1_000);
        assert_eq!((custom.now(), custom.now()), (Timestamp(41), Timestamp(42)));
        let manual = Clock::manual(Timestamp(5));
        let same = manual.clone();
        same.advance_ms(2);
        assert_eq!((manual.now(), same.now()), (Timestamp(7), Timestamp(7)));
    }
}
