//! A read-only check of a journal's directory: every batch of the log, every value of the state.
//!
//! The audit holds the directory's lock, so no shop runs or starts meanwhile. It opens the log's files for reading
//! only. sled cannot open a store without changing it, so the audit opens a copy of the state. Depends on
//! `directory_lock`, `log`, `state` and `read_models`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;

use super::{
    batch::{Link, records},
    checkpoint::stored_mark,
    directory_lock::DirectoryLock,
    errors::{Damage, Fault, LoadError, OpenError},
    files::{File, Files, RealFiles},
    limits::{JournalLimits, WINDOW_BYTES},
    log::{open_segments, torn_pages},
    manifest::{Known, Manifest},
    read_models::ReadModels,
    record::{Loaded, Position, Record, Stream},
    retention::base,
    segment::{SEGMENT_HEADER_BYTES, Segment, SegmentReader, first_position},
    state::{State, Unopened},
};
use crate::directories;

/// How many keys of the state are read in one call.
const KEYS_AT_ONCE: usize = 1_000;

/// A directory under audit.
#[derive(Debug)]
pub struct Audit {
    segments: Vec<Segment>,
    known: Known,
    state: Arc<State>,
    read_models: ReadModels,
    mark: Link,
    base_dir: PathBuf,
    _lock: DirectoryLock,
}

/// What the audit found in the bases.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Default)]
pub struct Bases {
    pub bases: u64,
    /// States and events of streams.
    pub entries: u64,
    /// One message for each damaged base.
    pub damaged: Vec<String>,
}

/// What a scan over the log saw.
#[derive(Debug, Clone, Default)]
pub struct LogScan {
    /// Batches, empty ones included.
    pub batches: u64,
    /// Where the scan ended: at the end of the log, or before the damage.
    pub end: Position,
    /// What is damaged or missing.
    pub damage: Vec<Damage>,
    /// Whether a torn batch follows the end. It was never acknowledged, and the next start cuts it off.
    pub torn: bool,
}

/// A file system that can only be read.
#[derive(Debug)]
struct ReadOnly;

#[derive(Debug)]
struct ReadOnlyFile(fs::File);

fn refused<T>() -> io::Result<T> {
    Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem))
}

impl Files for ReadOnly {
    fn create_new(&self, _: &Path) -> io::Result<Arc<dyn File>> {
        refused()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(ReadOnlyFile(fs::File::open(path)?)))
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealFiles.list(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealFiles.free_bytes(path)
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        RealFiles.modified(path)
    }
}

impl File for ReadOnlyFile {
    fn preallocate(&self, _: u64, _: &mut dyn FnMut()) -> io::Result<()> {
        refused()
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        refused()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        super::files::read_fully(&self.0, buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        refused()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl Audit {
    /// Takes the lock, reads the manifest, and copies the state to `scratch`, which must be empty.
    ///
    /// # Errors
    /// A running shop holds the directory, it contains no shop, or what the audit itself needs is damaged.
    pub fn open(dir: &Path, scratch: &Path) -> Result<Self, OpenError> {
        let failed = |what: &str, path: &Path| Fault::io(format!("{what} {}", path.display()));
        let lock = DirectoryLock::take_present(dir)?;
        let known = Manifest::read(&ReadOnly, dir)?.ok_or_else(|| OpenError::ManifestMissing(dir.to_owned()))?;
        let log = dir.join("log");
        let names = ReadOnly.list(&log).map_err(failed("list", &log))?;
        let mut firsts: Vec<u64> = names.iter().filter_map(|name| first_position(name)).collect();
        firsts.sort_unstable();
        let segments = open_segments(&ReadOnly, &log, known.store, &firsts)?;
        copy(&dir.join("state"), scratch).map_err(failed("copy the state to", scratch))?;
        State::check_length(scratch, known.state_bytes).map_err(Fault::Damaged)?;
        let state =
            State::open(scratch, JournalLimits::default().state_cache_bytes, &Arc::default()).map_err(|error| {
                match error {
                    Unopened::Damaged(why) => Fault::Damaged(why),
                    Unopened::Refused(fault) => fault,
                }
            })?;
        let state = Arc::new(state);
        let mark = stored_mark(&state, known.store)?.unwrap_or_default();
        let read_models = ReadModels::open(Arc::clone(&state))?;
        Ok(Self { segments, known, state, read_models, mark, base_dir: dir.join("base"), _lock: lock })
    }

    /// Where the log begins.
    #[must_use]
    pub fn oldest(&self) -> Position {
        Position(self.segments.first().map_or(0, |segment| segment.first))
    }

    /// The position up to which the state contains the log.
    #[must_use]
    pub fn checkpoint(&self) -> Position {
        self.mark.end
    }

    /// The read models as of the last commit.
    #[must_use]
    pub fn read_models(&self) -> &ReadModels {
        &self.read_models
    }

    /// Reads every base block by block and checks the checksums. An unfinished base has another name and is skipped.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn check_bases(&self) -> Result<Bases, Fault> {
        let mut found = Bases::default();
        let names = ReadOnly.list(&self.base_dir).map_err(Fault::io(format!("list {}", self.base_dir.display())))?;
        for path in names.iter().filter(|name| base::position_in(name).is_some()).map(|name| self.base_dir.join(name)) {
            found.bases += 1;
            let file = ReadOnly.open(&path).map_err(Fault::io(format!("open {}", path.display())))?;
            let read = base::BaseReader::open(file, path, self.known.store).and_then(|reader| {
                reader.read(&mut |_| {
                    found.entries += 1;
                    Ok(())
                })
            });
            found.damaged.extend(read.err().map(|error| error.to_string()));
        }
        Ok(found)
    }

    /// Reads the whole log batch by batch, and checks each batch's checksum and its link to the one before. Stops at
    /// the first damage.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn scan(&self, on_batch: &mut dyn FnMut(Position, Vec<Record>)) -> Result<LogScan, Fault> {
        let mut scan = LogScan { end: self.oldest(), ..LogScan::default() };
        // A log without its beginning cannot say what its first batch must continue: accept that batch as it is.
        let mut link = (self.oldest() == Position::BEGINNING).then(Link::default);
        let mut at = (0, SEGMENT_HEADER_BYTES);
        for (index, segment) in self.segments.iter().enumerate() {
            let mut reader = SegmentReader::new(segment, self.known.store, WINDOW_BYTES);
            let mut offset = SEGMENT_HEADER_BYTES;
            while let Some(header) =
                read(segment, reader.batch(offset))?.filter(|header| link.is_none_or(|link| header.continues(link)))
            {
                let payload = read(segment, reader.payload(offset, &header))?;
                let Some(found) = whole_records(payload, header.records) else {
                    scan.damage.push(segment.damage(offset, "the batch does not hold the records it speaks of"));
                    return Ok(scan);
                };
                scan.batches += 1;
                scan.end = header.link().end;
                link = Some(header.link());
                on_batch(scan.end, found);
                offset += header.padded_len();
                at = (index, offset);
            }
            // A segment may have empty space at its end, where the next batch did not fit.
            if at.0 != index {
                break;
            }
        }
        let last = link.unwrap_or_default().number;
        match torn_pages(&self.segments[at.0..], at.1, self.known.store, last)? {
            Ok(pages) => scan.torn = !pages.is_empty(),
            Err(damage) => scan.damage.push(damage),
        }
        if scan.end < self.known.position
            && scan.damage.is_empty()
            && let Some(segment) = self.segments.get(at.0)
        {
            let what = format!("the log was known to reach byte {} and ends here", self.known.position.0);
            scan.damage.push(segment.damage(at.1, what));
        }
        Ok(scan)
    }

    /// Checks the checksum of every value of the state. Returns how many there are, and a message for each damaged one.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn check_values(&self) -> Result<(u64, Vec<String>), Fault> {
        let (mut count, mut damaged) = (0, Vec::new());
        self.each_key(|key| {
            count += 1;
            match self.state.get(key) {
                Ok(_) => Ok(()),
                Err(Fault::Damaged(what)) => {
                    damaged.push(what);
                    Ok(())
                }
                Err(fault) => Err(fault),
            }
        })?;
        Ok((count, damaged))
    }

    /// Every stream of which the state holds anything.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn streams(&self) -> Result<Vec<Stream>, Fault> {
        let mut streams = Vec::new();
        self.each_key(|key| {
            streams.extend(super::layout::stream_of(key));
            Ok(())
        })?;
        streams.sort();
        streams.dedup();
        Ok(streams)
    }

    fn each_key(&self, mut work: impl FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut from = Vec::new();
        loop {
            let keys = self.state.keys(&from, &[u8::MAX], KEYS_AT_ONCE)?;
            let Some(last) = keys.last() else { return Ok(()) };
            from = [last.as_slice(), &[0]].concat();
            keys.iter().try_for_each(|key| work(key))?;
        }
    }

    /// What the state holds of a stream. Records since the last checkpoint are only in the log.
    ///
    /// # Errors
    /// It is damaged or cannot be read.
    pub fn load(&self, stream: &Stream) -> Result<Loaded, LoadError> {
        let behind = self.state.load(stream)?;
        let missing = |last| LoadError::Damaged(format!("{stream:?}: record {} is missing", last + 1));
        Loaded::merge(behind, Loaded::default()).map_err(missing)
    }
}

fn read<T>(segment: &Segment, result: io::Result<T>) -> Result<T, Fault> {
    result.map_err(Fault::io(format!("read {}", segment.path.display())))
}

fn whole_records(payload: &[u8], count: u32) -> Option<Vec<Record>> {
    let found: Option<Vec<Record>> = records(payload)
        .map(|view| {
            let view = view?;
            Some(Record {
                stream: Stream::from_bytes(view.stream)?,
                sequence: view.sequence,
                version: view.version,
                payload: Bytes::copy_from_slice(view.payload),
            })
        })
        .collect();
    found.filter(|found| found.len() == count as usize)
}

fn copy(from: &PathBuf, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if directories::is_kept(&entry.file_name()) {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
