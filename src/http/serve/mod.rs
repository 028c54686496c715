//! Serves a router on a socket until told to stop, then lets the requests in flight finish.
//!
//! `axum::serve` has no limits, and hyper has none for a connection that is silent, for answers that nobody reads, and
//! for the number of connections. So each connection has a state that says what it waits for, and one sweeper ends
//! those whose time is up (docs/adr/0019-limits-of-the-edge.md).
//!
//! ```text
//!  accept ─▶ Connections: a place ─▶ task: TLS ─▶ Watched socket ─▶ hyper ─▶ service ─▶ router
//!                  ▲                        │            │ notes what happens        │
//!               sweeper ◀────────────── Connection ◀─────┴───────────────────────────┘
//! ```
//!
//! May depend on `config`.

mod answer;
mod bad_http;
mod connection;
mod connections;
mod figures;
mod io;
mod task;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;

use std::{future::Future, sync::Arc, time::Duration};

use axum::{Router, http::HeaderValue};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub use self::figures::Figures;
#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsError, TlsFiles};
use self::{connections::Connections, task::Shared};
use super::peer::Origin;
use crate::{
    config::{Config, Limits, Networks},
    log_throttle::Throttle,
};

/// How long to wait after the system could not give us a connection (no file descriptors), in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 50;
/// The longest head of an HTTP/1 request, in bytes, and how much is read ahead of the request in flight.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The longest head of an HTTP/2 request, in bytes.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// How many requests one HTTP/2 connection may have in flight: the least that RFC 9113 recommends.
const STREAMS_MAX: u32 = 100;
/// How many bytes of one HTTP/2 body, and of all bodies of a connection, may arrive before somebody reads them.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// How many bytes of an answer HTTP/2 buffers within the client's window.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// How many bytes of answers the system buffers for one connection; it doubles this for its own needs. By itself it
/// would take some megabytes for a client that does not read.
const SYSTEM_SEND_BYTES: usize = 256 * 1024;
/// After so many streams that the client has reset, or that were reset for its errors, an HTTP/2 connection ends.
const RESETS_MAX: usize = 20;
const ERROR_RESETS_MAX: usize = 100;
/// How many connections the listener for operators may have: people and scrapers need a few.
const OPERATORS_CONNECTIONS_MAX: usize = 64;
/// How often a silent HTTP/2 client is asked whether it is there, and how long its answer may take, in seconds.
const PING_SECONDS: u64 = 30;
const PONG_SECONDS_MAX: u64 = 10;

/// A server with its limits, and the proxies that it trusts.
#[derive(Debug, Clone)]
pub struct Server {
    limits: Limits,
    trusted_proxies: Arc<Networks>,
    figures: Arc<Figures>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<Tls>>,
}

/// Serves `router` on `listener` until `stop` resolves, with no proxy in front.
pub async fn serve(router: Router, listener: TcpListener, limits: &Limits, stop: impl Future<Output = ()>) -> Drained {
    Server::with(limits.clone(), Networks::default()).serve(router, listener, stop).await
}

impl Server {
    /// A server for a shop with this configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::with(config.limits.clone(), config.trusted_proxies.clone())
    }

    fn with(limits: Limits, trusted_proxies: Networks) -> Self {
        Self {
            limits,
            trusted_proxies: Arc::new(trusted_proxies),
            figures: Arc::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// A server for the operators of a shop with this configuration: its few connections are its own.
    #[must_use]
    pub fn for_operators(config: &Config) -> Self {
        let (connections_max, connections_per_peer_max) = (OPERATORS_CONNECTIONS_MAX, OPERATORS_CONNECTIONS_MAX);
        let limits = Limits { connections_max, connections_per_peer_max, ..config.limits.clone() };
        Self::with(limits, config.trusted_proxies.clone())
    }

    /// The same with TLS: whoever does not speak it gets an error.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(self, tls: Arc<Tls>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// What it counts, to be shown by the router.
    #[must_use]
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Serves `router` on `listener` until `stop` resolves; then stops accepting and waits for the requests in flight,
    /// at most `drain_ms_max`. Whether all of them finished.
    pub async fn serve(self, router: Router, listener: TcpListener, stop: impl Future<Output = ()>) -> Drained {
        let Self { limits, trusted_proxies, figures, .. } = self;
        let keep_alive = format!("timeout={}", limits.keep_alive_ms_max / 1_000);
        let shared = Shared {
            http: Arc::new(http()),
            router: TowerToHyperService::new(router),
            figures: Arc::clone(&figures),
            keep_alive: HeaderValue::from_str(&keep_alive).unwrap_or_else(|_| HeaderValue::from_static("timeout=5")),
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
        };
        #[cfg(feature = "tls")]
        let _watch = self.tls.map(|tls| AbortOnDropHandle::new(tokio::spawn(tls.watch(Arc::clone(&figures)))));
        let drain = Duration::from_millis(limits.drain_ms_max);
        let connections = Connections::new(limits, figures);
        let _sweeper = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&connections).sweep()));
        let tasks = TaskTracker::new();
        // Accepted sockets inherit it. Without it answers that nobody reads take more of the system's memory.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&listener, SYSTEM_SEND_BYTES);
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &trusted_proxies) => accepted,
                () = &mut stop => break,
            };
            let (stream, origin) = accepted;
            let place = tokio::select! {
                place = connections.admit(origin.limited()) => place,
                () = &mut stop => break,
            };
            let shared = shared.clone();
            tasks.spawn(async move { shared.accept(stream, origin, Arc::clone(&place.connection)).await });
        }
        drop(listener);
        connections.stop();
        tasks.close();
        match tokio::time::timeout(drain, tasks.wait()).await {
            Ok(()) => Drained::All,
            Err(_) => {
                connections.cut_all();
                Drained::TimedOut
            }
        }
    }
}

/// The next connection, and where it comes from.
async fn accept(listener: &TcpListener, trusted_proxies: &Arc<Networks>) -> (TcpStream, Origin) {
    static REFUSED: Throttle = Throttle::new();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Answers are small and complete: waiting for more to send would only delay them.
                let _ = stream.set_nodelay(true);
                return (stream, Origin::of(address.ip(), trusted_proxies));
            }
            Err(error) => {
                if let Some(left_out) = REFUSED.next_line() {
                    tracing::warn!(%error, left_out, "a connection could not be accepted");
                }
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}

/// hyper with the limits that it has. Its own timer for heads would also end connections that are idle between
/// requests, so that is the sweeper's work.
fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_MAX)
        .keep_alive_interval(Duration::from_secs(PING_SECONDS))
        .keep_alive_timeout(Duration::from_secs(PONG_SECONDS_MAX));
    http
}

/// Whether all requests in flight finished before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request in flight was answered.
    All,
    /// Some were cut off at the end of `drain_ms_max`.
    TimedOut,
}
