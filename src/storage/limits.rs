//! The limits of storage, each with its unit and its reason.
//!
//! Depends on nothing.

/// The size of a disk page, in bytes. Batches start on page boundaries, so that writing one never touches another.
pub(super) const PAGE_BYTES: usize = 4096;

/// The largest value in the state, in bytes. sled puts large ones into files of their own, which it never syncs.
pub const VALUE_BYTES_MAX: usize = 4096;

/// The largest snapshot, in bytes: that of an inventory with as many reservations as it may have. A larger one is not
/// stored; the stream's records are kept instead.
pub const SNAPSHOT_BYTES_MAX: usize = 128 * 1024 * 1024;

/// The largest payload of a batch that a reader accepts, in bytes. It bounds what a damaged length can allocate.
pub(super) const BATCH_BYTES_CEILING: usize = 32 * 1024 * 1024;

/// How much of a segment is read at once, in bytes: large enough for sequential speed.
pub(super) const WINDOW_BYTES: usize = 1024 * 1024;

/// The limits a journal runs with.
#[derive(Debug, Clone)]
pub struct JournalLimits {
    /// Records that are queued, being written or waiting for their sync. It bounds memory and, with the speed of the
    /// disk, the time that a record waits. Callers wait for a free slot in [`super::Journal::reserve`].
    pub queue_records_max: usize,
    /// Records of one batch. Larger batches raise the throughput of many callers and the latency of each.
    pub batch_records_max: usize,
    /// Bytes of one batch, to within one record: about a millisecond of a common disk.
    pub batch_bytes_max: usize,
    /// Bytes of one record's payload. An event is a fact, not a document.
    pub record_bytes_max: usize,
    /// Bytes of one segment file. One segment is preallocated ahead, so this is also the reserve when the disk is full.
    pub segment_bytes: u64,
    /// Bytes of the memtable over all streams. At half of it a checkpoint starts; at all of it `reserve` waits for the
    /// checkpoint.
    pub memtable_bytes_max: u64,
    /// The longest time between two checkpoints, in milliseconds: it bounds what a start has to read again.
    pub checkpoint_ms: u64,
    /// How much of a checkpoint is written in one batch, in bytes. sled locks the tree for a batch, so nobody can read
    /// the state meanwhile; a pause follows, so that the syncs of the log do not suffer.
    pub slice_bytes_max: usize,
    /// After how long an unfinished change of the state counts as one that will never finish, in milliseconds: longer
    /// than any disk takes for some megabytes. The journal then fails, so that the process is restarted.
    pub state_change_ms_max: u64,
    /// The cache of the state, in bytes. sled uses a multiple of it.
    pub state_cache_bytes: u64,
    /// Free space below which the journal takes no more records, in bytes: the space that a checkpoint may need.
    pub disk_free_bytes_min: u64,
    /// How often the free space is checked, in milliseconds.
    pub disk_poll_ms: u64,
    /// The idle time after which the last batch is sealed, in milliseconds: longer than the pause between two requests
    /// of one caller.
    pub seal_after_ms: u64,
    /// Bytes of the log since the last base after which the next one is due; at least as many as that base has.
    pub base_log_bytes: u64,
    /// Age of the last base after which the next one is due, in milliseconds, if anything was written since.
    pub base_age_ms: u64,
    /// The share of the time in which the state is read for a base, in percent; the rest is left to the shop.
    pub base_work_percent: u32,
    /// Bytes of the log that are kept although a base replaces them: for followers that are behind, and for inquiries
    /// into the past.
    pub log_keep_bytes: u64,
    /// How long they are kept at most, in milliseconds. With `base_age_ms` it bounds how long erased data stays in the
    /// log.
    pub log_keep_ms: u64,
    /// How often the compactor checks whether a base is due, in milliseconds.
    pub retention_poll_ms: u64,
    /// Concurrent activations. Each waits for the batch before it; more of them would only queue elsewhere.
    pub activations_max: usize,
    /// Concurrent reads of streams from the state: each occupies a thread.
    pub loads_max: usize,
}

impl Default for JournalLimits {
    fn default() -> Self {
        Self {
            queue_records_max: 8_192,
            batch_records_max: 4_096,
            batch_bytes_max: 1024 * 1024,
            record_bytes_max: 1024 * 1024,
            segment_bytes: 64 * 1024 * 1024,
            memtable_bytes_max: 320 * 1024 * 1024,
            checkpoint_ms: 10_000,
            slice_bytes_max: 32 * 1024,
            state_change_ms_max: 120_000,
            state_cache_bytes: 32 * 1024 * 1024,
            disk_free_bytes_min: 512 * 1024 * 1024,
            disk_poll_ms: 1_000,
            seal_after_ms: 5,
            base_log_bytes: 1 << 30,
            base_age_ms: 7 * 86_400_000,
            base_work_percent: 25,
            log_keep_bytes: u64::MAX,
            log_keep_ms: u64::MAX,
            retention_poll_ms: 10_000,
            activations_max: 256,
            loads_max: 16,
        }
    }
}

impl JournalLimits {
    /// How many bytes of the memtable make a checkpoint due.
    pub(super) fn checkpoint_bytes(&self) -> u64 {
        self.memtable_bytes_max / 2
    }

    /// Adjusts limits that contradict each other: any batch and any record fit into a segment, and segments end on a
    /// page.
    pub(super) fn fitted(mut self) -> Self {
        let page = PAGE_BYTES as u64;
        self.segment_bytes = self.segment_bytes.clamp(8 * page, BATCH_BYTES_CEILING as u64 * 32).next_multiple_of(page);
        let quarter = usize::try_from(self.segment_bytes / 4).unwrap_or(usize::MAX);
        self.batch_bytes_max = self.batch_bytes_max.min(quarter).min(BATCH_BYTES_CEILING / 4);
        self.record_bytes_max = self.record_bytes_max.min(quarter).min(BATCH_BYTES_CEILING / 4);
        self.batch_records_max = self.batch_records_max.max(1);
        self.queue_records_max = self.queue_records_max.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self.activations_max = self.activations_max.max(1);
        self.loads_max = self.loads_max.max(1);
        self
    }
}
