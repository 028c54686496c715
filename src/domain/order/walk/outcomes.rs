//! What may come of a step that the checkout performs: a successor for each outcome of its requests.
//!
//! Depends on its neighbours.

use super::{
    super::*,
    system::{InFlight, ORDER, System, reference_of},
};

impl System {
    /// The states after each outcome of a step that the checkout performs.
    pub(super) fn step_outcomes(&self, step: &Step) -> Vec<Self> {
        let effects = step.effects(ORDER, &self.order);
        let may_be_late = self.in_flight.len() < self.tour.in_flight_max;
        match step {
            Step::Pay(attempt) => {
                let mut successors =
                    Self::recorded_or_lost(step, self.pay(*attempt), |system| system.record_payment(*attempt));
                successors.extend(may_be_late.then(|| self.with_in_flight(InFlight::Pay(*attempt))));
                successors
            }
            Step::Poll(attempt) => Self::recorded_or_lost(step, vec![self.clone()], |system| {
                for own in system.order.own_refunds_in_doubt(*attempt, system.refunded_of(*attempt)) {
                    system.record_refund(own);
                }
                let refunded_minor = system.refunded_of(*attempt);
                while system.execute(&Command::RecordRefunded { attempt: *attempt, refunded_minor }) {}
                system.record_payment(*attempt);
            }),
            Step::Void(attempt) => {
                Self::recorded_or_lost(step, vec![self.void(*attempt)], |system| system.record_payment(*attempt))
            }
            Step::Capture(attempt) => {
                let mut successors = Self::recorded_or_lost(step, vec![self.capture(*attempt)], |system| {
                    system.record_payment(*attempt);
                });
                successors.extend(may_be_late.then(|| self.with_in_flight(InFlight::Capture(*attempt))));
                successors
            }
            Step::Refund(number) => {
                let minor = self.order.refund(*number).unwrap().amount.minor;
                let mut successors =
                    Self::recorded_or_lost(step, self.refund(*number, minor), |system| system.record_refund(*number));
                successors.extend(may_be_late.then(|| self.with_in_flight(InFlight::Refund(*number, minor))));
                successors
            }
            step if effects.is_empty() => {
                let mut system = self.clone();
                system.execute(&step.record(Vec::new()).unwrap());
                vec![system]
            }
            step => {
                // Each effect is answered, executed without an answer, lost, or delivered late.
                let outcomes = if may_be_late { 4_u32 } else { 3 };
                let all = outcomes.pow(u32::try_from(effects.len()).unwrap());
                (0..all).flat_map(|chosen| self.effect_outcomes(step, &effects, chosen, outcomes)).collect()
            }
        }
    }

    pub(super) fn with_in_flight(&self, in_flight: InFlight) -> Self {
        let mut system = self.clone();
        system.in_flight.push(in_flight);
        system
    }

    /// The states after the provider has executed a request: once with its answer recorded, and once with it lost.
    fn recorded_or_lost(step: &Step, mut executed: Vec<Self>, record: impl Fn(&mut Self)) -> Vec<Self> {
        let mut successors = executed.clone();
        for system in &mut successors {
            record(system);
            if let Some(settle) = system.order.settled_by(step) {
                system.execute(&settle);
            }
        }
        successors.append(&mut executed);
        successors
    }

    fn record_payment(&mut self, attempt: u32) {
        let state = self.provider.payments[&attempt].clone();
        let (reference, advance) = (reference_of(attempt), Command::AdvancePayment { attempt, state });
        if let Err(Rejection::AmountMismatch { captured, .. }) = self.order.decide(&advance, self.now()) {
            let kind = IssueKind::AmountMismatch { attempt, reference, captured };
            self.execute(&Command::RaiseIssue { kind, notice: None });
        }
        self.execute(&advance);
    }

    fn record_refund(&mut self, number: u32) {
        let state = self.provider.refunds[&number].1.clone();
        self.execute(&Command::AdvanceRefund { number, state });
    }

    /// The states after the effects of a step: once with the step recorded, and once with a crash before that. The
    /// digits of `chosen`, in a number system with as many digits as there are outcomes, are the outcomes of the
    /// effects.
    fn effect_outcomes(&self, step: &Step, effects: &[Effect], chosen: u32, outcomes: u32) -> Vec<Self> {
        let (mut system, mut results, mut chosen) = (self.clone(), Vec::new(), chosen);
        for effect in effects {
            let unknown = match effect {
                Effect::Cart(_) => EffectResult::Cart(None),
                Effect::Stock(..) => EffectResult::Stock(None),
            };
            results.push(match chosen % outcomes {
                0 => system.deliver(effect),
                1 => {
                    let _ = system.deliver(effect);
                    unknown
                }
                2 => unknown,
                _ if system.in_flight.len() < self.tour.in_flight_max => {
                    system.in_flight.push(InFlight::Effect(effect.clone()));
                    unknown
                }
                _ => return Vec::new(),
            });
            chosen /= outcomes;
        }
        let mut recorded = system.clone();
        match step.record(results) {
            Ok(command) => recorded.execute(&command),
            Err(retry) => retry.known.is_some_and(|command| recorded.execute(&command)),
        };
        vec![recorded, system]
    }
}
