//! The preallocator: a thread that creates the next segment of the log ahead of need, and monitors the free disk space
//! and the state.
//!
//! So a full disk is noticed while the log still has a whole segment for the writes in progress, and not in the middle
//! of a write. Depends on `segment`, `spares` and `shared`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{errors::Fault, segment::Segment, shared::Shared, spares::Spares};

pub(super) struct Preallocator {
    pub shared: Arc<Shared>,
    pub spares: Arc<Spares>,
    /// Where the next segment begins.
    pub next_first: u64,
}

impl Preallocator {
    pub(super) fn run(mut self) {
        let poll = Duration::from_millis(self.shared.limits.disk_poll_ms.max(1));
        loop {
            let complete = self.prepare();
            self.watch_space(complete);
            self.watch_state();
            if !self.spares.wait_for_need(complete, Instant::now() + poll) {
                return;
            }
        }
    }

    /// Creates the next segment if none is ready. Returns whether one is ready now.
    fn prepare(&mut self) -> bool {
        if self.spares.any_ready() {
            return true;
        }
        let shared = Arc::clone(&self.shared);
        let (first, length) = (self.next_first, shared.limits.segment_bytes);
        // Creating a segment takes a second or more, and the disk can fill up meanwhile: check it in between.
        let mut watched = Instant::now();
        let mut watch = || {
            if watched.elapsed() >= Duration::from_millis(self.shared.limits.disk_poll_ms) {
                watched = Instant::now();
                self.watch_shortage();
            }
        };
        let made = Segment::create(shared.files.as_ref(), &shared.log_dir, (shared.store, first, length), &mut watch)
            .map_err(Fault::io(format!("make the next segment in {}", shared.log_dir.display())))
            .and_then(|segment| self.shared.manifest.update(|known| known.segment = Some(first)).map(|()| segment));
        match made {
            Ok(segment) => {
                self.shared.segments.add(&segment);
                self.next_first = segment.end();
                self.spares.put(segment);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the next segment of the log cannot be made");
                false
            }
        }
    }

    /// Makes the journal read-only if there is too little space. Only [`Preallocator::watch_space`] makes it writable
    /// again.
    fn watch_shortage(&self) {
        let free_bytes = self.shared.files.free_bytes(&self.shared.log_dir).unwrap_or(u64::MAX);
        if free_bytes < self.shared.limits.disk_free_bytes_min {
            self.shared.status.read_only(free_bytes, self.resume_bytes());
        }
    }

    fn watch_space(&self, spare_ready: bool) {
        let minimum = self.shared.limits.disk_free_bytes_min;
        // A disk whose free space is unknown does not count as full.
        let free_bytes = self.shared.files.free_bytes(&self.shared.log_dir).unwrap_or(u64::MAX);
        let needed = if self.shared.status.refusal().is_some() { self.resume_bytes() } else { minimum };
        if spare_ready && free_bytes >= needed {
            self.shared.status.writable();
        } else {
            self.shared.status.read_only(free_bytes, self.resume_bytes());
        }
    }

    /// A quarter more than the minimum, so that the journal does not flap at the threshold.
    fn resume_bytes(&self) -> u64 {
        let minimum = self.shared.limits.disk_free_bytes_min;
        minimum.saturating_add(minimum / 4)
    }

    /// A state that has stopped works again only after a restart, so fail the journal: then readers stop waiting.
    fn watch_state(&self) {
        if self.shared.state_has_stopped() {
            self.shared.fail("the state does not answer");
        }
    }
}
