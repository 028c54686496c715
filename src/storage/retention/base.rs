//! A base: every stream of the state in one file, as of a position C or a little later. The base and the log from C are
//! all data.
//!
//! ```text
//! header (44 bytes)  magic 8 | format 2 | 0 2 | store 8 | C: end 8, number 8, CRC 4 | CRC-32C of all this 4
//! block              payload bytes 4 | number 8 | CRC-32C of number and payload 4 | payload; the last one is empty
//! entry              1, stream, sequence 8, version 2, state   or   2, stream, sequence 8, version 2, event
//! ```
//!
//! Integers are little-endian; streams, states and events are preceded by their length in 4 bytes. A stream may be
//! newer in the base than C, because the state changes while it is read; readers compare sequences. A file gets its
//! name only when it is complete and synced. Depends on `files`, `record` and `errors`.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use crate::storage::{
    batch::{Link, u32_at, u64_at},
    errors::{Damage, Fault},
    files::{File, Files},
    limits::SNAPSHOT_BYTES_MAX,
    record::{Loaded, Position, Record, Snapshot, Stream},
};

const MAGIC: [u8; 8] = *b"SOUKBAS\n";
const FORMAT: u16 = 1;
const HEADER_BYTES: usize = 44;
const BLOCK_HEADER_BYTES: usize = 16;
/// The size at which a block is written: large enough for sequential speed, small enough to hold in memory.
const BLOCK_BYTES: usize = 256 * 1024;
/// The largest payload of a block that a reader accepts, in bytes: a full block and the largest entry.
const BLOCK_BYTES_CEILING: usize = SNAPSHOT_BYTES_MAX + 2 * BLOCK_BYTES;
const SNAPSHOT: u8 = 1;
const RECORD: u8 = 2;
const UNFINISHED: &str = ".base.new";

/// A complete base.
#[derive(Debug, Clone)]
pub(in crate::storage) struct Base {
    /// The last batch before the position of the base: the log continues it.
    pub link: Link,
    pub bytes: u64,
    pub path: PathBuf,
}

/// An entry of a base. For each stream come its snapshot, then the records after it.
#[derive(Debug)]
pub(in crate::storage) enum BaseEntry {
    Snapshot(Stream, Snapshot),
    Record(Record),
}

/// The file name of the base at this position.
pub(in crate::storage) fn file_name(end: Position) -> String {
    format!("{:020}.base", end.0)
}

/// The position in the name of a base; `None` for any other file.
pub(in crate::storage) fn position_in(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".base")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// The newest base in a directory, with its header checked. Removes unfinished bases that a crash left behind.
///
/// # Errors
/// It is damaged or belongs to another store, or the directory cannot be read.
pub(in crate::storage) fn newest(files: &dyn Files, dir: &Path, store: u64) -> Result<Option<Base>, Fault> {
    let names = files.list(dir).map_err(Fault::io(format!("list {}", dir.display())))?;
    for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
        files.remove(&dir.join(name)).map_err(Fault::io(format!("remove {name}")))?;
    }
    let Some(end) = names.iter().filter_map(|name| position_in(name)).max() else { return Ok(None) };
    let path = dir.join(file_name(Position(end)));
    let file = files.open(&path).map_err(Fault::io(format!("open {}", path.display())))?;
    Ok(Some(BaseReader::open(file, path, store)?.base))
}

/// The files of all bases but the newest.
///
/// # Errors
/// The directory cannot be read.
pub(in crate::storage) fn others(files: &dyn Files, dir: &Path, newest: &Base) -> Result<Vec<PathBuf>, Fault> {
    let names = files.list(dir).map_err(Fault::io(format!("list {}", dir.display())))?;
    let others = names.iter().filter(|name| position_in(name).is_some_and(|end| end != newest.link.end.0));
    Ok(others.map(|name| dir.join(name)).collect())
}

#[derive(Debug)]
pub(in crate::storage) struct BaseWriter<'a> {
    files: &'a dyn Files,
    dir: &'a Path,
    unfinished: PathBuf,
    file: Arc<dyn File>,
    link: Link,
    at: u64,
    number: u64,
    block: Vec<u8>,
}

impl<'a> BaseWriter<'a> {
    pub(in crate::storage) fn create(files: &'a dyn Files, dir: &'a Path, store: u64, link: Link) -> io::Result<Self> {
        files.create_dir(dir)?;
        let unfinished = dir.join(format!("{:020}{UNFINISHED}", link.end.0));
        match files.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = files.create_new(&unfinished)?;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&FORMAT.to_le_bytes());
        header.extend_from_slice(&[0; 2]);
        header.extend_from_slice(&store.to_le_bytes());
        header.extend_from_slice(&link.end.0.to_le_bytes());
        header.extend_from_slice(&link.number.to_le_bytes());
        header.extend_from_slice(&link.crc.to_le_bytes());
        let crc = crc32c::crc32c(&header);
        header.extend_from_slice(&crc.to_le_bytes());
        file.write_at(&header, 0)?;
        let block = vec![0; BLOCK_HEADER_BYTES];
        Ok(Self { files, dir, unfinished, file, link, at: HEADER_BYTES as u64, number: 0, block })
    }

    /// Adds a stream. Returns how many bytes were written to the file; 0 if they are still in the block.
    pub(in crate::storage) fn push(&mut self, stream: &Stream, loaded: &Loaded) -> io::Result<u64> {
        let before = self.at;
        if let Some(snapshot) = &loaded.snapshot {
            self.entry(SNAPSHOT, stream, snapshot.sequence, snapshot.version, &snapshot.bytes)?;
        }
        for record in &loaded.records {
            self.entry(RECORD, stream, record.sequence, record.version, &record.payload)?;
        }
        Ok(self.at - before)
    }

    fn entry(&mut self, kind: u8, stream: &Stream, sequence: u64, version: u16, bytes: &[u8]) -> io::Result<()> {
        self.block.push(kind);
        put_bytes(&mut self.block, stream.bytes());
        self.block.extend_from_slice(&sequence.to_le_bytes());
        self.block.extend_from_slice(&version.to_le_bytes());
        put_bytes(&mut self.block, bytes);
        if self.block.len() >= BLOCK_BYTES { self.write_block() } else { Ok(()) }
    }

    fn write_block(&mut self) -> io::Result<()> {
        let (header, payload) = self.block.split_at_mut(BLOCK_HEADER_BYTES);
        header[..4].copy_from_slice(&length(payload.len()).to_le_bytes());
        header[4..12].copy_from_slice(&self.number.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[4..12]), payload);
        header[12..].copy_from_slice(&crc.to_le_bytes());
        self.file.write_at(&self.block, self.at)?;
        self.at += self.block.len() as u64;
        self.number += 1;
        self.block.clear();
        self.block.resize(BLOCK_HEADER_BYTES, 0);
        Ok(())
    }

    /// Completes the base, durably.
    pub(in crate::storage) fn finish(mut self) -> io::Result<Base> {
        if self.block.len() > BLOCK_HEADER_BYTES {
            self.write_block()?;
        }
        self.write_block()?;
        self.file.sync_data()?;
        let path = self.dir.join(file_name(self.link.end));
        self.files.rename(&self.unfinished, &path)?;
        self.files.sync_dir(self.dir)?;
        Ok(Base { link: self.link, bytes: self.at, path })
    }

    /// Removes the unfinished file.
    pub(in crate::storage) fn abandon(self) {
        // If that fails too, the next start removes it.
        let _ = self.files.remove(&self.unfinished);
    }
}

fn put_bytes(block: &mut Vec<u8>, bytes: &[u8]) {
    block.extend_from_slice(&length(bytes.len()).to_le_bytes());
    block.extend_from_slice(bytes);
}

/// Callers bound every length far below 4 GiB.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[derive(Debug)]
pub(in crate::storage) struct BaseReader {
    pub base: Base,
    file: Arc<dyn File>,
    at: u64,
    number: u64,
}

impl BaseReader {
    /// Opens a base and checks its header.
    pub(in crate::storage) fn open(file: Arc<dyn File>, path: PathBuf, store: u64) -> Result<Self, Fault> {
        let mut header = [0; HEADER_BYTES];
        let read = file.read_at(&mut header, 0).map_err(Fault::io(format!("read {}", path.display())))?;
        let damage = |offset, what: &str| Fault::from(Damage { file: path.clone(), offset, what: what.into() });
        if read < HEADER_BYTES || header[..8] != MAGIC || u32_at(&header, 40) != crc32c::crc32c(&header[..40]) {
            return Err(damage(0, "the header of the base is not what was written"));
        }
        if header[8..10] != FORMAT.to_le_bytes() {
            return Err(damage(8, "the base was written by another version of this program"));
        }
        if u64_at(&header, 12) != store {
            return Err(damage(12, "the base belongs to another store"));
        }
        let end = Position(u64_at(&header, 20));
        let link = Link { end, number: u64_at(&header, 28), crc: u32_at(&header, 36) };
        let bytes = file.length().map_err(Fault::io(format!("measure {}", path.display())))?;
        Ok(Self { base: Base { link, bytes, path }, file, at: HEADER_BYTES as u64, number: 0 })
    }

    /// Reads all entries.
    ///
    /// # Errors
    /// The base is damaged or cut short, or `on_entry` failed.
    pub(in crate::storage) fn read(
        mut self,
        on_entry: &mut dyn FnMut(BaseEntry) -> Result<(), Fault>,
    ) -> Result<Base, Fault> {
        while let Some(payload) = self.block()? {
            let mut rest = payload.clone();
            while !rest.is_empty() {
                let entry = take_entry(&mut rest).ok_or_else(|| self.damage("the block holds no entries"))?;
                on_entry(entry)?;
            }
        }
        if self.at != self.base.bytes {
            return Err(self.damage("something follows the end of the base"));
        }
        Ok(self.base)
    }

    /// The payload of the next block; `None` for the last block, which is empty.
    fn block(&mut self) -> Result<Option<Bytes>, Fault> {
        let header = self.bytes(BLOCK_HEADER_BYTES)?;
        let length = u32_at(&header, 0) as usize;
        if length > BLOCK_BYTES_CEILING || u64_at(&header, 4) != self.number {
            return Err(self.damage("there is no block here"));
        }
        self.at += BLOCK_HEADER_BYTES as u64;
        let payload = self.bytes(length)?;
        if u32_at(&header, 12) != crc32c::crc32c_append(crc32c::crc32c(&header[4..12]), &payload) {
            return Err(self.damage("the block is not what was written"));
        }
        self.at += length as u64;
        self.number += 1;
        Ok((length > 0).then(|| payload.into()))
    }

    fn bytes(&self, length: usize) -> Result<Vec<u8>, Fault> {
        if self.base.bytes.saturating_sub(self.at) < length as u64 {
            return Err(self.damage("the base ends here"));
        }
        let mut bytes = vec![0; length];
        let read = self.file.read_at(&mut bytes, self.at);
        match read.map_err(Fault::io(format!("read {}", self.base.path.display())))? {
            read if read == length => Ok(bytes),
            _ => Err(self.damage("the base ends here")),
        }
    }

    fn damage(&self, what: &str) -> Fault {
        Damage { file: self.base.path.clone(), offset: self.at, what: what.into() }.into()
    }
}

fn take_entry(rest: &mut Bytes) -> Option<BaseEntry> {
    let kind = take(rest, 1)?[0];
    let stream = Stream::from_bytes(&take_bytes(rest)?)?;
    let sequence = u64_at(&take(rest, 8)?, 0);
    let version = take(rest, 2)?;
    let version = u16::from_le_bytes([version[0], version[1]]);
    let bytes = take_bytes(rest)?;
    match kind {
        SNAPSHOT => Some(BaseEntry::Snapshot(stream, Snapshot { sequence, version, bytes })),
        RECORD => Some(BaseEntry::Record(Record { stream, sequence, version, payload: bytes })),
        _ => None,
    }
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (rest.len() >= length).then(|| rest.split_to(length))
}

fn take_bytes(rest: &mut Bytes) -> Option<Bytes> {
    let length = u32_at(&take(rest, 4)?, 0) as usize;
    take(rest, length)
}
