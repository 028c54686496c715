//! The amounts that can be charged, by currency, in Stripe's units: hundredths, but thousandths or whole units for some
//! currencies.
//!
//! From Stripe's page on currencies (docs.stripe.com/currencies, "Minimum and maximum charge amounts"), by which card
//! payments have twelve digits at most, and those by American Express nine. Depends on no other file of its crate.

/// The documented minimum amounts. For other currencies Stripe's minimum is that of the account's own currency,
/// converted; here it is 1.
const LEAST: [(&str, u64); 31] = [
    ("aed", 200),
    ("ars", 50),
    ("aud", 50),
    ("brl", 50),
    ("cad", 50),
    ("chf", 50),
    ("cop", 50),
    ("czk", 1_500),
    ("dkk", 250),
    ("eur", 50),
    ("gbp", 30),
    ("hkd", 400),
    ("huf", 17_500),
    ("idr", 50),
    ("ils", 50),
    ("inr", 50),
    ("jpy", 50),
    ("krw", 50),
    ("mxn", 1_000),
    ("myr", 200),
    ("nok", 300),
    ("nzd", 50),
    ("php", 50),
    ("pln", 200),
    ("ron", 200),
    ("rub", 50),
    ("sek", 300),
    ("sgd", 50),
    ("thb", 1_000),
    ("usd", 50),
    ("zar", 50),
];
/// The maximum amount of most cards: twelve digits.
const GREATEST: u64 = 999_999_999_999;
/// The maximum amount of cards of American Express: nine digits.
const GREATEST_AMEX: u64 = 999_999_999;
/// The payment method that is such a card.
const AMEX: &str = "pm_card_amex";
/// The currencies counted in thousandths, whose last digit has to be zero.
const THOUSANDTHS: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];
/// The currencies that have no fraction, but are counted in hundredths that have to be zero.
const WHOLE_HUNDREDTHS: [&str; 2] = ["isk", "ugx"];
/// The ISO 4217 currencies in which no account can charge.
const UNSUPPORTED: [&str; 18] = [
    "btn", "clf", "cup", "ern", "iqd", "irr", "kpw", "lyd", "sdg", "ssp", "svc", "syp", "tmt", "uyi", "uyw", "ves",
    "xau", "xxx",
];

/// Why an amount cannot be charged: the code of the error, and the parameter that caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AmountError {
    pub(crate) code: &'static str,
    pub(crate) param: &'static str,
}

fn of(table: &[(&str, u64)], currency: &str) -> Option<u64> {
    table.iter().find(|(code, _)| *code == currency).map(|(_, amount)| *amount)
}

/// Why no card can be charged an amount in a currency, which is in lower case: the code of the error; `None` if it can.
#[must_use]
pub fn amount_problem(amount: u64, currency: &str) -> Option<&'static str> {
    check(amount, currency, "").err().map(|error| error.code)
}

/// Whether an amount can be charged in a currency, which is in lower case, with this payment method.
pub(crate) fn check(amount: u64, currency: &str, method: &str) -> Result<(), AmountError> {
    let is_code = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_lowercase());
    if !is_code || UNSUPPORTED.contains(&currency) {
        return Err(AmountError { code: "invalid_currency", param: "currency" });
    }
    let not_taken = |code| Err(AmountError { code, param: "amount" });
    let step = match currency {
        code if THOUSANDTHS.contains(&code) => 10,
        code if WHOLE_HUNDREDTHS.contains(&code) => 100,
        _ => 1,
    };
    match amount {
        0 => not_taken("parameter_invalid_integer"),
        amount if amount < of(&LEAST, currency).unwrap_or(1) => not_taken("amount_too_small"),
        amount if amount > (if method == AMEX { GREATEST_AMEX } else { GREATEST }) => not_taken("amount_too_large"),
        amount if !amount.is_multiple_of(step) => not_taken("parameter_invalid_integer"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_currency_has_a_minimum_and_a_maximum() {
        let cases = [
            (0, "usd", Err("parameter_invalid_integer")),
            (49, "usd", Err("amount_too_small")),
            (50, "usd", Ok::<(), &str>(())),
            (999_999_999_999, "usd", Ok(())),
            (1_000_000_000_000, "usd", Err("amount_too_large")),
            (17_499, "huf", Err("amount_too_small")),
            (49, "jpy", Err("amount_too_small")),
            (1_005, "kwd", Err("parameter_invalid_integer")),
            (1_010, "kwd", Ok(())),
            (550, "isk", Err("parameter_invalid_integer")),
            (1, "vnd", Ok(())),
            (500, "iqd", Err("invalid_currency")),
            (500, "USD", Err("invalid_currency")),
        ];
        for (amount, currency, taken) in cases {
            assert_eq!(amount_problem(amount, currency), taken.err(), "{amount} {currency}");
        }
        assert_eq!(check(999_999_999, "usd", AMEX), Ok(()));
        assert_eq!(check(1_000_000_000, "usd", AMEX).unwrap_err().code, "amount_too_large");
    }
}
