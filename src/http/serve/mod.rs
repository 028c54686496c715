//! Serves a router on a socket until told to stop, then lets the requests at work finish.
//!
//! `axum::serve` installs no timer, so its header time-out never fires and a slow client could hold a connection for
//! ever; hence hyper-util, with limits on connections, headers and streams.
//!
//! May depend on `config`.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use axum::{Router, http::Request, response::Response};
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};

use super::peer::Origin;
use crate::{
    config::{Config, Limits, Networks},
    log_throttle::Throttle,
};

/// How long to wait after the system could not give us a connection (no file descriptors), in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 50;
/// How many requests one HTTP/2 connection may have at work.
const STREAMS_MAX: u32 = 256;
/// How often a silent HTTP/2 client is asked whether it is there, in seconds.
const PING_SECONDS: u64 = 30;

/// A server with its limits, and the proxies that it trusts.
#[derive(Debug, Clone)]
pub struct Server {
    limits: Limits,
    trusted_proxies: Arc<Networks>,
}

/// Serves `router` on `listener` until `stop` resolves, with no proxy in front.
pub async fn serve(router: Router, listener: TcpListener, limits: &Limits, stop: impl Future<Output = ()>) -> Drained {
    Server { limits: limits.clone(), trusted_proxies: Arc::default() }.serve(router, listener, stop).await
}

impl Server {
    /// A server for a shop with this configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { limits: config.limits.clone(), trusted_proxies: Arc::new(config.trusted_proxies.clone()) }
    }

    /// Serves `router` on `listener` until `stop` resolves; then stops accepting and waits for the requests at work, at
    /// most `drain_ms_max`. Whether all of them finished.
    pub async fn serve(self, router: Router, listener: TcpListener, stop: impl Future<Output = ()>) -> Drained {
        let Self { limits, trusted_proxies } = self;
        let mut server = auto::Builder::new(TokioExecutor::new());
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(limits.header_ms_max))
            .pipeline_flush(true)
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .keep_alive_interval(Duration::from_secs(PING_SECONDS));
        let server = Arc::new(server);
        let connections = Arc::new(Semaphore::new(limits.connections_max));
        let graceful = GracefulShutdown::new();
        let refused = Throttle::new();
        tokio::pin!(stop);
        loop {
            let place = tokio::select! {
                place = Arc::clone(&connections).acquire_owned() => place,
                () = &mut stop => break,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stop => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(left_out) = refused.next_line() {
                        tracing::warn!(%error, left_out, "a connection could not be accepted");
                    }
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                    continue;
                }
            };
            // Answers are small and complete: waiting for more to send would only delay them.
            let _ = stream.set_nodelay(true);
            let origin = Origin::of(address.ip(), &trusted_proxies);
            let service = WithPeer { router: TowerToHyperService::new(router.clone()), origin };
            let (server, watcher) = (Arc::clone(&server), graceful.watcher());
            tokio::spawn(async move {
                let connection = server.serve_connection(TokioIo::new(stream), service);
                // What a client does to its connection is its own affair.
                let _ = watcher.watch(connection).await;
                drop(place);
            });
        }
        drop(listener);
        let drain = Duration::from_millis(limits.drain_ms_max);
        match tokio::time::timeout(drain, graceful.shutdown()).await {
            Ok(()) => Drained::All,
            Err(_) => Drained::TimedOut,
        }
    }
}

/// The router, with the peer in the extensions of each request.
struct WithPeer {
    router: TowerToHyperService<Router>,
    origin: Origin,
}

impl Service<Request<Incoming>> for WithPeer {
    type Response = Response;
    type Error = Infallible;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(peer) = self.origin.peer(request.headers()) {
            request.extensions_mut().insert(peer);
        }
        self.router.call(request)
    }
}

/// Whether all requests at work finished before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// They did.
    All,
    /// Some were cut off.
    TimedOut,
}
