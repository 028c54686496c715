//! Issues: what an operator has to decide about an order, because it does not go on by itself, or because its money is
//! not where the order says. Some arise after the order has ended, such as disputes.
//!
//! Depends on `serde` and its neighbours.

use serde::{Deserialize, Serialize};

use super::{Attempt, Order, REASON_CHARACTERS_MAX, Rejection, Text};
use crate::domain::{entity::Timestamp, ids::UserId, money::Money};

/// What is wrong with an order. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum IssueKind {
    /// It is unknown whether a payment was charged.
    PaymentUnknown {
        attempt: u32,
        /// The last answer or error.
        seen: String,
    },
    /// The provider captured another amount than it was asked for.
    AmountMismatch {
        attempt: u32,
        /// The provider's name of the payment.
        reference: String,
        captured: Money,
    },
    /// A refund failed.
    RefundFailed { refund: u32, reason: String },
    /// A step fails again and again, or stays unanswered.
    Stuck {
        /// The last answer or error.
        seen: String,
    },
    /// The provider's list of payments differs from the order.
    Differs {
        /// The difference.
        what: String,
    },
    /// The customer disputes the payment at their bank.
    Disputed {
        /// The provider's name of the dispute.
        reference: String,
    },
    /// Money was refunded at the provider's own site, so an operator has to decide about the goods.
    RefundedElsewhere {
        /// The number of the order's refund that counts it.
        refund: u32,
        amount: Money,
    },
    /// A dispute has ended.
    DisputeEnded {
        /// The provider's name of the dispute.
        reference: String,
        /// The provider's word for the outcome, such as `won` or `lost`.
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

    /// Whether it is the same issue, raised again.
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

/// A problem of an order that an operator may have to decide, with its time and its resolution.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Issue {
    /// 1, 2, 3 …, in the order in which they were raised.
    pub number: u32,
    pub kind: IssueKind,
    /// When it was raised.
    pub at: Timestamp,
    /// How it was settled, if it was.
    pub resolved: Option<Resolved>,
}

/// How an issue was settled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Resolved {
    /// The operator; `None` if it resolved itself.
    pub by: Option<UserId>,
    /// What was done.
    pub note: String,
    pub at: Timestamp,
}

/// The word with which the note of a retry begins.
pub(super) const RETRY: &str = "retry";

impl Resolved {
    fn is_by_retry(&self) -> bool {
        self.by.is_some() && self.note.split(':').next() == Some(RETRY)
    }
}

/// How many open issues, and how many settled ones, an order remembers. Beyond that a new issue is dropped, because an
/// operator has to look at the order anyway, and the oldest settled one is forgotten. Issues that are part of an event
/// of a refund are never dropped, because nobody else would learn of that money: there are at most two for each of the
/// order's `REFUNDS_MAX` refunds.
const ISSUES_MAX: usize = 8;

/// The provider's word for a dispute that the customer has won.
const LOST: &str = "lost";

/// The longest note of a settled issue, in characters: the operator's note, and before it the word for the decision.
const NOTE_CHARACTERS_MAX: usize = REASON_CHARACTERS_MAX + 20;

/// An event of issues. Stored: see `actors/records.rs` before changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Event {
    /// An operator has something to decide.
    Raised {
        kind: IssueKind,
        /// Hash of the provider's name of the notice that raised it, if one did.
        notice: Option<u64>,
        at: Timestamp,
    },
    /// Issues are settled.
    Resolved {
        /// The numbers of the issues.
        issues: Vec<u32>,
        /// The operator; `None` if they resolved themselves.
        by: Option<UserId>,
        /// What was done.
        note: String,
        at: Timestamp,
    },
}

impl Order {
    /// All issues, open and settled, oldest first.
    #[must_use]
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }

    /// The open issues, oldest first.
    pub fn open_issues(&self) -> impl Iterator<Item = &Issue> {
        self.issues.iter().filter(|known| known.resolved.is_none())
    }

    /// The kinds of the open issues, oldest first.
    pub fn open_issue_kinds(&self) -> impl Iterator<Item = &IssueKind> {
        self.open_issues().map(|known| &known.kind)
    }

    /// The numbers of the open issues that have resolved themselves; `None` if there are none.
    pub(super) fn self_resolved(&self) -> Option<Vec<u32>> {
        self.numbers_of(|kind| self.resolves_itself(kind))
    }

    /// Whether an issue has nothing left to decide in the present state of the order.
    fn resolves_itself(&self, kind: &IssueKind) -> bool {
        match kind {
            // A hold that waits for its seller is known: it is not captured.
            IssueKind::PaymentUnknown { attempt, .. } => {
                self.attempt(*attempt).is_none_or(Attempt::is_final) || self.is_at_rest()
            }
            IssueKind::AmountMismatch { attempt, .. } => self.attempt(*attempt).is_none_or(Attempt::is_final),
            IssueKind::Stuck { .. } => self.is_at_rest(),
            IssueKind::RefundFailed { refund, .. } => self.is_made_up_for(*refund),
            // Its failure is an issue of its own.
            IssueKind::RefundedElsewhere { refund, .. } => self.has_refund_failed(*refund),
            IssueKind::Differs { .. } | IssueKind::Disputed { .. } | IssueKind::DisputeEnded { .. } => false,
        }
    }

    /// The numbers of the open issues of some kinds; `None` if there are none.
    pub(super) fn numbers_of(&self, is_meant: impl Fn(&IssueKind) -> bool) -> Option<Vec<u32>> {
        let meant = self.open_issues().filter(|known| is_meant(&known.kind));
        let issues: Vec<u32> = meant.map(|known| known.number).collect();
        (!issues.is_empty()).then_some(issues)
    }

    /// Whether the customer's bank has taken the money back, and no operator has decided yet what becomes of the goods.
    pub(super) fn has_lost_dispute(&self) -> bool {
        let is_lost = |kind: &IssueKind| matches!(kind, IssueKind::DisputeEnded { outcome, .. } if outcome == LOST);
        self.open_issue_kinds().any(is_lost)
    }

    pub(super) fn decide_raise(
        &self,
        kind: &IssueKind,
        notice: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<super::Event>, Rejection> {
        self.placed()?;
        let is_known = self.open_issue_kinds().any(|known| known.is_same(kind)) || self.has_taken(notice);
        let is_settled = match kind {
            // Once an operator has settled a difference, the provider's list may go on to differ without a new issue.
            // A retry has settled nothing where the difference is still there.
            IssueKind::Differs { .. } => self
                .issues
                .iter()
                .any(|known| known.kind.is_same(kind) && !known.resolved.as_ref().is_some_and(Resolved::is_by_retry)),
            IssueKind::DisputeEnded { .. } => self.issues.iter().any(|known| known.kind.is_same(kind)),
            // The notice of the end of a dispute may arrive before that of its beginning.
            IssueKind::Disputed { reference } => self.issues.iter().any(
                |known| matches!(&known.kind, IssueKind::DisputeEnded { reference: ended, .. } if ended == reference),
            ),
            _ => false,
        };
        let is_news =
            !is_known && !is_settled && !self.resolves_itself(kind) && self.open_issue_kinds().count() < ISSUES_MAX;
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
        Text::Note.check(note, NOTE_CHARACTERS_MAX)?;
        let open = self.open_issues().map(|known| known.number);
        let issues: Vec<u32> = open.filter(|number| issues.contains(number)).collect();
        let is_news = !issues.is_empty();
        Ok(is_news.then(|| Event::Resolved { issues, by, note: note.to_owned(), at: now }.into()))
    }

    pub(super) fn raise(&mut self, kind: IssueKind, at: Timestamp) {
        // The latest issue is never forgotten, so no number is used twice.
        let number = self.issues.last().map_or(0, |last| last.number) + 1;
        let ended = match &kind {
            IssueKind::DisputeEnded { reference, outcome } => Some((reference.clone(), outcome.clone())),
            _ => None,
        };
        self.issues.push(Issue { number, kind, at, resolved: None });
        // The end of a dispute replaces the dispute in the operators' list.
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
