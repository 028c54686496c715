//! What an operator has to look at: an order that does not come to its end by itself.
//!
//! Depends on `serde` and its neighbours.

use serde::{Deserialize, Serialize};

use super::{Event, Order, Rejection};
use crate::domain::{entity::Timestamp, ids::UserId, money::Money};

/// What is wrong with an order. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Problem {
    /// Nobody knows whether a payment was charged.
    PaymentUnknown {
        /// The attempt.
        attempt: u32,
        /// What was seen last.
        seen: String,
    },
    /// The provider took another amount than it was asked for.
    AmountMismatch {
        /// The attempt.
        attempt: u32,
        /// The provider's name for the payment.
        reference: String,
        /// What it took.
        captured: Money,
    },
    /// Money that was to go back did not.
    RefundFailed {
        /// The refund.
        refund: u32,
        /// The provider's reason.
        reason: String,
    },
    /// A step is refused or unanswered again and again.
    Stuck {
        /// What was seen last.
        seen: String,
    },
    /// The provider's books say something else than the order.
    Differs {
        /// What.
        what: String,
    },
    /// The customer disputes the payment at their bank.
    Disputed {
        /// The provider's name for the payment.
        reference: String,
    },
}

impl Problem {
    /// The word used in the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::PaymentUnknown { .. } => "payment_unknown",
            Self::AmountMismatch { .. } => "amount_mismatch",
            Self::RefundFailed { .. } => "refund_failed",
            Self::Stuck { .. } => "stuck",
            Self::Differs { .. } => "differs",
            Self::Disputed { .. } => "disputed",
        }
    }

    /// Whether it is the same problem, seen again.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::PaymentUnknown { attempt: one, .. }, Self::PaymentUnknown { attempt: two, .. })
            | (Self::AmountMismatch { attempt: one, .. }, Self::AmountMismatch { attempt: two, .. })
            | (Self::RefundFailed { refund: one, .. }, Self::RefundFailed { refund: two, .. }) => one == two,
            (Self::Stuck { .. }, Self::Stuck { .. }) => true,
            _ => self == other,
        }
    }
}

/// A problem of an order, since when, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attention {
    /// 1, 2, 3 …, in the order in which they were seen.
    pub number: u32,
    /// What is wrong.
    pub problem: Problem,
    /// Since when.
    pub at: Timestamp,
    /// What became of it.
    pub resolved: Option<Resolved>,
}

/// How a problem was settled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resolved {
    /// By whom; `None` where the shop itself has seen it come right.
    pub by: Option<UserId>,
    /// What was done.
    pub note: String,
    /// When.
    pub at: Timestamp,
}

/// How many open problems, and how many settled ones, are remembered of an order. One more open one is dropped, as somebody has to
/// look anyway; of the settled ones the oldest is.
const PROBLEMS_MAX: usize = 8;

/// How many of the provider's notices an order remembers, the latest: a provider repeats one for days where it is not acknowledged,
/// and sends about five for a payment and its refund.
const NOTICES_MAX: usize = 32;

/// The longest note that is recorded, in bytes: what was said, and before it a word for what was done.
const NOTE_BYTES_MAX: usize = super::refund::REASON_BYTES_MAX + 20;

/// Holds what an operator says against its rule, before anything is done.
///
/// # Errors
/// [`Rejection::InvalidText`].
pub fn check_note(note: &str) -> Result<(), Rejection> {
    super::check_text("note", note, super::refund::REASON_BYTES_MAX)
}

impl Order {
    /// What an operator has to look at or had to, oldest first.
    #[must_use]
    pub fn attention(&self) -> &[Attention] {
        &self.attention
    }

    /// What an operator has to look at now, oldest first.
    pub fn open_attention(&self) -> impl Iterator<Item = &Attention> {
        self.attention.iter().filter(|known| known.resolved.is_none())
    }

    /// What is wrong now, oldest first.
    pub fn open_problems(&self) -> impl Iterator<Item = &Problem> {
        self.open_attention().map(|known| &known.problem)
    }

    /// The problems that have come right by themselves.
    pub(super) fn come_right(&self) -> Option<Vec<u32>> {
        let right = |problem: &Problem| match problem {
            Problem::PaymentUnknown { attempt, .. } | Problem::AmountMismatch { attempt, .. } => {
                self.attempt(*attempt).is_none_or(super::Attempt::is_final)
            }
            Problem::Stuck { .. } => self.is_at_rest(),
            Problem::RefundFailed { .. } | Problem::Differs { .. } | Problem::Disputed { .. } => false,
        };
        let right = self.open_attention().filter(|known| right(&known.problem));
        let problems: Vec<u32> = right.map(|known| known.number).collect();
        (!problems.is_empty()).then_some(problems)
    }

    pub(super) fn decide_raise(
        &self,
        problem: &Problem,
        notice: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<Event>, Rejection> {
        self.placed()?;
        let is_known = self.open_problems().any(|known| known.is_same(problem)) || self.has_taken(notice);
        // The provider's books go on to differ after an operator has seen to it.
        let is_settled = matches!(problem, Problem::Differs { .. })
            && self.attention.iter().any(|known| known.problem.is_same(problem));
        let is_news = !is_known && !is_settled && self.open_problems().count() < PROBLEMS_MAX;
        Ok(is_news.then(|| Event::AttentionRaised { problem: problem.clone(), notice, at: now }))
    }

    pub(super) fn decide_resolve(
        &self,
        problems: &[u32],
        by: Option<UserId>,
        note: &str,
        now: Timestamp,
    ) -> Result<Option<Event>, Rejection> {
        self.placed()?;
        super::check_text("note", note, NOTE_BYTES_MAX)?;
        let open = || self.open_attention().map(|known| known.number);
        let problems: Vec<u32> = open().filter(|number| problems.contains(number)).collect();
        let (any, all) = (!problems.is_empty(), open().all(|number| problems.contains(&number)));
        let event = |more| {
            let (problems, note) = (problems.clone(), note.to_owned());
            Event::AttentionSettled { problems, all, more, by, note, at: now }
        };
        Ok(any.then(|| self.with_more(event)))
    }

    /// Whether a notice has had its effect.
    pub(super) fn has_taken(&self, notice: Option<u64>) -> bool {
        notice.is_some_and(|notice| self.notices.contains(&notice))
    }

    pub(super) fn take_notice(&mut self, notice: Option<u64>) {
        self.notices.extend(notice);
        let beyond = self.notices.len().saturating_sub(NOTICES_MAX);
        self.notices.drain(..beyond);
    }

    pub(super) fn raise(&mut self, problem: Problem, at: Timestamp) {
        // The latest one is never forgotten, so no number comes twice.
        let number = self.attention.last().map_or(0, |last| last.number) + 1;
        self.attention.push(Attention { number, problem, at, resolved: None });
    }

    pub(super) fn resolve(&mut self, problems: &[u32], resolved: &Resolved) {
        for known in self.attention.iter_mut().filter(|known| problems.contains(&known.number)) {
            known.resolved = Some(resolved.clone());
        }
        let is_settled = |known: &&Attention| known.resolved.is_some();
        let mut beyond = self.attention.iter().filter(is_settled).count().saturating_sub(PROBLEMS_MAX);
        let latest = self.attention.last().map(|last| last.number);
        self.attention.retain(|known| {
            let goes = beyond > 0 && known.resolved.is_some() && Some(known.number) != latest;
            beyond -= usize::from(goes);
            !goes
        });
    }
}
