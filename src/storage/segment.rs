//! A segment: one file of the log, named by its first position. A header page, then batches.
//!
//! A segment gets its name only when it is complete and synced, so a file of that name with a bad header or another
//! length is damage, never the trace of a crash. Depends on `files`, `batch` and `errors`.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    batch::{FORMAT, Header, u32_at, u64_at},
    errors::Damage,
    files::{File, Files},
    limits::{PAGE_BYTES, WINDOW_BYTES},
    record::Position,
};

const MAGIC: [u8; 8] = *b"SOUKSEG\n";
const HEADER_BYTES: usize = 40;
/// The length of a segment's header page, in bytes. The first batch follows it.
pub(super) const SEGMENT_HEADER_BYTES: u64 = PAGE_BYTES as u64;

#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// The position of its first byte.
    pub first: u64,
    /// Its length in bytes; the next segment begins at `first + length`.
    pub length: u64,
    pub file: Arc<dyn File>,
    pub path: PathBuf,
}

/// The name of the segment with this first position.
pub(super) fn file_name(first: u64) -> String {
    format!("{first:020}.log")
}

/// The first position in a file name; `None` if the name is not that of a segment.
pub(super) fn first_position(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

impl Segment {
    /// Creates a segment of zeros, durably. Replaces an unfinished one that a crash left behind.
    pub(super) fn create(
        files: &dyn Files,
        dir: &Path,
        (store, first, length): (u64, u64, u64),
        between: &mut dyn FnMut(),
    ) -> io::Result<Self> {
        let path = dir.join(file_name(first));
        let unfinished = dir.join(format!("{}.new", file_name(first)));
        match files.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = files.create_new(&unfinished)?;
        let filled = fill(file.as_ref(), (store, first, length), between);
        let named = filled.and_then(|()| files.rename(&unfinished, &path)).and_then(|()| files.sync_dir(dir));
        if let Err(error) = named {
            // On a full disk this frees what was allocated so far. If that fails too, the next attempt removes it.
            let _ = files.remove(&unfinished);
            return Err(error);
        }
        Ok(Self { first, length, file, path })
    }

    /// Opens a segment, and checks that it is complete and belongs to this store and position.
    pub(super) fn open(files: &dyn Files, dir: &Path, store: u64, first: u64) -> io::Result<Result<Self, Damage>> {
        let path = dir.join(file_name(first));
        let file = files.open(&path)?;
        let mut header = [0; HEADER_BYTES];
        let read = file.read_at(&mut header, 0)?;
        let damage = |offset, what: &str| Ok(Err(Damage { file: path.clone(), offset, what: what.into() }));
        if read < HEADER_BYTES || header[..8] != MAGIC || u32_at(&header, 36) != crc32c::crc32c(&header[..36]) {
            return damage(0, "the header of the segment is not what was written");
        }
        if header[8..10] != FORMAT.to_le_bytes() {
            return damage(8, "the segment was written by another version of this program");
        }
        if u64_at(&header, 12) != store || u64_at(&header, 20) != first {
            return damage(12, "the segment belongs to another store or another place");
        }
        let length = u64_at(&header, 28);
        let found = file.length()?;
        if found != length {
            return damage(found.min(length), &format!("the segment has {found} bytes and not {length}"));
        }
        Ok(Ok(Self { first, length, file, path }))
    }

    /// The position after its last byte, where the next segment begins.
    pub(super) fn end(&self) -> u64 {
        self.first + self.length
    }

    /// The position of the byte at this offset.
    pub(super) fn position(&self, offset: u64) -> Position {
        Position(self.first + offset)
    }

    /// Describes damage at this offset.
    pub(super) fn damage(&self, offset: u64, what: impl Into<String>) -> Damage {
        Damage { file: self.path.clone(), offset, what: what.into() }
    }
}

fn fill(file: &dyn File, (store, first, length): (u64, u64, u64), between: &mut dyn FnMut()) -> io::Result<()> {
    file.preallocate(length, between)?;
    let mut header = [0; PAGE_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    header[12..20].copy_from_slice(&store.to_le_bytes());
    header[20..28].copy_from_slice(&first.to_le_bytes());
    header[28..36].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c::crc32c(&header[..36]);
    header[36..40].copy_from_slice(&crc.to_le_bytes());
    file.write_at(&header, 0)?;
    file.sync_data()
}

/// Reads a segment through a buffer, so that a scan over it makes few system calls.
#[derive(Debug)]
pub(super) struct SegmentReader<'a> {
    segment: &'a Segment,
    store: u64,
    window: Vec<u8>,
    window_at: u64,
    window_bytes: usize,
}

impl<'a> SegmentReader<'a> {
    pub(super) fn new(segment: &'a Segment, store: u64, window_bytes: usize) -> Self {
        Self {
            segment,
            store,
            window: Vec::new(),
            window_at: 0,
            window_bytes: window_bytes.clamp(PAGE_BYTES, WINDOW_BYTES),
        }
    }

    /// The bytes at this offset; fewer at the end of the segment.
    pub(super) fn bytes(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let wanted_end = (offset + length as u64).min(self.segment.length);
        let window_end = self.window_at + self.window.len() as u64;
        if offset < self.window_at || wanted_end > window_end {
            let rest = usize::try_from(self.segment.length.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.window.resize(length.max(self.window_bytes).min(rest), 0);
            self.window_at = offset;
            let read = self.segment.file.read_at(&mut self.window, offset)?;
            self.window.truncate(read);
        }
        let from = usize::try_from(offset - self.window_at).unwrap_or(usize::MAX).min(self.window.len());
        let to = (from + length).min(self.window.len());
        Ok(&self.window[from..to])
    }

    /// The header of the batch at this offset, if there is a complete and valid batch.
    pub(super) fn batch(&mut self, offset: u64) -> io::Result<Option<Header>> {
        let (store, position) = (self.store, self.segment.position(offset));
        Ok(self.whole_batch(offset)?.filter(|header| header.belongs(store, position)))
    }

    /// The header of the complete batch at this offset, whichever store wrote it, and for whichever position.
    pub(super) fn whole_batch(&mut self, offset: u64) -> io::Result<Option<Header>> {
        let Some(header) = Header::parse(self.bytes(offset, super::batch::HEADER_BYTES)?) else { return Ok(None) };
        let bytes = self.bytes(offset, header.unpadded_len())?;
        Ok(header.is_whole(bytes).then_some(header))
    }

    /// The payload of the batch at this offset.
    pub(super) fn payload(&mut self, offset: u64, header: &Header) -> io::Result<&[u8]> {
        Ok(self.bytes(offset, header.unpadded_len())?.get(super::batch::HEADER_BYTES..).unwrap_or_default())
    }
}
