//! Hundreds of actors panic, again and again, in the real binary: only their own ids are affected.
//!
//! This needs no hook in the program. The test appends to the log of a stopped shop an event that violates a rule of
//! its entity: a sale of stock that nobody had reserved. `apply` asserts the rules, so every actor that starts on such
//! a stream panics during the replay, now and on every later start: a poisoned entity.
//!
//! Then many clients request the poisoned ids at once and without a pause, while customers shop for other products.
//! Each poisoned id must answer with a refusal or a fault without delay, and restart only as often as its back-off
//! allows, and all customers must be served normally. At the end the checker may find nothing wrong but the poison.
//!
//! `--minutes` is the length of the storm.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use souk::{
    domain::{
        entity::{Entity, EntityId, Timestamp},
        ids::{OrderId, ProductId},
        inventory::{Event, Inventory},
    },
    internals::{
        actors::records::{EVENT_VERSION, Header, encode_event},
        storage::{Append, Journal, JournalConfig, Stream},
        verify::{self, Source, Subject, history::Call},
    },
};
use tokio::sync::oneshot;

use crate::{
    Figure, Length, Outcome,
    recorded::{Person, Process, START_MAX, World},
};

/// How many ids are poisoned; with their back-off they restart about a thousand times within a short storm.
const POISONED: usize = 150;
/// How long a short storm is.
const STORM: Duration = Duration::from_secs(8);
/// How many clients request poisoned ids, one after the other.
const STORMERS: usize = 8;
const CUSTOMERS: usize = 4;
const PRODUCT: &str = "healthy";
const PRICE: u64 = 300;
/// The back-off after the first failure, which doubles up to the highest, in milliseconds: as in `DirectoryLimits`.
const BACK_OFF_MS_MIN: u64 = 50;
const BACK_OFF_MS_MAX: u64 = 30_000;
/// The answers that a poisoned id may give: a fault, or that it cannot be served now.
const REFUSALS: [u16; 2] = [500, 503];
/// How long an answer of a poisoned id may take at most: the time limit of a request. It is a bound, not a measurement.
const ANSWER_MAX: Duration = Duration::from_secs(15);

fn name(number: usize) -> String {
    format!("poisoned-{number:04}")
}

/// Appends the event that is not possible for an inventory.
async fn poison(data: &Path) {
    let journal = Journal::open(JournalConfig::new(data.join("journal"))).unwrap();
    for number in 0..POISONED {
        let product: ProductId = name(number).parse().unwrap();
        let (lease, loaded) = journal.activate(&Stream::new(Inventory::KIND as u8, &product.to_key())).await.unwrap();
        let payload =
            encode_event::<Inventory>(Header::default(), &Event::Fulfilled { order: OrderId(1), at: Timestamp(0) });
        let sequence = loaded.sequence() + 1;
        let (done, durable) = oneshot::channel();
        let append = Append { sequence, version: EVENT_VERSION, payload };
        journal.reserve().await.unwrap().append(&lease, append, |result| done.send(result).unwrap());
        durable.await.unwrap().unwrap();
    }
    journal.close().await.unwrap();
}

/// What the clients have seen during the storm.
#[derive(Default)]
struct Seen {
    ended: AtomicBool,
    statuses: Mutex<BTreeMap<u16, u64>>,
    slowest_ms: AtomicU64,
    served: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl Seen {
    fn wrong(&self, what: String) {
        self.wrong.lock().push(what);
    }

    /// Requests one poisoned id after the other, with commands and reads.
    async fn storm(self: Arc<Self>, seller: Person, mut random: fastrand::Rng) {
        while !self.ended.load(Ordering::Relaxed) {
            let path = format!("/products/{}/inventory", name(random.usize(..POISONED)));
            let began = Instant::now();
            // Commands start an actor; a read fails in the request.
            let answer = match random.u8(..4) {
                0 => seller.send(Method::GET, &path, Value::Null, None).await,
                _ => seller.send(Method::PUT, &path, json!({ "on_hand": random.u32(1..100) }), None).await,
            };
            self.slowest_ms.fetch_max(u64::try_from(began.elapsed().as_millis()).unwrap(), Ordering::Relaxed);
            let Some((status, body)) = answer else { return self.wrong(format!("{path} is not answered")) };
            *self.statuses.lock().entry(status).or_default() += 1;
            if !REFUSALS.contains(&status) {
                return self.wrong(format!("{path} is answered {status}: {body}"));
            }
        }
    }

    /// Shops normally; any refusal is a violation.
    async fn shop(self: Arc<Self>, customer: Person) {
        for turn in 0.. {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            let key = turn.to_string();
            customer.add(PRODUCT, 1, None).await;
            let Some(order) = customer.checkout(PRICE, &key).await else {
                return self.wrong(format!("{} cannot check out", customer.name));
            };
            customer.pay(&order, "tok_success", &key).await;
            let shown = customer.send(Method::GET, &format!("/orders/{order}"), Value::Null, None).await;
            let status = shown.map_or(Value::Null, |(_, order)| order["status"].clone());
            if status != "confirmed" && status != "paid" {
                return self.wrong(format!("an order of {} is {status} after its payment", customer.name));
            }
            self.served.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How often each id started and failed, according to the log.
fn failures(log: &str) -> BTreeMap<String, u64> {
    let mut failures = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("an entity failed")) {
        let id = line.split_whitespace().find_map(|word| word.strip_prefix("id=")).unwrap_or("?");
        *failures.entry(id.to_owned()).or_default() += 1;
    }
    failures
}

/// How often an id may fail in this time: at once, and after each back-off.
fn failures_max(time: Duration) -> u64 {
    let (mut at, mut back_off, mut count) = (0, BACK_OFF_MS_MIN, 1);
    while at < u64::try_from(time.as_millis()).unwrap() {
        at += back_off;
        back_off = (2 * back_off).min(BACK_OFF_MS_MAX);
        count += 1;
    }
    count
}

/// Requests all poisoned ids, and lets customers shop, for this time.
async fn storm(world: &Arc<World>, seller: &Person, seed: u64, time: Duration) -> Arc<Seen> {
    let mut customers = Vec::new();
    for number in 0..CUSTOMERS {
        let name = format!("customer-{number}");
        customers.push(world.enter(&name, &format!("{name}@example.org")).await);
    }
    let seen = Arc::new(Seen::default());
    let mut at_work: Vec<_> = (0..STORMERS as u64)
        .map(|number| {
            let random = fastrand::Rng::with_seed(seed ^ number);
            tokio::spawn(Arc::clone(&seen).storm(seller.clone(), random))
        })
        .collect();
    at_work.extend(customers.into_iter().map(|customer| tokio::spawn(Arc::clone(&seen).shop(customer))));
    tokio::time::sleep(time).await;
    seen.ended.store(true, Ordering::Relaxed);
    for work in at_work {
        work.await.unwrap();
    }
    seen
}

/// The checker must find the poison, and nothing else.
async fn check(history: PathBuf, data: PathBuf, violations: &mut Vec<String>) {
    let shop = Source::Directory(data);
    // The checker replays the poison, too, and would print each panic.
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let verdict = verify::verify(Subject { history: Some(history), ledger: None, shop }).await;
    std::panic::set_hook(loud);
    let poison = |subject: &str| subject.contains("poisoned-");
    let others = verdict.report.findings.iter().filter(|finding| !poison(&finding.subject));
    violations.extend(others.map(|finding| format!("{} {}", finding.subject, finding.what)));
    if verdict.stopped.is_some() || !verdict.report.findings.iter().any(|finding| poison(&finding.subject)) {
        violations.push(format!("the check did not see the poison: {:?}\n{}", verdict.stopped, verdict.report));
    }
}

/// Only poisoned ids may fail, and none more often than its back-off allows.
fn check_failures(failures: &BTreeMap<String, u64>, most: u64, violations: &mut Vec<String>) {
    for (id, count) in failures.iter().filter(|(id, count)| !id.starts_with("poisoned-") || **count > most) {
        violations
            .push(format!("{id} failed {count} times; its back-off allows {most}, and nobody else may fail at all"));
    }
    if failures.len() < POISONED / 2 {
        violations.push(format!("only {} of {POISONED} ids failed: the poison does not work", failures.len()));
    }
}

pub(crate) async fn run(length: Length) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (data, history, log) = (at("shop"), at("history.jsonl"), at("log"));
    let shop = Process::start(&data, &[]);
    let world = World::new(&history, &shop.url);
    let seller = world.enter("seller", "seller@demo.example").await;
    seller.list(PRODUCT, PRICE).await;
    seller.call(Call::StockSet { product: PRODUCT.into(), on_hand: 1_000_000 }).await;
    let listings = stream::iter(0..POISONED).map(|number| {
        let seller = seller.clone();
        async move { seller.list(&name(number), PRICE).await }
    });
    listings.buffer_unordered(STORMERS).collect::<Vec<()>>().await;
    shop.stop();
    poison(&data).await;

    let variables = [("SOUK_LOG", "error"), ("RUST_BACKTRACE", "0"), ("SOUK_ACCESS_TOKEN_SECONDS", "3600")];
    let mut command = Process::command(&data, &variables);
    command.stderr(fs::File::create(&log).unwrap());
    let mut shop = Process::begin(command, START_MAX).expect("the shop says where it listens");
    world.url.lock().clone_from(&shop.url);
    let seller = world.enter("seller", "seller@demo.example").await;
    let began = Instant::now();
    let time = length.minutes().map_or(STORM, |minutes| Duration::from_secs(60 * minutes));
    let seen = storm(&world, &seller, length.seed, time).await;
    let took = began.elapsed();
    let mut violations = std::mem::take(&mut *seen.wrong.lock());
    let ready = seller.send(Method::GET, "/readyz", Value::Null, None).await;
    if ready.as_ref().is_none_or(|(status, _)| *status != 200) {
        violations.push(format!("after the storm the shop is not ready: {ready:?}"));
    }
    shop.kill();

    let failures = failures(&fs::read_to_string(&log).unwrap());
    let most = failures_max(took);
    check_failures(&failures, most, &mut violations);
    let restarts: u64 = failures.values().sum();
    check(history, data, &mut violations).await;
    let (served, statuses) = (seen.served.load(Ordering::Relaxed), seen.statuses.lock().clone());
    let slowest = Duration::from_millis(seen.slowest_ms.load(Ordering::Relaxed));
    if slowest > ANSWER_MAX {
        violations.push(format!("an answer of a poisoned id took {slowest:.1?}"));
    }
    if served == 0 {
        violations.push("nobody was served".into());
    }
    let rate = restarts as f64 / took.as_secs_f64();
    let asked: u64 = statuses.values().sum();
    let storm =
        format!("{restarts} panics of {} actors in {took:.1?} ({rate:.0}/s, at most {most} of one)", failures.len());
    let asked = format!("{asked} requests to them {statuses:?}, slowest {slowest:.1?}");
    Ok(Figure { figure: format!("{storm} / {asked} / {served} other orders, all served"), violations })
}
