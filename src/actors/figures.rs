//! What operators see of the actors: how many of each kind are alive, how often one has failed, what waits in their
//! mailboxes, and which was slowest of late.
//!
//! Depends on `std` and `parking_lot`.

use std::{
    fmt::Display,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;

/// The actors of a shop at this moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Actors {
    /// Those of the entities, by kind.
    pub kinds: Vec<KindFigures>,
    /// Followers, process managers and the owners of the entities: how often each was started again.
    pub restarts: Vec<(&'static str, u64)>,
}

/// The entities of one kind.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KindFigures {
    /// The kind's name.
    pub kind: &'static str,
    /// How many are alive.
    pub live: usize,
    /// How often one has failed and was removed; the next command starts it again.
    pub failures: u64,
    /// How many commands wait in their mailboxes, or for the disk.
    pub waiting: u64,
    /// The one with most of these commands, if any waits.
    pub busiest: Option<Busiest>,
    /// The one that took longest for a command in the last minute or two.
    pub slowest: Option<Slow>,
}

/// An entity with commands that wait.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Busiest {
    pub id: String,
    pub waiting: u32,
}

/// How long an entity took from taking commands out of its mailbox until their answers were durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Slow {
    pub id: String,
    pub took: Duration,
}

/// The slowest entity of one kind, of late.
#[derive(Debug, Default)]
pub(super) struct Slowest {
    /// The longest time of this period, in nanoseconds. Only who exceeds it takes the lock.
    longest: AtomicU64,
    periods: Mutex<Periods>,
}

#[derive(Debug, Default)]
struct Periods {
    this: Option<Slow>,
    last: Option<Slow>,
}

impl Slowest {
    /// Notes that an entity took so long.
    pub(super) fn note(&self, id: &impl Display, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if nanoseconds <= self.longest.load(Relaxed) {
            return;
        }
        let mut periods = self.periods.lock();
        if periods.this.as_ref().is_none_or(|slow| slow.took < took) {
            self.longest.store(nanoseconds, Relaxed);
            periods.this = Some(Slow { id: id.to_string(), took });
        }
    }

    /// Begins another period; the one before the last is forgotten.
    pub(super) fn begin_period(&self) {
        let mut periods = self.periods.lock();
        periods.last = periods.this.take();
        self.longest.store(0, Relaxed);
    }

    /// The slowest of this period and the last.
    pub(super) fn of_late(&self) -> Option<Slow> {
        let periods = self.periods.lock();
        periods.this.iter().chain(&periods.last).max_by_key(|slow| slow.took).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_is_forgotten_after_two_periods() {
        let slowest = Slowest::default();
        let of_late = || slowest.of_late().map(|slow| (slow.id, slow.took.as_millis()));
        assert_eq!(of_late(), None);
        for (id, ms) in [("a", 5), ("b", 9), ("c", 7)] {
            slowest.note(&id, Duration::from_millis(ms));
        }
        assert_eq!(of_late(), Some(("b".to_owned(), 9)));
        slowest.begin_period();
        slowest.note(&"c", Duration::from_millis(3));
        assert_eq!(of_late(), Some(("b".to_owned(), 9)));
        slowest.begin_period();
        assert_eq!(of_late(), Some(("c".to_owned(), 3)));
        slowest.begin_period();
        assert_eq!(of_late(), None);
    }
}
