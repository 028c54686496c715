//! A product's stock and a customer's cart, as those who only see answers can know them: the models that histories are
//! held against.
//!
//! Both begin unknown, and the first whole answer says what they are: a shop was there before its history began.
//!
//! Depends on `history` and `linear`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    history::{Cart, Line, Stock},
    linear::Model,
};
use crate::domain::cart::LINE_QUANTITY_MAX;

/// The stock of one product.
pub(super) struct StockModel;

/// What happens to stock.
#[derive(Debug, Clone)]
pub(super) enum StockOp {
    /// Somebody was shown it.
    Show(Stock),
    /// It grew or shrank by so much, once for each receipt; with what was shown after it.
    Adjust { delta: i64, receipt: Option<usize>, shown: Option<Stock> },
    /// A stock-taking.
    Count { on_hand: u64, shown: Option<Stock> },
    /// An order reserved so many.
    Reserve(u64),
    /// Its reservation was given back.
    Release(u64),
    /// Its reservation was sold.
    Fulfil(u64),
}

/// What is known of it.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct StockState {
    /// Received, sold, reserved; `None` before it was first shown.
    known: Option<(u64, u64, u64)>,
    receipts: BTreeSet<usize>,
}

impl StockState {
    fn shows(mut self, shown: Option<&Stock>) -> Option<Self> {
        let Some(shown) = shown else { return Some(self) };
        let sums_up = shown.on_hand.checked_add(shown.sold) == Some(shown.received)
            && shown.reserved.checked_add(shown.available) == Some(shown.on_hand);
        let known = (shown.received, shown.sold, shown.reserved);
        (sums_up && self.known.is_none_or(|before| before == known)).then(|| {
            self.known = Some(known);
            self
        })
    }

    fn with(&self, change: impl FnOnce(u64, u64, u64) -> Option<(u64, u64, u64)>) -> Option<Self> {
        let mut next = self.clone();
        if let Some((received, sold, reserved)) = self.known {
            let (received, sold, reserved) = change(received, sold, reserved)?;
            next.known = Some((received, sold, reserved));
            if sold.checked_add(reserved)? > received {
                return None;
            }
        }
        Some(next)
    }
}

impl Model for StockModel {
    type Op = StockOp;
    type State = StockState;

    fn step(state: &StockState, op: &StockOp) -> Option<StockState> {
        match op {
            StockOp::Show(shown) => state.clone().shows(Some(shown)),
            StockOp::Adjust { delta, receipt, shown } => {
                let repeated = receipt.is_some_and(|receipt| state.receipts.contains(&receipt));
                let delta = if repeated { 0 } else { *delta };
                let mut next = state
                    .with(|received, sold, reserved| Some((received.checked_add_signed(delta)?, sold, reserved)))?;
                next.receipts.extend(receipt);
                next.shows(shown.as_ref())
            }
            StockOp::Count { on_hand, shown } => {
                let counted = state.with(|_, sold, reserved| Some((on_hand.checked_add(sold)?, sold, reserved)));
                counted?.shows(shown.as_ref())
            }
            StockOp::Reserve(quantity) => {
                state.with(|received, sold, reserved| Some((received, sold, reserved.checked_add(*quantity)?)))
            }
            StockOp::Release(quantity) => {
                state.with(|received, sold, reserved| Some((received, sold, reserved.checked_sub(*quantity)?)))
            }
            StockOp::Fulfil(quantity) => state.with(|received, sold, reserved| {
                Some((received, sold.checked_add(*quantity)?, reserved.checked_sub(*quantity)?))
            }),
        }
    }
}

/// The cart of one customer.
pub(super) struct CartModel;

/// What happens to a cart. Orders and keys are named by numbers of the history's.
#[derive(Debug, Clone)]
pub(super) enum CartOp {
    /// The customer was shown it.
    Show(Cart),
    /// Lines were added, once for each key; with what was shown after it.
    Add { lines: Vec<Line>, key: Option<usize>, shown: Option<Cart> },
    /// A quantity was set.
    Set { line: Line, shown: Option<Cart> },
    /// A product was taken out.
    Remove(String),
    /// An order took these lines, or all.
    Take { order: usize, lines: Option<Vec<Line>> },
    /// An order gave back what it had taken.
    Return { order: usize },
}

/// What is known of it.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct CartState {
    /// Quantities by product; `None` before it was first shown.
    lines: Option<BTreeMap<String, u32>>,
    /// It has at least this version.
    version: u64,
    keys: BTreeSet<usize>,
    taken: BTreeMap<usize, Vec<Line>>,
}

/// Lines as a map: in which order a cart shows them is not promised.
fn quantities(lines: &[Line]) -> BTreeMap<String, u32> {
    lines.iter().cloned().collect()
}

impl CartState {
    fn shows(mut self, shown: Option<&Cart>) -> Option<Self> {
        let Some(shown) = shown else { return Some(self) };
        let lines = quantities(&shown.lines);
        let fits = self.lines.as_ref().is_none_or(|known| *known == lines) && shown.version >= self.version;
        fits.then(|| {
            (self.lines, self.version) = (Some(lines), shown.version);
            self
        })
    }

    fn changed(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }

    fn add(&mut self, lines: &[Line]) {
        let Some(known) = &mut self.lines else { return };
        for (product, quantity) in lines {
            let present = known.entry(product.clone()).or_default();
            *present = present.saturating_add(*quantity).min(LINE_QUANTITY_MAX);
        }
    }
}

impl Model for CartModel {
    type Op = CartOp;
    type State = CartState;

    fn step(state: &CartState, op: &CartOp) -> Option<CartState> {
        match op {
            CartOp::Show(shown) => state.clone().shows(Some(shown)),
            CartOp::Add { lines, key, shown } => {
                if key.is_some_and(|key| state.keys.contains(&key)) {
                    return state.clone().shows(shown.as_ref());
                }
                let mut next = state.changed();
                next.keys.extend(key);
                next.add(lines);
                next.shows(shown.as_ref())
            }
            CartOp::Set { line: (product, quantity), shown } => {
                let known = |lines: &BTreeMap<String, u32>| lines.get(product) == Some(quantity);
                let mut next = if state.lines.as_ref().is_none_or(known) { state.clone() } else { state.changed() };
                if let Some(lines) = &mut next.lines {
                    lines.insert(product.clone(), *quantity);
                }
                next.shows(shown.as_ref())
            }
            CartOp::Remove(product) => {
                let present = state.lines.as_ref().is_some_and(|lines| lines.contains_key(product));
                let mut next = if present { state.changed() } else { state.clone() };
                if let Some(lines) = &mut next.lines {
                    lines.remove(product);
                }
                Some(next)
            }
            CartOp::Take { order, lines } => {
                let mut next = state.changed();
                let Some(known) = &mut next.lines else { return Some(next) };
                let taken = lines.clone().unwrap_or_else(|| known.clone().into_iter().collect());
                for (product, quantity) in &taken {
                    let present = known.get_mut(product)?;
                    *present = present.checked_sub(*quantity)?;
                }
                known.retain(|_, quantity| *quantity > 0);
                next.taken.insert(*order, taken);
                (!next.taken[order].is_empty()).then_some(next)
            }
            CartOp::Return { order } => {
                let mut next = state.changed();
                let taken = next.taken.remove(order).unwrap_or_default();
                next.add(&taken);
                Some(next)
            }
        }
    }
}
