//! Amounts as Stripe counts them. It counts most currencies in the minor units of ISO 4217, as the shop does, but not all; what cannot
//! be said exactly is refused, for a rounded amount is a wrong one.
//!
//! From Stripe's page on currencies (docs.stripe.com/currencies). May depend on `domain`.

use crate::{
    domain::money::{Currency, Money},
    payments::Unknown,
};

/// Stripe cannot be asked for this amount: it does not count the currency, or not so finely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotSupported;

impl NotSupported {
    /// The reason code of the decline that follows from it, in the manner of Stripe's codes.
    pub(super) const REASON: &str = "amount_not_supported";
}

/// What Stripe counts in whole units.
const WHOLE: [&str; 15] =
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];
/// What Stripe counts in thousandths, whose last digit has to be zero.
const THOUSANDTHS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];
/// What has no minor unit any more, but is still counted in hundredths, of which the last two digits have to be zero.
const FORMER_HUNDREDTHS: [&str; 1] = ["ISK"];
/// What Stripe's page lists both among the whole units and among the former hundredths: an error would be a hundredfold.
const AMBIGUOUS: [&str; 1] = ["UGX"];

/// How Stripe counts a currency.
struct Counting {
    /// How many decimal digits its unit has.
    digits: u16,
    /// What every amount has to be a multiple of.
    step: u64,
}

/// `None` where it is not known for certain.
fn counting(currency: Currency) -> Option<Counting> {
    let code = currency.code();
    match currency.minor_digits() {
        _ if AMBIGUOUS.contains(&code) => None,
        _ if WHOLE.contains(&code) => Some(Counting { digits: 0, step: 1 }),
        _ if THOUSANDTHS.contains(&code) => Some(Counting { digits: 3, step: 10 }),
        _ if FORMER_HUNDREDTHS.contains(&code) => Some(Counting { digits: 2, step: 100 }),
        2 => Some(Counting { digits: 2, step: 1 }),
        _ => None,
    }
}

/// The number for another count of decimal digits; `None` where that is not exact.
fn rescaled(number: u64, from: u16, to: u16) -> Option<u64> {
    let factor = 10_u64.checked_pow(u32::from(from.abs_diff(to)))?;
    if to >= from { number.checked_mul(factor) } else { number.is_multiple_of(factor).then(|| number / factor) }
}

/// The amount for a request.
pub(super) fn amount_of(money: Money) -> Result<u64, NotSupported> {
    let amount = counting(money.currency).and_then(|counting| {
        let amount = rescaled(money.minor, money.currency.minor_digits(), counting.digits)?;
        amount.is_multiple_of(counting.step).then_some(amount)
    });
    amount.ok_or(NotSupported)
}

/// The money of an answer.
pub(super) fn money_of(amount: u64, currency: Currency) -> Result<Money, Unknown> {
    let minor = counting(currency).and_then(|counting| rescaled(amount, counting.digits, currency.minor_digits()));
    let money = minor.and_then(|minor| Money::new(minor, currency).ok());
    money.ok_or_else(|| Unknown::new(format!("Stripe's amount {amount} of {currency} is none of ours")))
}

/// The currency of an answer.
pub(super) fn currency_of(code: &str) -> Result<Currency, Unknown> {
    // Stripe writes small letters; nothing else is taken for a currency.
    let is_small = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_lowercase());
    let known = is_small.then(|| code.to_ascii_uppercase().parse().ok()).flatten();
    known.ok_or_else(|| Unknown::new("the answer has no currency of ISO 4217"))
}

/// The currency for a request.
pub(super) fn code_of(currency: Currency) -> String {
    currency.code().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(minor: u64, code: &str) -> Money {
        Money::new(minor, code.parse().unwrap()).unwrap()
    }

    #[test]
    fn amounts_are_those_of_the_providers_page() {
        let said = [
            (1_000, "USD", Some(1_000)),
            (129_900, "INR", Some(129_900)),
            (500, "JPY", Some(500)),
            (5, "ISK", Some(500)),
            (1_045, "HUF", Some(1_045)),
            (80_045, "TWD", Some(80_045)),
            (5_120, "KWD", Some(5_120)),
            (5_124, "KWD", None),
            (100, "MGA", Some(1)),
            (101, "MGA", None),
            (5, "UGX", None),
            (1_000, "IQD", None),
            (1, "CLF", None),
            (Money::AMOUNT_MAX, "ISK", Some(Money::AMOUNT_MAX * 100)),
        ];
        for (minor, code, amount) in said {
            assert_eq!(amount_of(money(minor, code)).ok(), amount, "{minor} {code}");
        }
    }

    #[test]
    fn amounts_that_are_none_of_ours_are_refused() {
        for (amount, code) in [(550, "ISK"), (u64::MAX, "USD"), (u64::MAX, "MGA"), (1, "UGX"), (1, "CLF")] {
            assert!(money_of(amount, code.parse().unwrap()).is_err(), "{amount} {code}");
        }
        for code in ["", "USD", "us", "usdd", "zzz", "€"] {
            assert!(currency_of(code).is_err(), "{code:?}");
        }
        assert_eq!(currency_of("inr").unwrap(), Currency::INR);
        assert_eq!(code_of(Currency::INR), "inr");
    }

    fn any_currency() -> impl Strategy<Value = Currency> {
        let known = ["USD", "EUR", "INR", "JPY", "ISK", "HUF", "TWD", "KWD", "BHD", "MGA", "XPF", "UGX", "IQD", "CLF"];
        prop::sample::select(known.to_vec()).prop_map(|code| code.parse().unwrap())
    }

    proptest! {
        #[test]
        fn what_can_be_asked_for_comes_back_as_the_same_money(minor in 0..=Money::AMOUNT_MAX, currency in any_currency()) {
            let asked = Money::new(minor, currency).unwrap();
            if let Ok(amount) = amount_of(asked) {
                prop_assert_eq!(money_of(amount, currency).unwrap(), asked);
            }
        }

        #[test]
        fn no_two_amounts_are_the_same_money(amount in any::<u64>(), currency in any_currency()) {
            if let Ok(money) = money_of(amount, currency)
                && let Ok(again) = amount_of(money)
            {
                prop_assert_eq!(again, amount);
            }
        }
    }
}
