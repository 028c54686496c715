//! What a client accepts: media types by `Accept`, content codings by `Accept-Encoding` (RFC 9110, 12.5).
//!
//! Depends on its neighbours.

use axum::http::{HeaderMap, HeaderName, header};

use super::{
    coding::Coding,
    responses::{JSON, PROBLEM_JSON},
};

/// The weight of a member without `q`, in thousandths.
const WEIGHT_MAX: u16 = 1_000;

/// Whether the client takes an answer of this media type. Who takes problems takes JSON, which they are.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    if !headers.contains_key(header::ACCEPT) {
        return true;
    }
    if let Some(weight) = weight(headers, media_type) {
        return weight > 0;
    }
    let mut ranges = weighted(headers, &header::ACCEPT).peekable();
    let takes_problems = |(range, weight): (&str, u16)| weight > 0 && range.eq_ignore_ascii_case(PROBLEM_JSON);
    ranges.peek().is_none() || media_type == JSON && ranges.any(takes_problems)
}

/// How much the client likes a media type; `None` if it does not say.
fn weight(headers: &HeaderMap, media_type: &str) -> Option<u16> {
    let kind = media_type.split('/').next().unwrap_or_default();
    let mut best = None;
    for (range, weight) in weighted(headers, &header::ACCEPT) {
        let (range_kind, subtype) = range.split_once('/').unwrap_or((range, ""));
        let precision = if range.eq_ignore_ascii_case(media_type) {
            3
        } else if range_kind.eq_ignore_ascii_case(kind) && subtype == "*" {
            2
        } else if range == "*/*" {
            1
        } else {
            continue;
        };
        // The most precise range decides; of two such, the greater weight.
        best = best.max(Some((precision, weight)));
    }
    best.map(|(_, weight)| weight)
}

/// Whether the client takes an answer in this content coding.
pub(super) fn takes(headers: &HeaderMap, coding: Coding) -> bool {
    let of = |wanted: &str| {
        let mut members = weighted(headers, &header::ACCEPT_ENCODING);
        members.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, weight)| weight)
    };
    of(coding.name()).or_else(|| of("*")).is_some_and(|weight| weight > 0)
}

/// Whether the client names this media type and wants it at least as much as the other.
pub(super) fn prefers(headers: &HeaderMap, media_type: &str, other: &str) -> bool {
    let weight = |of: &str| {
        let named = weighted(headers, &header::ACCEPT).filter(|(range, _)| range.eq_ignore_ascii_case(of));
        named.map(|(_, weight)| weight).max().unwrap_or(0)
    };
    let wanted = weight(media_type);
    wanted > 0 && wanted >= weight(other)
}

/// The content coding to answer in: the one with the greatest weight, unless the client would rather have none.
pub(super) fn coding(headers: &HeaderMap) -> Option<Coding> {
    if !headers.contains_key(header::ACCEPT_ENCODING) {
        return None;
    }
    let (mut named, mut others, mut identity) = ([None; Coding::ALL.len()], 0, 0);
    for (name, weight) in weighted(headers, &header::ACCEPT_ENCODING) {
        if name == "*" {
            others = weight;
        } else if name.eq_ignore_ascii_case("identity") {
            identity = weight;
        } else if let Some(coding) = Coding::named(name) {
            named[coding as usize] = Some(weight);
        }
    }
    let mut best = (None, identity.max(1));
    for (coding, weight) in Coding::ALL.into_iter().zip(named) {
        let weight = weight.unwrap_or(others);
        if weight > best.1 || weight == best.1 && best.0.is_none() {
            best = (Some(coding), weight);
        }
    }
    best.0
}

/// The members of a list with their weights in thousandths. One whose weight cannot be read is left out.
fn weighted<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = (&'a str, u16)> {
    let texts = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).filter_map(|member| {
        let mut parts = member.split(';').map(str::trim);
        let value = parts.next().filter(|value| !value.is_empty())?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some((value, weight.map_or(Some(WEIGHT_MAX), thousandths)?))
    })
}

/// `0`, `1`, or a fraction of at most three digits.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let weight = whole.parse::<u16>().ok()?.checked_mul(WEIGHT_MAX)? + format!("{fraction:0<3}").parse::<u16>().ok()?;
    (weight <= WEIGHT_MAX).then_some(weight)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_most_precise_media_range_decides() {
        for (accept, expected) in [
            ("", true),
            ("*/*", true),
            ("application/*", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/html, application/json;q=0.1", true),
            ("text/html;q=0.9, */*;q=0.1", true),
            ("application/problem+json", true),
            ("application/json, application/problem+json", true),
            ("application/xml", false),
            ("text/*", false),
            ("application/json;q=0", false),
            ("application/json;q=0.000, */*", false),
            ("application/json;q=0, application/problem+json", false),
            ("*/*;q=0", false),
            ("application/*;q=0, */*", false),
            ("text/event-stream", false),
            ("nonsense", false),
        ] {
            assert_eq!(accepts(&with(header::ACCEPT, accept), JSON), expected, "{accept}");
        }
        assert!(accepts(&HeaderMap::new(), JSON));
        assert!(accepts(&with(header::ACCEPT, "text/event-stream"), "text/event-stream"));
        assert!(!accepts(&with(header::ACCEPT, "application/problem+json"), "text/event-stream"));
    }

    #[test]
    fn a_media_type_is_preferred_if_it_is_named_and_wanted_most() {
        let prefers = |value| prefers(&with(header::ACCEPT, value), "a/open", "a/text");
        for value in ["a/open", "a/text;q=0.3, a/open;version=1.0.0;q=0.5, */*;q=0.2", "a/text, A/Open", "a/open;q=0.1"]
        {
            assert!(prefers(value), "{value}");
        }
        for value in ["*/*", "a/text", "a/open;q=0", "a/open;q=0.4, a/text;q=0.5", ""] {
            assert!(!prefers(value), "{value}");
        }
    }

    #[test]
    fn the_greatest_weight_chooses_the_coding() {
        for (accepted, expected) in [
            ("", None),
            ("gzip", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip, deflate, br", Some(Coding::Brotli)),
            ("gzip;q=1.0, br;q=0.5", Some(Coding::Gzip)),
            ("gzip;q=0.001", Some(Coding::Gzip)),
            ("*", Some(Coding::Zstd)),
            ("*, zstd;q=0", Some(Coding::Brotli)),
            ("identity", None),
            ("identity, gzip;q=0.5", None),
            ("gzip;q=0", None),
            ("*;q=0", None),
            ("gzip;q=2", None),
            ("gzip;q=0.1234", None),
            ("deflate", None),
        ] {
            assert_eq!(coding(&with(header::ACCEPT_ENCODING, accepted)), expected, "{accepted}");
        }
    }
}
