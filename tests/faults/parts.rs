//! Each part of a data directory is missing, empty, another shop's, an older copy, of another kind, or damaged.
//!
//! Two shops are made once, and one of them is copied when it is half as old. Each case changes one part in a copy of
//! the shop and starts the program on it. The table says what must come of it: the shop is whole, or it is made whole
//! and says so in its log, or the start is refused with an exit code and a text that names the part and the remedy.
//! From the first moment in which `/readyz` says ready, everybody is shown what they were shown before.
//!
//! A short run has one case for each part, a long one (`--cycles 1`) all of them. What cannot be read because of its
//! permissions is not tried: root can read everything.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    Figure, Length, Outcome,
    flips::{
        check, copy, findings,
        shop::{Original, Picture, Running, Started},
        sound,
    },
};

/// The exit code of a directory that somebody must look at.
const DATA: i32 = 65;
/// A segment begins with a page of its own; its first batch follows.
const SEGMENT_HEADER_BYTES: u64 = 4096;
/// How long a start may take to become ready in a debug build on a busy machine.
const READY_MAX: Duration = Duration::from_secs(60);

/// What happens to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Remove,
    Empty,
    /// The other shop's takes its place.
    Foreign,
    /// Its own older copy takes its place.
    Older,
    /// A directory in the place of a file, a file in that of a directory.
    OtherKind,
    Flip,
}

use Deed::{Empty, Flip, Foreign, Older, OtherKind, Remove};

/// What must come of it.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// Everything is there, and nothing needs to be said.
    Whole,
    /// Everything is there, and the log says these words.
    Told(&'static str),
    /// Everything is shown, but only a check finds that the log or a base is damaged.
    Found,
    /// The same, with these words in the log: the next base replaces the bad one.
    ToldAndFound(&'static str),
    /// The start is refused with these words.
    Refused(&'static str),
}

use Expected::{Found, Refused, Told, ToldAndFound, Whole};

const KIND: &str = "belongs: ";

type Cases = &'static [(Deed, Expected)];

/// The parts with all that can happen to them. A name that begins with `@` is found in the directory.
const PARTS: [(&str, Cases); 17] = [
    (
        "journal",
        &[
            (Remove, Refused("is the journal's disk mounted?")),
            (Empty, Refused("is the journal's disk mounted?")),
            (Foreign, Refused("is the journal of another shop")),
            (Older, Refused("data is missing; put the newer journal back")),
            (OtherKind, Refused(KIND)),
        ],
    ),
    (
        "journal/manifest",
        &[
            (Remove, Refused("no manifest file")),
            (Empty, Refused("restore the data directory from a copy")),
            (Foreign, Refused("belongs to another store")),
            (Older, Whole),
            (OtherKind, Refused(KIND)),
            (Flip, Refused("restore the data directory from a copy")),
        ],
    ),
    ("journal/lock", &[(Remove, Whole), (Foreign, Whole), (Older, Whole), (OtherKind, Refused("delete it"))]),
    (
        "journal/log",
        &[
            (Remove, Refused("data is missing")),
            (Empty, Refused("data is missing")),
            (Foreign, Refused("journal/log")),
            (Older, Refused("data is missing")),
            (OtherKind, Refused(KIND)),
        ],
    ),
    (
        "@first",
        &[
            // As after a compaction: base and state have all that stood there, and the index has not read all of it.
            (Remove, Told("the log does not reach back to where the read model stands")),
            (Empty, Refused("restore the data directory from a copy")),
            (Foreign, Refused("belongs to another store")),
            (OtherKind, Refused(KIND)),
            (Flip, Found),
        ],
    ),
    (
        "@middle",
        &[
            (Remove, Refused("restore the data directory from a copy")),
            (Empty, Refused("restore the data directory from a copy")),
            (OtherKind, Refused(KIND)),
        ],
    ),
    (
        "@last",
        &[
            (Remove, Refused("data is missing")),
            (Empty, Refused("restore the data directory from a copy")),
            (OtherKind, Refused(KIND)),
        ],
    ),
    (
        "journal/base",
        &[
            (Remove, Whole),
            (Empty, Whole),
            (Foreign, ToldAndFound("the base is no good")),
            (Older, Whole),
            (OtherKind, Refused("delete it")),
        ],
    ),
    ("@base", &[(Empty, ToldAndFound("the base is no good")), (OtherKind, Refused("delete it")), (Flip, Found)]),
    (
        "journal/state",
        &[
            (Remove, Told("there is no state: it is rebuilt")),
            (Empty, Told("it was moved aside and is rebuilt")),
            (Foreign, Told("it was moved aside and is rebuilt")),
            (Older, Told("it was moved aside and is rebuilt")),
            (OtherKind, Refused("delete it")),
        ],
    ),
    (
        "search",
        &[
            (Remove, Told("the search index is missing")),
            (Empty, Told("the search index is missing")),
            (Foreign, Told("the search index is not usable and is built anew")),
            (Older, Whole),
            (OtherKind, Refused("delete it")),
        ],
    ),
    (
        "identity",
        &[
            (Remove, Refused("no account can be found without it")),
            (Empty, Refused("no account can be found without it")),
            (Foreign, Refused("are not those that this shop's accounts were written with")),
            (Older, Whole),
            (OtherKind, Refused(KIND)),
        ],
    ),
    (
        "identity/secret.key",
        &[
            (Remove, Refused("restore it from a backup")),
            (Empty, Refused("restore it from a backup")),
            (Foreign, Refused("are not those that this shop's accounts were written with")),
            (Older, Whole),
            (OtherKind, Refused("restore it from a backup")),
            (Flip, Refused("restore it from a backup")),
        ],
    ),
    (
        "identity/signing.key",
        &[
            (Remove, Told("signing.key is missing")),
            (Empty, Refused("delete it; the next start makes it anew")),
            (Foreign, Refused("is the key of another shop: delete it")),
            (Older, Whole),
            (OtherKind, Refused("delete it")),
            (Flip, Refused("delete it; the next start makes it anew")),
        ],
    ),
    (
        "souk.identity",
        &[
            (Remove, Told("the shop's identity is missing")),
            (Empty, Refused("restore it from a backup")),
            (Foreign, Refused("is the journal of another shop")),
            (Older, Whole),
            (OtherKind, Refused("restore it from a backup")),
            (Flip, Refused("restore it from a backup")),
        ],
    ),
    (
        "simulated-provider.jsonl",
        &[
            (Remove, Told("it has forgotten all charges")),
            (Empty, Told("it has forgotten all charges")),
            (Foreign, Refused("the ledger of another shop")),
            (Older, Told("is shorter than it was")),
            (OtherKind, Refused("put the provider's ledger back")),
        ],
    ),
    (
        "control",
        &[(Remove, Whole), (Empty, Whole), (Foreign, Whole), (Older, Whole), (OtherKind, Refused("delete it"))],
    ),
];

pub(crate) async fn run(length: Length) -> Outcome {
    let mut random = fastrand::Rng::with_seed(length.seed);
    let (mut ours, other) = (Original::make(false).await, Original::make(false).await);
    let shops = Shops { older: ours.older(), other: other.data(), expected: sound(&mut ours).await };
    let mut violations = unknown_parts(&ours.data());
    let (mut cases, mut fates) = (0, BTreeMap::<&str, u64>::new());
    for (part, all) in PARTS {
        let part = locate(&ours.data(), part);
        let chosen = random.usize(..all.len());
        let tried = if length.is_long() { all } else { &all[chosen..=chosen] };
        for (deed, expected) in tried {
            let fate = shops.try_out(&mut ours, &part, *deed, *expected).await;
            match fate {
                Ok(fate) => *fates.entry(fate).or_default() += 1,
                Err(what) => violations.push(format!("{} {deed:?}: {what}", part.display())),
            }
            cases += 1;
        }
    }
    Ok(Figure { figure: format!("{cases} cases of {} parts: {fates:?}", PARTS.len()), violations })
}

/// What is in the directory and in no row of the table.
fn unknown_parts(data: &Path) -> Vec<String> {
    let known: Vec<PathBuf> = PARTS.iter().map(|(part, _)| locate(data, part)).collect();
    // Segments and bases of which the table has some, and what each room has inside.
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

/// The path of a part in the directory.
fn locate(data: &Path, part: &str) -> PathBuf {
    let sorted = |directory: &str| {
        let entries = fs::read_dir(data.join(directory)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| Path::new(directory).join(entry.unwrap().file_name())).collect();
        names.sort();
        names
    };
    let segment = |index: usize| sorted("journal/log")[index].clone();
    match part {
        "@first" => segment(0),
        "@middle" => segment(1),
        "@last" => segment(sorted("journal/log").len() - 1),
        "@base" => sorted("journal/base").pop().unwrap(),
        part => part.into(),
    }
}

struct Shops {
    older: PathBuf,
    other: PathBuf,
    expected: Picture,
}

impl Shops {
    /// Changes a part in a copy and sees what comes of it; the error says what should not have come of it.
    async fn try_out(
        &self,
        ours: &mut Original,
        part: &Path,
        deed: Deed,
        expected: Expected,
    ) -> Result<&'static str, String> {
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().join("shop");
        copy(&ours.data(), &data);
        self.change(&data, part, deed);
        let shop = match ours.start(&data) {
            Started::Refused(said, code) => return refused(&said, code, part, expected),
            Started::Running(shop) => shop,
        };
        ready(&shop).await?;
        let shown = ours.picture_now(&shop).await.map_err(|what| format!("{what}; it said: {}", shop.said()))?;
        let said = shop.said();
        drop(shop);
        if let Some((look, was)) = self.expected.iter().find(|(look, was)| shown.get(look) != Some(was)) {
            return Err(format!("{look:?} was {was:?} and is {:?}; it said: {said}", shown.get(look)));
        }
        let found = findings(&check(ours, &data).await);
        // A provider that has forgotten charges has nothing that the orders could be held against.
        let is_clean = found.is_empty() || part == Path::new("simulated-provider.jsonl");
        match expected {
            Whole if said.is_empty() && is_clean => Ok("whole"),
            Told(words) if said.contains(words) && is_clean => Ok("told and whole"),
            Found if !found.is_empty() => Ok("found by a check"),
            ToldAndFound(words) if said.contains(words) && !found.is_empty() => Ok("told and found by a check"),
            _ => Err(format!("it starts, and should be {expected:?}; it said: {said}; the check found: {found:?}")),
        }
    }

    fn change(&self, data: &Path, part: &Path, deed: Deed) {
        let path = data.join(part);
        let is_directory = path.is_dir();
        if deed == Flip {
            let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let (mut byte, at) = ([0], flipped_byte(&path));
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
            return;
        }
        if is_directory {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        match deed {
            Remove | Flip => {}
            // For its owner alone, so that not its mode is what is refused.
            Empty | OtherKind if is_directory == (deed == Empty) => {
                fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
            }
            Empty | OtherKind => {
                let mut options = fs::OpenOptions::new();
                options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
            }
            Foreign => copy(&self.other.join(part), &path),
            Older => copy(&self.older.join(part), &path),
        }
    }
}

/// A byte in the middle of what was written. In a segment, behind its header and in its first batch.
fn flipped_byte(path: &Path) -> u64 {
    if path.extension().is_some_and(|extension| extension == "log") {
        return SEGMENT_HEADER_BYTES + 100;
    }
    fs::metadata(path).unwrap().len() / 2
}

/// A refusal is a message that names the part and the remedy, with the right code, and each cause once.
fn refused(said: &str, code: Option<i32>, part: &Path, expected: Expected) -> Result<&'static str, String> {
    let Refused(words) = expected else {
        return Err(format!("it is refused, and should be {expected:?}: {said}"));
    };
    let message = said.lines().find(|line| line.starts_with("souk: ")).unwrap_or_default();
    // Of a part that is gone, the directory may be all that is known.
    let names = [part, part.parent().unwrap_or(part)].map(|name| name.to_string_lossy().into_owned());
    let is_named = names.iter().any(|name| !name.is_empty() && message.contains(name.as_str()));
    let parts: Vec<&str> = message.split(": ").flat_map(|part| part.split("; ")).collect();
    let is_once = parts.iter().all(|cause| parts.iter().filter(|other| other == &cause).count() == 1);
    if code == Some(DATA) && message.contains(words) && is_named && is_once && !said.contains("panicked") {
        Ok("refused")
    } else {
        Err(format!("it should be refused with {DATA} and {words:?}, and ends with {code:?}: {said}"))
    }
}

/// Waits until it says that it is ready.
async fn ready(shop: &Running) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let answer = reqwest::get(format!("{}/readyz", shop.url())).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body: serde_json::Value = answer.json().await.map_err(|error| error.to_string())?;
        match (status, body["ready"] == true) {
            (200, true) => return Ok(()),
            (503, false) if began.elapsed() < READY_MAX => tokio::time::sleep(Duration::from_millis(2)).await,
            _ => return Err(format!("/readyz is {status}: {body}; it said: {}", shop.said())),
        }
    }
}
