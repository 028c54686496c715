//! When the journal becomes read-only because the disk is nearly full, and when writes resume.
//!
//! Writes stop while there is still space for a checkpoint and a whole segment for the writes in progress. Depends on
//! `shared`.

use super::shared::Shared;

/// Makes the journal read-only if there is too little space. Only [`update`] makes it writable again.
pub(super) fn stop_writes_if_short(shared: &Shared) {
    let free_bytes = free_bytes(shared);
    if free_bytes < shared.limits.disk_free_bytes_min {
        shared.status.read_only(free_bytes, resume_bytes(shared));
    }
}

/// Makes the journal read-only, or writable again. The next segment must be ready, too: making it may fail before the
/// free space falls below its limit.
pub(super) fn update(shared: &Shared, spare_ready: bool) {
    let free_bytes = free_bytes(shared);
    let is_stopped = shared.status.refusal().is_some();
    let needed = if is_stopped { resume_bytes(shared) } else { shared.limits.disk_free_bytes_min };
    if spare_ready && free_bytes >= needed {
        shared.status.writable();
    } else {
        shared.status.read_only(free_bytes, resume_bytes(shared));
    }
}

/// A quarter more than the minimum, so that the journal does not flap at the threshold.
fn resume_bytes(shared: &Shared) -> u64 {
    let minimum = shared.limits.disk_free_bytes_min;
    minimum.saturating_add(minimum / 4)
}

/// A disk whose free space is unknown does not count as full.
fn free_bytes(shared: &Shared) -> u64 {
    shared.files.free_bytes(&shared.log_dir).unwrap_or(u64::MAX)
}
