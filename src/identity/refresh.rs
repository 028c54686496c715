//! Refresh tokens: what a client presents to get its next access token.
//!
//! The text holds account, session, counter and expiry. Nothing is stored per token, and the same rotation always
//! yields the same text, so a client that repeats a lost request gets the same token. Depends on `domain`,
//! [`super::keys`], `sealed`.

use secrecy::SecretString;

use crate::{
    domain::{entity::Timestamp, ids::AccountId},
    identity::{
        TokenError,
        keys::{Keys, Purpose},
        sealed::{Fields, Seal},
    },
};

/// The beginning of every refresh token. The 1 is the version of the format.
pub const REFRESH_TOKEN_PREFIX: &str = "souk_refresh_1_";

/// The length of account, family, counter and expiry.
const CONTENT_BYTES: usize = 16 + 16 + 8 + 8;
const SEAL: Seal = Seal { prefix: REFRESH_TOKEN_PREFIX, purpose: Purpose::RefreshToken };

/// The content of a refresh token with a valid hash. Whether its session still exists is up to the account.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    pub account: AccountId,
    /// The id of the session.
    pub family: u128,
    /// How many refresh tokens the session had before this one.
    pub counter: u64,
    /// When the session ends.
    pub expires_at: Timestamp,
}

impl RefreshToken {
    /// Formats the token for the client.
    pub(super) fn write(&self, keys: &Keys) -> SecretString {
        let (account, family) = (self.account.0.to_be_bytes(), self.family.to_be_bytes());
        let content = [&account[..], &family, &self.counter.to_be_bytes(), &self.expires_at.0.to_be_bytes()].concat();
        SEAL.write(keys, content)
    }

    /// Parses and verifies a token.
    pub(super) fn read(keys: &Keys, text: &str, now: Timestamp) -> Result<Self, TokenError> {
        let content: [u8; CONTENT_BYTES] = SEAL.read(keys, text)?;
        let mut fields = Fields(&content);
        let token = Self {
            account: AccountId(fields.next_u128()?),
            family: fields.next_u128()?,
            counter: fields.next_u64()?,
            expires_at: fields.next_time()?,
        };
        // The account knows best when its session ends; this saves loading it for an old token.
        if token.expires_at.has_come(now) {
            return Err(TokenError::Expired { expired_at: token.expires_at });
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use secrecy::ExposeSecret;

    use super::*;

    const TOKEN: RefreshToken =
        RefreshToken { account: AccountId(1), family: u128::MAX, counter: 3, expires_at: Timestamp(5_000) };
    const NOW: Timestamp = Timestamp(4_999);

    fn keys() -> Keys {
        Keys::open(&tempfile::tempdir().unwrap().path().join("identity"), 1).unwrap()
    }

    #[test]
    fn a_token_reads_as_it_was_written_until_it_expires() {
        let keys = keys();
        let text = TOKEN.write(&keys);
        assert_eq!(text.expose_secret(), TOKEN.write(&keys).expose_secret(), "an honest repeat gets the same");
        assert_eq!(RefreshToken::read(&keys, text.expose_secret(), NOW), Ok(TOKEN));
        let expired_at = TOKEN.expires_at;
        assert_eq!(
            RefreshToken::read(&keys, text.expose_secret(), expired_at),
            Err(TokenError::Expired { expired_at })
        );
    }

    #[test]
    fn a_changed_token_is_refused_whichever_bit_it_is() {
        let keys = keys();
        let text = TOKEN.write(&keys).expose_secret().to_owned();
        let bytes = BASE64URL_NOPAD.decode(&text.as_bytes()[REFRESH_TOKEN_PREFIX.len()..]).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let text = format!("{REFRESH_TOKEN_PREFIX}{}", BASE64URL_NOPAD.encode(&changed));
            assert_eq!(RefreshToken::read(&keys, &text, NOW), Err(TokenError::BadSignature), "bit {bit}");
        }
        for length in 0..text.len() {
            assert!(RefreshToken::read(&keys, &text[..length], NOW).is_err(), "cut to {length}");
        }
        for other in [format!("{text}A"), format!("{text}="), format!(" {text}"), text.to_uppercase(), "é".repeat(60)]
        {
            assert!(RefreshToken::read(&keys, &other, NOW).is_err(), "{other}");
        }
    }

    #[test]
    fn another_shops_token_is_refused() {
        let text = TOKEN.write(&keys());
        assert_eq!(RefreshToken::read(&keys(), text.expose_secret(), NOW), Err(TokenError::BadSignature));
    }
}
