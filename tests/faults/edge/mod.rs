//! Attacks on the edge, and honest customers meanwhile.
//!
//! The shop is the real program, with the limits of its defaults (in a short run, with fewer places, so that few
//! attackers fill them). Attackers come from 127.0.1.0/24, once from one address and once from 200, at the lowest
//! priority and with at most half of a processor; the honest come from 127.0.2.1, so that no limit by peer passes by
//! accident. A row of the table is an attack: honest requests answered, their p99 over all classes without and with the
//! attack, and the shop's memory before, at its most, and after.
//!
//! A short run takes one of the two numbers of addresses for each attack, by the seed. Every run checks answers and
//! memory. `--minutes`, the length of all attacks together, also checks the p99 of every
//! class; a short run has too few requests for that.

mod attacks;
mod honest;
mod http2;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

pub(crate) use self::attacks::attacks_here;
use self::{
    attacks::{ATTACKS, Attack},
    honest::{CLASSES, Customer, PRICE, PRODUCT, Results},
};
use crate::{
    Figure, Length, Outcome,
    recorded::{Process, World},
};

/// How many honest customers there are.
const CUSTOMERS: usize = 3;
/// How long one attack lasts in a short run, after the time that its connections take to come.
const SHORT: Duration = Duration::from_millis(1_000);
/// The honest come when so many attackers are there, of which a busy machine may start only some soon.
const COME_PERCENT: u64 = 80;
/// How long they may take: attackers have the lowest priority.
const COME_MAX: Duration = Duration::from_secs(30);
/// The time between two looks at the shop, and for it to recover after an attack.
const PAUSE: Duration = Duration::from_millis(100);
/// The least share of honest requests that must be answered.
const ANSWERED_PERCENT: u64 = 99;
/// By how much the p99 of a class may grow under an attack.
const SLOWER: u32 = 5;
/// A p99 below this is not compared: on two processors, half a one that attacks is felt by every honest request.
const P99_LEAST: Duration = Duration::from_millis(20);
/// Memory that moves without any attack, in MiB: allocations that are returned to the system later.
const MOVES_MIB: u64 = 32;
/// What answers and bodies that wait may take in all, in MiB: `limits.unread_bytes_max` and `limits.bodies_bytes_max`.
const WAITING_MIB: u64 = 64;

/// The highest memory of a process since it was last asked, in KiB.
#[derive(Default)]
struct Memory {
    most_kib: AtomicU64,
    ended: AtomicBool,
}

impl Memory {
    async fn watch(self: Arc<Self>, process: u32) {
        while !self.ended.load(Ordering::Relaxed) {
            self.most_kib.fetch_max(resident_kib(process), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// An attacking process. Dropping it ends it.
struct Attackers(Child);

impl Attackers {
    fn begin(attack: &Attack, shop: &str, sources: usize, connections: usize, token: &str) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(program).stdin(Stdio::null()).stdout(Stdio::null());
        command.env(attacks::ATTACK, attack.name).env(attacks::TARGET, shop.trim_start_matches("http://"));
        command.env(attacks::SOURCES, sources.to_string()).env(attacks::CONNECTIONS, connections.to_string());
        Self(command.env(attacks::TOKEN, token).spawn().unwrap())
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Edge {
    shop: Process,
    customers: Vec<Arc<Customer>>,
    token: String,
    length: Duration,
    is_long: bool,
    calm: Results,
    violations: Vec<String>,
}

impl Edge {
    async fn honest(&self) -> Results {
        let shopping = self.customers.iter().map(|customer| tokio::spawn(Arc::clone(customer).shop(self.length)));
        let mut all = Results::default();
        for results in futures::future::join_all(shopping).await {
            all.add(results.unwrap());
        }
        all
    }

    async fn suffer(&mut self, attack: &Attack, sources: usize) -> Results {
        let (rest_kib, accepted) = (resident_kib(self.shop.id()), self.accepted().await);
        let memory = Arc::new(Memory::default());
        let watch = tokio::spawn(Arc::clone(&memory).watch(self.shop.id()));
        let connections = attack.connections[usize::from(self.is_long)].min(files_max());
        let attackers = Attackers::begin(attack, &self.shop.url, sources, connections, &self.token);
        let came = self.await_attack(accepted + connections as u64 * COME_PERCENT / 100).await;
        let results = self.honest().await;
        drop(attackers);
        tokio::time::sleep(PAUSE).await;
        memory.ended.store(true, Ordering::Relaxed);
        watch.await.unwrap();
        let most_kib = memory.most_kib.load(Ordering::Relaxed);
        let after_kib = resident_kib(self.shop.id());
        let (answered, asked) = (results.answered(), results.asked());
        let slowest = |results: &Results| CLASSES.map(|class| results.p99(class).as_millis()).into_iter().max();
        let (calm, attacked) = (slowest(&self.calm).unwrap_or(0), slowest(&results).unwrap_or(0));
        let allowed_mib = attack.allowed_mib(connections);
        println!(
            "  {:<26} {sources:>4} {connections:>7} {answered:>6}/{asked:<6} {calm:>6} {attacked:>6} ms {:>5} {:>5} {:>5} \
             {allowed_mib:>6} MiB",
            attack.name,
            rest_kib >> 10,
            most_kib >> 10,
            after_kib >> 10,
        );
        self.judge(
            &format!("{} from {sources}", attack.name),
            &results,
            most_kib.saturating_sub(rest_kib) >> 10,
            allowed_mib,
        );
        if !came {
            self.violations.push(format!("{}: the attackers did not come", attack.name));
        }
        results
    }

    /// Waits until the shop has accepted so many connections. Whether it has.
    async fn await_attack(&self, accepted: u64) -> bool {
        let began = Instant::now();
        while self.accepted().await < accepted {
            if began.elapsed() > COME_MAX {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
        true
    }

    /// How many connections the shop has accepted.
    async fn accepted(&self) -> u64 {
        let metrics = self.customers[0].metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix("souk_connections_accepted_total "));
        line.and_then(|count| count.parse().ok()).unwrap_or_default()
    }

    fn judge(&mut self, name: &str, results: &Results, grown_mib: u64, allowed_mib: u64) {
        let (answered, asked) = (results.answered(), results.asked());
        // Of a few requests, one may be lost to a busy machine.
        if answered + 1 < asked && answered * 100 < asked * ANSWERED_PERCENT || answered == 0 {
            self.violations.push(format!("{name}: {answered} of {asked} answered: {:?}", results.reasons));
        }
        if grown_mib > allowed_mib {
            self.violations.push(format!("{name}: memory grew by {grown_mib} MiB, {allowed_mib} are allowed"));
        }
        if !self.is_long {
            return;
        }
        for class in CLASSES {
            let (calm, attacked) = (self.calm.p99(class).max(P99_LEAST), results.p99(class));
            if attacked > calm * SLOWER {
                self.violations.push(format!("{name}: p99 of {class} is {attacked:.0?}, {calm:.0?} without"));
            }
        }
    }
}

impl Attack {
    /// By how much the shop's memory may grow, in MiB.
    fn allowed_mib(&self, connections: usize) -> u64 {
        let waiting = if self.fills { WAITING_MIB } else { 0 };
        MOVES_MIB + waiting + connections as u64 * self.allowed_kib / 1_024
    }
}

/// How many connections a process may have here.
fn files_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)).saturating_sub(200)
}

async fn open(directory: &Path, variables: &[(&str, &str)]) -> (Process, Vec<Arc<Customer>>, String) {
    let (data, tokens) = (directory.join("shop"), directory.join("tokens"));
    let shop = Process::start(&data, variables);
    let world = World::new(&directory.join("history.jsonl"), &shop.url);
    let seller = world.enter("seller", "seller@demo.example").await;
    seller.list(PRODUCT, PRICE).await;
    seller.set_stock(PRODUCT, 100_000_000).await;
    shop.stop();
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    let command = command.arg("--data-dir").arg(&data).args(["tokens", "--customers", &(CUSTOMERS + 1).to_string()]);
    let output = command.arg(&tokens).envs(variables.iter().copied()).env("SOUK_LOG", "off").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = std::fs::read_to_string(&tokens).unwrap();
    let token = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["access_token"].as_str().unwrap().to_owned()
    };
    let mut tokens: Vec<_> = lines.lines().map(token).collect();
    let attacker = tokens.pop().unwrap();
    let shop = Process::start(&data, variables);
    let customers = tokens.iter().map(|token| Arc::new(Customer::new(&shop.url, token))).collect();
    (shop, customers, attacker)
}

pub(crate) async fn run(length: Length) -> Outcome {
    fastrand::seed(length.seed);
    let directory = tempfile::tempdir().unwrap();
    let rows = 2 * ATTACKS.len() as u64;
    let each = length.minutes().map_or(SHORT, |minutes| Duration::from_secs(60 * minutes / rows).max(SHORT));
    let few = [
        ("SOUK_LIMITS__CONNECTIONS_MAX", "1000"),
        ("SOUK_LIMITS__CONNECTIONS_PER_PEER_MAX", "250"),
        ("SOUK_LIMITS__IN_FLIGHT_MAX", "256"),
        ("SOUK_LIMITS__BODIES_PER_PEER_MAX", "100"),
    ];
    let mut variables = vec![("SOUK_ACCESS_TOKEN_SECONDS", "3600")];
    if !length.is_long() {
        variables.extend(few);
    }
    let (shop, customers, token) = open(directory.path(), &variables).await;
    let (calm, violations) = (Results::default(), Vec::new());
    let mut edge = Edge { shop, customers, token, length: each, is_long: length.is_long(), calm, violations };
    // The first requests of a shop are slower.
    edge.honest().await;
    edge.calm = edge.honest().await;
    let calm = (edge.calm.answered(), edge.calm.asked());
    println!("  {calm:?} answered and asked without an attack");
    println!(
        "  {:<26} {:>4} {:>7} {:>13} {:>16} {:>28}",
        "attack", "from", "sockets", "honest", "p99 calm, then", "memory: rest, most, after, may grow by"
    );
    let mut all = Results::default();
    for attack in &ATTACKS {
        let from = [1, 200];
        for sources in if edge.is_long { from.to_vec() } else { vec![from[fastrand::usize(..2)]] } {
            all.add(edge.suffer(attack, sources).await);
        }
    }
    let (answered, asked, mut violations) = (all.answered(), all.asked(), edge.violations);
    if edge.shop.child.try_wait().unwrap().is_some() {
        violations.push("the shop has ended".into());
    }
    edge.shop.stop();
    let figure = format!(
        "{} attacks from 1 and from 200 addresses: {answered} of {asked} honest requests answered",
        ATTACKS.len()
    );
    Ok(Figure { figure, violations })
}
