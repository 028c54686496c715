//! A slow disk: every sync takes 200 ms longer, under strace, and requests come at a rate that the shop cannot serve.
//!
//! It admits as many as it may work on and refuses the others at once, with 503 and Retry-After. So its queues and its
//! memory stay within their limits, admitted requests are answered in time, and reads do not wait for the disk. How
//! fast that is, is reported but not required, because machines are shared. Required are: every answer is a documented
//! one, queues and memory stay within their limits, some requests are refused and some succeed, and after a kill in the
//! middle of it everything that was acknowledged is there.

use std::{
    collections::BTreeMap,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use souk::internals::verify::{self, Source, Subject};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    Figure, Length, Outcome, Skipped,
    customers::{Crowd, PRODUCT, RENAMED},
    failed_call::{CUSTOMERS, Prepared},
    recorded::{Process, START_MAX, World},
    strace,
};

/// How much longer a sync takes, in microseconds.
const DELAY_MICROSECONDS: u64 = 200_000;
/// How many requests may be in flight.
const IN_FLIGHT_MAX: u64 = 32;
/// Requests per second, whether or not earlier ones were answered: with 32 in flight and 200 ms per sync at most 160
/// writes are possible.
const WRITES_PER_SECOND: u64 = 400;
const READS_PER_SECOND: u64 = 50;
/// How long the requests come in one run under strace. A short run has one such run.
const LOAD: Duration = Duration::from_secs(5);
const CYCLES: u64 = 1;
/// Customers whose carts are filled by the load.
const WRITERS: usize = 6;
/// The limit of `JournalLimits::queue_records_max`.
const QUEUE_RECORDS_MAX: u64 = 8_192;
/// How much its memory may grow under this load: far more than so few requests need, and far less than a queue without
/// a limit would.
const MEMORY_BYTES_MAX: u64 = 128 << 20;

/// The results of the requests of one kind.
struct Kind {
    /// The latencies of admitted requests, in milliseconds.
    latencies: Histogram<u64>,
    asked: u64,
    done: u64,
    refused: u64,
    shed: u64,
    unknown: u64,
}

impl Default for Kind {
    fn default() -> Self {
        Self { latencies: Histogram::new(3).unwrap(), asked: 0, done: 0, refused: 0, shed: 0, unknown: 0 }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (p50, p99) = (self.latencies.value_at_quantile(0.5), self.latencies.value_at_quantile(0.99));
        let share = 100 * self.shed / self.asked.max(1);
        write!(formatter, "{} of {} done, {share} % shed, p50 {p50} ms, p99 {p99} ms", self.done, self.asked)
    }
}

/// The totals so far.
#[derive(Default)]
struct Totals {
    cycles: u64,
    writes: Kind,
    reads: Kind,
    /// For each writer, how many units were acknowledged, and how many more may be in the cart.
    carts: BTreeMap<usize, (u64, u64)>,
    queue_records: u64,
    memory_bytes: u64,
    samples: u64,
    acknowledged: usize,
    violations: Vec<String>,
}

/// The target of the load.
#[derive(Clone)]
struct Target {
    client: Client,
    url: String,
    totals: Arc<Mutex<Totals>>,
}

impl Target {
    /// Adds one unit to this customer's cart.
    async fn write(self, writer: usize, token: String) {
        let body = json!({ "items": [{ "product_id": RENAMED, "quantity": 1 }] });
        let request = self.client.request(Method::POST, format!("{}/cart/add_products", self.url));
        let (status, wrong, elapsed) = answer(request.bearer_auth(token).json(&body)).await;
        let mut totals = self.totals.lock();
        let cart = totals.carts.entry(writer).or_default();
        cart.0 += u64::from(status == 200);
        // A request that was refused with a reason, or not admitted, was certainly not executed.
        cart.1 += u64::from(!matches!(status, 200 | 400..=499 | 503));
        totals.writes.count(status, elapsed);
        totals.violations.extend(wrong.map(|wrong| format!("a write: {wrong}")));
    }

    async fn read(self, search: bool) {
        let path = if search { format!("/products?q={RENAMED}") } else { format!("/products/{PRODUCT}") };
        let (status, wrong, elapsed) = answer(self.client.get(format!("{}{path}", self.url))).await;
        let mut totals = self.totals.lock();
        totals.reads.count(status, elapsed);
        let wrong = wrong.or_else(|| (!matches!(status, 200 | 503)).then(|| format!("{status}")));
        totals.violations.extend(wrong.map(|wrong| format!("GET {path}: {wrong}")));
    }

    /// The metrics with these names.
    async fn metrics<const N: usize>(&self, names: [&str; N]) -> Option<[u64; N]> {
        let text = self.client.get(format!("{}/metrics", self.url)).send().await.ok()?.text().await.ok()?;
        let value = |name: &str| {
            let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
            line.rsplit(' ').next()?.parse().ok()
        };
        let values: Option<Vec<u64>> = names.into_iter().map(value).collect();
        values?.try_into().ok()
    }
}

impl Kind {
    fn count(&mut self, status: u16, elapsed: Duration) {
        self.asked += 1;
        match status {
            200 => self.done += 1,
            400..=499 => self.refused += 1,
            503 => self.shed += 1,
            _ => self.unknown += 1,
        }
        if status != 503 {
            self.latencies.saturating_record(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        }
    }
}

/// The status of the answer, 0 without one, and what is wrong with it.
async fn answer(request: reqwest::RequestBuilder) -> (u16, Option<String>, Duration) {
    let began = Instant::now();
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return (0, Some(format!("no answer: {error}")), began.elapsed()),
    };
    let (status, again) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
    let body: Value = answer.json().await.unwrap_or_default();
    let documented = match (status, body["code"].as_str().unwrap_or_default()) {
        (200 | 400..=499, _) => true,
        (503, "overloaded" | "busy") | (504, "unknown-outcome" | "timed-out") => again,
        _ => false,
    };
    let wrong = (!documented).then(|| format!("{status} {body}, with Retry-After: {again}"));
    (status, wrong, began.elapsed())
}

pub(crate) async fn run(length: Length) -> Outcome {
    strace::probe().map_err(Skipped)?;
    let totals = Arc::new(Mutex::new(Totals::default()));
    let goes_on = || {
        let totals = totals.lock();
        totals.violations.is_empty() && length.goes_on(totals.cycles, CYCLES)
    };
    while goes_on() {
        one_shop(&totals).await;
    }
    let mut totals = totals.lock();
    let Totals { cycles, writes, reads, queue_records, memory_bytes, acknowledged, samples, violations, .. } =
        &mut *totals;
    if writes.done == 0 || writes.shed == 0 || reads.done == 0 || *acknowledged == 0 || *samples == 0 {
        violations.push(format!(
            "{acknowledged} acknowledged to the others, {samples} looks: the load was not what it should be"
        ));
    }
    if *queue_records > QUEUE_RECORDS_MAX || *memory_bytes > MEMORY_BYTES_MAX {
        violations.push("queues or memory grew beyond their limits".into());
    }
    let figure = format!(
        "{cycles} runs, syncs 200 ms late, {IN_FLIGHT_MAX} at work, {WRITES_PER_SECOND} writes/s asked: {writes}; reads: {reads}; at \
         most {queue_records} records queued, {} MiB more memory / {} pieces and {acknowledged} calls acknowledged",
        *memory_bytes >> 20,
        writes.done
    );
    Ok(Figure { figure, violations: std::mem::take(violations) })
}

/// A shop on a slow disk, killed under load, which must have kept everything that it acknowledged.
async fn one_shop(totals: &Arc<Mutex<Totals>>) {
    let prepared = Prepared::new(CUSTOMERS + WRITERS).await;
    let directory = tempfile::tempdir().unwrap();
    let (data, history) = (directory.path().join("shop"), directory.path().join("history.jsonl"));
    prepared.copy(&data);
    let in_flight = IN_FLIGHT_MAX.to_string();
    let command = Process::command(&data, &[("SOUK_LIMITS__IN_FLIGHT_MAX", &in_flight)]);
    let options = [
        "-etrace=fsync,fdatasync".to_owned(),
        format!("-einject=fsync,fdatasync:delay_exit={DELAY_MICROSECONDS}"),
        "-o/dev/null".to_owned(),
    ];
    let mut command = strace::around(&command, &options);
    command.stderr(Stdio::null());
    let mut shop = Process::begin(command, START_MAX).expect("it starts on a slow disk");
    let world = World::new(&history, &shop.url);
    let (recorded, writers) = prepared.tokens.split_at(1 + CUSTOMERS);
    let mut crowd = Crowd::default();
    crowd.resume(&world, recorded);
    let client = Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
    let mut target = Target { client, url: shop.url.clone(), totals: Arc::clone(totals) };
    {
        let mut totals = totals.lock();
        totals.cycles += 1;
        totals.carts.clear();
    }
    tokio::select! {
        () = load(&target, writers) => {}
        // Others shop meanwhile, and record the answers.
        () = async { loop { crowd.shop().await; } } => {}
    }
    shop.kill();

    // Without strace again.
    shop = Process::start(&data, &[]);
    world.url.lock().clone_from(&shop.url);
    target.url.clone_from(&shop.url);
    crowd.read_all().await;
    crowd.shop().await;
    crowd.read_all().await;
    for (writer, (_, token)) in writers.iter().enumerate() {
        let request = target.client.get(format!("{}/cart", shop.url)).bearer_auth(token);
        let cart: Value = request.send().await.unwrap().json().await.unwrap();
        let kept =
            cart["items"].as_array().map_or(0, |items| items.iter().filter_map(|item| item["quantity"].as_u64()).sum());
        let mut totals = totals.lock();
        let (done, unknown) = totals.carts.get(&writer).copied().unwrap_or_default();
        if kept < done || kept > done + unknown {
            totals
                .violations
                .push(format!("writer {writer} has {kept} pieces, was told of {done}, and {unknown} more may be"));
        }
    }
    shop.kill();
    let verdict = verify::verify(Subject { history: Some(history), ledger: None, shop: Source::Directory(data) }).await;
    let mut totals = totals.lock();
    totals.acknowledged += crowd.acknowledged;
    if !verdict.is_clean() {
        totals.violations.push(format!("{:?}\n{}", verdict.stopped, verdict.report));
    }
}

/// Requests at their rate, and a sample of the metrics now and then. When it returns, all requests have been answered.
async fn load(target: &Target, writers: &[(String, String)]) {
    let names = ["souk_journal_queue_records", "process_resident_memory_bytes"];
    let before = target.metrics(names).await;
    let mut requests = JoinSet::new();
    let (began, mut sent) = (Instant::now(), 0);
    let every = WRITES_PER_SECOND / READS_PER_SECOND + 1;
    while began.elapsed() < LOAD {
        // All that are due by the clock, also after a pause of this machine.
        let due =
            u64::try_from(began.elapsed().as_millis()).unwrap_or(0) * (WRITES_PER_SECOND + READS_PER_SECOND) / 1_000;
        for number in sent..due {
            if number.is_multiple_of(every) {
                requests.spawn(target.clone().read(number.is_multiple_of(2)));
            } else {
                let writer = fastrand::usize(..writers.len());
                requests.spawn(target.clone().write(writer, writers[writer].1.clone()));
            }
        }
        sent = due;
        if let (Some([_, resident]), Some([queued, now])) = (before, target.metrics(names).await) {
            let mut totals = target.totals.lock();
            totals.samples += 1;
            totals.queue_records = totals.queue_records.max(queued);
            totals.memory_bytes = totals.memory_bytes.max(now.saturating_sub(resident));
        }
        sleep(Duration::from_millis(5)).await;
    }
    while let Some(sent) = requests.join_next().await {
        sent.unwrap();
    }
}
