//! I9: turns each product's stock and each cart of a history into operations for the search in `linear`.
//!
//! An order's process manager acts without a call of the customer: it reserves, releases, sells and restocks, and moves
//! lines out of the cart and back. The history only bounds the time: after the call that began it, before the answer
//! that shows it.
//!
//! Depends on its neighbours.

use std::collections::BTreeMap;

use super::{
    history::{Answer, Call, Cart, History, Line, Outcome, RecordedCall, Stock},
    linear::{self, Model, SearchOutcome, Timed, WORK_MAX},
    models::{CartModel, CartOp, CartState, StockModel, StockOp, StockState},
    observed::Observed,
    placings::{Placing, Placings},
    report::{Invariant, Report},
};

/// The operations of one stock or cart, with a description of each for the report.
struct Story<O> {
    ops: Vec<Timed<O>>,
    told: Vec<String>,
}

impl<O> Default for Story<O> {
    fn default() -> Self {
        Self { ops: Vec::new(), told: Vec::new() }
    }
}

impl<O: std::fmt::Debug> Story<O> {
    fn push(&mut self, timed: Timed<O>, teller: &str) -> usize {
        self.told.push(format!("{teller}: {:?}", timed.op));
        self.ops.push(timed);
        self.ops.len() - 1
    }

    /// Adds a client's call: required if it was answered, optional if its outcome is unknown; a refused call adds
    /// nothing.
    fn call(&mut self, op: &RecordedCall, what: O) {
        let timed = |returned, required| Timed {
            op: what,
            invoked: op.invoked,
            returned,
            required,
            after: None,
            instead_of: None,
        };
        let timed = match op.outcome {
            Outcome::Ok(_) => timed(op.returned.unwrap_or(u64::MAX), true),
            Outcome::Unknown(_) => timed(u64::MAX, false),
            Outcome::Fail(_) => return,
        };
        self.push(timed, &format!("call {}", op.op));
    }
}

/// Assigns numbers to keys and receipts, as the models need them.
#[derive(Default)]
struct Numbers(BTreeMap<String, usize>);

impl Numbers {
    fn of(&mut self, name: Option<&String>) -> Option<usize> {
        let next = self.0.len();
        name.map(|name| *self.0.entry(name.clone()).or_insert(next))
    }
}

/// Checks every product and every cart in the history.
pub(super) fn check(history: &History, placings: &Placings<'_>, observed: Option<&Observed>, report: &mut Report) {
    report.check(Invariant::I9);
    let carts = cart_calls(history);
    for (customer, calls) in &carts {
        let story = cart_story(calls, customer, placings, true);
        if judge::<CartModel>(CartState::default(), &story, &format!("the cart of {customer}"), report, Invariant::I9) {
            continue;
        }
        // If the history is possible without keys, then the fault is with the keys.
        let keyless = cart_story(calls, customer, placings, false);
        let explained = linear::check::<CartModel>(CartState::default(), &keyless.ops, WORK_MAX);
        if explained == SearchOutcome::Linearizable {
            let what = "its cart can only be explained by requests with one key that were done twice";
            report.find(Invariant::I7, customer, what);
        }
    }
    report.look("carts", carts.len());
    let mut open = 0;
    let claims: Vec<_> = placings.all.iter().map(|placing| claim(placing, carts.get(placing.customer))).collect();
    let unknown = claims.iter().any(Option::is_none);
    for (product, calls) in stock_calls(history) {
        report.look("stocks", 1);
        if unknown {
            open += 1;
            continue;
        }
        let consistent = observed.filter(|observed| observed.consistent);
        let last = consistent.and_then(|observed| observed.stocks.get(product)).map(|observed| observed.stock);
        let story = stock_story(product, &calls, placings, &claims, last);
        judge::<StockModel>(StockState::default(), &story, &format!("the stock of {product}"), report, Invariant::I9);
    }
    if open > 0 {
        let why = format!("the stock of {open} products: a checkout of a cart that was never shown has no answer");
        report.leave_open(Invariant::I9, why);
    }
}

fn judge<M: Model>(
    initial: M::State,
    story: &Story<M::Op>,
    subject: &str,
    report: &mut Report,
    invariant: Invariant,
) -> bool {
    match linear::check::<M>(initial, &story.ops, WORK_MAX) {
        SearchOutcome::Linearizable => true,
        SearchOutcome::Impossible { stuck_at } => {
            let what = format!("no order of the calls explains the answers; {} does not fit", story.told[stuck_at]);
            report.find(invariant, subject, what);
            false
        }
        SearchOutcome::Undecided => {
            report
                .undecided
                .push((invariant, format!("{subject}: the search of {} calls is too long", story.ops.len())));
            true
        }
    }
}

fn cart_calls(history: &History) -> BTreeMap<&str, Vec<&RecordedCall>> {
    let mut carts: BTreeMap<&str, Vec<&RecordedCall>> = BTreeMap::new();
    for op in &history.ops {
        if let Call::CartRead { customer }
        | Call::CartAdd { customer, .. }
        | Call::CartSet { customer, .. }
        | Call::CartRemove { customer, .. } = &op.call
        {
            carts.entry(customer).or_default().push(op);
        }
    }
    carts
}

fn cart_of(op: &RecordedCall) -> Option<Cart> {
    match op.answer() {
        Some(Answer::Cart(cart)) => Some(cart.clone()),
        _ => None,
    }
}

fn cart_story(calls: &[&RecordedCall], customer: &str, placings: &Placings<'_>, with_keys: bool) -> Story<CartOp> {
    let (mut story, mut keys) = (Story::default(), Numbers::default());
    for op in calls {
        let shown = cart_of(op);
        let what = match &op.call {
            Call::CartRead { .. } => match shown {
                Some(cart) => CartOp::Show(cart),
                None => continue,
            },
            Call::CartAdd { items, key, .. } => {
                CartOp::Add { lines: items.clone(), key: keys.of(key.as_ref().filter(|_| with_keys)), shown }
            }
            Call::CartSet { product, quantity, .. } => CartOp::Set { line: (product.clone(), *quantity), shown },
            Call::CartRemove { product, .. } => CartOp::Remove(product.clone()),
            _ => continue,
        };
        story.call(op, what);
    }
    let own = placings.all.iter().enumerate().filter(|(_, placing)| placing.customer == customer);
    for (order, placing) in own {
        // An order that ended before it was seen awaiting payment may never have reserved anything.
        let required = placing.reserved_by.is_some();
        if !required && !placing.unknown && !placing.refused_stock && placing.acknowledged.is_none() {
            continue;
        }
        let lines = placing.acknowledged.map(|order| &order.lines).or(placing.lines).cloned();
        let returned = if required { placing.acknowledged_by } else { placing.answered };
        let take = Timed {
            op: CartOp::Take { order, lines },
            invoked: placing.invoked,
            returned,
            required,
            after: None,
            instead_of: None,
        };
        let teller = placing.acknowledged.map_or("a refused or unanswered checkout", |order| order.order.as_str());
        let take = story.push(take, teller);
        if placing.confirmed_by.is_none() {
            let give_back = Timed {
                op: CartOp::Return { order },
                invoked: placing.invoked,
                returned: placing.ended_by.unwrap_or(u64::MAX),
                required: required && placing.ended_by.is_some(),
                after: Some(take),
                instead_of: None,
            };
            story.push(give_back, teller);
        }
    }
    story
}

/// The lines that a checkout may have reserved; `None` if they are unknown.
fn claim(placing: &Placing<'_>, calls: Option<&Vec<&RecordedCall>>) -> Option<Vec<Line>> {
    if let Some(order) = placing.acknowledged {
        return Some(order.lines.clone());
    }
    if !placing.unknown && !placing.refused_stock {
        return Some(Vec::new());
    }
    if let Some(lines) = placing.lines {
        return Some(lines.clone());
    }
    // The whole cart as it was last shown, unless it was changed since.
    let before = || calls.into_iter().flatten().filter(|op| op.invoked < placing.invoked);
    let shown = before().filter(|op| op.returned.is_some_and(|at| at <= placing.invoked));
    let (op, cart) = shown.filter_map(|op| Some((op, cart_of(op)?))).max_by_key(|(op, _)| op.returned)?;
    let changes = |later: &&&RecordedCall| !matches!(later.call, Call::CartRead { .. }) && later.op != op.op;
    let touched = before().filter(changes).any(|later| later.returned.is_none_or(|at| Some(at) > op.returned));
    (!touched).then_some(cart.lines)
}

fn stock_calls(history: &History) -> BTreeMap<&str, Vec<&RecordedCall>> {
    let mut stocks: BTreeMap<&str, Vec<&RecordedCall>> = BTreeMap::new();
    for op in &history.ops {
        if let Call::StockRead { product }
        | Call::StockReceive { product, .. }
        | Call::StockAdjust { product, .. }
        | Call::StockSet { product, .. } = &op.call
        {
            stocks.entry(product).or_default().push(op);
        }
    }
    stocks
}

fn stock_story(
    product: &str,
    calls: &[&RecordedCall],
    placings: &Placings<'_>,
    claims: &[Option<Vec<Line>>],
    last: Option<Stock>,
) -> Story<StockOp> {
    let (mut story, mut receipts) = (Story::default(), Numbers::default());
    for op in calls {
        let shown = match op.answer() {
            Some(Answer::Stock(stock)) => Some(*stock),
            _ => None,
        };
        let adjust = |delta, receipt| StockOp::Adjust { delta, receipt, shown };
        let what = match &op.call {
            Call::StockRead { .. } => match shown {
                Some(stock) => StockOp::Show(stock),
                None => continue,
            },
            Call::StockReceive { quantity, receipt, .. } => {
                adjust(i64::try_from(*quantity).unwrap_or(i64::MAX), receipts.of(receipt.as_ref()))
            }
            Call::StockAdjust { delta, receipt, .. } => adjust(*delta, receipts.of(receipt.as_ref())),
            Call::StockSet { on_hand, .. } => StockOp::Count { on_hand: *on_hand, shown },
            _ => continue,
        };
        story.call(op, what);
    }
    for (placing, claim) in placings.all.iter().zip(claims) {
        let lines = claim.iter().flatten().filter(|(wanted, _)| wanted == product);
        let quantity: u64 = lines.map(|(_, quantity)| u64::from(*quantity)).sum();
        // If an order has only one line and was refused for lack of stock, that line was not reserved.
        let alone = claim.as_ref().is_some_and(|lines| lines.len() < 2);
        if quantity > 0 && !(alone && placing.refused_stock && !placing.unknown && placing.acknowledged.is_none()) {
            reservation(&mut story, placing, quantity);
        }
    }
    if let Some(last) = last {
        let ended = |op: &Timed<StockOp>| op.returned.max(op.invoked);
        let end = story.ops.iter().map(ended).filter(|at| *at < u64::MAX).max().unwrap_or(0);
        let last = Timed {
            op: StockOp::Show(last),
            invoked: end + 1,
            returned: end + 1,
            required: true,
            after: None,
            instead_of: None,
        };
        story.push(last, "the shop at the end");
    }
    story
}

/// Adds an order's reservation and its end.
fn reservation(story: &mut Story<StockOp>, placing: &Placing<'_>, quantity: u64) {
    let teller = placing.acknowledged.map_or("a refused or unanswered checkout", |order| order.order.as_str());
    let required = placing.reserved_by.is_some();
    let timed = |op, invoked, returned: Option<u64>, required, after, instead_of| Timed {
        op,
        invoked,
        returned: returned.unwrap_or(u64::MAX),
        required,
        after,
        instead_of,
    };
    let late = if placing.unknown || placing.acknowledged.is_some() { None } else { Some(placing.answered) };
    let by = placing.reserved_by.or(late);
    let reserve = story.push(timed(StockOp::Reserve(quantity), placing.invoked, by, required, None, None), teller);
    let mut release = None;
    if placing.confirmed_by.is_none() {
        let surely = required && placing.ended_by.is_some();
        let by = placing.ended_by;
        let op = StockOp::Release(quantity);
        release = Some(story.push(timed(op, placing.invoked, by, surely, Some(reserve), None), teller));
    }
    let sold_or_open = placing.confirmed_by.is_some() || placing.ended_by.is_none();
    if let Some(invoked) = placing.payment_invoked.filter(|_| sold_or_open) {
        let by = placing.confirmed_by;
        let op = StockOp::Fulfil(quantity);
        let fulfil = story.push(timed(op, invoked, by, by.is_some(), Some(reserve), release), teller);
        if let Some(release) = release {
            story.ops[release].instead_of = Some(fulfil);
        } else if let Some(invoked) = placing.cancel_invoked {
            // A cancellation after the sale returns the units as a receipt.
            let delta = i64::try_from(quantity).unwrap_or(i64::MAX);
            let restock = StockOp::Adjust { delta, receipt: None, shown: None };
            let by = placing.ended_by;
            story.push(timed(restock, invoked, by, by.is_some(), Some(fulfil), None), teller);
        }
    }
}
