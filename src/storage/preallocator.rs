//! The preallocator: a thread that makes the next segment of the log before it is needed, and watches the free disk space and
//! the state.
//!
//! A full disk is noticed here, while the log still has a whole segment for the writes under way, and not in the middle of a
//! write. Depends on `segment`, `spares` and `shared`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{errors::Fault, segment::Segment, shared::Shared, spares::Spares};

/// The thread's state.
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

    /// Makes the next segment where none is ready. Says whether one is ready now.
    fn prepare(&mut self) -> bool {
        if self.spares.any_ready() {
            return true;
        }
        let shared = Arc::clone(&self.shared);
        let (first, length) = (self.next_first, shared.limits.segment_bytes);
        // It takes a second or more, and what else fills the disk does not wait for it.
        let mut watched = Instant::now();
        let mut watch = || {
            if watched.elapsed() >= Duration::from_millis(self.shared.limits.disk_poll_ms) {
                watched = Instant::now();
                self.watch_shortage();
            }
        };
        let made = Segment::create(shared.files.as_ref(), &shared.log_dir, (shared.store, first, length), &mut watch)
            .map_err(Fault::io("make the next segment"))
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

    /// Stops the writes where there is too little space; only [`Preallocator::watch_space`] lets them go on.
    fn watch_shortage(&self) {
        let free_bytes = self.shared.files.free_bytes(&self.shared.log_dir).unwrap_or(u64::MAX);
        if free_bytes < self.shared.limits.disk_free_bytes_min {
            self.shared.status.read_only(free_bytes);
        }
    }

    fn watch_space(&self, spare_ready: bool) {
        let minimum = self.shared.limits.disk_free_bytes_min;
        // A disk that does not say what is free is not taken for a full one.
        let free_bytes = self.shared.files.free_bytes(&self.shared.log_dir).unwrap_or(u64::MAX);
        // A quarter more before it resumes, so that it does not flutter at the border.
        let needed = if self.shared.status.refusal().is_some() { minimum.saturating_add(minimum / 4) } else { minimum };
        if spare_ready && free_bytes >= needed {
            self.shared.status.writable();
        } else {
            self.shared.status.read_only(free_bytes);
        }
    }

    /// A state that has stopped comes back with the next start only, and whoever reads from it waits until then.
    fn watch_state(&self) {
        if self.shared.state_has_stopped() {
            self.shared.fail("the state does not answer");
        }
    }
}
