//! How values become bytes: the only file that names bincode.
//!
//! bincode is positional, so whoever stores a type also stores its version. This file sets the encoding: fixed-width
//! integers, a limit on size, no trailing bytes. Depends on `limits`, `serde` and `bincode`.

use bincode::Options;
use serde::{Serialize, de::DeserializeOwned};

use super::limits::SNAPSHOT_BYTES_MAX;

/// The largest encoded value, in bytes: the largest snapshot that the state takes. It bounds what a reader allocates
/// for a length in damaged bytes.
pub const ENCODED_BYTES_MAX: u64 = SNAPSHOT_BYTES_MAX as u64;

/// The bytes are not a value of the expected type.
#[derive(Debug, thiserror::Error)]
#[error("cannot decode: {0}")]
pub struct CodecError(#[from] bincode::Error);

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .with_limit(ENCODED_BYTES_MAX)
        .reject_trailing_bytes()
}

/// Encodes a value. The caller checks the size.
///
/// # Panics
/// The type has no binary form (a sequence without a known length): a mistake in the type, which its first test finds.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    options().with_no_limit().serialize(value).expect("stored types have a binary form")
}

/// Decodes a value from all of these bytes.
///
/// # Errors
/// The bytes are not such a value, are too many, or some are left over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    Ok(options().deserialize(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_returns_the_encoded_value_and_refuses_other_bytes() {
        let value = (7_u32, String::from("souk"), vec![1_u64, 2]);
        let bytes = encode(&value);
        assert_eq!(bytes.len(), 4 + 8 + 4 + 8 + 16, "integers have a fixed width");
        assert_eq!(decode::<(u32, String, Vec<u64>)>(&bytes).unwrap(), value);

        let mut longer = bytes.clone();
        longer.push(0);
        assert!(decode::<(u32, String, Vec<u64>)>(&longer).is_err(), "trailing bytes");
        assert!(decode::<(u32, String, Vec<u64>)>(&bytes[..bytes.len() - 1]).is_err(), "missing bytes");
        assert!(decode::<Vec<u8>>(&[0xff; 8]).is_err(), "a length beyond the limit");
    }
}
