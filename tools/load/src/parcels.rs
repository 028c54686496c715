//! Paid orders that have to be delivered.
//!
//! Depends on `parking_lot`.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// How many parcels wait at most, each about 60 bytes; orders that are paid beyond that are not delivered.
const PARCELS_MAX: usize = 1_000_000;

/// The next step of a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Pack,
    Ship,
    Deliver,
}

pub(crate) struct Parcel {
    pub(crate) order: String,
    pub(crate) step: Step,
    /// How often this step has failed.
    pub(crate) tries: u32,
}

/// Paid orders that are not delivered yet, the longest waiting first.
#[derive(Default)]
pub(crate) struct Parcels(Mutex<VecDeque<Parcel>>);

impl Parcels {
    /// Adds a paid order.
    pub(crate) fn add(&self, order: String) {
        self.queue(Parcel { order, step: Step::Pack, tries: 0 });
    }

    pub(crate) fn queue(&self, parcel: Parcel) {
        let mut parcels = self.0.lock();
        if parcels.len() < PARCELS_MAX {
            parcels.push_back(parcel);
        }
    }

    pub(crate) fn take(&self) -> Option<Parcel> {
        self.0.lock().pop_front()
    }
}
