//! Detects changes of the state that never end, because sled can deadlock: see `state`.
//!
//! A thread in a deadlock cannot be stopped, only abandoned, so that the program can end and start again. Depends on
//! `errors`.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::errors::Fault;

/// How often the duration of the changes is checked.
const LOOK_STEP: Duration = Duration::from_millis(50);

/// The start times of the changes in progress.
#[derive(Debug, Default)]
pub(super) struct Watchdog(Mutex<Vec<Instant>>);

impl Watchdog {
    /// Registers a change while it is in progress.
    pub(super) fn during<T>(&self, change: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        self.0.lock().push(began);
        let changed = change();
        let mut changes = self.0.lock();
        if let Some(at) = changes.iter().position(|other| *other == began) {
            changes.swap_remove(at);
        }
        changed
    }

    /// Whether a change has been in progress for so long that it will never end.
    pub(super) fn have_stopped(&self, ms_max: u64) -> bool {
        let limit = Duration::from_millis(ms_max);
        self.0.lock().iter().any(|began| began.elapsed() >= limit)
    }

    /// Registers a change that never ends, for tests.
    #[cfg(test)]
    pub(super) fn get_stuck(&self) {
        self.0.lock().push(Instant::now());
    }

    /// Runs work that makes changes on a thread of its own, and waits for it unless one of the changes never ends.
    ///
    /// # Errors
    /// The thread was abandoned, panicked, or could not be started.
    pub(super) fn outlive<T: Send + 'static>(
        &self,
        ms_max: u64,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            // The receiver is gone if the thread was abandoned.
            let _ = sender.send(work());
        });
        thread.map_err(Fault::io("start a thread"))?;
        loop {
            match receiver.recv_timeout(LOOK_STEP) {
                Ok(done) => return Ok(done),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(Fault::State(format!("{name} panicked"))),
                Err(mpsc::RecvTimeoutError::Timeout) if self.have_stopped(ms_max) => {
                    return Err(Fault::State("it does not answer".into()));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn only_work_with_a_change_that_never_ends_is_abandoned() {
        let watchdog = Arc::new(Watchdog::default());
        assert_eq!(watchdog.outlive(20, "quick", || 7).unwrap(), 7);
        watchdog.outlive(20, "slow, without a change", || thread::sleep(Duration::from_millis(100))).unwrap();
        let (stuck, (hold, held)) = (Arc::clone(&watchdog), mpsc::channel::<()>());
        let never = move || stuck.during(|| held.recv().is_ok());
        assert!(matches!(watchdog.outlive(20, "stuck", never), Err(Fault::State(why)) if why == "it does not answer"));
        drop(hold);
        let panics = || panic!("on purpose");
        assert!(matches!(Watchdog::default().outlive(20, "this", panics), Err::<(), _>(Fault::State(_))));
    }
}
