//! The ratings of one product: the stars of each customer, and their sum. [`crate::domain::rating`] makes the average
//! of them.
//!
//! The texts are in the customers' [`crate::domain::review`]s. Each change of a review is sent here with the review's
//! version, so that changes may arrive late, twice, or in another order.
//!
//! Depends on `std`, `serde` and its neighbours.

use imbl::OrdMap;

use serde::{Deserialize, Serialize};

use crate::domain::{
    entity::{Entity, Kind, Timestamp},
    ids::{ProductId, UserId},
};

/// How many customers may review one product; more are rejected, so that the entity stays small (5 MB).
pub const RATINGS_MAX: usize = 100_000;

/// A command to the ratings of a product.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Command {
    /// A customer gives these stars.
    Rate {
        customer: UserId,
        /// From 1 to 5.
        rating: u8,
        /// The version of the review. If a later version is known, the command changes nothing.
        version: u64,
    },
    /// A customer's review is erased and does not count any more.
    Forget { customer: UserId },
}

/// An event of the ratings of a product. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// A customer gave stars, or changed them.
    Rated {
        customer: UserId,
        rating: u8,
        /// The version of the review.
        version: u64,
    },
    /// A customer's stars do not count any more.
    Forgotten { customer: UserId },
}

/// Why a rating was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// [`RATINGS_MAX`] is reached.
    #[error("the product has as many reviews as the shop keeps")]
    TooMany,
}

/// The ratings of one product.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Ratings {
    by_customer: OrdMap<UserId, (u8, u64)>,
    stars: u64,
}

/// The ratings as readers see them: their number and their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct View {
    /// How many customers have rated the product.
    pub count: u32,
    /// The sum of their stars.
    pub stars: u64,
}

impl Ratings {
    /// The customers who have given stars, each with the version of their review.
    pub fn versions(&self) -> impl Iterator<Item = (UserId, u64)> {
        self.by_customer.iter().map(|(customer, (_, version))| (*customer, *version))
    }

    fn set(&mut self, customer: UserId, rating: u8, version: u64) {
        self.remove(customer);
        self.by_customer.insert(customer, (rating, version));
        self.stars += u64::from(rating);
    }

    fn remove(&mut self, customer: UserId) {
        if let Some((stars, _)) = self.by_customer.remove(&customer) {
            self.stars -= u64::from(stars);
        }
    }
}

impl Entity for Ratings {
    const KIND: Kind = Kind::Ratings;
    type Id = ProductId;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;
    type View = View;

    fn decide(&self, command: &Command, _: Timestamp) -> Result<Option<Event>, Rejection> {
        match command {
            Command::Rate { customer, rating, version } => match self.by_customer.get(customer) {
                Some((_, known)) if known >= version => Ok(None),
                None if self.by_customer.len() >= RATINGS_MAX => Err(Rejection::TooMany),
                Some(_) | None => Ok(Some(Event::Rated { customer: *customer, rating: *rating, version: *version })),
            },
            Command::Forget { customer } => {
                Ok(self.by_customer.contains_key(customer).then_some(Event::Forgotten { customer: *customer }))
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Rated { customer, rating, version } => self.set(*customer, *rating, *version),
            Event::Forgotten { customer } => self.remove(*customer),
        }
    }

    /// The customer who gave the stars has to disappear from the stored events, too.
    fn erases(event: &Event) -> bool {
        matches!(event, Event::Forgotten { .. })
    }

    fn view(&self) -> View {
        View { count: u32::try_from(self.by_customer.len()).unwrap_or(u32::MAX), stars: self.stars }
    }

    fn view_bytes(_: &View) -> usize {
        size_of::<View>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1);

    fn rate(customer: u128, rating: u8, version: u64) -> Command {
        Command::Rate { customer: UserId(customer), rating, version }
    }

    fn given(commands: &[Command]) -> Ratings {
        let mut ratings = Ratings::default();
        for command in commands {
            let event = ratings.decide(command, NOW).unwrap();
            event.iter().for_each(|event| ratings.apply(event));
            assert_eq!(ratings.decide(command, NOW), Ok(None), "a repeat");
        }
        ratings
    }

    #[test]
    fn a_customer_counts_once_and_may_change_their_mind() {
        let ratings = given(&[rate(1, 5, 1), rate(2, 3, 1), rate(1, 4, 2)]);
        assert_eq!(ratings.view(), View { count: 2, stars: 7 });
    }

    #[test]
    fn what_arrives_late_changes_nothing() {
        let ratings = given(&[rate(1, 4, 2), rate(1, 5, 1)]);
        assert_eq!(ratings.view(), View { count: 1, stars: 4 });
    }

    #[test]
    fn who_is_forgotten_counts_no_more() {
        let forget = Command::Forget { customer: UserId(1) };
        assert_eq!(given(&[rate(1, 5, 1), rate(2, 3, 1), forget]).view(), View { count: 1, stars: 3 });
    }
}
