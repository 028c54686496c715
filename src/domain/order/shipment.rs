//! The parcel of an order: packed, shipped, delivered.
//!
//! Depends on `serde` and its neighbours.

use serde::{Deserialize, Serialize};

use super::{Order, Progress, Rejection, Status, TRACKING_CHARACTERS_MAX, Text, Tracking};
use crate::domain::entity::Timestamp;

/// An event of the parcel. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    Packed { at: Timestamp },
    Shipped { tracking: Tracking, at: Timestamp },
    Delivered { at: Timestamp },
}

impl Order {
    pub(super) fn decide_pack(&self, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        Ok(self.decide_advance(Progress::Packed)?.then(|| Event::Packed { at: now }.into()))
    }

    pub(super) fn decide_ship(&self, tracking: &Tracking, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        Text::Carrier.check(&tracking.carrier, TRACKING_CHARACTERS_MAX)?;
        Text::TrackingNumber.check(&tracking.number, TRACKING_CHARACTERS_MAX)?;
        if self.progress == Progress::Shipped && self.tracking.as_ref() != Some(tracking) {
            return Err(Rejection::AlreadyShipped);
        }
        let shipped = || Event::Shipped { tracking: tracking.clone(), at: now }.into();
        Ok(self.decide_advance(Progress::Shipped)?.then(shipped))
    }

    pub(super) fn decide_deliver(&self, now: Timestamp) -> Result<Option<super::Event>, Rejection> {
        Ok(self.decide_advance(Progress::Delivered)?.then(|| Event::Delivered { at: now }.into()))
    }

    /// Whether the order moves to `to` now; `false` if it is there already.
    fn decide_advance(&self, to: Progress) -> Result<bool, Rejection> {
        let (_, status) = self.placed()?;
        let allowed = match to {
            Progress::Packed => status == Status::Confirmed,
            Progress::Shipped => matches!(status, Status::Confirmed | Status::Packed),
            Progress::Delivered => status == Status::Shipped,
            Progress::Open | Progress::Confirmed | Progress::Ended => false,
        };
        if allowed && to != Progress::Delivered && self.is_refunded_elsewhere() {
            return Err(Rejection::RefundedElsewhere);
        }
        if allowed && to != Progress::Delivered && self.has_lost_dispute() {
            return Err(Rejection::DisputeLost);
        }
        let already = self.progress == to;
        if allowed || already { Ok(allowed) } else { Err(Rejection::WrongStatus { status }) }
    }

    pub(super) fn apply_shipment(&mut self, event: &Event) {
        match event {
            Event::Packed { at } => self.advance(Progress::Packed, *at),
            Event::Shipped { tracking, at } => {
                self.tracking = Some(tracking.clone());
                self.advance(Progress::Shipped, *at);
            }
            Event::Delivered { at } => self.advance(Progress::Delivered, *at),
        }
    }
}
