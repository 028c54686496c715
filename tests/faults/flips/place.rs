//! Where a shop's directory is damaged: the kinds of files in it, and a bit, a length or a name of one of them.

use std::{
    collections::BTreeMap,
    fmt, fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::shop::Original;

/// A kind of file: files that are written and read by the same code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    SealedSegment,
    OpenSegment,
    SpareSegment,
    Marker,
    Base,
    StateDatabase,
    StateSettings,
    StateSnapshot,
    JournalLock,
    IndexMeta,
    IndexManaged,
    IndexSegment,
    IndexLock,
    Secret,
    SigningKey,
    Fingerprint,
    Ledger,
    BackupManifest,
    BackupFile,
}

impl Kind {
    pub(super) const ALL: [Self; 19] = [
        Self::SealedSegment,
        Self::OpenSegment,
        Self::SpareSegment,
        Self::Marker,
        Self::Base,
        Self::StateDatabase,
        Self::StateSettings,
        Self::StateSnapshot,
        Self::JournalLock,
        Self::IndexMeta,
        Self::IndexManaged,
        Self::IndexSegment,
        Self::IndexLock,
        Self::Secret,
        Self::SigningKey,
        Self::Fingerprint,
        Self::Ledger,
        Self::BackupManifest,
        Self::BackupFile,
    ];
}

impl Kind {
    /// Its name in the table of results.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::SealedSegment => "log, sealed segment",
            Self::OpenSegment => "log, segment that is written",
            Self::SpareSegment => "log, segment preallocated",
            Self::Marker => "manifest",
            Self::Base => "base",
            Self::StateDatabase => "state, sled's db",
            Self::StateSettings => "state, sled's conf",
            Self::StateSnapshot => "state, sled's snapshot",
            Self::JournalLock => "journal/lock",
            Self::IndexMeta => "search, meta.json",
            Self::IndexManaged => "search, .managed.json",
            Self::IndexSegment => "search, files of segments",
            Self::IndexLock => "search, locks",
            Self::Secret => "identity, secret.key",
            Self::SigningKey => "identity, signing.key",
            Self::Fingerprint => "souk.identity",
            Self::Ledger => "simulated-provider.jsonl",
            Self::BackupManifest => "backup, manifest.json",
            Self::BackupFile => "backup, its other files",
        }
    }

    pub(super) fn is_of_backup(self) -> bool {
        matches!(self, Self::BackupManifest | Self::BackupFile)
    }

    /// Whether a start may leave the damage: the file cannot be rebuilt, or will be at a later time.
    pub(super) fn stays_damaged(self) -> bool {
        matches!(self, Self::SealedSegment | Self::OpenSegment | Self::Base | Self::Ledger)
    }

    /// The kind of a file of a data directory that is not a segment of the log.
    fn of(file: &str) -> Option<Self> {
        let (directory, name) = file.rsplit_once('/').unwrap_or(("", file));
        Some(match (directory, name) {
            ("journal", "manifest") => Self::Marker,
            ("journal", "lock") => Self::JournalLock,
            ("journal/base", _) => Self::Base,
            ("journal/state", "db") => Self::StateDatabase,
            ("journal/state", "conf") => Self::StateSettings,
            ("journal/state", name) if name.starts_with("snap.") => Self::StateSnapshot,
            ("search", "meta.json") => Self::IndexMeta,
            ("search", ".managed.json") => Self::IndexManaged,
            ("search", name) if name.ends_with(".lock") => Self::IndexLock,
            ("search", _) => Self::IndexSegment,
            ("identity", "secret.key") => Self::Secret,
            ("identity", "signing.key") => Self::SigningKey,
            ("", "souk.identity") => Self::Fingerprint,
            ("", "simulated-provider.jsonl") => Self::Ledger,
            _ => return None,
        })
    }
}

/// Every file below a directory, by its relative path. Sockets are left out.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path().strip_prefix(directory).unwrap().to_owned()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// The end of the last byte that is not zero.
fn used(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

/// All files of the shop and its backup, by kind. A file of no known kind ends the run, because it would never be
/// damaged.
pub(super) fn kinds(original: &Original) -> BTreeMap<Kind, Vec<PathBuf>> {
    let mut kinds: BTreeMap<Kind, Vec<PathBuf>> = BTreeMap::new();
    let mut segments = Vec::new();
    for file in files(&original.data()) {
        match Kind::of(&file.to_string_lossy()) {
            Some(kind) => kinds.entry(kind).or_default().push(file),
            None if file.starts_with("journal/log") => segments.push(file),
            None => panic!("{} is of no known kind", file.display()),
        }
    }
    /// A segment begins with a page for its header.
    const HEADER_BYTES: u64 = 4096;
    let written = |segment: &PathBuf| used(&original.data().join(segment)) > HEADER_BYTES;
    let open = segments.iter().rposition(written).unwrap();
    for (index, segment) in segments.into_iter().enumerate() {
        let kind = match index.cmp(&open) {
            std::cmp::Ordering::Less => Kind::SealedSegment,
            std::cmp::Ordering::Equal => Kind::OpenSegment,
            std::cmp::Ordering::Greater => Kind::SpareSegment,
        };
        kinds.entry(kind).or_default().push(segment);
    }
    for file in files(&original.backup()) {
        let is_manifest = file.as_os_str() == "manifest.json";
        let kind = if is_manifest { Kind::BackupManifest } else { Kind::BackupFile };
        kinds.entry(kind).or_default().push(file);
    }
    kinds
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Damage {
    Flip,
    Truncate,
    Remove,
}

impl Damage {
    pub(super) const ALL: [Self; 3] = [Self::Flip, Self::Truncate, Self::Remove];
}

/// One damage to one file.
pub(super) struct Place {
    pub(super) kind: Kind,
    file: PathBuf,
    damage: Damage,
    /// The byte that is flipped, or the new length.
    at: u64,
    bit: u8,
}

impl Place {
    /// Three of four places are in the written part of a file; the others are anywhere in it.
    pub(super) fn choose(
        original: &Original,
        kind: Kind,
        file: &Path,
        damage: Damage,
        random: &mut fastrand::Rng,
    ) -> Self {
        let directory = if kind.is_of_backup() { original.backup() } else { original.data() };
        let path = directory.join(file);
        let length = fs::metadata(&path).unwrap().len();
        let used = Some(used(&path)).filter(|used| *used > 0 && random.u8(..4) < 3);
        let at = random.u64(..used.unwrap_or(length).max(1));
        Self { kind, file: file.to_owned(), damage, at, bit: random.u8(..8) }
    }

    pub(super) fn damage_in(&self, directory: &Path) {
        let path = directory.join(&self.file);
        let open = || fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        match self.damage {
            Damage::Remove => fs::remove_file(&path).unwrap(),
            Damage::Truncate => open().set_len(self.at).unwrap(),
            Damage::Flip => {
                let (file, mut byte) = (open(), [0]);
                // An empty file has no bit; it gets one.
                let _ = file.read_at(&mut byte, self.at).unwrap();
                file.write_all_at(&[byte[0] ^ (1 << self.bit)], self.at).unwrap();
            }
        }
    }

    /// How a message may name it: the file, or its directory if only that is known.
    pub(super) fn names(&self) -> Vec<String> {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let directory = self.file.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
        let root = directory.split('/').next().unwrap_or_default().to_owned();
        let directories = [directory, root].into_iter().filter(|directory| !directory.is_empty());
        [name].into_iter().chain(directories.map(|directory| format!("shop/{directory}"))).collect()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, damage, at, bit, .. } = self;
        let file = file.display();
        match damage {
            Damage::Flip => write!(to, "{file}: bit {bit} of byte {at} flipped"),
            Damage::Truncate => write!(to, "{file}: cut to {at} bytes"),
            Damage::Remove => write!(to, "{file}: removed"),
        }
    }
}
