//! Whether an account with the role of a seller may sell.
//!
//! Where a shop lets nobody sell unseen, a seller who registers waits until an admin decides. Everywhere an admin can
//! refuse a seller later, who then brings nothing more into the shop. The decision stays with the account: who made it,
//! when and why.
//!
//! Depends on `std`, `serde` and its neighbours.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::{entity::Timestamp, ids::UserId};

/// Whether a seller may sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[repr(u8)]
pub enum Standing {
    /// Nobody has decided, and nobody had to.
    #[default]
    Free = 0,
    /// Until an admin decides, nothing is sold.
    Waiting = 1,
    /// An admin has approved it.
    Approved = 2,
    /// An admin has refused it.
    Refused = 3,
}

/// What an admin decides of a seller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Approval {
    Approved,
    Refused,
}

/// An admin's decision of a seller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Decision {
    pub by: UserId,
    pub note: Option<Arc<str>>,
    pub at: Timestamp,
}

impl Standing {
    /// The standings by which sellers are listed.
    pub const LISTED: [Self; 3] = [Self::Waiting, Self::Approved, Self::Refused];

    /// The standing by which a seller is listed and shown: who needs no approval is as good as approved.
    #[must_use]
    pub fn listed(self) -> Self {
        match self {
            Self::Free => Self::Approved,
            listed => listed,
        }
    }

    /// Whether the seller may put products and stock into the shop.
    #[must_use]
    pub fn may_sell(self) -> bool {
        match self {
            Self::Free | Self::Approved => true,
            Self::Waiting | Self::Refused => false,
        }
    }
}

impl Decision {
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.note.as_deref().map_or(0, str::len)
    }
}

impl From<Approval> for Standing {
    fn from(approval: Approval) -> Self {
        match approval {
            Approval::Approved => Self::Approved,
            Approval::Refused => Self::Refused,
        }
    }
}
