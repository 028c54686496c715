//! TLS: the certificate of the server, its replacement while the server runs, and the handshake of a connection.
//!
//! The sweeper bounds the time of a handshake, and the limits by peer count its connection, as they do everywhere.
//! rustls bounds the rest: a message of a handshake has at most 64 KiB, a connection may change its keys 32 times
//! without data between, and there is no renegotiation. Data before the end of the handshake (0-RTT) is not taken,
//! because it can be replayed.
//!
//! Depends on `text_file` and its neighbours.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::http::HeaderValue;
use parking_lot::RwLock;
use tokio::{net::TcpStream, sync::Notify, time::MissedTickBehavior};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    },
    server::TlsStream,
};

use super::{
    super::peer::Peer,
    connection::{Connection, Order},
    figures::Figures,
};
use crate::{log_throttle::Throttle, text_file};

/// The protocols in HTTP's order of preference (ALPN).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// How often the files of the certificate are looked at, in milliseconds.
const WATCH_MS: u64 = 1_000;
/// The first byte of a TLS connection: the type of a record with a message of a handshake.
const HANDSHAKE_RECORD: u8 = 22;
/// Lines about handshakes that failed.
static FAILED: Throttle = Throttle::new();

/// Where the certificate and its key are, both in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate of the server and then those of the authorities between it and the root.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", .file.display())]
pub struct TlsError {
    file: PathBuf,
    problem: String,
}

/// The certificate of a server. It is read again when its files change.
pub struct Tls {
    files: TlsFiles,
    acceptor: RwLock<TlsAcceptor>,
    /// The state of the files before they were read.
    read_at: [Option<State>; 2],
    hsts: Option<HeaderValue>,
    asked: Notify,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// What tells a file from the one that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// How a handshake has ended.
pub(super) enum Handshake {
    Done(Box<TlsStream<TcpStream>>),
    /// The client or the server has ended the connection.
    Ended,
    Failed(io::Error),
    /// The client has sent something else than TLS, which was not read.
    IsHttp(TcpStream),
}

impl Tls {
    /// Reads a certificate and its key. Browsers are told to insist on TLS for so many seconds (HSTS); 0 leaves that
    /// out.
    ///
    /// # Errors
    /// A file cannot be read, is not PEM, or they do not belong together.
    pub fn load(files: TlsFiles, hsts_seconds: u64) -> Result<Arc<Self>, TlsError> {
        let read_at = states(&files);
        let acceptor = RwLock::new(read(&files)?);
        let hsts = (hsts_seconds > 0).then(|| HeaderValue::from_str(&format!("max-age={hsts_seconds}")).ok()).flatten();
        Ok(Arc::new(Self { files, acceptor, read_at, hsts, asked: Notify::new() }))
    }

    /// Has the files read again, whether they have changed or not.
    pub fn reload(&self) {
        self.asked.notify_one();
    }

    /// The value of `Strict-Transport-Security`.
    pub(super) fn hsts(&self) -> Option<HeaderValue> {
        self.hsts.clone()
    }

    /// Reads the files again when they have changed and changes no more, or when asked to, for ever. Two files cannot
    /// be replaced at once: until both are there, the old pair serves.
    pub(super) async fn watch(self: Arc<Self>, figures: Arc<Figures>) {
        let mut ticks = tokio::time::interval(Duration::from_millis(WATCH_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut read_at, mut before) = (self.read_at, self.read_at);
        loop {
            let is_asked = tokio::select! {
                _ = ticks.tick() => false,
                () = self.asked.notified() => true,
            };
            let files = self.files.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || states(&files)).await else { return };
            let has_settled = now == before;
            before = now;
            if !(is_asked || (has_settled && now != read_at)) {
                continue;
            }
            read_at = now;
            let files = self.files.clone();
            match tokio::task::spawn_blocking(move || read(&files)).await {
                Ok(Ok(acceptor)) => {
                    *self.acceptor.write() = acceptor;
                    figures.certificate_replaced();
                    tracing::info!(file = %self.files.certificate.display(), "the TLS certificate was read again");
                }
                Ok(Err(error)) => {
                    figures.certificate_refused();
                    tracing::warn!(%error, "the new TLS certificate is unusable: the old one stays");
                }
                Err(_) => return,
            }
        }
    }

    /// Performs the handshake, unless the connection has to end before.
    pub(super) async fn handshake(&self, socket: TcpStream, connection: &Connection) -> Handshake {
        connection.begins_handshake();
        let acceptor = self.acceptor.read().clone();
        let handshake = async {
            let mut first = [0];
            match socket.peek(&mut first).await {
                Ok(0) | Err(_) => return Handshake::Ended,
                Ok(_) if first[0] != HANDSHAKE_RECORD => return Handshake::IsHttp(socket),
                Ok(_) => {}
            }
            match acceptor.accept(socket).await {
                Ok(stream) => Handshake::Done(Box::new(stream)),
                Err(error) => Handshake::Failed(error),
            }
        };
        let mut handshake = pin!(handshake);
        let ended = poll_fn(|cx| match connection.order(cx) {
            Order::Cut(_) | Order::Leave => Poll::Ready(Handshake::Ended),
            Order::GoOn => handshake.as_mut().poll(cx),
        });
        let ended = ended.await;
        connection.ended_handshake();
        ended
    }
}

/// One line a second at most.
pub(super) fn log(peer: Peer, error: &io::Error) {
    if let Some(left_out) = FAILED.next_line() {
        tracing::info!(%peer, %error, left_out, "a TLS handshake failed");
    }
}

fn states(files: &TlsFiles) -> [Option<State>; 2] {
    [&files.certificate, &files.key].map(|file| {
        let found = std::fs::metadata(file).ok()?;
        let changed = (found.ctime(), found.ctime_nsec());
        Some(State { device: found.dev(), inode: found.ino(), bytes: found.size(), changed })
    })
}

fn read(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let TlsFiles { certificate, key } = files;
    let failed = |file: &Path, problem: String| TlsError { file: file.to_owned(), problem };
    let text_of = |file: &Path| text_file::read(file).map_err(|error| failed(file, error.to_string()));
    let text = text_of(certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let chain = chain.map_err(|error| failed(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(failed(certificate, "it has no certificate (-----BEGIN CERTIFICATE-----)".to_owned()));
    }
    text_file::warn_if_open(key);
    let private = PrivateKeyDer::from_pem_slice(text_of(key)?.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => failed(key, "it has no private key (-----BEGIN PRIVATE KEY-----)".to_owned()),
        error => failed(key, error.to_string()),
    })?;
    let unusable = |error| failed(certificate, format!("{error}; the key is {}", key.display()));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config =
        builder.and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private)).map_err(unusable)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // Sessions are resumed by tickets, which take no memory here.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
