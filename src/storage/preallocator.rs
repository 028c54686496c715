//! The preallocator: a thread that creates the next segment of the log ahead of need, and monitors the free disk space
//! and the state.
//!
//! So a full disk is noticed while the log still has a whole segment for the writes in progress, and not in the middle
//! of a write. Depends on `disk_space`, `segment`, `spares` and `shared`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{disk_space, errors::Fault, segment::Segment, shared::Shared, spares::Spares};

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
            disk_space::update(&self.shared, complete);
            self.watch_state();
            self.shared.expect_no_more_state();
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
                disk_space::stop_writes_if_short(&self.shared);
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

    /// A state that has stopped works again only after a restart, so fail the journal: then readers stop waiting.
    fn watch_state(&self) {
        if self.shared.state_has_stopped() {
            self.shared.fail("the state does not answer");
        }
    }
}
