//! The summary of an order for lists and their filters, stored as a tag with each event.
//!
//! ```text
//!   bits 0 to 3: the stage, from 1; 0 if there is no order     bit 4: is open     bit 5: has issues
//! ```
//!
//! Depends on `serde` and its neighbours.

use serde::{Deserialize, Serialize};

use super::{Order, Status};
use crate::domain::entity::Tag;

const STAGE_BITS: u8 = 0x0f;
const OPEN: u8 = 0x10;
const ISSUES: u8 = 0x20;

/// The status of an order, as coarsely as lists are filtered. Stored: the numbers never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Stage {
    /// Placed and not yet paid, or being cancelled.
    Open = 1,
    /// The money is held until the seller captures it.
    Authorised = 2,
    /// Paid; its stock is being recorded as sold.
    Paid = 3,
    /// Confirmed: the seller has to pack it.
    Confirmed = 4,
    Packed = 5,
    Shipped = 6,
    Delivered = 7,
    /// Cancelled, expired or rejected.
    Ended = 8,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 8] = [
        Self::Open,
        Self::Authorised,
        Self::Paid,
        Self::Confirmed,
        Self::Packed,
        Self::Shipped,
        Self::Delivered,
        Self::Ended,
    ];

    /// The word used in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Confirmed => "confirmed",
            Self::Packed => "packed",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Ended => "ended",
            Self::Authorised => "authorised",
        }
    }
}

impl From<Status> for Stage {
    fn from(status: Status) -> Self {
        match status {
            Status::Placed | Status::AwaitingPayment | Status::PaymentPending | Status::Cancelling => Self::Open,
            Status::Authorised => Self::Authorised,
            Status::Paid => Self::Paid,
            Status::Confirmed => Self::Confirmed,
            Status::Packed => Self::Packed,
            Status::Shipped => Self::Shipped,
            Status::Delivered => Self::Delivered,
            Status::Cancelled | Status::Expired | Status::Rejected => Self::Ended,
        }
    }
}

/// The summary of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Listing {
    pub stage: Stage,
    /// Whether the checkout has more to do for it, now or later, so that a start of the shop resumes it.
    pub is_open: bool,
    /// Whether it has open issues.
    pub has_issues: bool,
}

impl Listing {
    /// Reads a tag; `None` if there is no order yet, or the bits are not the tag of an order.
    #[must_use]
    pub fn from_tag(Tag(bits): Tag) -> Option<Self> {
        let stage = Stage::ALL.into_iter().find(|stage| *stage as u8 == bits & STAGE_BITS)?;
        Some(Self { stage, is_open: bits & OPEN != 0, has_issues: bits & ISSUES != 0 })
    }

    pub(super) fn to_tag(self) -> Tag {
        Tag(self.stage as u8 | if self.is_open { OPEN } else { 0 } | if self.has_issues { ISSUES } else { 0 })
    }
}

impl Order {
    /// The summary; `None` if the order was never placed.
    #[must_use]
    pub fn listing(&self) -> Option<Listing> {
        Some(Listing {
            stage: self.status()?.into(),
            is_open: !self.is_settled(),
            has_issues: self.open_issues().next().is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_survives_the_round_trip_through_its_tag() {
        let mut seen = std::collections::BTreeSet::new();
        for stage in Stage::ALL {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.as_str());
            for (is_open, has_issues) in [(false, false), (false, true), (true, false), (true, true)] {
                let listing = Listing { stage, is_open, has_issues };
                assert_eq!(Listing::from_tag(listing.to_tag()), Some(listing));
                assert!(seen.insert(listing.to_tag().0), "no two listings have one tag");
            }
        }
        assert_eq!(Listing::from_tag(Tag::default()), None);
    }
}
