//! The modelled system: the order, its cart, its stock, the provider, and the requests in flight; and the successors of
//! a state, one for each action that is possible in it.
//!
//! Depends on the order's rules.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    hash::{BuildHasher, Hash, Hasher},
};

use foldhash::quality::FixedState;

use super::{
    super::{tests::placement, *},
    Tour,
};
use crate::domain::{
    cart::{self, Cart},
    ids::{ReceiptId, UserId},
    inventory::{self, Inventory},
    money::{Currency, Money},
};

pub(super) const ORDER: OrderId = OrderId(7);
const NOW: Timestamp = Timestamp(1_000);
const PAST_DEADLINE: Timestamp = Timestamp(100_001);
/// How many units are received while the order is under way.
const ARRIVALS: u64 = 5;

/// The model of the provider. It keeps its promises unless the tour says otherwise.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Provider {
    pub(super) payments: BTreeMap<u32, PaymentState>,
    pub(super) refunds: BTreeMap<u32, (u64, RefundState)>,
    /// What was refunded at the provider's own site, by attempt, in minor units.
    pub(super) refunded_elsewhere: BTreeMap<u32, u64>,
}

/// A request that is delivered late; nobody waits for its answer.
#[derive(Debug, Clone)]
pub(super) enum InFlight {
    Effect(Effect),
    Pay(u32),
    Capture(u32),
    Refund(u32, u64),
}

/// One state of the system.
#[derive(Clone)]
pub(super) struct System {
    pub(super) tour: Tour,
    // States share what an action does not change.
    pub(super) order: Arc<Order>,
    pub(super) cart: Arc<Cart>,
    pub(super) stock: [Arc<Inventory>; 2],
    /// Hashes of the cart and the two inventories, kept because most actions change none of them.
    pub(super) fingerprints: [u64; 3],
    pub(super) provider: Provider,
    pub(super) is_past_deadline: bool,
    /// Units of the second line's product that were received since the beginning.
    pub(super) arrived: u64,
    pub(super) in_flight: Vec<InFlight>,
    pub(super) pays: u8,
    pub(super) refunds: u8,
    pub(super) returns: u8,
    /// How many decisions operators have taken.
    pub(super) decisions: u8,
    /// How often the tour's problem was raised.
    pub(super) raised: u8,
}

/// Executes a command on an entity that other states share.
fn execute<E: Entity>(entity: &mut Arc<E>, command: &E::Command, now: Timestamp) -> Result<(), E::Rejection> {
    if let Some(event) = entity.decide(command, now)? {
        Arc::make_mut(entity).apply(&event);
    }
    Ok(())
}

fn hash(what: &impl Debug) -> u64 {
    FixedState::default().hash_one(format!("{what:?}"))
}

pub(super) fn total() -> Money {
    placement().total
}

pub(super) fn reference_of(attempt: u32) -> String {
    format!("pi_{attempt}")
}

pub(super) fn charged(attempt: u32, capture: CaptureMode) -> PaymentState {
    charged_amount(attempt, capture, total())
}

fn charged_amount(attempt: u32, capture: CaptureMode, amount: Money) -> PaymentState {
    let reference = reference_of(attempt);
    match capture {
        CaptureMode::AtOnce => PaymentState::Captured { reference, amount },
        CaptureMode::Later => PaymentState::Authorised { reference, amount },
    }
}

impl System {
    pub(super) fn new(tour: &Tour) -> Self {
        let (mut cart, mut stock) = (Arc::<Cart>::default(), <[Arc<Inventory>; 2]>::default());
        let line = |line: OrderLine| cart::Line { product: line.product, quantity: line.quantity };
        let lines: Vec<_> = placement().lines.into_iter().map(line).collect();
        let add = |lines| cart::Command::Add { lines, currency: Currency::INR };
        execute(&mut cart, &add(lines.clone()), NOW).unwrap();
        let version = cart.view().version;
        if tour.stale_cart {
            execute(&mut cart, &add(lines[..1].to_vec()), NOW).unwrap();
        }
        for (inventory, quantity) in stock.iter_mut().zip(tour.stock) {
            execute(inventory, &inventory::Command::Open { quantity }, NOW).unwrap();
        }
        let mut order = Arc::<Order>::default();
        let placed = Placement { cart_version: version, ..placement() };
        execute(&mut order, &Command::Place(Arc::new(placed)), NOW).unwrap();
        let (provider, in_flight) = (Provider::default(), Vec::new());
        let fingerprints = [hash(&cart), hash(&stock[0]), hash(&stock[1])];
        Self {
            tour: *tour,
            order,
            cart,
            stock,
            fingerprints,
            provider,
            is_past_deadline: false,
            arrived: 0,
            in_flight,
            pays: 0,
            refunds: 0,
            returns: 0,
            decisions: 0,
            raised: 0,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        if self.is_past_deadline { PAST_DEADLINE } else { NOW }
    }

    /// A hash of all that distinguishes this state from others. The history of the order does not.
    pub(super) fn fingerprint(&self) -> u64 {
        let Order { taken, stock, attempts, ending, progress, refunds, returns, issues, undone, .. } = &*self.order;
        let mut hasher = FixedState::default().build_hasher();
        (taken, stock, ending, progress, undone).hash(&mut hasher);
        // Times make no difference.
        for Attempt { state, capture, intent, needs_refresh, stray, .. } in attempts {
            (state, capture, intent, needs_refresh, stray).hash(&mut hasher);
        }
        for refund in refunds {
            let Refund { attempt, amount, lines, shipping, restock, cause, state, restocked, .. } = refund;
            (attempt, amount.minor, lines, shipping, restock, cause, state, restocked).hash(&mut hasher);
            (refund.retries, refund.needs_refresh).hash(&mut hasher);
        }
        returns.iter().for_each(|known| (&known.lines, &known.state).hash(&mut hasher));
        issues.iter().for_each(|known| (&known.kind, known.resolved.is_some()).hash(&mut hasher));
        (self.fingerprints, &self.provider, self.is_past_deadline, self.arrived, self.pays, self.refunds, self.returns)
            .hash(&mut hasher);
        (self.decisions, self.raised).hash(&mut hasher);
        self.in_flight.iter().for_each(|in_flight| hash(in_flight).hash(&mut hasher));
        hasher.finish()
    }

    pub(super) fn execute(&mut self, command: &Command) -> bool {
        let Ok(Some(event)) = self.order.decide(command, self.now()) else { return false };
        Arc::make_mut(&mut self.order).apply(&event);
        true
    }

    /// Delivers an effect to its entity.
    pub(super) fn deliver(&mut self, effect: &Effect) -> EffectResult {
        let now = self.now();
        match effect {
            Effect::Cart(command) => {
                let answer = execute(&mut self.cart, command, now);
                self.fingerprints[0] = hash(&self.cart);
                EffectResult::Cart(Some(answer))
            }
            Effect::Stock(product, command) => {
                let line = placement().lines.iter().position(|line| line.product == *product).unwrap();
                let answer = execute(&mut self.stock[line], command, now);
                self.fingerprints[1 + line] = hash(&self.stock[line]);
                EffectResult::Stock(Some(answer))
            }
        }
    }

    /// The states after the provider has received the charge of an attempt: one for each outcome.
    pub(super) fn pay(&self, attempt: u32) -> Vec<Self> {
        if self.provider.payments.contains_key(&attempt) {
            return vec![self.clone()];
        }
        let capture = self.order.attempt(attempt).map_or(CaptureMode::AtOnce, |attempt| attempt.capture);
        let outcomes = [
            charged(attempt, capture),
            PaymentState::Declined { reason: "no".into() },
            PaymentState::ActionRequired { reference: reference_of(attempt), url: "u".into() },
            PaymentState::Processing { reference: reference_of(attempt) },
        ];
        let count = if self.tour.answers_at_once { 2 } else { outcomes.len() };
        let other = Money { minor: total().minor + 1, ..total() };
        let other = self.tour.charges_other_amount.then(|| charged_amount(attempt, capture, other));
        outcomes.into_iter().take(count).chain(other).map(|state| self.with_payment(attempt, state)).collect()
    }

    fn with_payment(&self, attempt: u32, state: PaymentState) -> Self {
        let mut system = self.clone();
        system.provider.payments.insert(attempt, state);
        system
    }

    pub(super) fn void(&self, attempt: u32) -> Self {
        match self.provider.payments.get(&attempt) {
            None | Some(PaymentState::Authorised { .. } | PaymentState::ActionRequired { .. }) => {
                self.with_payment(attempt, PaymentState::Voided { reference: None })
            }
            Some(_) => self.clone(),
        }
    }

    pub(super) fn capture(&self, attempt: u32) -> Self {
        match self.provider.payments.get(&attempt) {
            Some(PaymentState::Authorised { amount, .. }) => {
                self.with_payment(attempt, charged_amount(attempt, CaptureMode::AtOnce, *amount))
            }
            _ => self.clone(),
        }
    }

    pub(super) fn refund(&self, number: u32, minor: u64) -> Vec<Self> {
        if self.provider.refunds.contains_key(&number) {
            return vec![self.clone()];
        }
        let attempt = self.order.refund(number).map_or(1, |refund| refund.attempt);
        let ends = [
            RefundState::Refunded { reference: "re".into() },
            RefundState::Failed { reason: "no".into() },
            RefundState::Processing { reference: "re".into() },
        ];
        let count = if self.tour.answers_at_once { 2 } else { ends.len() };
        let with = |state| {
            let mut system = self.clone();
            system.provider.refunds.insert(number, (minor, state));
            system
        };
        if minor == 0 {
            return vec![with(RefundState::Refunded { reference: "free".into() })];
        }
        if self.refunded_of(attempt) + minor > self.captured_of(attempt) {
            return vec![with(RefundState::Failed { reason: "more than is left".into() })];
        }
        ends.into_iter().take(count).map(with).collect()
    }

    /// How much of an attempt the provider has captured, in minor units.
    fn captured_of(&self, attempt: u32) -> u64 {
        match self.provider.payments.get(&attempt) {
            Some(PaymentState::Captured { amount, .. }) => amount.minor,
            _ => 0,
        }
    }

    /// How much of an attempt the provider has refunded, or is refunding, in minor units.
    pub(super) fn refunded_of(&self, attempt: u32) -> u64 {
        let of_attempt = |number: u32| self.order.refund(number).is_some_and(|refund| refund.attempt == attempt);
        let refunds = self.provider.refunds.iter().filter(|(number, _)| of_attempt(**number));
        let refunds = refunds.filter(|(_, (_, state))| !matches!(state, RefundState::Failed { .. }));
        let elsewhere = self.provider.refunded_elsewhere.get(&attempt).copied().unwrap_or_default();
        elsewhere + refunds.map(|(_, (minor, _))| minor).sum::<u64>()
    }

    /// Whether the provider has refunded more or less than the order knows of.
    pub(super) fn has_news_of_refunds(&self, attempt: u32) -> bool {
        let (theirs, ours) = (self.refunded_of(attempt), self.order.refunded_by_provider(attempt));
        theirs > ours || (theirs < ours && self.order.refund_in_progress().is_none())
    }

    /// The states after the oldest request in flight is delivered.
    pub(super) fn deliver_late(&self) -> Vec<Self> {
        let Some((in_flight, rest)) = self.in_flight.split_first() else { return Vec::new() };
        let mut system = self.clone();
        system.in_flight = rest.to_vec();
        match in_flight {
            InFlight::Effect(effect) => {
                let _ = system.deliver(effect);
                vec![system]
            }
            InFlight::Pay(attempt) => system.pay(*attempt),
            InFlight::Capture(attempt) => vec![system.capture(*attempt)],
            InFlight::Refund(number, minor) => system.refund(*number, *minor),
        }
    }

    /// The states after each action that the provider, or the customer's bank, takes without a request.
    fn provider_actions(&self) -> Vec<Self> {
        let mut successors = Vec::new();
        for (attempt, state) in &self.provider.payments {
            let capture = self.order.attempt(*attempt).map_or(CaptureMode::AtOnce, |attempt| attempt.capture);
            let declined = PaymentState::Declined { reason: "no".into() };
            let next = match state {
                PaymentState::ActionRequired { .. } | PaymentState::Processing { .. } => {
                    vec![charged(*attempt, capture), declined]
                }
                PaymentState::Authorised { .. } => vec![PaymentState::Voided { reference: None }],
                PaymentState::Declined { .. } | PaymentState::Voided { .. } if self.tour.captures_late => {
                    vec![charged(*attempt, CaptureMode::AtOnce)]
                }
                _ => Vec::new(),
            };
            successors.extend(next.into_iter().map(|state| self.with_payment(*attempt, state)));
            let refunded = self.refunded_of(*attempt) + self.refunded_by_hand(*attempt);
            let left = self.captured_of(*attempt).saturating_sub(refunded);
            let may_refund = self.tour.refunds_elsewhere && self.provider.refunded_elsewhere.is_empty() && left > 1;
            if may_refund && matches!(state, PaymentState::Captured { .. }) {
                for minor in [1, left] {
                    let mut system = self.clone();
                    system.provider.refunded_elsewhere.insert(*attempt, minor);
                    successors.push(system);
                }
            }
            let elsewhere = self.provider.refunded_elsewhere.get(attempt);
            if self.tour.refunds_elsewhere_fail && elsewhere.is_some_and(|minor| *minor > 0) {
                let mut system = self.clone();
                system.provider.refunded_elsewhere.insert(*attempt, 0);
                successors.push(system);
            }
        }
        for (number, (minor, state)) in &self.provider.refunds {
            let refunded = RefundState::Refunded { reference: "re".into() };
            let next = match state {
                RefundState::Processing { .. } => vec![refunded, RefundState::Failed { reason: "no".into() }],
                RefundState::Refunded { .. } if !self.tour.answers_at_once => {
                    vec![RefundState::Failed { reason: "came back".into() }]
                }
                _ => Vec::new(),
            };
            for state in next {
                let mut system = self.clone();
                system.provider.refunds.insert(*number, (*minor, state));
                successors.push(system);
            }
        }
        successors
    }

    /// The states after each action of the customer, the seller or the provider's webhooks, and after the deadline.
    fn user_actions(&self, tour: &Tour) -> Vec<Self> {
        let mut successors = Vec::new();
        let mut may = |command: Command, count: fn(&mut Self)| {
            let mut system = self.clone();
            if system.execute(&command) {
                count(&mut system);
                successors.push(system);
            }
        };
        let nothing: fn(&mut Self) = |_| ();
        if self.pays < tour.pays_max {
            let (method, key, capture) = ("tok".into(), None, tour.capture);
            may(Command::RequestPayment { method, key, capture }, |system| system.pays += 1);
        }
        may(Command::Cancel, nothing);
        may(Command::AbandonPayment, nothing);
        may(Command::Capture, nothing);
        let tracking = Tracking { carrier: "Post".into(), number: "1".into() };
        may(Command::Ship(tracking), nothing);
        if tour.delivers {
            may(Command::Pack, nothing);
            may(Command::Deliver, nothing);
        }
        let differs = |known: Option<&PaymentState>, state: &PaymentState| known.is_some_and(|known| known != state);
        for (number, state) in &self.provider.payments {
            if differs(self.order.attempt(*number).and_then(|known| known.state.as_ref()), state) {
                may(Command::Notify { about: About::Attempt(*number), notice: None }, nothing);
            }
        }
        for number in self.provider.refunded_elsewhere.keys() {
            if self.has_news_of_refunds(*number) {
                may(Command::Notify { about: About::Refunds(*number), notice: None }, nothing);
            }
        }
        for (number, (_, state)) in &self.provider.refunds {
            if self.order.refund(*number).and_then(|known| known.state.as_ref()) != Some(state) {
                may(Command::Notify { about: About::Refund(*number), notice: None }, nothing);
            }
        }
        if tour.refunds_and_returns && self.refunds < 1 {
            let (lines, reason, by) = (vec![(0, 1)], "why".into(), UserId(9));
            let request = RefundRequest { lines, shipping: Shipping::Excluded, restock: None, reason, by, key: None };
            may(Command::Refund(request), |system| system.refunds += 1);
        }
        if tour.refunds_and_returns && self.returns < 1 {
            let (lines, reason) = (vec![(1, 1)], "too small".into());
            may(Command::RequestReturn { lines, reason, key: None }, |system| system.returns += 1);
        }
        may(Command::ReceiveReturn { number: 1, restock: Restock::Yes, by: UserId(9) }, nothing);
        if let Some(failed) =
            self.order.refunds().iter().find(|refund| refund.has_failed()).filter(|_| self.refunds < 2)
        {
            may(Command::RetryRefund { number: failed.number, by: UserId(9) }, |system| system.refunds = 2);
        }
        if !self.is_past_deadline {
            successors.push(Self { is_past_deadline: true, ..self.clone() });
        }
        successors
    }

    /// The states after each action of a second driver, which has read the order as the first one did: its requests are
    /// delivered late.
    fn second_driver_actions(&self) -> Vec<Self> {
        let mut successors = Vec::new();
        if let (Some(step @ Step::Reserve(_)), true) =
            (self.order.next_step(), self.in_flight.len() < self.tour.in_flight_max)
        {
            let requests = step.effects(ORDER, &self.order).into_iter();
            successors.extend(requests.map(|request| self.with_in_flight(InFlight::Effect(request))));
        }
        if self.arrived == 0 {
            let mut system = Self { arrived: ARRIVALS, ..self.clone() };
            let receive = inventory::Command::Receive { receipt: ReceiptId(1), quantity: ARRIVALS };
            execute(&mut system.stock[1], &receive, self.now()).unwrap();
            system.fingerprints[2] = hash(&system.stock[1]);
            successors.push(system);
        }
        successors
    }

    /// All states that follow this one.
    pub(super) fn successors(&self, tour: &Tour) -> Vec<Self> {
        let mut successors = self.deliver_late();
        if tour.has_two_drivers {
            successors.extend(self.second_driver_actions());
        }
        successors.extend(self.provider_actions());
        successors.extend(self.user_actions(tour));
        successors.extend(self.raise_problem());
        successors.extend(self.operator_actions());
        for poll in [Poll::IfNeeded, Poll::Now] {
            if let Some(Turn::Do(step)) = self.order.turn(self.now(), poll) {
                successors.extend(self.step_outcomes(&step));
            }
        }
        successors
    }
}
