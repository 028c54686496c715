//! Redis as a careful user would use it: one script for the whole reservation, called by its hash over a Unix socket,
//! with the append-only file on and without rewriting it during a measurement.
//!
//! Depends on `peer` and `support` and on `redis` and `rustix`.

use anyhow::ensure;
use redis::{Client, Script, aio::MultiplexedConnection};
use rustix::process::Signal;

use crate::{
    peer::{Home, Peer, program},
    support::flash_sale::{Answer, Caller, Engine},
};

/// Two commands in the usual case; a repeat finds its hold, and a unit beyond the stock is put back.
const RESERVE: &str = "
    if redis.call('HSETNX', KEYS[2], ARGV[1], 1) == 0 then return 1 end
    if redis.call('DECR', KEYS[1]) >= 0 then return 1 end
    redis.call('INCR', KEYS[1])
    redis.call('HDEL', KEYS[2], ARGV[1])
    return 0";
/// The socket's name in the server's directory.
const SOCKET: &str = "redis.sock";

/// When the append-only file is synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sync {
    /// Before each answer.
    Always,
    /// Once a second: an answer is not durable yet.
    EverySecond,
}

/// A server for this bench.
pub(crate) struct Server {
    peer: Peer,
    client: Client,
    name: String,
}

impl Server {
    /// Starts it, empty.
    pub(crate) async fn start(sync: Sync) -> anyhow::Result<Self> {
        let (policy, durability) = match sync {
            Sync::Always => ("always", "fdatasync before each answer"),
            Sync::EverySecond => ("everysec", "fdatasync every second: NOT durable when answered"),
        };
        let home = Home::new();
        let mut command = home.command(program("redis-server", &[])?);
        command.args(["--port", "0", "--unixsocket", SOCKET, "--save", "", "--auto-aof-rewrite-percentage", "0"]);
        command.args(["--appendonly", "yes", "--appendfsync", policy, "--dir", "."]);
        let mut peer = home.start(command, Signal::TERM)?;
        let client = Client::open(format!("redis+unix://{}", peer.path().join(SOCKET).display()))?;
        let mut connection = peer.ready(async |_| client.get_multiplexed_async_connection().await.ok()).await?;
        let (_, shown): (String, String) =
            redis::cmd("CONFIG").arg("GET").arg("appendfsync").query_async(&mut connection).await?;
        ensure!(shown == policy, "appendfsync is {shown}");
        let about: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        let version =
            about.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("of unknown version");
        Ok(Self { peer, client, name: format!("Redis {}, {durability}; a script", version.trim()) })
    }

    async fn connect(&self) -> MultiplexedConnection {
        let connection = self.client.get_multiplexed_async_connection().await;
        connection.unwrap_or_else(|error| panic!("Redis at {} takes a connection: {error}", self.peer.path().display()))
    }
}

fn keys(product: &str) -> [String; 2] {
    [format!("stock:{product}"), format!("holds:{product}")]
}

impl Engine for Server {
    type Caller = Connection;

    fn name(&self) -> String {
        self.name.clone()
    }

    async fn open(&self, product: &str, units: u64) {
        let [stock, _] = keys(product);
        let set: Result<(), _> = redis::cmd("SET").arg(stock).arg(units).query_async(&mut self.connect().await).await;
        set.expect("stock is set");
    }

    async fn caller(&self, _number: usize) -> Connection {
        Connection { connection: self.connect().await, reserve: Script::new(RESERVE) }
    }

    async fn counts(&self, product: &str) -> (u64, Option<u64>) {
        let ([stock, holds], mut connection) = (keys(product), self.connect().await);
        let left: u64 = redis::cmd("GET").arg(stock).query_async(&mut connection).await.expect("the stock");
        let kept: u64 = redis::cmd("HLEN").arg(holds).query_async(&mut connection).await.expect("the holds");
        (left, Some(kept))
    }
}

/// A connection of one caller. Nothing is pipelined, because each caller waits for its answer.
pub(crate) struct Connection {
    connection: MultiplexedConnection,
    reserve: Script,
}

impl Caller for Connection {
    async fn reserve(&mut self, product: &str, order: u64) -> Answer {
        let [stock, holds] = keys(product);
        let answer: i64 = self
            .reserve
            .key(stock)
            .key(holds)
            .arg(order)
            .invoke_async(&mut self.connection)
            .await
            .expect("Redis answers");
        match answer {
            1 => Answer::Reserved,
            _ => Answer::SoldOut,
        }
    }
}
