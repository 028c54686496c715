//! The charges of an order on top of its goods: shipping and tax.
//!
//! Depends on `money`.

use crate::domain::money::{Money, MoneyError};

/// The flat rates of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// The price of shipping an order, in minor units of its currency.
    pub shipping_flat_minor: u64,
    /// The tax on top of the prices, in hundredths of a percent.
    pub tax_basis_points: u64,
}

/// The charges that are added to an order's subtotal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Charges {
    pub shipping: Money,
    pub tax: Money,
}

impl Rates {
    /// Shipping and tax for goods worth `subtotal`. Tax applies to the goods only and is rounded half up.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`].
    pub fn charges(self, subtotal: Money) -> Result<Charges, MoneyError> {
        let basis_points = subtotal.minor.checked_mul(self.tax_basis_points).ok_or(MoneyError::TooLarge)?;
        let tax_minor = basis_points.checked_add(5_000).ok_or(MoneyError::TooLarge)? / 10_000;
        Ok(Charges {
            shipping: Money::new(self.shipping_flat_minor, subtotal.currency)?,
            tax: Money::new(tax_minor, subtotal.currency)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;

    fn inr(minor: u64) -> Money {
        Money { minor, currency: Currency::INR }
    }

    fn charges(shipping_flat_minor: u64, tax_basis_points: u64, subtotal: u64) -> Result<(u64, u64), MoneyError> {
        let charges = Rates { shipping_flat_minor, tax_basis_points }.charges(inr(subtotal))?;
        assert_eq!((charges.shipping.currency, charges.tax.currency), (Currency::INR, Currency::INR));
        Ok((charges.shipping.minor, charges.tax.minor))
    }

    #[test]
    fn shipping_is_flat_and_tax_is_on_the_goods_alone() {
        assert_eq!(charges(0, 0, 10_000), Ok((0, 0)));
        assert_eq!(charges(999, 1_800, 10_000), Ok((999, 1_800)));
        assert_eq!(charges(999, 1_800, 0), Ok((999, 0)));
    }

    #[test]
    fn half_a_minor_unit_of_tax_is_rounded_up() {
        assert_eq!(charges(0, 5_000, 1), Ok((0, 1)), "0.5");
        assert_eq!(charges(0, 4_999, 1), Ok((0, 0)), "0.4999");
        assert_eq!(charges(0, 1_837, 1_000), Ok((0, 184)), "183.7");
    }

    #[test]
    fn charges_beyond_the_largest_amount_are_refused() {
        assert_eq!(charges(Money::AMOUNT_MAX + 1, 0, 1), Err(MoneyError::TooLarge), "shipping");
        assert_eq!(charges(0, 10_000, Money::AMOUNT_MAX), Err(MoneyError::TooLarge), "the product overflows");
        assert_eq!(charges(0, 2_000, Money::AMOUNT_MAX / 2), Ok((0, 900_719_925_474_099)));
    }
}
