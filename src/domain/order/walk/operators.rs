//! What operators do in the walk: they are honest, so what they record has happened.
//!
//! Depends on its neighbours.

use super::{super::*, world::World};
use crate::domain::ids::UserId;

/// How often operators decide something about an order.
const DECISIONS_MAX: u8 = 2;

impl World {
    /// What the shop may raise and operators may decide.
    pub(super) fn operators(&self) -> Vec<Self> {
        let mut worlds = Vec::new();
        if let (Some(attempt), true) = (self.order.open_attempt(), self.is_late) {
            let mut world = self.clone();
            let kind = IssueKind::PaymentUnknown { attempt: attempt.number, seen: "silence".into() };
            if world.tell(&Command::RaiseIssue { kind, notice: None }) {
                worlds.push(world);
            }
        }
        if self.decisions >= DECISIONS_MAX {
            return worlds;
        }
        let last = self.order.attempts().last().map(|attempt| attempt.number);
        let outcome = match last.and_then(|number| self.provider.payments.get(&number)) {
            Some(PaymentState::Captured { reference, .. }) => Settled::Captured(reference.clone()),
            Some(PaymentState::Declined { .. } | PaymentState::Voided { .. }) | None => Settled::NotCharged,
            // What the provider still works on is not known to operators either.
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
            worlds.push(world);
        }
        worlds
    }

    /// What operators have given back outside the provider, in minor units.
    pub(super) fn given_by_hand(&self) -> u64 {
        let by_hand = self.order.refunds().iter().filter(|refund| refund.state == Some(RefundState::ByHand));
        by_hand.map(|refund| refund.amount.minor).sum()
    }
}
