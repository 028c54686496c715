//! Backup and restore: everything that a running shop acknowledged before its backup began is in the restored shop.
//!
//! Customers shop and record every answer. When all their requests are answered, the backup begins, while others
//! continue to buy other products. Then the backup is restored: the restored shop starts, the customers log in to it
//! and read everything again, and the checker compares it with their records. The provider's ledger belongs to another
//! company and is not restored.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use secrecy::SecretString;
use souk::internals::verify::{self, Access, Login, Source, Subject, history::Call};
use tokio::task::JoinHandle;

use crate::{
    Figure, Length, Outcome,
    recorded::{PASSWORD, Person, Process, World},
};

/// Backups of a short run.
const CYCLES: u64 = 1;
const CUSTOMERS: usize = 6;
/// How many orders each recorded customer places.
const ORDERS_EACH: usize = 4;
/// How many others shop while the backup runs.
const OTHERS: usize = 6;
const PRODUCT: &str = "recorded";
const OTHER_PRODUCT: &str = "unrecorded";
const STOCK: u64 = 1_000_000;
const PRICE: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(60);

/// The totals of all cycles.
#[derive(Default)]
struct Totals {
    cycles: u64,
    orders: u64,
    meanwhile: u64,
    bytes: u64,
    backup: Duration,
    restore: Duration,
    violations: Vec<String>,
}

pub(crate) async fn run(length: Length) -> Outcome {
    let mut totals = Totals::default();
    let mut random = fastrand::Rng::with_seed(length.seed);
    while totals.violations.is_empty() && length.goes_on(totals.cycles, CYCLES) {
        cycle(&mut random, &mut totals).await;
        totals.cycles += 1;
    }
    let Totals { cycles, orders, meanwhile, bytes, backup, restore, mut violations } = totals;
    if meanwhile == 0 {
        violations.push("nothing was ordered while the backups were taken, so they prove nothing".into());
    }
    let load = format!("{orders} acknowledged orders, lost 0, {meanwhile} more placed meanwhile");
    let took = format!("slowest backup {backup:.1?}, restore {restore:.1?}, {} MiB", bytes >> 20);
    let figure = format!("{cycles} backups / {load} / {took}");
    Ok(Figure { figure, violations })
}

/// A shop with the records of its customers.
struct RecordedShop {
    world: Arc<World>,
    names: Vec<String>,
    orders: Vec<(String, String)>,
    history: PathBuf,
    /// The provider's ledger, which every restored shop continues.
    ledger: PathBuf,
}

async fn cycle(random: &mut fastrand::Rng, totals: &mut Totals) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (data, history, ledger) = (at("shop"), at("history.jsonl"), at("ledger.jsonl"));
    let recorded = {
        let shop = Process::start(&data, &[("SOUK_PAYMENTS__SIMULATED_LEDGER", ledger.to_str().unwrap())]);
        let world = World::new(&history, &shop.url);
        let unrecorded = World::new(&at("others.jsonl"), &shop.url);
        let seller = world.enter("seller", "seller@demo.example").await;
        for product in [PRODUCT, OTHER_PRODUCT] {
            seller.list(product, PRICE).await;
        }
        seller.call(Call::StockSet { product: PRODUCT.into(), on_hand: STOCK }).await;
        seller.set_stock(OTHER_PRODUCT, STOCK).await;
        let (going_on, placed) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let others = others(&unrecorded, &going_on, &placed).await;
        let mut recorded = RecordedShop { world, names: Vec::new(), orders: Vec::new(), history, ledger };
        recorded.shop(random).await;
        let placed_before = placed.load(Ordering::Relaxed);
        let took = souk(&data, &recorded.ledger, &["backup", at("backup").to_str().unwrap()]).await;
        totals.meanwhile += placed.load(Ordering::Relaxed) - placed_before;
        totals.backup = totals.backup.max(took);
        going_on.store(false, Ordering::Relaxed);
        for other in others {
            other.await.unwrap();
        }
        recorded
    };
    totals.orders += recorded.orders.len() as u64;
    totals.bytes += size(&at("backup"));
    let took = souk(&at("restored"), &recorded.ledger, &["restore", at("backup").to_str().unwrap()]).await;
    totals.restore = totals.restore.max(took);
    totals.violations.extend(recorded.compare(&at("restored"), "restored").await);

    println!("  {} backups, {} orders, slowest backup {:.1?}", totals.cycles + 1, totals.orders, totals.backup);
}

/// The customers who continue to buy while the backup runs.
async fn others(world: &Arc<World>, going_on: &Arc<AtomicBool>, placed: &Arc<AtomicU64>) -> Vec<JoinHandle<()>> {
    let mut others = Vec::new();
    for number in 0..OTHERS {
        let name = format!("other-{number}");
        let other = world.enter(&name, &format!("{name}@example.org")).await;
        let (going_on, placed) = (Arc::clone(going_on), Arc::clone(placed));
        others.push(tokio::spawn(async move {
            for turn in 0.. {
                if !going_on.load(Ordering::Relaxed) {
                    return;
                }
                let key = format!("{turn}");
                other.add(OTHER_PRODUCT, 1, None).await;
                let order = other.checkout(PRICE, &key).await.unwrap();
                other.pay(&order, "tok_success", &key).await;
                placed.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    others
}

/// Runs a command, and returns how long it took.
async fn souk(data: &Path, ledger: &Path, arguments: &[&str]) -> Duration {
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    command
        .arg("--data-dir")
        .arg(data)
        .args(arguments)
        .env("SOUK_LOG", "off")
        .env("SOUK_PAYMENTS__SIMULATED_LEDGER", ledger);
    let began = Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    began.elapsed()
}

/// The size of a directory, in bytes.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let bytes = |entry: fs::DirEntry| {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() { size(&entry.path()) } else { metadata.len() }
    };
    entries.map(bytes).sum()
}

impl RecordedShop {
    async fn enter(&self, name: &str) -> Person {
        self.world.enter(name, &format!("{name}@example.org")).await
    }

    /// The customers fill carts, order, pay, cancel, and leave lines in their carts.
    async fn shop(&mut self, random: &mut fastrand::Rng) {
        for number in 0..CUSTOMERS {
            let name = format!("customer-{number}");
            let customer = self.enter(&name).await;
            for turn in 0..ORDERS_EACH {
                let (quantity, key) = (random.u32(1..4), format!("{turn}"));
                customer.add(PRODUCT, quantity, None).await;
                let order = customer.checkout(PRICE * u64::from(quantity), &key).await.unwrap();
                match random.u8(..4) {
                    0 => {
                        customer.cancel(&order).await;
                        customer.remove(PRODUCT).await;
                    }
                    1 => {}
                    _ => customer.pay(&order, "tok_success", &key).await,
                }
                self.orders.push((name.clone(), order));
            }
            customer.add(PRODUCT, random.u32(1..9), None).await;
            self.names.push(name);
        }
    }

    /// Starts the restored shop, lets everybody read everything, and runs the checker while the shop runs and
    /// afterwards.
    async fn compare(&self, data: &Path, what: &str) -> Vec<String> {
        let mut shop = Process::start(data, &[("SOUK_PAYMENTS__SIMULATED_LEDGER", self.ledger.to_str().unwrap())]);
        self.world.url.lock().clone_from(&shop.url);
        for name in &self.names {
            let customer = self.enter(name).await;
            customer.cart().await;
            for (_, order) in self.orders.iter().filter(|(of, _)| of == name) {
                customer.read_order(order).await;
            }
        }
        self.world.enter("seller", "seller@demo.example").await.stock(PRODUCT).await;
        let login = Login::Password { email: "admin@demo.example".into(), password: SecretString::from(PASSWORD) };
        let access = Access { url: shop.url.clone(), login, patience: PATIENCE };
        let check = async |shop| {
            let verdict = verify::verify(Subject { history: Some(self.history.clone()), ledger: None, shop }).await;
            let looked_at = verdict.report.looked_at.get("orders").copied().unwrap_or_default();
            if verdict.is_clean() && looked_at >= self.orders.len() as u64 {
                return None;
            }
            Some(format!("{what}: {:?}\n{}", verdict.stopped, verdict.report))
        };
        let running = check(Source::Running(access)).await;
        shop.kill();
        running.into_iter().chain(check(Source::Directory(data.to_owned())).await).collect()
    }
}
