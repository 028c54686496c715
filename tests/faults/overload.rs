//! Everybody wants one product: ten times as many customers come as the shop can serve.
//!
//! First the capacity is measured, with callers who wait for their answers. Then customers come at 1, 2, 5 and 10 times
//! that rate, whether or not earlier ones were served. The shop may shed requests with the documented answers. It must
//! not fail in any other way, exceed its limits, sell more than the stock, or lose a paid order. The generator shares
//! this machine with the shop, so at high rates the goodput is also what the generator leaves of the processors.
//!
//! `--minutes` is the length of the stage at ten times the capacity.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use souk::internals::verify::{self, Source, Subject};
use souk_load::{Arrivals, Kind, Plan, Protocol, Report, Scenario};

use crate::{
    Figure, Length, Outcome,
    recorded::{Process, World},
};

/// How long each short stage is, in seconds.
const STAGE_SECONDS: u64 = 2;
/// By which factors the capacity is exceeded.
const FACTORS: [u32; 4] = [1, 2, 5, 10];
/// The callers who measure the capacity: enough to share batches, and few enough not to be shed.
const CALLERS: usize = 64;
/// How many customers come at once at most: several times what the shop admits.
const CUSTOMERS: usize = 1_000;
/// How many requests the shop admits: below the default of 4,096, so that a thousand connections overload it.
const IN_FLIGHT_MAX: u64 = 200;
/// So much that it is never sold out: refusals would be cheaper than sales.
const STOCK: u64 = 100_000_000;
const PRODUCT: &str = "hot";
const PRICE: u64 = 1_000;
/// Unpaid orders expire soon: a customer whose payment was shed must not stay at the limit of open orders for the whole
/// run.
const DEADLINE_MS: &str = "5000";
/// The most memory that the shop may use in this run, in MiB. The limits in docs/OPERATIONS.md come to more, 1.4 GB, as
/// they count views of all nine kinds of entities, and this run sells one product.
const MEMORY_MIB_MAX: u64 = 1_150;
/// The documented answers to too many requests: refused at once, or past the time limit of a request.
const DOCUMENTED: [(u16, &str); 4] = [(503, "overloaded"), (503, "busy"), (504, "unknown-outcome"), (504, "timed-out")];
/// One request in this many may have no answer: a connection that was idle for too long may end just as the next
/// request is sent, and a busy machine makes the generator itself miss its time-out.
const UNANSWERED_ONE_OF: u64 = 100;
/// How often memory and queues are sampled.
const SAMPLE: Duration = Duration::from_millis(100);

/// The highest samples during a stage.
#[derive(Default)]
struct Peaks {
    resident_kib: AtomicU64,
    queue_records: AtomicU64,
    live_entities: AtomicU64,
    ended: AtomicBool,
}

impl Peaks {
    async fn watch(self: Arc<Self>, shop: u32, metrics: String) {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(1)).build().unwrap();
        while !self.ended.load(Ordering::Relaxed) {
            self.resident_kib.fetch_max(resident_kib(shop), Ordering::Relaxed);
            // A sample may be shed like every other request.
            if let Ok(answer) = client.get(&metrics).send().await
                && answer.status().is_success()
                && let Ok(text) = answer.text().await
            {
                self.queue_records.fetch_max(gauge(&text, "souk_journal_queue_records"), Ordering::Relaxed);
                self.live_entities.fetch_max(gauge(&text, "souk_actors_live"), Ordering::Relaxed);
            }
            tokio::time::sleep(SAMPLE).await;
        }
    }
}

/// The sum of all gauges whose names begin with `name`.
fn gauge(metrics: &str, name: &str) -> u64 {
    let values = metrics.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit_once(' '));
    values.filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn plan(url: &str, tokens: &Path, arrivals: Arrivals, seconds: u64, seed: u64) -> Plan {
    Plan {
        url: url.to_owned(),
        scenario: Scenario::FlashSale,
        arrivals,
        seconds,
        users: CUSTOMERS,
        tokens: Some(tokens.to_owned()),
        operator: None,
        in_flight_max: 2 * CUSTOMERS,
        request_ms_max: 30_000,
        products: 1,
        product: Some(PRODUCT.into()),
        queries: None,
        baskets: None,
        history: None,
        seed,
        protocol: Protocol::Http1,
        generator: "a test".into(),
    }
}

/// The result of a stage.
struct Stage {
    /// Paid orders per second.
    goodput: f64,
    wrong: Vec<String>,
    peaks: Arc<Peaks>,
}

async fn stage(shop: &Process, plan: Plan, name: &str) -> Stage {
    let peaks = Arc::new(Peaks::default());
    let watch = tokio::spawn(Arc::clone(&peaks).watch(shop.id(), format!("{}/metrics", shop.url)));
    // On a thread of its own, because its future cannot be sent to another thread.
    let runtime = tokio::runtime::Handle::current();
    let load = move || runtime.block_on(souk_load::run(plan, std::future::pending(), |_| {}));
    let report = tokio::task::spawn_blocking(load).await.unwrap().unwrap();
    peaks.ended.store(true, Ordering::Relaxed);
    watch.await.unwrap();
    let row = |kind: Kind| report.rows.iter().find(|row| row.kind == kind);
    let p99 = |kind| row(kind).map_or(0.0, |row| row.p99_ms);
    let goodput = row(Kind::Payment).map_or(0.0, |row| row.done as f64 / report.seconds);
    let (mut asked, mut answered) = (0, 0);
    for row in &report.rows {
        asked += row.done + row.refused + row.failed + row.unanswered;
        answered += row.done + row.refused;
    }
    let shed = 100.0 * (asked - answered) as f64 / asked.max(1) as f64;
    let (resident, queue, live) = (&peaks.resident_kib, &peaks.queue_records, &peaks.live_entities);
    println!(
        "  {name:<9} {goodput:>8.0} {:>9.0} {:>10.1} {:>10.1} {:>10.1} {shed:>6.1} % {:>8} {:>7} {:>7} {:>6} MiB",
        asked as f64 / report.seconds,
        p99(Kind::AddToCart),
        p99(Kind::Checkout),
        p99(Kind::Payment),
        report.not_sent,
        queue.load(Ordering::Relaxed),
        live.load(Ordering::Relaxed),
        resident.load(Ordering::Relaxed) >> 10,
    );
    Stage { goodput, wrong: wrong(&report, name), peaks }
}

/// The violations of a stage, which must not occur at any load.
fn wrong(report: &Report, name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let failures = report.problems.iter().filter(|problem| problem.status >= 500);
    for problem in failures.filter(|problem| !DOCUMENTED.contains(&(problem.status, problem.code.as_str()))) {
        wrong.push(format!("{name}: an answer that is not documented for overload: {problem:?}"));
    }
    let unanswered: u64 = report.rows.iter().map(|row| row.unanswered).sum();
    let asked: u64 = unanswered + report.rows.iter().map(|row| row.done + row.refused + row.failed).sum::<u64>();
    if unanswered * UNANSWERED_ONE_OF > asked {
        wrong.push(format!("{name}: {unanswered} of {asked} requests were not answered at all"));
    }
    if !report.verdict.is_clean() || report.verdict.stocks == 0 || report.given_up {
        wrong.push(format!("{name}: {}, given up: {}", report.verdict, report.given_up));
    }
    wrong
}

fn print_heading(before_mib: u64) {
    println!("  {} in flight at the most; {CUSTOMERS} customers; {before_mib} MiB resident before", IN_FLIGHT_MAX);
    println!(
        "  {:<9} {:>8} {:>9} {:>10} {:>10} {:>10} {:>8} {:>8} {:>7} {:>7} {:>10}",
        "load",
        "paid/s",
        "asked/s",
        "p99 cart",
        "checkout",
        "payment ms",
        "shed",
        "not sent",
        "queue",
        "live",
        "resident"
    );
}

pub(crate) async fn run(length: Length) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let (data, tokens) = (directory.path().join("shop"), directory.path().join("tokens"));
    let limit = IN_FLIGHT_MAX.to_string();
    let variables = [
        ("SOUK_LIMITS__IN_FLIGHT_MAX", limit.as_str()),
        ("SOUK_PAYMENT_DEADLINE_MS", DEADLINE_MS),
        ("SOUK_ACCESS_TOKEN_SECONDS", "3600"),
    ];
    let shop = Process::start(&data, &variables);
    let world = World::new(&directory.path().join("history.jsonl"), &shop.url);
    let seller = world.enter("seller", "seller@demo.example").await;
    seller.list(PRODUCT, PRICE).await;
    seller.set_stock(PRODUCT, STOCK).await;
    shop.stop();
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    let command = command.arg("--data-dir").arg(&data).args(["tokens", "--operator", "admin@demo.example"]);
    let command = command.args(["--customers", &CUSTOMERS.to_string()]).arg(&tokens).envs(variables);
    let output = command.env("SOUK_LOG", "off").output().unwrap();
    assert!(output.status.success(), "{output:?}");

    let shop = Process::start(&data, &variables);
    let before_mib = resident_kib(shop.id()) >> 10;
    print_heading(before_mib);
    let closed = Arrivals::Closed { callers: CALLERS };
    let capacity = stage(&shop, plan(&shop.url, &tokens, closed, STAGE_SECONDS, length.seed), "capacity").await;
    let (mut goodputs, mut violations, mut peak_kib) = (Vec::new(), capacity.wrong, 0);
    for factor in FACTORS {
        let is_last = factor == FACTORS[FACTORS.len() - 1];
        let seconds = length.minutes().filter(|_| is_last).map_or(STAGE_SECONDS, |minutes| 60 * minutes);
        let open = Arrivals::Open { rate: (capacity.goodput * f64::from(factor)).max(1.0) };
        let plan = plan(&shop.url, &tokens, open, seconds, length.seed ^ u64::from(factor));
        let stage = stage(&shop, plan, &format!("{factor} x")).await;
        goodputs.push(stage.goodput);
        violations.extend(stage.wrong);
        peak_kib = stage.peaks.resident_kib.load(Ordering::Relaxed).max(peak_kib);
    }
    let peak_mib = peak_kib >> 10;
    if peak_mib > MEMORY_MIB_MAX {
        violations.push(format!("{peak_mib} MiB resident, {MEMORY_MIB_MAX} are allowed"));
    }
    if goodputs.iter().any(|goodput| *goodput <= 0.0) {
        violations.push(format!("nobody was served any more: {goodputs:?} paid orders a second"));
    }
    shop.stop();
    let verdict = verify::verify(Subject { shop: Source::Directory(data), ..Subject::default() }).await;
    if !verdict.is_clean() {
        violations.push(format!("at rest: {:?}\n{}", verdict.stopped, verdict.report));
    }
    let orders = verdict.report.looked_at.get("orders").copied().unwrap_or_default();
    let of = |goodput: &f64| format!("{:.0}", goodput);
    let goodputs: Vec<String> = goodputs.iter().map(of).collect();
    let goodputs = goodputs.join("/");
    let capacity = capacity.goodput;
    let memory = format!("{before_mib} MiB before, {peak_mib} at the peak");
    let figure =
        format!("capacity {capacity:.0}/s, goodput at 1/2/5/10 x {goodputs} paid/s, {memory}, {orders} orders");
    Ok(Figure { figure, violations })
}
