//! The read pool: loads of streams that wait, and the threads that perform them.
//!
//! A read may wait for the disk or for sled's lock, which the threads of the async runtime must not. Handing a read
//! over to a thread costs more than most reads, so a reader that has finished one takes the next: one hand-over serves
//! all that wait. Depends on `record` and `errors`.

use std::{
    collections::VecDeque,
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    errors::{Fault, LoadError},
    record::{Loaded, Stream},
};

/// How many loads may wait for each reader before another one starts. Few, so that a read that waits for the disk
/// delays only a handful; not fewer, so that readers do not compete for the processor when nothing waits for the disk.
const WAITING_FOR_ONE: usize = 8;

/// The outcome of a load.
pub(super) type Answer = Result<Loaded, LoadError>;

/// The waiting loads and their readers. The callers are bounded elsewhere, and so are the loads.
#[derive(Debug)]
pub(super) struct ReadPool {
    line: Mutex<Line>,
    readers_max: usize,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Load>,
    readers: usize,
}

/// A stream to be read.
#[derive(Debug)]
struct Load {
    stream: Stream,
    answer: oneshot::Sender<Answer>,
}

impl ReadPool {
    /// Creates a pool of at most this many readers.
    pub(super) fn new(readers_max: usize) -> Arc<Self> {
        Arc::new(Self { line: Mutex::default(), readers_max })
    }

    /// Queues a load. If it needs another reader, that is returned too, and the caller must run it on a thread.
    pub(super) fn push(self: &Arc<Self>, stream: Stream) -> (oneshot::Receiver<Answer>, Option<Reader>) {
        let (answer, loaded) = oneshot::channel();
        let mut line = self.line.lock();
        line.waiting.push_back(Load { stream, answer });
        let enough = line.readers * WAITING_FOR_ONE;
        let needed = line.readers < self.readers_max && line.waiting.len() > enough;
        let reader = needed.then(|| {
            line.readers += 1;
            Reader { read_pool: Arc::clone(self), at_work: true }
        });
        (loaded, reader)
    }
}

/// A reader: performs loads until none waits.
#[derive(Debug)]
pub(super) struct Reader {
    read_pool: Arc<ReadPool>,
    at_work: bool,
}

impl Reader {
    /// Reads until no load waits.
    pub(super) fn serve(mut self, read: impl Fn(&Stream) -> Answer) {
        while let Some(Load { stream, answer }) = self.next() {
            // A load that panics must not take the next ones with it.
            let loaded = catch_unwind(AssertUnwindSafe(|| read(&stream)));
            // The receiver is gone if the caller stopped waiting.
            let _ = answer.send(loaded.unwrap_or_else(|_| Err(unended(&stream))));
        }
    }

    /// The next load whose caller still waits.
    fn next(&mut self) -> Option<Load> {
        let mut line = self.read_pool.line.lock();
        let waited_for = iter::from_fn(|| line.waiting.pop_front()).find(|load| !load.answer.is_closed());
        if waited_for.is_none() {
            // Under the same lock, so that the next load starts another reader.
            self.at_work = false;
            line.readers -= 1;
        }
        waited_for
    }
}

impl Drop for Reader {
    /// A reader that was dropped before it ran: if it was the only one, the waiting loads fail instead of waiting for
    /// ever.
    fn drop(&mut self) {
        if self.at_work {
            let mut line = self.read_pool.line.lock();
            line.readers -= 1;
            if line.readers == 0 {
                line.waiting.clear();
            }
        }
    }
}

/// The error of a load whose reader was lost.
pub(super) fn unended(stream: &Stream) -> LoadError {
    Fault::State(format!("the load of {stream:?} did not end")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reader_serves_those_who_wait_and_another_helps_where_many_do() {
        let read_pool = ReadPool::new(2);
        let (mut readers, mut answers) = (Vec::new(), Vec::new());
        for name in 0..20 {
            let (answer, reader) = read_pool.push(Stream::new(1, &[name]));
            readers.extend(reader.map(|reader| (usize::from(name), reader)));
            answers.push(answer);
        }
        let started: Vec<_> = readers.iter().map(|(name, _)| *name).collect();
        assert_eq!(started, [0, WAITING_FOR_ONE], "the second when the first has enough, and no third");
        answers.remove(3);
        let served = Mutex::new(Vec::new());
        for (_, reader) in readers {
            reader.serve(|stream| {
                served.lock().push(stream.key()[0]);
                assert_ne!(stream.key()[0], 7, "one of them panics");
                Ok(Loaded::default())
            });
        }
        let waited_for: Vec<_> = (0..20).filter(|name| *name != 3).collect();
        assert_eq!(*served.lock(), waited_for, "in order, without who has gone");
        let failed =
            answers.into_iter().map(oneshot::Receiver::blocking_recv).filter(|answer| !matches!(answer, Ok(Ok(_))));
        assert_eq!(failed.count(), 1, "the one that panicked");
        assert!(read_pool.push(Stream::new(1, b"next")).1.is_some(), "both have ended");
    }

    #[test]
    fn loads_fail_when_their_only_reader_is_dropped() {
        let read_pool = ReadPool::new(1);
        let (first, reader) = read_pool.push(Stream::new(1, b"a"));
        let (second, none) = read_pool.push(Stream::new(1, b"b"));
        assert!(none.is_none());
        drop(reader);
        assert!(first.blocking_recv().is_err() && second.blocking_recv().is_err());
        assert!(read_pool.push(Stream::new(1, b"c")).1.is_some(), "the next one has a reader");
    }
}
