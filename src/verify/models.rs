//! Models of a product's stock and of a customer's cart, for the linearizability check.
//!
//! Both begin unknown, and the first complete answer sets them, because the shop existed before the history began.
//!
//! Depends on `history`, `linear` and `domain`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    history::{Cart, Line, Stock},
    linear::Model,
};
use crate::domain::cart::LINE_QUANTITY_MAX;

pub(super) struct StockModel;

/// An operation on stock.
#[derive(Debug, Clone)]
pub(super) enum StockOp {
    /// An answer showed it.
    Show(Stock),
    /// It changed by this amount, once for each receipt; then `shown` was the answer.
    Adjust { delta: i64, receipt: Option<usize>, shown: Option<Stock> },
    /// A stock-taking.
    Count { on_hand: u64, shown: Option<Stock> },
    /// An order reserved this many.
    Reserve(u64),
    /// A reservation was released.
    Release(u64),
    /// A reservation was sold.
    Fulfil(u64),
}

/// The state of stock, as far as it is known.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct StockState {
    /// Received, sold, reserved; `None` before the first answer.
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

pub(super) struct CartModel;

/// An operation on a cart. Orders and keys are numbers.
#[derive(Debug, Clone)]
pub(super) enum CartOp {
    /// An answer showed it.
    Show(Cart),
    /// Lines were added, once for each key; then `shown` was the answer.
    Add { lines: Vec<Line>, key: Option<usize>, shown: Option<Cart> },
    /// A quantity was set.
    Set { line: Line, shown: Option<Cart> },
    /// A product was removed.
    Remove(String),
    /// An order took these lines, or all.
    Take { order: usize, lines: Option<Vec<Line>> },
    /// An order returned what it had taken.
    Return { order: usize },
}

/// The state of a cart, as far as it is known.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct CartState {
    /// Quantities by product; `None` before the first answer.
    lines: Option<BTreeMap<String, u32>>,
    /// The version is at least this.
    version: u64,
    keys: BTreeSet<usize>,
    taken: BTreeMap<usize, Vec<Line>>,
}

/// Lines as a map, because the API does not promise their order.
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
