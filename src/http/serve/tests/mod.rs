//! The limits of connections, over real sockets and with small limits.

#[cfg(feature = "tls")]
mod tls;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::routing::{get, post};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpSocket,
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SMALL: &str = "GET /small HTTP/1.1\r\nHost: x\r\n\r\n";
const LARGE_BYTES: usize = 400_000;
/// Longer than any limit of these tests.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    figures: Arc<Figures>,
    /// How many large answers were made.
    large: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    drained: tokio::task::JoinHandle<Drained>,
}

impl Running {
    /// A server with limits of a second and less.
    async fn with(change: impl FnOnce(&mut Limits)) -> Self {
        Self::serving(change, |server| server).await
    }

    async fn serving(change: impl FnOnce(&mut Limits), complete: impl FnOnce(Server) -> Server) -> Self {
        let mut limits = Limits {
            handshake_ms_max: 300,
            header_ms_max: 300,
            keep_alive_ms_max: 1_500,
            write_ms_max: 500,
            ..Limits::default()
        };
        change(&mut limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let large = Arc::new(AtomicUsize::new(0));
        let made = Arc::clone(&large);
        let make_large = async move || {
            made.fetch_add(1, Ordering::Relaxed);
            vec![b'x'; LARGE_BYTES]
        };
        let router = Router::new()
            .route("/small", get(async || "small"))
            .route("/large", get(make_large))
            .route("/slow", get(async || sleep(Duration::from_millis(700)).await))
            .route("/body", post(async |body: axum::body::Bytes| format!("{} bytes", body.len())));
        let server = complete(Server::with(limits, Networks::default()));
        let figures = server.figures();
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let drained = tokio::spawn(server.serve(router, listener, stopped));
        Self { address, figures, large, stop: Some(stop), drained }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn connect_from(&self, address: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::from(address), 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    fn ended(&self, cause: &str) -> u64 {
        self.figures.ended_by_cause().find(|(name, _)| *name == cause).unwrap().1
    }

    fn refused(&self, fault: &str) -> u64 {
        self.figures.bad_http_by_fault().find(|(name, _)| *name == fault).unwrap().1
    }
}

/// Everything that comes until the server closes the connection, and how long that took.
async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> (String, Duration) {
    let (began, mut all) = (Instant::now(), Vec::new());
    // A reset is an end, too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("the server closes the connection");
    (String::from_utf8_lossy(&all).into_owned(), began.elapsed())
}

async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = vec![0; 4_096];
    let bytes = timeout(PATIENCE, stream.read(&mut all)).await.unwrap().unwrap();
    String::from_utf8_lossy(&all[..bytes]).into_owned()
}

async fn is_open(stream: &mut TcpStream) -> bool {
    timeout(Duration::from_millis(100), stream.read(&mut [0; 1])).await.is_err()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The HEADERS frame of a GET: two fields of HPACK's static table, and two literals.
fn get_frame(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    let fields = [&[0x82, 0x86, 0x04, length], path.as_bytes(), &[0x01, 1, b'x']].concat();
    frame(1, 5, stream, &fields)
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_whatever_its_protocol() {
    let server = Running::with(|_| ()).await;
    for begun in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM", b"P"] {
        let mut stream = server.connect().await;
        stream.write_all(begun).await.unwrap();
        let (said, after) = until_closed(&mut stream).await;
        assert_eq!(said, "", "{begun:?}");
        assert!(after < Duration::from_millis(1_200), "{begun:?}: {after:?}");
    }
    assert_eq!(server.ended("slow_head"), 3);
}

#[tokio::test]
async fn a_slow_head_is_answered_with_408_also_after_other_requests() {
    let server = Running::with(|_| ()).await;
    let mut stream = server.connect().await;
    assert!(answer(&mut stream, SMALL).await.starts_with("HTTP/1.1 200"));
    // A byte now and then does not prolong it.
    let (mut read, mut write) = stream.split();
    let drip = async {
        for byte in SMALL.as_bytes() {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let mut said = String::new();
    let began = Instant::now();
    tokio::select! {
        () = drip => panic!("the head could drip"),
        _ = read.read_to_string(&mut said) => {}
    }
    assert!(began.elapsed() < Duration::from_millis(1_200));
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("\"request-timeout\""), "{said}");
    assert!(said.contains("connection: close"), "{said}");
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_as_long_as_its_answers_say() {
    let server = Running::with(|_| ()).await;
    let mut stream = server.connect().await;
    let said = answer(&mut stream, SMALL).await;
    assert!(said.contains("keep-alive: timeout=1\r\n"), "{said}");
    sleep(Duration::from_millis(900)).await;
    // Longer than a head may take, and it takes another request.
    assert!(answer(&mut stream, SMALL).await.starts_with("HTTP/1.1 200"));
    let (said, after) = until_closed(&mut stream).await;
    assert_eq!(said, "");
    assert!(after > Duration::from_millis(1_300) && after < Duration::from_millis(2_500), "{after:?}");
    assert_eq!(server.ended("idle"), 1);
    // HTTP/2, too, although the client answers pings; a header for it there is none.
    let mut stream = server.connect().await;
    stream.write_all(&[PREFACE, &frame(4, 0, 0, &[]), &get_frame(1, "/small")].concat()).await.unwrap();
    let (said, after) = until_closed(&mut stream).await;
    assert!(said.contains("small") && after < Duration::from_millis(5_000), "{said:?} {after:?}");
}

#[tokio::test]
async fn what_is_not_http_is_answered_and_counted() {
    let server = Running::with(|_| ()).await;
    let many: String = (0..101).map(|number| format!("X-{number}: a\r\n")).collect();
    let long = "a".repeat(70_000);
    let longer = "a".repeat(500_000);
    for (request, status, fault) in [
        ("GET /small HTTP/1.1\r\n\r\n".to_owned(), 400, "host"),
        ("GET /small HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(), 400, "host"),
        (
            "GET /small HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n".to_owned(),
            400,
            "authorization",
        ),
        ("GET /small HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n".to_owned(), 400, "malformed"),
        ("GET /small HTTP/1.1\r\nHost : x\r\n\r\n".to_owned(), 400, "malformed"),
        ("nonsense\r\n\r\n".to_owned(), 400, "malformed"),
        ("GET /small HTTP/9.9\r\nHost: x\r\n\r\n".to_owned(), 505, "version"),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 414, "uri_too_long"),
        (format!("GET /{longer} HTTP/1.1\r\nHost: x\r\n\r\n"), 414, "uri_too_long"),
        (format!("GET /small HTTP/1.1\r\nHost: x\r\n{many}\r\n"), 431, "head_too_large"),
        (format!("GET /small HTTP/1.1\r\nHost: x\r\nX-A: {longer}\r\n\r\n"), 431, "head_too_large"),
    ] {
        let shown: String = request.chars().take(60).collect();
        let before = server.refused(fault);
        let mut stream = server.connect().await;
        // The server may answer before it has read all.
        let _ = stream.write_all(request.as_bytes()).await;
        let (said, _) = until_closed(&mut stream).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{shown}: {said}");
        assert!(said.contains("connection: close\r\n") && said.contains("application/problem+json"), "{shown}: {said}");
        assert!(said.contains(&format!("\"status\":{status}")), "{shown}: {said}");
        assert_eq!(server.refused(fault), before + 1, "{shown}: {fault}");
    }
    // HTTP/1.0 needs no Host.
    let mut stream = server.connect().await;
    assert!(answer(&mut stream, "GET /small HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200"));
}

#[tokio::test]
async fn a_client_that_pipelines_is_read_only_as_fast_as_it_takes_its_answers() {
    let server = Running::with(|_| ()).await;
    let mut stream = server.connect().await;
    let requests = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    stream.write_all(requests.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    // The system takes some megabytes of answers, and hyper has one more.
    let made = server.large.load(Ordering::Relaxed);
    assert!(made < 50, "{made} answers were made");
    let deadline = Instant::now() + PATIENCE;
    while server.ended("slow_reader") == 0 {
        assert!(Instant::now() < deadline, "the connection is never closed");
        sleep(Duration::from_millis(50)).await;
    }
    // One that reads gets all of them.
    let mut stream = server.connect().await;
    let requests = format!("{}{}", SMALL.repeat(200), SMALL.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    stream.write_all(requests.as_bytes()).await.unwrap();
    let (said, _) = until_closed(&mut stream).await;
    assert_eq!(said.matches("HTTP/1.1 200").count(), 201);
}

#[tokio::test]
async fn an_http2_client_with_a_closed_window_loses_its_connection() {
    let server = Running::with(|_| ()).await;
    let mut stream = server.connect().await;
    // SETTINGS_INITIAL_WINDOW_SIZE is 0.
    let mut bytes = [PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
    (0..90).for_each(|number| bytes.extend(get_frame(2 * number + 1, "/large")));
    stream.write_all(&bytes).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let pings = tokio::spawn(async move {
        while write.write_all(&frame(6, 0, 0, &[0; 8])).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    let began = Instant::now();
    let mut all = Vec::new();
    let _ = timeout(PATIENCE, read.read_to_end(&mut all)).await.expect("the server closes the connection");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    pings.abort();
    let made = server.large.load(Ordering::Relaxed);
    assert!(made < 20, "{made} answers were made for a client that takes none");
    assert_eq!(server.ended("slow_reader"), 1);
}

#[tokio::test]
async fn answers_that_nobody_reads_are_bounded_in_all() {
    let server = Running::with(|limits| {
        limits.unread_bytes_max = 1 << 20;
        limits.write_ms_max = 60_000;
    })
    .await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = server.connect().await;
        let bytes = [PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]), &get_frame(1, "/large")].concat();
        stream.write_all(&bytes).await.unwrap();
        streams.push(stream);
    }
    let deadline = Instant::now() + PATIENCE;
    while server.ended("unread") < 8 {
        assert!(Instant::now() < deadline, "{} connections were ended", server.ended("unread"));
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.ended("unread"), 8, "two of 400,000 bytes fit into a MiB");
}

#[tokio::test]
async fn when_all_places_are_taken_the_longest_idle_makes_room() {
    let server = Running::with(|limits| {
        limits.connections_max = 5;
        limits.connections_per_peer_max = 3;
        limits.header_ms_max = 60_000;
    })
    .await;
    let mut idle = Vec::new();
    for number in 0..3 {
        idle.push(server.connect_from([127, 0, 1, number]).await);
        sleep(Duration::from_millis(150)).await;
    }
    // The first is served, so that it is idle for less long than the second.
    assert!(answer(&mut idle[0], SMALL).await.starts_with("HTTP/1.1 200"));
    let mut honest = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect_from([127, 0, 2, 1]).await;
        assert!(answer(&mut stream, SMALL).await.starts_with("HTTP/1.1 200"));
        honest.push(stream);
    }
    assert!(is_open(&mut idle[0]).await && !is_open(&mut idle[1]).await && is_open(&mut idle[2]).await);
    // One more of the same peer costs that peer a connection, and nobody else.
    let mut one_more = server.connect_from([127, 0, 2, 1]).await;
    assert!(answer(&mut one_more, SMALL).await.starts_with("HTTP/1.1 200"));
    let mut open = 0;
    for stream in &mut honest {
        open += usize::from(is_open(stream).await);
    }
    assert_eq!((open, is_open(&mut idle[0]).await, is_open(&mut idle[2]).await), (2, true, true));
    assert_eq!(server.ended("too_many"), 2);
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_closes_idle_connections() {
    let mut server = Running::with(|_| ()).await;
    let (mut idle, mut busy) = (server.connect().await, server.connect().await);
    answer(&mut idle, SMALL).await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(150)).await;
    drop(server.stop.take());
    let (said, after) = until_closed(&mut idle).await;
    assert!(said.is_empty() && after < Duration::from_millis(400), "{said} {after:?}");
    let (said, _) = until_closed(&mut busy).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("connection: close"), "{said}");
    drop((idle, busy));
    assert_eq!(server.drained.await.unwrap(), Drained::All);
    assert_eq!(server.figures.open(), 0);
}
