//! What operators do in the walk: they are honest, so what they record has happened.
//!
//! Depends on its neighbours.

use super::{
    super::*,
    Problem,
    world::{World, total},
};
use crate::domain::ids::UserId;

impl World {
    /// What operators may decide.
    pub(super) fn operators(&self) -> Vec<Self> {
        let mut worlds = Vec::new();
        if self.decisions >= self.tour.decisions {
            return worlds;
        }
        let last = self.order.attempts().last().map(|attempt| attempt.number);
        let outcome = match last.and_then(|number| self.provider.payments.get(&number)) {
            Some(PaymentState::Captured { reference, amount }) if *amount == total() => {
                Settled::Captured(reference.clone())
            }
            Some(PaymentState::Declined { .. } | PaymentState::Voided { .. }) | None => Settled::NotCharged,
            // What the provider still works on is not known to operators either, and another amount is no payment.
            Some(_) => Settled::GivenBack,
        };
        for resolution in [
            Resolution::Retry,
            Resolution::Refund,
            Resolution::Settled(Some(Settled::GivenBack)),
            Resolution::Settled(Some(outcome)),
        ] {
            let Ok(commands) = self.order.resolve(None, &resolution, UserId(9), "why") else { continue };
            let mut world = Self { decisions: self.decisions + 1, ..self.clone() };
            for command in &commands {
                if world.order.decide(command, world.now()).is_err() {
                    break;
                }
                world.tell(command);
            }
            // They look at the provider first, and give back by hand only what has not gone back.
            if world.balance().0 >= 0 {
                worlds.push(world);
            }
        }
        worlds
    }

    /// The tour's problem is seen; a dispute ends some time after.
    pub(super) fn raise_problem(&self) -> Option<Self> {
        let (reference, outcome) = ("dp".to_owned(), "lost".to_owned());
        let kind = match (self.tour.problem?, self.raised) {
            (Problem::PaymentUnknown, _) => {
                let attempt = self.order.open_attempt().filter(|_| self.is_late)?.number;
                IssueKind::PaymentUnknown { attempt, seen: "silence".into() }
            }
            (Problem::Stuck, 0) => IssueKind::Stuck { seen: "refused".into() },
            (Problem::Differs, 0) => IssueKind::Differs { what: "the books".into() },
            (Problem::Disputed, 0) => IssueKind::Disputed { reference },
            (Problem::Disputed, 1) => IssueKind::DisputeEnded { reference, outcome },
            _ => return None,
        };
        let is_once = self.tour.problem != Some(Problem::PaymentUnknown);
        let mut world = Self { raised: self.raised + u8::from(is_once), ..self.clone() };
        world.tell(&Command::RaiseIssue { kind, notice: None }).then_some(world)
    }

    /// What operators have given back of an attempt outside the provider, in minor units.
    pub(super) fn given_by_hand(&self, attempt: u32) -> u64 {
        let by_hand = self.order.refunds().iter().filter(|refund| refund.state == Some(RefundState::ByHand));
        by_hand.filter(|refund| refund.attempt == attempt).map(|refund| refund.amount.minor).sum()
    }
}
