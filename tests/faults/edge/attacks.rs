//! The attacks: what each connection of an attacker does, again and again.
//!
//! Attackers are a process of their own, with the lowest priority and at most half of a processor, on addresses of
//! 127.0.1.0/24.

use std::{
    env,
    future::pending,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::sleep,
};

use super::http2;

/// The variables that make this program an attacker: the attack, the shop, the number of addresses and of connections,
/// and the token of an account.
pub(super) const ATTACK: &str = "EDGE_ATTACK";
pub(super) const TARGET: &str = "EDGE_TARGET";
pub(super) const SOURCES: &str = "EDGE_SOURCES";
pub(super) const CONNECTIONS: &str = "EDGE_CONNECTIONS";
pub(super) const TOKEN: &str = "EDGE_TOKEN";

/// The share of one processor that attackers may use.
const SHARE: f64 = 0.5;
/// A tick of the system's accounting, in milliseconds.
const TICK_MS: u64 = 10;
/// The time between two bytes of those who are slow.
const DRIP: Duration = Duration::from_secs(1);
/// How long an attacker waits after its connection was closed.
const AGAIN: Duration = Duration::from_millis(100);

/// An attack.
pub(super) struct Attack {
    pub(super) name: &'static str,
    /// How many connections it keeps in a short run, and in a long one.
    pub(super) connections: [usize; 2],
    /// What the shop's settings allow for each of its connections, in KiB.
    pub(super) allowed_kib: u64,
    /// Whether the bytes of answers or bodies that wait, which have a limit in all, come on top.
    pub(super) fills: bool,
    pub(super) does: Does,
}

/// What a connection does.
#[derive(Clone, Copy)]
pub(super) enum Does {
    Nothing,
    HalfAPreface,
    SlowHead,
    LargeHead,
    OneRequest,
    SlowBody(&'static str),
    SlowChunks(&'static str),
    LyingLength,
    Pipelines(usize),
    Http2Bodies,
    Http2LargeHeads,
    Http2ClosedWindow,
    Http2Resets,
    Http2Continuations,
    Http2Pings,
    Nonsense,
}

const fn attack(name: &'static str, connections: [usize; 2], allowed_kib: u64, does: Does) -> Attack {
    Attack { name, connections, allowed_kib, fills: false, does }
}

const fn filling(name: &'static str, connections: [usize; 2], allowed_kib: u64, does: Does) -> Attack {
    Attack { fills: true, ..attack(name, connections, allowed_kib, does) }
}

/// A connection takes about 30 KB; a head may have 64 KiB, in a buffer that grows by doubling; an HTTP/2 connection may
/// have 100 heads of 16 KiB, and 16 KiB of each answer.
pub(super) const ATTACKS: [Attack; 19] = [
    attack("silent", [1_100, 10_100], 40, Does::Nothing),
    attack("half a preface", [300, 2_000], 40, Does::HalfAPreface),
    attack("slow heads", [300, 2_000], 40, Does::SlowHead),
    attack("large heads", [200, 2_000], 200, Does::LargeHead),
    attack("idle after a request", [300, 5_000], 40, Does::OneRequest),
    filling("slow bodies: login", [300, 1_200], 40, Does::SlowBody("/auth/login")),
    filling("slow bodies: webhook", [300, 1_200], 40, Does::SlowBody("/webhooks/simulated")),
    filling("slow bodies: payment", [300, 1_200], 40, Does::SlowBody("/payment")),
    filling("slow chunks: login", [300, 1_200], 40, Does::SlowChunks("/auth/login")),
    attack("lying lengths", [50, 200], 40, Does::LyingLength),
    filling("pipelined, unread", [100, 500], 200, Does::Pipelines(40)),
    filling("pipelined, unread, by one", [1, 1], 200, Does::Pipelines(2_000)),
    filling("h2: bodies never come", [5, 20], 3_400, Does::Http2Bodies),
    filling("h2: large heads", [5, 20], 3_400, Does::Http2LargeHeads),
    filling("h2: closed window", [10, 50], 3_400, Does::Http2ClosedWindow),
    attack("h2: rapid reset", [4, 8], 3_400, Does::Http2Resets),
    attack("h2: continuations", [4, 8], 3_400, Does::Http2Continuations),
    attack("h2: pings", [4, 8], 3_400, Does::Http2Pings),
    attack("churn and nonsense", [50, 200], 40, Does::Nonsense),
];

/// Whether this process was started to attack; it does so until it is killed.
pub(crate) async fn attacks_here() -> bool {
    let Ok(name) = env::var(ATTACK) else { return false };
    let number = |name| env::var(name).unwrap().parse::<usize>().unwrap();
    let attack = ATTACKS.iter().find(|attack| attack.name == name).unwrap();
    let attacker = Arc::new(Attacker {
        target: env::var(TARGET).unwrap().parse().unwrap(),
        token: env::var(TOKEN).unwrap(),
        began: Instant::now(),
    });
    let sources = number(SOURCES);
    for index in 0..number(CONNECTIONS) {
        let (attacker, does) = (Arc::clone(&attacker), attack.does);
        let source = Ipv4Addr::new(127, 0, 1, u8::try_from(1 + index % sources).unwrap());
        tokio::spawn(async move {
            loop {
                attacker.breathe().await;
                let _ = attacker.connection(source, does).await;
                sleep(AGAIN).await;
            }
        });
    }
    pending().await
}

struct Attacker {
    target: SocketAddr,
    token: String,
    began: Instant,
}

impl Attacker {
    /// Waits until the process has used no more than its share.
    async fn breathe(&self) {
        loop {
            // After the name in brackets come ten fields, and then the times of the user and of the system in ticks.
            let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
            let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
            let ticks: u64 = fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
            let allowed = self.began.elapsed().mul_f64(SHARE);
            let Some(over) = Duration::from_millis(ticks * TICK_MS).checked_sub(allowed) else { return };
            sleep(over.max(Duration::from_millis(1))).await;
        }
    }

    async fn connection(&self, source: Ipv4Addr, does: Does) -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((source, 0).into())?;
        let mut stream = socket.connect(self.target).await?;
        match does {
            Does::Nothing => {}
            Does::HalfAPreface => stream.write_all(&http2::PREFACE[..20]).await?,
            Does::SlowHead => return self.drip(&mut stream, "GET /livez HTTP/1.1\r\nHost: x\r\nX: ", "a").await,
            Does::LargeHead => {
                let head = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX: {}", "a".repeat(60_000));
                stream.write_all(head.as_bytes()).await?;
            }
            Does::OneRequest => stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await?,
            Does::SlowBody(path) => {
                let head = self.post(path, "content-length: 1000");
                return self.drip(&mut stream, &head, "{").await;
            }
            Does::SlowChunks(path) => {
                let head = self.post(path, "transfer-encoding: chunked");
                return self.drip(&mut stream, &head, "1\r\n{\r\n").await;
            }
            Does::LyingLength => {
                let head = self.post("/auth/login", "content-length: 999999999\r\nexpect: 100-continue");
                stream.write_all(head.as_bytes()).await?;
            }
            Does::Pipelines(requests) => return self.pipeline(&mut stream, requests).await,
            Does::Nonsense => {
                if fastrand::bool() {
                    return Ok(());
                }
                stream.write_all(b"nonsense\r\n\r\n").await?;
            }
            http2 => return self.http2(stream, http2).await,
        }
        until_closed(&mut stream).await
    }

    fn post(&self, path: &str, length: &str) -> String {
        let token = &self.token;
        let content = "content-type: application/json";
        format!("POST {path} HTTP/1.1\r\nHost: x\r\n{content}\r\nauthorization: Bearer {token}\r\n{length}\r\n\r\n")
    }

    /// Sends a byte now and then, until the shop has closed the connection.
    async fn drip(&self, stream: &mut TcpStream, begin: &str, rest: &str) -> io::Result<()> {
        stream.write_all(begin.as_bytes()).await?;
        let (mut read, mut write) = stream.split();
        let dripping = async {
            loop {
                sleep(DRIP).await;
                self.breathe().await;
                write.write_all(rest.as_bytes()).await?;
            }
        };
        tokio::select! {
            ended = dripping => ended,
            ended = until_closed(&mut read) => ended,
        }
    }

    /// Sends many requests, and reads no answer.
    async fn pipeline(&self, stream: &mut TcpStream, requests: usize) -> io::Result<()> {
        for _ in 0..requests {
            stream.write_all(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        }
        // More of it shows whether the connection is still open.
        loop {
            sleep(DRIP).await;
            self.breathe().await;
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        }
    }

    async fn http2(&self, stream: TcpStream, does: Does) -> io::Result<()> {
        let (mut read, mut write) = stream.into_split();
        let sending = async {
            let settings =
                if matches!(does, Does::Http2ClosedWindow) { http2::closed_window() } else { http2::settings() };
            write.write_all(&[http2::PREFACE, &settings].concat()).await?;
            let streams = || (0..100_u32).map(|number| 2 * number + 1);
            let first: Vec<u8> = match does {
                Does::Http2Bodies => {
                    streams().flat_map(|stream| http2::post(stream, "/webhooks/simulated", 0)).collect()
                }
                Does::Http2LargeHeads => {
                    streams().flat_map(|stream| http2::post(stream, "/auth/login", 12 * 1_024)).collect()
                }
                Does::Http2ClosedWindow => streams().flat_map(|stream| http2::get(stream, "/openapi.json")).collect(),
                Does::Http2Continuations => http2::begun_head(1),
                _ => Vec::new(),
            };
            write.write_all(&first).await?;
            let mut stream = 1;
            loop {
                self.breathe().await;
                match does {
                    Does::Http2Resets => {
                        stream += 2;
                        write.write_all(&[http2::get(stream, "/livez"), http2::reset(stream)].concat()).await?;
                    }
                    Does::Http2Continuations => write.write_all(&http2::continuation(1, 4_000)).await?,
                    Does::Http2Pings => write.write_all(&[http2::ping(), http2::settings()].concat()).await?,
                    _ => {
                        write.write_all(&http2::ping()).await?;
                        sleep(DRIP).await;
                    }
                }
            }
        };
        // A client that floods does not read either.
        let reads = !matches!(does, Does::Http2Pings);
        tokio::select! {
            ended = sending => ended,
            ended = until_closed(&mut read), if reads => ended,
        }
    }
}

/// Reads until the shop closes the connection.
async fn until_closed(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<()> {
    let mut thrown_away = vec![0; 4 * 1_024];
    while stream.read(&mut thrown_away).await? > 0 {}
    Ok(())
}
