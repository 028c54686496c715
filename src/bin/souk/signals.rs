//! The signals of a process: which of them end it, and which must not.
//!
//! By default most signals end a process at once, and so without a drain. Depends on `tokio` and `rustix`.

use std::{future::poll_fn, io, task::Poll};

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// They ask a server to end: of supervisors, of Ctrl-C, of Ctrl-\, and when the power fails.
const STOPS: [Number; 4] = [Number::TERM, Number::INT, Number::QUIT, Number::POWER];
/// They mean nothing to the shop. A pipe that nobody reads ends no Rust program.
const MEANINGLESS: [Number; 9] = [
    Number::USR1,
    Number::USR2,
    Number::ALARM,
    Number::VTALARM,
    Number::PROF,
    Number::IO,
    Number::STKFLT,
    Number::XCPU,
    Number::XFSZ,
];
/// Those that programs give a meaning of their own, as Linux numbers them.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Requests to end.
pub(crate) struct Stops(Vec<Signal>);

impl Stops {
    /// From now on these signals end the process only when the program does so.
    pub(crate) fn new() -> io::Result<Self> {
        STOPS.into_iter().map(|number| signal(kind(number))).collect::<Result<_, _>>().map(Self)
    }

    /// Resolves at the next one.
    pub(crate) async fn next(&mut self) {
        poll_fn(|cx| {
            let has_come = self.0.iter_mut().any(|signal| signal.poll_recv(cx).is_ready());
            if has_come { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// From now on signals that mean nothing do nothing.
pub(crate) fn ignore_the_meaningless() {
    // A handler stays when its stream is dropped. A number that the system does not have does no harm.
    let _ = MEANINGLESS.map(|number| signal(kind(number)));
    REAL_TIME.for_each(|number| drop(signal(SignalKind::from_raw(number))));
}

/// Requests to read settings again.
pub(crate) fn hangups() -> io::Result<Signal> {
    signal(kind(Number::HUP))
}

fn kind(number: Number) -> SignalKind {
    SignalKind::from_raw(number.as_raw())
}
