//! Notices of the provider: hints that something about a payment or a refund may have changed.
//!
//! A notice that may bring news is remembered, and the shop asks the provider. Depends on `serde` and its neighbours.

use serde::{Deserialize, Serialize};

use super::{Order, Rejection};
use crate::domain::entity::Timestamp;

/// How many notices an order remembers, the latest ones. A provider repeats a notice for days if it is not
/// acknowledged, and sends about five for a payment and its refund.
const NOTICES_MAX: usize = 32;

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum About {
    /// An attempt to pay, by its number.
    Attempt(u32),
    /// A refund, by its number.
    Refund(u32),
    /// The refunds of an attempt, including those for which the shop did not ask.
    Refunds(u32),
}

/// An event of notices. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// The provider announced news, so the shop has to ask about it.
    Received {
        about: About,
        /// Hash of the provider's name of the notice, if there was one.
        notice: Option<u64>,
        at: Timestamp,
    },
    /// The shop asked the provider because of a notice, and the answer was known already.
    NothingNew { about: About, at: Timestamp },
}

impl Order {
    pub(super) fn decide_notify(
        &self,
        about: About,
        notice: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        let (_, status) = self.placed()?;
        let has_news = match about {
            // A notice need not be remembered while the shop asks the provider anyway. Nor after a capture: refunds
            // have notices of their own.
            About::Attempt(number) => self
                .attempt(number)
                .map(|attempt| attempt.state.is_some() && attempt.captured().is_none() && !attempt.needs_refresh),
            About::Refunds(number) => {
                self.attempt(number).map(|attempt| attempt.captured().is_some() && !attempt.needs_refresh)
            }
            About::Refund(number) => self.refund(number).map(|refund| refund.state.is_some() && !refund.needs_refresh),
        };
        let has_news = has_news.ok_or(Rejection::WrongStatus { status })? && !self.has_taken(notice);
        Ok(has_news.then(|| Event::Received { about, notice, at: now }.into()))
    }

    /// Whether a notice has taken effect already.
    pub(super) fn has_taken(&self, notice: Option<u64>) -> bool {
        notice.is_some_and(|notice| self.notices.contains(&notice))
    }

    pub(super) fn take_notice(&mut self, notice: Option<u64>) {
        self.notices.extend(notice);
        let beyond = self.notices.len().saturating_sub(NOTICES_MAX);
        self.notices.drain(..beyond);
    }

    pub(super) fn apply_notice(&mut self, event: &Event) {
        match event {
            Event::Received { about, notice, .. } => {
                *self.needs_refresh_mut(*about) = true;
                self.take_notice(*notice);
            }
            Event::NothingNew { about, .. } => *self.needs_refresh_mut(*about) = false,
        }
    }

    fn needs_refresh_mut(&mut self, about: About) -> &mut bool {
        match about {
            About::Attempt(number) | About::Refunds(number) => &mut self.attempt_mut(number).needs_refresh,
            About::Refund(number) => &mut self.refund_mut(number).needs_refresh,
        }
    }
}
