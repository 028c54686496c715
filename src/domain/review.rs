//! What one customer writes about one product. It is a stream of its own, so that the text is kept, replaced and erased
//! with the stream.
//!
//! The product's [`crate::domain::ratings`] count the stars of all customers. Each change here is sent there with its
//! version, by which they recognise the later of two changes in whatever order the changes arrive.
//!
//! Depends on `std`, `serde` and its neighbours.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::domain::{
    entity::{Entity, EntityId, Kind, Timestamp},
    ids::{ProductId, UserId},
    text::{Lines, is_blank, is_clean},
};

/// The longest title of a review, in characters.
pub const TITLE_CHARACTERS_MAX: usize = 200;
/// The longest text of a review, in bytes: with the longest title it fits into one stored value.
pub const TEXT_BYTES_MAX: usize = 3_000;

/// The id of a review: a customer has at most one per product.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ReviewId {
    pub product: ProductId,
    pub customer: UserId,
}

impl fmt::Display for ReviewId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.product, self.customer)
    }
}

impl EntityId for ReviewId {
    /// The customer, whose bytes are always as many, then the product.
    fn to_key(&self) -> Vec<u8> {
        [self.customer.to_key(), self.product.to_key()].concat()
    }

    fn from_key(key: &[u8]) -> Option<Self> {
        let (customer, product) = key.split_first_chunk::<16>()?;
        Some(Self { product: ProductId::from_key(product)?, customer: UserId::from_key(customer)? })
    }
}

/// The content of a review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Content {
    pub customer: UserId,
    /// From 1 to 5.
    pub rating: u8,
    pub title: String,
    /// The text; possibly empty.
    pub text: String,
    /// Whether the shop knows that the customer bought the product.
    pub purchase: Purchase,
}

/// Whether a reviewer bought the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purchase {
    /// The customer has paid for an order of it in this shop.
    Verified,
    /// The shop knows of no such order.
    Unknown,
}

/// A review that has not been erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Written {
    pub content: Content,
    /// When it was written or last changed.
    pub at: Timestamp,
}

/// A command to a review.
#[derive(Debug, Clone)]
pub enum Command {
    /// Write the review, or replace it.
    Write(Content),
    /// Erase the review. The caller must have removed its rating from the product before.
    Erase,
}

/// An event of a review. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// It was written or replaced.
    Written {
        /// The review as it is after the change.
        written: Arc<Written>,
        /// 1, 2, 3 …: the number of this change.
        version: u64,
    },
    Erased {
        /// The number of this change.
        version: u64,
        at: Timestamp,
    },
}

/// Why a command to a review was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum Rejection {
    /// The rating is not from 1 to 5.
    #[error("the rating must be 1 to 5")]
    InvalidRating,
    /// A text is too long or cannot be shown, or the title is blank.
    #[error("{}", .field.rule())]
    InvalidText { field: Text },
}

/// A text of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Text {
    Title,
    Body,
}

impl Text {
    /// Its name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Body => "text",
        }
    }

    fn rule(self) -> String {
        match self {
            Self::Title => {
                format!("the title must be 1 to {TITLE_CHARACTERS_MAX} characters of text that can be shown")
            }
            Self::Body => format!("the text must be at most {TEXT_BYTES_MAX} bytes of text that can be shown"),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One customer's review of one product.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Review {
    written: Option<Arc<Written>>,
    version: u64,
}

/// What readers see of a review.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The review; `None` if none was written or it was erased.
    pub written: Option<Arc<Written>>,
    /// Grows with every change.
    pub version: u64,
}

impl Entity for Review {
    const KIND: Kind = Kind::Review;
    type Id = ReviewId;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;
    type View = View;

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Option<Event>, Rejection> {
        let version = self.version + 1;
        let content = match command {
            Command::Write(content) => content,
            Command::Erase if self.written.is_none() => return Ok(None),
            Command::Erase => return Ok(Some(Event::Erased { version, at: now })),
        };
        if !(1..=5).contains(&content.rating) {
            return Err(Rejection::InvalidRating);
        }
        let (title, text) = (&content.title, &content.text);
        if is_blank(title) || title.chars().count() > TITLE_CHARACTERS_MAX || !is_clean(title, Lines::One) {
            return Err(Rejection::InvalidText { field: Text::Title });
        }
        if text.len() > TEXT_BYTES_MAX || !is_clean(text, Lines::Many) {
            return Err(Rejection::InvalidText { field: Text::Body });
        }
        if self.written.as_ref().is_some_and(|written| written.content == *content) {
            return Ok(None);
        }
        let written = Arc::new(Written { content: content.clone(), at: now });
        Ok(Some(Event::Written { written, version }))
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Written { written, version } => {
                self.written = Some(Arc::clone(written));
                self.version = *version;
            }
            Event::Erased { version, .. } => *self = Self { written: None, version: *version },
        }
    }

    fn erases(event: &Event) -> bool {
        matches!(event, Event::Erased { .. })
    }

    fn view(&self) -> View {
        View { written: self.written.clone(), version: self.version }
    }

    fn view_bytes(view: &View) -> usize {
        let of_written =
            |written: &Arc<Written>| size_of::<Written>() + written.content.title.len() + written.content.text.len();
        size_of::<View>() + view.written.as_ref().map_or(0, of_written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1);

    fn write(rating: u8, title: &str) -> Command {
        let (customer, title, text) = (UserId(1), title.to_owned(), "It works".into());
        Command::Write(Content { customer, rating, title, text, purchase: Purchase::Unknown })
    }

    fn ask(review: &mut Review, command: &Command) -> Option<Event> {
        let event = review.decide(command, NOW).unwrap();
        event.iter().for_each(|event| review.apply(event));
        event
    }

    #[test]
    fn it_is_replaced_by_the_next_and_a_repeat_changes_nothing() {
        let mut review = Review::default();
        for (version, command) in (1..).zip([write(5, "Good"), write(3, "Good"), write(3, "So so")]) {
            assert!(ask(&mut review, &command).is_some());
            assert_eq!(ask(&mut review, &command), None);
            assert_eq!(review.view().version, version);
        }
        assert_eq!(review.view().written.unwrap().content.title, "So so");
    }

    #[test]
    fn what_is_erased_is_gone_and_may_be_written_again() {
        let mut review = Review::default();
        ask(&mut review, &write(5, "Good"));
        let erased = ask(&mut review, &Command::Erase).unwrap();
        assert!(Review::erases(&erased));
        assert_eq!(review.view().written, None);
        assert_eq!(ask(&mut review, &Command::Erase), None);
        ask(&mut review, &write(5, "Good"));
        assert_eq!(review.view().version, 3, "a version is never used twice");
    }

    #[test]
    fn ratings_are_one_to_five_stars_and_texts_are_bounded() {
        let refused = |command| Review::default().decide(&command, NOW).unwrap_err();
        for rating in [0, 6, 255] {
            assert_eq!(refused(write(rating, "Good")), Rejection::InvalidRating);
        }
        for title in [" ", &"x".repeat(TITLE_CHARACTERS_MAX + 1)] {
            assert_eq!(refused(write(5, title)), Rejection::InvalidText { field: Text::Title });
        }
        let longest = "字".repeat(TITLE_CHARACTERS_MAX);
        assert!(Review::default().decide(&write(5, &longest), NOW).is_ok(), "letters of every script count as one");
    }

    #[test]
    fn ids_round_trip_through_their_key_and_the_longest_fits_a_stream() {
        let product = "x".repeat(ProductId::BYTES_MAX).parse().unwrap();
        let longest = ReviewId { product, customer: UserId(u128::MAX) };
        let short = ReviewId { product: "a".parse().unwrap(), customer: UserId(7) };
        for id in [longest, short] {
            assert_eq!(ReviewId::from_key(&id.to_key()), Some(id.clone()));
            assert!(id.to_key().len() <= 80);
        }
        for bad in [&[0; 15][..], &[0; 16], &[0; 17]] {
            assert_eq!(ReviewId::from_key(bad), None);
        }
    }
}
