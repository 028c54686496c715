//! The data directory as a whole: made for its owner alone, and each part of the kind that it was made as.
//!
//! A directory in the place of a file, or a link to a disk that is not mounted, would otherwise end in one of a dozen
//! messages of the system that name neither the part nor what to do; and to open a named pipe would wait for ever. A
//! part that cannot be looked at is refused here as well, because elsewhere it would be taken for missing. Files that
//! the shop did not make are left alone.
//!
//! Depends on `store_identity`, which knows what only a shop writes.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{
    OpenShopError,
    store_identity::{self, DRAFT},
};
use crate::config::layout::{
    self, CONTROL, DIRECTORY_MODE, IDENTITY, JOURNAL, LEDGER, OTHERS_MODE, SEARCH, STORE_IDENTITY,
};

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
}

/// How the names of tantivy's files end.
const INDEX_FILES: [&str; 10] =
    [".json", ".lock", ".store", ".term", ".idx", ".pos", ".fast", ".fieldnorm", ".del", ".temp"];

const RESTORE: &str = "restore the whole data directory from a backup";
const REMAKE: &str = "delete it, and the next start makes it anew";
const REMAKE_DIRECTORY: &str = "delete the directory that it is in, and the next start makes that anew";

/// Each part of the directory, with what to do where it is of another kind. Files that are renamed when they are whole
/// are parts under both names.
const PARTS: [(&str, Kind, &str); 16] = [
    (JOURNAL, Kind::Directory, RESTORE),
    ("journal/manifest", Kind::File, RESTORE),
    ("journal/lock", Kind::File, REMAKE),
    ("journal/log", Kind::Directory, RESTORE),
    ("journal/base", Kind::Directory, REMAKE),
    ("journal/state", Kind::Directory, REMAKE),
    (SEARCH, Kind::Directory, REMAKE),
    (IDENTITY, Kind::Directory, RESTORE),
    ("identity/secret.key", Kind::File, "restore it from a backup"),
    ("identity/signing.key", Kind::File, REMAKE),
    ("identity/previous.key", Kind::File, "delete it; access tokens that it signed end"),
    (STORE_IDENTITY, Kind::File, "restore it from a backup, or delete it if all other parts are of one shop"),
    (DRAFT, Kind::File, REMAKE),
    (LEDGER, Kind::File, "put the provider's ledger back, or delete it; without it the provider forgets all charges"),
    ("simulated-provider.new", Kind::File, REMAKE),
    (CONTROL, Kind::Directory, REMAKE),
];

/// Whether a file of this name is a part of the directory that it is in.
type IsPart = fn(&str) -> bool;

/// Directories whose files have names of their own, and what to do where one is no file.
const FILES: [(&str, IsPart, &str); 4] = [
    ("journal/log", |name| name.ends_with(".log"), RESTORE),
    ("journal/base", |name| name.ends_with(".base"), REMAKE),
    // The names that sled and tantivy open.
    ("journal/state", |name| matches!(name, "db" | "conf") || name.starts_with("snap."), REMAKE_DIRECTORY),
    (SEARCH, |name| INDEX_FILES.iter().any(|end| name.ends_with(end)), REMAKE_DIRECTORY),
];

/// The directories in which a running shop makes files.
const WRITTEN: [&str; 6] = ["", JOURNAL, "journal/log", "journal/base", "journal/state", SEARCH];

/// Names in a shop's own directories by which one of them is known that was taken for a data directory.
const WITHIN: [&str; 7] = ["manifest", "log", "state", "db", "meta.json", "secret.key", "signing.key"];

/// Makes the directory where there is none, for its owner alone, and warns where others may enter it. No shop is made
/// within another one or above it.
pub(super) fn make(data: &Path) -> Result<(), OpenShopError> {
    refuse_misplaced(data)?;
    let failed = |source| OpenShopError::Directory { directory: data.to_owned(), source };
    match fs::metadata(data) {
        Ok(found) if !found.is_dir() => return Err(OpenShopError::NotADirectory(data.to_owned())),
        Ok(found) => {
            let mode = found.permissions().mode() & 0o777;
            if mode & OTHERS_MODE != 0 {
                let (directory, mode) = (data.display(), format!("{mode:03o}"));
                tracing::warn!(
                    %directory, %mode,
                    "the data directory is open to others, and it has customers' data in it: run chmod go= on it"
                );
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(data).is_ok() {
                return Err(leads_nowhere(data, Kind::Directory));
            }
            if let Some(parent) = data.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            match DirBuilder::new().mode(DIRECTORY_MODE).create(data) {
                // Another process may have made it meanwhile; the lock of the journal decides whose it is.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
        }
        Err(error) => return Err(failed(error)),
    }
    Ok(())
}

/// Refuses a directory without a shop of its own that is a part of one, or has one in it: a mistyped path would be a
/// new shop, empty and ready.
fn refuse_misplaced(data: &Path) -> Result<(), OpenShopError> {
    if store_identity::is_in(data) {
        return Ok(());
    }
    let misplaced = |found: PathBuf| Err(OpenShopError::Misplaced { directory: data.to_owned(), found });
    if let Some(found) = WITHIN.iter().map(|name| data.join(name)).find(|path| path.exists()) {
        return misplaced(found);
    }
    let whole = data.canonicalize().or_else(|_| std::path::absolute(data)).unwrap_or_else(|_| data.to_owned());
    if let Some(parent) = whole.parent().filter(|parent| parent.join(STORE_IDENTITY).exists()) {
        return misplaced(parent.join(STORE_IDENTITY));
    }
    // Who may not look into it is told so elsewhere.
    for entry in fs::read_dir(data).into_iter().flatten().flatten() {
        let identity = entry.path().join(STORE_IDENTITY);
        if identity.exists() {
            return misplaced(identity);
        }
    }
    Ok(())
}

/// Refuses a directory in which this user cannot make files: the shop would start, and stop at the first write.
fn check_writable(data: &Path) -> Result<(), OpenShopError> {
    for name in WRITTEN {
        let directory = if name.is_empty() { data.to_owned() } else { data.join(name) };
        match rustix::fs::access(&directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(OpenShopError::Directory { directory, source: error.into() });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a directory without a shop. One that cannot be looked at is refused for that.
pub(super) fn refuse_without_shop(data: &Path) -> Result<(), OpenShopError> {
    let failed = |source| OpenShopError::Directory { directory: data.to_owned(), source };
    refuse_unfinished_restore(data)?;
    match fs::read_dir(data) {
        Ok(_) if store_identity::is_in(data) => check_kinds(data),
        Ok(_) => Err(OpenShopError::NoShop(data.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenShopError::NoShop(data.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(OpenShopError::NotADirectory(data.to_owned()))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Refuses a directory that a restore has not filled: it lacks an unknown part of the shop.
pub(super) fn refuse_unfinished_restore(data: &Path) -> Result<(), OpenShopError> {
    match layout::unfinished_restore(data) {
        Ok(None) => Ok(()),
        Ok(Some(file)) => Err(OpenShopError::UnfinishedRestore(file)),
        Err(source) => Err(OpenShopError::Directory { directory: data.to_owned(), source }),
    }
}

/// Refuses a directory in which a part is of another kind than it was made as, or cannot be looked at or written.
pub(super) fn check_kinds(data: &Path) -> Result<(), OpenShopError> {
    for (name, kind, remedy) in PARTS {
        check_kind(&data.join(name), kind, remedy)?;
    }
    for (directory, is_part, remedy) in FILES {
        let directory = data.join(directory);
        let failed = |source| OpenShopError::Directory { directory: directory.clone(), source };
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if is_part(&entry.file_name().to_string_lossy()) {
                check_kind(&entry.path(), Kind::File, remedy)?;
            }
        }
    }
    check_writable(data)
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File => "file",
        }
    }
}

fn leads_nowhere(link: &Path, wanted: Kind) -> OpenShopError {
    let (found, remedy) = ("a link that leads nowhere", "is the disk mounted that it leads to?");
    OpenShopError::WrongKind { path: link.to_owned(), found, belongs: wanted.name(), remedy }
}

fn check_kind(path: &Path, wanted: Kind, remedy: &'static str) -> Result<(), OpenShopError> {
    let wrong =
        |found, remedy| Err(OpenShopError::WrongKind { path: path.to_owned(), found, belongs: wanted.name(), remedy });
    match (fs::metadata(path), wanted) {
        (Ok(found), Kind::Directory) if found.is_dir() => Ok(()),
        (Ok(found), Kind::File) if found.is_file() => Ok(()),
        (Ok(found), _) if found.is_dir() => wrong("a directory", remedy),
        (Ok(found), _) if found.is_file() => wrong("a file", remedy),
        (Ok(_), _) => wrong("a pipe, a socket or a device", remedy),
        (Err(_), _) if fs::symlink_metadata(path).is_ok_and(|link| link.is_symlink()) => {
            Err(leads_nowhere(path, wanted))
        }
        // Whoever needs it says that it is missing.
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        (Err(source), _) => Err(OpenShopError::Directory { directory: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_directory_is_for_its_owner_alone_and_an_old_one_keeps_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("deep/data");
        let mode = || fs::metadata(&data).unwrap().permissions().mode() & 0o777;
        make(&data).unwrap();
        assert_eq!(mode(), 0o700);
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
        make(&data).unwrap();
        assert_eq!(mode(), 0o755, "an operator may have reasons; the start warns");
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(make(&file), Err(OpenShopError::NotADirectory(path)) if path == file));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path().join("nowhere"), &link).unwrap();
        let refused = make(&link).unwrap_err().to_string();
        assert!(refused.contains("link is a link that leads nowhere"), "{refused}");
    }

    #[test]
    fn no_shop_is_made_within_another_one_or_above_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        let refused = |data: &str, found: &str| {
            let error = make(&at(data)).unwrap_err();
            assert!(matches!(&error, OpenShopError::Misplaced { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(data) && text.contains(found) && text.contains("too deep or too high"), "{text}");
        };
        fs::write(at("srv/shop/souk.identity"), "").unwrap();
        refused("srv", "shop/souk.identity");
        refused("srv/shop/new", "shop/souk.identity");
        assert!(!at("srv/shop/new").exists());
        make(&at("srv/shop")).unwrap();
        for name in WITHIN {
            let part = format!("{name}-only/{name}");
            fs::create_dir_all(at(&part)).unwrap();
            refused(&format!("{name}-only"), name);
        }
        fs::create_dir_all(at("new/lost+found/x")).unwrap();
        fs::write(at("new/notes.txt"), "").unwrap();
        make(&at("new")).unwrap();
        // Whose shop has lost all but its identity is told that, not where the shop may be.
        fs::create_dir_all(at("rest/log")).unwrap();
        fs::write(at("rest/souk.identity"), "").unwrap();
        make(&at("rest")).unwrap();
    }

    #[test]
    fn a_part_of_another_kind_is_named_with_its_remedy() {
        let directory = tempfile::tempdir().unwrap();
        for (name, kind, remedy) in PARTS {
            let data = directory.path().join(name.replace('/', "-"));
            let path = data.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            check_kinds(&data).unwrap();
            if kind == Kind::Directory {
                fs::write(&path, "").unwrap();
            } else {
                fs::create_dir(&path).unwrap();
            }
            let refused = check_kinds(&data).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains(remedy), "{refused}");
        }
        for (parent, is_part, remedy) in FILES {
            let data = directory.path().join(format!("files-{}", parent.replace('/', "-")));
            let parent = data.join(parent);
            fs::create_dir_all(&parent).unwrap();
            // What others have put there is no part of the shop, whatever it is.
            fs::create_dir(parent.join("lost+found")).unwrap();
            check_kinds(&data).unwrap();
            let name = ["1.log", "1.base", "db", "meta.json"].into_iter().find(|name| is_part(name)).unwrap();
            rustix::fs::mknodat(
                rustix::fs::CWD,
                parent.join(name),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
                0,
            )
            .unwrap();
            let refused = check_kinds(&data).unwrap_err().to_string();
            assert!(refused.contains("is a pipe") && refused.contains(name) && refused.contains(remedy), "{refused}");
        }
        let data = directory.path().join("linked");
        fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(directory.path().join("nowhere"), data.join("journal")).unwrap();
        let refused = check_kinds(&data).unwrap_err().to_string();
        assert!(refused.contains("linked/journal is a link that leads nowhere") && refused.contains("mounted"));
    }
}
