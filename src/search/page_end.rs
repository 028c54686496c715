//! The end of a page of a search, which the key of its cursor encodes.
//!
//! Depends on `domain`.

use crate::domain::{
    cursor::{InvalidCursor, KEY_BYTES_MAX},
    ids::ProductId,
};

/// The bytes before the id: need, rank.
const HEAD_BYTES: usize = 1 + 8;
const _: () = assert!(HEAD_BYTES + ProductId::BYTES_MAX <= KEY_BYTES_MAX, "every page's end fits in a cursor");

/// The sort key of a product: greater ranks come first, equal ranks in the order of the ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SortKey {
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

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageEnd {
    /// Whether the pages show products with all words or with any; decided for the first page and kept.
    pub(super) need: Need,
    /// The last product shown.
    pub(super) last: SortKey,
}

impl PageEnd {
    pub(super) fn to_key(&self) -> Vec<u8> {
        let need = match self.need {
            Need::All => 0,
            Need::Any => 1,
        };
        [&[need], self.last.rank.to_be_bytes().as_slice(), self.last.id.as_bytes()].concat()
    }

    pub(super) fn from_key(key: &[u8]) -> Result<Self, InvalidCursor> {
        let ([need], rest) = key.split_first_chunk().ok_or(InvalidCursor)?;
        let (rank, id) = rest.split_first_chunk().ok_or(InvalidCursor)?;
        let need = match need {
            0 => Need::All,
            1 => Need::Any,
            _ => return Err(InvalidCursor),
        };
        let id = std::str::from_utf8(id).map_err(|_| InvalidCursor)?;
        let id: ProductId = id.parse().map_err(|_| InvalidCursor)?;
        Ok(Self { need, last: SortKey { rank: u64::from_be_bytes(*rank), id: id.as_str().to_owned() } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_page_round_trips_through_its_key() {
        for need in [Need::All, Need::Any] {
            let end = PageEnd { need, last: SortKey { rank: 77, id: "ic-1399".into() } };
            assert_eq!(PageEnd::from_key(&end.to_key()), Ok(end));
        }
    }

    #[test]
    fn other_keys_are_refused() {
        let key = PageEnd { need: Need::All, last: SortKey { rank: 1, id: "a".into() } }.to_key();
        let no_need = [&[2], &key[1..]].concat();
        let no_id = [&key[..HEAD_BYTES], b"-"].concat();
        let no_text = [&key[..HEAD_BYTES], b"\xff"].concat();
        for bad in [&[], &key[..1], &key[..HEAD_BYTES], &no_need, &no_id, &no_text] {
            assert_eq!(PageEnd::from_key(bad), Err(InvalidCursor), "{bad:?}");
        }
    }
}
