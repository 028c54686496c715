//! The decisions of operators. Operators make no mistakes: what they record has happened.
//!
//! Depends on its neighbours.

use super::{
    super::*,
    Problem,
    system::{System, total},
};
use crate::domain::ids::UserId;

impl System {
    /// The states after each decision that operators may take.
    pub(super) fn operator_actions(&self) -> Vec<Self> {
        let mut successors = Vec::new();
        if self.decisions >= self.tour.decisions_max {
            return successors;
        }
        let last = self.order.attempts().last().map(|attempt| attempt.number);
        let outcome = match last.and_then(|number| self.provider.payments.get(&number)) {
            Some(PaymentState::Captured { reference, amount }) if *amount == total() => {
                Settled::Captured(reference.clone())
            }
            Some(PaymentState::Declined { .. } | PaymentState::Voided { .. }) | None => Settled::NotCharged,
            // Operators cannot know the outcome of a payment in processing, and another amount pays for nothing.
            Some(_) => Settled::GivenBack,
        };
        for resolution in [
            Resolution::Retry,
            Resolution::Refund,
            Resolution::Settled(Some(Settled::GivenBack)),
            Resolution::Settled(Some(outcome)),
        ] {
            let Ok(commands) = self.order.resolve(None, &resolution, UserId(9), "why") else { continue };
            let mut system = Self { decisions: self.decisions + 1, ..self.clone() };
            for command in &commands {
                if system.order.decide(command, system.now()).is_err() {
                    break;
                }
                system.execute(command);
            }
            // Operators look at the provider first, so they refund by hand only what is not refunded yet.
            if system.balance().0 >= 0 {
                successors.push(system);
            }
        }
        successors
    }

    /// The state after the tour's problem is raised, or after the dispute has ended.
    pub(super) fn raise_problem(&self) -> Option<Self> {
        let (reference, outcome) = ("dp".to_owned(), "lost".to_owned());
        let kind = match (self.tour.problem?, self.raised) {
            (Problem::PaymentUnknown, _) => {
                let attempt = self.order.open_attempt().filter(|_| self.is_past_deadline)?.number;
                IssueKind::PaymentUnknown { attempt, seen: "no answer".into() }
            }
            (Problem::Stuck, 0) => IssueKind::Stuck { seen: "refused".into() },
            (Problem::Differs, 0) => IssueKind::Differs { what: "the amounts".into() },
            (Problem::Disputed, 0) => IssueKind::Disputed { reference },
            (Problem::Disputed, 1) => IssueKind::DisputeEnded { reference, outcome },
            _ => return None,
        };
        let is_once = self.tour.problem != Some(Problem::PaymentUnknown);
        let mut system = Self { raised: self.raised + u8::from(is_once), ..self.clone() };
        system.execute(&Command::RaiseIssue { kind, notice: None }).then_some(system)
    }

    /// How much of an attempt operators have refunded by hand, in minor units.
    pub(super) fn refunded_by_hand(&self, attempt: u32) -> u64 {
        let by_hand = self.order.refunds().iter().filter(|refund| refund.state == Some(RefundState::ByHand));
        by_hand.filter(|refund| refund.attempt == attempt).map(|refund| refund.amount.minor).sum()
    }
}
