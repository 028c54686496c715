//! Access tokens: signed statements about an account, valid for minutes, verified without loading the account.
//!
//! A JWT in the form of RFC 9068 (`at+jwt`), verified as RFC 8725 asks: one algorithm, one type, our key names only,
//! our issuer and audience, every claim present and of its type. `jsonwebtoken` would read the machine's clock for
//! `exp` and `nbf`, so these are checked here against the given time. Verifying a signature is the expensive part, so
//! verified tokens are cached by their SHA-256 (not by their text: comparing digests reveals nothing about a token
//! through timing). Depends on `domain`, [`super::keys`], [`super::revocations`].

use std::{fmt, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode, errors::ErrorKind};
use quick_cache::sync::Cache;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        account::Role,
        entity::Timestamp,
        ids::{AccountId, UserId},
    },
    identity::{
        Principal, TokenError,
        keys::Keys,
        random_u128,
        revocations::{REVOCATIONS_MAX, RevocationStatus, Revocations},
    },
};

/// The longest access token that is parsed, in bytes. Ours have about 600; longer ones would cost more to parse.
pub const TOKEN_BYTES_MAX: usize = 1_024;
/// How many verified tokens are cached: 290 bytes each, so 29 MB (measured). Signatures of other tokens are verified
/// again.
pub const VERIFIED_MAX: usize = 100_000;
/// The longest life of an access token, in milliseconds: revocations are remembered for that long.
pub const ACCESS_MS_MAX: u64 = 3_600_000;
/// How far `iat` and `nbf` may lie in the future, in milliseconds: as far as clocks are usually corrected. `exp` has no
/// leeway.
pub const CLOCK_LEEWAY_MS: u64 = 5_000;

/// The type of an access token (RFC 9068, section 2.1); no other kind of JWT is accepted.
const TYPE: &str = "at+jwt";
/// Times in a JWT are whole seconds.
const MS_PER_SECOND: u64 = 1_000;

/// The content of a new access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) user: UserId,
    pub(super) account: AccountId,
    pub(super) role: Role,
    pub(super) epoch: u32,
    pub(super) family: u128,
    /// When the session ends; its tokens do not outlive it.
    pub(super) session_expires_at: Timestamp,
}

/// The claims of an access token. Every field but `nbf` and `run` is required, of just this type; a claim given
/// twice is refused.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    exp: u64,
    jti: String,
    /// The session, under OpenID Connect's name for it.
    sid: String,
    account: String,
    role: Role,
    epoch: u32,
    /// The run of the shop that issued the token: only that one knows all revocations since. The time of issue cannot
    /// tell the run if the clock was set back between two runs.
    #[serde(default)]
    run: Option<String>,
}

/// Issues and verifies access tokens.
pub(super) struct AccessTokens {
    keys: Arc<Keys>,
    header: Header,
    validation: Validation,
    issuer: String,
    audience: String,
    access_ms: u64,
    /// The random name of this run.
    run: String,
    verified: Cache<[u8; 32], Principal>,
    pub(super) revocations: Revocations,
}

impl AccessTokens {
    /// Tokens of `issuer` for `audience` that live `access_ms`; revocations are recorded from `now` on.
    pub(super) fn new(keys: Arc<Keys>, issuer: &str, audience: &str, access_ms: u64, now: Timestamp) -> Self {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(keys.kid().to_owned());

        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            keys,
            header,
            validation,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            access_ms,
            run: hex(random_u128()),
            verified: Cache::new(VERIFIED_MAX),
            revocations: Revocations::new(now, ACCESS_MS_MAX + CLOCK_LEEWAY_MS, REVOCATIONS_MAX),
        }
    }

    /// Issues a token; also returns when it expires.
    pub(super) fn issue(&self, grant: &Grant, now: Timestamp) -> Result<(SecretString, Timestamp), TokenError> {
        let expires_at = now.plus_ms(self.access_ms).min(grant.session_expires_at);
        let exp = expires_at.0 / MS_PER_SECOND;
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: grant.user.to_string(),
            iat: now.0 / MS_PER_SECOND,
            nbf: None,
            exp,
            jti: hex(random_u128()),
            sid: hex(grant.family),
            account: grant.account.to_string(),
            role: grant.role,
            epoch: grant.epoch,
            run: Some(self.run.clone()),
        };
        self.revocations.issued(now);
        let token = encode(&self.header, &claims, &self.keys.signing).map_err(|_| TokenError::NotSigned)?;
        Ok((token.into(), Timestamp(exp * MS_PER_SECOND)))
    }

    /// Verifies a token.
    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError> {
        let principal = self.verify_ended(token, now)?;
        let Principal { account, epoch, family, issued_at, .. } = principal;
        match self.revocations.status(account, epoch, family, issued_at) {
            RevocationStatus::Revoked => Err(TokenError::Revoked),
            RevocationStatus::Unknown => Ok(Principal { revocation: RevocationStatus::Unknown, ..principal }),
            RevocationStatus::Good => Ok(principal),
        }
    }

    /// Verifies a token, from the cache if possible; whether it was revoked is not asked.
    pub(super) fn verify_ended(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong { bytes: token.len(), bytes_max: TOKEN_BYTES_MAX });
        }
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(known) = self.verified.get(&key) {
            // Check the times at every use: a token may expire while it is cached.
            check_times(&known, now).inspect_err(|_| self.forget(&key))?;
            return Ok(known);
        }
        let principal = self.examine(token, now)?;
        self.verified.insert(key, principal);
        Ok(principal)
    }

    /// Checks everything that the token itself shows.
    fn examine(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::EdDSA {
            return Err(TokenError::WrongAlgorithm);
        }
        if header.typ.as_deref() != Some(TYPE) {
            return Err(TokenError::WrongType);
        }
        // RFC 7515, section 4.1.11: a critical header that is not understood makes a token invalid. We understand none.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        // The key id is only compared with ours. It leads to no file, no address and no key inside the token.
        let kid = header.kid.as_deref().ok_or(TokenError::UnknownKey)?;
        let key = self.keys.verifying.iter().find(|key| key.kid == kid).ok_or(TokenError::UnknownKey)?;
        let claims = decode::<Claims>(token, &key.key, &self.validation).map_err(|error| refusal(error.kind()))?.claims;

        let ms = |name, seconds: u64| seconds.checked_mul(MS_PER_SECOND).ok_or(TokenError::BadClaim { name });
        let bad = |name| TokenError::BadClaim { name };
        let principal = Principal {
            user: claims.sub.parse().map_err(|_| bad("sub"))?,
            account: claims.account.parse().map_err(|_| bad("account"))?,
            role: claims.role,
            epoch: claims.epoch,
            // A session's name has the format of ids.
            family: claims.sid.parse::<UserId>().map_err(|_| bad("sid"))?.0,
            issued_at: Timestamp(ms("iat", claims.iat)?),
            expires_at: Timestamp(ms("exp", claims.exp)?),
            revocation: if claims.run.as_ref() == Some(&self.run) {
                RevocationStatus::Good
            } else {
                RevocationStatus::Unknown
            },
        };
        // A token with a longer life would outlive the record of its revocation.
        if principal.expires_at.ms_since(principal.issued_at) > ACCESS_MS_MAX {
            return Err(bad("exp"));
        }
        check_times(&principal, now)?;
        if let Some(seconds) = claims.nbf {
            check_begun(Timestamp(ms("nbf", seconds)?), now)?;
        }
        Ok(principal)
    }

    fn forget(&self, key: &[u8; 32]) {
        self.verified.remove(key);
    }

    /// The number of cached verified tokens.
    pub(super) fn verified_count(&self) -> usize {
        self.verified.len()
    }
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, verified) = (&self.keys, self.verified_count());
        formatter.debug_struct("AccessTokens").field("keys", keys).field("verified", &verified).finish_non_exhaustive()
    }
}

fn hex(number: u128) -> String {
    format!("{number:032x}")
}

fn check_times(principal: &Principal, now: Timestamp) -> Result<(), TokenError> {
    if principal.expires_at.has_come(now) {
        return Err(TokenError::Expired { expired_at: principal.expires_at });
    }
    check_begun(principal.issued_at, now)
}

fn check_begun(valid_from: Timestamp, now: Timestamp) -> Result<(), TokenError> {
    if valid_from > now.plus_ms(CLOCK_LEEWAY_MS) {
        return Err(TokenError::NotYetValid { valid_from });
    }
    Ok(())
}

/// Maps the errors of `jsonwebtoken` to ours. Its enum may grow, hence the wildcard.
fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        ErrorKind::InvalidAlgorithm => TokenError::WrongAlgorithm,
        ErrorKind::InvalidIssuer => TokenError::WrongIssuer,
        ErrorKind::InvalidAudience => TokenError::WrongAudience,
        // The header was parsed before, so this is about a claim.
        ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
            TokenError::BadClaim { name: "one of them" }
        }
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod tests;
