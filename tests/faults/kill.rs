//! SIGKILL: the real binary is killed under concurrent load at random moments and restarted, and must have kept
//! everything that it acknowledged.
//!
//! Customers shop over HTTP and record every answer. After each restart they read again what was acknowledged, and
//! repeat the requests that were not answered. Then the checker (`souk::verify`) compares the shop and the provider's
//! ledger with their records; at the end it also checks the directory after the last kill.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use secrecy::SecretString;
use souk::internals::verify::{
    self, Access, Invariant, Login, Report, Source, Subject,
    history::{Answer, Call, Outcome, Payment},
};
use tokio::task::JoinHandle;

use crate::{
    Figure, Length, Outcome as Ran,
    recorded::{PASSWORD, Person, Process, World},
};

/// Kills of a short run.
const CYCLES: u64 = 8;
/// After this many kills the shop and its records are replaced, because every check reads all of them.
const CYCLES_PER_SHOP: u64 = 10;
/// The same limit for the size of the records, about twenty thousand answers: a fast shop gives more, and it cannot be
/// decided for records of any length whether the stock was linearizable.
const HISTORY_BYTES_PER_SHOP: u64 = 3 << 20;
/// The running shop is checked after this many kills; the directory at the end of each shop.
const CYCLES_PER_CHECK: u64 = 10;
const CUSTOMERS: usize = 12;
/// Few products, so that customers compete: the first two are scarce.
const PRODUCTS: [(&str, u64); 4] = [("hot", 60), ("warm", 300), ("cold-1", 1_000_000), ("cold-2", 1_000_000)];
const PRICE: u64 = 1_000;
/// How long the orders may take to come to rest, in seconds.
const PATIENCE_SECONDS: u64 = 60;

struct Customer {
    number: usize,
    person: Person,
    random: fastrand::Rng,
    /// Orders whose payment is not known to have succeeded.
    unpaid: BTreeSet<String>,
    /// A checkout without an answer: its key and total.
    unanswered: Option<(String, u64)>,
}

impl Customer {
    fn name(&self) -> String {
        self.person.name.clone()
    }

    /// One visit: fill the cart, check out, pay. Ends early if the shop is gone.
    async fn visit(&mut self) -> Option<()> {
        let product = PRODUCTS[self.random.usize(..PRODUCTS.len())].0;
        let quantity = self.random.u32(1..=3);
        // Now and then twice with the same key, which counts once.
        let key = (self.random.u8(..) < 60).then(|| format!("add-{}", self.random.u64(..)));
        let mut shown = self.person.add(product, quantity, key.as_deref()).await;
        if key.is_some() {
            shown = self.person.add(product, quantity, key.as_deref()).await;
        }
        let Outcome::Ok(Answer::Cart(cart)) = shown else { return None };
        if self.random.u8(..) < 40 {
            return Some(());
        }
        let total = PRICE * cart.lines.iter().map(|(_, quantity)| u64::from(*quantity)).sum::<u64>();
        let key = format!("{}-{}", self.number, self.random.u64(..));
        self.order(&key, total).await
    }

    async fn order(&mut self, key: &str, total: u64) -> Option<()> {
        let checkout = Call::Checkout { customer: self.name(), key: Some(key.into()), lines: None, total };
        let id = match self.person.call(checkout).await {
            Outcome::Ok(Answer::Order(order)) => order.order,
            Outcome::Fail(_) => return self.make_room().await,
            _ => {
                self.unanswered = Some((key.to_owned(), total));
                return None;
            }
        };
        self.unpaid.insert(id.clone());
        if self.random.u8(..) < 30 {
            return self.cancel(&id).await;
        }
        let method = ["tok_success", "tok_success", "tok_timeout_after_charge", "tok_decline"][self.random.usize(..4)];
        let (customer, order, key) = (self.name(), id.clone(), Some(key.to_owned()));
        match self.person.call(Call::Pay { customer, order, key, method: method.into() }).await {
            Outcome::Ok(Answer::Payment(Payment { captured: true, .. })) => {
                self.unpaid.remove(&id);
                Some(())
            }
            Outcome::Unknown(_) => None,
            _ => Some(()),
        }
    }

    async fn cancel(&mut self, id: &str) -> Option<()> {
        let call = Call::Cancel { customer: self.name(), order: id.into() };
        let answered = !matches!(self.person.call(call).await, Outcome::Unknown(_));
        // If it cannot be cancelled, a request whose answer was lost has paid it.
        answered.then(|| {
            self.unpaid.remove(id);
        })
    }

    /// A refused checkout would always be refused: lines that may be sold out leave the cart, and unpaid orders are
    /// cancelled.
    async fn make_room(&mut self) -> Option<()> {
        for (product, _) in &PRODUCTS[..2] {
            let call = Call::CartRemove { customer: self.name(), product: (*product).into() };
            if matches!(self.person.call(call).await, Outcome::Unknown(_)) {
                return None;
            }
        }
        match self.unpaid.first().cloned() {
            Some(id) => self.cancel(&id).await,
            None => Some(()),
        }
    }

    /// Reads everything that may have changed, and repeats the requests without an answer.
    async fn read_and_repeat(&mut self) {
        if let Some((key, total)) = self.unanswered.take() {
            self.order(&key, total).await;
        }
        self.person.cart().await;
        for id in &self.unpaid {
            self.person.read_order(id).await;
        }
    }
}

async fn enter(world: &Arc<World>, number: usize) -> Person {
    world.enter(&format!("customer-{number}"), &format!("customer-{number}@example.org")).await
}

async fn open_for_business(world: &Arc<World>, seed: u64) -> Vec<Customer> {
    let seller = world.enter("seller", "seller@demo.example").await;
    for (product, on_hand) in PRODUCTS {
        seller.list(product, PRICE).await;
        seller.call(Call::StockSet { product: product.into(), on_hand }).await;
    }
    let mut customers = Vec::new();
    for number in 0..CUSTOMERS {
        let (person, random) = (enter(world, number).await, fastrand::Rng::with_seed(seed ^ (number as u64 + 1)));
        person.cart().await;
        customers.push(Customer { number, person, random, unpaid: BTreeSet::new(), unanswered: None });
    }
    customers
}

/// The totals so far.
#[derive(Default)]
struct Totals {
    cycles: u64,
    answers: u64,
    orders: u64,
    starts: Vec<Duration>,
    violations: Vec<String>,
}

impl Totals {
    /// Runs the checker. Its report must be clean, and it must have checked these invariants.
    async fn check(&mut self, subject: Subject, looked_for: &[Invariant]) -> Report {
        let verdict = verify::verify(subject).await;
        let cycles = self.cycles;
        if !verdict.is_clean() {
            self.violations.push(format!("after kill {cycles}: {:?}\n{}", verdict.stopped, verdict.report));
        }
        for invariant in looked_for.iter().filter(|invariant| !verdict.report.checked.contains(invariant)) {
            self.violations.push(format!("after kill {cycles}: {invariant} was not checked"));
        }
        verdict.report
    }
}

pub(crate) async fn run(length: Length) -> Ran {
    let mut totals = Totals::default();
    let mut random = fastrand::Rng::with_seed(length.seed);
    while totals.violations.is_empty() && length.goes_on(totals.cycles, CYCLES) {
        kill_one_shop(length, &mut random, &mut totals).await;
    }
    let Totals { cycles, answers, orders, mut starts, mut violations } = totals;
    starts.sort();
    let start =
        |share: usize| starts.get((starts.len() * share).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
    let (median, late, slowest) = (start(50), start(99), start(100));
    if orders < cycles {
        violations.push(format!("only {orders} orders were placed"));
    }
    let starts = format!("start p50 {median:.1?}, p99 {late:.1?}, slowest {slowest:.1?}");
    Ok(Figure { figure: format!("{cycles} cycles / {answers} answers / {orders} orders / {starts}"), violations })
}

/// A new shop that is killed again and again.
async fn kill_one_shop(length: Length, random: &mut fastrand::Rng, totals: &mut Totals) {
    let directory = tempfile::tempdir().unwrap();
    let (data, history) = (directory.path().join("shop"), directory.path().join("history.jsonl"));
    let ledger = data.join("simulated-provider.jsonl");
    let mut shop = Process::start(&data, &[]);
    let world = World::new(&history, &shop.url);
    let mut customers = open_for_business(&world, length.seed ^ totals.cycles).await;
    let last = totals.cycles + CYCLES_PER_SHOP;
    let is_long = || fs::metadata(&history).is_ok_and(|history| history.len() >= HISTORY_BYTES_PER_SHOP);
    let goes_on = |cycles: u64| cycles < last && !is_long() && length.goes_on(cycles, CYCLES);
    while goes_on(totals.cycles) {
        totals.cycles += 1;
        let gone = Arc::new(AtomicBool::new(false));
        let visits: Vec<JoinHandle<Customer>> = customers
            .drain(..)
            .map(|mut customer| {
                let gone = Arc::clone(&gone);
                tokio::spawn(async move {
                    while !gone.load(Ordering::Relaxed) && customer.visit().await.is_some() {}
                    customer
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(random.u64(20..2_000))).await;
        shop.kill();
        gone.store(true, Ordering::Relaxed);
        for visit in visits {
            customers.push(visit.await.unwrap());
        }
        // Now and then it is killed again while it starts.
        if random.u8(..) < 64 {
            kill_while_starting(&data, random).await;
        }
        let began = Instant::now();
        shop = Process::start(&data, &[]);
        totals.starts.push(began.elapsed());
        world.url.lock().clone_from(&shop.url);
        for customer in &mut customers {
            customer.person = enter(&world, customer.number).await;
            customer.read_and_repeat().await;
        }
        let seller = world.enter("seller", "seller@demo.example").await;
        for (product, _) in PRODUCTS {
            seller.stock(product).await;
        }
        if totals.cycles.is_multiple_of(CYCLES_PER_CHECK) || !goes_on(totals.cycles) {
            let login = Login::Password { email: "admin@demo.example".into(), password: SecretString::from(PASSWORD) };
            let patience = Duration::from_secs(PATIENCE_SECONDS);
            let access = Access { url: shop.url.clone(), login, patience };
            let (history, ledger) = (Some(history.clone()), Some(ledger.clone()));
            use Invariant::{I1, I2, I3, I4, I5, I6, I7, I9, I10};
            let subject = Subject { history, ledger, shop: Source::Running(access) };
            totals.check(subject, &[I1, I2, I3, I4, I5, I6, I7, I9, I10]).await;
        }
    }
    shop.kill();
    let subject = Subject { history: Some(history), ledger: None, shop: Source::Directory(data) };
    let report = totals.check(subject, &Invariant::ALL).await;
    let looked = |what: &str| report.looked_at.get(what).copied().unwrap_or_default();
    totals.answers += looked("answers");
    totals.orders += looked("orders");
    println!("  {} kills, {} answers, {} orders", totals.cycles, totals.answers, totals.orders);
}

async fn kill_while_starting(data: &Path, random: &mut fastrand::Rng) {
    let mut starting = Command::new(env!("CARGO_BIN_EXE_souk"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .env("SOUK_LOG", "off")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(random.u64(1..150))).await;
    starting.kill().unwrap();
    starting.wait().unwrap();
}
