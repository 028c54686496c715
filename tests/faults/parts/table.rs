//! The parts of a data directory, with the expected result of each damage.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::damage::Damage::{
    self, Append, Dangling, Empty, Flip, Foreign, ForeignBatches, Half, Litter, Older, OtherKind, Pipe, Remove,
    Unreadable,
};

/// The expected result of a start with a damaged part.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// All responses are the same as before, and nothing is logged.
    Whole,
    /// All responses are the same, and the log has these words.
    Logged(&'static str),
    /// All responses are the same; the log has these words, or nothing where the damage hit nothing that was needed.
    LoggedOrWhole(&'static str),
    /// All responses are the same, but `souk verify` finds that the log or a base is damaged.
    Found,
    /// The same, with these words in the log.
    LoggedAndFound(&'static str),
    /// The start is refused with these words, and with the exit code for damaged data.
    Refused(&'static str),
    /// The start is refused because the system does not let the shop read the part, with the exit code for usage.
    Denied,
}

use Expected::{Denied, Found, Logged, LoggedAndFound, LoggedOrWhole, Refused, Whole};

pub(super) type Cases = &'static [(Damage, Expected)];

const KIND: &str = "belongs: ";
const RESTORE: &str = "restore the data directory from a copy";
const RESTORE_PART: &str = "restore it from a backup";
const NEXT_BASE: &str = "the base is unusable";
const STATE_ASIDE: &str = "it was moved aside and is rebuilt";
const INDEX_ASIDE: &str = "the search index is not usable and is built anew";
const NOT_MOUNTED: &str = "is a link that leads nowhere";
const OTHER_KEYS: &str = "are not those that this shop's accounts were written with";

/// The parts with the damages that are tried. A name that begins with `@` stands for a file that [`locate`] finds.
pub(super) const PARTS: [(&str, Cases); 22] = [
    ("@root", &[(Litter, Whole)]),
    (
        "journal",
        &[
            (Remove, Refused("is the journal's disk mounted?")),
            (Empty, Refused("is the journal's disk mounted?")),
            (Foreign, Refused("is the journal of another shop")),
            (Older, Refused("data is missing; put the newer journal back")),
            (OtherKind, Refused(KIND)),
            (Pipe, Refused(KIND)),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Litter, Whole),
        ],
    ),
    (
        "journal/manifest",
        &[
            (Remove, Refused("no manifest file")),
            (Empty, Refused(RESTORE)),
            (Foreign, Refused("belongs to another store")),
            (Older, Whole),
            (OtherKind, Refused(KIND)),
            (Pipe, Refused(KIND)),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Flip, Refused(RESTORE)),
            (Half, Refused(RESTORE)),
            (Append, Refused(RESTORE)),
        ],
    ),
    (
        "journal/lock",
        &[
            (Remove, Whole),
            (Empty, Whole),
            (Foreign, Whole),
            (Older, Whole),
            (OtherKind, Refused("delete it")),
            (Pipe, Refused("delete it")),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Append, Whole),
        ],
    ),
    (
        "journal/log",
        &[
            (Remove, Refused("data is missing")),
            (Empty, Refused("data is missing")),
            (Foreign, Refused("journal/log")),
            (Older, Refused("data is missing")),
            (OtherKind, Refused(KIND)),
            (Pipe, Refused(KIND)),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Litter, Whole),
        ],
    ),
    (
        "@first",
        &[
            // As after a compaction: the base and the state have everything, but the index has not read all of it.
            (Remove, Logged("the log does not reach back to where the read model stands")),
            (Empty, Refused(RESTORE)),
            (Foreign, Refused("belongs to another store")),
            // The index has not read all of it, and the state has what cannot be read of the log.
            (ForeignBatches, LoggedAndFound("the log is damaged: the read model is made from the state")),
            (OtherKind, Refused(KIND)),
            (Pipe, Refused(KIND)),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Flip, Found),
            (Half, Refused(RESTORE)),
            (Append, Refused(RESTORE)),
        ],
    ),
    (
        "@middle",
        &[
            (Remove, Refused(RESTORE)),
            (Empty, Refused(RESTORE)),
            (Foreign, Refused("belongs to another store")),
            // The index has not read all of it, and the state has what cannot be read of the log.
            (ForeignBatches, LoggedAndFound("the log is damaged: the read model is made from the state")),
            (OtherKind, Refused(KIND)),
            (Pipe, Refused(KIND)),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Half, Refused(RESTORE)),
            (Append, Refused(RESTORE)),
        ],
    ),
    // The segment that was being written: the state does not have all of it.
    (
        "@written",
        &[
            (Remove, Refused(RESTORE)),
            (Empty, Refused(RESTORE)),
            (Foreign, Refused("belongs to another store")),
            (ForeignBatches, Refused("belongs to another store")),
            (OtherKind, Refused(KIND)),
            (Pipe, Refused(KIND)),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Half, Refused(RESTORE)),
            (Append, Refused(RESTORE)),
        ],
    ),
    (
        "@last",
        &[
            (Remove, Refused("data is missing")),
            (Empty, Refused(RESTORE)),
            (Foreign, Refused("belongs to another store")),
            (OtherKind, Refused(KIND)),
            (Pipe, Refused(KIND)),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Half, Refused(RESTORE)),
            (Append, Refused(RESTORE)),
        ],
    ),
    (
        "journal/base",
        &[
            (Remove, Whole),
            (Empty, Whole),
            (Foreign, LoggedAndFound(NEXT_BASE)),
            (Older, Whole),
            (OtherKind, Refused("delete it")),
            (Pipe, Refused("delete it")),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Litter, Whole),
        ],
    ),
    (
        "@base",
        &[
            (Remove, Whole),
            (Empty, LoggedAndFound(NEXT_BASE)),
            (Foreign, LoggedAndFound(NEXT_BASE)),
            (OtherKind, Refused("delete it")),
            (Pipe, Refused("delete it")),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Logged(NEXT_BASE)),
            (Flip, Found),
            (Half, Found),
            (Append, Found),
        ],
    ),
    (
        "journal/state",
        &[
            (Remove, Logged("there is no state: it is rebuilt")),
            (Empty, Logged(STATE_ASIDE)),
            (Foreign, Logged(STATE_ASIDE)),
            (Older, Logged(STATE_ASIDE)),
            (OtherKind, Refused("delete it")),
            (Pipe, Refused("delete it")),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Litter, Whole),
        ],
    ),
    (
        "journal/state/db",
        &[
            (Remove, Logged(STATE_ASIDE)),
            (Empty, Logged(STATE_ASIDE)),
            (Foreign, Logged(STATE_ASIDE)),
            (OtherKind, Refused("delete the directory")),
            (Pipe, Refused("delete the directory")),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            // Between a start and its first checkpoint sled has written little that is not in its snapshot as well.
            (Half, LoggedOrWhole(STATE_ASIDE)),
            (Append, Whole),
        ],
    ),
    (
        "search",
        &[
            (Remove, Logged("the search index is missing")),
            (Empty, Logged("the search index is missing")),
            (Foreign, Logged(INDEX_ASIDE)),
            (Older, Whole),
            (OtherKind, Refused("delete it")),
            (Pipe, Refused("delete it")),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Litter, Whole),
        ],
    ),
    (
        "search/meta.json",
        &[
            (Remove, Logged(INDEX_ASIDE)),
            (Empty, Logged(INDEX_ASIDE)),
            (Foreign, Logged(INDEX_ASIDE)),
            (OtherKind, Refused("delete the directory")),
            (Pipe, Refused("delete the directory")),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Logged(INDEX_ASIDE)),
            (Half, Logged(INDEX_ASIDE)),
            (Append, Logged(INDEX_ASIDE)),
        ],
    ),
    (
        "@index",
        &[
            (Remove, Logged(INDEX_ASIDE)),
            (Empty, Logged(INDEX_ASIDE)),
            (Pipe, Refused("delete the directory")),
            (Unreadable, Logged(INDEX_ASIDE)),
            (Flip, Logged(INDEX_ASIDE)),
            (Half, Logged(INDEX_ASIDE)),
            (Append, Logged(INDEX_ASIDE)),
        ],
    ),
    (
        "identity",
        &[
            (Remove, Refused("no account can be found without it")),
            (Empty, Refused("no account can be found without it")),
            (Foreign, Refused(OTHER_KEYS)),
            (Older, Whole),
            (OtherKind, Refused(KIND)),
            (Pipe, Refused(KIND)),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Litter, Whole),
        ],
    ),
    (
        "identity/secret.key",
        &[
            (Remove, Refused(RESTORE_PART)),
            (Empty, Refused(RESTORE_PART)),
            (Foreign, Refused(OTHER_KEYS)),
            (Older, Whole),
            (OtherKind, Refused(RESTORE_PART)),
            (Pipe, Refused(RESTORE_PART)),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Flip, Refused(RESTORE_PART)),
            (Half, Refused(RESTORE_PART)),
            (Append, Refused(RESTORE_PART)),
        ],
    ),
    (
        "identity/signing.key",
        &[
            (Remove, Logged("signing.key is missing")),
            (Empty, Refused("delete it; the next start makes it anew")),
            (Foreign, Refused("is the key of another shop: delete it")),
            (Older, Whole),
            (OtherKind, Refused("delete it")),
            (Pipe, Refused("delete it")),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Flip, Refused("delete it; the next start makes it anew")),
            (Half, Refused("delete it; the next start makes it anew")),
            (Append, Refused("delete it; the next start makes it anew")),
        ],
    ),
    (
        "souk.identity",
        &[
            (Remove, Logged("the shop's identity is missing")),
            (Empty, Refused(RESTORE_PART)),
            (Foreign, Refused("is the journal of another shop")),
            (Older, Whole),
            (OtherKind, Refused(RESTORE_PART)),
            (Pipe, Refused(RESTORE_PART)),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Flip, Refused(RESTORE_PART)),
            (Half, Refused(RESTORE_PART)),
            (Append, Refused(RESTORE_PART)),
        ],
    ),
    (
        "simulated-provider.jsonl",
        &[
            (Remove, Logged("it has forgotten all charges")),
            (Empty, Logged("it has forgotten all charges")),
            (Foreign, Refused("the ledger of another shop")),
            (Older, Logged("is shorter than it was")),
            (OtherKind, Refused("put the provider's ledger back")),
            (Pipe, Refused("put the provider's ledger back")),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Denied),
            (Flip, Logged("ledger cannot be read")),
            (Half, Logged("is shorter than it was")),
            (Append, Logged("ledger cannot be read")),
        ],
    ),
    (
        "control",
        &[
            (Remove, Whole),
            (Empty, Whole),
            (Foreign, Whole),
            (Older, Whole),
            (OtherKind, Refused("delete it")),
            (Pipe, Refused("delete it")),
            (Dangling, Refused(NOT_MOUNTED)),
            (Unreadable, Logged("cannot be asked for while the shop runs")),
            (Litter, Whole),
        ],
    ),
];

/// The path of a part in the directory.
pub(super) fn locate(data: &Path, part: &str) -> PathBuf {
    let sorted = |directory: &str| {
        let entries = fs::read_dir(data.join(directory)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| Path::new(directory).join(entry.unwrap().file_name())).collect();
        names.sort();
        names
    };
    let segment = |index: usize| sorted("journal/log")[index].clone();
    match part {
        "@root" => PathBuf::new(),
        "@first" => segment(0),
        "@middle" => segment(1),
        "@written" => segment(sorted("journal/log").len() - 2),
        "@last" => segment(sorted("journal/log").len() - 1),
        "@base" => sorted("journal/base").pop().unwrap(),
        "@index" => sorted("search").into_iter().find(|name| name.extension() == Some("store".as_ref())).unwrap(),
        part => part.into(),
    }
}

/// The parts of the directory that are in no row of the table.
pub(super) fn unknown_parts(data: &Path) -> Vec<String> {
    let known: Vec<PathBuf> = PARTS.iter().map(|(part, _)| locate(data, part)).collect();
    // The table has only some files of these directories.
    let inside = ["journal/log", "journal/base", "journal/state", "search", "control"].map(PathBuf::from);
    let mut unknown = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(data.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            if !known.contains(&path) {
                unknown.push(format!("{} is a part that the table does not know", path.display()));
            } else if entry.file_type().unwrap().is_dir() && !inside.contains(&path) {
                open.push(path);
            }
        }
    }
    unknown
}
