//! Money: whole minor units of one ISO 4217 currency. No floats, no negative amounts, no mixed currencies.
//!
//! Depends on `std`, `serde` and the table of `iso_currency`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An ISO 4217 currency by its three-letter code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The Indian rupee, the currency of the demo shop.
    pub const INR: Self = Self(*b"INR");

    /// The code, such as `INR`.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// The number of digits after the decimal point of an amount: 2 for INR, 0 for JPY, 3 for BHD.
    #[must_use]
    pub fn minor_digits(self) -> u16 {
        iso_currency::Currency::from_code(self.code()).and_then(|known| known.exponent()).unwrap_or(0)
    }
}

/// A text is not the ISO 4217 code of a currency in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("not the ISO 4217 code of a currency in use, such as INR")]
pub struct UnknownCurrency;

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        let known = iso_currency::Currency::from_code(code).ok_or(UnknownCurrency)?;
        // Codes of metals, of funds, of tests and for "no currency" are not money, and superseded currencies are out of
        // use.
        if known.is_special() || known.is_fund() || known.is_superseded().is_some() {
            return Err(UnknownCurrency);
        }
        code.as_bytes().try_into().map(Self).map_err(|_| UnknownCurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An amount of money in minor units (paise, cents) of its currency. As JSON: `{"amount": 129900, "currency": "INR"}`.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// At most [`Money::AMOUNT_MAX`].
    #[serde(rename = "amount")]
    pub minor: u64,
    pub currency: Currency,
}

/// Why a sum cannot be computed.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// The amounts have different currencies.
    #[error("cannot add {right} to {left}")]
    Mixed { left: Currency, right: Currency },
    /// The sum is larger than [`Money::AMOUNT_MAX`].
    #[error("the amount is larger than {} minor units", Money::AMOUNT_MAX)]
    TooLarge,
}

impl Money {
    /// The largest amount, in minor units: the largest integer that every JSON reader represents exactly (2^53 − 1, RFC
    /// 8259 section 6).
    pub const AMOUNT_MAX: u64 = (1 << 53) - 1;

    /// An amount of `minor` units.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] beyond [`Money::AMOUNT_MAX`].
    pub fn new(minor: u64, currency: Currency) -> Result<Self, MoneyError> {
        if minor > Self::AMOUNT_MAX { Err(MoneyError::TooLarge) } else { Ok(Self { minor, currency }) }
    }

    /// An amount of zero.
    #[must_use]
    pub fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// The sum of two amounts of one currency.
    ///
    /// # Errors
    /// [`MoneyError`] if the currencies differ or the sum is too large.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed { left: self.currency, right: other.currency });
        }
        Self::new(self.minor.checked_add(other.minor).ok_or(MoneyError::TooLarge)?, self.currency)
    }

    /// Multiplies the amount by `quantity`.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn times(self, quantity: u32) -> Result<Self, MoneyError> {
        Self::new(self.minor.checked_mul(u64::from(quantity)).ok_or(MoneyError::TooLarge)?, self.currency)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(self.currency.minor_digits());
        let text = format!("{:0width$}", self.minor, width = digits + 1);
        let (major, minor) = text.split_at(text.len() - digits);
        let point = if digits == 0 { "" } else { "." };
        write!(formatter, "{} {major}{point}{minor}", self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_metals_funds_and_superseded_currencies_are_refused() {
        let funds = ["BOV", "CHE", "CHW", "CLF", "COU", "MXV", "USN", "UYI", "UYW"];
        for code in ["XXX", "XTS", "XAU", "XAG", "XDR", "HRK", "ZZZ", "usd", ""].into_iter().chain(funds) {
            assert_eq!(code.parse::<Currency>(), Err(UnknownCurrency), "{code}");
        }
        for code in ["INR", "EUR", "KWD", "UGX", "XAF", "XOF", "XPF", "XCD"] {
            assert!(code.parse::<Currency>().is_ok(), "{code}");
        }
    }

    #[test]
    fn amounts_are_shown_with_the_digits_of_their_currency() {
        let shown = |minor, code: &str| Money::new(minor, code.parse().unwrap()).unwrap().to_string();
        assert_eq!(shown(129_900, "INR"), "INR 1299.00");
        assert_eq!(shown(5, "USD"), "USD 0.05");
        assert_eq!(shown(1299, "JPY"), "JPY 1299");
        assert_eq!(shown(1, "BHD"), "BHD 0.001");
    }

    #[test]
    fn sums_are_checked() {
        let inr = |minor| Money::new(minor, Currency::INR).unwrap();
        assert_eq!(inr(2).plus(inr(3)), Ok(inr(5)));
        assert_eq!(inr(2).times(3), Ok(inr(6)));
        assert_eq!(inr(Money::AMOUNT_MAX).plus(inr(1)), Err(MoneyError::TooLarge));
        assert_eq!(inr(Money::AMOUNT_MAX).times(u32::MAX), Err(MoneyError::TooLarge));
        let usd = Money::zero("USD".parse().unwrap());
        assert!(matches!(inr(1).plus(usd), Err(MoneyError::Mixed { .. })));
    }

    #[test]
    fn unknown_codes_are_refused() {
        for bad in ["", "inr", "IN", "INRR", "ZZZ", "€€€"] {
            assert!(bad.parse::<Currency>().is_err(), "{bad:?}");
        }
    }
}
