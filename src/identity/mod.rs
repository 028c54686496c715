//! Who somebody is: passwords, tokens, and the keys behind them. What they may do is decided elsewhere, by their role.
//!
//! ```text
//!  e-mail ──▶ AccountId ──▶ the account's PasswordHash ──▶ verified ──▶ access token (minutes) + refresh token (weeks)
//!                                                                       │
//!  each request ◀── Principal ◀── signature, claims, time, revocations ◀┘
//! ```
//!
//! Which sessions are alive is the account's affair ([`crate::domain::account`]); this room makes and checks what clients
//! hold, and knows what was revoked lately. Depends on `domain` and `clock`.

pub mod checksum;
pub mod email;
pub mod keys;
pub mod passwords;
pub mod refresh;
pub mod revocations;
pub mod tokens;

use std::{path::Path, sync::Arc};

use aws_lc_rs::rand;
use secrecy::SecretString;

use crate::{
    clock::Clock,
    domain::{
        account::{Event, Family, Holder, Role},
        entity::Timestamp,
        ids::{AccountId, UserId},
    },
    identity::{
        email::InvalidEmail,
        keys::{KeyError, Keys, Purpose},
        passwords::{PasswordError, Passwords},
        refresh::RefreshToken,
        revocations::Standing,
        tokens::{ACCESS_MS_MAX, AccessTokens, Grant},
    },
};

/// The shortest life of an access token, in milliseconds: times in it are whole seconds.
const ACCESS_MS_MIN: u64 = 1_000;
/// The longest life of a session, in milliseconds: a year.
const SESSION_MS_MAX: u64 = 365 * 86_400_000;
/// The longest issuer or audience, in bytes: both are in every token, and a token has a bound.
const PARTY_BYTES_MAX: usize = 64;

/// What can be chosen about tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityConfig {
    /// Who issues tokens, `iss`: the shop's address.
    pub issuer: String,
    /// Whom they are for, `aud`.
    pub audience: String,
    /// How long an access token lives, in milliseconds.
    pub access_ms: u64,
    /// How long a session lives without logging in again, in milliseconds.
    pub session_ms: u64,
}

impl Default for IdentityConfig {
    /// A quarter of an hour, and thirty days.
    fn default() -> Self {
        Self { issuer: "souk".into(), audience: "souk".into(), access_ms: 900_000, session_ms: 30 * 86_400_000 }
    }
}

/// Why the room cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A first password could not be hashed.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// A setting is out of bounds.
    #[error("{setting} must be from {least} to {most}, not {found}")]
    Config {
        /// Which, with its unit.
        setting: &'static str,
        /// What it is.
        found: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
}

/// Why a token was refused. None of this repeats the token; clients should be told no more than that it is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than any of ours.
    #[error("a token has at most {bytes_max} bytes, not {bytes}")]
    TooLong {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        bytes_max: usize,
    },
    /// Not of the form.
    #[error("not a token")]
    Malformed,
    /// Signed in another way than we do, or not at all.
    #[error("signed with another algorithm")]
    WrongAlgorithm,
    /// Another kind of token.
    #[error("not an access token")]
    WrongType,
    /// The key is not named, or not one of ours.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// Not signed by the key it names.
    #[error("the signature is wrong")]
    BadSignature,
    /// Issued by somebody else.
    #[error("issued by somebody else")]
    WrongIssuer,
    /// Issued for somebody else.
    #[error("issued for somebody else")]
    WrongAudience,
    /// A claim is missing or not of its form.
    #[error("a claim is missing or malformed: {name}")]
    BadClaim {
        /// Which, where it can be told.
        name: &'static str,
    },
    /// Past its time.
    #[error("expired at {} ms", expired_at.0)]
    Expired {
        /// When.
        expired_at: Timestamp,
    },
    /// Before its time.
    #[error("not valid before {} ms", valid_from.0)]
    NotYetValid {
        /// When it will be.
        valid_from: Timestamp,
    },
    /// Its session was ended or its account revoked.
    #[error("revoked")]
    Revoked,
    /// A new token could not be signed.
    #[error("the token could not be signed")]
    NotSigned,
}

/// Who sent a request, as their access token says.
///
/// It is plain data, and the shop believes it: a program that embeds the shop takes it from [`Shop::authenticate`] or
/// [`Shop::principal`], and never makes one of what a client says.
///
/// [`Shop::authenticate`]: crate::shop::Shop::authenticate
/// [`Shop::principal`]: crate::shop::Shop::principal
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// Who.
    pub user: UserId,
    /// Whose account.
    pub account: AccountId,
    /// What they may do.
    pub role: Role,
    /// The account's epoch when the token was issued.
    pub epoch: u32,
    /// The session, which logging out ends.
    pub family: u128,
    /// When the token was issued, to the second.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// [`Standing::Good`]; or [`Standing::AskAccount`], and then nobody may believe the rest before the account was asked.
    pub standing: Standing,
}

/// The tokens of a login or a refresh.
#[derive(Debug)]
pub struct Issued {
    /// For each request.
    pub access_token: SecretString,
    /// When that one expires.
    pub access_expires_at: Timestamp,
    /// For the next refresh.
    pub refresh_token: SecretString,
    /// When the session ends.
    pub refresh_expires_at: Timestamp,
}

/// The room.
#[derive(Debug)]
pub struct Identity {
    keys: Arc<Keys>,
    access: AccessTokens,
    passwords: Passwords,
    session_ms: u64,
}

impl Identity {
    /// Opens the room with the keys in `directory`, which are made at the first start.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn open(directory: &Path, config: &IdentityConfig, clock: &Clock) -> Result<Self, IdentityError> {
        let IdentityConfig { issuer, audience, access_ms, session_ms } = config;
        within("access_ms", *access_ms, ACCESS_MS_MIN, ACCESS_MS_MAX)?;
        within("session_ms", *session_ms, *access_ms, SESSION_MS_MAX)?;
        for (setting, party) in [("the bytes of issuer", issuer), ("the bytes of audience", audience)] {
            within(setting, party.len() as u64, 1, PARTY_BYTES_MAX as u64)?;
        }
        let keys = Arc::new(Keys::open(directory)?);
        let access = AccessTokens::new(Arc::clone(&keys), issuer, audience, *access_ms, clock.now());
        Ok(Self { keys, access, passwords: Passwords::new()?, session_ms: *session_ms })
    }

    /// The account of an e-mail address, however it is spelt.
    ///
    /// # Errors
    /// [`InvalidEmail`] where it is none.
    pub fn account_of(&self, address: &str) -> Result<AccountId, InvalidEmail> {
        let address = email::normalise(address)?;
        Ok(AccountId(self.keys.hash_u128(Purpose::AccountId, &[address.as_bytes()])))
    }

    /// Hashes and verifies passwords.
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

    /// Who shows this access token. See [`Principal::standing`] before believing it.
    ///
    /// # Errors
    /// [`TokenError`] why it is not to be believed.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError> {
        self.access.verify(token, now)
    }

    /// What a refresh token says. Whether it is spent, its account knows.
    ///
    /// # Errors
    /// [`TokenError`] why it is not one of ours, or expired.
    pub fn read_refresh(&self, text: &str, now: Timestamp) -> Result<RefreshToken, TokenError> {
        RefreshToken::read(&self.keys, text, now)
    }

    /// Makes what happened to an account count for access tokens that are out already. To be called for every event of an
    /// account before its command is answered; repeats are harmless.
    pub fn heed(&self, account: AccountId, event: &Event, now: Timestamp) {
        match event {
            Event::Registered { .. } | Event::SessionStarted { .. } | Event::Rotated { .. } | Event::Erased { .. } => {}
            Event::ReuseDetected { family, .. } | Event::SessionEnded { family } => self.revoke_session(*family, now),
            Event::RevokedAll { epoch }
            | Event::PasswordChanged { epoch, .. }
            | Event::RoleGranted { epoch, .. }
            | Event::ErasureBegun { epoch, .. } => {
                self.revoke_account(account, *epoch, now);
            }
        }
    }

    /// Kills the account's access tokens of an epoch before `epoch_min`.
    pub fn revoke_account(&self, account: AccountId, epoch_min: u32, now: Timestamp) {
        self.access.revocations.revoke_account(account, epoch_min, now);
    }

    /// Kills a session's access tokens.
    pub fn revoke_session(&self, family: u128, now: Timestamp) {
        self.access.revocations.revoke_session(family, now);
    }

    /// How many access tokens are remembered as verified, for the metrics.
    #[must_use]
    pub fn verified_count(&self) -> usize {
        self.access.verified_count()
    }

    /// The public keys as a JSON Web Key Set, for others who verify our tokens.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        self.keys.jwks()
    }

    /// A keyed hash of the parts, for ids and idempotency keys. `separator` says what for: the same parts hash differently
    /// for each. Stable as long as the shop's secret.
    #[must_use]
    pub fn hash_u128(&self, separator: &str, parts: &[&[u8]]) -> u128 {
        self.keys.hash_u128(Purpose::Named(separator), parts)
    }

    /// Tells this shop's secret from another's. Data keeps the one it was written with; where they differ, a backup was
    /// restored without its keys, and every account would be out of reach.
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

/// 128 bits that nobody can guess: user ids, session names.
///
/// # Panics
/// Where the system has no randomness, which on Linux does not happen once it has booted. Going on would be worse.
#[must_use]
pub fn random_u128() -> u128 {
    let mut bytes = [0; 16];
    let filled = rand::fill(&mut bytes);
    assert!(filled.is_ok(), "the system has no randomness");
    u128::from_be_bytes(bytes)
}
