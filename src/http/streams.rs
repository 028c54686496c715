//! The places of event streams: so many in all, and so many for each user, so that nobody takes those of the others.
//!
//! Depends on `domain`, `parking_lot` and `tokio`.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::{entity::Timestamp, ids::UserId};

/// The places of event streams.
#[derive(Debug)]
pub(super) struct Streams {
    /// A permit for each place.
    free: Arc<Semaphore>,
    of_user_max: usize,
    /// When the open streams of each user end at the latest. There are no more entries than streams.
    open: Mutex<HashMap<UserId, Vec<Timestamp>>>,
}

/// The place of an open stream. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    streams: Arc<Streams>,
    user: UserId,
    ends_at: Timestamp,
    _permit: OwnedSemaphorePermit,
}

/// Why a stream has no place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All places are taken.
    Full,
    /// The user has as many streams as a user may have.
    OfUser {
        /// How many that is.
        streams_max: usize,
        /// When the first of them ends at the latest.
        first_ends_at: Timestamp,
    },
}

impl Streams {
    pub(super) fn new(streams_max: usize, of_user_max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(streams_max)), of_user_max, open: Mutex::default() }
    }

    /// A place for a stream of this user, which ends at `ends_at` at the latest.
    pub(super) fn open(self: &Arc<Self>, user: UserId, ends_at: Timestamp) -> Result<Place, NoPlace> {
        let mut open = self.open.lock();
        let of_user = open.get(&user).map_or(&[][..], Vec::as_slice);
        if of_user.len() >= self.of_user_max {
            let first_ends_at = of_user.iter().min().copied().unwrap_or(ends_at);
            return Err(NoPlace::OfUser { streams_max: self.of_user_max, first_ends_at });
        }
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_| NoPlace::Full)?;
        open.entry(user).or_default().push(ends_at);
        Ok(Place { streams: Arc::clone(self), user, ends_at, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock();
        let Some(of_user) = open.get_mut(&self.user) else { return };
        if let Some(index) = of_user.iter().position(|ends_at| *ends_at == self.ends_at) {
            of_user.swap_remove(index);
        }
        if of_user.is_empty() {
            open.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_few_places_and_others_have_the_rest() {
        let streams = Arc::new(Streams::new(3, 2));
        let open = |user, ends_at| streams.open(UserId(user), Timestamp(ends_at));
        let (first, second) = (open(1, 70).unwrap(), open(1, 50).unwrap());
        let refused = NoPlace::OfUser { streams_max: 2, first_ends_at: Timestamp(50) };
        assert_eq!(open(1, 90).unwrap_err(), refused);
        let other = open(2, 60).unwrap();
        assert_eq!(open(3, 60).unwrap_err(), NoPlace::Full);
        drop(second);
        let third = open(1, 80).unwrap();
        drop((first, third, other));
        assert!(streams.open.lock().is_empty());
        assert_eq!(streams.free.available_permits(), 3);
    }
}
