//! The damages, and how they are applied to a part of a copy of the data directory.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, symlink},
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::table::locate;
use crate::flips::copy;

/// The length of a segment's header, in bytes. The first batch follows.
const SEGMENT_HEADER: usize = 4096;

/// What is done to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Damage {
    Remove,
    /// Replaced by an empty file or directory.
    Empty,
    /// Replaced by the same part of another shop.
    Foreign,
    /// A segment keeps its header, and gets the batches of another shop.
    ForeignBatches,
    /// Replaced by an older copy.
    Older,
    /// A file is replaced by a directory, or a directory by a file.
    OtherKind,
    /// Replaced by a named pipe, on which an open waits for a writer.
    Pipe,
    /// Replaced by a symbolic link without a target, such as one to a disk that is not mounted.
    Dangling,
    /// No user may read it.
    Unreadable,
    /// One bit is flipped.
    Flip,
    /// The second half of the file is cut off.
    Half,
    /// Bytes are appended to the file.
    Append,
    /// Files and directories are added that do not belong there.
    Litter,
}

/// Names of such files and directories, as a file system, an operator, or an interrupted start would leave them.
const LITTER: [&str; 6] = ["lost+found/", "notes.txt", "copy/", "1.log", "1.base", "00000000000000000000.log.bak"];

/// The data directories from which parts are copied.
pub(super) struct Sources<'a> {
    /// That of another shop.
    pub(super) other: &'a Path,
    /// The older copy.
    pub(super) older: &'a Path,
}

impl Damage {
    /// Applies the damage to the part with this name, which is at the path `part` in the directory.
    pub(super) fn apply(self, data: &Path, (name, part): (&str, &Path), sources: &Sources<'_>) {
        let path = data.join(part);
        let is_directory = path.is_dir();
        match self {
            Self::Flip => flip(&path),
            Self::Half => open(&path).set_len(fs::metadata(&path).unwrap().len() / 2).unwrap(),
            Self::Append => {
                let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
                file.write_all(b"appended by a test\n").unwrap();
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

/// Only its owner may enter or read it, so that the shop does not refuse it for its mode.
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

/// The position of a byte in the middle of the file. In a segment it is in the first batch; in the provider's ledger it
/// is a digit of the last amount.
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
