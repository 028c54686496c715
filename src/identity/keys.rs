//! The keys that the shop generates at its first start, and their files.
//!
//! Two files with different lifetimes. `secret.key` is permanent: every account's id is a hash keyed with it, so
//! without it nobody can log in again; a missing one is reported and never replaced. `signing.key` signs access tokens
//! and may be replaced at any time ([`Keys::rotate`]); `previous.key` is then the public half of its predecessor, whose
//! tokens stay valid until they expire. Whoever reads these files can impersonate anybody, so a file that others can
//! read is refused. Depends on aws-lc-rs and `jsonwebtoken`'s key types.

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

/// The permission bits that only the owner may have.
const MODE_OF_OTHERS: u32 = 0o077;
/// The mode of a key file: its owner may read and write it.
const MODE_FILE: u32 = 0o600;
/// The mode of the directory of keys.
const MODE_DIRECTORY: u32 = 0o700;
/// The longest key file, in bytes. Key files have less than 200; a longer file is something else and is not read.
const FILE_BYTES_MAX: u64 = 4_096;
/// The length of the secret for keyed hashes, in bytes: as long as the output of HMAC-SHA256 (RFC 2104, section 3).
const SECRET_BYTES: usize = 32;
/// The length of an Ed25519 public key, in bytes (RFC 8032).
const PUBLIC_KEY_BYTES: usize = 32;
/// The length of the checksum at the end of a file, in bytes.
const CHECKSUM_BYTES: usize = 32;

const SECRET: KeyFile = KeyFile { name: "secret.key", magic: b"souk secret 1\n" };
const SIGNING: KeyFile = KeyFile { name: "signing.key", magic: b"souk signing 1\n" };
const PREVIOUS: KeyFile = KeyFile { name: "previous.key", magic: b"souk previous 1\n" };

/// Why the keys cannot be used.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Others than the owner may read or write the file or directory.
    #[error("{} is open to others (mode {mode:03o}): whoever read it can be anybody; run chmod go= on it", path.display())]
    OpenToOthers { path: PathBuf, mode: u32 },
    /// The file is not what was written: cut short, changed, or another kind of file.
    #[error("{} is damaged: restore it from a backup", path.display())]
    Damaged { path: PathBuf },
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

/// The purpose of a keyed hash. Hashes for different purposes differ, whatever is hashed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// An account's id, from its e-mail address.
    AccountId,
    /// The authenticity of a refresh token.
    RefreshToken,
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
    /// Reads the keys in `directory`, or generates them if there are none.
    ///
    /// # Errors
    /// [`KeyError`]: open to others, damaged, missing, or the file system refuses.
    pub fn open(directory: &Path) -> Result<Self, KeyError> {
        let files = KeyDirectory::open(directory)?;
        let secret = files.read(SECRET)?;
        let signing = files.read(SIGNING)?;
        // The secret is written first. So a signing key without a secret is not the trace of an interrupted first
        // start: the secret was lost.
        let secret = match (secret, &signing) {
            (Some(secret), _) => secret,
            (None, Some(_)) => return Err(KeyError::SecretMissing { path: files.path(SECRET) }),
            (None, None) => {
                let mut secret = Zeroizing::new(vec![0; SECRET_BYTES]);
                rand::fill(&mut secret).map_err(|_| KeyError::NotMade)?;
                files.write(SECRET, &secret)?;
                secret
            }
        };
        let signing = match signing {
            Some(signing) => signing,
            None => files.write_signing_key()?,
        };
        if secret.len() != SECRET_BYTES {
            return Err(files.damaged(SECRET));
        }
        let mut verifying = vec![VerifyingKey::new(files.public_of(&signing)?)];
        if let Some(previous) = files.read(PREVIOUS)? {
            let public = previous.as_slice().try_into().map_err(|_| files.damaged(PREVIOUS))?;
            verifying.push(VerifyingKey::new(public));
        }
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Ok(Self { signing: EncodingKey::from_ed_der(&signing), verifying, secret })
    }

    /// Replaces the signing key in `directory`, effective from the next start. Tokens of the replaced key stay valid;
    /// tokens of its predecessor do not, so leave at least the life of an access token between two rotations.
    ///
    /// # Errors
    /// As [`Keys::open`].
    pub fn rotate(directory: &Path) -> Result<(), KeyError> {
        let files = KeyDirectory::open(directory)?;
        if let Some(signing) = files.read(SIGNING)? {
            files.write(PREVIOUS, &files.public_of(&signing)?)?;
        }
        files.write_signing_key().map(drop)
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

    /// HMAC-SHA256 over the parts, each preceded by its length, so that different lists of parts give different input.
    pub(super) fn tag(&self, purpose: Purpose<'_>, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.secret);
        let mut update = |part: &[u8]| {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        };
        match purpose {
            Purpose::AccountId => update(b"account id"),
            Purpose::RefreshToken => update(b"refresh token"),
            Purpose::Fingerprint => update(b"fingerprint"),
            Purpose::Named(name) => {
                update(b"named");
                update(name.as_bytes());
            }
        }
        parts.iter().for_each(|part| update(part));
        context.sign()
    }

    /// The first 128 bits of [`Keys::tag`], as an id. Nobody can search for collisions without the secret.
    pub(super) fn hash_u128(&self, purpose: Purpose<'_>, parts: &[&[u8]]) -> u128 {
        let tag = self.tag(purpose, parts);
        tag.as_ref().iter().take(16).fold(0, |hash, byte| hash << 8 | u128::from(*byte))
    }
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
    let secret = files.read(SECRET)?.ok_or_else(|| KeyError::SecretMissing { path: files.path(SECRET) })?;
    KeyDirectory::open(to)?.write(SECRET, &secret)?;
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
}

/// The locked directory: when two processes start at once, the second one finds what the first one generated.
struct KeyDirectory {
    directory: PathBuf,
    handle: File,
}

impl KeyDirectory {
    fn open(directory: &Path) -> Result<Self, KeyError> {
        let io = |doing| move |source| KeyError::Io { doing, path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(MODE_DIRECTORY).create(directory).map_err(io("create"))?;
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
        KeyError::Damaged { path: self.path(file) }
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
            let mut handle = OpenOptions::new().write(true).create_new(true).mode(MODE_FILE).open(&draft)?;
            handle.write_all(&content)?;
            handle.sync_all()?;
            fs::rename(&draft, &path)?;
            self.handle.sync_all()
        };
        written().map_err(|source| KeyError::Io { doing: "write", path: path.clone(), source })
    }

    fn write_signing_key(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::NotMade)?;
        let signing = Zeroizing::new(document.as_ref().to_vec());
        self.write(SIGNING, &signing)?;
        Ok(signing)
    }
}

/// Checks the mode of the open handle, not of the path, so that the file cannot be exchanged in between.
fn check_mode(path: &Path, handle: &File) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { doing: "examine", path: path.to_owned(), source };
    let mode = handle.metadata().map_err(io)?.permissions().mode() & 0o777;
    match mode & MODE_OF_OTHERS {
        0 => Ok(()),
        _ => Err(KeyError::OpenToOthers { path: path.to_owned(), mode }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn fingerprint(keys: &Keys) -> u128 {
        keys.hash_u128(Purpose::Fingerprint, &[])
    }

    #[test]
    fn the_first_start_generates_keys_and_the_second_reads_them() {
        let data = tempfile::tempdir().unwrap();
        let directory = data.path().join("deep/identity");
        let first = Keys::open(&directory).unwrap();
        let second = Keys::open(&directory).unwrap();
        assert_eq!(first.kid(), second.kid());
        assert_eq!(fingerprint(&first), fingerprint(&second));
        assert_eq!(mode_of(&directory), 0o700);
        let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(names.len(), 2, "no drafts stay behind: {names:?}");
        assert!(names.iter().all(|path| mode_of(path) == 0o600));

        let other = Keys::open(&data.path().join("other")).unwrap();
        assert_ne!(first.kid(), other.kid());
        assert_ne!(fingerprint(&first), fingerprint(&other));
    }

    #[test]
    fn concurrent_starts_generate_one_set_of_keys() {
        let data = tempfile::tempdir().unwrap();
        let open = || Keys::open(&data.path().join("identity")).unwrap().kid().to_owned();
        let kids: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(kids.iter().all(|kid| kid == &kids[0]));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let directory = data.path().join("identity");
        Keys::open(&directory).unwrap();
        for (path, mode) in [("secret.key", 0o640), ("signing.key", 0o604), ("signing.key", 0o622), ("", 0o755)] {
            let path = directory.join(path);
            let before = mode_of(&path);
            set_mode(&path, mode);
            match Keys::open(&directory) {
                Err(KeyError::OpenToOthers { mode: found, .. }) => assert_eq!(found, mode),
                other => panic!("{}: {other:?}", path.display()),
            }
            set_mode(&path, before);
        }
        Keys::open(&directory).unwrap();
    }

    #[test]
    fn a_damaged_key_is_refused_and_left_alone() {
        let data = tempfile::tempdir().unwrap();
        Keys::open(data.path().join("identity").as_path()).unwrap();
        for name in ["secret.key", "signing.key"] {
            let path = data.path().join("identity").join(name);
            let good = fs::read(&path).unwrap();
            let other_file = fs::read(path.with_file_name("secret.key")).unwrap();
            let mut damages: Vec<Vec<u8>> = vec![Vec::new(), good[1..].to_vec(), good[..good.len() - 1].to_vec()];
            damages.push([&good[..], b"\n"].concat());
            damages.push(vec![0; 10_000]);
            for index in 0..good.len() {
                let mut flipped = good.clone();
                flipped[index] ^= 1;
                damages.push(flipped);
            }
            if name == "signing.key" {
                damages.push(other_file);
            }
            for damage in damages {
                fs::write(&path, &damage).unwrap();
                let opened = Keys::open(&data.path().join("identity"));
                assert!(matches!(opened, Err(KeyError::Damaged { .. })), "{name}: {opened:?}");
                assert_eq!(fs::read(&path).unwrap(), damage, "a damaged key is evidence");
            }
            fs::write(&path, &good).unwrap();
        }
        Keys::open(&data.path().join("identity")).unwrap();
    }

    #[test]
    fn only_a_missing_signing_key_is_replaced() {
        let data = tempfile::tempdir().unwrap();
        let directory = data.path().join("identity");
        let first = Keys::open(&directory).unwrap();
        fs::remove_file(directory.join("signing.key")).unwrap();
        let second = Keys::open(&directory).unwrap();
        assert_eq!(fingerprint(&first), fingerprint(&second));
        assert_ne!(first.kid(), second.kid());
        fs::remove_file(directory.join("secret.key")).unwrap();
        assert!(matches!(Keys::open(&directory), Err(KeyError::SecretMissing { .. })));
    }

    #[test]
    fn a_link_is_not_followed() {
        let data = tempfile::tempdir().unwrap();
        let directory = data.path().join("identity");
        Keys::open(&directory).unwrap();
        let elsewhere = data.path().join("elsewhere");
        fs::rename(directory.join("secret.key"), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, directory.join("secret.key")).unwrap();
        assert!(matches!(Keys::open(&directory), Err(KeyError::Io { doing: "read", .. })));
    }

    #[test]
    fn an_unfinished_file_of_a_crash_is_replaced() {
        let data = tempfile::tempdir().unwrap();
        let directory = data.path().join("identity");
        DirBuilder::new().mode(0o700).create(&directory).unwrap();
        fs::write(directory.join("secret.new"), b"half").unwrap();
        Keys::open(&directory).unwrap();
        assert!(!directory.join("secret.new").exists());
    }

    #[test]
    fn the_published_keys_are_public_and_named_by_their_thumbprints() {
        let data = tempfile::tempdir().unwrap();
        let directory = data.path().join("identity");
        let first = Keys::open(&directory).unwrap();
        Keys::rotate(&directory).unwrap();
        let second = Keys::open(&directory).unwrap();
        let jwks = second.jwks();
        let kids: Vec<_> = jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
        assert_eq!(kids, [second.kid(), first.kid()]);
        assert_ne!(first.kid(), second.kid());
        let parsed: jsonwebtoken::jwk::JwkSet = serde_json::from_value(jwks.clone()).unwrap();
        for jwk in &parsed.keys {
            let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
            assert_eq!(jwk.common.key_id.as_deref(), Some(thumbprint.as_str()));
        }
        for private in ["\"d\"", "\"k\""] {
            assert!(!jwks.to_string().contains(private));
        }
    }

    #[test]
    fn hashes_with_other_purposes_or_parts_differ() {
        let data = tempfile::tempdir().unwrap();
        let keys = Keys::open(&data.path().join("identity")).unwrap();
        let named = Purpose::Named;
        let hashes = [
            keys.hash_u128(named("a"), &[b"bc"]),
            keys.hash_u128(named("ab"), &[b"c"]),
            keys.hash_u128(named("a"), &[b"b", b"c"]),
            keys.hash_u128(named("a"), &[b"bc", b""]),
            keys.hash_u128(named("account id"), &[b"bc"]),
            keys.hash_u128(Purpose::AccountId, &[b"bc"]),
            keys.hash_u128(Purpose::RefreshToken, &[b"bc"]),
        ];
        let distinct: std::collections::HashSet<_> = hashes.iter().collect();
        assert_eq!(distinct.len(), hashes.len());
        assert_eq!(keys.hash_u128(named("a"), &[b"bc"]), hashes[0]);
    }

    #[test]
    fn keys_are_not_in_debug_output() {
        let data = tempfile::tempdir().unwrap();
        let keys = Keys::open(&data.path().join("identity")).unwrap();
        assert_eq!(format!("{keys:?}"), format!("Keys {{ kid: {:?}, .. }}", keys.kid()));
    }
}
