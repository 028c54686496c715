//! The state: snapshots, records and read models behind the log, in sled. The only file that names sled.
//!
//! The keys of a stream are adjacent: names of streams are random, and each page of the tree that a checkpoint or a
//! load touches costs more than the data on it. There is one tree, because a batch of sled is atomic within one tree
//! only. sled's `flush` does not commit the file's metadata, so [`State::sync`] syncs its file through a descriptor of
//! our own. Nothing here is the source of truth: a lost state is rebuilt from base and log.
//!
//! sled 0.34 can deadlock: when all of its seven threads have written a buffer (half a megabyte each) and wait for a
//! lock whose holder waits for a file to be truncated, which is queued behind them. So no more than
//! [`UNWRITTEN_BYTES_MAX`] is handed to them at a time, and a [`Watchdog`] detects a deadlock if it happens all the
//! same. Depends on `layout`, `files`, `watchdog`, `record` and `errors`.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::RwLock;

use super::{
    errors::{Fault, LoadError},
    files::DIRECTORY_MODE,
    layout::{
        ENTITIES, HEAD_BYTES, Head, RUN_HEADER_BYTES, StateEntry, be_u64, chunk_key, head_key, key, run_end, run_key,
        run_records, runs_key, sealed, stream_of, unseal,
    },
    limits::SNAPSHOT_BYTES_MAX,
    record::{Loaded, Snapshot, Stream},
    watchdog::Watchdog,
};
use crate::directories;

/// After about this many bytes of changes, a change waits until sled has written them: two of its buffers.
const UNWRITTEN_BYTES_MAX: usize = 1 << 20;
/// The approximate size of what sled writes for a change beside its key and value, in bytes.
const CHANGE_OVERHEAD_BYTES: usize = 128;
/// How often a load is repeated because a checkpoint replaced what it was reading; each checkpoint can cause one
/// repetition.
const LOAD_ATTEMPTS_MAX: usize = 16;
/// How long a start waits for the threads of an earlier sled in this process to end: far longer than was ever observed.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
/// The interval between attempts to open.
const LOCK_WAIT_STEP: Duration = Duration::from_millis(5);

/// The name that sled gives its file.
const FILE_NAME: &str = "db";

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

#[derive(Debug)]
pub(super) struct State {
    open: RwLock<Option<Open>>,
    dir: PathBuf,
    /// The approximate size of the changes that sled may not have written yet, in bytes.
    unwritten: AtomicUsize,
    watchdog: Arc<Watchdog>,
}

#[derive(Debug)]
struct Open {
    tree: sled::Db,
    file: fs::File,
}

/// Why the store did not open.
#[derive(Debug)]
pub(super) enum Unopened {
    /// Its content is unusable: it can be moved aside.
    Damaged(String),
    /// The system refused to open it; its content may be good.
    Refused(Fault),
}

impl State {
    /// Opens or creates the store. The caller holds the lock of the directory.
    pub(super) fn open(dir: &Path, cache_bytes: u64, watchdog: &Arc<Watchdog>) -> Result<Self, Unopened> {
        prepare(dir).map_err(|error| Unopened::Refused(Fault::io(format!("prepare {}", dir.display()))(error)))?;
        let config = sled::Config::new().path(dir).cache_capacity(cache_bytes).flush_every_ms(None);
        let mut opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        let deadline = Instant::now() + LOCK_WAIT_MAX;
        while matches!(&opened, Ok(Err(sled::Error::Io(error))) if is_about_the_lock(error))
            && Instant::now() < deadline
        {
            // We hold the directory's lock, so the other owner can only be an earlier sled of this process, whose
            // threads end a little later.
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
        let path = dir.join(FILE_NAME);
        let file = fs::File::open(&path);
        let file = file.map_err(|error| Unopened::Refused(Fault::io(format!("open {}", path.display()))(error)))?;
        let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| Unopened::Refused(Fault::io(format!("sync {}", dir.display()))(error)))?;
        let (open, unwritten) = (RwLock::new(Some(Open { tree, file })), AtomicUsize::new(0));
        Ok(Self { open, dir: dir.to_owned(), unwritten, watchdog: Arc::clone(watchdog) })
    }

    /// Whether the file of a store that is not open has at least this length, in bytes, or is missing altogether. `Err`
    /// says what is wrong.
    pub(super) fn check_length(dir: &Path, known: u64) -> Result<(), String> {
        match fs::metadata(dir.join(FILE_NAME)) {
            Ok(file) if file.len() < known => {
                Err(format!("its file has {} bytes, but had {known} after its checkpoint", file.len()))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The length of its file, in bytes. sled cuts it where nothing is left at its end, a little after a change.
    pub(super) fn file_bytes(&self) -> u64 {
        fs::metadata(self.dir.join(FILE_NAME)).map_or(0, |file| file.len())
    }

    /// Moves an unusable store to a free name, so that it can be inspected.
    pub(super) fn move_aside(dir: &Path) -> Result<PathBuf, Fault> {
        let aside = (1..).map(|number| directories::aside_of(dir, Some(number))).find(|path| !path.exists());
        let aside = aside.ok_or_else(|| Fault::State("there is no free name to move the state to".into()))?;
        directories::move_aside(dir, &aside).map_err(Fault::io(format!("move {} aside", dir.display())))?;
        Ok(aside)
    }

    /// Removes a store that is not open.
    pub(super) fn remove(dir: &Path) -> Result<(), Fault> {
        directories::remove(dir).map_err(Fault::io(format!("remove the unfinished state {}", dir.display())))
    }

    /// Closes the store's files. Every later call fails.
    pub(super) fn close(&self) {
        self.open.write().take();
    }

    fn with<T>(&self, work: impl FnOnce(&Open) -> Result<T, Fault>) -> Result<T, Fault> {
        let open = self.open.read();
        let open = open.as_ref().ok_or(Fault::Closed)?;
        // sled panics where it finds its own files damaged; the calling thread must survive that.
        catch_unwind(AssertUnwindSafe(|| work(open))).unwrap_or_else(|_| Err(Fault::State("sled panicked".into())))
    }

    /// Like [`State::with`], for changes, which may wait for sled's threads and are timed by the watchdog.
    fn change(&self, work: impl FnOnce(&Open) -> Result<(), Fault>) -> Result<(), Fault> {
        self.watchdog.during(|| self.with(work))
    }

    /// Tells whether a change has been in progress for too long.
    pub(super) fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    /// Makes changes atomically. They are not durable yet.
    pub(super) fn apply(&self, entries: Vec<StateEntry>) -> Result<(), Fault> {
        let (bytes, mut batch) = (bytes_of(&entries), sled::Batch::default());
        for (key, value) in sealed(entries)? {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.change(|open| {
            open.tree.apply_batch(batch).map_err(failed)?;
            self.let_it_write(open, bytes)
        })
    }

    /// Makes changes one by one, in this order. Concurrent readers may see some of them, but never wait, as they would
    /// for a batch.
    pub(super) fn write(&self, entries: Vec<StateEntry>) -> Result<(), Fault> {
        let bytes = bytes_of(&entries);
        let entries = sealed(entries)?;
        self.change(|open| {
            for (key, value) in entries {
                match value {
                    Some(value) => open.tree.insert(key, value).map_err(failed)?,
                    None => open.tree.remove(key).map_err(failed)?,
                };
            }
            self.let_it_write(open, bytes)
        })
    }

    /// Waits until sled has written its buffers, if much has accumulated.
    fn let_it_write(&self, open: &Open, bytes: usize) -> Result<(), Fault> {
        if self.unwritten.fetch_add(bytes, Ordering::AcqRel) + bytes >= UNWRITTEN_BYTES_MAX {
            self.unwritten.store(0, Ordering::Release);
            open.tree.flush().map_err(failed)?;
        }
        Ok(())
    }

    /// Makes every change so far durable.
    pub(super) fn sync(&self) -> Result<(), Fault> {
        self.change(|open| {
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

    /// Entries from `from` on whose keys have this prefix, in key order.
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

    /// The keys in this range, in order, at most `limit`.
    #[cfg(feature = "cli")]
    pub(super) fn keys(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, Fault> {
        self.with(|open| {
            let keys = open.tree.range(from.to_vec()..to.to_vec()).keys().take(limit);
            keys.map(|key| Ok(key.map_err(failed)?.to_vec())).collect()
        })
    }

    /// The keys of what a snapshot with this head replaces: its stream's chunks that the head does not refer to, also
    /// those that a kill left without a head; and the runs of records that end at or before it. A run may begin before
    /// the snapshot and end after it, because the stream went on while the snapshot was written.
    pub(super) fn replaced_by(&self, stream: &Stream, head: &Head) -> Result<Vec<Vec<u8>>, Fault> {
        let Head { generation, chunks, sequence, .. } = *head;
        self.with(|open| {
            let older = open.tree.range(chunk_key(stream, 0, 0)..chunk_key(stream, generation, 0));
            let left = open.tree.range(chunk_key(stream, generation, chunks)..runs_key(stream));
            let chunks = older.keys().chain(left.keys());
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

    /// The keys with this prefix, in order, at most `limit`.
    pub(super) fn scan_keys(&self, prefix: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, Fault> {
        self.with(|open| {
            let keys = open.tree.scan_prefix(prefix).keys().take(limit);
            keys.map(|key| Ok(key.map_err(failed)?.to_vec())).collect()
        })
    }

    /// The first key after this one.
    pub(super) fn key_after(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.with(|open| Ok(open.tree.get_gt(key).map_err(failed)?.map(|(key, _)| key.to_vec())))
    }

    /// The next stream of this kind (of any kind for `None`) after this one that has a snapshot or records: by kind,
    /// then by key.
    pub(super) fn stream_after(&self, kind: Option<u8>, after: Option<&Stream>) -> Result<Option<Stream>, Fault> {
        let seek = match after {
            Some(after) => [key(after).as_slice(), &[u8::MAX]].concat(),
            None => std::iter::once(ENTITIES).chain(kind).collect(),
        };
        let found = self.key_after(&seek)?.filter(|key| key.first() == Some(&ENTITIES));
        let Some(key) = found.filter(|key| kind.is_none_or(|kind| key.get(1) == Some(&kind))) else { return Ok(None) };
        stream_of(&key).map(Some).ok_or_else(|| Fault::Damaged("the name of a stream".into()))
    }

    /// Whether the store has no entries.
    pub(super) fn is_empty(&self) -> Result<bool, Fault> {
        self.with(|open| Ok(open.tree.is_empty()))
    }

    /// The head of a stream's snapshot.
    pub(super) fn head(&self, stream: &Stream) -> Result<Option<Head>, Fault> {
        Ok(self.head_and_rest(stream)?.map(|(head, _)| head))
    }

    /// The head, and the snapshot if it is inline.
    fn head_and_rest(&self, stream: &Stream) -> Result<Option<(Head, Bytes)>, Fault> {
        let Some(value) = self.get(&head_key(stream))? else { return Ok(None) };
        let Some(head) = Head::parse(&value) else { return Err(Fault::Damaged(format!("the head of {stream:?}"))) };
        Ok(Some((head, Bytes::from(value).slice(HEAD_BYTES..))))
    }

    /// What the store holds of a stream. A checkpoint may run meanwhile.
    pub(super) fn load(&self, stream: &Stream) -> Result<Loaded, LoadError> {
        let mut problem = String::new();
        for _ in 0..LOAD_ATTEMPTS_MAX {
            let head = self.head_and_rest(stream)?;
            let version = head.as_ref().map(|(head, _)| *head);
            let read = self.load_once(stream, head)?;
            // If the head has not changed, nothing that it refers to was removed while we read.
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
        // Begin with the first run: one that a start wrote once more may begin before the snapshot and end after it.
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

/// Creates the directory if it is missing, and removes leftovers that make sled refuse to open after a kill.
fn prepare(dir: &Path) -> io::Result<()> {
    // sled's own files have the usual modes, so the directory is for its owner alone.
    fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir)?;
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

/// Errors that sled makes itself because of what it reads, as opposed to those of the system.
fn is_about_content(error: &io::Error) -> bool {
    !is_about_the_lock(error) && (error.raw_os_error().is_none() || error.kind() == io::ErrorKind::NotADirectory)
}

#[allow(clippy::needless_pass_by_value)] // `map_err` passes it by value.
fn failed(error: sled::Error) -> Fault {
    match error {
        sled::Error::Io(error) if !is_about_content(&error) => Fault::io("read or write the state")(error),
        error => Fault::State(error.to_string()),
    }
}

fn bytes_of(entries: &[StateEntry]) -> usize {
    let bytes = |(key, value): &StateEntry| CHANGE_OVERHEAD_BYTES + key.len() + value.as_ref().map_or(0, Vec::len);
    entries.iter().map(bytes).sum()
}
