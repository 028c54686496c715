//! What a server counts for the metrics: connections, why it ended them, and what was not HTTP.
//!
//! Depends on its neighbours.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::{bad_http::BadHttp, connection::Cause};

/// The counts of a server. They are shown by the router that has them in its [`Program`](crate::http::Program).
#[derive(Debug, Default)]
pub struct Figures {
    open: AtomicUsize,
    accepted: AtomicU64,
    ended: [AtomicU64; Cause::ALL.len()],
    bad_http: [AtomicU64; BadHttp::ALL.len()],
    handshakes_failed: AtomicU64,
    certificates_replaced: AtomicU64,
    certificates_refused: AtomicU64,
}

impl Figures {
    pub(super) fn opened(&self, open: usize) {
        self.accepted.fetch_add(1, Relaxed);
        self.open.store(open, Relaxed);
    }

    pub(super) fn closed(&self, open: usize) {
        self.open.store(open, Relaxed);
    }

    pub(super) fn ended(&self, cause: Cause) {
        count(&self.ended, &Cause::ALL, &cause);
    }

    pub(super) fn refused(&self, what: BadHttp) {
        count(&self.bad_http, &BadHttp::ALL, &what);
    }

    #[cfg(feature = "tls")]
    pub(super) fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Relaxed);
    }

    #[cfg(feature = "tls")]
    pub(super) fn certificate_replaced(&self) {
        self.certificates_replaced.fetch_add(1, Relaxed);
    }

    #[cfg(feature = "tls")]
    pub(super) fn certificate_refused(&self) {
        self.certificates_refused.fetch_add(1, Relaxed);
    }

    /// How many TLS handshakes have failed.
    pub(in crate::http) fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.load(Relaxed)
    }

    /// How often another certificate was found, by what became of it.
    pub(in crate::http) fn certificates_by_outcome(&self) -> [(&'static str, u64); 2] {
        let (replaced, refused) = (&self.certificates_replaced, &self.certificates_refused);
        [("replaced", replaced.load(Relaxed)), ("refused", refused.load(Relaxed))]
    }

    /// How many connections are open.
    pub(in crate::http) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// How many connections were accepted.
    pub(in crate::http) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// How many connections the server has ended, by cause.
    pub(in crate::http) fn ended_by_cause(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Cause::ALL.iter().zip(&self.ended).map(|(cause, count)| (cause.name(), count.load(Relaxed)))
    }

    /// How many requests were refused because they are not what HTTP asks for.
    pub(in crate::http) fn bad_http_by_fault(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        BadHttp::ALL.iter().zip(&self.bad_http).map(|(fault, count)| (fault.name(), count.load(Relaxed)))
    }
}

fn count<T: PartialEq>(counts: &[AtomicU64], all: &[T], one: &T) {
    if let Some((_, count)) = all.iter().zip(counts).find(|(each, _)| *each == one) {
        count.fetch_add(1, Relaxed);
    }
}
