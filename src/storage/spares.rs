//! Segments that are ready before they are needed: a queue from the preallocator to the log's writer.
//!
//! Depends on `segment`.

use std::{collections::VecDeque, time::Instant};

use parking_lot::{Condvar, Mutex};

use super::segment::Segment;

/// The queue of ready segments.
#[derive(Debug, Default)]
pub(super) struct Spares {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    ready: VecDeque<Segment>,
    /// The journal is closing: a segment that cannot be made now will not be made later.
    ending: bool,
    ended: bool,
}

impl Spares {
    pub(super) fn new(ready: Vec<Segment>) -> Self {
        Self { inner: Mutex::new(Inner { ready: ready.into(), ..Inner::default() }), changed: Condvar::new() }
    }

    /// Takes the next segment, and waits for it if necessary; `None` if there will be none.
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

    /// The next segment, if one is ready now.
    pub(super) fn take_ready(&self) -> Option<Segment> {
        let segment = self.inner.lock().ready.pop_front();
        self.changed.notify_all();
        segment
    }

    /// Lets the preallocator end at its first failure, so that the writer does not wait for ever during a close.
    pub(super) fn end_on_failure(&self) {
        self.inner.lock().ending = true;
        self.changed.notify_all();
    }

    /// Lets the preallocator end.
    pub(super) fn end(&self) {
        self.inner.lock().ended = true;
        self.changed.notify_all();
    }

    /// Whether a segment is ready. Does not wait.
    pub(super) fn any_ready(&self) -> bool {
        !self.inner.lock().ready.is_empty()
    }

    /// Adds a ready segment.
    pub(super) fn put(&self, segment: Segment) {
        self.inner.lock().ready.push_back(segment);
        self.changed.notify_all();
    }

    /// Waits until the next segment is needed, or until `deadline`. Returns `false` if the preallocator must end.
    pub(super) fn wait_for_need(&self, complete: bool, deadline: Instant) -> bool {
        let mut inner = self.inner.lock();
        loop {
            inner.ended |= inner.ending && !complete;
            if inner.ended {
                self.changed.notify_all();
                return false;
            }
            // After a failure try again at the deadline, not in a busy loop.
            let needed = complete && inner.ready.is_empty();
            if needed || self.changed.wait_until(&mut inner, deadline).timed_out() {
                return true;
            }
        }
    }
}
