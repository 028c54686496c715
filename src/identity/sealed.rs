//! Texts that the shop gives away and believes when they come back: a prefix, and a content of fixed length with a
//! keyed hash over it. Nothing is stored for them.
//!
//! They are no JWTs: none can be mistaken for an access token, nor an access token for one of them. Depends on
//! `domain`, [`super::keys`].

use aws_lc_rs::constant_time;
use data_encoding::BASE64URL_NOPAD;
use secrecy::SecretString;

use crate::{
    domain::entity::Timestamp,
    identity::{
        TokenError,
        keys::{Keys, Purpose},
    },
};

const TAG_BYTES: usize = 32;

/// A kind of sealed text.
pub(super) struct Seal {
    /// The beginning of each, so that leaked ones can be searched for.
    pub(super) prefix: &'static str,
    /// Keeps one kind from being read as another.
    pub(super) purpose: Purpose<'static>,
}

impl Seal {
    /// Formats a content for the client.
    pub(super) fn write(&self, keys: &Keys, mut content: Vec<u8>) -> SecretString {
        let tag = keys.tag(self.purpose, &[&content]);
        content.extend_from_slice(tag.as_ref());
        format!("{}{}", self.prefix, BASE64URL_NOPAD.encode(&content)).into()
    }

    /// The content of a text with a valid hash.
    pub(super) fn read<const CONTENT_BYTES: usize>(
        &self,
        keys: &Keys,
        text: &str,
    ) -> Result<[u8; CONTENT_BYTES], TokenError> {
        let bytes_max = self.prefix.len() + BASE64URL_NOPAD.encode_len(CONTENT_BYTES + TAG_BYTES);
        if text.len() > bytes_max {
            return Err(TokenError::TooLong { bytes: text.len(), bytes_max });
        }
        let encoded = text.strip_prefix(self.prefix).ok_or(TokenError::Malformed)?;
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| TokenError::Malformed)?;
        let (content, tag) = bytes.split_first_chunk::<CONTENT_BYTES>().ok_or(TokenError::Malformed)?;
        let expected = keys.tag(self.purpose, &[content]);
        // Compare in constant time: a comparison that stops at the first difference would tell an attacker how much was
        // right.
        constant_time::verify_slices_are_equal(expected.as_ref(), tag).map_err(|_| TokenError::BadSignature)?;
        Ok(*content)
    }
}

/// Reads the fields of a content one after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    fn take<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], TokenError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(TokenError::Malformed)?;
        self.0 = rest;
        Ok(*field)
    }

    pub(super) fn next_u128(&mut self) -> Result<u128, TokenError> {
        Ok(u128::from_be_bytes(self.take()?))
    }

    pub(super) fn next_u64(&mut self) -> Result<u64, TokenError> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    pub(super) fn next_u32(&mut self) -> Result<u32, TokenError> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    pub(super) fn next_time(&mut self) -> Result<Timestamp, TokenError> {
        self.next_u64().map(Timestamp)
    }
}
