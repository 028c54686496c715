//! What customers say about one product: one review a customer, and the average of all.
//!
//! The texts are kept by a read model; the entity keeps what its rules need: who has rated, and how.
//!
//! Depends on `std`, `serde` and its neighbours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{
    entity::{Entity, Kind, Timestamp},
    ids::{ProductId, UserId},
};

/// The longest title of a review, in bytes.
pub const TITLE_BYTES_MAX: usize = 200;
/// The longest text of a review, in bytes: it fits into one stored value.
pub const TEXT_BYTES_MAX: usize = 3_000;
/// How many customers may review one product; past it new ones are refused, so that the entity stays small (5 MB).
pub const REVIEWS_MAX: usize = 100_000;

/// A review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Who wrote it.
    pub customer: UserId,
    /// Stars, 1 to 5.
    pub rating: u8,
    /// A headline.
    pub title: String,
    /// What it says; possibly empty.
    pub text: String,
    /// Whether the shop knows that its writer bought the product.
    pub purchase: Purchase,
}

/// Whether a reviewer bought the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purchase {
    /// In a paid order of this shop.
    Verified,
    /// Not as far as the shop knows.
    Unknown,
}

/// What reviews can be asked.
#[derive(Debug, Clone)]
pub enum Command {
    /// Add a customer's review, or replace it.
    Write(Review),
}

/// What can have happened to reviews. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A customer wrote a review, or replaced theirs.
    Written {
        /// The review.
        review: Review,
        /// When.
        at: Timestamp,
    },
}

/// Why a review was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Not 1 to 5 stars.
    #[error("the rating must be 1 to 5")]
    InvalidRating,
    /// A text is empty or too long.
    #[error("the {field} must be at most {bytes_max} bytes, and the title not empty")]
    InvalidText {
        /// Which text.
        field: &'static str,
        /// Its limit.
        bytes_max: usize,
    },
    /// [`REVIEWS_MAX`] is reached.
    #[error("the product has as many reviews as the shop keeps")]
    TooMany,
}

/// The reviews of one product.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reviews {
    by_customer: BTreeMap<UserId, (u8, u64)>,
    stars: u64,
}

/// What readers see: how many there are, and their average.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct View {
    /// How many customers have reviewed the product.
    pub count: u32,
    /// All their stars together.
    pub stars: u64,
}

impl Reviews {
    fn fingerprint(review: &Review) -> u64 {
        // FNV-1a: it only tells a repeat from a change, and must give the same number for ever.
        let fields = [review.title.as_bytes(), &[0], review.text.as_bytes(), &[0, review.purchase as u8]];
        let bytes = fields.iter().flat_map(|field| field.iter());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

impl Entity for Reviews {
    const KIND: Kind = Kind::Reviews;
    type Id = ProductId;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;
    type View = View;

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Option<Event>, Rejection> {
        let Command::Write(review) = command;
        if !(1..=5).contains(&review.rating) {
            return Err(Rejection::InvalidRating);
        }
        if review.title.trim().is_empty() || review.title.len() > TITLE_BYTES_MAX {
            return Err(Rejection::InvalidText { field: "title", bytes_max: TITLE_BYTES_MAX });
        }
        if review.text.len() > TEXT_BYTES_MAX {
            return Err(Rejection::InvalidText { field: "text", bytes_max: TEXT_BYTES_MAX });
        }
        match self.by_customer.get(&review.customer) {
            Some(known) if *known == (review.rating, Self::fingerprint(review)) => Ok(None),
            None if self.by_customer.len() >= REVIEWS_MAX => Err(Rejection::TooMany),
            Some(_) | None => Ok(Some(Event::Written { review: review.clone(), at: now })),
        }
    }

    fn apply(&mut self, event: &Event) {
        let Event::Written { review, .. } = event;
        let known = (review.rating, Self::fingerprint(review));
        if let Some((stars, _)) = self.by_customer.insert(review.customer, known) {
            self.stars -= u64::from(stars);
        }
        self.stars += u64::from(review.rating);
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

    fn write(customer: u128, rating: u8) -> Command {
        let (title, text) = ("Good".into(), "It works".into());
        Command::Write(Review { customer: UserId(customer), rating, title, text, purchase: Purchase::Unknown })
    }

    #[test]
    fn a_customer_has_one_review_and_may_change_it() {
        let mut reviews = Reviews::default();
        for command in [write(1, 5), write(2, 3), write(1, 4)] {
            let event = reviews.decide(&command, NOW).unwrap().unwrap();
            reviews.apply(&event);
            assert_eq!(reviews.decide(&command, NOW), Ok(None));
        }
        assert_eq!(reviews.view(), View { count: 2, stars: 7 });
    }

    #[test]
    fn ratings_are_one_to_five_stars() {
        for rating in [0, 6, 255] {
            assert_eq!(Reviews::default().decide(&write(1, rating), NOW), Err(Rejection::InvalidRating));
        }
    }
}
