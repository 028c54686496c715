//! What an operator has to look at: an order that does not come to its end by itself.
//!
//! Depends on `serde` and its neighbours.

use serde::{Deserialize, Serialize};

use super::{Attempt, Order, REASON_BYTES_MAX, Rejection, Text};
use crate::domain::{entity::Timestamp, ids::UserId, money::Money};

/// What is wrong with an order. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum IssueKind {
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
        /// The provider's name for the dispute.
        reference: String,
    },
    /// Money was refunded at the provider's own site: somebody has to decide about the goods.
    RefundedElsewhere {
        /// Which refund of the order counts it.
        refund: u32,
        /// How much.
        amount: Money,
    },
    /// A dispute has ended.
    DisputeEnded {
        /// The provider's name for the dispute.
        reference: String,
        /// The provider's word for how it ended, such as `won` or `lost`.
        outcome: String,
    },
}

impl IssueKind {
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
            Self::RefundedElsewhere { .. } => "refunded_elsewhere",
            Self::DisputeEnded { .. } => "dispute_ended",
        }
    }

    /// Whether it is the same issue, seen again.
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

/// An issue of an order, since when, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Issue {
    /// 1, 2, 3 …, in the order in which they were seen.
    pub number: u32,
    /// What is wrong.
    pub kind: IssueKind,
    /// Since when.
    pub at: Timestamp,
    /// What became of it.
    pub resolved: Option<Resolved>,
}

/// How an issue was settled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resolved {
    /// By whom; `None` where it has resolved itself.
    pub by: Option<UserId>,
    /// What was done.
    pub note: String,
    /// When.
    pub at: Timestamp,
}

/// How many open issues, and how many settled ones, are remembered of an order. One more open one is dropped, as
/// somebody has to look anyway; of the settled ones the oldest is.
const ISSUES_MAX: usize = 8;

/// The longest note that is recorded, in bytes: what was said, and before it a word for what was done.
const NOTE_BYTES_MAX: usize = REASON_BYTES_MAX + 20;

/// What can have happened to issues. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// An operator has something to decide.
    Raised {
        kind: IssueKind,
        /// Hash of the provider's name for the notice that said so, if one did.
        notice: Option<u64>,
        at: Timestamp,
    },
    /// Issues are settled.
    Resolved {
        /// Their numbers.
        issues: Vec<u32>,
        /// Who settled them; `None` if they have resolved themselves.
        by: Option<UserId>,
        /// What was done.
        note: String,
        at: Timestamp,
    },
}

impl Order {
    /// What an operator has to look at or had to, oldest first.
    #[must_use]
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }

    /// What an operator has to look at now, oldest first.
    pub fn open_issues(&self) -> impl Iterator<Item = &Issue> {
        self.issues.iter().filter(|known| known.resolved.is_none())
    }

    /// What is wrong now, oldest first.
    pub fn open_issue_kinds(&self) -> impl Iterator<Item = &IssueKind> {
        self.open_issues().map(|known| &known.kind)
    }

    /// The issues that have resolved themselves.
    pub(super) fn self_resolved(&self) -> Option<Vec<u32>> {
        let right = |kind: &IssueKind| match kind {
            IssueKind::PaymentUnknown { attempt, .. } | IssueKind::AmountMismatch { attempt, .. } => {
                self.attempt(*attempt).is_none_or(Attempt::is_final)
            }
            IssueKind::Stuck { .. } => self.is_at_rest(),
            IssueKind::RefundFailed { .. }
            | IssueKind::Differs { .. }
            | IssueKind::Disputed { .. }
            | IssueKind::RefundedElsewhere { .. }
            | IssueKind::DisputeEnded { .. } => false,
        };
        let right = self.open_issues().filter(|known| right(&known.kind));
        let issues: Vec<u32> = right.map(|known| known.number).collect();
        (!issues.is_empty()).then_some(issues)
    }

    pub(super) fn decide_raise(
        &self,
        kind: &IssueKind,
        notice: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        self.placed()?;
        let is_known = self.open_issue_kinds().any(|known| known.is_same(kind)) || self.has_taken(notice);
        // The provider's books go on to differ after an operator has seen to it.
        let is_settled = match kind {
            IssueKind::Differs { .. } | IssueKind::DisputeEnded { .. } => {
                self.issues.iter().any(|known| known.kind.is_same(kind))
            }
            // Notices come in any order.
            IssueKind::Disputed { reference } => self.issues.iter().any(
                |known| matches!(&known.kind, IssueKind::DisputeEnded { reference: ended, .. } if ended == reference),
            ),
            _ => false,
        };
        let is_news = !is_known && !is_settled && self.open_issue_kinds().count() < ISSUES_MAX;
        Ok(is_news.then(|| Event::Raised { kind: kind.clone(), notice, at: now }.into()))
    }

    pub(super) fn decide_resolve(
        &self,
        issues: &[u32],
        by: Option<UserId>,
        note: &str,
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        self.placed()?;
        Text::Note.check(note, NOTE_BYTES_MAX)?;
        let open = self.open_issues().map(|known| known.number);
        let issues: Vec<u32> = open.filter(|number| issues.contains(number)).collect();
        let is_news = !issues.is_empty();
        Ok(is_news.then(|| Event::Resolved { issues, by, note: note.to_owned(), at: now }.into()))
    }

    pub(super) fn raise(&mut self, kind: IssueKind, at: Timestamp) {
        // The latest one is never forgotten, so no number comes twice.
        let number = self.issues.last().map_or(0, |last| last.number) + 1;
        let ended = match &kind {
            IssueKind::DisputeEnded { reference, outcome } => Some((reference.clone(), outcome.clone())),
            _ => None,
        };
        self.issues.push(Issue { number, kind, at, resolved: None });
        // The end of a dispute takes the place of the dispute on the operators' list.
        if let Some((reference, outcome)) = ended {
            let is_dispute = |known: &&Issue| known.kind == IssueKind::Disputed { reference: reference.clone() };
            let disputes: Vec<u32> = self.open_issues().filter(is_dispute).map(|known| known.number).collect();
            self.resolve_all(&disputes, &Resolved { by: None, note: format!("the dispute ended: {outcome}"), at });
        }
    }

    pub(super) fn apply_issue(&mut self, event: &Event) {
        match event {
            Event::Raised { kind, notice, at } => {
                self.raise(kind.clone(), *at);
                self.take_notice(*notice);
            }
            Event::Resolved { issues, by, note, at } => {
                self.resolve_all(issues, &Resolved { by: *by, note: note.clone(), at: *at });
            }
        }
    }

    fn resolve_all(&mut self, issues: &[u32], resolved: &Resolved) {
        for known in self.issues.iter_mut().filter(|known| issues.contains(&known.number)) {
            known.resolved = Some(resolved.clone());
        }
        let is_settled = |known: &&Issue| known.resolved.is_some();
        let mut beyond = self.issues.iter().filter(is_settled).count().saturating_sub(ISSUES_MAX);
        let latest = self.issues.last().map(|last| last.number);
        self.issues.retain(|known| {
            let goes = beyond > 0 && known.resolved.is_some() && Some(known.number) != latest;
            beyond -= usize::from(goes);
            !goes
        });
    }
}
