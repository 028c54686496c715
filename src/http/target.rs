//! The target of a request: its percent-encoding is checked for every route, and a slash too many is taken off.
//!
//! Depends on its neighbours.

use axum::http::Uri;
use percent_encoding::percent_decode_str;

use super::error::Problem;

/// Refuses a path or a query that is not UTF-8, or in which a `%` is not followed by two hexadecimal digits: the
/// decoders behind would take it for a text that the client never meant.
pub(super) fn check(uri: &Uri) -> Result<(), Problem> {
    if !is_well_encoded(uri.path()) {
        return Err(Problem::invalid_path("the path is not percent-encoded UTF-8"));
    }
    match uri.query() {
        Some(query) if !is_well_encoded(query) => Err(Problem::invalid_query("the query is not percent-encoded UTF-8")),
        _ => Ok(()),
    }
}

fn is_well_encoded(text: &str) -> bool {
    let mut rest = text.as_bytes();
    let mut is_ascii = true;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let [_, high, low, ..] = &rest[at..] else { return false };
        if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
            return false;
        }
        is_ascii &= *high < b'8';
        rest = &rest[at + 3..];
    }
    is_ascii || percent_decode_str(text).decode_utf8().is_ok()
}

/// Where a request without a route belongs if only the slash at its end is too many: the target as it was sent, without
/// that slash. A target that begins with two slashes would be another server's.
pub(super) fn without_slash(inner_path: &str, sent: &Uri) -> Option<String> {
    if !inner_path.trim_end_matches('/').starts_with('/') || sent.path().starts_with("//") {
        return None;
    }
    let path = sent.path().strip_suffix('/')?.trim_end_matches('/');
    Some(match sent.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_checked() {
        for good in ["/products/a%2Fb", "/products?q=%E2%82%AC%20%c3%a9", "/a?q=100%25", "/"] {
            assert!(check(&good.parse().unwrap()).is_ok(), "{good}");
        }
        for bad in ["/products/%zz", "/products/%", "/products/%4", "/%ff", "/a?q=%ff", "/a?q=%zz", "/a?q=%C3%28"] {
            assert!(check(&bad.parse().unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_target_is_left_of_a_slash_too_many() {
        for (sent, expected) in [
            ("/products/", Some("/products")),
            ("/products/?limit=1&q=a%20b", Some("/products?limit=1&q=a%20b")),
            ("/a%2F/", Some("/a%2F")),
            ("/products//", Some("/products")),
            ("/", None),
            ("//", None),
            ("//evil.example/", None),
            ("/products", None),
        ] {
            let sent: Uri = sent.parse().unwrap();
            assert_eq!(without_slash(sent.path(), &sent).as_deref(), expected, "{sent}");
        }
        assert_eq!(without_slash("/", &"/shop/".parse().unwrap()), None, "the root of a nested router");
        assert_eq!(without_slash("/cart/", &"/shop/cart/".parse().unwrap()).as_deref(), Some("/shop/cart"));
    }
}
