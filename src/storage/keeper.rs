//! The keeper: a thread that has the next segment ready before it is needed, and watches the free space and the state.
//!
//! A full disk is met here, while the log still has a whole segment to take in what is under way, and not in the middle of
//! a write. Depends on `segment` and `shared`.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{errors::Fault, segment::Segment, shared::Shared};

/// Segments that are ready, between the keeper who makes them and the writer who takes them.
#[derive(Debug, Default)]
pub(super) struct Spares {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    ready: VecDeque<Segment>,
    /// The journal ends: a segment that cannot be made now will not be made later.
    ending: bool,
    ended: bool,
}

impl Spares {
    pub(super) fn new(ready: Vec<Segment>) -> Self {
        Self { inner: Mutex::new(Inner { ready: ready.into(), ..Inner::default() }), changed: Condvar::new() }
    }

    /// The next segment. Waits for it; `None` if there will be none.
    pub(super) fn take(&self) -> Option<Segment> {
        let mut inner = self.inner.lock();
        loop {
            if let Some(segment) = inner.ready.pop_front() {
                self.changed.notify_all();
                return Some(segment);
            }
            if inner.ended {
                return None;
            }
            self.changed.wait(&mut inner);
        }
    }

    /// The next segment, if it is ready now.
    pub(super) fn take_ready(&self) -> Option<Segment> {
        let segment = self.inner.lock().ready.pop_front();
        self.changed.notify_all();
        segment
    }

    /// Lets the keeper end with its first failure, so that no writer waits in vain at the end.
    pub(super) fn end_on_failure(&self) {
        self.inner.lock().ending = true;
        self.changed.notify_all();
    }

    /// Lets the keeper end.
    pub(super) fn end(&self) {
        self.inner.lock().ended = true;
        self.changed.notify_all();
    }
}

/// The thread's state.
pub(super) struct Keeper {
    pub shared: Arc<Shared>,
    pub spares: Arc<Spares>,
    /// Where the next segment begins.
    pub next_first: u64,
}

impl Keeper {
    pub(super) fn run(mut self) {
        let poll = Duration::from_millis(self.shared.limits.disk_poll_ms.max(1));
        loop {
            let complete = self.prepare();
            self.watch_space(complete);
            self.watch_state();
            let deadline = Instant::now() + poll;
            let mut inner = self.spares.inner.lock();
            loop {
                inner.ended |= inner.ending && !complete;
                if inner.ended {
                    self.spares.changed.notify_all();
                    return;
                }
                // After a failure the disk is asked again at the next poll, not in a circle.
                let work = complete && inner.ready.is_empty();
                if work || self.spares.changed.wait_until(&mut inner, deadline).timed_out() {
                    break;
                }
            }
        }
    }

    /// Makes the next segment where none is ready. Says whether one is ready now.
    fn prepare(&mut self) -> bool {
        if !self.spares.inner.lock().ready.is_empty() {
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
            .and_then(|segment| self.shared.marker.update(|known| known.segment = Some(first)).map(|()| segment));
        match made {
            Ok(segment) => {
                self.shared.catalogue.add(&segment);
                self.next_first = segment.end();
                self.spares.inner.lock().ready.push_back(segment);
                self.spares.changed.notify_all();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the next segment of the log cannot be made");
                false
            }
        }
    }

    /// Stops the writes where there is too little space; only [`Keeper::watch_space`] lets them go on.
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
