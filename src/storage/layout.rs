//! The layout of the state: its keys and values, without the store that holds them.
//!
//! ```text
//! e‖stream‖0                  head: sequence, generation, chunks, bytes, version; then the snapshot, if it fits
//! e‖stream‖1‖generation‖i     a chunk of a snapshot that does not fit into the head
//! e‖stream‖2‖sequence‖part    raw records from this sequence on: about one value's worth, or one large record in parts
//! m‖…                         store id, checkpoint, pins
//! l‖list‖key                  an entry of a read model
//! ```
//!
//! Every value is at most [`VALUE_BYTES_MAX`] long and begins with a checksum of key and value. Depends on `record`,
//! `memtable` and `errors`.

use bytes::Bytes;

use super::{
    batch::{u32_at, u64_at},
    errors::Fault,
    limits::VALUE_BYTES_MAX,
    memtable::Kept,
    record::{Record, Snapshot, Stream},
};

/// The first byte of the keys that belong to a stream.
pub(super) const ENTITIES: u8 = b'e';
const CRC_BYTES: usize = 4;
/// The length of the head before an inline snapshot, in bytes.
pub(super) const HEAD_BYTES: usize = 26;
/// The longest snapshot that is stored inline in its head, in bytes.
const INLINE_BYTES_MAX: usize = VALUE_BYTES_MAX - CRC_BYTES - HEAD_BYTES;
/// How many bytes of a longer one go into one value.
const CHUNK_BYTES: usize = VALUE_BYTES_MAX - CRC_BYTES;
/// The header of each part of a run, in bytes: the number of parts (2) and of records (4).
pub(super) const RUN_HEADER_BYTES: usize = 6;
/// How many bytes of a run of records go into one value.
const PART_BYTES: usize = VALUE_BYTES_MAX - CRC_BYTES - RUN_HEADER_BYTES;
/// The length of the key of a run after the stream's name, in bytes: first sequence (8) and part (2).
const RUN_SUFFIX_BYTES: usize = 10;
/// The header of each record in a run, in bytes: version (2) and length (4).
const RECORD_HEADER_BYTES: usize = 6;
/// A change of the state: a key with its new value, or `None` to remove it.
pub(super) type StateEntry = (Vec<u8>, Option<Vec<u8>>);

/// The head of a stream's snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub sequence: u64,
    pub generation: u64,
    pub chunks: u32,
    pub bytes: u32,
    pub version: u16,
}

impl Head {
    fn to_bytes(self) -> Vec<u8> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(&self.sequence.to_le_bytes());
        head.extend_from_slice(&self.generation.to_le_bytes());
        head.extend_from_slice(&self.chunks.to_le_bytes());
        head.extend_from_slice(&self.bytes.to_le_bytes());
        head.extend_from_slice(&self.version.to_le_bytes());
        head
    }

    /// Parses the head at the beginning of this value.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        (value.len() >= HEAD_BYTES).then(|| Self {
            sequence: u64_at(value, 0),
            generation: u64_at(value, 8),
            chunks: u32_at(value, 16),
            bytes: u32_at(value, 20),
            version: u16::from_le_bytes([value[24], value[25]]),
        })
    }
}

/// Adds the checksums. Fails if a value is too large.
pub(super) fn sealed(mut entries: Vec<StateEntry>) -> Result<Vec<StateEntry>, Fault> {
    for (key, value) in &mut entries {
        let Some(value) = value else { continue };
        let bytes = value.len();
        *value = seal(key, value);
        if value.len() > VALUE_BYTES_MAX {
            return Err(Fault::TooLarge { bytes });
        }
    }
    Ok(entries)
}

fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), value);
    let mut sealed = Vec::with_capacity(CRC_BYTES + value.len());
    sealed.extend_from_slice(&crc.to_le_bytes());
    sealed.extend_from_slice(value);
    sealed
}

pub(super) fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], Fault> {
    let (crc, value) = sealed.split_at_checked(CRC_BYTES).unwrap_or_default();
    let good = crc == crc32c::crc32c_append(crc32c::crc32c(key), value).to_le_bytes();
    if good { Ok(value) } else { Err(Fault::Damaged(format!("the value of {}", key.escape_ascii()))) }
}

/// The kind, the length of the name and the name: streams of one kind are adjacent, and no stream's key is a prefix of
/// another's.
pub(super) fn key(stream: &Stream) -> Vec<u8> {
    let name = stream.key();
    let mut key = Vec::with_capacity(name.len() + 16);
    key.extend_from_slice(&[ENTITIES, stream.kind(), u8::try_from(name.len()).unwrap_or(u8::MAX)]);
    key.extend_from_slice(name);
    key
}

/// The stream to which a key belongs, if it belongs to one.
pub(super) fn stream_of(key: &[u8]) -> Option<Stream> {
    let [ENTITIES, kind, length, rest @ ..] = key else { return None };
    Some(Stream::new(*kind, rest.get(..usize::from(*length))?))
}

pub(super) fn head_key(stream: &Stream) -> Vec<u8> {
    let mut key = key(stream);
    key.push(0);
    key
}

pub(super) fn chunk_key(stream: &Stream, generation: u64, chunk: u32) -> Vec<u8> {
    let mut key = key(stream);
    key.push(1);
    key.extend_from_slice(&generation.to_be_bytes());
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// The common prefix of the keys of a stream's runs.
pub(super) fn runs_key(stream: &Stream) -> Vec<u8> {
    let mut key = key(stream);
    key.push(2);
    key
}

pub(super) fn run_key(stream: &Stream, sequence: u64, part: u16) -> Vec<u8> {
    let mut key = runs_key(stream);
    key.extend_from_slice(&sequence.to_be_bytes());
    key.extend_from_slice(&part.to_be_bytes());
    key
}

pub(super) fn be_u64(bytes: &[u8]) -> u64 {
    let mut integer = [0; 8];
    integer.copy_from_slice(&bytes[..8]);
    u64::from_be_bytes(integer)
}

/// The entries of consecutive raw records of one stream, in runs of about one value. All parts of a run are in one
/// inner vector, which must be applied at once, so that a load never finds half of a run.
pub(super) fn run_entries(stream: &Stream, records: &[Kept]) -> Vec<Vec<StateEntry>> {
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

/// Parses the records of a run; `None` if the bytes are not a run.
pub(super) fn run_records(stream: &Stream, first: u64, run: &Bytes) -> Option<Vec<Record>> {
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

/// The head of a snapshot, and its entries: the chunks, if it has any, and the head, which refers to them and is to be
/// written last.
pub(super) fn snapshot_entries(
    stream: &Stream,
    snapshot: &Snapshot,
    generation: u64,
) -> (Head, Vec<StateEntry>, StateEntry) {
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
    // SNAPSHOT_BYTES_MAX is far below 4 GiB.
    let bytes = u32::try_from(snapshot.bytes.len()).unwrap_or(u32::MAX);
    let head = Head { sequence: snapshot.sequence, generation, chunks, bytes, version: snapshot.version };
    (head, entries, (head_key(stream), Some([&head.to_bytes()[..], in_head].concat())))
}

/// The sequence of the last record of a run, from its key and value.
pub(super) fn run_end(key: &[u8], value: &[u8]) -> Option<u64> {
    let first = key.len().checked_sub(RUN_SUFFIX_BYTES).map(|at| be_u64(&key[at..]))?;
    let records = (value.len() >= RUN_HEADER_BYTES).then(|| u32_at(value, 2))?;
    (first + u64::from(records)).checked_sub(1)
}
