//! Where the next page of a list begins, as a token that is opaque to clients.
//!
//! A cursor holds the sort key of the last item shown, not a number of items to skip. So a deep page costs no more than
//! the first, and what is added or removed meanwhile makes no other item appear twice or not at all. The checksum ties
//! it to its list and filter. It is not signed: a cursor grants nothing, since access is checked for every page.
//!
//! Depends on `std`, `thiserror`, `crc32c` and `data-encoding`.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;

/// The version of the form of cursors.
const VERSION: u8 = 1;
/// The longest sort key, in bytes: that of the search, with a rank and a product's id, has 73.
pub const KEY_BYTES_MAX: usize = 128;
/// The bytes of a cursor beside its key: the version before it, the checksum after it.
const FRAME_BYTES: usize = 1 + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 4;
/// The longest cursor, in characters: base64 has four for three bytes.
const TEXT_BYTES_MAX: usize = ((FRAME_BYTES + KEY_BYTES_MAX) * 4).div_ceil(3);

/// Where the next page of a list begins. [`fmt::Display`] and [`FromStr`] are its form in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    key: Vec<u8>,
    checksum: u32,
}

/// A text that is no cursor, or the cursor of another list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not valid for this list")]
pub struct InvalidCursor;

impl Cursor {
    /// The cursor after the item with this sort key, which has at most [`KEY_BYTES_MAX`] bytes. `list` identifies the
    /// list together with the filter that it is read with.
    #[must_use]
    pub fn new(list: &[u8], key: &[u8]) -> Self {
        debug_assert!(key.len() <= KEY_BYTES_MAX, "no text would be read as this cursor");
        Self { key: key.to_vec(), checksum: checksum(list, key) }
    }

    /// The sort key of the last item shown.
    ///
    /// # Errors
    /// [`InvalidCursor`]: it belongs to another list or filter, or its text was changed.
    pub fn key(&self, list: &[u8]) -> Result<&[u8], InvalidCursor> {
        if self.checksum == checksum(list, &self.key) { Ok(&self.key) } else { Err(InvalidCursor) }
    }
}

/// The length of `list` is part of it, so that the same bytes divided in another way have another checksum.
fn checksum(list: &[u8], key: &[u8]) -> u32 {
    let length = crc32c::crc32c(&(list.len() as u64).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(length, list), key)
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A CRC that stands last is certain to detect every change within 32 bits, such as that of one character.
        let bytes = [&[VERSION], self.key.as_slice(), &self.checksum.to_le_bytes()].concat();
        formatter.write_str(&BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    /// Reads the form of the text; whether it belongs to a list is checked by [`Cursor::key`].
    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(InvalidCursor);
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| InvalidCursor)?;
        let Some((VERSION, rest)) = bytes.split_first().map(|(version, rest)| (*version, rest)) else {
            return Err(InvalidCursor);
        };
        let (key, checksum) = rest.split_last_chunk::<CHECKSUM_BYTES>().ok_or(InvalidCursor)?;
        Ok(Self { key: key.to_vec(), checksum: u32::from_le_bytes(*checksum) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a list does with the text of a request.
    fn key_of(text: &str, list: &[u8]) -> Result<Vec<u8>, InvalidCursor> {
        text.parse::<Cursor>()?.key(list).map(<[u8]>::to_vec)
    }

    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    #[test]
    fn the_text_of_a_cursor_is_stable() {
        let text = Cursor::new(b"list", b"key").to_string();
        assert_eq!(text, "AWtleavH00U");
        assert_eq!(key_of(&text, b"list").unwrap(), b"key");
    }

    #[test]
    fn a_changed_character_is_always_refused() {
        for length in [0, 1, 2, 16, 24, 73] {
            let text = Cursor::new(b"c", &vec![7; length]).to_string();
            for (at, other) in (0..text.len()).flat_map(|at| ALPHABET.iter().map(move |other| (at, *other))) {
                let mut changed = text.clone().into_bytes();
                let is_same = std::mem::replace(&mut changed[at], other) == other;
                let changed = String::from_utf8(changed).unwrap();
                assert_eq!(key_of(&changed, b"c").is_ok(), is_same, "{changed}");
            }
        }
    }

    #[test]
    fn the_longest_key_has_a_cursor_and_no_text_is_longer() {
        let text = Cursor::new(b"c", &[255; KEY_BYTES_MAX]).to_string();
        assert_eq!(text.len(), TEXT_BYTES_MAX);
        assert_eq!(key_of(&text, b"c").unwrap(), [255; KEY_BYTES_MAX]);
        for junk in ["", "=", "AQ", "AQAA", "é", "\0", &format!("{text}A"), &"A".repeat(100_000)] {
            assert_eq!(junk.parse::<Cursor>(), Err(InvalidCursor), "{junk:?}");
        }
    }

    proptest! {
        #[test]
        fn cursors_round_trip_and_belong_to_their_list(
            list in prop::collection::vec(any::<u8>(), 0..40),
            other in prop::collection::vec(any::<u8>(), 0..40),
            key in prop::collection::vec(any::<u8>(), 0..=KEY_BYTES_MAX),
        ) {
            let cursor = Cursor::new(&list, &key);
            let text = cursor.to_string();
            prop_assert_eq!(text.parse(), Ok(cursor));
            prop_assert_eq!(key_of(&text, &list), Ok(key.clone()));
            prop_assert_eq!(key_of(&text, &other).is_ok(), list == other);
            // The same bytes, divided in another way.
            if let Some((first, rest)) = key.split_first() {
                let longer = [list.as_slice(), &[*first]].concat();
                let divided = Cursor { key: rest.to_vec(), ..text.parse().unwrap() };
                prop_assert_eq!(divided.key(&longer), Err(InvalidCursor));
            }
        }

        #[test]
        fn cut_lengthened_and_flipped_texts_are_refused(
            key in prop::collection::vec(any::<u8>(), 0..80),
            cut in 1_usize..200,
            more in "[A-Za-z0-9_-]{1,8}",
            bit in any::<prop::sample::Index>(),
        ) {
            let text = Cursor::new(b"list", &key).to_string();
            let kept = text.len().saturating_sub(cut);
            let mut flipped = text.clone().into_bytes();
            let bit = bit.index(flipped.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            for changed in [&text[..kept], &text[text.len() - kept..], &format!("{text}{more}"), &format!("{more}{text}")] {
                prop_assert_eq!(key_of(changed, b"list"), Err(InvalidCursor), "{}", changed);
            }
            if let Ok(flipped) = String::from_utf8(flipped) {
                prop_assert_eq!(key_of(&flipped, b"list"), Err(InvalidCursor), "{}", flipped);
            }
        }

        #[test]
        fn no_text_panics(text in any::<String>(), like in "[A-Za-z0-9_-]{0,190}") {
            for text in [text, like] {
                if let Ok(cursor) = text.parse::<Cursor>() {
                    prop_assert_eq!(cursor.to_string(), text);
                    prop_assert_eq!(cursor.key(b"list"), Err(InvalidCursor));
                }
            }
        }
    }
}
