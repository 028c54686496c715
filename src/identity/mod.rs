//! Authentication: passwords, tokens, and the keys behind them. What somebody may do is decided in `shop::access`, by
//! role.
//!
//! ```text
//!  e-mail ──▶ AccountId ──▶ the account's PasswordHash ──▶ verified ──▶ access token (minutes) + refresh token (weeks)
//!                                                                        │
//!  each request ◀── Principal ◀── signature, claims, time, revocations ◀┘
//! ```
//!
//! The account knows which of its sessions exist ([`crate::domain::account`]). This room issues and verifies what
//! clients hold, and remembers recent revocations. Depends on `domain` and `clock`.

pub mod checksum;
pub mod email;
pub mod fair_queue;
pub mod keys;
pub mod passwords;
pub mod refresh;
pub mod revocations;
mod sealed;
pub mod tickets;
pub mod tokens;

use std::{path::Path, sync::Arc};

use aws_lc_rs::rand;
use secrecy::SecretString;

use crate::{
    clock::Clock,
    domain::{
        account::{Family, Holder, Role},
        entity::Timestamp,
        ids::{AccountId, UserId},
    },
    identity::{
        email::InvalidEmail,
        keys::{KeyError, Keys, Purpose},
        passwords::{PasswordError, Passwords},
        refresh::RefreshToken,
        revocations::RevocationStatus,
        tickets::Ticket,
        tokens::{ACCESS_MS_MAX, AccessTokens, Grant},
    },
};

/// The shortest life of an access token, in milliseconds: its times are whole seconds.
const ACCESS_MS_MIN: u64 = 1_000;
/// The longest life of a session, in milliseconds: a year.
const SESSION_MS_MAX: u64 = 365 * 86_400_000;
/// The longest issuer or audience, in bytes: both are in every token, whose length is limited.
const PARTY_BYTES_MAX: usize = 64;

/// The settings of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityConfig {
    /// The issuer (`iss`): the shop's address.
    pub issuer: String,
    /// The audience (`aud`).
    pub audience: String,
    /// The life of an access token, in milliseconds.
    pub access_ms: u64,
    /// The life of a session without another login, in milliseconds.
    pub session_ms: u64,
}

impl Default for IdentityConfig {
    /// A quarter of an hour, and thirty days.
    fn default() -> Self {
        Self { issuer: "souk".into(), audience: "souk".into(), access_ms: 900_000, session_ms: 30 * 86_400_000 }
    }
}

/// Why [`Identity::open`] failed.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The first password could not be hashed.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    #[error("{setting} must be from {least} to {most}, not {found}")]
    Config {
        /// Its name, with its unit.
        setting: &'static str,
        found: u64,
        least: u64,
        most: u64,
    },
}

/// Why a token was refused. No message repeats the token. Tell clients only that the token is invalid.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is longer than any of ours.
    #[error("a token has at most {bytes_max} bytes, not {bytes}")]
    TooLong { bytes: usize, bytes_max: usize },
    /// The text does not have the form of a token.
    #[error("not a token")]
    Malformed,
    /// The token is signed with another algorithm, or not at all.
    #[error("signed with another algorithm")]
    WrongAlgorithm,
    /// It is another type of token.
    #[error("not an access token")]
    WrongType,
    /// The key id is missing or is not one of ours.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// The signature does not match the named key.
    #[error("the signature is wrong")]
    BadSignature,
    #[error("issued by somebody else")]
    WrongIssuer,
    #[error("issued for somebody else")]
    WrongAudience,
    /// A claim is missing or malformed.
    #[error("a claim is missing or malformed: {name}")]
    BadClaim {
        /// The name of the claim, if it is known.
        name: &'static str,
    },
    #[error("expired at {} ms", expired_at.0)]
    Expired { expired_at: Timestamp },
    #[error("not valid before {} ms", valid_from.0)]
    NotYetValid { valid_from: Timestamp },
    /// Its session was ended or its account revoked.
    #[error("revoked")]
    Revoked,
    /// A new token could not be signed.
    #[error("the token could not be signed")]
    NotSigned,
}

/// The sender of a request, according to the access token.
///
/// This is plain data, and the shop trusts it. A program that embeds the shop gets it from [`Shop::authenticate`] or
/// [`Shop::principal`], and never builds one from what a client sends.
///
/// [`Shop::authenticate`]: crate::shop::Shop::authenticate
/// [`Shop::principal`]: crate::shop::Shop::principal
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    pub user: UserId,
    pub account: AccountId,
    pub role: Role,
    /// The account's epoch when the token was issued.
    pub epoch: u32,
    /// The session, which a logout ends.
    pub family: u128,
    /// When the token was issued, to the second.
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// Good or unknown. If it is [`RevocationStatus::Unknown`], ask the account before trusting anything in here.
    pub revocation: RevocationStatus,
}

/// The tokens of a login or a refresh.
#[derive(Debug)]
pub struct Issued {
    /// The token for requests.
    pub access_token: SecretString,
    /// When the access token expires.
    pub access_expires_at: Timestamp,
    /// The token for the next refresh.
    pub refresh_token: SecretString,
    /// When the session ends.
    pub refresh_expires_at: Timestamp,
}

/// Issues and verifies tokens and passwords.
#[derive(Debug)]
pub struct Identity {
    keys: Arc<Keys>,
    access: AccessTokens,
    passwords: Passwords,
    session_ms: u64,
}

impl Identity {
    /// Opens the keys in `directory`, and generates them at the first start of the shop with this store.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn open(directory: &Path, store: u64, config: &IdentityConfig, clock: &Clock) -> Result<Self, IdentityError> {
        let IdentityConfig { issuer, audience, access_ms, session_ms } = config;
        within("access_ms", *access_ms, ACCESS_MS_MIN, ACCESS_MS_MAX)?;
        within("session_ms", *session_ms, *access_ms, SESSION_MS_MAX)?;
        for (setting, party) in [("the bytes of issuer", issuer), ("the bytes of audience", audience)] {
            within(setting, party.len() as u64, 1, PARTY_BYTES_MAX as u64)?;
        }
        let keys = Arc::new(Keys::open(directory, store)?);
        let access = AccessTokens::new(Arc::clone(&keys), issuer, audience, *access_ms, clock.now());
        Ok(Self { keys, access, passwords: Passwords::new()?, session_ms: *session_ms })
    }

    /// The account id of an e-mail address, whatever its spelling.
    ///
    /// # Errors
    /// [`InvalidEmail`] if the text is not an address.
    pub fn account_of(&self, address: &str) -> Result<AccountId, InvalidEmail> {
        let address = email::normalise(address)?;
        Ok(AccountId(self.keys.hash_u128(Purpose::AccountId, &[address.as_bytes()])))
    }

    /// The hasher of passwords.
    #[must_use]
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// When a session that begins now ends.
    #[must_use]
    pub fn session_expires_at(&self, now: Timestamp) -> Timestamp {
        now.plus_ms(self.session_ms)
    }

    /// The tokens of a session in its present state: after `StartSession` with [`Holder::family`], after `Refresh` with
    /// [`Holder::successor`]. The refresh token is the same each time, the access token a new one.
    ///
    /// # Errors
    /// [`TokenError::NotSigned`].
    pub fn issue(
        &self,
        account: AccountId,
        holder: &Holder,
        family: &Family,
        now: Timestamp,
    ) -> Result<Issued, TokenError> {
        let Holder { user, role, epoch, .. } = *holder;
        let Family { family, counter, expires_at, .. } = *family;
        let grant = Grant { user, account, role, epoch, family, session_expires_at: expires_at };
        let (access_token, access_expires_at) = self.access.issue(&grant, now)?;
        let refresh_token = RefreshToken { account, family, counter, expires_at }.write(&self.keys);
        Ok(Issued { access_token, access_expires_at, refresh_token, refresh_expires_at: expires_at })
    }

    /// Verifies an access token. Check [`Principal::revocation`] before trusting the result.
    ///
    /// # Errors
    /// [`TokenError`]: why it is not valid.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError> {
        self.access.verify(token, now)
    }

    /// Verifies an access token, whose session may have ended: it proves only whose it was.
    ///
    /// # Errors
    /// [`TokenError`]: why it is not valid.
    pub fn verify_ended(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError> {
        self.access.verify_ended(token, now)
    }

    /// Reads and verifies a refresh token. Whether it is already used, its account knows.
    ///
    /// # Errors
    /// [`TokenError`]: why it is not valid.
    pub fn read_refresh(&self, text: &str, now: Timestamp) -> Result<RefreshToken, TokenError> {
        RefreshToken::read(&self.keys, text, now)
    }

    /// The text of a ticket.
    #[must_use]
    pub fn write_ticket(&self, ticket: &Ticket) -> SecretString {
        ticket.write(&self.keys)
    }

    /// Reads and verifies a ticket. Whether its session still exists, its account knows.
    ///
    /// # Errors
    /// [`TokenError`]: why it is not valid.
    pub fn read_ticket(&self, text: &str, now: Timestamp) -> Result<Ticket, TokenError> {
        Ticket::read(&self.keys, text, now)
    }

    /// Revokes the account's access tokens of an epoch before `epoch_min`.
    pub fn revoke_account(&self, account: AccountId, epoch_min: u32, now: Timestamp) {
        self.access.revocations.revoke_account(account, epoch_min, now);
    }

    /// Revokes a session's access tokens.
    pub fn revoke_session(&self, family: u128, now: Timestamp) {
        self.access.revocations.revoke_session(family, now);
    }

    /// From now on accounts are asked about all access tokens that are out: a command may have revoked some of them,
    /// and it is not known whether it did.
    pub fn ask_accounts(&self, now: Timestamp) {
        self.access.revocations.ask_accounts(now);
    }

    /// The number of cached verified access tokens, for metrics.
    #[must_use]
    pub fn verified_count(&self) -> usize {
        self.access.verified_count()
    }

    /// The public keys as a JSON Web Key Set, for others that verify our tokens.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        self.keys.jwks()
    }

    /// A keyed hash of the parts, for ids and idempotency keys. `separator` names the purpose: hashes for different
    /// purposes differ. Stable as long as the shop's secret.
    #[must_use]
    pub fn hash_u128(&self, separator: &str, parts: &[&[u8]]) -> u128 {
        self.keys.hash_u128(Purpose::Named(separator), parts)
    }

    /// Identifies this shop's secret without revealing it. Data keeps the fingerprint of the secret it was written
    /// with; if they differ, a backup was restored without its keys, and no account would be found.
    #[must_use]
    pub fn fingerprint(&self) -> u128 {
        self.keys.hash_u128(Purpose::Fingerprint, &[])
    }
}

fn within(setting: &'static str, found: u64, least: u64, most: u64) -> Result<(), IdentityError> {
    if !(least..=most).contains(&found) {
        return Err(IdentityError::Config { setting, found, least, most });
    }
    Ok(())
}

/// 128 unpredictable bits: user ids, session names.
///
/// # Panics
/// The system has no randomness, which does not happen on Linux once it has booted. Continuing would be worse.
#[must_use]
pub fn random_u128() -> u128 {
    let mut bytes = [0; 16];
    let filled = rand::fill(&mut bytes);
    assert!(filled.is_ok(), "the system has no randomness");
    u128::from_be_bytes(bytes)
}
