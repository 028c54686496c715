//! The lock of a journal's directory: one process at a time opens, checks or fills it.
//!
//! It is a lock of the operating system on a file, so it ends with its process. Depends on `files` and `errors`.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use super::{
    errors::{Fault, OpenError},
    files::{DIRECTORY_MODE, FILE_MODE},
};

/// The right to use a directory. Dropping it gives it back.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
}

impl Drop for DirectoryLock {
    /// Closing the file would not be enough: a child process has it open, too, from its fork until its exec.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl DirectoryLock {
    /// The name of the locked file. It stays when nobody has the lock.
    pub const FILE_NAME: &str = "lock";

    /// Locks a directory, which is made if it is missing.
    ///
    /// # Errors
    /// Another process has it ([`OpenError::Locked`]), or the system refuses.
    pub fn take(dir: &Path) -> Result<Self, OpenError> {
        let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir);
        made.map_err(Fault::io(format!("create {}", dir.display())))?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(FILE_MODE);
        Self::of(dir, &options, "lock")
    }

    /// Locks a directory in which a journal was opened before.
    #[cfg(feature = "cli")]
    pub(super) fn take_present(dir: &Path) -> Result<Self, OpenError> {
        Self::of(dir, OpenOptions::new().read(true), "no shop was here: open")
    }

    fn of(dir: &Path, options: &OpenOptions, doing: &str) -> Result<Self, OpenError> {
        let path = dir.join(Self::FILE_NAME);
        let failed = |error| Fault::io(format!("{doing} {}", path.display()))(error);
        loop {
            let file = options.open(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(dir.to_owned())),
                Err(TryLockError::Error(error)) => return Err(failed(error).into()),
            }
            // Its owner may have removed the file before it was locked here; then others lock the next one.
            match fs::metadata(&path) {
                Ok(found) if found.ino() == file.metadata().map_err(failed)?.ino() => return Ok(Self { file }),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error).into()),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering::SeqCst},
        thread,
    };

    use super::*;

    #[test]
    fn one_has_it_also_where_the_file_is_removed_with_its_owner() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("deep/journal");
        let first = DirectoryLock::take(&dir).unwrap();
        assert!(matches!(DirectoryLock::take(&dir), Err(OpenError::Locked(path)) if path == dir));
        drop(first);
        let owners = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let Ok(lock) = DirectoryLock::take(&dir) else { continue };
                        assert_eq!(owners.fetch_add(1, SeqCst), 0);
                        owners.fetch_sub(1, SeqCst);
                        fs::remove_file(dir.join(DirectoryLock::FILE_NAME)).unwrap();
                        drop(lock);
                    }
                });
            }
        });
    }

    #[test]
    fn it_is_free_when_its_owner_drops_it_whoever_else_has_the_file_open() {
        let place = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::take(place.path()).unwrap();
        let inherited = lock.file.try_clone().unwrap();
        drop(lock);
        DirectoryLock::take(place.path()).unwrap();
        drop(inherited);
    }
}
