//! An operator's decision about an order's issues, as the commands that carry it out.
//!
//! Each action is followed by the command that settles its issue. The caller issues the commands in their order and
//! stops at the first that is rejected: the actions before it are recorded, and the other issues stay open. Depends on
//! its neighbours.

use super::{
    About, Attempt, Command, Issue, IssueKind, Order, PaymentState, RefundRequest, RefundState, Rejection, Shipping,
    Status, check_note, issues::RETRY,
};
use crate::domain::{ids::UserId, money::Money};

/// An operator's decision about issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Retry what failed.
    Retry,
    /// The issue is settled. For a payment with an unknown outcome and for a failed refund, the outcome is recorded.
    Settled(Option<Settled>),
    /// Refund all of the money.
    Refund,
}

/// What an operator has found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The payment was captured in full, under this name at the provider.
    Captured(String),
    /// Nothing was charged, and nothing will be.
    NotCharged,
    /// The money of a failed refund was given back outside the provider, or the operator has decided what happens to
    /// the goods.
    GivenBack,
}

impl Resolution {
    /// The word used in the API and in notes.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Retry => RETRY,
            Self::Settled(_) => "settled",
            Self::Refund => "refund",
        }
    }
}

/// The effect of a resolution on one issue.
enum Decision {
    /// None: the resolution does not fit this kind of issue, which stays open.
    Nothing,
    /// The issue is settled without a change of the order.
    Settle,
    /// The issue is settled with this command.
    Do(Command),
    /// The issue is settled by cancelling or refunding the whole order, together with all others of which this is true.
    GiveEverythingBack,
}

impl Order {
    /// The commands that carry out an operator's decision about the open issue with this number, or about all open
    /// issues.
    ///
    /// # Errors
    /// [`Rejection::NothingToResolve`] if it settles no open issue; [`Rejection::InvalidText`] for the note.
    pub fn resolve(
        &self,
        issue: Option<u32>,
        resolution: &Resolution,
        by: UserId,
        note: &str,
    ) -> Result<Vec<Command>, Rejection> {
        let (placement, status) = self.placed()?;
        check_note(note)?;
        let recorded = format!("{}: {note}", resolution.as_str());
        let settle = |issues| Command::ResolveIssues { issues, by: Some(by), note: recorded.clone() };
        let (mut commands, mut with_everything) = (Vec::new(), Vec::new());
        for known in self.open_issues().filter(|known| issue.is_none_or(|number| number == known.number)) {
            match self.decision(known, resolution, placement.total, by) {
                // An order has one refund at a time, so the other failed refunds stay open.
                Decision::Do(Command::RetryRefund { .. }) if commands.iter().any(is_retry) => {}
                Decision::Do(command) => commands.extend([command, settle(vec![known.number])]),
                Decision::Settle => commands.push(settle(vec![known.number])),
                Decision::GiveEverythingBack => with_everything.push(known.number),
                Decision::Nothing => {}
            }
        }
        // An order that has ended cannot be cancelled, so its issues stay open.
        let has_ended = matches!(status, Status::Cancelling | Status::Cancelled | Status::Expired | Status::Rejected);
        if commands.is_empty() && !with_everything.is_empty() && !has_ended {
            commands.extend([give_everything_back(status, by, note), settle(with_everything)]);
        }
        if commands.is_empty() { Err(Rejection::NothingToResolve) } else { Ok(commands) }
    }

    fn decision(&self, issue: &Issue, resolution: &Resolution, total: Money, by: UserId) -> Decision {
        use IssueKind::{
            AmountMismatch, Differs, DisputeEnded, Disputed, PaymentUnknown, RefundFailed, RefundedElsewhere, Stuck,
        };
        use Resolution::{Refund, Retry, Settled as Is};
        match (&issue.kind, resolution) {
            (RefundFailed { refund, .. }, Retry | Refund) => Decision::Do(Command::RetryRefund { number: *refund, by }),
            (RefundFailed { refund, .. }, Is(Some(Settled::GivenBack))) => {
                Decision::Do(Command::AdvanceRefund { number: *refund, state: RefundState::ByHand })
            }
            // The order counts that money already; what is settled is what happens to the goods.
            (RefundedElsewhere { .. }, Is(Some(Settled::GivenBack))) => Decision::Settle,
            (PaymentUnknown { attempt, .. } | AmountMismatch { attempt, .. }, Is(Some(outcome))) => {
                self.payment_outcome(*attempt, outcome, total)
            }
            (AmountMismatch { attempt, .. }, Refund) => Decision::Do(Command::TakeBack { attempt: *attempt }),
            // A payment with an unknown outcome is voided with the order; if that stays unknown, too, the issue is
            // raised again.
            (
                PaymentUnknown { .. }
                | Stuck { .. }
                | Differs { .. }
                | Disputed { .. }
                | RefundedElsewhere { .. }
                | DisputeEnded { .. },
                Refund,
            ) => Decision::GiveEverythingBack,
            // The provider says whether the money has gone back, and whether it still differs.
            (RefundedElsewhere { refund, .. }, Retry) => self.poll_refunds(self.refund(*refund).map(|it| it.attempt)),
            (Differs { .. }, Retry) => self.poll_refunds(self.paying_attempt().map(|it| it.number)),
            // A dispute is between the customer and their bank, so the shop cannot retry anything.
            (Disputed { .. } | DisputeEnded { .. }, Retry) | (_, Is(Some(_))) => Decision::Nothing,
            (_, Retry | Is(None)) => Decision::Settle,
        }
    }

    fn poll_refunds(&self, attempt: Option<u32>) -> Decision {
        match attempt {
            Some(attempt) => Decision::Do(Command::Notify { about: About::Refunds(attempt), notice: None }),
            None => Decision::Settle,
        }
    }

    /// Records the outcome of a payment, unless it has become known meanwhile.
    fn payment_outcome(&self, attempt: u32, outcome: &Settled, amount: Money) -> Decision {
        let state = match outcome {
            _ if self.attempt(attempt).is_some_and(Attempt::is_final) => return Decision::Nothing,
            Settled::Captured(reference) => PaymentState::Captured { reference: reference.clone(), amount },
            Settled::NotCharged => PaymentState::Declined { reason: "settled_by_operator".into() },
            Settled::GivenBack => return Decision::Nothing,
        };
        Decision::Do(Command::AdvancePayment { attempt, state })
    }
}

fn is_retry(command: &Command) -> bool {
    matches!(command, Command::RetryRefund { .. })
}

fn give_everything_back(status: Status, by: UserId, note: &str) -> Command {
    if !matches!(status, Status::Shipped | Status::Delivered) {
        return Command::Cancel;
    }
    let (lines, shipping, reason) = (Vec::new(), Shipping::Excluded, note.to_owned());
    Command::Refund(RefundRequest { lines, shipping, restock: None, reason, by, key: None })
}
