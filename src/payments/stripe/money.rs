//! Amounts in Stripe's units, and which of them it accepts. Stripe counts most currencies in the minor units of ISO
//! 4217, as the shop does, but not all. An amount that cannot be converted exactly is refused, because a rounded amount
//! is a wrong one.
//!
//! From Stripe's page on currencies (docs.stripe.com/currencies, "Zero-decimal currencies", "Special cases" and
//! "Minimum and maximum charge amounts"). May depend on `domain` and its neighbours.

use crate::{
    domain::money::{Currency, Money},
    payments::{AmountRefused, Unknown},
};

/// The minimum amounts that Stripe documents, in its units. They apply if the account settles in the currency. For
/// other currencies the minimum is that of the account's own currency, converted, which only Stripe knows.
const LEAST: [(&str, u64); 31] = [
    ("AED", 200),
    ("ARS", 50),
    ("AUD", 50),
    ("BRL", 50),
    ("CAD", 50),
    ("CHF", 50),
    ("COP", 50),
    ("CZK", 1_500),
    ("DKK", 250),
    ("EUR", 50),
    ("GBP", 30),
    ("HKD", 400),
    ("HUF", 17_500),
    ("IDR", 50),
    ("ILS", 50),
    ("INR", 50),
    ("JPY", 50),
    ("KRW", 50),
    ("MXN", 1_000),
    ("MYR", 200),
    ("NOK", 300),
    ("NZD", 50),
    ("PHP", 50),
    ("PLN", 200),
    ("RON", 200),
    ("RUB", 50),
    ("SEK", 300),
    ("SGD", 50),
    ("THB", 1_000),
    ("USD", 50),
    ("ZAR", 50),
];
/// The maximum amount of a card payment, in Stripe's units: twelve digits. American Express has nine; accounts, cards
/// and currencies may have a lower maximum, which only the answer shows. (The eight digits of Stripe's reference of
/// PaymentIntents are, by its page on currencies, those of payments without a card.)
const GREATEST: u64 = 999_999_999_999;
/// The currencies that Stripe counts in whole units.
const WHOLE: [&str; 15] =
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];
/// The currencies that Stripe counts in thousandths, whose last digit has to be zero.
const THOUSANDTHS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];
/// The currencies that have no minor unit any more, but are still counted in hundredths, whose last two digits have to
/// be zero.
const FORMER_HUNDREDTHS: [&str; 1] = ["ISK"];
/// The currencies that Stripe's page lists both among the whole units and among the former hundredths. A wrong choice
/// would be a factor of a hundred.
const AMBIGUOUS: [&str; 1] = ["UGX"];

/// Stripe's unit of a currency.
struct Counting {
    /// How many decimal digits its unit has.
    digits: u16,
    /// Every amount has to be a multiple of this.
    step: u64,
}

/// `None` if Stripe's unit of the currency is not certain.
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

/// Converts a number from one count of decimal digits to another; `None` if that is not exact.
fn rescaled(number: u64, from: u16, to: u16) -> Option<u64> {
    let factor = 10_u64.checked_pow(u32::from(from.abs_diff(to)))?;
    if to >= from { number.checked_mul(factor) } else { number.is_multiple_of(factor).then(|| number / factor) }
}

/// The amount for a request, in Stripe's units.
pub(super) fn amount_of(money: Money) -> Result<u64, AmountRefused> {
    let amount = counting(money.currency).and_then(|counting| {
        let amount = rescaled(money.minor, money.currency.minor_digits(), counting.digits)?;
        amount.is_multiple_of(counting.step).then_some(amount)
    });
    amount.ok_or(AmountRefused::NotSupported)
}

/// The amount for a request to charge a card, in Stripe's units.
pub(super) fn charge_of(money: Money) -> Result<u64, AmountRefused> {
    let amount = amount_of(money)?;
    let currency = money.currency;
    let limit = |amount: u64| money_of(amount, currency).map_err(|_| AmountRefused::NotSupported);
    let least = LEAST.iter().find(|(code, _)| *code == currency.code()).map_or(1, |(_, least)| *least);
    if amount < least {
        return Err(AmountRefused::TooSmall { least: limit(least)? });
    }
    if amount > GREATEST {
        let step = counting(currency).map_or(1, |counting| counting.step);
        return Err(AmountRefused::TooLarge { greatest: limit(GREATEST - GREATEST % step)? });
    }
    Ok(amount)
}

/// Reads an amount of an answer.
pub(super) fn money_of(amount: u64, currency: Currency) -> Result<Money, Unknown> {
    let minor = counting(currency).and_then(|counting| rescaled(amount, counting.digits, currency.minor_digits()));
    let money = minor.and_then(|minor| Money::new(minor, currency).ok());
    money.ok_or_else(|| Unknown::new(format!("Stripe's amount {amount} {currency} cannot be represented exactly")))
}

/// Reads a currency of an answer.
pub(super) fn currency_of(code: &str) -> Result<Currency, Unknown> {
    // Stripe writes currencies in lower case; anything else is not accepted.
    let is_small = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_lowercase());
    let known = is_small.then(|| code.to_ascii_uppercase().parse().ok()).flatten();
    known.ok_or_else(|| Unknown::new("the answer has no ISO 4217 currency"))
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
            (Money::AMOUNT_MAX, "ISK", Some(Money::AMOUNT_MAX * 100)),
        ];
        for (minor, code, amount) in said {
            assert_eq!(amount_of(money(minor, code)).ok(), amount, "{minor} {code}");
        }
    }

    #[test]
    fn charges_have_a_least_and_a_greatest_amount() {
        let small = |least: u64, code: &str| Err(AmountRefused::TooSmall { least: money(least, code) });
        let large = |greatest: u64, code: &str| Err(AmountRefused::TooLarge { greatest: money(greatest, code) });
        let cases = [
            (49, "USD", small(50, "USD")),
            (50, "USD", Ok(50)),
            (17_499, "HUF", small(17_500, "HUF")),
            (49, "JPY", small(50, "JPY")),
            (1, "VND", Ok(1)),
            (GREATEST, "USD", Ok(GREATEST)),
            (GREATEST + 1, "USD", large(GREATEST, "USD")),
            (GREATEST / 100 + 1, "ISK", large(GREATEST / 100, "ISK")),
            (GREATEST * 100 + 100, "MGA", large(GREATEST * 100, "MGA")),
            (GREATEST + 1, "KWD", large(GREATEST - 9, "KWD")),
            (1_005, "KWD", Err(AmountRefused::NotSupported)),
        ];
        for (minor, code, wanted) in cases {
            assert_eq!(charge_of(money(minor, code)), wanted, "{minor} {code}");
        }
    }

    #[test]
    fn amounts_that_cannot_be_represented_are_refused() {
        for (amount, code) in [(550, "ISK"), (u64::MAX, "USD"), (u64::MAX, "MGA"), (1, "UGX")] {
            assert!(money_of(amount, code.parse().unwrap()).is_err(), "{amount} {code}");
        }
        for code in ["", "USD", "us", "usdd", "zzz", "€"] {
            assert!(currency_of(code).is_err(), "{code:?}");
        }
        assert_eq!(currency_of("inr").unwrap(), Currency::INR);
        assert_eq!(code_of(Currency::INR), "inr");
    }

    /// What is tried against the fake provider is what is known here: one rule, written twice.
    #[cfg(feature = "cli")]
    #[test]
    fn the_fake_provider_takes_the_amounts_that_are_known_here() {
        let letters = || 'a'..='z';
        let codes =
            letters().flat_map(|one| letters().flat_map(move |two| letters().map(move |three| (one, two, three))));
        let codes = codes.map(|(one, two, three)| [one, two, three].iter().collect::<String>());
        let mut currencies = 0;
        for (code, currency) in codes.filter_map(|code| Some((code.clone(), currency_of(&code).ok()?))) {
            currencies += 1;
            let least = LEAST.iter().find(|(known, _)| *known == currency.code()).map_or(1, |(_, least)| *least);
            for amount in [least - 1, least, least + 1, 1_000, 1_001, 1_005, 1_010, 1_100, GREATEST, GREATEST + 1] {
                let theirs = souk_gateway_sim::amount_problem(amount, &code);
                let ours = money_of(amount, currency).ok().map(|money| charge_of(money).map_err(AmountRefused::code));
                match (theirs, ours) {
                    // Nothing is asked for zero, and nothing in a currency that is not counted for certain.
                    (_, _) if amount == 0 || AMBIGUOUS.contains(&currency.code()) => {}
                    // Currencies that no account can charge in, which only the answer tells.
                    (Some("invalid_currency"), _) => {}
                    (None, Some(Ok(asked))) => assert_eq!(asked, amount, "{code}"),
                    (Some("parameter_invalid_integer"), None | Some(Err("amount_not_supported"))) => {}
                    (Some(theirs), Some(Err(ours))) => assert_eq!(theirs, ours, "{amount} {code}"),
                    differs => panic!("{amount} {code}: {differs:?}"),
                }
            }
        }
        assert!(currencies > 150, "{currencies}");
    }

    fn any_currency() -> impl Strategy<Value = Currency> {
        let known = ["USD", "EUR", "INR", "JPY", "ISK", "HUF", "TWD", "KWD", "BHD", "MGA", "XPF", "UGX", "IQD"];
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
