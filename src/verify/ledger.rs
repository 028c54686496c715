//! The provider's side of the money: its ledger, by order.
//!
//! Depends on `payments` and `domain`.

use std::{collections::BTreeMap, path::Path};

use super::VerifyError;
use crate::{
    domain::money::Money,
    payments::simulated::{LedgerLine, read_ledger},
};

/// What the provider has captured.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    /// The captures of each order, in the order in which they were made.
    pub captures: BTreeMap<String, Vec<Money>>,
    /// How many lines there are, declined charges included.
    pub lines: usize,
}

impl Ledger {
    pub(super) fn read(path: &Path) -> Result<Self, VerifyError> {
        let read = read_ledger(path);
        let lines = read.map_err(|error| VerifyError::File { path: path.to_owned(), problem: error.to_string() })?;
        let mut ledger = Self { lines: lines.len(), ..Self::default() };
        for LedgerLine { key, amount, declined, .. } in lines {
            if declined.is_none() {
                let order = key.split(':').next().unwrap_or_default().to_owned();
                ledger.captures.entry(order).or_default().push(amount);
            }
        }
        Ok(ledger)
    }

    pub(super) fn of(&self, order: &str) -> &[Money] {
        self.captures.get(order).map_or(&[], Vec::as_slice)
    }
}
