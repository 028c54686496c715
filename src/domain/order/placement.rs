//! What is frozen when an order is placed: lines, prices, charges, address. Later changes of the catalogue do not touch
//! it.
//!
//! Depends on `std`, `serde` and its neighbours.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{
    cart,
    entity::Timestamp,
    ids::{ProductId, SellerId, UserId},
    money::{Money, MoneyError},
    text::{Lines, is_blank, is_clean},
};

/// The longest field of an address, in bytes.
const ADDRESS_BYTES_MAX: usize = 200;

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

/// A postal address.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Address {
    pub name: String,
    /// Street and number.
    pub line1: String,
    pub line2: Option<String>,
    pub city: String,
    /// State or province, where the country has them.
    pub region: Option<String>,
    pub postal_code: String,
    /// ISO 3166-1 alpha-2, such as `IN`.
    pub country: String,
    /// Telephone, for the carrier.
    pub phone: Option<String>,
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
    /// A field of the address violates its rule.
    #[error("shipping_address/{field} {}", .field.rule())]
    Address { field: AddressField },
}

/// A field of an address that has a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum AddressField {
    Name,
    Line1,
    Line2,
    City,
    Region,
    PostalCode,
    Country,
    Phone,
}

impl AddressField {
    fn rule(self) -> String {
        match self {
            Self::Country => "must be two capital letters (ISO 3166-1)".to_owned(),
            Self::Name | Self::Line1 | Self::Line2 | Self::City | Self::Region | Self::PostalCode | Self::Phone => {
                format!("must be 1 to {ADDRESS_BYTES_MAX} bytes of text")
            }
        }
    }
}

/// Its name in JSON.
impl fmt::Display for AddressField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Name => "name",
            Self::Line1 => "line1",
            Self::Line2 => "line2",
            Self::City => "city",
            Self::Region => "region",
            Self::PostalCode => "postal_code",
            Self::Country => "country",
            Self::Phone => "phone",
        })
    }
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
        self.address.check()?;
        let computed = Self::total_of(&self.lines, self.shipping, self.tax)?;
        if computed == stated && computed == self.total {
            Ok(())
        } else {
            Err(InvalidPlacement::TotalMismatch { computed, stated })
        }
    }
}

impl Address {
    /// What remains of an address when its customer is erased: the country, which accounting needs for the tax.
    #[must_use]
    pub fn erased(&self) -> Self {
        Self {
            name: String::new(),
            line1: String::new(),
            line2: None,
            city: String::new(),
            region: None,
            postal_code: String::new(),
            country: self.country.clone(),
            phone: None,
        }
    }

    /// Whether its customer is erased: every address that was checked has a name.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.name.is_empty()
    }

    /// Checks every field against its limits.
    ///
    /// # Errors
    /// The first field that violates its rule.
    pub fn check(&self) -> Result<(), InvalidPlacement> {
        let fields = [
            (AddressField::Name, Some(&self.name)),
            (AddressField::Line1, Some(&self.line1)),
            (AddressField::Line2, self.line2.as_ref()),
            (AddressField::City, Some(&self.city)),
            (AddressField::Region, self.region.as_ref()),
            (AddressField::PostalCode, Some(&self.postal_code)),
            (AddressField::Phone, self.phone.as_ref()),
        ];
        for (field, text) in fields {
            let fits =
                |text: &&String| !is_blank(text) && text.len() <= ADDRESS_BYTES_MAX && is_clean(text, Lines::One);
            if !text.iter().all(fits) {
                return Err(InvalidPlacement::Address { field });
            }
        }
        let country = self.country.as_bytes();
        if country.len() != 2 || !country.iter().all(u8::is_ascii_uppercase) {
            return Err(InvalidPlacement::Address { field: AddressField::Country });
        }
        Ok(())
    }
}
