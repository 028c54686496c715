//! What is frozen when an order is placed: lines, prices, charges, address. Later changes of the catalogue do not touch
//! it.
//!
//! Depends on `serde` and its neighbours.

use serde::{Deserialize, Serialize};

use crate::domain::{
    address::{Address, InvalidField},
    cart,
    entity::Timestamp,
    ids::{ProductId, SellerId, UserId},
    money::{Money, MoneyError},
};

/// A line of an order. Its price is the one at the time of the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct OrderLine {
    pub product: ProductId,
    /// The product's title at the time of the order.
    pub title: String,
    pub seller: SellerId,
    pub quantity: u32,
    /// The price of one unit.
    pub unit_price: Money,
}

/// All that is frozen in an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Placement {
    pub customer: UserId,
    /// At least one line; all in one currency.
    pub lines: Vec<OrderLine>,
    pub shipping: Money,
    /// The tax on top of the prices.
    pub tax: Money,
    /// The amount to pay: lines, shipping and tax.
    pub total: Money,
    /// The shipping address; after the customer is erased, [`Address::is_erased`].
    pub address: Address,
    /// The version of the cart from which the order was computed.
    pub cart_version: u64,
    /// Hash of the request, including the address: the same key with another request is rejected. 0 after the customer
    /// is erased.
    pub fingerprint: u128,
    /// The order has to be paid until then.
    pub deadline: Timestamp,
    /// When it was placed.
    pub at: Timestamp,
}

/// Why an order cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum InvalidPlacement {
    /// It has no lines.
    #[error("an order needs at least one line")]
    Empty,
    /// It has too many lines.
    #[error("an order has at most {} lines", cart::LINES_MAX)]
    TooManyLines,
    /// The sum cannot be computed.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The client stated another total.
    #[error("the total is {computed}, not {stated}")]
    TotalMismatch {
        /// The total that the shop computes.
        computed: Money,
        /// The total that the client stated.
        stated: Money,
    },
    /// Fields of the address break rules.
    #[error("{}", told(.0))]
    Address(Vec<InvalidField>),
}

impl Placement {
    /// The sum of the lines and the charges.
    ///
    /// # Errors
    /// [`InvalidPlacement`] if there are no lines, too many, mixed currencies, or too large a sum.
    pub fn total_of(lines: &[OrderLine], shipping: Money, tax: Money) -> Result<Money, InvalidPlacement> {
        if lines.is_empty() {
            return Err(InvalidPlacement::Empty);
        }
        if lines.len() > cart::LINES_MAX {
            return Err(InvalidPlacement::TooManyLines);
        }
        let mut total = shipping.plus(tax)?;
        for line in lines {
            total = total.plus(line.unit_price.times(line.quantity)?)?;
        }
        Ok(total)
    }

    /// Checks the placement against its rules, and its total against the one that the client stated.
    ///
    /// # Errors
    /// The first rule that is violated.
    pub fn check(&self, stated: Money) -> Result<(), InvalidPlacement> {
        self.address.check().map_err(InvalidPlacement::Address)?;
        let computed = Self::total_of(&self.lines, self.shipping, self.tax)?;
        if computed == stated && computed == self.total {
            Ok(())
        } else {
            Err(InvalidPlacement::TotalMismatch { computed, stated })
        }
    }
}

fn told(faults: &[InvalidField]) -> String {
    let told = |fault: &InvalidField| format!("shipping_address/{fault}");
    faults.iter().map(told).collect::<Vec<_>>().join("; ")
}
