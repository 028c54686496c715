//! What providers announced about orders that are not ours, or not known yet: kept for a month, one entity a day.
//!
//! A notice of an order that is known is in the order itself. What is here waits for an operator, or for the provider
//! to say which order it is about. Depends on `std`, `serde` and its neighbours.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    entity::{Entity, EntityId, Kind, Timestamp},
    ids::{OrderId, UserId},
    order::{self, About, IssueKind},
};

/// How many notices a day may keep. They are rare: past it the provider is told to come again.
pub const NOTICES_MAX: usize = 1_000;
/// How many days notices are kept.
pub const DAYS_KEPT: u32 = 30;
/// The longest text of a notice, in bytes; what is longer is cut.
const TEXT_BYTES_MAX: usize = 200;
/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// A day: how many have passed since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Day(pub u32);

impl Day {
    /// The day of a moment.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self(u32::try_from(at.0 / DAY_MS).unwrap_or(u32::MAX))
    }

    /// Where a notice of what happened then is kept: on its own day, so that its repetitions meet it there; today where
    /// its own is not listed, because it is too long past or to come.
    #[must_use]
    pub fn to_keep(then: Timestamp, now: Timestamp) -> Self {
        let (day, today) = (Self::of(then), Self::of(now));
        if today.kept().any(|kept| kept == day) { day } else { today }
    }

    /// The days whose notices are kept, today first.
    pub fn kept(self) -> impl Iterator<Item = Self> {
        (0..DAYS_KEPT).map_while(move |days| self.0.checked_sub(days).map(Self))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

impl EntityId for Day {
    fn to_key(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn from_key(key: &[u8]) -> Option<Self> {
        Some(Self(u32::from_be_bytes(key.try_into().ok()?)))
    }
}

/// A notice that no order of ours took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmatchedNotice {
    /// The provider's word for what happened.
    pub what: String,
    /// The provider's name for what it is about.
    pub reference: String,
    /// The order that it names.
    pub order: String,
    /// When it arrived.
    pub at: Timestamp,
    /// What its order is to do, where the provider could not be asked which order that is.
    pub look_up: Option<LookUp>,
}

/// What a notice is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// How far a payment has come, or nothing that the shop knows of.
    Payment,
    /// Money that goes back, also where the shop did not ask for it.
    Refund,
    /// The customer disputes a payment at their bank.
    Dispute {
        /// The provider's name for the dispute.
        reference: String,
    },
    /// A dispute has ended.
    DisputeEnded {
        /// The provider's name for the dispute.
        reference: String,
        /// The provider's word for how, such as `won` or `lost`.
        outcome: String,
    },
}

impl Subject {
    /// What the order is to do. `notice` is a hash of the provider's name for the notice.
    #[must_use]
    pub fn command(&self, about: About, notice: Option<u64>) -> order::Command {
        let raise = |kind| order::Command::RaiseIssue { kind, notice };
        match (self.clone(), about) {
            (Self::Dispute { reference }, _) => raise(IssueKind::Disputed { reference }),
            (Self::DisputeEnded { reference, outcome }, _) => raise(IssueKind::DisputeEnded { reference, outcome }),
            (Self::Refund, About::Attempt(attempt)) => {
                order::Command::Notify { about: About::Refunds(attempt), notice }
            }
            (Self::Refund | Self::Payment, about) => order::Command::Notify { about, notice },
        }
    }
}

/// The name under which an order remembers a notice, from its name here.
#[must_use]
pub fn short(id: u128) -> u64 {
    u64::try_from(id >> 64).unwrap_or_default()
}

/// A notice whose order is to be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookUp {
    /// The provider's name for the payment.
    pub payment: String,
    /// What the notice is about.
    pub subject: Subject,
}

impl UnmatchedNotice {
    /// A notice, its texts cut to what is kept.
    #[must_use]
    pub fn new(what: &str, reference: &str, order: &str, at: Timestamp) -> Self {
        let cut = |text: &str| {
            let ends = text.char_indices().map(|(at, character)| at + character.len_utf8());
            text[..ends.take_while(|end| *end <= TEXT_BYTES_MAX).last().unwrap_or(0)].to_owned()
        };
        Self { what: cut(what), reference: cut(reference), order: cut(order), at, look_up: None }
    }
}

/// The notices of a day that no order took.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UnmatchedNotices {
    notices: Arc<BTreeMap<u128, UnmatchedNotice>>,
    /// What was seen to and may be announced again.
    dismissed: Arc<BTreeSet<u128>>,
}

impl UnmatchedNotices {
    /// What nobody has seen to.
    #[must_use]
    pub fn notices(&self) -> &BTreeMap<u128, UnmatchedNotice> {
        &self.notices
    }

    /// Whether a notice is kept here, or was and somebody has seen to it.
    #[must_use]
    pub fn knows(&self, id: u128) -> bool {
        self.notices.contains_key(&id) || self.dismissed.contains(&id)
    }

    /// Whether there is anything to forget.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.dismissed.is_empty()
    }
}

/// What can be done with the notices of a day.
#[derive(Debug, Clone)]
pub enum Command {
    /// Keep a notice; one that is kept already, or was seen to, is not kept again.
    Keep {
        /// Hash of the provider's name for it.
        id: u128,
        /// It.
        notice: UnmatchedNotice,
    },
    /// Somebody has seen to it.
    Dismiss {
        /// Which.
        id: u128,
        /// Who.
        by: UserId,
        /// What they did.
        note: String,
    },
    /// The provider has been asked which order a notice is about.
    LookedUp {
        /// Which notice.
        id: u128,
        /// The order that took it, if one did. Otherwise a dispute stays for an operator.
        order: Option<OrderId>,
    },
    /// The day is long past: forget what is left.
    Forget,
}

/// What can have happened to the notices of a day. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A notice was kept.
    Kept {
        /// Hash of the provider's name for it.
        id: u128,
        /// It.
        notice: UnmatchedNotice,
    },
    /// Somebody has seen to it.
    Dismissed {
        /// Which.
        id: u128,
        /// Who.
        by: UserId,
        /// What they did.
        note: String,
        /// When.
        at: Timestamp,
    },
    /// What was left was forgotten.
    Forgotten {
        /// When.
        at: Timestamp,
    },
    /// The provider said which order a notice is about, or that it is about none.
    LookedUp {
        /// Which notice.
        id: u128,
        /// The order that took it.
        order: Option<OrderId>,
        /// When.
        at: Timestamp,
    },
}

/// Why the notices of a day refused a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// [`NOTICES_MAX`] is reached.
    #[error("at most {NOTICES_MAX} notices of unknown orders a day")]
    Full,
    /// There is no such notice.
    #[error("there is no such notice")]
    NotFound,
    /// The note is empty or too long.
    #[error("the note must be 1 to {max} bytes", max = crate::domain::order::REASON_BYTES_MAX)]
    InvalidNote,
}

impl Entity for UnmatchedNotices {
    const KIND: Kind = Kind::UnmatchedNotices;
    type Id = Day;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;
    type View = Self;

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Option<Event>, Rejection> {
        match command {
            Command::Keep { id, .. } if self.knows(*id) => Ok(None),
            Command::Keep { .. } if self.notices.len() >= NOTICES_MAX => Err(Rejection::Full),
            Command::Keep { id, notice } => Ok(Some(Event::Kept { id: *id, notice: notice.clone() })),
            Command::Dismiss { id, .. } if !self.notices.contains_key(id) => Err(Rejection::NotFound),
            Command::Dismiss { note, .. }
                if note.trim().is_empty() || note.len() > crate::domain::order::REASON_BYTES_MAX =>
            {
                Err(Rejection::InvalidNote)
            }
            Command::Dismiss { id, by, note } => {
                Ok(Some(Event::Dismissed { id: *id, by: *by, note: note.clone(), at: now }))
            }
            Command::LookedUp { id, order } => {
                let waits = self.notices.get(id).is_some_and(|notice| notice.look_up.is_some());
                Ok(waits.then_some(Event::LookedUp { id: *id, order: *order, at: now }))
            }
            Command::Forget => Ok((!self.is_empty()).then_some(Event::Forgotten { at: now })),
        }
    }

    fn apply(&mut self, event: &Event) {
        let notices = Arc::make_mut(&mut self.notices);
        match event {
            Event::Kept { id, notice } => {
                notices.insert(*id, notice.clone());
            }
            Event::Dismissed { id, .. } => {
                notices.remove(id);
                if self.dismissed.len() < NOTICES_MAX {
                    Arc::make_mut(&mut self.dismissed).insert(*id);
                }
            }
            Event::LookedUp { id, order, .. } => {
                let Some(notice) = notices.get_mut(id) else { return };
                let look_up = notice.look_up.take();
                let is_refund = look_up.is_some_and(|look_up| look_up.subject == Subject::Refund);
                // A refund of somebody else's payment is no business of this shop.
                if order.is_some() || is_refund {
                    notices.remove(id);
                    if self.dismissed.len() < NOTICES_MAX {
                        Arc::make_mut(&mut self.dismissed).insert(*id);
                    }
                }
            }
            Event::Forgotten { .. } => {
                notices.clear();
                self.dismissed = Arc::default();
            }
        }
    }

    fn view(&self) -> Self {
        self.clone()
    }

    fn view_bytes(view: &Self) -> usize {
        64 + 4 * TEXT_BYTES_MAX * view.notices.len() + 32 * view.dismissed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(id: u128) -> Command {
        Command::Keep { id, notice: UnmatchedNotice::new("payment.captured", "pi_1", "nobody's", Timestamp(1)) }
    }

    #[test]
    fn a_notice_is_kept_once_until_somebody_has_seen_to_it() {
        let mut unmatched_notices = UnmatchedNotices::default();
        let kept = unmatched_notices.decide(&keep(1), Timestamp(1)).unwrap().unwrap();
        unmatched_notices.apply(&kept);
        assert_eq!(unmatched_notices.decide(&keep(1), Timestamp(2)), Ok(None));
        let dismiss = |note: &str| Command::Dismiss { id: 1, by: UserId(9), note: note.into() };
        assert_eq!(unmatched_notices.decide(&dismiss(" "), Timestamp(2)), Err(Rejection::InvalidNote));
        let dismissed = unmatched_notices.decide(&dismiss("asked them"), Timestamp(2)).unwrap().unwrap();
        unmatched_notices.apply(&dismissed);
        assert!(unmatched_notices.view().notices().is_empty());
        assert_eq!(unmatched_notices.decide(&dismiss("again"), Timestamp(3)), Err(Rejection::NotFound));
        assert_eq!(unmatched_notices.decide(&keep(1), Timestamp(4)), Ok(None), "somebody has seen to it");
    }

    #[test]
    fn a_notice_waits_until_its_order_was_looked_up() {
        let look_up = |subject| Some(LookUp { payment: "pi_1".into(), subject });
        let dispute = Subject::Dispute { reference: "dp_1".into() };
        let cases = [
            (dispute.clone(), Some(OrderId(7)), 0),
            (dispute, None, 1),
            (Subject::Refund, Some(OrderId(7)), 0),
            (Subject::Refund, None, 0),
        ];
        for (subject, order, left) in cases {
            let mut notices = UnmatchedNotices::default();
            let notice = UnmatchedNotice {
                look_up: look_up(subject.clone()),
                ..UnmatchedNotice::new("charge.dispute.created", "dp_1", "", Timestamp(1))
            };
            let keep = Command::Keep { id: 1, notice };
            let kept = notices.decide(&keep, Timestamp(1)).unwrap().unwrap();
            notices.apply(&kept);
            let looked_up = notices.decide(&Command::LookedUp { id: 1, order }, Timestamp(2)).unwrap().unwrap();
            notices.apply(&looked_up);
            assert_eq!(notices.notices().len(), left, "{subject:?} {order:?}");
            assert_eq!(notices.decide(&Command::LookedUp { id: 1, order }, Timestamp(3)), Ok(None), "once");
            assert_eq!(notices.decide(&keep, Timestamp(3)), Ok(None), "it is known");
        }
    }

    #[test]
    fn a_day_has_a_limit_and_is_forgotten() {
        let mut unmatched_notices = UnmatchedNotices::default();
        for id in 0..NOTICES_MAX {
            let kept = unmatched_notices.decide(&keep(id as u128), Timestamp(1)).unwrap().unwrap();
            unmatched_notices.apply(&kept);
        }
        assert_eq!(unmatched_notices.decide(&keep(u128::MAX), Timestamp(1)), Err(Rejection::Full));
        let forgotten = unmatched_notices.decide(&Command::Forget, Timestamp(2)).unwrap().unwrap();
        unmatched_notices.apply(&forgotten);
        assert_eq!(unmatched_notices.decide(&Command::Forget, Timestamp(3)), Ok(None));
    }

    #[test]
    fn days_are_kept_for_a_month_and_long_texts_are_cut_between_characters() {
        assert_eq!(Day::of(Timestamp(86_400_000 * 3 - 1)), Day(2));
        assert_eq!(Day(40).kept().map(|day| day.0).collect::<Vec<_>>(), (11..=40).rev().collect::<Vec<_>>());
        assert_eq!(Day(1).kept().count(), 2);
        let kept_on = |day: u64| Day::to_keep(Timestamp(86_400_000 * day), Timestamp(86_400_000 * 40)).0;
        assert_eq!([11, 40, 10, 0, 41, 9_000].map(kept_on), [11, 40, 40, 40, 40, 40], "always where it is listed");
        let long = UnmatchedNotice::new(&"ä".repeat(150), "", "", Timestamp(1));
        assert_eq!(long.what.len(), 200);
    }
}
