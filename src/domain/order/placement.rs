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
};

/// The longest field of an address, in bytes.
const ADDRESS_BYTES_MAX: usize = 200;

/// A line of an order, with its price as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What.
    pub product: ProductId,
    /// What it was called.
    pub title: String,
    /// Who sells it.
    pub seller: SellerId,
    /// Units.
    pub quantity: u32,
    /// The price of one.
    pub unit_price: Money,
}

/// Where an order goes.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Who receives it.
    pub name: String,
    /// Street and number.
    pub line1: String,
    /// Anything more.
    pub line2: Option<String>,
    /// Town.
    pub city: String,
    /// State or province, where the country has them.
    pub region: Option<String>,
    /// Postal code.
    pub postal_code: String,
    /// ISO 3166-1 alpha-2, such as `IN`.
    pub country: String,
    /// Telephone, for the carrier.
    pub phone: Option<String>,
}

/// All that is frozen in an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Who buys.
    pub customer: UserId,
    /// What; at least one line, one currency.
    pub lines: Vec<Line>,
    /// What shipping costs.
    pub shipping: Money,
    /// Tax on top of the prices.
    pub tax: Money,
    /// What is to be paid: lines, shipping and tax.
    pub total: Money,
    /// Where it goes, or went; [`Address::is_erased`] where its customer is erased.
    pub address: Address,
    /// The version of the cart that it was computed from.
    pub cart_version: u64,
    /// Hash of the request, the address in it: the same key with another one is refused. 0 where its customer is
    /// erased.
    pub fingerprint: u128,
    /// Until when it must be paid.
    pub deadline: Timestamp,
    /// When it was placed.
    pub at: Timestamp,
}

/// Why an order cannot be placed like this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPlacement {
    /// No lines.
    #[error("an order needs at least one line")]
    Empty,
    /// Too many lines.
    #[error("an order has at most {} lines", cart::LINES_MAX)]
    TooManyLines,
    /// The sum cannot be formed.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// The client expected to pay something else.
    #[error("the total is {computed}, not {stated}")]
    TotalMismatch {
        /// What the shop computes.
        computed: Money,
        /// What the client stated.
        stated: Money,
    },
    /// A field of the address breaks its rule.
    #[error("shipping_address/{field} {}", .field.rule())]
    Address {
        /// Which.
        field: AddressField,
    },
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
    /// What the lines and the charges come to.
    ///
    /// # Errors
    /// [`InvalidPlacement`] for no lines, too many, mixed currencies or too large a sum.
    pub fn total_of(lines: &[Line], shipping: Money, tax: Money) -> Result<Money, InvalidPlacement> {
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

    /// Holds it against its rules, and its total against what the client stated.
    ///
    /// # Errors
    /// The first rule that is broken.
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
    /// What is left of an address when its customer is erased: the country, which the books need for the tax.
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

    /// Whether its customer is erased: an address that was checked names somebody.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.name.is_empty()
    }

    /// Holds every field against its limits.
    ///
    /// # Errors
    /// The first field that breaks its rule.
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
            let fits = |text: &&String| {
                !text.trim().is_empty() && text.len() <= ADDRESS_BYTES_MAX && !text.chars().any(char::is_control)
            };
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
