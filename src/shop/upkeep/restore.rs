//! Restores a backup into a data directory.
//!
//! The files are copied to where they stay, so the directory may be a mount point or be reached by a link. Until the
//! last file is durable, an empty file beside them says that a restore has not finished: no shop opens such a
//! directory, and the next restore into it begins anew. Meanwhile the restore has the journal's lock, so no shop and no
//! other restore begins in the directory.
//!
//! Depends on its parent, on `data_directory` and on `storage` for the lock.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{Backup, MANIFEST, Manifest, UpkeepError, at, sync, sync_parent};
use crate::{
    config::layout::{
        self, DIRECTORY_MODE, FILE_MODE, IDENTITY, JOURNAL, LOST_AND_FOUND, RESTORING, SEARCH, STORE_IDENTITY,
    },
    shop::{OpenShopError, data_directory},
    storage::{DirectoryLock, OpenError},
};

/// What a restore writes.
const PARTS: [&str; 3] = [JOURNAL, IDENTITY, STORE_IDENTITY];

/// Copies a backup to a directory on which a shop can be started; it may exist if it is empty. Every file is compared
/// with the manifest before anything is copied, and again afterwards. Blocks.
///
/// # Errors
/// [`UpkeepError`]: the backup is incomplete or damaged, or `data` is not empty. If a copy
/// fails, what was copied so far is removed. A kill leaves it, and then no shop opens the directory until a restore
/// into it has finished.
pub fn restore(from: &Path, data: &Path) -> Result<Backup, UpkeepError> {
    let manifest = Manifest::read(from)?;
    let target = Target::begin(data)?;
    match check(from, &manifest).and_then(|()| fill(data, from, &manifest)) {
        Ok(()) => target.finish()?,
        Err(error) => {
            target.abandon();
            return Err(error);
        }
    }
    Ok(manifest.backup())
}

/// A directory that is being filled.
struct Target<'a> {
    data: &'a Path,
    marker: PathBuf,
    is_new: bool,
    _lock: DirectoryLock,
}

impl<'a> Target<'a> {
    fn begin(data: &'a Path) -> Result<Self, UpkeepError> {
        let is_new = fs::symlink_metadata(data).is_err();
        data_directory::make(data)?;
        // Before anything is written to it: it may be no directory of a shop at all.
        refuse_unless_free(data)?;
        let lock = DirectoryLock::take(&data.join(JOURNAL)).map_err(|error| match error {
            OpenError::Locked(_) => UpkeepError::InUse(data.to_owned()),
            error => UpkeepError::Target(Box::new(OpenShopError::Storage(error))),
        })?;
        // Another may have filled it meanwhile.
        refuse_unless_free(data)?;
        let target = Self { data, marker: data.join(RESTORING), is_new, _lock: lock };
        if layout::unfinished_restore(data).map_err(at(data))?.is_some() {
            target.clear()?;
        }
        target.mark()?;
        Ok(target)
    }

    /// Notes durably that the directory is not complete.
    fn mark(&self) -> Result<(), UpkeepError> {
        let marker = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&self.marker);
        marker.and_then(|marker| marker.sync_all()).map_err(at(&self.marker))?;
        sync(self.data)?;
        sync_parent(self.data)
    }

    /// Removes what a restore writes, but neither the marker nor the lock. A mount point stays.
    fn clear(&self) -> Result<(), UpkeepError> {
        for part in PARTS {
            let part = self.data.join(part);
            clear(&part).map_err(at(&part))?;
        }
        sync(self.data)
    }

    /// The directory is complete.
    fn finish(self) -> Result<(), UpkeepError> {
        fs::remove_file(&self.marker).map_err(at(&self.marker))?;
        sync(self.data)
    }

    /// A copy that failed may have filled the disk, and nothing of it is of use. The marker stays while anything of it
    /// is left.
    fn abandon(self) {
        if self.clear().is_ok() {
            let _ = fs::remove_file(&self.marker);
            let journal = self.data.join(JOURNAL);
            let _ = fs::remove_file(journal.join(DirectoryLock::FILE_NAME));
            let _ = fs::remove_dir(journal);
            if self.is_new {
                let _ = fs::remove_dir(self.data);
            }
        }
    }
}

/// Refuses a data directory in which there is anything but empty disks for its parts and what a restore that has not
/// finished has written.
fn refuse_unless_free(data: &Path) -> Result<(), UpkeepError> {
    let is_unfinished = layout::unfinished_restore(data).map_err(at(data))?.is_some();
    for entry in fs::read_dir(data).map_err(at(data))? {
        let entry = entry.map_err(at(data))?;
        let (name, path) = (entry.file_name(), entry.path());
        let is_ours = name == RESTORING || is_unfinished && PARTS.iter().any(|part| name == *part);
        let is_part = PARTS.iter().chain(&[SEARCH]).any(|part| name == *part);
        let is_free = is_no_content(&name) || is_part && path.is_dir() && is_empty(&path).map_err(at(&path))?;
        if !(is_ours || is_free) {
            return Err(UpkeepError::Exists(data.to_owned()));
        }
    }
    Ok(())
}

fn is_empty(part: &Path) -> io::Result<bool> {
    let mut entries = fs::read_dir(part)?;
    entries.try_fold(true, |is_empty, entry| Ok(is_empty && is_no_content(&entry?.file_name())))
}

/// Whether an entry says nothing about who was here.
fn is_no_content(name: &OsStr) -> bool {
    name == LOST_AND_FOUND || name == DirectoryLock::FILE_NAME
}

/// Removes a file, or a directory with what is in it. A mount point stays.
fn clear(part: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(part) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return fs::remove_file(part),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !is_no_content(&entry.file_name()) {
            let path = entry.path();
            if entry.file_type()?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
    }
    // The lock keeps the journal's directory, and a file system its mount point.
    let _ = fs::remove_dir(part);
    Ok(())
}

/// Compares the files of a backup with its manifest.
fn check(from: &Path, manifest: &Manifest) -> Result<(), UpkeepError> {
    manifest.files.iter().try_for_each(|file| {
        let path = from.join(&file.path);
        if !path.exists() {
            let problem = format!("{MANIFEST} names {}, which is not there", file.path.display());
            return Err(UpkeepError::NoBackup { path: from.to_owned(), problem });
        }
        file.check(&path)
    })
}

/// Copies the files of a backup, durably.
fn fill(data: &Path, from: &Path, manifest: &Manifest) -> Result<(), UpkeepError> {
    for file in &manifest.files {
        let target = data.join(&file.path);
        if let Some(parent) = target.parent() {
            let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent);
            made.map_err(at(parent))?;
        }
        fs::copy(from.join(&file.path), &target).map_err(at(&target))?;
        sync(&target)?;
        file.check(&target)?;
        target.ancestors().skip(1).take_while(|parent| parent.starts_with(data)).try_for_each(sync)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::{
        config::Config,
        shop::{OpenShopError, Shop, upkeep::rotate_signing_key},
    };

    async fn open(data: &Path) -> Result<Shop, OpenShopError> {
        Shop::open(Config { data_dir: data.into(), ..Config::default() }).await
    }

    /// A backup, beside which there is room for directories.
    async fn backup() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let (shop, backup) = (directory.path().join("shop"), directory.path().join("backup"));
        let opened = open(&shop).await.unwrap();
        opened.ensure_customer_without_password("asha@example.com").await.unwrap();
        opened.backup(&backup, |_| {}).await.unwrap();
        opened.close().await.unwrap();
        let place = directory.path().to_owned();
        (directory, place, backup)
    }

    async fn expect_asha(data: &Path) {
        let shop = open(data).await.unwrap();
        shop.principal("asha@example.com").await.unwrap();
        shop.close().await.unwrap();
    }

    #[tokio::test]
    async fn the_directory_may_be_named_with_a_slash_be_empty_be_a_link_or_hold_what_a_new_disk_has() {
        let (_directory, place, backup) = backup().await;
        let slash = PathBuf::from(format!("{}/", place.join("slash").display()));
        let link = place.join("link");
        fs::create_dir(place.join("behind")).unwrap();
        symlink(place.join("behind"), &link).unwrap();
        let disk = place.join("disk");
        fs::create_dir_all(disk.join(LOST_AND_FOUND)).unwrap();
        let empty = PathBuf::from(format!("{}/./", place.join("empty").display()));
        fs::create_dir(place.join("empty")).unwrap();
        let deep = place.join("deep/data");
        let apart = place.join("apart");
        for part in [JOURNAL, SEARCH] {
            fs::create_dir_all(apart.join(part).join(LOST_AND_FOUND)).unwrap();
        }
        for data in [slash, link.clone(), disk.clone(), empty, deep, apart] {
            restore(&backup, &data).unwrap_or_else(|error| panic!("{}: {error}", data.display()));
            assert!(!data.join(RESTORING).exists());
            expect_asha(&data).await;
            let again = restore(&backup, &data);
            assert!(matches!(again, Err(UpkeepError::Exists(_))), "{}: {again:?}", data.display());
        }
        assert!(link.is_symlink() && disk.join(LOST_AND_FOUND).is_dir());
        let nowhere = place.join("nowhere");
        symlink(place.join("unmounted"), &nowhere).unwrap();
        let refused = restore(&backup, &nowhere).unwrap_err().to_string();
        assert!(refused.contains("nowhere is a link that leads nowhere"), "{refused}");
        let file = place.join("file");
        fs::write(&file, "").unwrap();
        let refused = restore(&backup, &file).unwrap_err().to_string();
        assert!(refused.contains("is a file"), "{refused}");
    }

    #[tokio::test]
    async fn a_directory_whose_restore_was_killed_is_no_shop_and_can_be_restored_again() {
        let (_directory, place, backup) = backup().await;
        let manifest = Manifest::read(&backup).unwrap();
        // A kill after each of the files, and one between the last file and the end.
        for copied in 0..=manifest.files.len() {
            let data = place.join(format!("killed-{copied}"));
            drop(Target::begin(&data).unwrap());
            let files = Manifest::read(&backup).unwrap().files.into_iter().take(copied).collect();
            fill(&data, &backup, &Manifest { files, ..Manifest::read(&backup).unwrap() }).unwrap();
            let refused = open(&data).await.unwrap_err();
            assert!(matches!(refused, OpenShopError::UnfinishedRestore(_)), "{copied}: {refused}");
            let refused = refused.to_string();
            assert!(refused.contains(RESTORING) && refused.contains("`souk restore` again"), "{refused}");
            assert!(matches!(rotate_signing_key(&data), Err(UpkeepError::Target(_))));
            restore(&backup, &data).unwrap();
            expect_asha(&data).await;
        }
    }

    #[tokio::test]
    async fn a_restore_that_fails_leaves_nothing_and_one_that_runs_keeps_others_out() {
        let (_directory, place, backup) = backup().await;
        let (new, empty) = (place.join("new"), place.join("empty"));
        fs::create_dir(&empty).unwrap();
        for data in [&new, &empty] {
            let target = Target::begin(data).unwrap();
            let refused = restore(&backup, data);
            assert!(matches!(refused, Err(UpkeepError::InUse(_))), "{refused:?}");
            let refused = open(data).await.map(drop).unwrap_err();
            assert!(matches!(refused, OpenShopError::UnfinishedRestore(_)), "{refused}");
            // A shop that began before the restore goes no further than this.
            let refused = DirectoryLock::take(&data.join(JOURNAL));
            assert!(matches!(refused, Err(OpenError::Locked(_))), "{refused:?}");
            let mut manifest = Manifest::read(&backup).unwrap();
            manifest.files.last_mut().unwrap().bytes += 1;
            let failed = fill(data, &backup, &manifest);
            assert!(matches!(failed, Err(UpkeepError::Damaged(_))), "{failed:?}");
            assert!(data.join(JOURNAL).exists());
            target.abandon();
        }
        assert!(!new.exists());
        assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
        // Whatever was put beside a killed restore is nobody's to delete.
        drop(Target::begin(&empty).unwrap());
        fs::write(empty.join("notes"), "").unwrap();
        assert!(matches!(restore(&backup, &empty), Err(UpkeepError::Exists(_))));
        assert!(empty.join("notes").exists());
        // A shop that has just begun: nothing is in its directory but the lock.
        let begun = place.join("begun");
        let lock = DirectoryLock::take(&begun.join(JOURNAL)).unwrap();
        assert!(matches!(restore(&backup, &begun), Err(UpkeepError::InUse(_))));
        drop(lock);
        restore(&backup, &begun).unwrap();
        expect_asha(&begun).await;
    }
}
