//! Faulty notices of the provider: sent a thousand times, late, out of order, before the answer that they announce,
//! forged, or about unknown orders. Each must count at most once, forged ones must be refused, and after a kill the
//! shop must still have every notice that it has acknowledged.
//!
//! The shop and `souk gateway-sim` run as processes of their own. The provider's script says how the provider delivers
//! its notices; other notices are signed and sent from here (`sent`). An order whose notices were faulty must have the
//! same history as its control, an order whose notices were not.

mod sent;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use souk::internals::verify::{self, Access, Login, Source, Subject};
use souk_gateway_sim::{Rule, WebhookDelivery};

use self::sent::Sender;
use crate::{
    Figure, Length, Outcome,
    gateway::{Deployment, answer, read},
    holds,
    ledger::{self, Orders},
    orders::{PRODUCTS, Shopper},
    recorded::{PASSWORD, Person},
};

/// How many orders a short run has for each case.
const ORDERS: u64 = 2;
/// How many orders of each case are under way together.
const ORDERS_PER_BATCH: u64 = 12;
/// After so many batches the shop and its provider are replaced: a shop keeps a thousand unmatched notices a day.
const BATCHES_PER_DEPLOYMENT: u64 = 4;
const CUSTOMERS: usize = 8;
/// For how many orders of a batch each notice is sent [`FLOOD`] times: the provider's queue has room for ten of them.
const FLOODS: usize = 2;
const FLOOD: u32 = 1_000;
/// How long orders may take to be confirmed: their notices come within seconds, and without notices the shop polls the
/// provider after a minute.
const CONFIRMED_MAX: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(100);
/// The delay of the notices of a first refund, in milliseconds: they come after the second refund of every order.
const LATE_MS: u64 = 1_500;

/// How the provider delivers the notices of an order that is paid with this token.
struct Case {
    name: &'static str,
    token: &'static str,
    /// `None` for a control, whose notices come once and at once.
    delivery: Option<WebhookDelivery>,
}

/// An order, with its case and the index of its customer.
type Placed = (&'static Case, String, usize);

const fn case(name: &'static str, token: &'static str, times: u32, delay_ms: u64) -> Case {
    let delivery = WebhookDelivery { times, delay_ms, bad_signature: false, stale: false };
    Case { name, token, delivery: Some(delivery) }
}

const fn forged(name: &'static str, bad_signature: bool) -> Case {
    let delivery = WebhookDelivery { times: 1, delay_ms: 0, bad_signature, stale: !bad_signature };
    Case { name, token: "tok_success", delivery: Some(delivery) }
}

const fn control(token: &'static str) -> Case {
    Case { name: "control", token, delivery: None }
}

/// The controls are placed first; each other order is compared with the control that has its token.
const CONTROLS: [Case; 4] =
    [control("tok_success"), control("tok_slow"), control("tok_processing"), control("tok_3ds")];
const CASES: [Case; 8] = [
    case("× 20", "tok_success", 20, 0),
    case("late", "tok_success", 2, 1_500),
    case("before the answer", "tok_slow", 3, 0),
    case("× 20, while the payment is processing", "tok_processing", 20, 0),
    case("late, while the payment is processing", "tok_processing", 2, 1_000),
    case("× 20, after 3-D Secure", "tok_3ds", 20, 0),
    forged("bad signature", true),
    forged("stale signature", false),
];

#[derive(Default)]
struct Totals {
    orders: u64,
    floods: u64,
    /// Notices that were sent from here and acknowledged.
    acknowledged: u64,
    /// Orders whose history differs from that of their control.
    differ: u64,
    /// How many notices were refused, and how many had to be.
    rejects: (u64, u64),
    /// How many unmatched notices are listed, and how many were acknowledged.
    kept: (u64, u64),
    kills: u64,
    violations: Vec<String>,
}

pub(crate) async fn run(length: Length) -> Outcome {
    let mut totals = Totals::default();
    let mut random = fastrand::Rng::with_seed(length.seed);
    let mut done = 0;
    while totals.violations.is_empty() && length.goes_on(done, ORDERS) {
        let mut campaign = Campaign::open(&mut random).await;
        for _ in 0..BATCHES_PER_DEPLOYMENT {
            if !totals.violations.is_empty() || !length.goes_on(done, ORDERS) {
                break;
            }
            let short = if length.is_long() { ORDERS_PER_BATCH } else { ORDERS };
            let each = length.left(done).unwrap_or(short).min(short);
            campaign.batch(each, &mut random, &mut totals).await;
            done += each;
        }
        campaign.rotate_secrets(&mut totals).await;
        totals
            .violations
            .extend(holds::run(&mut campaign.deployment, &mut campaign.shoppers[0], &mut campaign.orders).await);
        campaign.close(&mut totals).await;
        println!("  {done} orders of each case, {} notices acknowledged", totals.acknowledged);
    }
    let Totals { orders, floods, acknowledged, differ, rejects, kept, kills, violations } = totals;
    let effects = format!("{orders} orders, {floods} of them with {FLOOD} notices, histories that differ {differ}");
    let sent = format!("{acknowledged} more acknowledged, rejects {}/{}", rejects.0, rejects.1);
    let kept = format!("unknown kept {}/{} over {kills} kills", kept.0, kept.1);
    Ok(Figure { figure: format!("{effects} / {sent} / {kept}"), violations })
}

/// The statuses of an order in turn, each with its note.
type StatusChanges = Vec<(String, String)>;

/// The history of an order without its times. It must not depend on the delivery of notices.
fn status_changes(order: &Value) -> StatusChanges {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = order["history"].as_array().into_iter().flatten();
    entries.map(|entry| (text(&entry["status"]), text(&entry["note"]))).collect()
}

/// A running shop with its provider and its customers.
struct Campaign {
    deployment: Deployment,
    seller: Person,
    admin: Person,
    shoppers: Vec<Shopper>,
    sender: Sender,
    orders: Orders,
    /// The references of acknowledged notices about unknown orders.
    kept: BTreeSet<String>,
}

impl Campaign {
    async fn open(random: &mut fastrand::Rng) -> Self {
        let deployment = Deployment::start(&[("SOUK_LIMITS__PAYMENT_WAIT_MS_MAX", "1000")]).await;
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
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        let sender = Sender { http, url: format!("{}/webhooks/simulator", deployment.url()) };
        Self { deployment, seller, admin, shoppers, sender, orders: Orders::new(), kept: BTreeSet::new() }
    }

    async fn order(&self, id: &str) -> Value {
        read(&self.admin, &format!("/orders/{id}")).await
    }

    async fn batch(&mut self, each: u64, random: &mut fastrand::Rng, totals: &mut Totals) {
        let placed: Vec<Placed> = self.place(each).await;
        let rule = |(case, order, _): &Placed| {
            let webhook = case.delivery?;
            Some(Rule { key_prefix: format!("{order}:charge"), webhook: Some(webhook), ..Rule::default() })
        };
        let mut planned: Vec<Rule> = placed.iter().filter_map(rule).collect();
        // The first few are sent very often instead.
        for rule in planned.iter_mut().take(FLOODS.min(usize::try_from(each).unwrap_or(FLOODS))) {
            rule.webhook = Some(WebhookDelivery { times: FLOOD, ..WebhookDelivery::default() });
            totals.floods += 1;
        }
        self.deployment.plan(&planned).await;
        let paying = self.shoppers.iter().enumerate().map(|(number, shopper)| {
            let own = placed.iter().filter(move |(_, _, of)| *of == number);
            async move {
                for (case, order, _) in own {
                    shopper.person.pay(order, case.token, &format!("pay-{order}")).await;
                }
            }
        });
        futures::future::join_all(paying).await;
        self.approve_payments(&placed).await;
        self.confirm(&placed, totals).await;
        let before: Vec<String> = placed.iter().map(|(_, order, _)| order.clone()).collect();
        self.repeat_notices(&before, random, totals).await;
        self.forge_notices(&before, random, totals).await;
        self.send_unknown(random, totals).await;
        self.compare(&placed, totals).await;
        self.refund_parts(&placed, totals).await;
    }

    /// Places an order for each control, and `each` orders for each case.
    async fn place(&mut self, each: u64) -> Vec<Placed> {
        let mut cases: Vec<&'static Case> = CASES.iter().flat_map(|case| (0..each).map(move |_| case)).collect();
        cases.splice(..0, &CONTROLS);
        let people = self.shoppers.len();
        let placing = self.shoppers.iter_mut().enumerate().map(|(number, shopper)| {
            let own: Vec<(usize, &Case)> = cases.iter().copied().enumerate().skip(number).step_by(people).collect();
            async move {
                let mut placed = Vec::new();
                for (nth, case) in own {
                    placed.push((nth, case, shopper.order().await, number));
                }
                placed
            }
        });
        let mut placed: Vec<_> = futures::future::join_all(placing).await.into_iter().flatten().collect();
        placed.sort_unstable_by_key(|(nth, ..)| *nth);
        placed.into_iter().map(|(_, case, order, number)| (case, order, number)).collect()
    }

    /// Customers approve their payments on the provider's page.
    async fn approve_payments(&self, placed: &[Placed]) {
        for (_, order, _) in placed.iter().filter(|(case, ..)| case.token == "tok_3ds") {
            self.deployment.approve(order, 1).await;
        }
    }

    /// Waits until all orders are confirmed, which must be long before the shop would poll the provider.
    async fn confirm(&mut self, placed: &[Placed], totals: &mut Totals) {
        let began = Instant::now();
        for (case, id, _) in placed {
            loop {
                let order = self.order(id).await;
                if ledger::status(&order) == "confirmed" {
                    self.orders.insert(id.clone(), order);
                    break;
                }
                if began.elapsed() > CONFIRMED_MAX {
                    totals.violations.push(format!("{id} ({}, {}) is not confirmed: {order}", case.name, case.token));
                    self.orders.insert(id.clone(), order);
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
            totals.orders += 1;
        }
    }

    /// Compares the history of each order with that of its control.
    async fn compare(&mut self, placed: &[Placed], totals: &mut Totals) {
        let mut expected = BTreeMap::new();
        for (case, id, _) in placed {
            let order = self.order(id).await;
            totals.compare(&mut expected, case, &order);
            self.orders.insert(id.clone(), order);
        }
    }

    /// Refunds parts of some orders, twice for each order; the notices of the first refund come after those of the
    /// second. Then the provider's ledger, the orders and the stock must agree.
    async fn refund_parts(&mut self, placed: &[Placed], totals: &mut Totals) {
        let chosen: Vec<(&Case, &String)> = placed.iter().step_by(2).map(|(case, id, _)| (*case, id)).collect();
        let late = WebhookDelivery { times: 3, delay_ms: LATE_MS, ..WebhookDelivery::default() };
        let at_once =
            Rule { webhook: Some(WebhookDelivery { times: 20, ..WebhookDelivery::default() }), ..Rule::default() };
        let rule = |id: &&String| Rule { key_prefix: format!("{id}:refund:1"), webhook: Some(late), ..Rule::default() };
        let rules: Vec<Rule> = chosen.iter().map(|(_, id)| rule(id)).chain([at_once]).collect();
        self.deployment.plan(&rules).await;
        for product in ["pen", "ink"] {
            let piece = json!({ "items": [{ "product_id": product, "quantity": 1 }], "reason": "one too many" });
            for (_, id) in &chosen {
                let (path, key) = (format!("/orders/{id}/refunds"), format!("{product}-{id}"));
                let (status, body) = answer(&self.seller, Method::POST, &path, piece.clone(), Some(&key)).await;
                if status != 201 {
                    totals.violations.push(format!("a refund is answered with {status}: {body}"));
                }
            }
        }
        // The late notices must have come, too.
        tokio::time::sleep(Duration::from_millis(2 * LATE_MS)).await;
        let began = Instant::now();
        loop {
            for (_, id, _) in placed {
                let order = self.order(id).await;
                self.orders.insert(id.clone(), order);
            }
            let mut wrong = ledger::compare_money(&self.orders, &self.deployment.ledger().await);
            for (product, _, on_hand) in PRODUCTS {
                let stock = read(&self.seller, &format!("/products/{product}/inventory")).await;
                wrong.extend(ledger::compare_stock(&self.orders, product, on_hand, &stock));
            }
            let has_ended = self.orders.values().all(ledger::has_ended);
            if (wrong.is_empty() && has_ended) || began.elapsed() > CONFIRMED_MAX {
                totals.violations.extend(wrong);
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let mut expected = BTreeMap::new();
        for (case, id) in chosen {
            totals.compare(&mut expected, case, &self.orders[id]);
        }
    }

    async fn close(mut self, totals: &mut Totals) {
        // After all the kills the earliest notices must still be there, and the checker must find nothing.
        totals.kept.0 += self.check_kept(totals).await as u64;
        totals.kept.1 += self.kept.len() as u64;
        let login = Login::Password { email: "admin@demo.example".into(), password: SecretString::from(PASSWORD) };
        let running = Source::Running(Access { url: self.deployment.url(), login, patience: CONFIRMED_MAX });
        for shop in [running, Source::Directory(self.deployment.data())] {
            if matches!(shop, Source::Directory(_)) {
                self.deployment.stop_shop();
            }
            let (history, ledger) = (Some(self.deployment.history()), Some(self.deployment.ledger_file()));
            let verdict = verify::verify(Subject { history, ledger, shop }).await;
            if !verdict.is_clean() {
                totals.violations.push(format!("{:?}\n{}", verdict.stopped, verdict.report));
            }
        }
        totals.kills += self.deployment.kills.shop;
    }
}

impl Totals {
    /// Compares the history of an order with that of the first order with its token.
    fn compare(&mut self, expected: &mut BTreeMap<&'static str, StatusChanges>, case: &Case, order: &Value) {
        let known = expected.entry(case.token).or_insert_with(|| status_changes(order));
        if *known != status_changes(order) {
            self.differ += 1;
            let what =
                format!("{} ({}): {:?}, its control {known:?}", order["order_id"], case.name, status_changes(order));
            self.violations.push(what);
        }
    }

    fn reject(&mut self, status: Option<u16>, what: &str) {
        self.rejects.1 += 1;
        if status == Some(400) {
            self.rejects.0 += 1;
        } else {
            self.violations.push(format!("a notice with {what} is answered with {status:?}"));
        }
    }
}
