//! The shop whose files are damaged: made once, with everything in its directory that a shop can have there.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::recorded::{Person, Process, World};

/// Tokens and unpaid orders outlive a run, so that no response changes by itself. The log is kept although a base
/// replaces it.
const KEPT: [(&str, &str); 4] = [
    ("SOUK_ACCESS_TOKEN_SECONDS", "3600"),
    ("SOUK_PAYMENT_DEADLINE_MS", "86400000"),
    ("SOUK_LOG", "warn"),
    // All customers have one address.
    ("SOUK_LIMITS__RATES", "off"),
];
/// The same, but the log that a base replaces is removed: then only the base has what the state has.
const SHORTENED: (&str, &str) = ("SOUK_RETENTION__LOG_BYTES", "0");
const PRODUCTS: [&str; 5] = ["lamp", "desk", "chair", "shelf", "clock"];
const PRICE: u64 = 700;
/// How long a start may take that rebuilds everything in a debug build on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);
const SEARCH_MAX: Duration = Duration::from_secs(30);

/// Status and body of every read, by person and path.
pub(crate) type Responses = BTreeMap<(String, String), (u16, Value)>;

/// The shop whose directory is copied.
pub(crate) struct Original {
    directory: TempDir,
    world: Arc<World>,
    people: Vec<Person>,
    /// The reads that are compared: the index of the person, and the path.
    reads: Vec<(usize, String)>,
    variables: Vec<(&'static str, &'static str)>,
}

/// A start of a shop that may be refused.
pub(crate) enum Started {
    Running(Running),
    /// With its standard error, and its exit code.
    Refused(String, Option<i32>),
}

pub(crate) struct Running {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Running {
    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its standard error so far: warnings and errors.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Original {
    /// Makes the shop: orders in every stage, a sealed segment, a base, a checkpoint, a backup, and a tail that only
    /// the log has.
    pub(crate) async fn make(shortened: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("shop");
        let mut variables = KEPT.to_vec();
        variables.extend(shortened.then_some(SHORTENED));
        let shop = Process::start(&data, &variables);
        let world = World::new(&directory.path().join("history.jsonl"), &shop.url);
        let mut people = Vec::new();
        for name in ["seller", "admin", "ann", "bob"] {
            people.push(world.enter(name, &format!("{name}@demo.example")).await);
        }
        for product in PRODUCTS {
            people[0].list(product, PRICE).await;
            people[0].set_stock(product, 100).await;
        }
        let mut made = Self { directory, world, people, reads: Vec::new(), variables };
        made.trade("early").await;
        shop.stop();
        // Each base begins a segment, which seals the one before.
        made.souk(&["compact"]);
        made.souk(&["backup", made.backup().to_str().unwrap()]);
        fs::copy(made.data().join("simulated-provider.jsonl"), made.ledger()).unwrap();
        super::copy(&data, &made.older());
        let shop = Process::start(&data, &made.variables);
        made.world.url.lock().clone_from(&shop.url);
        made.trade("late").await;
        shop.stop();
        // In a shop that removes what a base replaces, a second base would leave no sealed segment.
        if !shortened {
            made.souk(&["compact"]);
        }
        let mut shop = Process::start(&data, &made.variables);
        made.world.url.lock().clone_from(&shop.url);
        made.trade("last").await;
        made.add_reads().await;
        made.settled().await.unwrap();
        shop.kill();
        made
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("shop")
    }

    pub(crate) fn backup(&self) -> PathBuf {
        self.directory.path().join("backup")
    }

    /// The shop as of the backup.
    pub(crate) fn older(&self) -> PathBuf {
        self.directory.path().join("older")
    }

    /// The provider's ledger as of the backup, which does not have it.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.directory.path().join("ledger.jsonl")
    }

    pub(crate) fn history(&self) -> PathBuf {
        self.directory.path().join("history.jsonl")
    }

    fn souk(&self, arguments: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
        let command = command.arg("--data-dir").arg(self.data()).args(arguments).envs(self.variables.iter().copied());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Customers order, pay, are declined, cancel, leave things in their carts and orders unpaid.
    async fn trade(&mut self, when: &str) {
        for (number, customer) in self.people[2..].iter().enumerate() {
            customer.remove(PRODUCTS[number]).await;
            for (turn, method) in ["tok_success", "tok_decline", "cancelled", "unpaid"].into_iter().enumerate() {
                customer.add(PRODUCTS[(number + turn) % PRODUCTS.len()], 2, None).await;
                let key = format!("{when}-{method}");
                let order = customer.checkout(2 * PRICE, &key).await.unwrap();
                match method {
                    "cancelled" => {
                        customer.cancel(&order).await;
                        customer.remove(PRODUCTS[(number + turn) % PRODUCTS.len()]).await;
                    }
                    "unpaid" => {}
                    method => customer.pay(&order, method, &key).await,
                }
                self.reads.push((2 + number, format!("/orders/{order}")));
            }
            let stars = json!({ "rating": 4, "title": when, "text": "It stands where it was put." });
            customer.send(Method::POST, "/products/lamp/reviews", stars, None).await.unwrap();
            customer.add(PRODUCTS[number], 3, None).await;
        }
    }

    /// Adds the reads of products, lists and carts.
    async fn add_reads(&mut self) {
        for product in PRODUCTS.into_iter() {
            self.reads.push((2, format!("/products/{product}")));
            self.reads.push((2, format!("/products?q={product}")));
            self.reads.push((0, format!("/products/{product}/inventory")));
        }
        self.reads
            .extend(["/products/lamp/reviews", "/products?limit=100", "/categories"].map(|path| (2, path.into())));
        for customer in [2, 3] {
            self.reads.extend(["/cart", "/orders?limit=100"].map(|path| (customer, path.into())));
        }
        self.reads.push((1, "/orders?stage=open&limit=100".into()));
    }

    /// Starts a shop on this directory.
    pub(crate) fn start(&self, data: &Path) -> Started {
        self.start_as(data, None)
    }

    /// The same as another user.
    pub(crate) fn start_as(&self, data: &Path, user: Option<u32>) -> Started {
        let log = data.with_extension("log");
        let stderr = fs::File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .envs(self.variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, first) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            use std::io::{BufRead, BufReader};
            let mut lines = BufReader::new(output).lines();
            let _ = sender.send(lines.next().and_then(Result::ok));
            lines.for_each(drop);
        });
        let greeting = first.recv_timeout(START_MAX);
        let url = greeting.as_ref().ok().cloned().flatten().and_then(|line| Some(line.rsplit_once(' ')?.1.to_owned()));
        let mut running = Running { child, url: url.clone().unwrap_or_default(), log };
        match (greeting, url) {
            (_, Some(_)) => Started::Running(running),
            (Ok(_), None) => {
                let code = running.child.wait().ok().and_then(|ended| ended.code());
                Started::Refused(running.stderr(), code)
            }
            (Err(_), None) => Started::Refused(format!("it neither starts nor ends\n{}", running.stderr()), None),
        }
    }

    /// The responses of this shop to all reads, once its lists and its search have caught up.
    pub(crate) async fn responses(&mut self, shop: &Running) -> Result<Responses, String> {
        self.world.url.lock().clone_from(&shop.url);
        self.settled().await?;
        self.responses_now(shop).await
    }

    /// The responses of this shop to all reads at this moment.
    pub(crate) async fn responses_now(&mut self, shop: &Running) -> Result<Responses, String> {
        self.world.url.lock().clone_from(&shop.url);
        // A signing key that was made anew ends all tokens; accounts and passwords must be what they were.
        if self.people[2].send(Method::GET, "/cart", Value::Null, None).await.is_none_or(|(status, _)| status == 401) {
            for person in &mut self.people {
                let email = format!("{}@demo.example", person.name);
                *person = self
                    .world
                    .log_in(&person.name, &email)
                    .await
                    .map_err(|why| format!("nobody can log in any more: {why}"))?;
            }
        }
        let mut responses = Responses::new();
        for (person, path) in &self.reads {
            let person = &self.people[*person];
            let answer = person.send(Method::GET, path, Value::Null, None).await.ok_or("it does not answer")?;
            responses.insert((person.name.clone(), path.clone()), answer);
        }
        Ok(responses)
    }

    async fn settled(&self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let answer = self.people[0].send(Method::GET, "/readyz", Value::Null, None).await.ok_or("it is gone")?;
            let behind = ["lists_lag_bytes", "search_lag_bytes"].iter().any(|lag| answer.1[lag] != 0);
            if !behind && answer.1["search"] == "ready" {
                return Ok(());
            }
            if began.elapsed() > SEARCH_MAX {
                return Err(format!("its lists and its search do not catch up: {}", answer.1));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
