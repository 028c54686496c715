//! The provider's side of the money: its ledger, by order.
//!
//! The built-in fake provider writes amounts as the shop does, `souk gateway-sim` as Stripe does, which counts some
//! currencies otherwise.
//!
//! Depends on `domain`, on `payments` for that and for the checksums of the built-in fake provider, and on `report`.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

use super::{
    VerifyError,
    report::{Invariant, Report},
};
use crate::{
    domain::money::Money,
    payments::{fake_provider::is_whole, stripe},
};

/// How Stripe's names of payments begin, which the lines of `souk gateway-sim` have and those of the built-in fake
/// provider do not.
const STRIPES: &str = "pi_";

/// What a line says about money. The built-in fake provider and `souk gateway-sim` both write more.
#[derive(Deserialize)]
struct LedgerLine {
    /// The order, the operation and its number, such as `ORDER:charge:1`.
    key: String,
    amount: Money,
    effect: String,
    /// The provider's name for the payment, where it has one.
    payment: Option<String>,
    /// Which refund, where it says so.
    object: Option<String>,
}

impl LedgerLine {
    /// The amount as the shop counts it.
    fn money(&self) -> Money {
        let is_stripes = self.payment.as_ref().is_some_and(|payment| payment.starts_with(STRIPES));
        let money = is_stripes.then(|| stripe::money_of(self.amount.minor, self.amount.currency)).flatten();
        money.unwrap_or(self.amount)
    }
}

/// The provider's captures and refunds.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    /// The captures of each order, in the order in which they were made.
    pub captures: BTreeMap<String, Vec<Money>>,
    /// The refunds of each order that did not fail, in the order in which they were made.
    pub refunds: BTreeMap<String, Vec<Money>>,
    /// How many lines there are, declined charges included.
    lines: usize,
    /// The numbers of lines that are not as they were written. They are not counted.
    damaged: Vec<usize>,
}

impl Ledger {
    pub(super) fn read(path: &Path) -> Result<Self, VerifyError> {
        let (mut ledger, mut refunded) = (Self::default(), Vec::new());
        let bytes = fs::read(path);
        let bytes = bytes.map_err(|error| VerifyError::File { path: path.to_owned(), problem: error.to_string() })?;
        for (number, line) in (1..).zip(String::from_utf8_lossy(&bytes).lines()) {
            if is_whole(line) == Some(false) {
                ledger.damaged.push(number);
                continue;
            }
            // A line that was cut short by a kill was never answered; others are not about money.
            let Ok(line) = serde_json::from_str::<LedgerLine>(line) else { continue };
            ledger.lines += 1;
            let (order, amount) = (line.key.split(':').next().unwrap_or_default().to_owned(), line.money());
            // An authorisation and its capture have a line each; only the capture moved money.
            match line.effect.as_str() {
                "captured" => ledger.captures.entry(order).or_default().push(amount),
                "refunded" => refunded.push((order, line.object, amount)),
                // It may have succeeded before, and come back.
                "refund_failed" if line.object.is_some() => refunded.retain(|(_, object, _)| *object != line.object),
                _ => {}
            }
        }
        for (order, _, amount) in refunded {
            ledger.refunds.entry(order).or_default().push(amount);
        }
        Ok(ledger)
    }

    /// Says how much was read, and which lines could not be.
    pub(super) fn look(&self, report: &mut Report) {
        report.look("ledger lines", self.lines);
        for number in &self.damaged {
            report.find(Invariant::I3, "the ledger", format!("line {number} is not as the provider wrote it"));
        }
    }

    pub(super) fn of(&self, order: &str) -> &[Money] {
        self.captures.get(order).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_those_of_the_shop_whichever_provider_wrote_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        let line = |order: &str, minor: u64, currency: &str, payment: &str| {
            format!(
                r#"{{"key":"{order}:charge:1","amount":{{"amount":{minor},"currency":"{currency}"}},"effect":"captured"{payment}}}"#
            )
        };
        let pi = r#","payment":"pi_1""#;
        let lines = [
            line("a", 50_000, "ISK", pi),
            line("b", 5, "MGA", pi),
            line("c", 500, "INR", pi),
            line("d", 500, "ISK", ""),
            line("e", 500, "MGA", r#","payment":"sim""#),
        ];
        fs::write(&path, lines.join("\n")).unwrap();
        let ledger = Ledger::read(&path).unwrap();
        let minor = |order: &str| ledger.of(order)[0].minor;
        assert_eq!(["a", "b", "c", "d", "e"].map(minor), [500; 5]);
    }

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
            line("a:refund:3", 70, r#","effect":"refunded","object":"re_3""#),
            line("a:refund:3", 70, r#","effect":"refund_failed","object":"re_3""#),
            line("b:charge:1", 300, r#","effect":"captured""#),
            line("b:create:1", 300, r#","effect":"created""#),
            r#"{"idempotency_key":"b:create:1","request":"/","status":200,"body":"{}"}"#.to_owned(),
            line("c:charge:1", 300, r#","effect":"declined""#),
            line("c:void:2", 300, r#","effect":"voided""#),
        ];
        fs::write(&path, lines.join("\n")).unwrap();
        let ledger = Ledger::read(&path).unwrap();
        let minors = |moved: &[Money]| moved.iter().map(|money| money.minor).collect::<Vec<_>>();
        assert_eq!(
            (minors(ledger.of("a")), minors(ledger.of("b")), minors(ledger.of("c"))),
            (vec![500], vec![300], vec![])
        );
        assert_eq!((minors(&ledger.refunds["a"]), ledger.refunds.len(), ledger.lines), (vec![200], 1, 10));
        assert!(ledger.damaged.is_empty(), "these lines have no checksums");
    }

    #[test]
    fn a_line_that_was_changed_is_found_and_not_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        let provider = crate::payments::fake_provider::FakeProvider::open_for(&path, 7).unwrap();
        for order in [1, 2] {
            let amount = Money::new(500, crate::domain::money::Currency::INR).unwrap();
            let payment = crate::payments::Payment {
                order: crate::domain::ids::OrderId(order),
                attempt: 1,
                amount,
                method: "tok_success".into(),
                capture: crate::domain::order::CaptureMode::AtOnce,
                requested_at: crate::domain::entity::Timestamp(0),
                reference: None,
            };
            provider.charge(&payment, None).unwrap();
        }
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, whole.replacen("500", "400", 1)).unwrap();
        let (mut report, ledger) = (Report::default(), Ledger::read(&path).unwrap());
        ledger.look(&mut report);
        assert_eq!((ledger.captures.len(), ledger.lines, &ledger.damaged[..]), (1, 1, &[2][..]));
        assert_eq!(report.findings.len(), 1);
        assert!(report.findings[0].what.contains("line 2"), "{:?}", report.findings);
    }
}
