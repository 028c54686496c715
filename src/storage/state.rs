//! The state: snapshots, records and read models behind the log, in sled. The only file that names sled.
//!
//! ```text
//! e‖stream‖0                  head: sequence, generation, chunks, bytes, version; then the snapshot, where it fits
//! e‖stream‖1‖generation‖i     a chunk of a snapshot that does not
//! e‖stream‖2‖sequence‖part    raw records from this sequence on, about one value full, or one large record in parts
//! m‖…                         store id, checkpoint, pins
//! l‖list‖key                  an entry of a read model
//! ```
//!
//! What belongs to a stream stands together: names of streams are random, and each page of the tree that a checkpoint or a load
//! touches costs more than what is on it. One tree, because a batch is atomic for one tree only. Every value is at most [`VALUE_BYTES_MAX`] long and begins with a
//! checksum of key and value. sled's own `flush` does not commit the file's metadata, so [`State::sync`] syncs its file by a
//! descriptor of ours. Nothing here is the truth: what is lost is rebuilt from the log. Depends on `record`, `tail` and `errors`.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::RwLock;

use super::{
    batch::{u32_at, u64_at},
    errors::{Fault, LoadError},
    limits::{SNAPSHOT_BYTES_MAX, VALUE_BYTES_MAX},
    record::{Loaded, Record, Snapshot, Stream},
    tail::Kept,
};

/// The first byte of the keys that belong to a stream.
const ENTITIES: u8 = b'e';
const CRC_BYTES: usize = 4;
/// What stands before a snapshot in its head, in bytes.
const HEAD_BYTES: usize = 26;
/// The longest snapshot that stands in its head, in bytes.
const INLINE_BYTES_MAX: usize = VALUE_BYTES_MAX - CRC_BYTES - HEAD_BYTES;
/// How much of a longer one goes into one value, in bytes.
const CHUNK_BYTES: usize = VALUE_BYTES_MAX - CRC_BYTES;
/// The number of parts of a run and of its records stand before each part, as two and four bytes.
const RUN_HEADER_BYTES: usize = 6;
/// How much of a run of records goes into one value, in bytes.
const PART_BYTES: usize = VALUE_BYTES_MAX - CRC_BYTES - RUN_HEADER_BYTES;
/// What follows the stream's name in the key of a run, in bytes: its first sequence and its part.
const RUN_SUFFIX_BYTES: usize = 10;
/// What stands before each record in a run: its version and its length, in bytes.
const RECORD_HEADER_BYTES: usize = 6;
/// How often a load starts again because a checkpoint exchanged what it was reading; one checkpoint can do it once.
const LOAD_ATTEMPTS_MAX: usize = 16;
/// How long a start waits for the threads of an earlier sled in this process: far longer than they have been seen to take.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often it tries meanwhile.
const LOCK_WAIT_STEP: Duration = Duration::from_millis(5);

/// A change of the state: a key with its new value, or without one.
pub(super) type Entry = (Vec<u8>, Option<Vec<u8>>);

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// What is known of a stream's snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub sequence: u64,
    pub generation: u64,
    chunks: u32,
    bytes: u32,
    version: u16,
}

/// The store behind the log.
#[derive(Debug)]
pub(super) struct State {
    open: RwLock<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    tree: sled::Db,
    file: fs::File,
}

/// Why the store did not open.
#[derive(Debug)]
pub(super) enum Unopened {
    /// Its content is no good: it can be moved aside.
    Damaged(String),
    /// The system does not let it open; its content may be good.
    Refused(Fault),
}

impl State {
    /// Opens or creates the store. The caller holds the lock of the directory.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, Unopened> {
        prepare(dir).map_err(|error| Unopened::Refused(Fault::io(format!("prepare {}", dir.display()))(error)))?;
        let config = sled::Config::new().path(dir).cache_capacity(cache_bytes).flush_every_ms(None);
        let mut opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        let deadline = Instant::now() + LOCK_WAIT_MAX;
        while matches!(&opened, Ok(Err(sled::Error::Io(error))) if is_about_the_lock(error))
            && Instant::now() < deadline
        {
            // The directory is ours, so it can only be an earlier sled of this process, whose threads end a little later.
            thread::sleep(LOCK_WAIT_STEP);
            opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        }
        let tree = match opened {
            Ok(Ok(tree)) => tree,
            Ok(Err(sled::Error::Io(error))) if !is_about_content(&error) => {
                return Err(Unopened::Refused(Fault::io(format!("open {}", dir.display()))(error)));
            }
            Ok(Err(error)) => return Err(Unopened::Damaged(error.to_string())),
            Err(_) => return Err(Unopened::Damaged("sled panicked while opening".into())),
        };
        let file = fs::File::open(dir.join("db"));
        let file = file.map_err(|error| Unopened::Refused(Fault::io("open the state's file")(error)))?;
        let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| Unopened::Refused(Fault::io("sync the state's directory")(error)))?;
        Ok(Self { open: RwLock::new(Some(Open { tree, file })) })
    }

    /// Moves a store that is no good to a name of its own, where somebody can look at it.
    pub(super) fn move_aside(dir: &Path) -> Result<PathBuf, Fault> {
        let aside =
            (1..).map(|number: u32| dir.with_file_name(format!("state.damaged-{number}"))).find(|path| !path.exists());
        let aside = aside.ok_or_else(|| Fault::State("there is no free name to move the state to".into()))?;
        fs::rename(dir, &aside).map_err(Fault::io(format!("move {} aside", dir.display())))?;
        Ok(aside)
    }

    /// Lets go of the store's files. Everything after this is refused.
    pub(super) fn close(&self) {
        self.open.write().take();
    }

    fn with<T>(&self, work: impl FnOnce(&Open) -> Result<T, Fault>) -> Result<T, Fault> {
        let open = self.open.read();
        let open = open.as_ref().ok_or(Fault::Closed)?;
        // sled panics where it finds its own files damaged. That must not take the thread along.
        catch_unwind(AssertUnwindSafe(|| work(open))).unwrap_or_else(|_| Err(Fault::State("sled panicked".into())))
    }

    /// Makes some changes, all or none. They are not durable yet.
    pub(super) fn apply(&self, entries: Vec<Entry>) -> Result<(), Fault> {
        let mut batch = sled::Batch::default();
        for (key, value) in entries {
            match value {
                Some(value) => {
                    let sealed = seal(&key, &value);
                    if sealed.len() > VALUE_BYTES_MAX {
                        return Err(Fault::TooLarge { bytes: value.len() });
                    }
                    batch.insert(key, sealed);
                }
                None => batch.remove(key),
            }
        }
        self.with(|open| open.tree.apply_batch(batch).map_err(failed))
    }

    /// Makes every change so far durable.
    pub(super) fn sync(&self) -> Result<(), Fault> {
        self.with(|open| {
            open.tree.flush().map_err(failed)?;
            open.file.sync_data().map_err(Fault::io("sync the state"))
        })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.with(|open| match open.tree.get(key).map_err(failed)? {
            Some(value) => Ok(Some(unseal(key, &value)?.to_vec())),
            None => Ok(None),
        })
    }

    /// Entries from `from` on whose keys have this prefix, in the order of the keys.
    pub(super) fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<KeyValue>, Fault> {
        self.with(|open| {
            let entries = open.tree.range(from.to_vec()..).take(limit);
            let mut found = Vec::new();
            for entry in entries {
                let (key, value) = entry.map_err(failed)?;
                if !key.starts_with(prefix) {
                    break;
                }
                found.push((key.to_vec(), unseal(&key, &value)?.to_vec()));
            }
            Ok(found)
        })
    }

    /// The keys in this range, in order, at most so many.
    pub(super) fn keys(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, Fault> {
        self.with(|open| {
            let keys = open.tree.range(from.to_vec()..to.to_vec()).keys().take(limit);
            keys.map(|key| Ok(key.map_err(failed)?.to_vec())).collect()
        })
    }

    /// The keys of what a snapshot replaces: its stream's chunks of earlier generations, and the runs of records that end with
    /// it. A run may begin before the snapshot and end after it, since who wrote the snapshot did not stop the stream for it.
    pub(super) fn replaced_by(&self, stream: &Stream, generation: u64, sequence: u64) -> Result<Vec<Vec<u8>>, Fault> {
        self.with(|open| {
            let chunks = open.tree.range(chunk_key(stream, 0, 0)..chunk_key(stream, generation, 0)).keys();
            let mut keys = chunks.map(|key| Ok(key.map_err(failed)?.to_vec())).collect::<Result<Vec<_>, Fault>>()?;
            for entry in open.tree.range(run_key(stream, 0, 0)..run_key(stream, sequence.saturating_add(1), 0)) {
                let (key, value) = entry.map_err(failed)?;
                if run_end(&key, unseal(&key, &value)?).is_some_and(|end| end <= sequence) {
                    keys.push(key.to_vec());
                }
            }
            Ok(keys)
        })
    }

    /// The keys with this prefix, in order, at most so many.
    pub(super) fn scan_keys(&self, prefix: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, Fault> {
        self.with(|open| {
            let keys = open.tree.scan_prefix(prefix).keys().take(limit);
            keys.map(|key| Ok(key.map_err(failed)?.to_vec())).collect()
        })
    }

    /// The first key after this one, if any.
    pub(super) fn key_after(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.with(|open| Ok(open.tree.get_gt(key).map_err(failed)?.map(|(key, _)| key.to_vec())))
    }

    /// The next stream, after this one where one is given, that has a snapshot or records here: by kind, then by key.
    pub(super) fn stream_after(&self, kind: Option<u8>, after: Option<&Stream>) -> Result<Option<Stream>, Fault> {
        let seek = match after {
            Some(after) => [key(after).as_slice(), &[u8::MAX]].concat(),
            None => std::iter::once(ENTITIES).chain(kind).collect(),
        };
        let found = self.key_after(&seek)?.filter(|key| key.first() == Some(&ENTITIES));
        let Some(key) = found.filter(|key| kind.is_none_or(|kind| key.get(1) == Some(&kind))) else { return Ok(None) };
        stream_of(&key).map(Some).ok_or_else(|| Fault::Damaged("the name of a stream".into()))
    }

    /// Is there nothing in it?
    pub(super) fn is_empty(&self) -> Result<bool, Fault> {
        self.with(|open| Ok(open.tree.is_empty()))
    }

    /// The head of a stream's snapshot.
    pub(super) fn head(&self, stream: &Stream) -> Result<Option<Head>, Fault> {
        Ok(self.head_and_rest(stream)?.map(|(head, _)| head))
    }

    /// The same with the snapshot, where it stands there.
    fn head_and_rest(&self, stream: &Stream) -> Result<Option<(Head, Bytes)>, Fault> {
        let Some(value) = self.get(&head_key(stream))? else { return Ok(None) };
        if value.len() < HEAD_BYTES {
            return Err(Fault::Damaged(format!("the head of {stream:?}")));
        }
        let head = Head {
            sequence: u64_at(&value, 0),
            generation: u64_at(&value, 8),
            chunks: u32_at(&value, 16),
            bytes: u32_at(&value, 20),
            version: u16::from_le_bytes([value[24], value[25]]),
        };
        Ok(Some((head, Bytes::from(value).slice(HEAD_BYTES..))))
    }

    /// What the store has of a stream. A checkpoint may go on meanwhile.
    pub(super) fn load(&self, stream: &Stream) -> Result<Loaded, LoadError> {
        let mut problem = String::new();
        for _ in 0..LOAD_ATTEMPTS_MAX {
            let head = self.head_and_rest(stream)?;
            let version = head.as_ref().map(|(head, _)| *head);
            let read = self.load_once(stream, head)?;
            // An unchanged head says that nothing it speaks of was taken away while we read.
            if self.head(stream)? != version {
                continue;
            }
            match read {
                Ok(loaded) => return Ok(loaded),
                Err(what) => problem = what,
            }
        }
        Err(LoadError::Damaged(format!("{stream:?}: {problem}")))
    }

    fn load_once(&self, stream: &Stream, head: Option<(Head, Bytes)>) -> Result<Result<Loaded, String>, Fault> {
        let mut loaded = Loaded::default();
        if let Some((head, mut bytes)) = head {
            if head.chunks > 0 {
                let mut all = Vec::with_capacity((head.bytes as usize).min(SNAPSHOT_BYTES_MAX));
                for chunk in 0..head.chunks {
                    match self.get(&chunk_key(stream, head.generation, chunk))? {
                        Some(chunk) => all.extend_from_slice(&chunk),
                        None => return Ok(Err(format!("chunk {chunk} of its snapshot is missing"))),
                    }
                }
                bytes = all.into();
            }
            if bytes.len() != head.bytes as usize {
                return Ok(Err(format!("its snapshot has {} bytes and not {}", bytes.len(), head.bytes)));
            }
            loaded.snapshot = Some(Snapshot { sequence: head.sequence, version: head.version, bytes });
        }
        // From the first run on: one that a start wrote once more may begin below the snapshot and end above it.
        let prefix = runs_key(stream);
        let mut run: Vec<u8> = Vec::new();
        let mut parts_read: u16 = 0;
        for (run_key, value) in self.scan(&prefix, &prefix, usize::MAX)? {
            let first = be_u64(&run_key[prefix.len()..]);
            let part = u16::from_be_bytes([run_key[prefix.len() + 8], run_key[prefix.len() + 9]]);
            if value.len() < RUN_HEADER_BYTES || part != parts_read {
                return Ok(Err(format!("the run of records at {first} is incomplete")));
            }
            run.extend_from_slice(&value[RUN_HEADER_BYTES..]);
            parts_read += 1;
            if parts_read == u16::from_le_bytes([value[0], value[1]]) {
                let records = run_records(stream, first, &Bytes::from(std::mem::take(&mut run)));
                let last = loaded.sequence();
                match records {
                    Some(records) => loaded.records.extend(records.into_iter().filter(|record| record.sequence > last)),
                    None => return Ok(Err(format!("the run of records at {first} is not what was written"))),
                }
                parts_read = 0;
            }
        }
        Ok(if parts_read == 0 { Ok(loaded) } else { Err("its last run of records is incomplete".into()) })
    }
}

/// Creates the directory where it is missing, and removes what makes sled refuse to open after a kill.
fn prepare(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_about_the_lock(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Errors that sled makes itself out of what it reads, not those of the system.
fn is_about_content(error: &io::Error) -> bool {
    !is_about_the_lock(error) && (error.raw_os_error().is_none() || error.kind() == io::ErrorKind::NotADirectory)
}

#[allow(clippy::needless_pass_by_value)] // It stands in `map_err`.
fn failed(error: sled::Error) -> Fault {
    Fault::State(error.to_string())
}

fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), value);
    let mut sealed = Vec::with_capacity(CRC_BYTES + value.len());
    sealed.extend_from_slice(&crc.to_le_bytes());
    sealed.extend_from_slice(value);
    sealed
}

fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], Fault> {
    let (crc, value) = sealed.split_at_checked(CRC_BYTES).unwrap_or_default();
    let good = crc == crc32c::crc32c_append(crc32c::crc32c(key), value).to_le_bytes();
    if good { Ok(value) } else { Err(Fault::Damaged(format!("the value of {}", key.escape_ascii()))) }
}

/// The kind, the length of the name and the name: streams of one kind stand together and none is another's prefix.
fn key(stream: &Stream) -> Vec<u8> {
    let name = stream.key();
    let mut key = Vec::with_capacity(name.len() + 16);
    key.extend_from_slice(&[ENTITIES, stream.kind(), u8::try_from(name.len()).unwrap_or(u8::MAX)]);
    key.extend_from_slice(name);
    key
}

/// The stream that a key is about, if it is about one.
pub(super) fn stream_of(key: &[u8]) -> Option<Stream> {
    let [ENTITIES, kind, length, rest @ ..] = key else { return None };
    Some(Stream::new(*kind, rest.get(..usize::from(*length))?))
}

fn head_key(stream: &Stream) -> Vec<u8> {
    let mut key = key(stream);
    key.push(0);
    key
}

fn chunk_key(stream: &Stream, generation: u64, chunk: u32) -> Vec<u8> {
    let mut key = key(stream);
    key.push(1);
    key.extend_from_slice(&generation.to_be_bytes());
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// What the keys of a stream's runs begin with.
fn runs_key(stream: &Stream) -> Vec<u8> {
    let mut key = key(stream);
    key.push(2);
    key
}

fn run_key(stream: &Stream, sequence: u64, part: u16) -> Vec<u8> {
    let mut key = runs_key(stream);
    key.extend_from_slice(&sequence.to_be_bytes());
    key.extend_from_slice(&part.to_be_bytes());
    key
}

fn be_u64(bytes: &[u8]) -> u64 {
    let mut integer = [0; 8];
    integer.copy_from_slice(&bytes[..8]);
    u64::from_be_bytes(integer)
}

/// The entries of raw records of one stream, which follow each other, in runs of about one value. All parts of a run are
/// answered together, so that a load never finds half of one.
pub(super) fn run_entries(stream: &Stream, records: &[Kept]) -> Vec<Vec<Entry>> {
    let mut runs = Vec::new();
    let mut rest = records;
    while let Some(first) = rest.first() {
        let mut run: Vec<u8> = Vec::new();
        let mut count = 0;
        for record in rest {
            let bytes = RECORD_HEADER_BYTES + record.payload.len();
            if count > 0 && run.len() + bytes > PART_BYTES {
                break;
            }
            run.extend_from_slice(&record.version.to_le_bytes());
            // A payload is at most `record_bytes_max` long, far below 4 GiB.
            run.extend_from_slice(&u32::try_from(record.payload.len()).unwrap_or(u32::MAX).to_le_bytes());
            run.extend_from_slice(&record.payload);
            count += 1;
        }
        let parts = u16::try_from(run.len().div_ceil(PART_BYTES)).unwrap_or(u16::MAX);
        let records = u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
        let entry = |(part, bytes): (u16, &[u8])| {
            let value = [&parts.to_le_bytes()[..], &records, bytes].concat();
            (run_key(stream, first.sequence, part), Some(value))
        };
        runs.push((0..).zip(run.chunks(PART_BYTES)).map(entry).collect());
        rest = &rest[count..];
    }
    runs
}

/// The records of a run, or `None` where its bytes are none.
fn run_records(stream: &Stream, first: u64, run: &Bytes) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    let mut at = 0;
    for sequence in first.. {
        if at == run.len() {
            break;
        }
        let header = run.get(at..at + RECORD_HEADER_BYTES)?;
        let from = at + RECORD_HEADER_BYTES;
        at = from.checked_add(usize::try_from(u32_at(header, 2)).ok()?).filter(|end| *end <= run.len())?;
        let version = u16::from_le_bytes([header[0], header[1]]);
        records.push(Record { stream: stream.clone(), sequence, version, payload: run.slice(from..at) });
    }
    Some(records)
}

/// The entries of a snapshot: its chunks, if it has any, and last the head that makes them count.
pub(super) fn snapshot_entries(stream: &Stream, snapshot: &Snapshot, generation: u64) -> Vec<Entry> {
    let (in_head, in_chunks) = match snapshot.bytes.len() {
        ..=INLINE_BYTES_MAX => (&snapshot.bytes[..], &[][..]),
        _ => (&[][..], &snapshot.bytes[..]),
    };
    let mut entries = Vec::new();
    let mut chunks: u32 = 0;
    for bytes in in_chunks.chunks(CHUNK_BYTES) {
        entries.push((chunk_key(stream, generation, chunks), Some(bytes.to_vec())));
        chunks += 1;
    }
    let mut head = Vec::with_capacity(HEAD_BYTES + in_head.len());
    head.extend_from_slice(&snapshot.sequence.to_le_bytes());
    head.extend_from_slice(&generation.to_le_bytes());
    head.extend_from_slice(&chunks.to_le_bytes());
    // A snapshot is at most SNAPSHOT_BYTES_MAX long.
    head.extend_from_slice(&u32::try_from(snapshot.bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    head.extend_from_slice(&snapshot.version.to_le_bytes());
    head.extend_from_slice(in_head);
    entries.push((head_key(stream), Some(head)));
    entries
}

/// The sequence of the last record of a run, by its entry.
fn run_end(key: &[u8], value: &[u8]) -> Option<u64> {
    let first = key.len().checked_sub(RUN_SUFFIX_BYTES).map(|at| be_u64(&key[at..]))?;
    let records = (value.len() >= RUN_HEADER_BYTES).then(|| u32_at(value, 2))?;
    (first + u64::from(records)).checked_sub(1)
}
