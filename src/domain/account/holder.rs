//! Who holds an account, and their sessions.
//!
//! Depends on `std`, `serde` and its neighbours.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Decision, FAMILIES_MAX, PasswordHash, Profile, REFRESH_REPEAT_MS_MAX, Rejection, Role, Standing};
use crate::domain::{entity::Timestamp, ids::UserId};

/// A session: one login on one device, and the refresh tokens that descend from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// The random id of the session.
    pub family: u128,
    /// The counter of the only refresh token that is valid now. 64 bits, so that it cannot overflow.
    pub counter: u64,
    /// When its owner logged in.
    pub started_at: Timestamp,
    /// When the counter was last incremented; `None` if it never was.
    pub rotated_at: Option<Timestamp>,
    /// When it ends, however much it is used.
    pub expires_at: Timestamp,
}

impl Family {
    fn last_used_at(&self) -> Timestamp {
        self.rotated_at.unwrap_or(self.started_at)
    }

    /// Whether `counter` was used so recently that its holder may just be repeating an unanswered request.
    pub(super) fn is_repeat(&self, counter: u64, now: Timestamp) -> bool {
        let recent = self.rotated_at.is_some_and(|at| now.ms_apart(at) <= REFRESH_REPEAT_MS_MAX);
        recent && counter.checked_add(1) == Some(self.counter)
    }
}

/// A registered account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Holder {
    /// The holder's id in the rest of the shop.
    pub user: UserId,
    pub role: Role,
    pub password_hash: PasswordHash,
    pub profile: Profile,
    /// Whether the holder may sell, if that is the role.
    pub standing: Standing,
    /// What an admin has decided of that, last.
    pub decision: Option<Arc<Decision>>,
    pub created_at: Timestamp,
    /// Access tokens of an earlier epoch are invalid.
    pub epoch: u32,
    /// The live sessions, at most [`FAMILIES_MAX`], in the order in which they started.
    pub families: Vec<Family>,
    /// The sessions that the newest one has ended to make room for itself. Whoever started it revokes their access
    /// tokens.
    pub replaced: Vec<u128>,
    /// Higher than every counter of an ended family. New families start here, so that a late repeat of a login cannot
    /// make used tokens valid again.
    pub(super) counter_floor: u64,
}

impl Holder {
    /// The live session with this id.
    #[must_use]
    pub fn family(&self, family: u128) -> Option<&Family> {
        self.families.iter().find(|known| known.family == family)
    }

    /// After `Refresh { family, counter }` was accepted: the family whose next token the caller issues. `None` if the
    /// token turned out to be stolen or another request was faster; then the caller issues nothing.
    #[must_use]
    pub fn successor(&self, family: u128, counter: u64) -> Option<&Family> {
        self.family(family).filter(|known| counter.checked_add(1) == Some(known.counter))
    }

    /// Whether an access token of this session and epoch is still valid.
    #[must_use]
    pub fn honours(&self, family: u128, epoch: u32) -> bool {
        epoch >= self.epoch && self.family(family).is_some()
    }

    pub(super) fn epoch_next(&self) -> Result<u32, Rejection> {
        self.epoch.checked_add(1).ok_or(Rejection::EpochsExhausted)
    }

    pub(super) fn end_families(&mut self, ends: impl Fn(&Family) -> bool) {
        let ended = self.families.iter().filter(|family| ends(family));
        let floor = ended.map(|family| family.counter.saturating_add(1)).max().unwrap_or(0);
        self.counter_floor = self.counter_floor.max(floor);
        self.families.retain(|family| !ends(family));
    }

    /// Makes room for one more session: ends those that have expired, and then the ones that were unused for longest.
    pub(super) fn make_room(&mut self, at: Timestamp) {
        self.end_families(|family| family.expires_at.has_come(at));
        self.replaced.clear();
        while self.families.len() >= FAMILIES_MAX
            && let Some(unused) = self.families.iter().min_by_key(|family| family.last_used_at())
        {
            let unused = unused.family;
            self.end_families(|family| family.family == unused);
            self.replaced.push(unused);
        }
    }
}
