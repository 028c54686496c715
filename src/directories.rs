//! Empties a directory, or moves what is in it aside, so that a part of the shop can be made anew where it was.
//!
//! A link and a mount point stay where they are, because an operator chose the disk that is behind them. Blocks.
//! Depends on `config`.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use crate::config::layout::{DIRECTORY_MODE, LOST_AND_FOUND};

/// How the name of what was moved aside begins.
const DAMAGED: &str = "damaged";

/// Where [`move_aside`] moves what is in `directory`: beside it, or into it if it has to stay. A number keeps it apart
/// from what was moved before.
pub(crate) fn aside_of(directory: &Path, number: Option<u32>) -> PathBuf {
    let name = number.map_or_else(|| DAMAGED.to_owned(), |number| format!("{DAMAGED}-{number}"));
    if stays(directory) {
        return directory.join(name);
    }
    let mut beside = directory.as_os_str().to_owned();
    beside.push(".");
    beside.push(name);
    beside.into()
}

/// Moves what is in `directory` to where [`aside_of`] says, which must be free.
pub(crate) fn move_aside(directory: &Path, aside: &Path) -> io::Result<()> {
    if !aside.starts_with(directory) {
        return fs::rename(directory, aside);
    }
    DirBuilder::new().mode(DIRECTORY_MODE).create(aside)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !is_kept(&entry.file_name()) {
            fs::rename(entry.path(), aside.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Removes a directory with what is in it, but for what was moved aside into it. It may be missing.
pub(crate) fn remove(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    if !stays(directory) {
        return fs::remove_dir_all(directory);
    }
    for entry in entries {
        let entry = entry?;
        if is_kept(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        if entry.file_type()?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}

/// Whether it is a link or a mount point.
fn stays(directory: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
    let devices = (directory.parent().and_then(device), device(directory));
    directory.is_symlink() || matches!(devices, (Some(parent), Some(own)) if parent != own)
}

/// Whether an entry of a directory is no part of what the shop has there: the file system made it, or it was moved
/// aside.
pub(crate) fn is_kept(name: &OsStr) -> bool {
    name == LOST_AND_FOUND || name.to_string_lossy().starts_with(DAMAGED)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_directory_goes_away_as_a_whole_and_a_link_stays() {
        let place = tempfile::tempdir().unwrap();
        let (disk, part) = (place.path().join("disk"), place.path().join("part"));
        fs::create_dir_all(disk.join(LOST_AND_FOUND)).unwrap();
        for is_link in [false, true] {
            let real = if is_link { &disk } else { &part };
            if is_link {
                symlink(&disk, &part).unwrap();
            }
            for number in 1..3 {
                fs::create_dir_all(real.join("blobs")).unwrap();
                fs::write(real.join("db"), "").unwrap();
                let aside = aside_of(&part, Some(number));
                move_aside(&part, &aside).unwrap();
                assert_eq!(names(&aside), ["blobs", "db"]);
            }
            fs::create_dir_all(real.join("blobs")).unwrap();
            remove(&part).unwrap();
            assert_eq!(part.exists(), is_link);
        }
        assert_eq!(names(place.path()), ["disk", "part", "part.damaged-1", "part.damaged-2"]);
        assert_eq!(names(&disk), ["damaged-1", "damaged-2", LOST_AND_FOUND]);
        remove(&place.path().join("nothing")).unwrap();
    }
}
