//! One state of the world: the order, its cart, its stock, an honest provider, and what is on its way; and whatever may
//! happen next.
//!
//! Depends on the order's rules.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    fmt::Debug,
    hash::{Hash, Hasher},
};

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

const ORDER: OrderId = OrderId(7);
const NOW: Timestamp = Timestamp(1_000);
const LATE: Timestamp = Timestamp(100_001);
/// How many units arrive while an order is under way.
const ARRIVALS: u64 = 5;

/// A provider, honest but for what a tour says.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Provider {
    pub(super) payments: BTreeMap<u32, PaymentState>,
    pub(super) refunds: BTreeMap<u32, (u64, RefundState)>,
    /// What was refunded at its own site, by attempt.
    pub(super) elsewhere: BTreeMap<u32, u64>,
}

/// A request that is on its way.
#[derive(Debug, Clone)]
pub(super) enum Flying {
    Ask(Effect),
    Pay(u32),
    Capture(u32),
    Refund(u32, u64),
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) tour: Tour,
    pub(super) order: Order,
    pub(super) cart: Cart,
    pub(super) stock: [Inventory; 2],
    /// Hashes of the cart and the stock, which change less often than they are looked at.
    pub(super) keys: [u64; 3],
    pub(super) provider: Provider,
    pub(super) is_late: bool,
    /// Units of the second line's product that arrived since the beginning.
    pub(super) arrived: u64,
    pub(super) flying: Vec<Flying>,
    pub(super) pays: u8,
    pub(super) refunds: u8,
    pub(super) returns: u8,
    /// How often an operator has decided something.
    pub(super) decisions: u8,
    /// How often the tour's problem was raised.
    pub(super) raised: u8,
}

fn tell<E: Entity>(entity: &mut E, command: &E::Command, now: Timestamp) -> Result<(), E::Rejection> {
    if let Some(event) = entity.decide(command, now)? {
        entity.apply(&event);
    }
    Ok(())
}

fn hash(what: &impl Debug) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{what:?}").hash(&mut hasher);
    hasher.finish()
}

pub(super) fn total() -> Money {
    placement().total
}

fn name(attempt: u32) -> String {
    format!("pi_{attempt}")
}

pub(super) fn taken(attempt: u32, capture: CaptureMode) -> PaymentState {
    taken_of(attempt, capture, total())
}

fn taken_of(attempt: u32, capture: CaptureMode, amount: Money) -> PaymentState {
    let reference = name(attempt);
    match capture {
        CaptureMode::AtOnce => PaymentState::Captured { reference, amount },
        CaptureMode::Later => PaymentState::Authorised { reference, amount },
    }
}

impl World {
    pub(super) fn new(tour: &Tour) -> Self {
        let (mut cart, mut stock) = (Cart::default(), [Inventory::default(), Inventory::default()]);
        let line = |line: Line| cart::Line { product: line.product, quantity: line.quantity };
        let lines: Vec<_> = placement().lines.into_iter().map(line).collect();
        let add = |lines| cart::Command::Add { lines, currency: Currency::INR, key: None };
        tell(&mut cart, &add(lines.clone()), NOW).unwrap();
        let version = cart.view().version;
        if tour.stale_cart {
            tell(&mut cart, &add(lines[..1].to_vec()), NOW).unwrap();
        }
        for (inventory, quantity) in stock.iter_mut().zip(tour.stock) {
            tell(inventory, &inventory::Command::Open { quantity }, NOW).unwrap();
        }
        let mut order = Order::default();
        let placed = Placement { cart_version: version, ..placement() };
        tell(&mut order, &Command::Place(Arc::new(placed)), NOW).unwrap();
        let (provider, flying) = (Provider::default(), Vec::new());
        let keys = [hash(&cart), hash(&stock[0]), hash(&stock[1])];
        Self {
            tour: *tour,
            order,
            cart,
            stock,
            keys,
            provider,
            is_late: false,
            arrived: 0,
            flying,
            pays: 0,
            refunds: 0,
            returns: 0,
            decisions: 0,
            raised: 0,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        if self.is_late { LATE } else { NOW }
    }

    /// What tells one state from another. How it came about does not.
    pub(super) fn key(&self) -> u64 {
        let Order { taken, stock, attempts, ending, progress, refunds, returns, issues, undone, .. } = &self.order;
        let mut hasher = DefaultHasher::new();
        (taken, stock, ending, progress, undone).hash(&mut hasher);
        // When it happened makes no difference.
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
        (self.keys, &self.provider, self.is_late, self.arrived, self.pays, self.refunds, self.returns)
            .hash(&mut hasher);
        (self.decisions, self.raised).hash(&mut hasher);
        self.flying.iter().for_each(|flying| hash(flying).hash(&mut hasher));
        hasher.finish()
    }

    pub(super) fn tell(&mut self, command: &Command) -> bool {
        let Ok(Some(event)) = self.order.decide(command, self.now()) else { return false };
        self.order.apply(&event);
        true
    }

    /// A request arrives at an entity.
    fn arrive(&mut self, ask: &Effect) -> EffectResult {
        let now = self.now();
        match ask {
            Effect::Cart(command) => {
                let answer = tell(&mut self.cart, command, now);
                self.keys[0] = hash(&self.cart);
                EffectResult::Cart(Some(answer))
            }
            Effect::Stock(product, command) => {
                let line = placement().lines.iter().position(|line| line.product == *product).unwrap();
                let answer = tell(&mut self.stock[line], command, now);
                self.keys[1 + line] = hash(&self.stock[line]);
                EffectResult::Stock(Some(answer))
            }
        }
    }

    /// What the provider may do with a request to be paid.
    fn pay(&self, attempt: u32) -> Vec<Self> {
        if self.provider.payments.contains_key(&attempt) {
            return vec![self.clone()];
        }
        let capture = self.order.attempt(attempt).map_or(CaptureMode::AtOnce, |attempt| attempt.capture);
        let begins = [
            taken(attempt, capture),
            PaymentState::Declined { reason: "no".into() },
            PaymentState::ActionRequired { reference: name(attempt), url: "u".into() },
            PaymentState::Processing { reference: name(attempt) },
        ];
        let kinds = if self.tour.is_quick { 2 } else { begins.len() };
        let other = Money { minor: total().minor + 1, ..total() };
        let other = self.tour.takes_other.then(|| taken_of(attempt, capture, other));
        begins.into_iter().take(kinds).chain(other).map(|state| self.with_payment(attempt, state)).collect()
    }

    fn with_payment(&self, attempt: u32, state: PaymentState) -> Self {
        let mut world = self.clone();
        world.provider.payments.insert(attempt, state);
        world
    }

    fn void(&self, attempt: u32) -> Self {
        match self.provider.payments.get(&attempt) {
            None | Some(PaymentState::Authorised { .. } | PaymentState::ActionRequired { .. }) => {
                self.with_payment(attempt, PaymentState::Voided { reference: None })
            }
            Some(_) => self.clone(),
        }
    }

    fn capture(&self, attempt: u32) -> Self {
        match self.provider.payments.get(&attempt) {
            Some(PaymentState::Authorised { amount, .. }) => {
                self.with_payment(attempt, taken_of(attempt, CaptureMode::AtOnce, *amount))
            }
            _ => self.clone(),
        }
    }

    fn refund(&self, number: u32, minor: u64) -> Vec<Self> {
        if self.provider.refunds.contains_key(&number) {
            return vec![self.clone()];
        }
        let attempt = self.order.refund(number).map_or(1, |refund| refund.attempt);
        let ends = [
            RefundState::Refunded { reference: "re".into() },
            RefundState::Failed { reason: "no".into() },
            RefundState::Processing { reference: "re".into() },
        ];
        let kinds = if self.tour.is_quick { 2 } else { ends.len() };
        let with = |state| {
            let mut world = self.clone();
            world.provider.refunds.insert(number, (minor, state));
            world
        };
        if minor == 0 {
            return vec![with(RefundState::Refunded { reference: "free".into() })];
        }
        if self.refunded_of(attempt) + minor > self.captured_of(attempt) {
            return vec![with(RefundState::Failed { reason: "more than is left".into() })];
        }
        ends.into_iter().take(kinds).map(with).collect()
    }

    /// What the provider has captured of an attempt, in minor units.
    fn captured_of(&self, attempt: u32) -> u64 {
        match self.provider.payments.get(&attempt) {
            Some(PaymentState::Captured { amount, .. }) => amount.minor,
            _ => 0,
        }
    }

    /// What the provider has given back of an attempt, or works on, in minor units.
    pub(super) fn refunded_of(&self, attempt: u32) -> u64 {
        let of_attempt = |number: u32| self.order.refund(number).is_some_and(|refund| refund.attempt == attempt);
        let refunds = self.provider.refunds.iter().filter(|(number, _)| of_attempt(**number));
        let asked = refunds.filter(|(_, (_, state))| !matches!(state, RefundState::Failed { .. }));
        let elsewhere = self.provider.elsewhere.get(&attempt).copied().unwrap_or_default();
        elsewhere + asked.map(|(_, (minor, _))| minor).sum::<u64>()
    }

    /// What the order has heard of that.
    pub(super) fn known_refunded_of(&self, attempt: u32) -> u64 {
        self.order.refunded_by_provider(attempt)
    }

    /// What is on its way arrives; nobody waits for the answer any more.
    pub(super) fn land(&self) -> Vec<Self> {
        let Some((flying, rest)) = self.flying.split_first() else { return Vec::new() };
        let mut world = self.clone();
        world.flying = rest.to_vec();
        match flying {
            Flying::Ask(ask) => {
                let _ = world.arrive(ask);
                vec![world]
            }
            Flying::Pay(attempt) => world.pay(*attempt),
            Flying::Capture(attempt) => vec![world.capture(*attempt)],
            Flying::Refund(number, minor) => world.refund(*number, *minor),
        }
    }

    /// What the provider and the customer's bank may do by themselves.
    fn elsewhere(&self) -> Vec<Self> {
        let mut worlds = Vec::new();
        for (attempt, state) in &self.provider.payments {
            let capture = self.order.attempt(*attempt).map_or(CaptureMode::AtOnce, |attempt| attempt.capture);
            let declined = PaymentState::Declined { reason: "no".into() };
            let next = match state {
                PaymentState::ActionRequired { .. } | PaymentState::Processing { .. } => {
                    vec![taken(*attempt, capture), declined]
                }
                PaymentState::Authorised { .. } => vec![PaymentState::Voided { reference: None }],
                PaymentState::Declined { .. } | PaymentState::Voided { .. } if self.tour.captures_late => {
                    vec![taken(*attempt, CaptureMode::AtOnce)]
                }
                _ => Vec::new(),
            };
            worlds.extend(next.into_iter().map(|state| self.with_payment(*attempt, state)));
            let gone = self.refunded_of(*attempt) + self.given_by_hand(*attempt);
            let left = self.captured_of(*attempt).saturating_sub(gone);
            let may_refund = self.tour.refunds_elsewhere && self.provider.elsewhere.is_empty() && left > 1;
            if may_refund && matches!(state, PaymentState::Captured { .. }) {
                for minor in [1, left] {
                    let mut world = self.clone();
                    world.provider.elsewhere.insert(*attempt, minor);
                    worlds.push(world);
                }
            }
        }
        for (number, (minor, state)) in &self.provider.refunds {
            let refunded = RefundState::Refunded { reference: "re".into() };
            let next = match state {
                RefundState::Processing { .. } => vec![refunded, RefundState::Failed { reason: "no".into() }],
                RefundState::Refunded { .. } if !self.tour.is_quick => {
                    vec![RefundState::Failed { reason: "came back".into() }]
                }
                _ => Vec::new(),
            };
            for state in next {
                let mut world = self.clone();
                world.provider.refunds.insert(*number, (*minor, state));
                worlds.push(world);
            }
        }
        worlds
    }

    /// What people may do.
    fn people(&self, tour: &Tour) -> Vec<Self> {
        let mut worlds = Vec::new();
        let mut may = |command: Command, count: fn(&mut Self)| {
            let mut world = self.clone();
            if world.tell(&command) {
                count(&mut world);
                worlds.push(world);
            }
        };
        let nothing: fn(&mut Self) = |_| ();
        if self.pays < tour.pays {
            let (method, key, capture) = ("tok".into(), None, tour.capture);
            may(Command::RequestPayment { method, key, capture }, |world| world.pays += 1);
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
        let news = |known: Option<&PaymentState>, state: &PaymentState| known.is_some_and(|known| known != state);
        for (number, state) in &self.provider.payments {
            if news(self.order.attempt(*number).and_then(|known| known.state.as_ref()), state) {
                may(Command::Notify { about: About::Attempt(*number), notice: None }, nothing);
            }
        }
        for number in self.provider.elsewhere.keys() {
            if self.refunded_of(*number) > self.known_refunded_of(*number) {
                may(Command::Notify { about: About::Refunds(*number), notice: None }, nothing);
            }
        }
        for (number, (_, state)) in &self.provider.refunds {
            if self.order.refund(*number).and_then(|known| known.state.as_ref()) != Some(state) {
                may(Command::Notify { about: About::Refund(*number), notice: None }, nothing);
            }
        }
        if tour.gives_back && self.refunds < 1 {
            let (lines, reason, by) = (vec![(0, 1)], "why".into(), UserId(9));
            let request = RefundRequest { lines, shipping: Shipping::Excluded, restock: None, reason, by, key: None };
            may(Command::Refund(request), |world| world.refunds += 1);
        }
        if tour.gives_back && self.returns < 1 {
            let (lines, reason) = (vec![(1, 1)], "too small".into());
            may(Command::RequestReturn { lines, reason, key: None }, |world| world.returns += 1);
        }
        may(Command::ReceiveReturn { number: 1, restock: Restock::Yes, by: UserId(9) }, nothing);
        if let Some(failed) =
            self.order.refunds().iter().find(|refund| refund.has_failed()).filter(|_| self.refunds < 2)
        {
            may(Command::RetryRefund { number: failed.number, by: UserId(9) }, |world| world.refunds = 2);
        }
        if !self.is_late {
            worlds.push(Self { is_late: true, ..self.clone() });
        }
        worlds
    }

    /// Whatever may come of a step that the checkout takes now.
    pub(super) fn steps(&self, step: &Step) -> Vec<Self> {
        let asks = step.effects(ORDER, &self.order);
        let may_fly = self.flying.len() < self.tour.flying_max;
        match step {
            Step::Pay(attempt) => {
                let mut worlds = Self::provider_step(self.pay(*attempt), |world| world.hear_payment(*attempt));
                worlds.extend(may_fly.then(|| self.with_flying(Flying::Pay(*attempt))));
                worlds
            }
            Step::Poll(attempt) => Self::provider_step(vec![self.clone()], |world| {
                let refunded_minor = world.refunded_of(*attempt);
                world.tell(&Command::RecordRefunded { attempt: *attempt, refunded_minor });
                world.hear_payment(*attempt);
            }),
            Step::Void(attempt) => Self::provider_step(vec![self.void(*attempt)], |world| world.hear_payment(*attempt)),
            Step::Capture(attempt) => {
                let mut worlds =
                    Self::provider_step(vec![self.capture(*attempt)], |world| world.hear_payment(*attempt));
                worlds.extend(may_fly.then(|| self.with_flying(Flying::Capture(*attempt))));
                worlds
            }
            Step::Refund(number) => {
                let minor = self.order.refund(*number).unwrap().amount.minor;
                let mut worlds = Self::provider_step(self.refund(*number, minor), |world| world.hear_refund(*number));
                worlds.extend(may_fly.then(|| self.with_flying(Flying::Refund(*number, minor))));
                worlds
            }
            step if asks.is_empty() => {
                let mut world = self.clone();
                world.tell(&step.record(Vec::new()).unwrap());
                vec![world]
            }
            step => {
                // Each request: answered, done but not answered, lost, or late.
                let fates = if may_fly { 4_u32 } else { 3 };
                let all = fates.pow(u32::try_from(asks.len()).unwrap());
                (0..all).flat_map(|fate| self.asked(step, &asks, fate, fates)).collect()
            }
        }
    }

    fn with_flying(&self, flying: Flying) -> Self {
        let mut world = self.clone();
        world.flying.push(flying);
        world
    }

    /// The provider did something, or not; and if, the order is told of it, or the answer is lost.
    fn provider_step(mut done: Vec<Self>, told: impl Fn(&mut Self)) -> Vec<Self> {
        let mut worlds = done.clone();
        worlds.iter_mut().for_each(told);
        worlds.append(&mut done);
        worlds
    }

    fn hear_payment(&mut self, attempt: u32) {
        let state = self.provider.payments[&attempt].clone();
        let (reference, advance) = (name(attempt), Command::AdvancePayment { attempt, state });
        if let Err(Rejection::AmountMismatch { captured, .. }) = self.order.decide(&advance, self.now()) {
            let kind = IssueKind::AmountMismatch { attempt, reference, captured };
            self.tell(&Command::RaiseIssue { kind, notice: None });
        }
        self.tell(&advance);
    }

    fn hear_refund(&mut self, number: u32) {
        let state = self.provider.refunds[&number].1.clone();
        self.tell(&Command::AdvanceRefund { number, state });
    }

    /// The requests of a step with one fate each; what follows is recorded, or cut off by a crash.
    fn asked(&self, step: &Step, asks: &[Effect], fate: u32, fates: u32) -> Vec<Self> {
        let (mut world, mut told, mut fate) = (self.clone(), Vec::new(), fate);
        for ask in asks {
            let unknown = match ask {
                Effect::Cart(_) => EffectResult::Cart(None),
                Effect::Stock(..) => EffectResult::Stock(None),
            };
            told.push(match fate % fates {
                0 => world.arrive(ask),
                1 => {
                    let _ = world.arrive(ask);
                    unknown
                }
                2 => unknown,
                _ if world.flying.len() < self.tour.flying_max => {
                    world.flying.push(Flying::Ask(ask.clone()));
                    unknown
                }
                _ => return Vec::new(),
            });
            fate /= fates;
        }
        let mut recorded = world.clone();
        match step.record(told) {
            Ok(command) => recorded.tell(&command),
            Err(again) => again.known.is_some_and(|command| recorded.tell(&command)),
        };
        vec![recorded, world]
    }

    /// What a second driver may do: it has read the order as the first did, and its requests arrive whenever they do.
    fn second_driver(&self) -> Vec<Self> {
        let mut worlds = Vec::new();
        if let (Some(step @ Step::Reserve(_)), true) =
            (self.order.next_step(), self.flying.len() < self.tour.flying_max)
        {
            let requests = step.effects(ORDER, &self.order).into_iter();
            worlds.extend(requests.map(|request| self.with_flying(Flying::Ask(request))));
        }
        if self.arrived == 0 {
            let mut world = Self { arrived: ARRIVALS, ..self.clone() };
            let receive = inventory::Command::Receive { receipt: ReceiptId(1), quantity: ARRIVALS };
            tell(&mut world.stock[1], &receive, self.now()).unwrap();
            world.keys[2] = hash(&world.stock[1]);
            worlds.push(world);
        }
        worlds
    }

    pub(super) fn next(&self, tour: &Tour) -> Vec<Self> {
        let mut worlds = self.land();
        if tour.has_two_drivers {
            worlds.extend(self.second_driver());
        }
        worlds.extend(self.elsewhere());
        worlds.extend(self.people(tour));
        worlds.extend(self.raise_problem());
        worlds.extend(self.operators());
        for poll in [Poll::IfNeeded, Poll::Now] {
            if let Some(Turn::Do(step)) = self.order.turn(self.now(), poll) {
                worlds.extend(self.steps(&step));
            }
        }
        worlds
    }
}
