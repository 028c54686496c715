//! The version of the API: a date, which answers say and requests may name in `Souk-Version` (docs/adr/0024).
//!
//! What is added changes no version: a new route, an optional parameter or member, a new word of a vocabulary. Whatever
//! would break a client that reads the document makes a new date, and the old one is answered as before for a year.
//!
//! Depends on its neighbours.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::error::{Problem, kinds};

/// The version that is answered: there is no other yet.
pub(super) const CURRENT: &str = "2026-11-30";
/// The header that names it.
pub(super) const HEADER: HeaderName = HeaderName::from_static("souk-version");

/// Refuses a request for a version that the shop does not answer.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get_all(HEADER).iter().find(|version| *version != CURRENT) {
        Some(_) => {
            let detail = format!("the version of this API is {CURRENT}");
            Err(Problem::new(&kinds::UNKNOWN_VERSION, detail).with("versions", vec![CURRENT]))
        }
        None => Ok(()),
    }
}

/// Says which version answers.
pub(super) fn mark(headers: &mut HeaderMap) {
    headers.insert(HEADER, HeaderValue::from_static(CURRENT));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_current_one_or_none() {
        let asks = |version: &'static str| check(&HeaderMap::from_iter([(HEADER, HeaderValue::from_static(version))]));
        assert!(check(&HeaderMap::new()).is_ok() && asks(CURRENT).is_ok());
        for other in ["", "v1", "2026-11-29", "latest"] {
            assert!(asks(other).is_err(), "{other}");
        }
    }
}
