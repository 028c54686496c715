//! The provider's notices come a thousand times, late, out of order, before the answer that they announce, forged, or
//! about orders that nobody knows: each has its effect once or none, what is forged is refused, and what was
//! acknowledged is there after a kill.
//!
//! The shop and `souk gateway-sim` run as processes of their own. The provider's script sees to what becomes of its
//! own notices; others are signed here, as a provider would. An order that met mischief must have the history of one
//! that did not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use souk::{
    domain::entity::Timestamp,
    internals::{
        signature::sign,
        verify::{self, Access, Login, Source, Subject},
    },
};
use souk_gateway_sim::{Effect, Line, Mischief, Rule};

use crate::{
    Figure, Length, Outcome,
    gateway::{SECRET, Stand, answer, list, read},
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
/// Notices that are sent at once from here.
const AT_ONCE: usize = 32;
/// Notices about unknown orders that are sent while the shop is killed, at most: a day's inbox must not be full.
const UNKNOWN_MAX: u64 = 200;
/// How long orders may take to be confirmed: their notices come within seconds, and without them the provider is asked
/// after a minute.
const CONFIRMED_MAX: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(100);
/// How late the notices of a first refund are, in milliseconds: after the second refund of every order.
const LATE_MS: u64 = 1_500;
const DAY: Duration = Duration::from_secs(86_400);
/// What takes the place of [`SECRET`].
const NEW_SECRET: &str = "whsec_that_comes_after";

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
        floor.close(&mut sum).await;
        println!("  {done} orders of each kind, {} notices acknowledged", sum.acknowledged);
    }
    let Sum { orders, floods, acknowledged, differ, rejects, kept, kills, violations } = sum;
    let effects = format!("{orders} orders, {floods} of them with {FLOOD} notices, histories that grew {differ}");
    let sent = format!("{acknowledged} more acknowledged, rejects {}/{}", rejects.0, rejects.1);
    let kept = format!("unknown kept {}/{} over {kills} kills", kept.0, kept.1);
    Ok(Figure { figure: format!("{effects} / {sent} / {kept}"), violations })
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn at(moment: Duration) -> Timestamp {
    Timestamp(moment.as_secs() * 1_000)
}

/// Somebody who sends notices as the provider would, or pretends to be it.
#[derive(Clone)]
struct Sender {
    http: reqwest::Client,
    url: String,
}

impl Sender {
    /// The status of the answer; `None` where there was none.
    async fn send(&self, signature: Option<&str>, body: &[u8]) -> Option<u16> {
        let mut request = self.http.post(&self.url).header("content-type", "application/json").body(body.to_vec());
        if let Some(signature) = signature {
            request = request.header("stripe-signature", signature);
        }
        Some(request.send().await.ok()?.status().as_u16())
    }

    async fn tell(&self, secret: &str, body: &[u8]) -> Option<u16> {
        self.send(Some(&sign(&SecretString::from(secret), body, at(now()))), body).await
    }
}

/// The body of a notice about an order's first attempt.
fn notice(id: &str, created: Duration, order: &str) -> Vec<u8> {
    let object = json!({
        "object": "payment_intent", "id": format!("pi_{id}"), "metadata": {"order": order, "attempt": "1"}
    });
    event(id, "payment_intent.succeeded", created, &object)
}

/// The body of a notice that a payment is disputed, which names the payment only.
fn dispute(id: &str, payment: &str) -> Vec<u8> {
    let object = json!({"object": "dispute", "id": format!("dp_{id}"), "payment_intent": payment});
    event(id, "charge.dispute.created", now(), &object)
}

fn event(id: &str, what: &str, created: Duration, object: &Value) -> Vec<u8> {
    let created = created.as_secs();
    let event = json!({"id": id, "object": "event", "type": what, "created": created, "data": {"object": object}});
    serde_json::to_vec(&event).unwrap()
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

    /// Notices about known orders, again and again, also of days ago; and disputes, each a problem for an operator,
    /// once.
    async fn repeat(&mut self, orders: &[String], random: &mut fastrand::Rng, sum: &mut Sum) {
        let mut bodies = Vec::new();
        for (nth, order) in orders.iter().enumerate() {
            let created = now() - DAY * random.u32(..25);
            let body = notice(&format!("again_{order}"), created, order);
            bodies.extend(std::iter::repeat_n(body, if nth == 0 { FLOOD as usize } else { 5 }));
        }
        let ledger = self.stand.ledger().await;
        let disputed: Vec<&String> = orders.iter().step_by(8).collect();
        for order in &disputed {
            let is_capture = |line: &&Line| line.effect == Effect::Captured && line.key.starts_with(order.as_str());
            let Some(line) = ledger.iter().find(is_capture) else {
                sum.violations.push(format!("{order} is in no line of the ledger"));
                continue;
            };
            let body = dispute(&format!("dispute_{order}"), &line.payment);
            bodies.extend(std::iter::repeat_n(body, 20));
        }
        random.shuffle(&mut bodies);
        let sender = &self.sender;
        let sending = stream::iter(bodies).map(|body| async move { sender.tell(SECRET, &body).await });
        let statuses: Vec<Option<u16>> = sending.buffer_unordered(AT_ONCE).collect().await;
        let refused: BTreeSet<_> = statuses.iter().filter(|status| **status != Some(204)).collect();
        if !refused.is_empty() {
            sum.violations.push(format!("notices of known orders are answered with {refused:?}"));
        }
        sum.acknowledged += statuses.len() as u64;
        let listed = list(&self.admin, "/admin/payments/attention?limit=100").await;
        for order in disputed {
            let of_order = listed.iter().filter(|item| item["order"]["order_id"] == **order);
            let problems = of_order.flat_map(|item| item["attention"].as_array().cloned().unwrap_or_default());
            let disputes = problems.filter(|problem| problem["problem"] == "disputed").count();
            if disputes != 1 {
                sum.violations.push(format!("{order} was disputed once, and is listed with {disputes} disputes"));
            }
        }
    }

    /// Whatever is not signed by the provider, or not lately, is refused.
    async fn forge(&mut self, orders: &[String], random: &mut fastrand::Rng, sum: &mut Sum) {
        let hour = Duration::from_secs(3_600);
        for order in orders {
            let id = format!("forged_{:016x}", random.u64(..));
            let body = notice(&id, now(), order);
            let (good, nobodys) = (SecretString::from(SECRET), SecretString::from("whsec_guessed"));
            let other = notice(&format!("other_{id}"), now(), order);
            let signatures = [
                None,
                Some(String::new()),
                Some(sign(&nobodys, &body, at(now()))),
                Some(sign(&good, &other, at(now()))),
                Some(sign(&good, &body, at(now() - hour))),
                Some(sign(&good, &body, at(now() + hour))),
                Some(sign(&SecretString::from(NEW_SECRET), &body, at(now()))),
            ];
            for signature in signatures {
                let status = self.sender.send(signature.as_deref(), &body).await;
                sum.reject(status, signature.as_deref().unwrap_or("no signature"));
            }
        }
    }

    /// Notices of orders that nobody knows, today's and days late, each thrice, while the shop is killed: what was
    /// acknowledged is listed afterwards, once.
    async fn unknown(&mut self, random: &mut fastrand::Rng, sum: &mut Sum) {
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let (dead, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut senders = Vec::new();
        for _ in 0..4 {
            let (acknowledged, dead, sent) = (Arc::clone(&acknowledged), Arc::clone(&dead), Arc::clone(&sent));
            let (sender, mut random) = (self.sender.clone(), random.fork());
            senders.push(tokio::spawn(async move {
                while !dead.load(Ordering::Relaxed) && sent.fetch_add(1, Ordering::Relaxed) < UNKNOWN_MAX {
                    let id = format!("{:016x}", random.u64(..));
                    // Some are older than anything that is listed by its own day.
                    let days = if random.u8(..8) == 0 { 400 } else { 28 };
                    let created = now() - DAY * random.u32(..days);
                    let body = notice(&id, created, &format!("{:032x}", random.u128(..)));
                    for _ in 0..3 {
                        match sender.tell(SECRET, &body).await {
                            Some(204) => drop(acknowledged.lock().insert(format!("pi_{id}"))),
                            Some(status) => {
                                return Some(format!("an unknown order's notice is answered with {status}"));
                            }
                            None => return None,
                        }
                    }
                }
                None
            }));
        }
        // Killed right after an acknowledgement, so that there is as little time as can be between it and the kill.
        let least = random.usize(1..60);
        while acknowledged.lock().len() < least && !senders.iter().all(tokio::task::JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
        self.stand.stop_shop();
        dead.store(true, Ordering::Relaxed);
        for sender in senders {
            sum.violations.extend(sender.await.unwrap());
        }
        self.stand.start_shop();
        sum.acknowledged += acknowledged.lock().len() as u64;
        self.kept.append(&mut acknowledged.lock());
        self.look_for_kept(sum).await;
    }

    /// Holds what is listed against what was acknowledged; how much of it is there.
    async fn look_for_kept(&self, sum: &mut Sum) -> usize {
        let listed = read(&self.admin, "/admin/payments/notices").await;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for notice in listed.as_array().into_iter().flatten() {
            *counts.entry(notice["reference"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let missing: Vec<_> = self.kept.iter().filter(|reference| !counts.contains_key(*reference)).collect();
        let listed = self.kept.len() - missing.len();
        let missing = missing.into_iter().map(|reference| format!("{reference} was acknowledged and is not listed"));
        sum.violations.extend(missing);
        let twice = counts.iter().filter(|(_, count)| **count > 1);
        sum.violations.extend(twice.map(|(reference, count)| format!("{reference} is listed {count} times")));
        listed
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

    /// A new secret takes the place of the old: for a while both are good, then only the new one.
    async fn rotate(&mut self, sum: &mut Sum) {
        let both = format!("{SECRET},{NEW_SECRET}");
        for (secrets, good, bad) in [
            (both.as_str(), &[SECRET, NEW_SECRET][..], &["whsec_guessed"][..]),
            (NEW_SECRET, &[NEW_SECRET], &[SECRET]),
            (SECRET, &[SECRET], &[NEW_SECRET]),
        ] {
            self.stand.set("SOUK_PAYMENTS__WEBHOOK_SECRETS", secrets);
            self.stand.stop_shop();
            self.stand.start_shop();
            for secret in good {
                let body = notice(&format!("rotated_{}", fastrand::u64(..)), now(), &format!("{:032x}", 7));
                let status = self.sender.tell(secret, &body).await;
                if status == Some(204) {
                    sum.acknowledged += 1;
                } else {
                    sum.violations.push(format!("a live secret's notice is answered with {status:?}"));
                }
            }
            for secret in bad {
                let body = notice("retired", now(), &format!("{:032x}", 7));
                sum.reject(self.sender.tell(secret, &body).await, "another secret");
            }
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
