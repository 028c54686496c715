//! The provider's notices come a thousand times, late, out of order, before the answer that they announce, forged, or
//! about orders that nobody knows: each has its effect once or none, what is forged is refused, and what was
//! acknowledged is there after a kill.
//!
//! The shop and `souk gateway-sim` run as processes of their own. The provider's script sees to what becomes of its
//! own notices; others are signed here, as a provider would. An order that met mischief must have the history of one
//! that did not.

mod sent;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use souk::internals::verify::{self, Access, Login, Source, Subject};
use souk_gateway_sim::{Mischief, Rule};

use self::sent::Sender;
use crate::{
    Figure, Length, Outcome,
    gateway::{Stand, answer, read},
    holds,
    ledger::{self, Orders},
    orders::{PRODUCTS, Shopper},
    recorded::{PASSWORD, Person},
};

/// Orders for each kind of mischief of a short run.
const ORDERS: u64 = 2;
/// Orders for each kind that are under way together.
const ORDERS_PER_BATCH: u64 = 12;
/// Batches with one shop, after which it and its provider begin anew: an inbox takes a thousand notices a day.
const BATCHES_PER_STAND: u64 = 4;
const CUSTOMERS: usize = 8;
/// Orders of a batch that get a flood: the provider's queue has room for ten of them.
const FLOODS: usize = 2;
const FLOOD: u32 = 1_000;
/// How long orders may take to be confirmed: their notices come within seconds, and without them the provider is asked
/// after a minute.
const CONFIRMED_MAX: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(100);
/// How late the notices of a first refund are, in milliseconds: after the second refund of every order.
const LATE_MS: u64 = 1_500;

/// What becomes of the notices of an order that is paid with this token.
struct Kind {
    name: &'static str,
    token: &'static str,
    mischief: Option<Mischief>,
}

const fn kind(name: &'static str, token: &'static str, times: u32, delay_ms: u64) -> Kind {
    let mischief = Mischief { times, delay_ms, bad_signature: false, stale: false };
    Kind { name, token, mischief: Some(mischief) }
}

const fn forged(name: &'static str, bad_signature: bool) -> Kind {
    let mischief = Mischief { times: 1, delay_ms: 0, bad_signature, stale: !bad_signature };
    Kind { name, token: "tok_success", mischief: Some(mischief) }
}

const fn control(token: &'static str) -> Kind {
    Kind { name: "control", token, mischief: None }
}

/// The controls come first; each of the others is held against the one with its token.
const CONTROLS: [Kind; 4] =
    [control("tok_success"), control("tok_slow"), control("tok_processing"), control("tok_3ds")];
const KINDS: [Kind; 8] = [
    kind("× 20", "tok_success", 20, 0),
    kind("late", "tok_success", 2, 1_500),
    kind("before the answer", "tok_slow", 3, 0),
    kind("× 20, while the provider works on it", "tok_processing", 20, 0),
    kind("late, while the provider works on it", "tok_processing", 2, 1_000),
    kind("× 20, after 3-D Secure", "tok_3ds", 20, 0),
    forged("bad signature", true),
    forged("stale signature", false),
];

#[derive(Default)]
struct Sum {
    orders: u64,
    floods: u64,
    /// Sent from here and acknowledged.
    acknowledged: u64,
    /// Orders whose history is another one than its control's.
    differ: u64,
    /// Refused, of how many that had to be.
    rejects: (u64, u64),
    /// Listed, of how many that were acknowledged.
    kept: (u64, u64),
    kills: u64,
    violations: Vec<String>,
}

pub(crate) async fn run(length: Length) -> Outcome {
    let mut sum = Sum::default();
    let mut random = fastrand::Rng::with_seed(length.seed);
    let mut done = 0;
    while sum.violations.is_empty() && length.goes_on(done, ORDERS) {
        let mut floor = Floor::open(&mut random).await;
        for _ in 0..BATCHES_PER_STAND {
            if !sum.violations.is_empty() || !length.goes_on(done, ORDERS) {
                break;
            }
            let short = if length.is_long() { ORDERS_PER_BATCH } else { ORDERS };
            let each = length.left(done).unwrap_or(short).min(short);
            floor.batch(each, &mut random, &mut sum).await;
            done += each;
        }
        floor.rotate(&mut sum).await;
        sum.violations.extend(holds::play(&mut floor.stand, &mut floor.shoppers[0], &mut floor.orders).await);
        floor.close(&mut sum).await;
        println!("  {done} orders of each kind, {} notices acknowledged", sum.acknowledged);
    }
    let Sum { orders, floods, acknowledged, differ, rejects, kept, kills, violations } = sum;
    let effects = format!("{orders} orders, {floods} of them with {FLOOD} notices, histories that grew {differ}");
    let sent = format!("{acknowledged} more acknowledged, rejects {}/{}", rejects.0, rejects.1);
    let kept = format!("unknown kept {}/{} over {kills} kills", kept.0, kept.1);
    Ok(Figure { figure: format!("{effects} / {sent} / {kept}"), violations })
}

/// Where an order stood after each change, with its note.
type Course = Vec<(String, String)>;

/// What a history tells, without its times: it must not depend on how often and when notices came.
fn course(order: &Value) -> Course {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = order["history"].as_array().into_iter().flatten();
    entries.map(|entry| (text(&entry["status"]), text(&entry["note"]))).collect()
}

struct Floor {
    stand: Stand,
    seller: Person,
    admin: Person,
    shoppers: Vec<Shopper>,
    sender: Sender,
    orders: Orders,
    /// References of notices about unknown orders that were acknowledged.
    kept: BTreeSet<String>,
}

impl Floor {
    async fn open(random: &mut fastrand::Rng) -> Self {
        let stand = Stand::start(&[("SOUK_LIMITS__PAYMENT_WAIT_MS_MAX", "1000")]).await;
        let seller = stand.world.enter("seller", "seller@demo.example").await;
        let admin = stand.world.enter("admin", "admin@demo.example").await;
        for (product, price, on_hand) in PRODUCTS {
            seller.list(product, price).await;
            seller.set_stock(product, on_hand).await;
        }
        let mut shoppers = Vec::new();
        for number in 0..CUSTOMERS {
            let name = format!("customer-{number}");
            let person = stand.world.enter(&name, &format!("{name}@example.org")).await;
            shoppers.push(Shopper { person, seller: seller.clone(), random: random.fork() });
        }
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        let sender = Sender { http, url: format!("{}/webhooks/simulator", stand.url()) };
        Self { stand, seller, admin, shoppers, sender, orders: Orders::new(), kept: BTreeSet::new() }
    }

    async fn order(&self, id: &str) -> Value {
        read(&self.admin, &format!("/orders/{id}")).await
    }

    async fn batch(&mut self, each: u64, random: &mut fastrand::Rng, sum: &mut Sum) {
        let mischief: Vec<(&Kind, String, usize)> = self.place(each).await;
        let rules = |(kind, order, _): &(&Kind, String, usize)| {
            let webhook = kind.mischief?;
            Some(Rule { key_prefix: format!("{order}:charge"), webhook: Some(webhook), ..Rule::default() })
        };
        let mut planned: Vec<Rule> = mischief.iter().filter_map(rules).collect();
        // The first few have a flood instead.
        for rule in planned.iter_mut().take(FLOODS.min(usize::try_from(each).unwrap_or(FLOODS))) {
            rule.webhook = Some(Mischief { times: FLOOD, ..Mischief::default() });
            sum.floods += 1;
        }
        self.stand.plan(&planned).await;
        let paying = self.shoppers.iter().enumerate().map(|(number, shopper)| {
            let own = mischief.iter().filter(move |(_, _, of)| *of == number);
            async move {
                for (kind, order, _) in own {
                    shopper.person.pay(order, kind.token, &format!("pay-{order}")).await;
                }
            }
        });
        futures::future::join_all(paying).await;
        self.come_back(&mischief).await;
        self.confirm(&mischief, sum).await;
        let before: Vec<String> = mischief.iter().map(|(_, order, _)| order.clone()).collect();
        self.repeat(&before, random, sum).await;
        self.forge(&before, random, sum).await;
        self.unknown(random, sum).await;
        self.compare(&mischief, sum).await;
        self.give_back(&mischief, sum).await;
    }

    /// An order for each kind, and one for each control; the customer's number with each.
    async fn place(&mut self, each: u64) -> Vec<(&'static Kind, String, usize)> {
        let mut kinds: Vec<&'static Kind> = KINDS.iter().flat_map(|kind| (0..each).map(move |_| kind)).collect();
        kinds.splice(..0, &CONTROLS);
        // The first of the kinds come first in the script, which has the floods for them.
        let people = self.shoppers.len();
        let placing = self.shoppers.iter_mut().enumerate().map(|(number, shopper)| {
            let own: Vec<(usize, &Kind)> = kinds.iter().copied().enumerate().skip(number).step_by(people).collect();
            async move {
                let mut placed = Vec::new();
                for (nth, kind) in own {
                    placed.push((nth, kind, shopper.order().await, number));
                }
                placed
            }
        });
        let mut placed: Vec<_> = futures::future::join_all(placing).await.into_iter().flatten().collect();
        placed.sort_unstable_by_key(|(nth, ..)| *nth);
        placed.into_iter().map(|(_, kind, order, number)| (kind, order, number)).collect()
    }

    /// Customers approve their payments on the provider's page.
    async fn come_back(&self, mischief: &[(&Kind, String, usize)]) {
        for (_, order, _) in mischief.iter().filter(|(kind, ..)| kind.token == "tok_3ds") {
            self.stand.approve(order, 1).await;
        }
    }

    /// All are confirmed long before the shop would ask by itself.
    async fn confirm(&mut self, mischief: &[(&Kind, String, usize)], sum: &mut Sum) {
        let began = Instant::now();
        for (kind, id, _) in mischief {
            loop {
                let order = self.order(id).await;
                if ledger::status(&order) == "confirmed" {
                    self.orders.insert(id.clone(), order);
                    break;
                }
                if began.elapsed() > CONFIRMED_MAX {
                    sum.violations.push(format!("{id} ({}, {}) is not confirmed: {order}", kind.name, kind.token));
                    self.orders.insert(id.clone(), order);
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
            sum.orders += 1;
        }
    }

    /// The same history as an order with the same token whose notices came once, at once.
    async fn compare(&mut self, mischief: &[(&Kind, String, usize)], sum: &mut Sum) {
        let mut courses = BTreeMap::new();
        for (kind, id, _) in mischief {
            let order = self.order(id).await;
            sum.compare(&mut courses, kind, &order);
            self.orders.insert(id.clone(), order);
        }
    }

    /// Some money goes back, twice for an order; the notices of the first refund come after those of the second. Then
    /// the books agree.
    async fn give_back(&mut self, mischief: &[(&Kind, String, usize)], sum: &mut Sum) {
        let chosen: Vec<(&Kind, &String)> = mischief.iter().step_by(2).map(|(kind, id, _)| (*kind, id)).collect();
        let late = Mischief { times: 3, delay_ms: LATE_MS, ..Mischief::default() };
        let at_once = Rule { webhook: Some(Mischief { times: 20, ..Mischief::default() }), ..Rule::default() };
        let rule = |id: &&String| Rule { key_prefix: format!("{id}:refund:1"), webhook: Some(late), ..Rule::default() };
        let rules: Vec<Rule> = chosen.iter().map(|(_, id)| rule(id)).chain([at_once]).collect();
        self.stand.plan(&rules).await;
        for product in ["pen", "ink"] {
            let piece = json!({ "items": [{ "product_id": product, "quantity": 1 }], "reason": "one too many" });
            for (_, id) in &chosen {
                let (path, key) = (format!("/orders/{id}/refunds"), format!("{product}-{id}"));
                let (status, body) = answer(&self.seller, Method::POST, &path, piece.clone(), Some(&key)).await;
                if status != 201 {
                    sum.violations.push(format!("a refund is answered with {status}: {body}"));
                }
            }
        }
        // Until the late ones have come, too.
        tokio::time::sleep(Duration::from_millis(2 * LATE_MS)).await;
        let began = Instant::now();
        loop {
            for (_, id, _) in mischief {
                let order = self.order(id).await;
                self.orders.insert(id.clone(), order);
            }
            let mut wrong = ledger::compare_money(&self.orders, &self.stand.ledger().await);
            for (product, _, on_hand) in PRODUCTS {
                let stock = read(&self.seller, &format!("/products/{product}/inventory")).await;
                wrong.extend(ledger::compare_stock(&self.orders, product, on_hand, &stock));
            }
            let has_ended = self.orders.values().all(ledger::has_ended);
            if (wrong.is_empty() && has_ended) || began.elapsed() > CONFIRMED_MAX {
                sum.violations.extend(wrong);
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let mut courses = BTreeMap::new();
        for (kind, id) in chosen {
            sum.compare(&mut courses, kind, &self.orders[id]);
        }
    }

    async fn close(mut self, sum: &mut Sum) {
        // What was acknowledged first is still there after all the kills, and through the checker's eyes all is well.
        sum.kept.0 += self.look_for_kept(sum).await as u64;
        sum.kept.1 += self.kept.len() as u64;
        let login = Login::Password { email: "admin@demo.example".into(), password: SecretString::from(PASSWORD) };
        let running = Source::Running(Access { url: self.stand.url(), login, patience: CONFIRMED_MAX });
        for shop in [running, Source::Directory(self.stand.data())] {
            if matches!(shop, Source::Directory(_)) {
                self.stand.stop_shop();
            }
            let (history, ledger) = (Some(self.stand.history()), Some(self.stand.ledger_file()));
            let verdict = verify::verify(Subject { history, ledger, shop }).await;
            if !verdict.is_clean() {
                sum.violations.push(format!("{:?}\n{}", verdict.stopped, verdict.report));
            }
        }
        sum.kills += self.stand.kills.shop;
    }
}

impl Sum {
    /// Holds an order's history against that of the first one with its token.
    fn compare(&mut self, courses: &mut BTreeMap<&'static str, Course>, kind: &Kind, order: &Value) {
        let known = courses.entry(kind.token).or_insert_with(|| course(order));
        if *known != course(order) {
            self.differ += 1;
            let what = format!("{} ({}): {:?}, its control {known:?}", order["order_id"], kind.name, course(order));
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
