//! Notices of the provider about orders that the shop does not have, or not yet: kept for a month, one entity per day.
//!
//! A notice about a known order is recorded in that order. The notices here wait for an operator, or until the provider
//! has told the shop which order they are about. Depends on `std`, `serde` and its neighbours.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    entity::{Entity, EntityId, Kind, Timestamp},
    ids::{OrderId, UserId},
    order::{self, About, IssueKind, REASON_CHARACTERS_MAX},
};

/// How many notices are kept per day. They are rare; beyond the limit a notice is refused, and the provider sends it
/// again later.
pub const NOTICES_MAX: usize = 1_000;
/// How many days notices are kept.
pub const DAYS_KEPT: u32 = 30;
/// How far back a shop may reach, in days: ten years. Older notices are not looked for.
const DAYS_MAX: u32 = 3_650;
/// The longest text of a notice, in bytes; longer ones are cut.
const TEXT_BYTES_MAX: usize = 200;
/// Milliseconds in a day.
const DAY_MS: u64 = 86_400_000;

/// A day, as the number of days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Day(pub u32);

impl Day {
    /// The day of a moment.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self(u32::try_from(at.0 / DAY_MS).unwrap_or(u32::MAX))
    }

    /// The day whose entity keeps a notice of what happened at `then`: that very day, so that repeats of the notice
    /// find it there, or today if that day is in the future or its notices are not kept any more.
    #[must_use]
    pub fn to_keep(then: Timestamp, now: Timestamp) -> Self {
        let (day, today) = (Self::of(then), Self::of(now));
        if today.kept().any(|kept| kept == day) { day } else { today }
    }

    /// The days whose notices are kept, today first.
    pub fn kept(self) -> impl Iterator<Item = Self> {
        (0..DAYS_KEPT).map_while(move |days| self.0.checked_sub(days).map(Self))
    }

    /// The days whose notices are not kept any more, latest first, as far back as a shop may reach.
    pub fn not_kept(self) -> impl Iterator<Item = Self> {
        (DAYS_KEPT..DAYS_MAX).map_while(move |days| self.0.checked_sub(days).map(Self))
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

/// A notice that belongs to none of the shop's orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct UnmatchedNotice {
    /// The provider's word for what happened.
    pub what: String,
    /// The provider's name of the payment, refund or dispute.
    pub reference: String,
    /// The order that the notice names.
    pub order: String,
    pub at: Timestamp,
    /// What to ask the provider about, if the notice does not name its order and the provider has not answered yet.
    pub look_up: Option<LookUp>,
}

/// What a notice is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The state of a payment, or something that the shop does not know.
    Payment,
    /// A refund, whether or not the shop asked for it.
    Refund,
    /// A dispute has been opened.
    Dispute {
        /// The provider's name of the dispute.
        reference: String,
    },
    /// A dispute has ended.
    DisputeEnded {
        /// The provider's name of the dispute.
        reference: String,
        /// The provider's word for the outcome, such as `won` or `lost`.
        outcome: String,
    },
}

impl Subject {
    /// The command for the order that the notice is about. `notice` is a hash of the provider's name of the notice.
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

/// The id by which an order remembers a notice, made from the notice's id here.
#[must_use]
pub fn id_in_order(id: u128) -> u64 {
    u64::try_from(id >> 64).unwrap_or_default()
}

/// A notice whose order has to be looked up at the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookUp {
    /// The provider's name of the payment.
    pub payment: String,
    /// What the notice is about.
    pub subject: Subject,
}

impl UnmatchedNotice {
    /// A notice, with its texts cut to the length that is kept.
    #[must_use]
    pub fn new(what: &str, reference: &str, order: &str, at: Timestamp) -> Self {
        let cut = |text: &str| {
            let ends = text.char_indices().map(|(at, character)| at + character.len_utf8());
            text[..ends.take_while(|end| *end <= TEXT_BYTES_MAX).last().unwrap_or(0)].to_owned()
        };
        Self { what: cut(what), reference: cut(reference), order: cut(order), at, look_up: None }
    }
}

/// The notices of one day that belong to no order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UnmatchedNotices {
    notices: Arc<BTreeMap<u128, UnmatchedNotice>>,
    /// Notices that an operator has dismissed. The provider may send them again.
    dismissed: Arc<BTreeSet<u128>>,
}

impl UnmatchedNotices {
    /// The notices that nobody has dismissed.
    #[must_use]
    pub fn notices(&self) -> &BTreeMap<u128, UnmatchedNotice> {
        &self.notices
    }

    /// Whether a notice is kept here, or was kept and has been dismissed.
    #[must_use]
    pub fn knows(&self, id: u128) -> bool {
        self.notices.contains_key(&id) || self.dismissed.contains(&id)
    }

    /// Whether there are no notices.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.dismissed.is_empty()
    }
}

/// A command to the notices of a day.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Command {
    /// Keep a notice, unless it is kept already or was dismissed.
    Keep {
        /// Hash of the provider's name of the notice.
        id: u128,
        notice: UnmatchedNotice,
    },
    /// An operator has dealt with the notice.
    Dismiss { id: u128, by: UserId, note: String },
    /// The provider has said which order a notice is about.
    LookedUp {
        id: u128,
        /// The order that took the notice, if one did. If none did, a dispute stays for an operator.
        order: Option<OrderId>,
    },
    /// The day is over for longer than notices are kept: delete the notices that are left.
    Forget,
}

/// An event of the notices of a day. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// A notice was kept.
    Kept {
        /// Hash of the provider's name of the notice.
        id: u128,
        notice: UnmatchedNotice,
    },
    /// An operator has dealt with the notice.
    Dismissed { id: u128, by: UserId, note: String, at: Timestamp },
    /// The notices that were left were deleted.
    Forgotten { at: Timestamp },
    /// The provider said which order a notice is about, or that it is about none.
    LookedUp {
        id: u128,
        /// The order that took the notice, if one did.
        order: Option<OrderId>,
        at: Timestamp,
    },
}

/// Why a command to the notices of a day was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// [`NOTICES_MAX`] is reached.
    #[error("at most {NOTICES_MAX} notices of unknown orders a day")]
    Full,
    /// There is no such notice.
    #[error("there is no such notice")]
    NotFound,
    /// The note is blank, too long, or contains control characters.
    #[error("the note must be 1 to {REASON_CHARACTERS_MAX} characters")]
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
            Command::Dismiss { id, by, note } => {
                order::check_note(note).map_err(|_| Rejection::InvalidNote)?;
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
                // A refund of a payment of another system at the same provider does not concern this shop.
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
    fn a_notice_is_kept_once_until_it_is_dismissed() {
        let mut unmatched_notices = UnmatchedNotices::default();
        let kept = unmatched_notices.decide(&keep(1), Timestamp(1)).unwrap().unwrap();
        unmatched_notices.apply(&kept);
        assert_eq!(unmatched_notices.decide(&keep(1), Timestamp(2)), Ok(None));
        let dismiss = |note: &str| Command::Dismiss { id: 1, by: UserId(9), note: note.into() };
        for note in [" ", "a\0b", &"x".repeat(REASON_CHARACTERS_MAX + 1)] {
            assert_eq!(unmatched_notices.decide(&dismiss(note), Timestamp(2)), Err(Rejection::InvalidNote), "{note:?}");
        }
        let dismissed = unmatched_notices.decide(&dismiss("asked them"), Timestamp(2)).unwrap().unwrap();
        unmatched_notices.apply(&dismissed);
        assert!(unmatched_notices.view().notices().is_empty());
        assert_eq!(unmatched_notices.decide(&dismiss("again"), Timestamp(3)), Err(Rejection::NotFound));
        assert_eq!(unmatched_notices.decide(&keep(1), Timestamp(4)), Ok(None), "it was dismissed");
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
            assert_eq!(notices.decide(&keep, Timestamp(3)), Ok(None), "a repeat");
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
        assert_eq!(Day(32).not_kept().map(|day| day.0).collect::<Vec<_>>(), [2, 1, 0]);
        let (kept, not_kept) = (Day(20_000).kept(), Day(20_000).not_kept());
        assert!(kept.chain(not_kept).map(|day| day.0).eq((20_001 - DAYS_MAX..=20_000).rev()), "each day once");
        let kept_on = |day: u64| Day::to_keep(Timestamp(86_400_000 * day), Timestamp(86_400_000 * 40)).0;
        assert_eq!([11, 40, 10, 0, 41, 9_000].map(kept_on), [11, 40, 40, 40, 40, 40], "always on a day that is listed");
        let long = UnmatchedNotice::new(&"ä".repeat(150), "", "", Timestamp(1));
        assert_eq!(long.what.len(), 200);
    }
}
