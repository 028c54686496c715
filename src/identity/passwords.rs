//! Passwords: hashed with argon2id, on blocking threads, few at once.
//!
//! A hash costs 19 MiB and about 15 ms of a core by design, which makes a login the cheapest way to exhaust the shop.
//! So the number of hashes that run and of those that wait is limited, and shared fairly between peers
//! ([`fair_queue`](super::fair_queue)). The memory is kept and reused: freed memory stays with the allocator's arena of
//! each thread, and a burst of logins would then hold several times as much. An address without an account costs as
//! much as a wrong password, so the response time does not tell who has an account.
//!
//! One password may be typed in several forms: systems compose letters or not, and have blanks of their own. So it is
//! brought to one form before it is hashed (OpaqueString, RFC 8265). Nothing else is changed, cut off or trimmed.
//!
//! Depends on `domain`, `argon2`, aws-lc-rs, `icu_normalizer`, tokio.

use std::{fmt, sync::Arc};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{self, Output, ParamsString, Salt},
};
use aws_lc_rs::{constant_time, rand};
use icu_normalizer::ComposingNormalizerBorrowed;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};

use super::fair_queue::{FairQueue, Full, Peer};
use crate::domain::account::PasswordHash;

/// How many passwords are hashed at once at most, with 76 MiB. It is half of the cores: a wave of guesses leaves the
/// others to the rest of the shop.
const AT_ONCE_MAX: usize = 4;
/// How many requests wait for that. At 15 ms each, the last one waits a second; beyond that a refusal serves the client
/// better.
const WAITING_MAX: usize = 64;
/// The shortest password, in characters (NIST SP 800-63B). Length is the only rule: rules on composition lead to weaker
/// passwords.
pub const PASSWORD_CHARACTERS_MIN: usize = 8;
/// The longest password, in characters. NIST asks for at least 64; the input of the hash needs some limit.
pub const PASSWORD_CHARACTERS_MAX: usize = 128;
/// The longest text that is brought to the form of a password, in bytes. A letter that is not composed has several
/// characters, of at most four bytes each.
const TEXT_BYTES_MAX: usize = PASSWORD_CHARACTERS_MAX * 16;

/// The length of a salt, in bytes (RFC 9106, section 3.1).
const SALT_BYTES: usize = 16;
/// The most memory that a stored hash may ask for, in blocks of 1 KiB: three times today's default. A damaged hash
/// could otherwise ask for terabytes.
const BLOCKS_MAX: usize = 65_536;

/// Why a password was not hashed or verified.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Too many passwords are being hashed. Nothing was executed; try again in a moment.
    #[error("too many logins at once: {waiting_max} are waiting")]
    Busy { waiting_max: usize },
    /// The password is shorter or longer than allowed.
    #[error("a password has {characters_min} to {characters_max} characters, not {characters}")]
    Length { characters: usize, characters_min: usize, characters_max: usize },
    /// The password has a character that no keyboard types: a line break, a NUL.
    #[error("a password has no control characters")]
    ControlCharacter,
    /// The stored text is not a hash that this shop made.
    #[error("the stored password hash is damaged")]
    DamagedHash,
    /// The hashing itself failed: no memory, no randomness, or the shop is stopping.
    #[error("the password could not be hashed")]
    Failed,
}

/// Whether a password matches. An enum, because a mistaken `bool` here would be a security hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password is that of the account.
    Right,
    /// The password is another one, or there is no such account.
    Wrong,
}

/// Hashes and verifies passwords, within limits. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    queue: FairQueue,
    hasher: Arc<Hasher>,
    /// The hash of a random password; verified when there is no account.
    unusable_hash: PasswordHash,
}

impl Passwords {
    /// Hashes one random password.
    ///
    /// # Errors
    /// [`PasswordError::Failed`] without memory or randomness.
    pub fn new() -> Result<Self, PasswordError> {
        let mut password = [0_u8; 32];
        rand::fill(&mut password).map_err(|_| PasswordError::Failed)?;
        let hasher = Arc::new(Hasher::default());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let queue = FairQueue::new((cores / 2).clamp(1, AT_ONCE_MAX), WAITING_MAX);
        Ok(Self { unusable_hash: hasher.hash(&password)?, hasher, queue })
    }

    /// The hash of a random password that nobody knows, for accounts that nobody may log in to with a password.
    #[must_use]
    pub fn unusable_hash(&self) -> &PasswordHash {
        &self.unusable_hash
    }

    /// Hashes a new password with a new salt.
    ///
    /// # Errors
    /// [`PasswordError::Length`], [`PasswordError::ControlCharacter`], [`PasswordError::Busy`],
    /// [`PasswordError::Failed`].
    pub async fn hash(&self, peer: Peer, password: SecretString) -> Result<PasswordHash, PasswordError> {
        let password = prepare(password)?;
        self.run(peer, move |hasher| hasher.hash(password.expose_secret().as_bytes())).await
    }

    /// Verifies the password against the account's hash; `None` if there is no such account.
    ///
    /// # Errors
    /// [`PasswordError::Busy`], [`PasswordError::DamagedHash`], [`PasswordError::Failed`].
    pub async fn verify(
        &self,
        peer: Peer,
        password: SecretString,
        hash: Option<&PasswordHash>,
    ) -> Result<Verdict, PasswordError> {
        // No account has such a password, and this answer does not depend on the account.
        let Ok(password) = prepare(password) else { return Ok(Verdict::Wrong) };
        // No password matches the random hash, but the answer must not depend on that.
        let (hash, best) = match hash {
            Some(hash) => (hash.clone(), Verdict::Right),
            None => (self.unusable_hash.clone(), Verdict::Wrong),
        };
        let found = self.run(peer, move |hasher| hasher.verify(password.expose_secret().as_bytes(), &hash)).await?;
        let verdict = match found {
            Verdict::Right => best,
            Verdict::Wrong => Verdict::Wrong,
        };
        if verdict == Verdict::Wrong {
            self.queue.count_wrong(peer);
        }
        Ok(verdict)
    }

    /// Runs work on a blocking thread. The permit moves with the work, so a caller that gives up does not free it
    /// early.
    async fn run<T: Send + 'static>(
        &self,
        peer: Peer,
        work: impl FnOnce(&Hasher) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let busy = |Full| PasswordError::Busy { waiting_max: WAITING_MAX };
        let permit = self.queue.permit(peer).await.map_err(busy)?;
        let hasher = Arc::clone(&self.hasher);
        let work = move || {
            let done = work(&hasher);
            drop(permit);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| PasswordError::Failed)?
    }
}

/// Checks a new password against the rules.
///
/// # Errors
/// [`PasswordError::Length`], [`PasswordError::ControlCharacter`].
pub fn check(password: &SecretString) -> Result<(), PasswordError> {
    prepare(password.clone()).map(drop)
}

/// The form in which a password is hashed: composed (NFC), with plain blanks.
///
/// # Errors
/// [`PasswordError::Length`], [`PasswordError::ControlCharacter`].
fn prepare(password: SecretString) -> Result<SecretString, PasswordError> {
    let text = password.expose_secret();
    if text.len() > TEXT_BYTES_MAX {
        return Err(wrong_length(text.chars().count()));
    }
    if text.chars().any(char::is_control) {
        return Err(PasswordError::ControlCharacter);
    }
    let prepared = if text.is_ascii() {
        password
    } else {
        // What is white space and neither a control character nor a break of lines is a blank of some width.
        let is_blank = |one: char| one.is_whitespace() && !matches!(one, '\u{2028}' | '\u{2029}');
        let plain: SecretString =
            text.chars().map(|one| if is_blank(one) { ' ' } else { one }).collect::<String>().into();
        SecretString::from(ComposingNormalizerBorrowed::new_nfc().normalize(plain.expose_secret()).into_owned())
    };
    match prepared.expose_secret().chars().count() {
        characters if (PASSWORD_CHARACTERS_MIN..=PASSWORD_CHARACTERS_MAX).contains(&characters) => Ok(prepared),
        characters => Err(wrong_length(characters)),
    }
}

fn wrong_length(characters: usize) -> PasswordError {
    let (characters_min, characters_max) = (PASSWORD_CHARACTERS_MIN, PASSWORD_CHARACTERS_MAX);
    PasswordError::Length { characters, characters_min, characters_max }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Passwords").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// The memory for hashing, reused: as many blocks as there ever were hashes at once.
#[derive(Default)]
struct Hasher {
    idle: Mutex<Vec<Vec<Block>>>,
}

impl Hasher {
    fn hash(&self, password: &[u8]) -> Result<PasswordHash, PasswordError> {
        let failed = |_| PasswordError::Failed;
        let (algorithm, version, params) = (Algorithm::Argon2id, Version::default(), Params::default());
        let mut salt = [0_u8; SALT_BYTES];
        rand::fill(&mut salt).map_err(|_| PasswordError::Failed)?;
        let mut out = [0_u8; Params::DEFAULT_OUTPUT_LEN];
        let argon2 = Argon2::new(algorithm, version, params.clone());
        self.compute(&argon2, password, &salt, &mut out)?;
        let hash = phc::PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: ParamsString::try_from(&params).map_err(|_| PasswordError::Failed)?,
            salt: Some(Salt::new(&salt).map_err(failed)?),
            hash: Some(Output::new(&out).map_err(failed)?),
        };
        Ok(PasswordHash::new(&hash.to_string()))
    }

    /// Uses the parameters in the hash, so that hashes from before a change of the defaults still verify.
    fn verify(&self, password: &[u8], hash: &PasswordHash) -> Result<Verdict, PasswordError> {
        let damaged = PasswordError::DamagedHash;
        let parsed = phc::PasswordHash::new(hash.expose()).map_err(|_| damaged.clone())?;
        let algorithm = Algorithm::try_from(parsed.algorithm.as_str()).map_err(|_| damaged.clone())?;
        let version = parsed.version.and_then(|version| Version::try_from(version).ok()).ok_or(damaged.clone())?;
        let params = Params::try_from(&parsed).map_err(|_| damaged.clone())?;
        let (Some(salt), Some(expected)) = (&parsed.salt, &parsed.hash) else { return Err(damaged) };
        if params.block_count() > BLOCKS_MAX {
            return Err(damaged);
        }
        let mut found = vec![0_u8; expected.len()];
        self.compute(&Argon2::new(algorithm, version, params), password, salt, &mut found)?;
        match constant_time::verify_slices_are_equal(expected.as_ref(), &found) {
            Ok(()) => Ok(Verdict::Right),
            Err(_) => Ok(Verdict::Wrong),
        }
    }

    fn compute(&self, argon2: &Argon2<'_>, password: &[u8], salt: &[u8], out: &mut [u8]) -> Result<(), PasswordError> {
        let mut blocks = self.idle.lock().pop().unwrap_or_default();
        blocks.resize(argon2.params().block_count(), Block::new());
        let computed = argon2.hash_password_into_with_memory(password, salt, out, &mut blocks);
        self.idle.lock().push(blocks);
        computed.map_err(|_| PasswordError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn a_password_matches_its_hash_and_no_other() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash(None, secret("correct horse")).await.unwrap();
        assert!(hash.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.expose());
        assert!(hash.expose().len() <= crate::domain::account::PASSWORD_HASH_BYTES_MAX);
        let again = passwords.hash(None, secret("correct horse")).await.unwrap();
        assert_ne!(hash, again, "each has its own salt");
        assert_eq!(passwords.verify(None, secret("correct horse"), Some(&hash)).await, Ok(Verdict::Right));
        for wrong in ["correct horsf", "", "correct horse ", &"x".repeat(600)] {
            assert_eq!(passwords.verify(None, secret(wrong), Some(&hash)).await, Ok(Verdict::Wrong));
        }
        assert_eq!(passwords.verify(None, secret("correct horse"), None).await, Ok(Verdict::Wrong));
    }

    #[tokio::test]
    async fn a_damaged_hash_is_reported_as_damaged() {
        let passwords = Passwords::new().unwrap();
        for damaged in [
            "",
            "plain",
            "$argon2id$v=19$m=19456,t=2,p=1$",
            "$md5$abc",
            "$argon2id$v=19$m=0,t=0,p=0$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNo",
            "$argon2id$v=19$m=4000000000,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNo",
        ] {
            let hash = PasswordHash::new(damaged);
            let verdict = passwords.verify(None, secret("correct horse"), Some(&hash)).await;
            assert_eq!(verdict, Err(PasswordError::DamagedHash), "{damaged}");
        }
    }

    #[tokio::test]
    async fn hashes_are_those_of_the_library() {
        use argon2::{PasswordHasher, PasswordVerifier};
        let passwords = Passwords::new().unwrap();
        for round in 0..3 {
            let theirs: phc::PasswordHash = Argon2::default().hash_password(b"correct horse").unwrap();
            let theirs = PasswordHash::new(&theirs.to_string());
            assert_eq!(
                passwords.verify(None, secret("correct horse"), Some(&theirs)).await,
                Ok(Verdict::Right),
                "{round}"
            );
            let ours = passwords.hash(None, secret("correct horse")).await.unwrap();
            assert_eq!(Argon2::default().verify_password(b"correct horse", ours.expose()), Ok(()), "{round}");
        }
        // Other parameters than the default, between two hashes in the same memory.
        let params = Params::new(64, 3, 2, Some(20)).unwrap();
        let earlier: phc::PasswordHash = Argon2::from(params).hash_password(b"correct horse").unwrap();
        let earlier = PasswordHash::new(&earlier.to_string());
        assert_eq!(passwords.verify(None, secret("correct horse"), Some(&earlier)).await, Ok(Verdict::Right));
        assert_eq!(passwords.verify(None, secret("correct house"), Some(&earlier)).await, Ok(Verdict::Wrong));
        assert_eq!(passwords.hasher.idle.lock().len(), 1, "one after another, in the same memory");
    }

    fn prepared(text: &str) -> Result<String, PasswordError> {
        prepare(secret(text)).map(|password| password.expose_secret().to_owned())
    }

    #[test]
    fn a_password_has_any_characters_and_is_bounded_in_their_number() {
        for good in ["12345678", "        ", " pass phrase ", &"ß".repeat(128), "パスワードの言葉", "🐪🐪🐪🐪🐪🐪🐪🐪"]
        {
            assert_eq!(prepared(good).as_deref(), Ok(good));
        }
        let refused = |characters| PasswordError::Length { characters, characters_min: 8, characters_max: 128 };
        for (bad, characters) in [
            ("1234567", 7),
            ("", 0),
            (&*"ß".repeat(129), 129),
            // Seven letters, however they are typed.
            (&*"a\u{308}".repeat(7), 7),
            (&*"x".repeat(600), 600),
        ] {
            assert_eq!(prepared(bad), Err(refused(characters)));
        }
        assert_eq!(prepared(&"a\u{308}".repeat(128)).unwrap().chars().count(), 128);
        assert!(prepared(&"a\u{308}".repeat(100_000)).is_err());
        for control in ["12345678\n", "1234\u{0}5678", "12345678\u{85}", "1234\t5678"] {
            assert_eq!(prepared(control), Err(PasswordError::ControlCharacter));
        }
    }

    #[tokio::test]
    async fn a_password_is_the_same_however_a_system_types_it() {
        let passwords = Passwords::new().unwrap();
        for (typed, elsewhere) in [
            ("pässwörd1", "pa\u{308}sswo\u{308}rd1"),
            ("비밀번호가나다라", "\u{1107}\u{1175}\u{1106}\u{1175}\u{11af}번호가나다라"),
            ("correct\u{a0}horse", "correct horse"),
            ("correct\u{3000}horse", "correct horse"),
            ("Å\u{212b}12345678", "ÅÅ12345678"),
        ] {
            let hash = passwords.hash(None, secret(typed)).await.unwrap();
            assert_eq!(passwords.verify(None, secret(elsewhere), Some(&hash)).await, Ok(Verdict::Right), "{typed}");
        }
        let hash = passwords.hash(None, secret(" Pass phrase ")).await.unwrap();
        for other in ["Pass phrase", " pass phrase ", " Pass  phrase ", " Ｐass phrase "] {
            assert_eq!(passwords.verify(None, secret(other), Some(&hash)).await, Ok(Verdict::Wrong), "{other}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_request_too_many_is_refused_until_another_has_ended() {
        let mut passwords = Passwords::new().unwrap();
        passwords.queue = FairQueue::new(1, 0);
        let held = passwords.queue.permit(None).await.unwrap();
        let refused = passwords.verify(None, secret("correct horse"), None).await;
        assert_eq!(refused, Err(PasswordError::Busy { waiting_max: WAITING_MAX }));
        drop(held);
        for _ in 0..2 {
            assert_eq!(passwords.verify(None, secret("correct horse"), None).await, Ok(Verdict::Wrong));
        }
    }

    #[tokio::test]
    async fn an_unknown_account_costs_what_a_wrong_password_costs() {
        // Time is no reliable test on a busy machine. The same parameters mean the same work, and the work is done.
        let mut passwords = Passwords::new().unwrap();
        let hash = passwords.hash(None, secret("correct horse")).await.unwrap();
        let work = |hash: &PasswordHash| {
            let hash = phc::PasswordHash::new(hash.expose()).unwrap();
            (hash.algorithm, hash.version, hash.params.to_string(), hash.salt.map(|salt| salt.len()))
        };
        assert_eq!(work(&passwords.unusable_hash), work(&hash));
        passwords.unusable_hash = PasswordHash::new("damaged");
        assert_eq!(passwords.verify(None, secret("correct horse"), None).await, Err(PasswordError::DamagedHash));
    }

    #[test]
    fn passwords_are_not_in_debug_output() {
        let passwords = Passwords::new().unwrap();
        assert!(!format!("{passwords:?} {:?}", secret("correct horse")).contains("correct"));
        assert!(!format!("{passwords:?}").contains("argon2"));
    }
}
