//! A search cursor: opaque text that holds the sort key of the last product shown and belongs to one request.
//!
//! It holds a sort key, not a number of products to skip. So a deep page costs no more than the first, and on an
//! unchanged index no product is shown twice or left out.
//!
//! Depends on `domain` and `data-encoding`.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;

use crate::domain::ids::ProductId;

/// The version of the form of cursors.
const VERSION: u8 = 1;
/// The bytes before the id: version, need, checksum of the request, rank.
const HEAD_BYTES: usize = 1 + 1 + 4 + 8;
/// The longest cursor, in characters: base64 has four for three bytes.
const TEXT_BYTES_MAX: usize = (HEAD_BYTES + ProductId::BYTES_MAX).div_ceil(3) * 4;

/// The sort key of a product: greater ranks come first, equal ranks in the order of the ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) rank: u64,
    pub(super) id: String,
}

/// How many of a query's words a product must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// All of them, except stop words.
    All,
    /// At least one that is not a stop word.
    Any,
}

/// Identifies a request without its limit and cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestChecksum(pub(super) u32);

/// A text that is no cursor, or the cursor of another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this search")]
pub struct InvalidCursor;

/// Where the next page begins. Opaque to clients: [`fmt::Display`] and [`FromStr`] are its form in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Whether the pages show products with all words or with any; decided for the first page and kept.
    pub(super) need: Need,
    request: RequestChecksum,
    /// The last product shown.
    pub(super) last: Key,
}

impl Cursor {
    /// The cursor that continues after `last` in the answer to `request`.
    pub(super) fn new(request: RequestChecksum, need: Need, last: Key) -> Self {
        Self { need, request, last }
    }

    /// Refuses the cursor of another request.
    pub(super) fn check(&self, request: RequestChecksum) -> Result<(), InvalidCursor> {
        if self.request == request { Ok(()) } else { Err(InvalidCursor) }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.last.id.len());
        bytes.push(VERSION);
        bytes.push(match self.need {
            Need::All => 0,
            Need::Any => 1,
        });
        bytes.extend_from_slice(&self.request.0.to_be_bytes());
        bytes.extend_from_slice(&self.last.rank.to_be_bytes());
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
        let (rank, id) = rest.split_first_chunk().ok_or(InvalidCursor)?;
        let id: ProductId = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()).ok_or(InvalidCursor)?;
        let need = match need {
            0 => Need::All,
            1 => Need::Any,
            _ => return Err(InvalidCursor),
        };
        let last = Key { rank: u64::from_be_bytes(*rank), id: id.as_str().to_owned() };
        Ok(Self { need, request: RequestChecksum(u32::from_be_bytes(*request)), last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::SearchRequest;

    #[test]
    fn cursors_round_trip_and_belong_to_their_request() {
        let request = SearchRequest { text: Some("usb stick".into()), ..SearchRequest::default() };
        let cursor = Cursor::new(request.checksum(), Need::Any, Key { rank: 77, id: "ic-1399".into() });
        let back: Cursor = cursor.to_string().parse().unwrap();
        assert_eq!(back, cursor);
        assert_eq!(back.check(request.checksum()), Ok(()));
        let smaller = SearchRequest { limit: 3, ..request.clone() };
        assert_eq!(back.check(smaller.checksum()), Ok(()), "pages may change their size");
        let other = SearchRequest { brand: Some("HP".into()), ..request };
        assert_eq!(back.check(other.checksum()), Err(InvalidCursor));
    }

    #[test]
    fn garbage_is_no_cursor() {
        let request = SearchRequest::default().checksum();
        let good = Cursor::new(request, Need::All, Key { rank: 1, id: "a".into() }).to_string();
        let long = "A".repeat(TEXT_BYTES_MAX + 4);
        for bad in ["", "A", "%%", "AQ", "é", &good[1..], &format!("{good}="), &good.replacen('A', "B", 1), &long] {
            assert_eq!(bad.parse::<Cursor>(), Err(InvalidCursor), "{bad:?}");
        }
    }
}
