//! The machine's clock jumps by up to an hour, forward or back, while the shop runs.
//!
//! The real binary runs with libfaketime, whose offset is in a file that this test changes; only the wall clock jumps,
//! as on a real machine. Before each jump customers pay, begin to pay, and leave an order unpaid; after it:
//!
//! - an order that is paid, or whose payment was under way, is confirmed and never expires;
//! - an unpaid order expires exactly when its deadline has passed on the new clock, and stays expired;
//! - a token is accepted only between its issue and its expiry on the new clock, and never after its session's logout;
//! - a repeated key finds the same order, no two orders have the same id, and new logins are valid at once;
//! - a product that was bought, and a seller and a customer who logged in, while the clock was ahead are there to buy,
//!   sell and log in when it is right again.
//!
//! Now and then the shop is killed and starts at the time of its clock. At the end the checker reads everything.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use reqwest::Method;
use secrecy::SecretString;
use serde_json::Value;
use souk::internals::verify::{self, Access, Invariant, Login, Source, Subject, history::Call};

use crate::{
    Figure, Length, Outcome, Skipped,
    recorded::{PASSWORD, Person, Process, World},
};

/// Jumps of a short run.
const CYCLES: u64 = 7;
/// The first offsets, in seconds: forward and back, twice, so that the clock returns to a time from which something was
/// issued.
const FIRST: [i64; 6] = [3_600, 0, 3_600, 0, -3_600, 0];
const JUMP_SECONDS_MAX: i64 = 3_600;
/// Offsets are multiples of this, so that no expiry is a question of seconds.
const STEP_SECONDS: i64 = 300;
/// The default lifetime of an access token, and of an unpaid order.
const LIFE_SECONDS: i64 = 900;
/// A product that lives through all jumps. The others live for one, so that the checker's search for an explanation of
/// their stock stays short.
const OLD_PRODUCT: &str = "sundial";
/// After this many jumps the shop is killed and starts again.
const CYCLES_PER_KILL: u64 = 3;
/// How long an order may take to reach its expected status on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const PRICE: u64 = 900;

/// The path at which distributions install the library.
fn library() -> Result<PathBuf, Skipped> {
    let places = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];
    let below = places.into_iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    let directories = below.map(|entry| entry.path()).chain(places.map(PathBuf::from));
    let mut files = directories.map(|directory| directory.join("faketime/libfaketimeMT.so.1"));
    files.find(|file| file.exists()).ok_or_else(|| Skipped("libfaketime is missing (apt-get install faketime)".into()))
}

/// The clock of the shop.
struct FakeClock {
    file: PathBuf,
    offset: i64,
}

impl FakeClock {
    fn set(&mut self, offset: i64) {
        let draft = self.file.with_extension("new");
        fs::write(&draft, format!("{offset:+}\n")).unwrap();
        fs::rename(draft, &self.file).unwrap();
        self.offset = offset;
    }

    /// The next offset: at most one jump away, and around the true time.
    fn choose(&self, cycle: u64, random: &mut fastrand::Rng) -> i64 {
        if let Some(first) = usize::try_from(cycle).ok().and_then(|cycle| FIRST.get(cycle)) {
            return *first;
        }
        let low = (self.offset - JUMP_SECONDS_MAX).max(-JUMP_SECONDS_MAX) / STEP_SECONDS;
        let high = (self.offset + JUMP_SECONDS_MAX).min(JUMP_SECONDS_MAX) / STEP_SECONDS;
        random.i64(low..=high) * STEP_SECONDS
    }
}

/// A shop whose clock jumps.
struct Stage {
    data: PathBuf,
    variables: Vec<(&'static str, String)>,
    shop: Process,
    world: std::sync::Arc<World>,
    clock: FakeClock,
    /// Sessions that were logged out, at any time.
    logged_out: Vec<Person>,
    ids: BTreeSet<String>,
    paid: Vec<(String, String)>,
    violations: Vec<String>,
}

/// What was begun before a jump.
struct Begun {
    customer: Person,
    name: String,
    paid: String,
    unpaid: String,
    product: String,
    paying: tokio::task::JoinHandle<(Person, String)>,
}

fn start(data: &Path, variables: &[(&'static str, String)]) -> Process {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Process::start(data, &variables)
}

impl Stage {
    async fn enter(&self, name: &str) -> Person {
        self.world.enter(name, &format!("{name}@example.org")).await
    }

    async fn order(&mut self, customer: &Person, product: &str, key: &str) -> String {
        customer.add(product, 1, None).await;
        let id = customer.checkout(PRICE, key).await.unwrap_or_else(|| panic!("{key} is refused"));
        if !self.ids.insert(id.clone()) {
            self.violations.push(format!("two orders have the id {id}"));
        }
        id
    }

    async fn begin(&mut self, cycle: u64) -> Begun {
        let name = format!("customer-{cycle}");
        let (product, on_hand) = (format!("sundial-{cycle}"), 1_000);
        let seller = self.world.enter("seller", "seller@demo.example").await;
        seller.list(&product, PRICE).await;
        seller.call(Call::StockSet { product: product.clone(), on_hand }).await;
        let customer = self.enter(&name).await;
        let paid = self.order(&customer, &product, "paid").await;
        customer.pay(&paid, "tok_success", "paid").await;
        let unpaid = self.order(&customer, &product, "unpaid").await;
        let waiting = self.enter(&format!("waiting-{cycle}")).await;
        let slow = self.order(&waiting, &product, "slow").await;
        let method = if cycle.is_multiple_of(2) { "tok_slow" } else { "tok_timeout_after_charge" };
        let paying = tokio::spawn(async move {
            waiting.pay(&slow, method, "slow").await;
            (waiting, slow)
        });
        // The first request to the provider is in flight when the clock jumps.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let session = self.enter(&name).await;
        let ended = session.send(Method::POST, "/auth/logout", Value::Null, None).await;
        assert_eq!(ended.map(|(status, _)| status), Some(204));
        self.logged_out.push(session);
        Begun { customer, name, paid, unpaid, product, paying }
    }

    /// A customer who is as old as the product buys it.
    async fn buy_old_product(&mut self) {
        let customer = self.enter("regular").await;
        let order = self.order(&customer, OLD_PRODUCT, &format!("old-{}", self.ids.len())).await;
        customer.pay(&order, "tok_success", &order).await;
        let status = settled(&customer, &order, "confirmed").await;
        self.expect(status == "confirmed", || format!("an order of the old product is {status}"));
        self.paid.push((customer.name, order));
    }

    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let offset = self.clock.offset;
            self.violations.push(format!("at {offset:+} s: {}", what()));
        }
    }

    async fn look_around(&mut self, begun: Begun, jumped: i64) {
        // Tokens: those from before the jump, those of logged-out sessions, and new ones.
        let cart = begun.customer.send(Method::GET, "/cart", Value::Null, None).await;
        let status = cart.map_or(0, |(status, _)| status);
        let valid = (0..LIFE_SECONDS).contains(&jumped);
        self.expect(status == if valid { 200 } else { 401 }, || {
            format!("a token from before a jump by {jumped:+} s is answered {status}")
        });
        for session in self.logged_out.clone() {
            let answer = session.send(Method::GET, "/cart", Value::Null, None).await;
            let status = answer.map_or(0, |(status, _)| status);
            self.expect(status == 401, || format!("a session of {} that was ended is answered {status}", session.name));
        }
        let customer = self.enter(&begun.name).await;
        customer.cart().await;
        // Orders: a paid one stays paid, one that is being paid is confirmed, and an unpaid one follows its deadline.
        let (waiting, slow) = begun.paying.await.unwrap();
        let waiting = self.enter(&waiting.name).await;
        for (person, order) in [(&customer, &begun.paid), (&waiting, &slow)] {
            let status = settled(person, order, "confirmed").await;
            self.expect(status == "confirmed", || format!("the paid order {order} is {status}"));
            self.paid.push((person.name.clone(), order.clone()));
        }
        let due = if jumped >= LIFE_SECONDS { "expired" } else { "awaiting_payment" };
        let status = settled(&customer, &begun.unpaid, due).await;
        self.expect(status == due, || format!("an unpaid order is {status} after {jumped:+} s, not {due}"));
        if due == "expired" {
            customer.pay(&begun.unpaid, "tok_success", "late").await;
            let status = settled(&customer, &begun.unpaid, due).await;
            self.expect(status == due, || format!("an expired order is {status} after a payment"));
        }
        self.buy_old_product().await;
        self.world.enter("seller", "seller@demo.example").await.stock(&begun.product).await;
        let again = customer.checkout(PRICE, "paid").await;
        self.expect(again.as_ref() == Some(&begun.paid), || format!("the key of {} finds {again:?}", begun.paid));
    }
}

/// The status of an order once it is the wanted one, or its last status when the patience ends.
async fn settled(person: &Person, order: &str, wanted: &str) -> String {
    let began = Instant::now();
    loop {
        let (_, body) = person.send(Method::GET, &format!("/orders/{order}"), Value::Null, None).await.unwrap();
        let status = body["status"].as_str().unwrap_or("unknown").to_owned();
        if status == wanted || began.elapsed() > PATIENCE {
            person.read_order(order).await;
            return status;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn run(length: Length) -> Outcome {
    let library = library()?;
    let mut random = fastrand::Rng::with_seed(length.seed);
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (data, history) = (at("shop"), at("history.jsonl"));
    let mut clock = FakeClock { file: at("clock"), offset: 0 };
    clock.set(0);
    let variables = vec![
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ];
    let shop = start(&data, &variables);
    let world = World::new(&history, &shop.url);
    let (logged_out, ids, paid, violations) = (Vec::new(), BTreeSet::new(), Vec::new(), Vec::new());
    let mut stage = Stage { data, variables, shop, world, clock, logged_out, ids, paid, violations };
    let seller = stage.world.enter("seller", "seller@demo.example").await;
    seller.list(OLD_PRODUCT, PRICE).await;
    seller.call(Call::StockSet { product: OLD_PRODUCT.into(), on_hand: 1_000 }).await;
    let (mut cycles, mut furthest) = (0, 0);
    while stage.violations.is_empty() && length.goes_on(cycles, CYCLES) {
        let begun = stage.begin(cycles).await;
        let offset = stage.clock.choose(cycles, &mut random);
        let jumped = offset - stage.clock.offset;
        stage.clock.set(offset);
        furthest = furthest.max(jumped.abs());
        if cycles % CYCLES_PER_KILL == CYCLES_PER_KILL - 1 {
            stage.shop.kill();
            stage.shop = start(&stage.data, &stage.variables);
            stage.world.url.lock().clone_from(&stage.shop.url);
        }
        let seen = seen_offset(&stage).await;
        stage.expect((seen - offset).abs() < STEP_SECONDS / 2, || format!("the shop's clock shows {seen:+} s"));
        stage.look_around(begun, jumped).await;
        cycles += 1;
    }
    stage.clock.set(0);
    // All paid orders once more, however the clock has jumped since.
    for (name, order) in stage.paid.clone() {
        let person = stage.enter(&name).await;
        let status = settled(&person, &order, "confirmed").await;
        stage.expect(status == "confirmed", || format!("in the end the paid order {order} is {status}"));
    }
    let login = Login::Password { email: "admin@demo.example".into(), password: SecretString::from(PASSWORD) };
    let access = Access { url: stage.shop.url.clone(), login, patience: PATIENCE };
    let ledger = Some(stage.data.join("simulated-provider.jsonl"));
    let subject = Subject { history: Some(history.clone()), ledger, shop: Source::Running(access) };
    let running = verify::verify(subject).await;
    stage.shop.kill();
    let shop = Source::Directory(stage.data.clone());
    let at_rest = verify::verify(Subject { history: Some(history), ledger: None, shop }).await;
    let Stage { mut violations, paid, ids, logged_out, .. } = stage;
    for verdict in [running, at_rest] {
        if !verdict.is_clean() || !verdict.report.checked.contains(&Invariant::I6) {
            violations.push(format!("{:?}\n{}", verdict.stopped, verdict.report));
        }
    }
    let (orders, paid, sessions) = (ids.len(), paid.len(), logged_out.len());
    let paid = format!("{paid} paid and none expired");
    let figure = format!("{cycles} jumps of up to {furthest} s / {orders} orders, {paid} / {sessions} ended sessions");
    Ok(Figure { figure, violations })
}

/// The difference between the shop's clock and the true time, according to a new token. A jump that the shop does not
/// see proves nothing.
async fn seen_offset(stage: &Stage) -> i64 {
    let session = stage.world.session("seller@demo.example").await.unwrap_or_default();
    let expires = session["access_expires_at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed();
    expires.map_or(i64::MAX / 2, |at| at.as_second() - LIFE_SECONDS - now)
}
