//! A postal address, by the rules of its country.
//!
//! A field has letters of any script, and what shows nothing is not there: forms send optional fields empty. Of a
//! country the rules know whether it exists, whether it has postal codes, and which form these have. Depends on `std`,
//! `serde`, `thiserror` and its neighbours.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    countries::{self, Country, PostalCodes},
    text::{Lines, is_blank, is_clean},
};

/// The longest field of an address, in characters: more than fits on a label.
pub const FIELD_CHARACTERS_MAX: usize = 200;

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
    /// Empty where the country has none, or the address is known without.
    pub postal_code: String,
    /// ISO 3166-1 alpha-2, such as `IN`.
    pub country: String,
    /// Telephone, for the carrier.
    pub phone: Option<String>,
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

/// A field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field} {rule}")]
#[allow(missing_docs, reason = "the names say it")]
pub struct InvalidField {
    pub field: AddressField,
    pub rule: AddressRule,
}

/// The countries to which an address may belong: their two letters (ISO 3166-1 alpha-2), in no order.
pub fn countries() -> impl Iterator<Item = &'static str> {
    countries::codes()
}

/// The rule that a field of an address breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum AddressRule {
    /// There is nothing in it to be seen.
    #[error("must not be empty")]
    Missing,
    /// It is longer than a field may be.
    #[error("must have at most {FIELD_CHARACTERS_MAX} characters")]
    TooLong,
    /// It has a line break, a control character, or a lone mark of direction.
    #[error("must be one line of text without control characters")]
    NotOneLine,
    /// No country has this code.
    #[error("must be a country's two capital letters (ISO 3166-1 alpha-2)")]
    NoCountry,
    /// The country has no postal codes.
    #[error("must be left out: {country} has no postal codes")]
    NoPostalCodes {
        /// The country.
        country: String,
    },
    /// The country's postal codes look otherwise.
    #[error("must look like {forms} in {country} (N is a digit, A a letter)")]
    OtherForm {
        /// The country.
        country: String,
        /// How its postal codes look.
        forms: String,
    },
}

impl Address {
    /// The address without the optional fields in which nothing is to be seen.
    #[must_use]
    pub fn without_blanks(mut self) -> Self {
        for optional in [&mut self.line2, &mut self.region, &mut self.phone] {
            optional.take_if(|text| is_blank(text));
        }
        if is_blank(&self.postal_code) {
            self.postal_code.clear();
        }
        self
    }

    /// What remains of an address when its customer is erased: the country, which accounting needs for the tax.
    #[must_use]
    pub fn erased(&self) -> Self {
        Self { country: self.country.clone(), ..Self::default() }
    }

    /// Whether its customer is erased: every address that was checked has a name.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.name.is_empty()
    }

    /// Checks every field against its rules.
    ///
    /// # Errors
    /// Each field that breaks one, in their order.
    pub fn check(&self) -> Result<(), Vec<InvalidField>> {
        let texts = [
            (AddressField::Name, Some(&self.name)),
            (AddressField::Line1, Some(&self.line1)),
            (AddressField::Line2, self.line2.as_ref()),
            (AddressField::City, Some(&self.city)),
            (AddressField::Region, self.region.as_ref()),
            (AddressField::Phone, self.phone.as_ref()),
        ];
        let texts = texts.into_iter().filter_map(|(field, text)| Some((field, broken_by_text(text?)?)));
        let country = Country::of(&self.country);
        let code = country.and_then(|country| self.broken_by_code(country));
        let faults = texts
            .chain(code.map(|rule| (AddressField::PostalCode, rule)))
            .chain(country.is_none().then_some((AddressField::Country, AddressRule::NoCountry)));
        let faults: Vec<_> = faults.map(|(field, rule)| InvalidField { field, rule }).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn broken_by_code(&self, country: Country<'_>) -> Option<AddressRule> {
        let (is_there, of) = (!is_blank(&self.postal_code), self.country.clone());
        match country.postal_codes() {
            PostalCodes::None if is_there => Some(AddressRule::NoPostalCodes { country: of }),
            PostalCodes::Required if !is_there => Some(AddressRule::Missing),
            PostalCodes::Optional | PostalCodes::Required if is_there => (!country.has_postal_code(&self.postal_code))
                .then(|| AddressRule::OtherForm { country: of, forms: country.shown_forms() }),
            PostalCodes::None | PostalCodes::Optional | PostalCodes::Required => None,
        }
    }
}

fn broken_by_text(text: &str) -> Option<AddressRule> {
    if is_blank(text) {
        Some(AddressRule::Missing)
    } else if !is_clean(text, Lines::One) {
        Some(AddressRule::NotOneLine)
    } else if text.chars().count() > FIELD_CHARACTERS_MAX {
        Some(AddressRule::TooLong)
    } else {
        None
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

#[cfg(test)]
mod tests {
    use super::*;

    fn asha() -> Address {
        Address {
            name: "Asha Rao".into(),
            line1: "1 MG Road".into(),
            city: "Pune".into(),
            postal_code: "411001".into(),
            country: "IN".into(),
            ..Address::default()
        }
    }

    fn faults(address: &Address) -> Vec<(AddressField, String)> {
        let faults = address.check().err().unwrap_or_default();
        faults.into_iter().map(|fault| (fault.field, fault.rule.to_string())).collect()
    }

    #[test]
    fn letters_of_every_script_count_as_one_each() {
        for line1 in
            ["फ्लैट नंबर ४०३, तीसरी मंज़िल", "東京都千代田区", "ul. Świętokrzyska 1", "שדרות רוטשילד 1", &"字".repeat(200)]
        {
            assert_eq!(faults(&Address { line1: line1.into(), ..asha() }), [], "{line1}");
        }
        let long = Address { line1: "字".repeat(201), ..asha() };
        assert_eq!(faults(&long), [(AddressField::Line1, "must have at most 200 characters".into())]);
    }

    #[test]
    fn an_optional_field_that_shows_nothing_is_not_there() {
        for blank in ["", " ", "\u{200b}"] {
            let blank = || Some(blank.to_owned());
            let sent = Address { line2: blank(), region: blank(), phone: blank(), ..asha() };
            assert_eq!(sent.without_blanks(), asha());
        }
        let kept = Address { line2: Some(" 2nd floor".into()), ..asha() };
        assert_eq!(kept.clone().without_blanks(), kept);
    }

    #[test]
    fn every_broken_rule_is_named() {
        let bad = Address {
            name: "\u{200b}".into(),
            line1: "Flat 4\nRose House".into(),
            phone: Some("\0".into()),
            postal_code: "4110".into(),
            ..asha()
        };
        let (one_line, form) = ("must be one line of text without control characters", "must look like NNNNNN in IN");
        let found = faults(&bad);
        assert_eq!(
            found[..2],
            [(AddressField::Name, "must not be empty".into()), (AddressField::Line1, one_line.into())]
        );
        assert_eq!(found[2], (AddressField::Phone, one_line.into()));
        assert!(found[3].0 == AddressField::PostalCode && found[3].1.starts_with(form), "{found:?}");
        let nowhere = Address { country: "UK".into(), ..asha() };
        assert_eq!(faults(&nowhere)[0].0, AddressField::Country);
        assert_eq!(faults(&nowhere).len(), 1, "nobody knows the postal codes of no country");
    }

    #[test]
    fn a_country_has_postal_codes_of_its_own_or_none() {
        let address = |country: &str, postal_code: &str| Address {
            country: country.into(),
            postal_code: postal_code.into(),
            ..asha()
        };
        for (country, postal_code) in [("HK", ""), ("AE", ""), ("IE", ""), ("IE", "A65 F4E2"), ("US", "95014-1010")] {
            assert_eq!(faults(&address(country, postal_code)), [], "{country} {postal_code}");
        }
        let missing = faults(&address("US", " ").without_blanks());
        assert_eq!(missing, [(AddressField::PostalCode, "must not be empty".into())]);
        let too_much = faults(&address("HK", "999077"));
        assert_eq!(too_much, [(AddressField::PostalCode, "must be left out: HK has no postal codes".into())]);
    }
}
