//! The task of one connection: hyper, the service for each of its requests, and how it ends.
//!
//! Depends on its neighbours.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header},
};
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

#[cfg(feature = "tls")]
use super::tls::{self, Handshake, Tls};
use super::{
    super::peer::Origin,
    answer::Answer,
    bad_http::BadHttp,
    connection::{Cause, Connection, Exchange, Order, Protocol},
    figures::Figures,
    io::{Returned, Watched},
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// How long a connection may take to hear its last answer, in milliseconds. What arrives meanwhile is thrown away:
/// closing a socket with unread input destroys what was written to it.
const LINGER_MS: u64 = 1_000;
/// How much is thrown away at most, in bytes.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// What the tasks of all connections share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) http: Arc<auto::Builder<TokioExecutor>>,
    pub(super) router: TowerToHyperService<Router>,
    pub(super) figures: Arc<Figures>,
    /// The value of `Keep-Alive`.
    pub(super) keep_alive: HeaderValue,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Arc<Tls>>,
}

/// Why hyper has done with a connection.
enum End {
    /// By itself.
    Done(Option<BadHttp>),
    Cut(Cause),
}

impl Shared {
    /// Serves one connection to its end, from its TLS handshake on where there is TLS.
    pub(super) async fn accept(self, socket: TcpStream, origin: Origin, connection: Arc<Connection>) {
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls.clone() {
            match tls.handshake(socket, &connection).await {
                Handshake::Done(stream) => self.serve(stream, origin, connection).await,
                Handshake::Ended => {}
                Handshake::Failed(error) => {
                    self.figures.handshake_failed();
                    tls::log(origin.itself(), &error);
                }
                Handshake::IsHttp(socket) => {
                    self.figures.refused(BadHttp::WithoutTls);
                    BadHttp::WithoutTls.log(origin.itself());
                    farewell(socket, &connection, Some(BadHttp::WithoutTls)).await;
                }
            }
            return;
        }
        self.serve(socket, origin, connection).await;
    }

    async fn serve<S>(self, socket: S, origin: Origin, connection: Arc<Connection>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (watched, mut returned) = Watched::new(socket, Arc::clone(&connection));
        let peer = origin.itself();
        let end = self.run(watched, origin, &connection).await;
        let Ok(Returned { mut socket, has_ended, owes_answer, is_in_first_line }) = returned.try_recv() else { return };
        let fault = match end {
            End::Done(Some(BadHttp::HeadTooLarge)) if is_in_first_line => Some(BadHttp::UriTooLong),
            End::Done(fault) => fault,
            End::Cut(Cause::SlowHead) if connection.has_part_of_a_head() => Some(BadHttp::SlowHead),
            End::Cut(_) => return,
        };
        if let Some(fault) = fault {
            self.figures.refused(fault);
            fault.log(peer);
        }
        if has_ended || !connection.is(Protocol::Http1) {
            // Without it a client of TLS could not tell the end from an attack that cuts an answer short.
            let shut = tokio::time::timeout(Duration::from_millis(LINGER_MS), socket.shutdown());
            unless_cut(&connection, shut).await;
            return;
        }
        farewell(socket, &connection, fault.filter(|fault| owes_answer || *fault == BadHttp::SlowHead)).await;
    }

    /// Lets hyper work until it has done or must end.
    async fn run<S>(&self, watched: Watched<S>, origin: Origin, connection: &Arc<Connection>) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (shared, of_requests) = (self.clone(), Arc::clone(connection));
        let service = hyper::service::service_fn(move |request| shared.answer(request, &origin, of_requests.begin()));
        let mut http = pin!(self.http.serve_connection(TokioIo::new(watched), service));
        let mut has_left = false;
        poll_fn(|cx| {
            match connection.order(cx) {
                Order::Cut(cause) => return Poll::Ready(End::Cut(cause)),
                Order::Leave if !has_left => {
                    http.as_mut().graceful_shutdown();
                    has_left = true;
                }
                Order::Leave | Order::GoOn => {}
            }
            let done = http.as_mut().poll(cx);
            done.map(|done| End::Done(done.err().and_then(|error| BadHttp::of_error(&*error))))
        })
        .await
    }

    /// The service: the router, and around it what belongs to the connection.
    fn answer(
        &self,
        mut request: Request<Incoming>,
        origin: &Origin,
        exchange: Exchange,
    ) -> impl Future<Output = Result<Response<Answer>, Infallible>> + Send + 'static + use<> {
        let version = request.version();
        let fault = BadHttp::of_head(version, request.headers());
        if let Some(fault) = fault {
            self.figures.refused(fault);
            fault.log(origin.itself());
        }
        if let Some(peer) = origin.peer(request.headers()) {
            request.extensions_mut().insert(peer);
        }
        // It does nothing before it is polled.
        let routed = self.router.call(request);
        let keep_alive = (version <= Version::HTTP_11).then(|| self.keep_alive.clone());
        #[cfg(feature = "tls")]
        let hsts = self.tls.as_ref().and_then(|tls| tls.hsts());
        async move {
            let mut response = match fault {
                Some(fault) => fault.response(),
                None => {
                    exchange.room().await;
                    let Ok(response) = routed.await;
                    response
                }
            };
            if let Some(keep_alive) = keep_alive {
                set_keep_alive(response.status(), response.headers_mut(), keep_alive);
            }
            #[cfg(feature = "tls")]
            if let Some(hsts) = hsts {
                response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts);
            }
            Ok(response.map(|body| Answer::new(body, exchange)))
        }
    }
}

/// HTTP/1 says how long an idle connection is kept. After an answer to a body that was not read, it is not kept.
fn set_keep_alive(status: StatusCode, headers: &mut HeaderMap, keep_alive: HeaderValue) {
    if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    } else if !headers.contains_key(header::CONNECTION) {
        headers.insert(KEEP_ALIVE, keep_alive);
    }
}

/// Sends a last answer, if one is due, and closes the socket so that the client can read what was written.
async fn farewell<S>(mut socket: S, connection: &Connection, last_words: Option<BadHttp>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let farewell = async {
        if let Some(fault) = last_words {
            socket.write_all(&fault.bytes()).await?;
        }
        linger(&mut socket).await
    };
    unless_cut(connection, tokio::time::timeout(Duration::from_millis(LINGER_MS), farewell)).await;
}

/// What is done at the end of a connection, until its place is needed.
async fn unless_cut(connection: &Connection, last: impl Future) {
    let mut last = pin!(last);
    poll_fn(|cx| match connection.order(cx) {
        Order::Cut(Cause::TooMany | Cause::Stop) => Poll::Ready(()),
        Order::Leave | Order::GoOn | Order::Cut(_) => last.as_mut().poll(cx).map(drop),
    })
    .await;
}

/// Ends the output, and throws the input away until the client ends it, too.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S) -> std::io::Result<()> {
    socket.shutdown().await?;
    let mut thrown_away = vec![0; 8 * 1024];
    let mut left = LINGER_BYTES_MAX;
    while left > 0 {
        match socket.read(&mut thrown_away).await? {
            0 => break,
            bytes => left = left.saturating_sub(bytes),
        }
    }
    Ok(())
}
