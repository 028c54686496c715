//! The access log: a JSON line for each request.
//!
//! A line has nothing in it that a client can choose but the request id and the trace id, whose alphabet is safe, and
//! no query, path or id: so no secret, whatever is sent where. A thread of its own writes the lines, so a reader that
//! is slow, or none, keeps no request waiting: lines are left out, and counted.
//!
//! Depends on its neighbours, `domain` and `governor`.

use std::{
    fmt,
    io::{self, BufWriter, Write},
    iter,
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use axum::http::{Method, StatusCode};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::Serialize;

use super::{bodies::time, peer::Peer};
use crate::domain::{account::Role, entity::Timestamp};

/// Lines that wait to be written, about 300 bytes each: a second's worth of a fast shop.
const LINES_WAITING_MAX: usize = 4_096;
/// How long [`AccessLog::flush`] waits at most.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Writes a line for each request, as many a second as it may. The program hands it to the router.
pub struct AccessLog {
    queue: SyncSender<Entry>,
    quota: DefaultDirectRateLimiter,
    left_out: Arc<LeftOutCounts>,
}

type LeftOutCounts = [AtomicU64; LeftOut::ALL.len()];

enum Entry {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// Why a line was left out.
#[derive(Debug, Clone, Copy)]
pub(super) enum LeftOut {
    /// There were too many in this second.
    Rate,
    /// The reader does not keep up.
    Queue,
    /// It could not be written: the reader has gone, or the disk is full.
    Write,
}

impl LeftOut {
    pub(super) const ALL: [Self; 3] = [Self::Rate, Self::Queue, Self::Write];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Queue => "queue",
            Self::Write => "write",
        }
    }
}

/// What is known of a request when its answer begins.
pub(super) struct Answered<'a> {
    pub(super) at: Timestamp,
    pub(super) method: &'a Method,
    /// The template of its route.
    pub(super) route: &'a str,
    pub(super) status: StatusCode,
    /// Of the body; `None` for a stream, whose end nobody knows.
    pub(super) bytes: Option<u64>,
    pub(super) took: Duration,
    pub(super) peer: Option<Peer>,
    /// Of the account that sent it. Its id is not written: it would tell what a person did.
    pub(super) role: Option<Role>,
    pub(super) request_id: &'a str,
    pub(super) trace_id: &'a str,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    method: &'a str,
    route: &'a str,
    status: u16,
    bytes: Option<u64>,
    milliseconds: f64,
    peer: Option<IpAddr>,
    role: Option<Role>,
    request_id: &'a str,
    trace_id: &'a str,
}

impl AccessLog {
    /// Writes to `out`, at most so many lines a second.
    ///
    /// # Errors
    /// There is no thread left for it.
    pub fn new(lines_per_second: NonZeroU32, out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, entries) = mpsc::sync_channel(LINES_WAITING_MAX);
        let left_out = Arc::<LeftOutCounts>::default();
        let counts = Arc::clone(&left_out);
        let writer = move || write(&entries, BufWriter::new(out), &counts[LeftOut::Write as usize]);
        thread::Builder::new().name("access-log".to_owned()).spawn(writer)?;
        let quota = RateLimiter::direct(Quota::per_second(lines_per_second));
        Ok(Self { queue, quota, left_out })
    }

    /// Waits, for a second at most, until the lines that were told are written.
    pub fn flush(&self) {
        let (done, written) = mpsc::sync_channel(1);
        if self.queue.try_send(Entry::Flush(done)).is_ok() {
            // Time is up, or the writer has ended: in both cases nothing more can be done.
            let _ = written.recv_timeout(FLUSH_MAX);
        }
    }

    pub(super) fn tell(&self, answered: &Answered<'_>) {
        if self.quota.check().is_err() {
            return self.count(LeftOut::Rate);
        }
        let line = Line {
            time: time(answered.at),
            method: name(answered.method),
            route: answered.route,
            status: answered.status.as_u16(),
            bytes: answered.bytes,
            milliseconds: answered.took.as_micros() as f64 / 1e3,
            peer: answered.peer.map(IpAddr::from),
            role: answered.role,
            request_id: answered.request_id,
            trace_id: answered.trace_id,
        };
        // Texts and numbers can always be written.
        let Ok(mut line) = serde_json::to_vec(&line) else { return };
        line.push(b'\n');
        if self.queue.try_send(Entry::Line(line)).is_err() {
            self.count(LeftOut::Queue);
        }
    }

    fn count(&self, why: LeftOut) {
        self.left_out[why as usize].fetch_add(1, Relaxed);
    }

    /// How many lines were left out.
    pub(super) fn left_out(&self, why: LeftOut) -> u64 {
        self.left_out[why as usize].load(Relaxed)
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("left_out", &self.left_out).finish_non_exhaustive()
    }
}

/// A client can send any method; those that HTTP does not have are all called the same.
fn name(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    }
}

/// Writes the lines until the log is dropped, and flushes whenever none waits. Lines that cannot be written are lost:
/// `lost` counts those at which an error shows, of a full buffer at least one.
fn write(entries: &Receiver<Entry>, mut out: impl Write, lost: &AtomicU64) {
    while let Ok(first) = entries.recv() {
        for entry in iter::once(first).chain(entries.try_iter()) {
            match entry {
                Entry::Line(line) => count_error(&out.write_all(&line), lost),
                Entry::Flush(done) => {
                    count_error(&out.flush(), lost);
                    let _ = done.try_send(());
                }
            }
        }
        count_error(&out.flush(), lost);
    }
}

fn count_error(written: &io::Result<()>, lost: &AtomicU64) {
    if written.is_err() {
        lost.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// A reader that can be made to wait.
    #[derive(Clone, Default)]
    struct Reader(Arc<Mutex<Vec<u8>>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answered(method: &Method) -> Answered<'_> {
        Answered {
            at: Timestamp(1_790_000_000_123),
            method,
            route: "/products/{product_id}",
            status: StatusCode::OK,
            bytes: Some(712),
            took: Duration::from_micros(530),
            peer: Some(IpAddr::from([192, 0, 2, 1]).into()),
            role: Some(Role::Customer),
            request_id: "r1",
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
        }
    }

    fn log(lines_per_second: u32) -> (AccessLog, Reader) {
        let reader = Reader::default();
        (AccessLog::new(NonZeroU32::new(lines_per_second).unwrap(), reader.clone()).unwrap(), reader)
    }

    #[test]
    fn a_request_is_a_line_of_json() {
        let (log, reader) = log(10);
        log.tell(&answered(&Method::GET));
        log.tell(&answered(&"SECRET".parse().unwrap()));
        log.flush();
        let written = String::from_utf8(reader.0.lock().clone()).unwrap();
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"time":"2026-09-21T14:13:20.123Z","method":"GET","route":"/products/{product_id}","status":200,"bytes":712,"milliseconds":0.53,"peer":"192.0.2.1","role":"customer","request_id":"r1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}"#
        );
        assert!(lines.len() == 2 && lines[1].contains(r#""method":"other""#), "{lines:?}");
    }

    #[test]
    fn lines_beyond_the_rate_are_left_out_and_counted() {
        let (log, reader) = log(3);
        for _ in 0..10 {
            log.tell(&answered(&Method::GET));
        }
        log.flush();
        assert_eq!(String::from_utf8_lossy(&reader.0.lock()).lines().count(), 3);
        assert_eq!(LeftOut::ALL.map(|why| log.left_out(why)), [7, 0, 0]);
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = AccessLog::new(NonZeroU32::new(10).unwrap(), Gone).unwrap();
        log.tell(&answered(&Method::GET));
        log.flush();
        assert!(log.left_out(LeftOut::Write) > 0);
    }

    #[test]
    fn a_reader_that_stands_still_keeps_nobody_waiting() {
        let (log, reader) = log(1_000_000);
        let held = reader.0.lock();
        let told = 2 * LINES_WAITING_MAX;
        (0..told).for_each(|_| log.tell(&answered(&Method::GET)));
        let left_out = log.left_out(LeftOut::Queue);
        assert!(left_out > 0, "the queue has an end");
        drop(held);
        let written = || String::from_utf8_lossy(&reader.0.lock()).lines().count() as u64;
        let began = std::time::Instant::now();
        while written() + left_out < told as u64 && began.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(written() + left_out, told as u64);
    }
}
