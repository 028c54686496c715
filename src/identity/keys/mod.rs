//! The keys that the shop generates at its first start, and their files.
//!
//! Two files with different lifetimes. `secret.key` is permanent: every account's id is a hash keyed with it, so
//! without it nobody can log in again; a missing one is reported and never replaced, and it names the store that it
//! belongs to, so that the secret of another shop is refused. `signing.key` signs access tokens
//! and may be replaced at any time ([`Keys::rotate`]); `previous.key` is then the public half of its predecessor, whose
//! tokens stay valid until they expire. Whoever reads these files can impersonate anybody, so a file that others can
//! read is refused. Depends on aws-lc-rs and `jsonwebtoken`'s key types.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
    rand::{self, SystemRandom},
    signature::{Ed25519KeyPair, KeyPair},
};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use secrecy::zeroize::Zeroizing;
use serde_json::json;

use crate::config::layout::{DIRECTORY_MODE, FILE_MODE, OTHERS_MODE};

/// The longest key file, in bytes. Key files have less than 200; a longer file is something else and is not read.
const FILE_BYTES_MAX: u64 = 4_096;
/// The length of the secret for keyed hashes, in bytes: as long as the output of HMAC-SHA256 (RFC 2104, section 3).
const SECRET_BYTES: usize = 32;
/// The length of the store's identity in front of the secret, in bytes.
const STORE_BYTES: usize = 8;
/// The length of an Ed25519 public key, in bytes (RFC 8032).
const PUBLIC_KEY_BYTES: usize = 32;
/// The length of the secret's fingerprint in front of other keys, in bytes.
const FINGERPRINT_BYTES: usize = 16;
/// The length of the checksum at the end of a file, in bytes.
const CHECKSUM_BYTES: usize = 32;

/// The name of the secret's file in its directory.
pub const SECRET_FILE: &str = "secret.key";
/// The name of the file of the key that signs.
pub const SIGNING_FILE: &str = "signing.key";

const SECRET: KeyFile = KeyFile { name: SECRET_FILE, magic: b"souk secret 1\n", remedy: "restore it from a backup" };
const SIGNING: KeyFile = KeyFile {
    name: SIGNING_FILE,
    magic: b"souk signing 1\n",
    remedy: "delete it; the next start makes it anew, and access tokens that are out end",
};
const PREVIOUS: KeyFile = KeyFile {
    name: "previous.key",
    magic: b"souk previous 1\n",
    remedy: "delete it; access tokens that it signed end",
};

/// Why the keys cannot be used.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Others than the owner may read or write the file or directory.
    #[error("{} is open to others (mode {mode:03o}): whoever read it can be anybody; run chmod go= on it", path.display())]
    OpenToOthers { path: PathBuf, mode: u32 },
    /// The file is not what was written: cut short, changed, or another kind of file.
    #[error("{} is damaged: {remedy}", path.display())]
    Damaged { path: PathBuf, remedy: &'static str },
    /// The secret belongs to another store, with which no account would be found; or the key was made beside another
    /// secret, and whoever holds tokens of that shop would be let in.
    #[error("{} is the key of another shop: {remedy}", path.display())]
    OtherShop { path: PathBuf, remedy: &'static str },
    /// There is a signing key, but the secret beside it is missing. With a new secret no account would be found.
    #[error("{} is missing, and no account can be found without it: restore it from a backup", path.display())]
    SecretMissing {
        /// Where the secret should be.
        path: PathBuf,
    },
    /// A call on the file system failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The operation, for the message.
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The cryptographic library could not generate a key.
    #[error("no key could be made: the system's randomness failed")]
    NotMade,
}

/// The secret for keyed hashes, and the store whose accounts are hashed with it.
struct Secret {
    store: u64,
    bytes: Zeroizing<[u8; SECRET_BYTES]>,
}

impl Secret {
    fn generate(store: u64) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        rand::fill(&mut *bytes).map_err(|_| KeyError::NotMade)?;
        Ok(Self { store, bytes })
    }

    fn parse(payload: &[u8]) -> Option<Self> {
        let (store, bytes) = payload.split_first_chunk::<STORE_BYTES>()?;
        Some(Self { store: u64::from_be_bytes(*store), bytes: Zeroizing::new(bytes.try_into().ok()?) })
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&self.store.to_be_bytes()[..], &*self.bytes].concat())
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &*self.bytes)
    }
}

/// The purpose of a keyed hash. Hashes for different purposes differ, whatever is hashed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// An account's id, from its e-mail address.
    AccountId,
    /// The authenticity of a refresh token.
    RefreshToken,
    /// The authenticity of a ticket.
    Ticket,
    /// Comparing one secret with another without revealing it.
    Fingerprint,
    /// Hashes for other rooms.
    Named(&'a str),
}

/// A public key that verifies access tokens, and its key id.
pub(super) struct VerifyingKey {
    pub(super) kid: String,
    pub(super) key: DecodingKey,
    public: [u8; PUBLIC_KEY_BYTES],
}

impl VerifyingKey {
    fn new(public: [u8; PUBLIC_KEY_BYTES]) -> Self {
        Self { kid: thumbprint(&public), key: DecodingKey::from_ed_der(&public), public }
    }
}

/// All keys of the shop.
pub struct Keys {
    pub(super) signing: EncodingKey,
    /// The first one belongs to `signing`; the second, if any, is its predecessor.
    pub(super) verifying: Vec<VerifyingKey>,
    secret: hmac::Key,
}

impl Keys {
    /// Reads the keys in `directory`, which are those of the shop with this store, or generates them if there are none.
    ///
    /// # Errors
    /// [`KeyError`]: open to others, damaged, missing, another shop's, or the file system refuses.
    pub fn open(directory: &Path, store: u64) -> Result<Self, KeyError> {
        let files = KeyDirectory::open(directory)?;
        let secret = files.read_secret()?;
        let signing = files.read(SIGNING)?;
        // The secret is written first. So a signing key without a secret is not the trace of an interrupted first
        // start: the secret was lost.
        let secret = match (secret, &signing) {
            (Some(secret), _) if secret.store == store => secret,
            (Some(_), _) => return Err(KeyError::OtherShop { path: files.path(SECRET), remedy: SECRET.remedy }),
            (None, Some(_)) => return Err(KeyError::SecretMissing { path: files.path(SECRET) }),
            (None, None) => {
                let secret = Secret::generate(store)?;
                files.write(SECRET, &secret.to_bytes())?;
                secret
            }
        };
        let secret = secret.key();
        let signing = match signing {
            Some(signing) => files.of_this_shop(SIGNING, &signing, &secret)?,
            None => files.write_signing_key(&secret)?,
        };
        let mut verifying = vec![VerifyingKey::new(files.public_of(&signing)?)];
        if let Some(previous) = files.read(PREVIOUS)? {
            let previous = files.of_this_shop(PREVIOUS, &previous, &secret)?;
            let public = previous.as_slice().try_into().map_err(|_| files.damaged(PREVIOUS))?;
            verifying.push(VerifyingKey::new(public));
        }
        Ok(Self { signing: EncodingKey::from_ed_der(&signing), verifying, secret })
    }

    /// Replaces the signing key in `directory`, effective from the next start. Tokens of the replaced key stay valid;
    /// tokens of its predecessor do not, so leave at least the life of an access token between two rotations.
    ///
    /// # Errors
    /// As [`Keys::open`].
    pub fn rotate(directory: &Path) -> Result<(), KeyError> {
        let files = KeyDirectory::open(directory)?;
        let secret = files.read_secret()?.ok_or_else(|| KeyError::SecretMissing { path: files.path(SECRET) })?.key();
        if let Some(signing) = files.read(SIGNING)? {
            let public = files.public_of(&files.of_this_shop(SIGNING, &signing, &secret)?)?;
            files.write(PREVIOUS, &marked(&public, &secret))?;
        }
        files.write_signing_key(&secret).map(drop)
    }

    /// The key id of the signing key: its RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.verifying.first().map_or("", |key| &key.kid)
    }

    /// The public keys as a JSON Web Key Set (RFC 7517, RFC 8037).
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        let jwk = |key: &VerifyingKey| {
            let x = BASE64URL_NOPAD.encode(&key.public);
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig", "alg": "EdDSA", "kid": key.kid })
        };
        json!({ "keys": self.verifying.iter().map(jwk).collect::<Vec<_>>() })
    }

    /// [`tag`] with the shop's secret.
    pub(super) fn tag(&self, purpose: Purpose<'_>, parts: &[&[u8]]) -> hmac::Tag {
        tag(&self.secret, purpose, parts)
    }

    /// The first 128 bits of [`Keys::tag`], as an id. Nobody can search for collisions without the secret.
    pub(super) fn hash_u128(&self, purpose: Purpose<'_>, parts: &[&[u8]]) -> u128 {
        first_u128(&self.tag(purpose, parts))
    }
}

/// HMAC-SHA256 over the parts, each with its length before it, so that no two lists of parts read the same.
fn tag(secret: &hmac::Key, purpose: Purpose<'_>, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(secret);
    let mut update = |part: &[u8]| {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    };
    match purpose {
        Purpose::AccountId => update(b"account id"),
        Purpose::RefreshToken => update(b"refresh token"),
        Purpose::Ticket => update(b"ticket"),
        Purpose::Fingerprint => update(b"fingerprint"),
        Purpose::Named(name) => {
            update(b"named");
            update(name.as_bytes());
        }
    }
    parts.iter().for_each(|part| update(part));
    context.sign()
}

fn first_u128(tag: &hmac::Tag) -> u128 {
    tag.as_ref().iter().take(FINGERPRINT_BYTES).fold(0, |hash, byte| hash << 8 | u128::from(*byte))
}

/// A key's payload behind the fingerprint of the secret that it was made beside.
fn marked(payload: &[u8], secret: &hmac::Key) -> Zeroizing<Vec<u8>> {
    let fingerprint = first_u128(&tag(secret, Purpose::Fingerprint, &[])).to_be_bytes();
    Zeroizing::new([&fingerprint[..], payload].concat())
}

/// The fingerprint of the secret in `directory`, which tells it from another shop's; `None` where there is none.
///
/// # Errors
/// As [`Keys::open`].
pub fn fingerprint(directory: &Path) -> Result<Option<u128>, KeyError> {
    if !directory.exists() {
        return Ok(None);
    }
    let secret = KeyDirectory::open(directory)?.read_secret()?;
    Ok(secret.map(|secret| first_u128(&tag(&secret.key(), Purpose::Fingerprint, &[]))))
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keys").field("kid", &self.kid()).finish_non_exhaustive()
    }
}

/// Copies the secret into another directory, for a backup: without it no account would be found. The signing key is not
/// copied. Returns the name of the file.
///
/// # Errors
/// As [`Keys::open`].
pub fn copy_secret(from: &Path, to: &Path) -> Result<&'static str, KeyError> {
    let files = KeyDirectory::open(from)?;
    let secret = files.read_secret()?.ok_or_else(|| KeyError::SecretMissing { path: files.path(SECRET) })?;
    KeyDirectory::open(to)?.write(SECRET, &secret.to_bytes())?;
    Ok(SECRET.name)
}

/// RFC 7638: the hash of the members that define the key, in alphabetical order, without spaces.
fn thumbprint(public: &[u8]) -> String {
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, BASE64URL_NOPAD.encode(public));
    BASE64URL_NOPAD.encode(digest(&SHA256, canonical.as_bytes()).as_ref())
}

/// A kind of file. Its content is: magic, payload, SHA-256 of both.
#[derive(Clone, Copy)]
struct KeyFile {
    name: &'static str,
    magic: &'static [u8],
    /// What to do where the file is damaged.
    remedy: &'static str,
}

/// The locked directory: when two processes start at once, the second one finds what the first one generated.
struct KeyDirectory {
    directory: PathBuf,
    handle: File,
}

impl KeyDirectory {
    fn open(directory: &Path) -> Result<Self, KeyError> {
        let io = |doing| move |source| KeyError::Io { doing, path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory).map_err(io("create"))?;
        let handle = File::open(directory).map_err(io("open"))?;
        check_mode(directory, &handle)?;
        handle.lock().map_err(io("lock"))?;
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = File::open(parent.unwrap_or(Path::new(".")));
        parent.and_then(|parent| parent.sync_all()).map_err(io("sync the parent of"))?;
        Ok(Self { directory: directory.to_owned(), handle })
    }

    fn path(&self, file: KeyFile) -> PathBuf {
        self.directory.join(file.name)
    }

    fn damaged(&self, file: KeyFile) -> KeyError {
        KeyError::Damaged { path: self.path(file), remedy: file.remedy }
    }

    fn read_secret(&self) -> Result<Option<Secret>, KeyError> {
        let Some(payload) = self.read(SECRET)? else { return Ok(None) };
        Secret::parse(&payload).map(Some).ok_or_else(|| self.damaged(SECRET))
    }

    /// The payload of a key that was made beside this secret.
    fn of_this_shop(
        &self,
        file: KeyFile,
        content: &Zeroizing<Vec<u8>>,
        secret: &hmac::Key,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let payload = content.get(FINGERPRINT_BYTES..).ok_or_else(|| self.damaged(file))?;
        if marked(payload, secret) != *content {
            return Err(KeyError::OtherShop { path: self.path(file), remedy: file.remedy });
        }
        Ok(Zeroizing::new(payload.to_vec()))
    }

    fn public_of(&self, signing: &[u8]) -> Result<[u8; PUBLIC_KEY_BYTES], KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(signing).map_err(|_| self.damaged(SIGNING))?;
        pair.public_key().as_ref().try_into().map_err(|_| self.damaged(SIGNING))
    }

    /// The payload of a file; `None` if there is no such file.
    fn read(&self, file: KeyFile) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
        let path = self.path(file);
        let io = |source| KeyError::Io { doing: "read", path: path.clone(), source };
        // Do not follow a link: its target could be in a directory that others can write.
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let handle = match OpenOptions::new().read(true).custom_flags(no_follow).open(&path) {
            Ok(handle) => handle,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        check_mode(&path, &handle)?;
        let mut bytes = Zeroizing::new(Vec::new());
        handle.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
        let payload = || {
            let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
            let whole = digest(&SHA256, content).as_ref() == checksum && bytes.len() as u64 <= FILE_BYTES_MAX;
            content.strip_prefix(file.magic).filter(|_| whole)
        };
        let payload = payload().ok_or_else(|| self.damaged(file))?;
        Ok(Some(Zeroizing::new(payload.to_vec())))
    }

    /// Writes a file atomically, also across a power failure.
    fn write(&self, file: KeyFile, payload: &[u8]) -> Result<(), KeyError> {
        let path = self.path(file);
        let draft = path.with_extension("new");
        let mut content = Zeroizing::new([file.magic, payload].concat());
        let checksum = digest(&SHA256, &content);
        content.extend_from_slice(checksum.as_ref());
        let written = || {
            match fs::remove_file(&draft) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut handle = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&draft)?;
            handle.write_all(&content)?;
            handle.sync_all()?;
            fs::rename(&draft, &path)?;
            self.handle.sync_all()
        };
        written().map_err(|source| KeyError::Io { doing: "write", path: path.clone(), source })
    }

    fn write_signing_key(&self, secret: &hmac::Key) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::NotMade)?;
        let signing = Zeroizing::new(document.as_ref().to_vec());
        self.write(SIGNING, &marked(&signing, secret))?;
        Ok(signing)
    }
}

/// Checks the mode of the open handle, not of the path, so that the file cannot be exchanged in between.
fn check_mode(path: &Path, handle: &File) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { doing: "examine", path: path.to_owned(), source };
    let mode = handle.metadata().map_err(io)?.permissions().mode() & 0o777;
    match mode & OTHERS_MODE {
        0 => Ok(()),
        _ => Err(KeyError::OpenToOthers { path: path.to_owned(), mode }),
    }
}
