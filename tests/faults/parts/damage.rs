//! What happens to a part of the data directory, and how that is done to a copy of it.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, symlink},
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::table::locate;
use crate::flips::copy;

/// A segment begins with a page of its own; its first batch follows.
const SEGMENT_HEADER: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Damage {
    Remove,
    Empty,
    /// The other shop's takes its place.
    Foreign,
    /// A segment keeps its header, and has the other shop's batches.
    ForeignBatches,
    /// Its own older copy takes its place.
    Older,
    /// A directory in the place of a file, a file in that of a directory.
    OtherKind,
    /// A named pipe, which whoever opens it waits for.
    Pipe,
    /// A link that leads nowhere, as to a disk that is not mounted.
    Dangling,
    /// Nobody may read it, not even its owner.
    Unreadable,
    /// One bit is another.
    Flip,
    /// The second half of the file is gone.
    Half,
    /// Bytes follow that nobody has written there.
    Append,
    /// Files and directories lie in it that are no part of it.
    Litter,
}

/// What lies about in directories: of a file system, of an operator, and of a start that was cut short.
const LITTER: [&str; 6] = ["lost+found/", "notes.txt", "copy/", "1.log", "1.base", "00000000000000000000.log.bak"];

/// The directories that changes are taken from.
pub(super) struct Sources<'a> {
    pub(super) other: &'a Path,
    pub(super) older: &'a Path,
}

impl Damage {
    /// Does it to the part of this name, which is at `part` in the directory.
    pub(super) fn do_to(self, data: &Path, (name, part): (&str, &Path), sources: &Sources<'_>) {
        let path = data.join(part);
        let is_directory = path.is_dir();
        match self {
            Self::Flip => flip(&path),
            Self::Half => open(&path).set_len(fs::metadata(&path).unwrap().len() / 2).unwrap(),
            Self::Append => {
                let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
                file.write_all(b"nobody has written this\n").unwrap();
            }
            Self::Litter => litter(&path),
            Self::Unreadable => fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap(),
            Self::Remove => remove(&path),
            Self::Foreign => replace(&path, &sources.other.join(locate(sources.other, name))),
            Self::ForeignBatches => {
                let other = fs::read(sources.other.join(locate(sources.other, name))).unwrap();
                open(&path).write_all_at(&other[SEGMENT_HEADER..], SEGMENT_HEADER as u64).unwrap();
            }
            Self::Older => replace(&path, &sources.older.join(part)),
            Self::Pipe => {
                remove(&path);
                mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            }
            Self::Dangling => {
                remove(&path);
                symlink(data.join("nowhere"), &path).unwrap();
            }
            Self::Empty | Self::OtherKind => {
                remove(&path);
                make(&path, is_directory == (self == Self::Empty));
            }
        }
    }
}

fn remove(path: &Path) {
    if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
}

fn replace(path: &Path, with: &Path) {
    remove(path);
    copy(with, path);
}

/// For its owner alone, so that not its mode is what is refused.
fn make(path: &Path, is_directory: bool) {
    if is_directory {
        fs::DirBuilder::new().mode(0o700).create(path).unwrap();
    } else {
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    }
}

fn litter(directory: &Path) {
    for name in LITTER {
        make(&directory.join(name.trim_end_matches('/')), name.ends_with('/'));
    }
}

fn open(path: &Path) -> fs::File {
    fs::OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn flip(path: &Path) {
    let (file, mut byte, at) = (open(path), [0], flipped_byte(path));
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// A byte in the middle of what was written; in a segment, behind its header and in its first batch; in the provider's
/// ledger, a digit of the last amount.
fn flipped_byte(path: &Path) -> u64 {
    const AMOUNT: &[u8] = br#""amount":"#;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("log") => SEGMENT_HEADER as u64 + 100,
        Some("jsonl") => {
            let bytes = fs::read(path).unwrap();
            let is_amount = |window: &[u8]| window.starts_with(AMOUNT) && window[AMOUNT.len()].is_ascii_digit();
            let last = bytes.windows(AMOUNT.len() + 1).rposition(is_amount).unwrap();
            (last + AMOUNT.len()) as u64
        }
        _ => fs::metadata(path).unwrap().len() / 2,
    }
}
