//! How a state comes to rest when nothing more happens to it, and the invariants: those of every state, and those at
//! rest.
//!
//! Depends on its neighbours.

use std::collections::HashSet;

use super::{
    super::{tests::placement, *},
    Tour,
    system::{System, charged, total},
};

/// How many steps the shop may need to come to rest.
const STEPS_MAX: usize = 60;

impl System {
    /// The state in which this one comes to rest: the deadline passes, requests in flight are delivered before or after
    /// the other steps, and the provider finishes processing. `None` if a state on the way is in `checked`.
    pub(super) fn come_to_rest(&self, delivers_first: bool, checked: &mut HashSet<(u64, bool)>) -> Option<Self> {
        let mut system = Self { is_past_deadline: true, ..self.clone() };
        let phases: &[bool] = if delivers_first { &[true] } else { &[false, true] };
        for delivers_late in phases.iter().copied() {
            while delivers_late && !system.in_flight.is_empty() {
                system = system.deliver_late().swap_remove(0);
            }
            if !checked.insert((system.fingerprint(), delivers_late)) {
                return None;
            }
            for step in 0.. {
                assert!(step < STEPS_MAX, "no rest: {:?} {:?}", system.order.next_step(), system.order);
                let processing = |system: &Self| {
                    let payments =
                        system.provider.payments.values().any(|s| matches!(s, PaymentState::Processing { .. }));
                    let refunds =
                        system.provider.refunds.values().any(|(_, s)| matches!(s, RefundState::Processing { .. }));
                    payments || refunds
                };
                if processing(&system) {
                    system.finish_processing();
                }
                system.reconcile();
                let before = system.fingerprint();
                for poll in [Poll::Now, Poll::IfNeeded] {
                    if let Some(Turn::Do(step)) = system.order.turn(system.now(), poll) {
                        system = system.step_outcomes(&step).swap_remove(0);
                    }
                }
                if system.fingerprint() == before {
                    break;
                }
                if !checked.insert((system.fingerprint(), delivers_late)) {
                    return None;
                }
            }
        }
        Some(system)
    }

    /// Does what the reconciler does: where the provider's state differs, the order records that the provider has news.
    fn reconcile(&mut self) {
        for (number, state) in self.provider.payments.clone() {
            if self.order.attempt(number).is_some_and(|known| known.state.as_ref() != Some(&state)) {
                self.execute(&Command::Notify { about: About::Attempt(number), notice: None });
            }
        }
        for number in self.provider.refunded_elsewhere.clone().into_keys() {
            if self.has_news_of_refunds(number) {
                self.execute(&Command::Notify { about: About::Refunds(number), notice: None });
            }
        }
        for (number, (_, state)) in self.provider.refunds.clone() {
            if self
                .order
                .refund(number)
                .is_some_and(|known| known.state != Some(RefundState::ByHand) && known.state.as_ref() != Some(&state))
            {
                self.execute(&Command::Notify { about: About::Refund(number), notice: None });
            }
        }
    }

    fn finish_processing(&mut self) {
        for (attempt, state) in &mut self.provider.payments {
            if let PaymentState::Processing { .. } = state {
                *state = charged(*attempt, CaptureMode::AtOnce);
            }
        }
        for (_, state) in self.provider.refunds.values_mut() {
            if let RefundState::Processing { reference } = state {
                *state = RefundState::Refunded { reference: reference.clone() };
            }
        }
    }

    /// What was captured and not refunded, in minor units, and how many attempts were captured.
    pub(super) fn balance(&self) -> (i64, usize) {
        let captured = self.provider.payments.values().filter_map(|state| match state {
            PaymentState::Captured { amount, .. } => Some(amount.minor),
            _ => None,
        });
        let refunded = self.provider.refunds.values();
        let refunded = refunded.filter(|(_, state)| matches!(state, RefundState::Refunded { .. }));
        let (captured, captures) = captured.fold((0_u64, 0), |(sum, count), minor| (sum + minor, count + 1));
        let elsewhere = self.provider.refunded_elsewhere.values().sum::<u64>();
        let by_hand = self.provider.payments.keys().map(|attempt| self.refunded_by_hand(*attempt)).sum::<u64>();
        let refunded = refunded.map(|(minor, _)| minor).sum::<u64>() + elsewhere + by_hand;
        (captured.cast_signed() - refunded.cast_signed(), captures)
    }

    /// The invariants of every state.
    pub(super) fn check_always(&self) {
        let (balance, captures) = self.balance();
        assert!(balance >= 0, "more was refunded than captured: {:?} {:?}", self.provider, self.order.refunds());
        let has_strays = self.tour.captures_late || self.tour.charges_other_amount;
        assert!(captures <= 1 || has_strays, "charged twice: {:?}", self.provider);
        let listing = Listing::from_tag(self.order.tag());
        let is_open = !matches!(self.order.next_step(), None | Some(Step::Done));
        assert_eq!(listing.map(|listing| listing.is_open), Some(is_open), "a start resumes what is not settled");
        let status = self.order.status().unwrap();
        assert!(!status.is_paid() || captures > 0, "{status:?}, but nothing was captured");
        let sold = self.stock.iter().map(|inventory| inventory.view().sold).sum::<u64>();
        assert!(sold == 0 || captures > 0, "sold and not paid");
    }

    /// The invariants of a state at rest.
    pub(super) fn check_at_rest(&self, tour: &Tour) {
        use Status::{
            Authorised, Cancelled, Cancelling, Confirmed, Delivered, Expired, Packed, PaymentPending, Rejected, Shipped,
        };
        let status = self.order.status().unwrap();
        let holds = self.stock.iter().flat_map(|inventory| inventory.open_holds()).count();
        let has_other_amount = |kind: &IssueKind| matches!(kind, IssueKind::AmountMismatch { .. });
        if self.order.open_issue_kinds().any(has_other_amount) {
            // The order waits for an operator, and its stock stays reserved.
            assert!(
                matches!(status, PaymentPending | Authorised | Cancelling),
                "{status:?}: {:?}",
                self.order.attempts
            );
            assert_eq!(holds, 2);
            return;
        }
        let says_it_fails =
            |kind: &IssueKind| matches!(kind, IssueKind::PaymentUnknown { .. } | IssueKind::Stuck { .. });
        assert!(!self.order.open_issue_kinds().any(says_it_fails), "nothing fails any more: {:?}", self.order.issues);
        let is_held = self.provider.payments.values().any(|state| matches!(state, PaymentState::Authorised { .. }));
        assert!(!is_held || status == Authorised, "money is held for an order that is {status:?}");
        assert!(
            matches!(status, Confirmed | Packed | Shipped | Delivered | Cancelled | Expired | Rejected | Authorised),
            "{status:?} is no end: {:?} {:?} {:?}",
            self.order.attempts,
            self.order.refunds,
            self.order.next_step(),
        );
        assert_eq!(holds, if status == Authorised { 2 } else { 0 }, "held by an order that is {status:?}");
        let quantities = placement().lines.iter().map(|line| u64::from(line.quantity)).collect::<Vec<_>>();
        let sold: Vec<_> = self.stock.iter().map(|inventory| inventory.view().sold).collect();
        let is_sold = self.order.history().iter().any(|entry| entry.status == Confirmed);
        assert_eq!(sold, if is_sold { quantities } else { vec![0, 0] });
        let (balance, _) = self.balance();
        let owed = if status.is_paid() { total().minor } else { 0 };
        let paying = self.order.paying_attempt().map(|attempt| attempt.number);
        let of_order = self.order.refunds().iter().filter(|refund| Some(refund.attempt) == paying);
        let refunded: u64 = of_order.filter(|refund| !refund.has_failed()).map(|refund| refund.amount.minor).sum();
        let kept = owed.saturating_sub(if status.is_paid() { refunded } else { 0 });
        let has_open_issue = self.order.open_issue_kinds().next().is_some();
        assert!(
            balance == kept.cast_signed() || has_open_issue,
            "{balance} kept, {kept} ours: {:?} {:?} {:?} {:?} {:?}",
            self.order.attempts,
            self.order.refunds,
            self.order.issues,
            self.order.ending,
            self.provider
        );
        if status == Cancelled && is_sold {
            let on_hand: Vec<_> = self.stock.iter().map(|inventory| inventory.view().on_hand).collect();
            let expected = [tour.stock[0], tour.stock[1] + self.arrived];
            assert_eq!(on_hand, expected, "what was never shipped is for sale again");
        }
        let cart = self.cart.view();
        assert_eq!(cart.open_orders.len(), usize::from(status == Authorised), "the cart knows which orders are open");
        let expected = if matches!(status, Cancelled | Expired | Rejected) && !is_sold { 2 } else { 0 };
        assert_eq!(
            cart.lines.len(),
            if tour.stale_cart { 2 } else { expected },
            "{status:?}: the lines that are back in the cart"
        );
    }
}
