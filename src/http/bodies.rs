//! The JSON shapes that several resources share.
//!
//! May depend on `domain` and `shop`.

use std::collections::BTreeMap;

use jiff::{fmt::temporal::Pieces, tz::Offset};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Problem;
use crate::domain::{self, entity::Timestamp, ids::ProductId};

/// An amount of money in minor units of an ISO 4217 currency.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Money {
    /// Minor units, such as paise or cents.
    #[schema(example = 129_900)]
    pub(super) amount: u64,
    /// ISO 4217 code.
    #[schema(example = "INR")]
    pub(super) currency: String,
}

impl From<domain::money::Money> for Money {
    fn from(money: domain::money::Money) -> Self {
        Self { amount: money.minor, currency: money.currency.code().to_owned() }
    }
}

/// An amount as a client states it: an object with its currency, or the bare minor units.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "must be a whole number of minor units, or an object of amount and currency")]
pub(super) enum StatedMoney {
    /// With its currency.
    Money(Money),
    /// Minor units of the cart's currency.
    Minor(u64),
}

/// A problem (RFC 9457). Some types have more members; docs/API.md lists them.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
#[allow(dead_code, reason = "it describes what error.rs writes")]
pub(super) struct ProblemBody {
    /// A stable URI of the problem's type.
    #[schema(example = "https://souk.example/problems/insufficient-stock")]
    r#type: String,
    /// A short summary of the type.
    title: String,
    /// The HTTP status code.
    #[schema(example = 409)]
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// The last segment of the type.
    #[schema(example = "insufficient-stock")]
    code: String,
    /// The path of the request.
    instance: String,
    /// Identifies the request in the shop's logs.
    trace_id: String,
    /// The fields of the body that break a rule.
    errors: Option<Vec<FieldError>>,
}

/// A field of the body that breaks a rule.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it describes what error.rs writes")]
pub(super) struct FieldError {
    /// What is wrong.
    detail: String,
    /// The field, as a JSON pointer.
    #[schema(example = "#/items/0/quantity")]
    pointer: String,
}

/// A line to put into the cart.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Item {
    #[schema(example = "demo-000007", min_length = 1, max_length = 64)]
    pub(super) product_id: String,
    /// The number of units.
    #[schema(example = 2, minimum = 1, maximum = 10_000)]
    pub(super) quantity: u32,
}

/// A time in RFC 3339, UTC, always with milliseconds: so the order of the texts is that of the times.
pub(super) fn time(at: Timestamp) -> String {
    let milliseconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX);
    format!("{at:.3}")
}

/// Which end of a day a day stands for, where a moment is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Day {
    Begins,
    Ends,
}

/// A moment as a client writes it: a time in RFC 3339, or a day (UTC). `None` if it is neither. What the shop cannot
/// count is its first or its last moment: no order is placed before the one or after the other.
pub(super) fn moment(text: &str, day: Day) -> Option<Timestamp> {
    let pieces = Pieces::parse(text).ok()?;
    let date = pieces.date();
    let at = match (pieces.time(), pieces.to_numeric_offset()) {
        (Some(time), Some(offset)) => offset.to_timestamp(date.to_datetime(time)),
        (None, None) if text.len() == "2026-11-30".len() => {
            let date = if day == Day::Ends { date.tomorrow() } else { Ok(date) };
            date.and_then(|date| Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)))
        }
        _ => return None,
    };
    let far = if date.year() < 1970 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    Some(Timestamp(u64::try_from(at.unwrap_or(far).as_millisecond()).unwrap_or(0)))
}

/// Names and values as an object; the last value of a name wins.
pub(super) fn object(pairs: &[(String, String)]) -> BTreeMap<&str, &str> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Parses a product id in a body.
pub(super) fn product_id(text: &str, pointer: &str) -> Result<ProductId, Problem> {
    text.parse().map_err(|error: domain::ids::InvalidId| Problem::invalid(pointer, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_days_have_two_ends() {
        let at = |text| moment(text, Day::Begins).map(time);
        assert_eq!(time(Timestamp(1_790_000_000_800)), "2026-09-21T14:13:20.800Z");
        assert_eq!(time(Timestamp(1_790_000_000_000)), "2026-09-21T14:13:20.000Z");
        assert_eq!(at("2026-09-21T14:13:20.8Z").as_deref(), Some("2026-09-21T14:13:20.800Z"));
        assert_eq!(at("2026-09-21T14:13:20+05:30").as_deref(), Some("2026-09-21T08:43:20.000Z"));
        assert_eq!(at("2026-09-21").as_deref(), Some("2026-09-21T00:00:00.000Z"));
        assert_eq!(moment("2026-09-21", Day::Ends).map(time).as_deref(), Some("2026-09-22T00:00:00.000Z"));
        for bad in ["", "yesterday", "2026-13-01", "20260921", "2026-09-21T14:13:20", "2026-09-21Z", "1790000000"] {
            assert_eq!(at(bad), None, "{bad}");
        }
        for early in ["1969-12-31", "0000-01-01", "0001-01-01T00:00:00Z", "1970-01-01T00:30:00+01:00"] {
            assert_eq!(moment(early, Day::Begins), Some(Timestamp(0)), "{early}");
        }
        for late in ["9999-12-31", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59"] {
            assert!(moment(late, Day::Ends).is_some_and(|at| time(at).starts_with("9999-12-30T22:")), "{late}");
        }
    }
}
