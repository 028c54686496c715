//! A batch: what one sync makes durable. A header, then records, padded to a page.
//!
//! ```text
//! header (64 bytes)  magic 8 | format 2 | reserved 2 | records 4 | number 8 | position 8 | end of the batch before 8
//!                    | store 8 | payload bytes 4 | CRC of the batch before 4 | reserved 4
//!                    | CRC-32C of header and payload 4
//! record             stream bytes 1 | version 2 | sequence 8 | payload bytes 4 | stream | payload
//! ```
//!
//! Integers are little-endian, and what is reserved is zero. The store's id is random and is never shown to clients, so
//! no payload can imitate a batch of it. Depends on `record` and `limits`.

use super::{
    limits::{BATCH_BYTES_CEILING, PAGE_BYTES},
    record::{Position, Stream},
};

/// The length of a batch's header in bytes.
pub(super) const HEADER_BYTES: usize = 64;
/// The length of a record before its stream and payload, in bytes.
pub(super) const RECORD_HEADER_BYTES: usize = 15;
const MAGIC: [u8; 8] = *b"SOUKBAT\n";
/// The version of this layout.
pub(super) const FORMAT: u16 = 1;
const CRC_AT: usize = HEADER_BYTES - 4;

/// What the next batch has to continue. The chain of links shows when a batch is missing or was exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Link {
    /// The number of the last batch; 0 before the first.
    pub number: u64,
    /// The checksum of the batch.
    pub crc: u32,
    /// The position after the batch.
    pub end: Position,
}

/// Builds batches in one reused buffer.
#[derive(Debug)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
    records: u32,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; HEADER_BYTES], records: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEADER_BYTES, 0);
        self.records = 0;
    }

    pub(super) fn push(&mut self, stream: &Stream, sequence: u64, version: u16, payload: &[u8]) {
        let name = stream.bytes();
        let mut header = [0; RECORD_HEADER_BYTES];
        // A stream's name has at most STREAM_BYTES_MAX bytes and a payload at most `record_bytes_max`, so both
        // conversions succeed.
        header[0] = u8::try_from(name.len()).unwrap_or(u8::MAX);
        header[1..3].copy_from_slice(&version.to_le_bytes());
        header[3..11].copy_from_slice(&sequence.to_le_bytes());
        header[11..15].copy_from_slice(&length(payload.len()).to_le_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(payload);
        self.records += 1;
    }

    pub(super) fn records(&self) -> usize {
        self.records as usize
    }

    /// The length so far, in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Completes the batch that is written at `position` and continues `link`. Returns its bytes and the link for the
    /// next one.
    pub(super) fn finish(&mut self, store: u64, position: Position, link: Link) -> (&[u8], Link) {
        let number = link.number + 1;
        let payload_bytes = length(self.bytes.len() - HEADER_BYTES);
        let header = &mut self.bytes[..HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..10].copy_from_slice(&FORMAT.to_le_bytes());
        header[12..16].copy_from_slice(&self.records.to_le_bytes());
        header[16..24].copy_from_slice(&number.to_le_bytes());
        header[24..32].copy_from_slice(&position.0.to_le_bytes());
        header[32..40].copy_from_slice(&link.end.0.to_le_bytes());
        header[40..48].copy_from_slice(&store.to_le_bytes());
        header[48..52].copy_from_slice(&payload_bytes.to_le_bytes());
        header[52..56].copy_from_slice(&link.crc.to_le_bytes());
        let crc = checksum(&self.bytes);
        self.bytes[CRC_AT..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(PAGE_BYTES), 0);
        let end = Position(position.0 + self.bytes.len() as u64);
        (&self.bytes, Link { number, crc, end })
    }

    /// The length of the finished batch with its padding, in bytes.
    pub(super) fn finished_len(&self) -> u64 {
        self.bytes.len().next_multiple_of(PAGE_BYTES) as u64
    }
}

/// The checksum of everything but the checksum field.
fn checksum(batch: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&batch[..CRC_AT]), &batch[HEADER_BYTES..])
}

/// Callers bound every length far below 4 GiB.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The header of a batch as read from a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub records: u32,
    pub number: u64,
    pub position: Position,
    pub previous_end: Position,
    pub previous_crc: u32,
    store: u64,
    payload_bytes: usize,
    crc: u32,
}

impl Header {
    /// The header in these bytes, if they look like one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let payload_bytes = usize::try_from(u32_at(bytes, 48)).ok()?;
        let looks_right =
            bytes[..8] == MAGIC && bytes[8..10] == FORMAT.to_le_bytes() && payload_bytes <= BATCH_BYTES_CEILING;
        looks_right.then(|| Self {
            records: u32_at(bytes, 12),
            number: u64_at(bytes, 16),
            position: Position(u64_at(bytes, 24)),
            previous_end: Position(u64_at(bytes, 32)),
            store: u64_at(bytes, 40),
            payload_bytes,
            previous_crc: u32_at(bytes, 52),
            crc: u32_at(bytes, CRC_AT),
        })
    }

    /// The length of header and payload, in bytes.
    pub(super) fn unpadded_len(&self) -> usize {
        HEADER_BYTES + self.payload_bytes
    }

    /// The length in the segment, in bytes.
    pub(super) fn padded_len(&self) -> u64 {
        self.unpadded_len().next_multiple_of(PAGE_BYTES) as u64
    }

    /// Whether header and payload are what some store wrote.
    pub(super) fn is_whole(&self, batch: &[u8]) -> bool {
        batch.len() == self.unpadded_len() && checksum(batch) == self.crc
    }

    /// Whether a whole batch is what this store wrote at this position.
    pub(super) fn belongs(&self, store: u64, position: Position) -> bool {
        self.store == store && self.position == position
    }

    /// Whether a whole batch that does not belong here is one of another store or of another place, and no bytes of a
    /// record: where a batch begins, no record can. Elsewhere a record of a torn batch may imitate a batch, but whoever
    /// sent it knows neither the store's id nor the position.
    pub(super) fn is_misplaced(&self, store: u64, position: Position, begins: bool) -> bool {
        !self.belongs(store, position) && (begins || self.store == store || self.position == position)
    }

    /// Whether the batch comes right after the one of `link`.
    pub(super) fn continues(&self, link: Link) -> bool {
        self.number == link.number + 1 && self.previous_crc == link.crc && self.previous_end == link.end
    }

    /// What the next batch has to continue.
    pub(super) fn link(&self) -> Link {
        Link { number: self.number, crc: self.crc, end: Position(self.position.0 + self.padded_len()) }
    }
}

/// A record as it stands in a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordView<'a> {
    pub stream: &'a [u8],
    pub sequence: u64,
    pub version: u16,
    pub payload: &'a [u8],
    /// Where the payload begins in the payload of the batch.
    pub payload_at: usize,
}

/// The records in a batch's payload. An item is `None` where the bytes are not a record, and it is the last one.
pub(super) fn records(payload: &[u8]) -> impl Iterator<Item = Option<RecordView<'_>>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at == payload.len() {
            return None;
        }
        let view = record_at(payload, at);
        at = view.map_or(payload.len(), |view| view.payload_at + view.payload.len());
        Some(view)
    })
}

fn record_at(payload: &[u8], at: usize) -> Option<RecordView<'_>> {
    let header = payload.get(at..at + RECORD_HEADER_BYTES)?;
    let stream_at = at + RECORD_HEADER_BYTES;
    let payload_at = stream_at + usize::from(header[0]);
    let end = payload_at.checked_add(usize::try_from(u32_at(header, 11)).ok()?)?;
    Some(RecordView {
        stream: payload.get(stream_at..payload_at)?,
        sequence: u64_at(header, 3),
        version: u16::from_le_bytes([header[1], header[2]]),
        payload: payload.get(payload_at..end)?,
        payload_at,
    })
}

/// The little-endian integer at this offset. Panics where there are too few bytes.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut integer = [0; 8];
    integer.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(integer)
}

/// The little-endian integer at this offset. Panics where there are too few bytes.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut integer = [0; 4];
    integer.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(integer)
}
