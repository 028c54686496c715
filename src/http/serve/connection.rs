//! One connection, as its limits see it: how far its requests and answers are, and when it has to end.
//!
//! The wrapper of its socket and the service note what happens, each with a few relaxed atomics; the sweeper of
//! [`Connections`](super::connections::Connections) reads them ten times a second. So no read and no write arms a
//! timer.
//!
//! Depends on `config`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::Context,
    time::Instant,
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::config::Limits;

/// How many bytes of answers may wait for the client of an HTTP/2 connection before its next request begins. HTTP/1.1
/// has one answer under way at a time.
const UNSENT_BYTES_MAX: u64 = 64 * 1024;
/// How long a connection that was told to end may take, in milliseconds.
const LEAVE_MS_MAX: u64 = 2_000;

/// The time since the server began, in milliseconds: exact to a tick of the sweeper, and cheap to read.
#[derive(Debug)]
pub(super) struct Clock {
    began: Instant,
    now_ms: AtomicU64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), now_ms: AtomicU64::new(1) }
    }

    pub(super) fn tick(&self) -> u64 {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        self.now_ms.store(now, Relaxed);
        now
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms.load(Relaxed)
    }
}

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Cause {
    /// The TLS handshake did not end in time.
    SlowHandshake = 1,
    /// The head of a request did not arrive in time.
    SlowHead,
    /// The client does not take its answers.
    SlowReader,
    /// All connections together have too many bytes of answers that wait for their clients.
    Unread,
    /// There are too many connections, of this peer or in all, and this one has been idle for longest.
    TooMany,
    /// There was no request for a while.
    Idle,
    /// The server stops.
    Stop,
}

impl Cause {
    pub(super) const ALL: [Self; 7] =
        [Self::SlowHandshake, Self::SlowHead, Self::SlowReader, Self::Unread, Self::TooMany, Self::Idle, Self::Stop];

    /// The label in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SlowHandshake => "slow_handshake",
            Self::SlowHead => "slow_head",
            Self::SlowReader => "slow_reader",
            Self::Unread => "unread",
            Self::TooMany => "too_many",
            Self::Idle => "idle",
            Self::Stop => "stop",
        }
    }

    fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| *cause as u8 == code)
    }
}

/// What the first bytes of a connection say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Protocol {
    /// They may become the preface of HTTP/2.
    Undecided,
    Http1,
    Http2,
}

/// How far the next request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// The TLS handshake is under way.
    Handshake,
    /// The connection has brought nothing yet.
    Fresh,
    /// A head has begun.
    Head,
    /// There was a request, or the preface of HTTP/2.
    Idle,
}

/// What begins with some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// The head of a request.
    Head,
    /// They go on with a head or a body.
    Nothing,
}

/// A client that takes its answers too slowly, as the sweeper sees it.
#[derive(Debug, Clone, Copy)]
struct Behind {
    /// Since when bytes of answers wait for it.
    first_ms: u64,
    /// The beginning of the period in which it must take its least, and what it had taken then.
    period_ms: u64,
    taken: Taken,
}

/// What a client has taken of its answers, in two measures.
#[derive(Debug, Clone, Copy)]
struct Taken {
    /// What HTTP/2 has taken from the service, for which the client must have opened its window.
    handed_over: u64,
    /// What was written; on HTTP/2 less what was read, because a client could have its pings answered for ever.
    written: i64,
}

/// The state of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    clock: Arc<Clock>,
    protocol: AtomicU8,
    stage: AtomicU8,
    /// Since when it waits for what `stage` says.
    since_ms: AtomicU64,
    /// When it was accepted, or bytes were last written to it.
    active_ms: AtomicU64,
    /// Requests whose answers have not been handed to hyper whole.
    requests: AtomicU32,
    /// Whether an answer of the service is still to be written.
    answering: AtomicBool,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    handed_over: AtomicU64,
    /// Bytes of answers that hyper has not taken yet.
    unsent: AtomicU64,
    /// Bytes of answers that hyper has taken and not written yet; too many after HTTP/2 streams were reset.
    buffered: AtomicU64,
    /// Requests that wait until `unsent` has gone down.
    waiting: AtomicU32,
    room: Notify,
    behind: Mutex<Option<Behind>>,
    leaving_ms: AtomicU64,
    leave: AtomicU8,
    cut: AtomicU8,
    waker: AtomicWaker,
}

/// What the task of a connection has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    GoOn,
    /// End after the requests in flight.
    Leave,
    /// End now.
    Cut(Cause),
}

impl Connection {
    pub(super) fn new(clock: Arc<Clock>) -> Self {
        let now = clock.now_ms();
        Self {
            clock,
            protocol: AtomicU8::new(Protocol::Undecided as u8),
            stage: AtomicU8::new(Stage::Fresh as u8),
            since_ms: AtomicU64::new(now),
            active_ms: AtomicU64::new(now),
            requests: AtomicU32::new(0),
            answering: AtomicBool::new(false),
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            handed_over: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            buffered: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            room: Notify::new(),
            behind: Mutex::new(None),
            leaving_ms: AtomicU64::new(0),
            leave: AtomicU8::new(0),
            cut: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    pub(super) fn is(&self, protocol: Protocol) -> bool {
        self.protocol.load(Relaxed) == protocol as u8
    }

    fn is_at(&self, stage: Stage) -> bool {
        self.stage.load(Relaxed) == stage as u8
    }

    /// A TLS handshake comes before everything else.
    #[cfg(feature = "tls")]
    pub(super) fn begins_handshake(&self) {
        self.stage.store(Stage::Handshake as u8, Relaxed);
    }

    /// The TLS handshake is over, and the first request may come.
    #[cfg(feature = "tls")]
    pub(super) fn ended_handshake(&self) {
        self.since_ms.store(self.clock.now_ms(), Relaxed);
        self.stage.store(Stage::Fresh as u8, Relaxed);
    }

    /// The first bytes have said which protocol this is.
    pub(super) fn speaks(&self, protocol: Protocol) {
        self.protocol.store(protocol as u8, Relaxed);
        if protocol == Protocol::Http2 {
            self.stage.store(Stage::Idle as u8, Relaxed);
        }
    }

    /// Bytes have arrived. Whether a head begins with them.
    pub(super) fn received(&self, bytes: usize) -> Begins {
        self.bytes_read.fetch_add(bytes as u64, Relaxed);
        if self.is_at(Stage::Fresh) {
            self.stage.store(Stage::Head as u8, Relaxed);
            return Begins::Head;
        }
        if self.is_at(Stage::Idle) && self.is(Protocol::Http1) && self.requests.load(Relaxed) == 0 {
            self.stage.store(Stage::Head as u8, Relaxed);
            self.since_ms.store(self.clock.now_ms(), Relaxed);
            return Begins::Head;
        }
        Begins::Nothing
    }

    /// Whether a head has begun that is not whole.
    pub(super) fn has_part_of_a_head(&self) -> bool {
        self.is_at(Stage::Head) && self.is(Protocol::Http1) && self.requests.load(Relaxed) == 0
    }

    /// Bytes were written to the socket.
    pub(super) fn wrote(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.bytes_written.fetch_add(bytes, Relaxed);
        self.active_ms.store(self.clock.now_ms(), Relaxed);
        // Only the connection's own task subtracts, so this cannot go below zero.
        self.buffered.fetch_sub(self.buffered.load(Relaxed).min(bytes), Relaxed);
    }

    /// Everything that hyper has was written.
    pub(super) fn flushed(&self) {
        if self.answering.load(Relaxed) && self.requests.load(Relaxed) == 0 {
            self.answering.store(false, Relaxed);
        }
    }

    /// Whether what is written is no answer of the service: hyper itself answers what it cannot read.
    pub(super) fn is_unasked(&self) -> bool {
        self.is(Protocol::Http1) && !self.answering.load(Relaxed) && self.requests.load(Relaxed) == 0
    }

    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        self.requests.fetch_add(1, Relaxed);
        self.answering.store(true, Relaxed);
        self.stage.store(Stage::Idle as u8, Relaxed);
        Exchange(Arc::clone(self))
    }

    /// How many bytes of answers wait for the client.
    pub(super) fn owed(&self) -> u64 {
        self.unsent.load(Relaxed).saturating_add(self.buffered.load(Relaxed))
    }

    pub(super) fn active_ms(&self) -> u64 {
        self.active_ms.load(Relaxed)
    }

    /// Since when bytes of answers wait for the client.
    pub(super) fn behind_since_ms(&self) -> Option<u64> {
        self.behind.lock().map(|behind| behind.first_ms)
    }

    /// Why the connection has to end now, if it has to.
    pub(super) fn overdue(&self, now_ms: u64, limits: &Limits) -> Option<Cause> {
        let requests = self.requests.load(Relaxed);
        if self.is_too_slow(now_ms, limits) {
            // What HTTP/2 has buffered may be of a stream that was reset: such a connection ends in a way that loses
            // no request.
            if self.is(Protocol::Http1) || self.unsent.load(Relaxed) > 0 {
                return Some(Cause::SlowReader);
            }
            if requests == 0 && self.leave.load(Relaxed) == 0 {
                return Some(Cause::Idle);
            }
        }
        if requests > 0 {
            return None;
        }
        if let Some(cause) = Cause::of(self.leave.load(Relaxed)) {
            let since = self.leaving_ms.load(Relaxed).max(self.since_ms.load(Relaxed));
            return (now_ms.saturating_sub(since) > LEAVE_MS_MAX).then_some(cause);
        }
        let (ms_max, cause) = if self.is_at(Stage::Idle) {
            (limits.keep_alive_ms_max, Cause::Idle)
        } else if self.is_at(Stage::Handshake) {
            (limits.handshake_ms_max, Cause::SlowHandshake)
        } else {
            (limits.header_ms_max, Cause::SlowHead)
        };
        (now_ms.saturating_sub(self.since_ms.load(Relaxed)) > ms_max).then_some(cause)
    }

    /// Whether the client has taken less than the least rate during the last `write_ms_max`.
    fn is_too_slow(&self, now_ms: u64, limits: &Limits) -> bool {
        let mut behind = self.behind.lock();
        if self.owed() == 0 {
            *behind = None;
            return false;
        }
        let read = if self.is(Protocol::Http2) { self.bytes_read.load(Relaxed) } else { 0 };
        let taken = Taken {
            handed_over: self.handed_over.load(Relaxed),
            written: self.bytes_written.load(Relaxed).cast_signed() - read.cast_signed(),
        };
        let Some(begun) = &mut *behind else {
            *behind = Some(Behind { first_ms: now_ms, period_ms: now_ms, taken });
            return false;
        };
        let elapsed_ms = now_ms.saturating_sub(begun.period_ms);
        if elapsed_ms < limits.write_ms_max {
            return false;
        }
        let progress = if self.is(Protocol::Http2) && self.unsent.load(Relaxed) > 0 {
            (taken.handed_over - begun.taken.handed_over).cast_signed()
        } else {
            taken.written - begun.taken.written
        };
        *begun = Behind { period_ms: now_ms, taken, ..*begun };
        progress < (limits.bytes_per_second_min.saturating_mul(elapsed_ms) / 1_000).cast_signed()
    }

    /// Tells the task of the connection to end it after the requests in flight.
    pub(super) fn leave(&self, cause: Cause) {
        self.leaving_ms.store(self.clock.now_ms(), Relaxed);
        self.leave.store(cause as u8, Relaxed);
        self.waker.wake();
    }

    /// Tells the task of the connection to end it now. Whether this is the first time.
    pub(super) fn cut(&self, cause: Cause) -> bool {
        let is_first = self.cut.compare_exchange(0, cause as u8, Relaxed, Relaxed).is_ok();
        self.waker.wake();
        is_first
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Relaxed) != 0
    }

    pub(super) fn is_cut_for(&self, cause: Cause) -> bool {
        self.cut.load(Relaxed) == cause as u8
    }

    /// Whether it was told to end after the requests in flight.
    pub(super) fn is_leaving(&self) -> bool {
        self.leave.load(Relaxed) != 0
    }

    /// What the task of the connection has to do; the task is woken when that changes.
    pub(super) fn order(&self, context: &Context<'_>) -> Order {
        self.waker.register(context.waker());
        match Cause::of(self.cut.load(Relaxed)) {
            Some(cause) => Order::Cut(cause),
            None if self.is_leaving() => Order::Leave,
            None => Order::GoOn,
        }
    }
}

/// A request in flight, until its answer was handed to hyper whole, or until both are dropped.
#[derive(Debug)]
pub(super) struct Exchange(Arc<Connection>);

impl Exchange {
    /// Waits until the client has taken its earlier answers.
    pub(super) async fn room(&self) {
        if self.0.unsent.load(Relaxed) <= UNSENT_BYTES_MAX {
            return;
        }
        let _waits = Waits::of(&self.0.waiting);
        while self.0.unsent.load(Relaxed) > UNSENT_BYTES_MAX {
            self.0.room.notified().await;
        }
    }

    pub(super) fn is(&self, protocol: Protocol) -> bool {
        self.0.is(protocol)
    }

    /// Bytes of the answer that are ready, and that hyper has not taken.
    pub(super) fn owe(&self, bytes: u64) {
        self.0.unsent.fetch_add(bytes, Relaxed);
    }

    /// Bytes of the answer that hyper has taken.
    pub(super) fn hand_over(&self, bytes: u64) {
        self.0.handed_over.fetch_add(bytes, Relaxed);
        self.0.buffered.fetch_add(bytes, Relaxed);
        self.forgive(bytes);
    }

    /// Bytes of the answer that nobody will take.
    pub(super) fn forgive(&self, bytes: u64) {
        self.0.unsent.fetch_sub(bytes, Relaxed);
        if self.0.waiting.load(Relaxed) > 0 {
            self.0.room.notify_one();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.since_ms.store(self.0.clock.now_ms(), Relaxed);
        self.0.requests.fetch_sub(1, Relaxed);
        if self.0.waiting.load(Relaxed) > 0 {
            self.0.room.notify_one();
        }
    }
}

/// Counts a request that waits, even if it is given up.
struct Waits<'a>(&'a AtomicU32);

impl<'a> Waits<'a> {
    fn of(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
