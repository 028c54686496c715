//! The payment provider fails in every way, while it and the shop are killed: nobody pays twice, and every order ends.
//!
//! The shop and `souk gateway-sim` run in processes of their own. Customers place orders; then each order gets its
//! fault by rules of the provider's script, for its charge, its capture, its refunds and its void; then they pay,
//! cancel while the payment is unknown or after it, and the seller captures what is only held, and refunds, whole
//! orders and parts, of which some fail later. Meanwhile the shop is killed, and now and then the provider. Some faults
//! never end by themselves: their orders must stay pending or raise an issue, and end when the rules are removed.
//!
//! At the end the provider's own ledger, the orders and the stock must agree to the cent and the unit (`ledger`), and
//! the crate's checker must find nothing, on the running shop and in the directory after the last kill.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::Value;
use souk::internals::verify::{self, Access, Invariant, Login, Source, Subject};
use souk_gateway_sim::{Effect, Fault, Line, Operation, Rule};
use tokio::task::JoinHandle;

use crate::{
    Figure, Length, Outcome,
    gateway::{Deployment, Kills, answer, list, read},
    ledger::{self, Orders},
    orders::{PRODUCTS, Plan, PlannedOrder, Shopper},
    recorded::{PASSWORD, Person},
};

/// Orders for each fault of a short run.
const ORDERS: u64 = 4;
/// Orders for each fault that are under way at the same time: a batch is so short that no deadline passes by chance.
const ORDERS_PER_BATCH: u64 = 16;
/// For how many orders with a fault there is an order without one: so many that the share of unknown answers stays
/// below the breaker's.
const FAULTS_PER_HEALTHY: usize = 3;
/// After this many batches shop and provider are replaced, because every check reads all orders.
const BATCHES_PER_DEPLOYMENT: u64 = 4;
/// Customers who shop at the same time, each with their own orders. So many faults at once may open the breaker, which
/// is intended.
const CUSTOMERS: usize = 16;
const AT_ONCE: usize = 2;
/// How long the orders of a batch may take to end when nothing fails any more: the longest back-off and a wide margin.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long it may take until a wrong amount raises an issue while the breaker opens now and then.
const LISTED_MAX: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_millis(100);
/// Whether money is only held at first. Each start of the shop has another value: what is paid keeps its own.
const CAPTURE_LATER: &str = "SOUK_PAYMENTS__CAPTURE_LATER";
/// How long a stored failure stays stored, in milliseconds: in place of Stripe's day, after a few repetitions.
const FORGET_MS: u64 = 3_000;
/// Kills per batch at most: a shop that only starts sells nothing.
const KILLS_PER_BATCH: u64 = 4;
/// Unpaid orders expire, and those with an unknown payment must not. It is about as long as a batch, so that it passes
/// for a fault that never ends.
const DEADLINE_MS: &str = "30000";

/// A fault.
pub(crate) struct Kind {
    name: &'static str,
    pub(crate) fault: Fault,
    pub(crate) for_ever: bool,
}

const fn kind(name: &'static str, fault: Fault) -> Kind {
    Kind { name, fault, for_ever: false }
}

const fn for_ever(name: &'static str, fault: Fault) -> Kind {
    Kind { name, fault, for_ever: true }
}

pub(crate) const KINDS: [Kind; 13] = [
    kind("healthy", Fault::None),
    kind("answer lost", Fault::AnswerLost),
    kind("request lost", Fault::RequestLost),
    kind("5xx before", Fault::FailsBefore),
    kind("5xx after", Fault::FailsAfter),
    kind("5xx stored under the key", Fault::FailsStored),
    kind("garbage", Fault::Garbage),
    kind("wrong amount", Fault::WrongAmount),
    kind("429", Fault::TooMany),
    kind("silence", Fault::Silence),
    for_ever("500 for ever, not charged", Fault::FailsBefore),
    for_ever("500 for ever, charged", Fault::FailsAfter),
    for_ever("wrong amount for ever", Fault::WrongAmount),
];

/// The results of the orders with one fault.
#[derive(Default)]
struct Totals {
    orders: u64,
    /// Rules that were used up, of up to five per order; for a fault that never ends, orders that it blocked.
    met: u64,
    /// The time from the request to the end of a payment, in milliseconds.
    took_ms: Vec<u64>,
    /// Orders with an issue while the rules applied.
    listed: u64,
    without_end: u64,
}

#[derive(Default)]
struct Sum {
    kinds: [Totals; KINDS.len()],
    kills: Kills,
    double_captures: usize,
    /// Payments that were held first, and refunds that failed after they had succeeded.
    held: usize,
    came_back: usize,
    violations: Vec<String>,
}

pub(crate) async fn run(length: Length) -> Outcome {
    let mut sum = Sum::default();
    let mut random = fastrand::Rng::with_seed(length.seed);
    let mut done = 0;
    while sum.violations.is_empty() && length.goes_on(done, ORDERS) {
        let mut campaign = Campaign::open(&mut random).await;
        for number in 0..BATCHES_PER_DEPLOYMENT {
            if !sum.violations.is_empty() || !length.goes_on(done, ORDERS) {
                break;
            }
            let short = if length.is_long() { ORDERS_PER_BATCH } else { ORDERS };
            let each = length.left(done).unwrap_or(short).min(ORDERS_PER_BATCH).min(short);
            campaign.batch(each, number, &mut random, &mut sum).await;
            done += each;
        }
        campaign.close(&mut sum).await;
        println!("  {done} orders of each fault, {} + {} kills", sum.kills.shop, sum.kills.provider);
    }
    Ok(sum.figure())
}

/// The percentile of sorted values.
fn share(sorted: &[u64], percent: usize) -> Duration {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    Duration::from_millis(sorted.get(index).copied().unwrap_or_default())
}

impl Sum {
    /// Does not wait once something is wrong.
    fn patience(&self) -> Duration {
        if self.violations.is_empty() { PATIENCE } else { Duration::ZERO }
    }

    fn figure(mut self) -> Figure {
        let (mut all, mut orders, mut without_end) = (Vec::new(), 0, 0);
        for (kind, totals) in KINDS.iter().zip(&mut self.kinds) {
            totals.took_ms.sort_unstable();
            let (p50, max) = (share(&totals.took_ms, 50), share(&totals.took_ms, 100));
            let Totals { orders: of_kind, met, listed, without_end: endless, .. } = totals;
            println!(
                "  {:<25} {of_kind:>5} orders, {met:>5} rules met, {listed:>4} listed, {endless} without end, p50 {p50:.2?}, max {max:.2?}",
                kind.name
            );
            orders += *of_kind;
            without_end += *endless;
            if !kind.for_ever {
                all.append(&mut totals.took_ms);
            }
            let has_met = *met > 0 || kind.fault == Fault::None || *of_kind == 0;
            if !has_met {
                self.violations.push(format!("no order met {}, so it was not tested", kind.name));
            }
        }
        all.sort_unstable();
        let (p50, max) = (share(&all, 50), share(&all, 100));
        let kills = format!("{} kills of the shop, {} of the provider", self.kills.shop, self.kills.provider);
        let Self { held, came_back, double_captures, .. } = &self;
        let kinds = format!("{held} held first, {came_back} refunds came back");
        let money = format!("{kinds}, double captures {double_captures}, without end {without_end}");
        let figure = format!("{orders} orders / {kills} / {money} / resolved p50 {p50:.2?}, max {max:.2?}");
        Figure { figure, violations: self.violations }
    }
}

/// A running shop with its provider and its customers.
struct Campaign {
    deployment: Deployment,
    seller: Person,
    admin: Person,
    shoppers: Vec<Shopper>,
    orders: Orders,
    captures_later: bool,
}

impl Campaign {
    async fn open(random: &mut fastrand::Rng) -> Self {
        let deployment = Deployment::start(&[
            ("SOUK_PAYMENT_DEADLINE_MS", DEADLINE_MS),
            ("SOUK_LIMITS__PAYMENT_WAIT_MS_MAX", "1000"),
            (CAPTURE_LATER, "true"),
            // So that refunds of parts have something to round.
            ("SOUK_TAX_BASIS_POINTS", "1850"),
            ("SOUK_SHIPPING_FLAT_MINOR", "4999"),
        ])
        .await;
        let seller = deployment.world.enter("seller", "seller@demo.example").await;
        let admin = deployment.world.enter("admin", "admin@demo.example").await;
        for (product, price, on_hand) in PRODUCTS {
            seller.list(product, price).await;
            seller.set_stock(product, on_hand).await;
        }
        let mut shoppers = Vec::new();
        for number in 0..CUSTOMERS {
            let name = format!("customer-{number}");
            let person = deployment.world.enter(&name, &format!("{name}@example.org")).await;
            shoppers.push(Shopper { person, seller: seller.clone(), random: random.fork() });
        }
        Self { deployment, seller, admin, shoppers, orders: Orders::new(), captures_later: true }
    }

    async fn batch(&mut self, each: u64, number: u64, random: &mut fastrand::Rng, sum: &mut Sum) {
        let each = usize::try_from(each).unwrap();
        let healthy = (KINDS.len() - 1) * each / FAULTS_PER_HEALTHY;
        let numbered = (0..KINDS.len()).flat_map(|kind| {
            let orders = match KINDS[kind] {
                Kind { fault: Fault::None, .. } => healthy,
                // There are three faults that never end; their orders keep the breaker open for others.
                Kind { for_ever: true, .. } => each.div_ceil(2),
                _ => each,
            };
            (0..orders).map(move |number| (kind, Plan::of(kind, number)))
        });
        let mut wanted: Vec<(usize, Plan)> = numbered.collect();
        random.shuffle(&mut wanted);
        let share = wanted.len().div_ceil(self.shoppers.len());
        let placing: Vec<JoinHandle<(Shopper, Vec<PlannedOrder>)>> = self
            .shoppers
            .drain(..)
            .zip(wanted.chunks(share).map(<[_]>::to_vec).chain(std::iter::repeat(Vec::new())))
            .map(|(mut shopper, wanted)| {
                tokio::spawn(async move {
                    let orders = shopper.place(&wanted).await;
                    (shopper, orders)
                })
            })
            .collect();
        let mut placed = Vec::new();
        for task in placing {
            placed.push(task.await.unwrap());
        }
        let orders: Vec<PlannedOrder> = placed.iter().flat_map(|(_, orders)| orders).cloned().collect();
        let rules: Vec<(usize, Rule)> = orders
            .iter()
            .flat_map(|planned| rules(planned, random).into_iter().map(|rule| (planned.kind, rule)))
            .collect();
        self.deployment.plan(&rules.iter().map(|(_, rule)| rule.clone()).collect::<Vec<_>>()).await;
        let work: Vec<JoinHandle<Shopper>> = placed
            .into_iter()
            .map(|(shopper, orders)| {
                tokio::spawn(async move {
                    let running = stream::iter(&orders).for_each_concurrent(AT_ONCE, |planned| shopper.run(planned));
                    running.await;
                    shopper
                })
            })
            .collect();
        let mut met = vec![false; rules.len()];
        self.kill_processes(&work, random, &mut met).await;
        for task in work {
            self.shoppers.push(task.await.unwrap());
        }
        self.hold(&orders, sum).await;
        self.record_used_rules(&mut met).await;
        for ((kind, _), _) in rules.iter().zip(met).filter(|(_, met)| *met) {
            sum.kinds[*kind].met += 1;
        }
        self.deployment.plan(&[]).await;
        if number.is_multiple_of(2) {
            // In the other batches the orders end without the help of a restart.
            self.kill_shop(Duration::ZERO).await;
        }
        self.end(&orders, sum).await;
    }

    /// Kills the processes while the customers shop, the shop first.
    async fn kill_processes(&mut self, work: &[JoinHandle<Shopper>], random: &mut fastrand::Rng, met: &mut [bool]) {
        let is_done = || work.iter().all(JoinHandle::is_finished);
        for kill in 0..KILLS_PER_BATCH {
            let until = Instant::now() + Duration::from_millis(random.u64(150..2_500));
            while Instant::now() < until && !(is_done() && kill > 0) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if is_done() && kill > 0 {
                return;
            }
            let dead = Duration::from_millis(random.u64(..400));
            if kill == 1 || (kill > 1 && random.bool()) {
                // It starts its script from the beginning.
                self.record_used_rules(met).await;
                self.deployment.kill_provider(dead).await;
            } else {
                self.kill_shop(dead).await;
            }
        }
    }

    /// The shop that comes back takes money at another moment than before.
    async fn kill_shop(&mut self, dead: Duration) {
        self.captures_later = !self.captures_later;
        self.deployment.set(CAPTURE_LATER, if self.captures_later { "true" } else { "false" });
        self.deployment.kill_shop(dead).await;
    }

    /// Records which rules are used up.
    async fn record_used_rules(&self, met: &mut [bool]) {
        for (met, left) in met.iter_mut().zip(self.deployment.rules().await) {
            *met |= left.times == Some(0);
        }
    }

    /// An order with a fault that never ends must not be paid, and that must be visible: it is pending or has an issue.
    async fn hold(&mut self, orders: &[PlannedOrder], sum: &mut Sum) {
        let endless: Vec<&PlannedOrder> =
            orders.iter().filter(|planned| KINDS[planned.kind].for_ever && planned.plan == Plan::Keep).collect();
        let must_be_listed = |planned: &&&PlannedOrder| KINDS[planned.kind].fault == Fault::WrongAmount;
        let began = Instant::now();
        loop {
            let listed = self.listed().await;
            let mut missing = Vec::new();
            for planned in endless.iter().filter(must_be_listed).filter(|planned| !listed.contains(&planned.order)) {
                // An order that could not be paid in time has no payment that could be wrong.
                let order = read(&self.admin, &format!("/orders/{}", planned.order)).await;
                if ledger::status(&order) == "payment_pending" {
                    missing.push(planned.order.clone());
                }
            }
            if missing.is_empty() || began.elapsed() > LISTED_MAX {
                let wrong = missing.iter().map(|id| format!("{id}: a wrong amount raised no issue"));
                sum.violations.extend(wrong);
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let listed = self.listed().await;
        let ledger = self.deployment.ledger().await;
        if ledger::double_captures(&ledger) > 0 {
            sum.violations.push("money was captured twice for an order".into());
        }
        for planned in endless {
            let order = read(&self.admin, &format!("/orders/{}", planned.order)).await;
            let totals = &mut sum.kinds[planned.kind];
            totals.listed += u64::from(listed.contains(&planned.order));
            // Still pending after all this: the rule never ended, and applied.
            totals.met += u64::from(ledger::status(&order) == "payment_pending");
            let is_unpaid =
                matches!(ledger::status(&order), "payment_pending" | "awaiting_payment" | "cancelling" | "expired");
            let is_capture = |line: &&Line| line.effect == Effect::Captured && line.key.starts_with(&planned.order);
            let captures = ledger.iter().filter(is_capture).count();
            let may_have = usize::from(KINDS[planned.kind].fault != Fault::FailsBefore);
            if !is_unpaid || captures > may_have {
                let what = format!("{} with {captures} captures in the ledger", ledger::status(&order));
                sum.violations.push(format!("{} ({}) is {what}", planned.order, KINDS[planned.kind].name));
            }
        }
    }

    async fn listed(&self) -> Vec<String> {
        let listed = list(&self.admin, "/admin/payments/attention?limit=100").await;
        listed.iter().filter_map(|item| item["order"]["order_id"].as_str().map(str::to_owned)).collect()
    }

    /// All orders of the batch end, and everything agrees.
    async fn end(&mut self, orders: &[PlannedOrder], sum: &mut Sum) {
        let began = Instant::now();
        let mut left: Vec<&PlannedOrder> = orders.iter().collect();
        loop {
            let mut still = Vec::new();
            for planned in left {
                let order = read(&self.admin, &format!("/orders/{}", planned.order)).await;
                if ledger::status(&order) == "authorised" {
                    let path = format!("/orders/{}/capture", planned.order);
                    answer(&self.seller, Method::POST, &path, Value::Null, None).await;
                }
                if !ledger::has_ended(&order) {
                    still.push(planned);
                }
                self.orders.insert(planned.order.clone(), order);
            }
            left = still;
            if left.is_empty() || began.elapsed() > sum.patience() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let listed = self.listed().await;
        for planned in left.iter().filter(|planned| !listed.contains(&planned.order)) {
            sum.kinds[planned.kind].without_end += 1;
            let order = &self.orders[&planned.order];
            sum.violations.push(format!("{} ({}) does not end: {order}", planned.order, KINDS[planned.kind].name));
        }
        for planned in orders {
            let totals = &mut sum.kinds[planned.kind];
            totals.orders += 1;
            totals.took_ms.extend(took_ms(&self.orders[&planned.order]));
        }
        let wrong = self.settle(sum.patience() / 3).await;
        sum.violations.extend(wrong);
        for shopper in &self.shoppers {
            for planned in orders.iter().filter(|planned| planned.customer == shopper.person.name) {
                shopper.person.read_order(&planned.order).await;
            }
        }
    }

    /// The differences. An order may expire while it is read, so it is read again before it counts.
    async fn settle(&mut self, patience: Duration) -> Vec<String> {
        let began = Instant::now();
        loop {
            // A refund may come back long after it was made.
            let may_change = |order: &Value| !ledger::is_final(order) || ledger::has_refunds(order);
            let open: Vec<String> =
                self.orders.iter().filter(|(_, order)| may_change(order)).map(|(id, _)| id.clone()).collect();
            for id in open {
                let order = read(&self.admin, &format!("/orders/{id}")).await;
                self.orders.insert(id, order);
            }
            let mut wrong = ledger::compare_money(&self.orders, &self.deployment.ledger().await);
            for (product, _, on_hand) in PRODUCTS {
                let stock = read(&self.seller, &format!("/products/{product}/inventory")).await;
                wrong.extend(ledger::compare_stock(&self.orders, product, on_hand, &stock));
            }
            if wrong.is_empty() || began.elapsed() > patience {
                return wrong;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The crate's checker reads the running shop, and the directory after a last kill.
    async fn close(mut self, sum: &mut Sum) {
        let ledger = self.deployment.ledger().await;
        sum.double_captures += ledger::double_captures(&ledger);
        sum.held += ledger.iter().filter(|line| line.effect == Effect::Held).count();
        sum.came_back += ledger.iter().filter(|line| line.effect == Effect::RefundFailed).count();
        let login = Login::Password { email: "admin@demo.example".into(), password: SecretString::from(PASSWORD) };
        let running = Source::Running(Access { url: self.deployment.url(), login, patience: sum.patience() });
        use Invariant::{I1, I2, I3, I4, I5, I6, I7};
        for shop in [running, Source::Directory(self.deployment.data())] {
            if matches!(shop, Source::Directory(_)) {
                self.deployment.stop_shop();
            }
            let (history, ledger) = (Some(self.deployment.history()), Some(self.deployment.ledger_file()));
            let verdict = verify::verify(Subject { history, ledger, shop }).await;
            if !verdict.is_clean() {
                sum.violations.push(format!("{:?}\n{}", verdict.stopped, verdict.report));
            }
            let missed = [I1, I2, I3, I4, I5, I6, I7].into_iter().filter(|one| !verdict.report.checked.contains(one));
            sum.violations.extend(missed.map(|invariant| format!("{invariant} was not checked")));
        }
        sum.kills.shop += self.deployment.kills.shop;
        sum.kills.provider += self.deployment.kills.provider;
    }
}

/// The rules by which the provider fails for an order.
fn rules(planned: &PlannedOrder, random: &mut fastrand::Rng) -> Vec<Rule> {
    let Kind { fault, for_ever, .. } = KINDS[planned.kind];
    let rule = |operation: Operation, times: Option<u64>| {
        let (key_prefix, operation) = (format!("{}:", planned.order), Some(operation));
        Rule { key_prefix, operation, times, fault, ..Rule::default() }
    };
    let once = |operations: &[Operation]| -> Vec<Rule> {
        operations.iter().map(|operation| rule(*operation, Some(1))).collect()
    };
    match fault {
        Fault::None => Vec::new(),
        // It is not charged, which the provider's ledger shows.
        Fault::FailsBefore if for_ever => vec![rule(Operation::Charge, None)],
        _ if for_ever => vec![rule(Operation::Charge, None), rule(Operation::LookUp, None)],
        // Each one takes the shop's whole time limit, so there is only one.
        Fault::Silence if planned.plan == Plan::Keep => once(&[Operation::Charge]),
        Fault::Silence => once(&[Operation::Refund, Operation::Void]),
        // A payment that cannot be announced or confirmed under its key is given up; a refund waits until its key is
        // forgotten.
        Fault::FailsStored => {
            let operation = match planned.plan {
                Plan::Keep if random.bool() => Operation::Capture,
                Plan::Keep | Plan::Decline => Operation::Create,
                Plan::CancelPending | Plan::CancelUnpaid => Operation::Charge,
                Plan::CancelPaid | Plan::RefundAll | Plan::RefundParts => Operation::Refund,
            };
            let forget_ms = Some(FORGET_MS);
            once(&[operation, Operation::Void]).into_iter().map(|rule| Rule { forget_ms, ..rule }).collect()
        }
        _ => {
            let mut rules =
                once(&[Operation::Create, Operation::LookUp, Operation::Capture, Operation::Refund, Operation::Void]);
            rules.push(rule(Operation::Charge, Some(random.u64(1..=2))));
            rules
        }
    }
}

/// The time from the request of an order's payment to its end, according to the order's history.
fn took_ms(order: &Value) -> Option<u64> {
    let history = order["history"].as_array()?;
    let at = |entry: &Value| entry["at"].as_str()?.parse::<jiff::Timestamp>().ok();
    let asked = history.iter().position(|entry| entry["status"] == "payment_pending")?;
    let ends = ["confirmed", "cancelled", "expired", "awaiting_payment"];
    let ended = history[asked..].iter().find(|entry| ends.iter().any(|end| entry["status"] == *end))?;
    u64::try_from(at(ended)?.duration_since(at(&history[asked])?).as_millis()).ok()
}
