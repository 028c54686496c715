//! The read pool: streams to be read, and the threads that read them.
//!
//! A read may wait for the disk or for sled's lock, which the threads of requests must not. Handing it over costs more than most
//! reads: so who has read one stream goes on with the next, and one hand-over serves all who wait. Depends on `record` and
//! `errors`.

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

/// How many may wait for each reader before another one helps: so few that a read that waits for the disk holds up a handful, so
/// many that readers do not take the processor from each other where nobody waits for the disk.
const WAITING_FOR_ONE: usize = 8;

/// What a load comes to.
pub(super) type Answer = Result<Loaded, LoadError>;

/// The loads of a journal. As many can wait as there are callers, who are bounded elsewhere.
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

/// A stream that somebody waits for.
#[derive(Debug)]
struct Load {
    stream: Stream,
    answer: oneshot::Sender<Answer>,
}

impl ReadPool {
    /// Reads by at most so many threads at once.
    pub(super) fn new(readers_max: usize) -> Arc<Self> {
        Arc::new(Self { line: Mutex::default(), readers_max })
    }

    /// Puts a stream in line. Where it takes a reader more, that is given out, and must be brought to a thread.
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

/// One who reads as long as somebody waits.
#[derive(Debug)]
pub(super) struct Reader {
    read_pool: Arc<ReadPool>,
    at_work: bool,
}

impl Reader {
    /// Reads until nobody waits.
    pub(super) fn serve(mut self, read: impl Fn(&Stream) -> Answer) {
        while let Some(Load { stream, answer }) = self.next() {
            // One that panics must not take along those behind it.
            let loaded = catch_unwind(AssertUnwindSafe(|| read(&stream)));
            // Who has gone meanwhile does not want it any more.
            let _ = answer.send(loaded.unwrap_or_else(|_| Err(unended(&stream))));
        }
    }

    /// The next load that somebody still waits for.
    fn next(&mut self) -> Option<Load> {
        let mut line = self.read_pool.line.lock();
        let waited_for = iter::from_fn(|| line.waiting.pop_front()).find(|load| !load.answer.is_closed());
        if waited_for.is_none() {
            // Under the same lock, so that who comes next starts another.
            self.at_work = false;
            line.readers -= 1;
        }
        waited_for
    }
}

impl Drop for Reader {
    /// A reader that never came to a thread: those who wait for nobody else learn that nobody comes.
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

/// A load whose reader was lost.
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
    fn nobody_waits_for_a_reader_that_never_came() {
        let read_pool = ReadPool::new(1);
        let (first, reader) = read_pool.push(Stream::new(1, b"a"));
        let (second, none) = read_pool.push(Stream::new(1, b"b"));
        assert!(none.is_none());
        drop(reader);
        assert!(first.blocking_recv().is_err() && second.blocking_recv().is_err());
        assert!(read_pool.push(Stream::new(1, b"c")).1.is_some(), "the next one has a reader");
    }
}
