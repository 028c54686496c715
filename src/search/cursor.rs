//! Where the next page begins: opaque text that holds the place of the last product shown and belongs to one request.
//!
//! It is a place in the order, not a number of products to skip: a deep page costs no more than the first, and on an
//! unchanged index nothing is shown twice or left out. Depends on `data-encoding` and `crc32c`.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;

use super::{matching::Need, page::Place, query::SearchRequest};
use crate::domain::ids::ProductId;

/// The version of the form of cursors.
const VERSION: u8 = 1;
/// The bytes before the id: version, need, checksum of the request, key.
const HEAD_BYTES: usize = 1 + 1 + 4 + 8;
/// The longest cursor, in characters: base64 has four for three bytes.
const TEXT_BYTES_MAX: usize = (HEAD_BYTES + ProductId::BYTES_MAX).div_ceil(3) * 4;

/// A text that is no cursor, or the cursor of another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this search")]
pub struct InvalidCursor;

/// Where the next page begins. Opaque to clients: [`fmt::Display`] and [`FromStr`] are its form in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Whether the pages show products with all words or with any; decided for the first page and kept.
    pub(super) need: Need,
    /// The checksum of what was asked for.
    request: u32,
    /// The last product shown.
    pub(super) last: Place,
}

impl Cursor {
    /// The cursor behind `last` in the answer to `request`.
    pub(super) fn new(request: &SearchRequest, need: Need, last: Place) -> Self {
        Self { need, request: checksum(request), last }
    }

    /// Refuses the cursor of another request.
    pub(super) fn check(&self, request: &SearchRequest) -> Result<(), InvalidCursor> {
        if self.request == checksum(request) { Ok(()) } else { Err(InvalidCursor) }
    }
}

/// The checksum of everything that decides what is found and in which order.
fn checksum(request: &SearchRequest) -> u32 {
    // Debug output names every field and quotes every text, so that no two requests have the same.
    let SearchRequest { text, category, brand, seller, price_minor, currency, sort, limit: _, after: _ } = request;
    crc32c::crc32c(format!("{text:?}{category:?}{brand:?}{seller:?}{price_minor:?}{currency:?}{sort:?}").as_bytes())
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.last.id.len());
        bytes.push(VERSION);
        bytes.push(match self.need {
            Need::All => 0,
            Need::Any => 1,
        });
        bytes.extend_from_slice(&self.request.to_be_bytes());
        bytes.extend_from_slice(&self.last.key.to_be_bytes());
        bytes.extend_from_slice(self.last.id.as_bytes());
        formatter.write_str(&BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(InvalidCursor);
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| InvalidCursor)?;
        let ([VERSION, need], rest) = bytes.split_first_chunk().ok_or(InvalidCursor)? else {
            return Err(InvalidCursor);
        };
        let (request, rest) = rest.split_first_chunk().ok_or(InvalidCursor)?;
        let (key, id) = rest.split_first_chunk().ok_or(InvalidCursor)?;
        let id: ProductId = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()).ok_or(InvalidCursor)?;
        let need = match need {
            0 => Need::All,
            1 => Need::Any,
            _ => return Err(InvalidCursor),
        };
        let last = Place { key: u64::from_be_bytes(*key), id: id.as_str().to_owned() };
        Ok(Self { need, request: u32::from_be_bytes(*request), last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip_and_belong_to_their_request() {
        let request = SearchRequest { text: Some("usb stick".into()), ..SearchRequest::default() };
        let cursor = Cursor::new(&request, Need::Any, Place { key: 77, id: "ic-1399".into() });
        let back: Cursor = cursor.to_string().parse().unwrap();
        assert_eq!(back, cursor);
        assert_eq!(back.check(&request), Ok(()));
        assert_eq!(back.check(&SearchRequest { limit: 3, ..request.clone() }), Ok(()), "pages may change their size");
        assert_eq!(back.check(&SearchRequest { brand: Some("HP".into()), ..request }), Err(InvalidCursor));
    }

    #[test]
    fn garbage_is_no_cursor() {
        let request = SearchRequest::default();
        let good = Cursor::new(&request, Need::All, Place { key: 1, id: "a".into() }).to_string();
        let long = "A".repeat(TEXT_BYTES_MAX + 4);
        for bad in ["", "A", "%%", "AQ", "é", &good[1..], &format!("{good}="), &good.replacen('A', "B", 1), &long] {
            assert_eq!(bad.parse::<Cursor>(), Err(InvalidCursor), "{bad:?}");
        }
    }
}
