//! Maintenance of a shop: compaction, backup, restore.
//!
//! A backup is a data directory with a manifest. It contains a consistent copy of the journal, and the secret without
//! which no account would be found. It lacks the signing key (a restore ends all access tokens) and everything that can
//! be rebuilt (state, lists, search index). It contains customers' data, so only its owner may read it.
//!
//! Depends on the rooms below.

mod restore;

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use self::restore::restore;
use super::{Error, OpenShopError, Shop, data_directory, store_identity};
use crate::{
    config::layout::{DIRECTORY_MODE, IDENTITY, JOURNAL, STORE_IDENTITY},
    identity::{checksum, keys},
    storage::{Compacted, CopyProgress, Fault},
};

/// The file name of a backup's manifest. It is written last, so a copy without it is incomplete.
const MANIFEST: &str = "manifest.json";
/// The version of the manifest's format.
const FORMAT: u32 = 1;
/// The largest manifest that is read, in bytes: about a hundred for each file, of which there are a few thousand at
/// most.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// Why a backup or a restore failed. The running shop is not affected.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpkeepError {
    /// The target of the copy already exists.
    #[error("{} exists and is not empty: nothing is written over; name another directory", .0.display())]
    Exists(PathBuf),
    /// The target of a copy is in the directory that is copied.
    #[error("{} is in {}, and would be lost with it: name a directory elsewhere", to.display(), data.display())]
    Within { to: PathBuf, data: PathBuf },
    /// The target of a restore cannot be used.
    #[error(transparent)]
    Target(Box<OpenShopError>),
    /// Another process restores into the same directory, or a shop runs there.
    #[error("{} is in use by another process: a shop runs there, or another restore writes to it", .0.display())]
    InUse(PathBuf),
    /// The journal cannot be copied.
    #[error(transparent)]
    Storage(#[from] Fault),
    /// The keys cannot be copied.
    #[error(transparent)]
    Keys(#[from] keys::KeyError),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The directory is not a backup, is incomplete, or was written by an unknown version.
    #[error("{} is no complete backup: {problem}; use another one", path.display())]
    NoBackup { path: PathBuf, problem: String },
    /// A file of the backup differs from its checksum.
    #[error("{} is damaged: it is not what {MANIFEST} says was backed up; use another backup", .0.display())]
    Damaged(PathBuf),
    /// The work was interrupted.
    #[error("the copy did not end: {0}")]
    Cut(String),
}

impl From<OpenShopError> for UpkeepError {
    fn from(error: OpenShopError) -> Self {
        Self::Target(Box::new(error))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> UpkeepError {
    let path = path.to_owned();
    move |source| UpkeepError::Io { path, source }
}

/// A complete backup.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The end of its log: everything acknowledged before the backup began is in it.
    pub position: u64,
    pub files: usize,
    /// The total length of its files.
    pub bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    souk_backup: u32,
    release: String,
    /// In milliseconds since 1970.
    taken_at_ms: u64,
    position: u64,
    files: Vec<Listed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    path: PathBuf,
    bytes: u64,
    sha256: String,
}

impl Manifest {
    fn backup(&self) -> Backup {
        let bytes = self.files.iter().map(|file| file.bytes).sum();
        Backup { position: self.position, files: self.files.len(), bytes }
    }

    fn read(directory: &Path) -> Result<Self, UpkeepError> {
        let no_backup = |problem: String| UpkeepError::NoBackup { path: directory.to_owned(), problem };
        let path = directory.join(MANIFEST);
        let bytes = match fs::metadata(&path) {
            Ok(found) => found.len(),
            // It may be a good backup, of another user.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(at(&path)(error)),
            Err(error) => return Err(no_backup(format!("{MANIFEST}: {error}"))),
        };
        if bytes > MANIFEST_BYTES_MAX {
            return Err(no_backup(format!("{MANIFEST} has {bytes} bytes")));
        }
        let text = fs::read(&path).map_err(at(&path))?;
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|error| no_backup(format!("{MANIFEST}: {error}")))?;
        if manifest.souk_backup != FORMAT {
            return Err(no_backup(format!("it was made by another release, {}", manifest.release)));
        }
        // The manifest must not name files outside its directory.
        let is_inside = |file: &Listed| file.path.components().all(|part| matches!(part, Component::Normal(_)));
        match manifest.files.iter().find(|file| !is_inside(file)) {
            Some(file) => Err(no_backup(format!("it names {}", file.path.display()))),
            None => Ok(manifest),
        }
    }
}

impl Listed {
    /// Whether the file at `path` is the one that was listed.
    fn check(&self, path: &Path) -> Result<(), UpkeepError> {
        let (bytes, sha256) = checksum::of_file(path).map_err(at(path))?;
        if bytes == self.bytes && sha256 == self.sha256 { Ok(()) } else { Err(UpkeepError::Damaged(path.to_owned())) }
    }
}

impl Shop {
    /// Takes a base, and removes the segments of the log that are no longer needed. The shop goes on meanwhile.
    ///
    /// # Errors
    /// The storage failed; no data is lost by that.
    pub async fn compact(&self) -> Result<Compacted, Error> {
        Ok(self.0.journal.compact().await?)
    }

    /// Makes a consistent copy of the shop in `to`, which must not exist. The shop goes on meanwhile.
    ///
    /// # Errors
    /// [`UpkeepError`]; what was copied so far is removed. A kill leaves it, without a manifest.
    pub async fn backup(
        &self,
        to: &Path,
        mut progress: impl FnMut(CopyProgress) + Send + 'static,
    ) -> Result<Backup, UpkeepError> {
        let (shop, to) = (self.clone(), to.to_owned());
        let copied = tokio::task::spawn_blocking(move || shop.copy(&to, &mut progress));
        copied.await.map_err(|error| UpkeepError::Cut(error.to_string()))?
    }

    fn copy(&self, to: &Path, progress: &mut dyn FnMut(CopyProgress)) -> Result<Backup, UpkeepError> {
        if to.exists() {
            return Err(UpkeepError::Exists(to.to_owned()));
        }
        let data = &self.0.config.data_dir;
        let whole = |path: &Path| path.canonicalize().ok();
        if let (Some(parent), Some(ours)) = (to.parent().and_then(whole), whole(data))
            && parent.starts_with(&ours)
        {
            return Err(UpkeepError::Within { to: to.to_owned(), data: data.clone() });
        }
        DirBuilder::new().mode(DIRECTORY_MODE).create(to).map_err(at(to))?;
        let copied = self.copy_into(to, progress);
        if copied.is_err() {
            // It may have filled the disk, and nothing of it is of use.
            let _ = fs::remove_dir_all(to);
        }
        copied
    }

    fn copy_into(&self, to: &Path, progress: &mut dyn FnMut(CopyProgress)) -> Result<Backup, UpkeepError> {
        let data = &self.0.config.data_dir;
        let journal = self.0.journal.copy(&to.join(JOURNAL), progress)?;
        let secret = keys::copy_secret(&data.join(IDENTITY), &to.join(IDENTITY))?;
        let identity = to.join(STORE_IDENTITY);
        // The ledger is not in the backup, so there is nothing to say about it.
        let copied = store_identity::StoreIdentity { ledger: 0, ..self.0.identity_writer.up_to(journal.position) };
        copied.write(to).map_err(at(&identity))?;
        let mut paths: Vec<PathBuf> = journal.files.iter().map(|file| Path::new(JOURNAL).join(file)).collect();
        paths.extend([Path::new(IDENTITY).join(secret), STORE_IDENTITY.into()]);
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let whole = to.join(&path);
            let (bytes, sha256) = checksum::of_file(&whole).map_err(at(&whole))?;
            files.push(Listed { path, bytes, sha256 });
        }
        let manifest = Manifest {
            souk_backup: FORMAT,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at_ms: self.0.clock.now().0,
            position: journal.position.0,
            files,
        };
        let path = to.join(MANIFEST);
        let text = serde_json::to_vec_pretty(&manifest).map_err(|error| at(&path)(error.into()))?;
        fs::write(&path, text).map_err(at(&path))?;
        sync(&path)?;
        sync(to)?;
        sync_parent(to)?;
        Ok(manifest.backup())
    }
}

fn sync(path: &Path) -> Result<(), UpkeepError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(at(path))
}

/// Makes the name of a new directory durable.
fn sync_parent(directory: &Path) -> Result<(), UpkeepError> {
    let whole = fs::canonicalize(directory).map_err(at(directory))?;
    whole.parent().map_or(Ok(()), sync)
}

/// Replaces the key that signs access tokens, in the data directory of a shop that is not open. Tokens of the replaced
/// key stay valid; those of its predecessor end, so leave at least the life of a token between two rotations.
///
/// # Errors
/// [`UpkeepError::Keys`]: there are no keys, or they are damaged. [`UpkeepError::Target`]: a restore was cut short.
pub fn rotate_signing_key(data: &Path) -> Result<(), UpkeepError> {
    data_directory::refuse_unfinished_restore(data)?;
    Ok(keys::Keys::rotate(&data.join(IDENTITY))?)
}
