//! How other threads ask a worker thread (checkpoints, compaction) for a piece of work, wait for its result, and stop
//! it.
//!
//! Depends on `errors`.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::errors::Fault;

/// Receives the result of the work that it asked for.
pub(super) type Waiter<T> = oneshot::Sender<Result<T, Fault>>;

/// When a worker that is told to stop does so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// After the work under way.
    AfterCurrent,
    /// In the middle of the work under way, which fails with [`Fault::Closed`].
    Now,
}

/// The requests to one worker thread, whose work results in a `T`.
#[derive(Debug)]
pub(super) struct Requests<T> {
    inner: Mutex<Inner<T>>,
    wake: Condvar,
}

#[derive(Debug)]
struct Inner<T> {
    waiters: Vec<Waiter<T>>,
    wanted: bool,
    stop: Option<Stop>,
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { waiters: Vec::new(), wanted: false, stop: None }), wake: Condvar::new() }
    }
}

impl<T: Clone> Requests<T> {
    /// Asks for the work soon, without waiting for its result.
    pub(super) fn want(&self) {
        let mut inner = self.inner.lock();
        if !inner.wanted {
            inner.wanted = true;
            self.wake.notify_all();
        }
    }

    /// Asks for work that begins after this call.
    pub(super) fn ask(&self) -> oneshot::Receiver<Result<T, Fault>> {
        let (sender, receiver) = oneshot::channel();
        let mut inner = self.inner.lock();
        if inner.stop.is_some() {
            // The receiver still exists, so this cannot fail.
            let _ = sender.send(Err(Fault::Closed));
        } else {
            inner.waiters.push(sender);
            self.wake.notify_all();
        }
        receiver
    }

    /// Stops the worker.
    pub(super) fn stop(&self, stop: Stop) {
        self.inner.lock().stop = Some(stop);
        self.wake.notify_all();
    }

    /// For the worker: waits for a request, at most for `timeout`, and returns who waits for a result. `None`: stop
    /// now.
    pub(super) fn next(&self, timeout: Duration) -> Option<Vec<Waiter<T>>> {
        let deadline = Instant::now() + timeout;
        let mut inner = self.inner.lock();
        while inner.stop.is_none() && !inner.wanted && inner.waiters.is_empty() {
            if self.wake.wait_until(&mut inner, deadline).timed_out() {
                break;
            }
        }
        let waiters = std::mem::take(&mut inner.waiters);
        if inner.stop.is_some() {
            answer(waiters, &Err(Fault::Closed));
            return None;
        }
        inner.wanted = false;
        Some(waiters)
    }

    /// For the worker, in the middle of its work: pauses for `time`, unless it is told to stop.
    ///
    /// # Errors
    /// [`Fault::Closed`]: the work is to be given up.
    pub(super) fn pause(&self, time: Duration) -> Result<(), Fault> {
        let mut inner = self.inner.lock();
        if inner.stop.is_none() && !time.is_zero() {
            self.wake.wait_for(&mut inner, time);
        }
        if inner.stop == Some(Stop::Now) { Err(Fault::Closed) } else { Ok(()) }
    }
}

/// Sends a result to all who wait for it.
pub(super) fn answer<T: Clone>(waiters: Vec<Waiter<T>>, result: &Result<T, Fault>) {
    for waiter in waiters {
        // A waiter that was dropped has lost interest in the result.
        let _ = waiter.send(result.clone());
    }
}
