//! The provider's side of the money: its ledger, by order.
//!
//! Depends on `domain`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use serde::Deserialize;

use super::VerifyError;
use crate::domain::money::Money;

/// What a line says about money. The built-in provider and `souk gateway-sim` both write more.
#[derive(Deserialize)]
struct Line {
    /// The order, the operation and its number, such as `ORDER:charge:1`.
    key: String,
    amount: Money,
    effect: String,
}

/// The provider's captures and refunds.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    /// The captures of each order, in the order in which they were made.
    pub captures: BTreeMap<String, Vec<Money>>,
    /// The refunds of each order that did not fail, in the order in which they were made.
    #[allow(dead_code, reason = "read by the rules about refunds")]
    pub refunds: BTreeMap<String, Vec<Money>>,
    /// How many lines there are, declined charges included.
    pub lines: usize,
}

impl Ledger {
    pub(super) fn read(path: &Path) -> Result<Self, VerifyError> {
        let read = || -> io::Result<Vec<Line>> {
            let lines = BufReader::new(File::open(path)?).lines();
            // A line that was cut short by a kill was never answered; others are not about money.
            lines.filter_map(|line| line.map(|line| serde_json::from_str(&line).ok()).transpose()).collect()
        };
        let lines = read().map_err(|error| VerifyError::File { path: path.to_owned(), problem: error.to_string() })?;
        let mut ledger = Self { lines: lines.len(), ..Self::default() };
        for line in lines {
            // An authorisation and its capture have a line each; only the capture moved money.
            let moved = match line.effect.as_str() {
                "captured" => &mut ledger.captures,
                "refunded" => &mut ledger.refunds,
                _ => continue,
            };
            let order = line.key.split(':').next().unwrap_or_default().to_owned();
            moved.entry(order).or_default().push(line.amount);
        }
        Ok(ledger)
    }

    pub(super) fn of(&self, order: &str) -> &[Money] {
        self.captures.get(order).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_money_that_moved_is_counted_and_only_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        let line = |key: &str, minor: u64, more: &str| {
            format!(
                r#"{{"key":"{key}","amount":{{"amount":{minor},"currency":"INR"}},"method":"m","declined":null{more}}}"#
            )
        };
        let lines = [
            line("a:charge:1", 500, r#","effect":"held""#),
            line("a:capture:1", 500, r#","effect":"captured""#),
            line("a:refund:1", 200, r#","effect":"refunded""#),
            line("a:refund:2", 100, r#","effect":"refund_failed""#),
            line("b:charge:1", 300, r#","effect":"captured""#),
            line("b:create:1", 300, r#","effect":"created""#),
            r#"{"idempotency_key":"b:create:1","request":"/","status":200,"body":"{}"}"#.to_owned(),
            line("c:charge:1", 300, r#","effect":"declined""#),
            line("c:void:2", 300, r#","effect":"voided""#),
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let ledger = Ledger::read(&path).unwrap();
        let minors = |moved: &[Money]| moved.iter().map(|money| money.minor).collect::<Vec<_>>();
        assert_eq!(
            (minors(ledger.of("a")), minors(ledger.of("b")), minors(ledger.of("c"))),
            (vec![500], vec![300], vec![])
        );
        assert_eq!((minors(&ledger.refunds["a"]), ledger.refunds.len(), ledger.lines), (vec![200], 1, 8));
    }
}
