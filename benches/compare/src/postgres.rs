//! PostgreSQL as a careful user would use it: prepared statements over a Unix socket, everything durable, the row
//! locked as late and as briefly as each form allows, and no checkpoint during a measurement.
//!
//! Depends on `peer` and `support` and on `rustix` and `tokio_postgres`.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use rustix::process::Signal;
use tokio_postgres::{Client, NoTls, Statement, error::SqlState};

use crate::{
    peer::{Home, Peer, program},
    support::flash_sale::{Answer, Caller, Engine},
};

/// Debian's directory of the server's programs, with one subdirectory per version; elsewhere they are on the path.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Memory for pages, and space for the log until a checkpoint: neither limits a hot row.
const SETTINGS: [&str; 9] = [
    "listen_addresses=",
    "max_connections=100",
    "shared_buffers=256MB",
    "max_wal_size=8GB",
    "checkpoint_timeout=1h",
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "autovacuum=on",
];
/// The row has a page of its own, so that its versions fit beside it.
const SCHEMA: &str = "
    CREATE TABLE stock (product text PRIMARY KEY, available bigint NOT NULL CHECK (available >= 0)) WITH (fillfactor = 10);
    CREATE TABLE holds (id bigint, product text, quantity int NOT NULL, PRIMARY KEY (product, id));";

/// How a reservation is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// `BEGIN`, insert the hold, decrement the stock, `COMMIT`: four round trips, the row locked during the last two.
    Transaction,
    /// One statement, in a transaction of its own: one round trip.
    OneStatement,
}

impl Form {
    fn statements(self) -> &'static [&'static str] {
        match self {
            Self::Transaction => &[
                "BEGIN",
                "INSERT INTO holds VALUES ($1, $2, 1) ON CONFLICT DO NOTHING",
                "UPDATE stock SET available = available - 1 WHERE product = $1 AND available >= 1",
                "COMMIT",
                "ROLLBACK",
            ],
            // A repeat finds its hold; of two concurrent ones, the second finds the key taken and changes nothing.
            Self::OneStatement => &[
                "WITH taken AS (
                     UPDATE stock SET available = available - 1 WHERE product = $2 AND available >= 1
                     AND NOT EXISTS (SELECT FROM holds WHERE holds.product = $2 AND holds.id = $1) RETURNING 1)
                 INSERT INTO holds SELECT $1, $2, 1 FROM taken",
                "SELECT FROM holds WHERE product = $2 AND id = $1",
            ],
        }
    }
}

/// A server for this bench.
pub(crate) struct Server {
    peer: Peer,
    durability: String,
}

impl Server {
    /// Creates a new cluster and starts it.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let home = Home::not_of_root("postgres")?;
        let data = home.path().join("data");
        let programs = directories();
        let made = home
            .command(program("initdb", &programs)?)
            .args(["-A", "trust", "-U", "bench", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .context("initdb")?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut command = home.command(program("postgres", &programs)?);
        command.arg("-D").arg(&data).arg("-k").arg(home.path());
        SETTINGS.iter().for_each(|setting| {
            command.args(["-c", setting]);
        });
        // SIGINT is its fast shutdown, which does not wait for clients.
        let mut peer = home.start(command, Signal::INT)?;
        let socket = peer.path().to_owned();
        let client = peer.ready(async |_| connect(&socket).await.ok()).await?;
        client.batch_execute(SCHEMA).await?;
        let mut shown = Vec::new();
        for setting in ["server_version", "fsync", "synchronous_commit", "wal_sync_method"] {
            let row = client.query_one(&format!("SHOW {setting}"), &[]).await?;
            shown.push(row.get::<_, String>(0));
        }
        let [version, fsync, commit, method] = shown.as_slice() else { unreachable!("four were asked for") };
        ensure!(fsync == "on" && commit == "on", "it is not durable: fsync {fsync}, synchronous_commit {commit}");
        let version = version.split(' ').next().unwrap_or_default();
        Ok(Self { peer, durability: format!("PostgreSQL {version}, {method} before each answer") })
    }

    /// The server, with reservations in this form.
    pub(crate) fn by(&self, form: Form) -> By<'_> {
        By { server: self, form }
    }

    async fn connect(&self) -> Client {
        connect(self.peer.path()).await.expect("PostgreSQL takes a connection")
    }
}

/// The directories of installed versions, the newest first.
fn directories() -> Vec<PathBuf> {
    let installed = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let mut found: Vec<_> = installed.map(|entry| entry.path().join("bin")).filter(|bin| bin.is_dir()).collect();
    found.sort();
    found.reverse();
    found
}

async fn connect(socket: &std::path::Path) -> anyhow::Result<Client> {
    let mut config = tokio_postgres::Config::new();
    let (client, connection) = config.host_path(socket).user("bench").dbname("postgres").connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The server, with reservations in one form.
pub(crate) struct By<'a> {
    server: &'a Server,
    form: Form,
}

impl By<'_> {
    /// Both forms share the tables; each has its own products.
    fn product(&self, product: &str) -> String {
        format!("{:?}-{product}", self.form)
    }
}

impl Engine for By<'_> {
    type Caller = Connection;

    fn name(&self) -> String {
        let form = match self.form {
            Form::Transaction => "a transaction",
            Form::OneStatement => "one statement",
        };
        format!("{}; {form}", self.server.durability)
    }

    async fn open(&self, product: &str, units: u64) {
        let client = self.server.connect().await;
        let (product, units) = (self.product(product), i64::try_from(units).expect("few enough"));
        client.execute("INSERT INTO stock VALUES ($1, $2)", &[&product, &units]).await.expect("stock is set");
    }

    async fn caller(&self, _number: usize) -> Connection {
        let client = self.server.connect().await;
        let mut statements = Vec::new();
        for statement in self.form.statements() {
            statements.push(client.prepare(statement).await.expect("a legal statement"));
        }
        Connection { client, form: self.form, statements }
    }

    async fn counts(&self, product: &str) -> (u64, Option<u64>) {
        let (client, product) = (self.server.connect().await, self.product(product));
        let left = client.query_one("SELECT available FROM stock WHERE product = $1", &[&product]).await;
        let kept = client.query_one("SELECT count(*) FROM holds WHERE product = $1", &[&product]).await;
        let [left, kept] = [left, kept].map(|row| u64::try_from(row.expect("a row").get::<_, i64>(0)));
        (left.expect("not below zero"), Some(kept.expect("not below zero")))
    }
}

/// A connection with its prepared statements.
pub(crate) struct Connection {
    client: Client,
    form: Form,
    statements: Vec<Statement>,
}

impl Caller for Connection {
    async fn reserve(&mut self, product: &str, order: u64) -> Answer {
        let product = format!("{:?}-{product}", self.form);
        let order = i64::try_from(order).expect("few enough");
        match self.form {
            Form::Transaction => self.by_transaction(&product, order).await,
            Form::OneStatement => self.by_one_statement(&product, order).await,
        }
    }
}

impl Connection {
    async fn by_transaction(&self, product: &str, order: i64) -> Answer {
        let [begin, hold, take, commit, rollback] = self.statements.as_slice() else {
            unreachable!("five are prepared")
        };
        let none: [&str; 0] = [];
        let run = async || {
            self.client.execute_raw(begin, none).await?;
            let answer = match self.client.execute(hold, &[&order, &product]).await? {
                // The hold exists: a repeat.
                0 => Answer::Reserved,
                _ => match self.client.execute(take, &[&product]).await? {
                    0 => Answer::SoldOut,
                    _ => Answer::Reserved,
                },
            };
            let end = if answer == Answer::SoldOut { rollback } else { commit };
            self.client.execute_raw(end, none).await.map(|_| answer)
        };
        run().await.expect("PostgreSQL answers")
    }

    async fn by_one_statement(&self, product: &str, order: i64) -> Answer {
        let [reserve, look] = self.statements.as_slice() else { unreachable!("two are prepared") };
        match self.client.execute(reserve, &[&order, &product]).await {
            Ok(0) => match self.client.query_opt(look, &[&order, &product]).await.expect("PostgreSQL answers") {
                Some(_) => Answer::Reserved,
                None => Answer::SoldOut,
            },
            Ok(_) => Answer::Reserved,
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Answer::Reserved,
            Err(error) => panic!("{error}"),
        }
    }
}
