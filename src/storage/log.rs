//! The log, which is the source of truth: finds and checks its segments at the start, and writes the next batch.
//!
//! Batch N + 1 is written only after batch N is synced, so a crash can tear at most the last one. An invalid batch is
//! cut off only if no valid batch with a higher number follows it and no whole batch of another store stands there;
//! otherwise the log is damaged, and the error says where. Depends on `segment`, `segment_map`, `spares`, `batch` and
//! `errors`.

use std::{io, path::Path, sync::Arc};

use super::{
    batch::{Encoder, Header, Link, records},
    errors::{Damage, Fault, OpenError, PageError},
    files::Files,
    limits::{PAGE_BYTES, WINDOW_BYTES},
    record::{Page, Position, Record, Stream},
    segment::{SEGMENT_HEADER_BYTES, Segment, SegmentReader, file_name, first_position},
    segment_map::{SegmentMap, Switched},
    spares::Spares,
};

/// What the start found.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The last batch.
    pub link: Link,
    /// Whether the last batch is empty. Then a flipped bit in the batch before it can be told from a torn write.
    pub sealed: bool,
    /// The segment of the next batch.
    pub current: Segment,
    /// Later segments, still unused.
    pub spares: Vec<Segment>,
}

/// The first positions of the log's segments, in order. Removes unfinished segments that a crash left behind.
pub(super) fn segment_positions(files: &dyn Files, dir: &Path) -> Result<Vec<u64>, Fault> {
    let mut firsts = Vec::new();
    for name in files.list(dir).map_err(Fault::io(format!("list {}", dir.display())))? {
        if name.ends_with(".log.new") {
            files.remove(&dir.join(&name)).map_err(Fault::io(format!("remove {name}")))?;
        }
        firsts.extend(first_position(&name));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Opens these segments and checks that none is missing between them.
pub(super) fn open_segments(
    files: &dyn Files,
    dir: &Path,
    store: u64,
    firsts: &[u64],
) -> Result<Vec<Segment>, OpenError> {
    let mut segments: Vec<Segment> = Vec::with_capacity(firsts.len());
    for first in firsts {
        let segment = Segment::open(files, dir, store, *first)
            .map_err(Fault::io(format!("open {}", dir.join(file_name(*first)).display())))??;
        if let Some(before) = segments.last().filter(|before| before.end() != *first) {
            let what = format!("the segment at {} is missing", before.end());
            return Err(before.damage(before.length, what).into());
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// Receives the header and the payload of each batch.
pub(super) type OnBatch<'a> = &'a mut dyn FnMut(&Header, &[u8]) -> Result<(), OpenError>;

/// Passes every batch after `from` to `on_batch`, and prepares the end of the log for writing.
pub(super) fn recover(
    segments: Vec<Segment>,
    store: u64,
    from: Link,
    on_batch: OnBatch<'_>,
) -> Result<Recovered, OpenError> {
    let mut link = from;
    let mut sealed = true;
    let dir = segments.first().and_then(|segment| segment.path.parent()).map(Path::to_owned).unwrap_or_default();
    let short = |end| OpenError::Short { log: dir.clone(), known: from.end, segment: None, end };
    let mut index = match segments.iter().position(|segment| from.end.0 <= segment.end()) {
        Some(index) if segments[index].first <= from.end.0 => index,
        _ => return Err(short(Position(segments.last().map_or(0, Segment::end)))),
    };
    let mut offset = (from.end.0 - segments[index].first).max(SEGMENT_HEADER_BYTES);
    loop {
        let segment = &segments[index];
        let mut reader = SegmentReader::new(segment, store, WINDOW_BYTES);
        while let Some(header) = read(segment, reader.batch(offset))?.filter(|header| header.continues(link)) {
            on_batch(&header, read(segment, reader.payload(offset, &header))?)?;
            link = header.link();
            sealed = header.records == 0;
            offset += header.padded_len();
        }
        let Some(next) = segments.get(index + 1) else { break };
        let first = read(next, SegmentReader::new(next, store, PAGE_BYTES).batch(SEGMENT_HEADER_BYTES))?;
        if !first.is_some_and(|header| header.continues(link)) {
            break;
        }
        (index, offset) = (index + 1, SEGMENT_HEADER_BYTES);
    }
    cut(&segments[index..], offset, store, link)?;
    let mut rest = segments.into_iter().skip(index);
    let Some(current) = rest.next() else { return Err(short(link.end)) };
    Ok(Recovered { link, sealed, current, spares: rest.collect() })
}

fn read<T>(segment: &Segment, result: io::Result<T>) -> Result<T, Fault> {
    result.map_err(Fault::io(format!("read {}", segment.path.display())))
}

/// A page of a segment: the segment's index, and the offset in it.
type PageAt = (usize, u64);

/// The pages that are not empty behind the end of the log, which is at offset `end` of the first of these segments. A
/// batch that was torn leaves such pages, and a start may cut them off.
///
/// # Errors
/// The outer one: a file cannot be read. The inner one: what stands there was not torn. A valid batch with a higher
/// number than `last` shows that the log is damaged in the middle; a whole batch of another store or another place,
/// that something else was put into the segment, so nobody knows what it replaced. The beginning of the segment is
/// looked at for that, too.
pub(super) fn torn_pages(
    segments: &[Segment],
    end: u64,
    store: u64,
    last: u64,
) -> Result<Result<Vec<PageAt>, Damage>, Fault> {
    let mut torn = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let mut reader = SegmentReader::new(segment, store, WINDOW_BYTES);
        let misplaced = |header: Header, offset: u64, begins: bool| {
            let what = "the batch there is whole, but belongs to another store or another place";
            header.is_misplaced(store, segment.position(offset), begins).then(|| segment.damage(offset, what))
        };
        let first = read(segment, reader.whole_batch(SEGMENT_HEADER_BYTES))?;
        if let Some(damage) = first.and_then(|header| misplaced(header, SEGMENT_HEADER_BYTES, true)) {
            return Ok(Err(damage));
        }
        let from = if index == 0 { end } else { SEGMENT_HEADER_BYTES };
        let mut offset = from;
        while offset < segment.length {
            let page = read(segment, reader.bytes(offset, PAGE_BYTES))?;
            if *page != [0; PAGE_BYTES][..page.len()] {
                let found = read(segment, reader.whole_batch(offset))?;
                if found.is_some_and(|header| header.belongs(store, segment.position(offset)) && header.number > last) {
                    let what = format!("batch {} is not what was written, and later ones follow", last + 1);
                    return Ok(Err(segments[0].damage(end, what)));
                }
                if let Some(damage) = found.and_then(|header| misplaced(header, offset, offset == from)) {
                    return Ok(Err(damage));
                }
                torn.push((index, offset));
            }
            offset += PAGE_BYTES as u64;
        }
    }
    Ok(Ok(torn))
}

/// Overwrites a torn batch behind the end of the log with zeros, durably.
///
/// The last segment is synced even if nothing was cut off: after a kill its last batch may only be in the page cache,
/// and what is served from here on must survive the next power cut.
fn cut(segments: &[Segment], end: u64, store: u64, link: Link) -> Result<(), OpenError> {
    let torn = torn_pages(segments, end, store, link.number)??;
    if !torn.is_empty() {
        tracing::warn!(
            pages = torn.len(),
            position = link.end.0,
            "cut a torn or damaged batch off the end of the log: it was not acknowledged, unless the disk lies"
        );
    }
    for (index, offset) in &torn {
        let segment = &segments[*index];
        let written = segment.file.write_at(&[0; PAGE_BYTES], *offset);
        written.map_err(Fault::io(format!("cut {}", segment.path.display())))?;
    }
    for segment in segments {
        segment.file.sync_data().map_err(Fault::io(format!("sync {}", segment.path.display())))?;
    }
    Ok(())
}

/// The end of the log, owned by the writer thread.
#[derive(Debug)]
pub(super) struct LogWriter {
    store: u64,
    segment: Segment,
    offset: u64,
    link: Link,
    spares: Arc<Spares>,
}

impl LogWriter {
    pub(super) fn new(store: u64, segment: Segment, link: Link, spares: Arc<Spares>) -> Self {
        let offset = link.end.0.saturating_sub(segment.first).max(SEGMENT_HEADER_BYTES);
        Self { store, segment, offset, link, spares }
    }

    /// The last durable batch.
    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// Continues in the next segment, if one is ready and this one is not empty.
    pub(super) fn switch(&mut self) -> Switched {
        if self.offset == SEGMENT_HEADER_BYTES {
            return Switched::NotNeeded;
        }
        let Some(segment) = self.spares.take_ready() else { return Switched::NotReady };
        self.segment = segment;
        self.offset = SEGMENT_HEADER_BYTES;
        Switched::Yes
    }

    /// Writes a batch. It is not durable yet. Waits for the next segment if this one is full.
    ///
    /// # Errors
    /// The write failed, or there will be no next segment. Nothing may be written after that.
    pub(super) fn write(&mut self, batch: &mut Encoder) -> io::Result<Link> {
        if self.offset + batch.finished_len() > self.segment.length {
            self.segment = self.spares.take().ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
            self.offset = SEGMENT_HEADER_BYTES;
        }
        let position = Position(self.segment.first + self.offset);
        let (bytes, link) = batch.finish(self.store, position, self.link);
        self.segment.file.write_at(bytes, self.offset)?;
        Ok(link)
    }

    /// Makes the written batch durable.
    ///
    /// # Errors
    /// The sync failed. Nothing may be written after that.
    pub(super) fn sync(&mut self, written: Link) -> io::Result<()> {
        self.segment.file.sync_data()?;
        self.offset = written.end.0 - self.segment.first;
        self.link = written;
        Ok(())
    }
}

/// Reads pages of the log.
#[derive(Debug)]
pub(super) struct PageSource<'a> {
    pub files: &'a dyn Files,
    pub dir: &'a Path,
    pub store: u64,
    pub segments: &'a SegmentMap,
}

impl PageSource<'_> {
    /// Whole batches after `from`, with about `bytes_max` of payload, none beyond `durable`.
    pub(super) fn page(&self, from: Position, bytes_max: usize, durable: Position) -> Result<Page, PageError> {
        let mut page = Page { records: Vec::new(), next: from };
        let mut bytes = 0;
        let oldest = self.segments.oldest();
        if from < oldest {
            return Err(PageError::Gone { oldest });
        }
        let mut segment = match self.segments.containing(from.0) {
            Some(first) => self.open(first)?,
            // The previous batch ended exactly at the end of its segment.
            None => self.open(self.segments.containing(from.0.saturating_sub(1)).ok_or(PageError::Gone { oldest })?)?,
        };
        // Read no more than there is: a follower reads fifty times a second, mostly a few kilobytes.
        let behind = usize::try_from(durable.0.saturating_sub(from.0)).unwrap_or(usize::MAX);
        let window = bytes_max.saturating_mul(2).min(behind);
        let mut reader = SegmentReader::new(&segment, self.store, window);
        while page.next < durable && (bytes < bytes_max || page.records.is_empty()) {
            let offset = (page.next.0 - segment.first).max(SEGMENT_HEADER_BYTES);
            let Some(header) = reader.batch(offset)? else {
                let damage = segment.damage(offset, "there is no true batch here");
                let next = self.segments.after(segment.first).ok_or_else(|| damage.clone())?;
                segment = self.open(next)?;
                reader = SegmentReader::new(&segment, self.store, window);
                // The rest of this segment was left empty on purpose only if the next segment continues where this one
                // ended.
                let first = reader.batch(SEGMENT_HEADER_BYTES)?.filter(|header| header.previous_end == page.next);
                page.next = Position(first.ok_or(damage)?.position.0);
                continue;
            };
            let payload = bytes::Bytes::copy_from_slice(reader.payload(offset, &header)?);
            bytes += payload.len();
            for view in records(&payload) {
                let record = view.and_then(|view| {
                    let from = view.payload_at;
                    Some(Record {
                        stream: Stream::from_bytes(view.stream)?,
                        sequence: view.sequence,
                        version: view.version,
                        payload: payload.slice(from..from + view.payload.len()),
                    })
                });
                page.records.push(record.ok_or_else(|| segment.damage(offset, "the batch holds no records"))?);
            }
            page.next = header.link().end;
        }
        Ok(page)
    }

    fn open(&self, first: u64) -> Result<Segment, PageError> {
        match Segment::open(self.files, self.dir, self.store, first) {
            // The compactor has removed the segment meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.segments.oldest().0 > first => {
                Err(PageError::Gone { oldest: self.segments.oldest() })
            }
            opened => Ok(opened??),
        }
    }
}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage.to_string())
    }
}
