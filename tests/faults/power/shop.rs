//! The whole shop: the real binary under load, compared with what it acknowledged to its customers.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use souk::internals::verify::{self, Source, Subject};
use tokio::{task::JoinSet, time::sleep};

use super::Violations;
use crate::{
    Figure, Length,
    disk::{Disk, MIB, Process, random_ms, run},
};

/// Cuts of a short run.
const CUTS: u64 = 10;
/// After this many cuts the shop is created anew on a new disk, so that reading everything after each cut stays short.
const CUTS_PER_DISK: u64 = 20;
const CUSTOMERS: usize = 8;
const PRODUCT: &str = "demo-000007";
const RECEIVED: u64 = 1_000_000;

/// What a customer knows about an order.
struct Promise {
    items: Value,
    total: Value,
    stage: u8,
    /// Attempts to pay with a definite outcome.
    attempts: Vec<(Value, &'static str)>,
}

impl Promise {
    fn of(order: &Value) -> Self {
        let (items, total) = (order["items"].clone(), order["total"].clone());
        Self { items, total, stage: stage(&order["status"]).unwrap_or(u8::MAX), attempts: Vec::new() }
    }
}

/// The progress of an order; after a declined payment it returns from pending to awaiting. `None` for a status that is
/// not possible here.
fn stage(status: &Value) -> Option<u8> {
    let stages = [&["placed"][..], &["awaiting_payment", "payment_pending"], &["paid"], &["confirmed"]];
    (0..).zip(stages).find(|(_, names)| names.contains(&status.as_str().unwrap_or_default())).map(|(stage, _)| stage)
}

struct Running {
    process: Process,
    client: reqwest::Client,
    address: String,
}

impl Running {
    async fn start(binary: &Path, disk: &Disk, more: &[&str]) -> Result<Self, String> {
        let log_path = disk.dir.path().join("log");
        let mut command = Command::new(binary);
        command.arg("--data-dir").arg(disk.data()).args(["serve", "--listen", "127.0.0.1:0"]).args(more);
        // Variables of this test would be unknown settings to the shop.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SOUK_")) {
            command.env_remove(name);
        }
        command.env("SOUK_PAYMENTS__SIMULATED_LEDGER", disk.dir.path().join("ledger.jsonl"));
        // All customers have one address.
        command.env("SOUK_LIMITS__RATES", "off");
        // The longest possible times: no token and no order expires during the test.
        command.env("SOUK_ACCESS_TOKEN_SECONDS", "3600").env("SOUK_PAYMENT_DEADLINE_MS", "86400000");
        command.stderr(fs::File::create(&log_path).unwrap());
        let mut process = Process::start(command);
        let Some(line) = process.line(Duration::from_secs(60)).await else {
            return Err(format!("the shop does not start: {}", fs::read_to_string(log_path).unwrap().trim()));
        };
        let address = line.strip_prefix("Souk listens on ").ok_or(line.clone())?.to_owned();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        Ok(Self { process, client, address })
    }

    /// The status and body of an answer; `None` without one.
    async fn ask(&self, method: Method, path: &str, token: &str, body: Value) -> Option<(u16, Value)> {
        let request = self.client.request(method, format!("{}{path}", self.address)).bearer_auth(token);
        let request = match path {
            // Its answer must not be kept.
            "/auth/login" => request,
            _ => request.header("idempotency-key", format!("\"{:032x}\"", fastrand::u128(..))),
        };
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.ok()?))
    }

    async fn get(&self, path: &str, token: &str) -> Result<Value, String> {
        match self.ask(Method::GET, path, token, Value::Null).await {
            Some((200, body)) => Ok(body),
            other => Err(format!("GET {path}: {other:?}")),
        }
    }

    async fn log_in(&self, email: &str) -> Result<String, String> {
        let body = json!({"email": email, "password": "souk-demo-password"});
        match self.ask(Method::POST, "/auth/login", "", body).await {
            Some((200, body)) => Ok(body["access_token"].as_str().unwrap().to_owned()),
            other => Err(format!("{email} cannot log in: {other:?}")),
        }
    }

    async fn register(&self, email: &str) -> Option<()> {
        let body = json!({"email": email, "password": "souk-demo-password"});
        self.ask(Method::POST, "/auth/register", "", body).await.filter(|(status, _)| *status == 201).map(drop)
    }

    /// A customer who pays the orders that were left open and then buys, until a request is not answered or its answer
    /// is not one of the expected ones. `told` collects what they know, even of an order whose payment was not
    /// answered.
    async fn shop_on(&self, token: &str, told: &mut HashMap<String, Promise>) -> Option<()> {
        for order in self.get("/orders?limit=100", token).await.ok()?["items"].as_array()? {
            if order["status"] == "awaiting_payment" && fastrand::bool() {
                self.pay(token, order, "tok_success", told).await?;
            }
        }
        loop {
            let wanted = json!({"items": [{"product_id": PRODUCT, "quantity": fastrand::u32(1..4)}]});
            let (_, cart) = self.ask(Method::POST, "/cart/add_products", token, wanted).await?;
            let address =
                json!({"name": "Asha", "line1": "1 MG Road", "city": "Pune", "postal_code": "411001", "country": "IN"});
            let checkout = json!({"total_price": cart["total"], "shipping_address": address});
            let (201, order) = self.ask(Method::POST, "/checkout", token, checkout).await? else { return None };
            let methods = ["tok_success", "tok_decline", "tok_timeout_after_charge"];
            if self.pay(token, &order, methods[fastrand::usize(..methods.len())], told).await? == 422 {
                self.pay(token, &order, "tok_success", told).await?;
            }
        }
    }

    async fn pay(&self, token: &str, order: &Value, method: &str, told: &mut HashMap<String, Promise>) -> Option<u16> {
        let promise = told.entry(order["order_id"].as_str()?.to_owned()).or_insert_with(|| Promise::of(order));
        let payment = json!({"order_id": order["order_id"], "payment_method": method});
        let (status, answer) = self.ask(Method::POST, "/payment", token, payment).await?;
        match status {
            200 => {
                promise.stage = stage(&answer["order_status"])?;
                promise.attempts.push((answer["payment"]["attempt"].clone(), "success"));
            }
            422 => promise.attempts.push((answer["attempt"].clone(), "fail")),
            202 => {}
            _ => return None,
        }
        Some(status)
    }

    /// All orders of these customers, from their lists.
    async fn orders(&self, tokens: &[String]) -> Result<HashMap<String, Value>, String> {
        let mut orders = HashMap::new();
        for token in tokens {
            let mut path = "/orders?limit=100".to_owned();
            loop {
                let page = self.get(&path, token).await?;
                let items = page["items"].as_array().unwrap();
                orders
                    .extend(items.iter().map(|order| (order["order_id"].as_str().unwrap().to_owned(), order.clone())));
                let Some(next) = page["next_cursor"].as_str() else { break };
                path = format!("/orders?limit=100&after={next}");
            }
        }
        Ok(orders)
    }

    /// Whether orders, stock and ledger agree. They need not while an interrupted order is still being finished.
    async fn balance(&self, orders: &HashMap<String, Value>, seller: &str, ledger: &Path) -> Result<(), String> {
        let (mut sold, mut open, mut captured) = (0, 0, HashMap::<String, Vec<Value>>::new());
        for line in fs::read_to_string(ledger).unwrap().lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            // The first line names the shop, and has no key.
            let Some(key) = line["key"].as_str() else { continue };
            if line["declined"].is_null() {
                let order = key.split(':').next().unwrap().to_owned();
                captured.entry(order).or_default().push(line["amount"].clone());
            }
        }
        for (id, order) in orders {
            let units = order["items"].as_array().unwrap().iter().map(|item| item["quantity"].as_u64().unwrap());
            let units: u64 = units.sum();
            let amounts = captured.remove(id).unwrap_or_default();
            let expected = match order["status"].as_str().unwrap() {
                "confirmed" => {
                    sold += units;
                    std::slice::from_ref(&order["total"])
                }
                "awaiting_payment" => {
                    open += units;
                    &[]
                }
                other => return Err(format!("order {id} stays {other}")),
            };
            if amounts != expected {
                return Err(format!("order {id} is {}, but captured was {amounts:?}", order["status"]));
            }
        }
        if let Some(order) = captured.keys().next() {
            return Err(format!("captured for {order}, which no customer has"));
        }
        let stock = self.get(&format!("/products/{PRODUCT}/inventory"), seller).await?;
        let figures = ["received", "sold", "on_hand", "reserved_quantity"].map(|name| stock[name].as_u64().unwrap());
        if figures == [RECEIVED, sold, RECEIVED - sold, open] {
            Ok(())
        } else {
            Err(format!("stock {figures:?}, by orders {:?}", [RECEIVED, sold, RECEIVED - sold, open]))
        }
    }

    /// Compares the shop with what its customers know.
    async fn check(
        &self,
        tokens: &[String],
        seller: &str,
        promises: &HashMap<String, Promise>,
        ledger: &Path,
    ) -> Violations {
        let start = Instant::now();
        let (orders, balance) = loop {
            let orders = match self.orders(tokens).await {
                Ok(orders) => orders,
                Err(error) => return vec![error],
            };
            let balance = self.balance(&orders, seller, ledger).await;
            if balance.is_ok() || start.elapsed() > Duration::from_secs(20) {
                break (orders, balance);
            }
            sleep(Duration::from_millis(200)).await;
        };
        let mut violations: Violations = balance.err().into_iter().collect();
        for (id, promise) in promises {
            let Some(order) = orders.get(id) else {
                violations.push(format!("order {id} is in no list"));
                continue;
            };
            if order["items"] != promise.items || order["total"] != promise.total {
                violations.push(format!("order {id} has become another: {order}"));
            }
            if stage(&order["status"]).is_none_or(|stage| stage < promise.stage) {
                violations.push(format!("order {id} went back to {} from stage {}", order["status"], promise.stage));
            }
        }
        violations
    }
}

/// Whether each customer of this round still reads the payments that were acknowledged.
async fn check_payments(shop: &Running, token: &str, promises: &HashMap<String, Promise>) -> Violations {
    let mut violations = Vec::new();
    for (id, promise) in promises {
        let kept = shop.get(&format!("/orders/{id}/payments"), token).await;
        let kept = kept.as_ref().ok().and_then(Value::as_array).cloned().unwrap_or_default();
        for (number, status) in &promise.attempts {
            if !kept.iter().any(|made| made["attempt"] == *number && made["status"] == *status) {
                violations.push(format!("order {id}: told that attempt {number} was a {status}, kept {kept:?}"));
            }
        }
    }
    violations
}

pub(super) async fn cut_the_shop(length: Length) -> Figure {
    let (mut totals, mut violations) = (Totals::default(), Violations::new());
    // A copy, so that a build during the test does not change the shop between two cuts.
    let copy = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let binary = copy.path().join("souk");
    fs::copy(env!("CARGO_BIN_EXE_souk"), &binary).unwrap();
    while violations.is_empty() && length.goes_on(totals.cuts, CUTS) {
        violations = cut_one_disk(&binary, length, &mut totals).await;
    }
    if totals.orders == 0 {
        violations.push("nothing was ordered: nothing was tested".into());
    }
    let Totals { cuts, orders, definite } = totals;
    Figure { figure: format!("{cuts} cuts / {orders} orders and {definite} payments acknowledged"), violations }
}

/// The totals so far.
#[derive(Default)]
struct Totals {
    cuts: u64,
    orders: usize,
    /// Payments with a definite outcome.
    definite: usize,
}

/// A new shop on a new disk, whose power is cut again and again.
async fn cut_one_disk(binary: &Path, length: Length, totals: &mut Totals) -> Violations {
    let disk = Disk::new(2_048 * MIB).unwrap();
    let ledger = disk.dir.path().join("ledger.jsonl");
    let mut shop = Running::start(binary, &disk, &["--demo", "--demo-products", "20"]).await.unwrap();
    let seller = shop.log_in("seller@demo.example").await.unwrap();
    let stock = (Method::PUT, format!("/products/{PRODUCT}/inventory"), json!({"on_hand": RECEIVED}));
    assert_eq!(shop.ask(stock.0, &stock.1, &seller, stock.2).await.unwrap().0, 200);
    let mut tokens = Vec::new();
    for number in 0..CUSTOMERS {
        let email = format!("customer-{number}@power.example");
        shop.register(&email).await.unwrap();
        tokens.push(shop.log_in(&email).await.unwrap());
    }
    let (mut violations, mut promises) = (Vec::new(), HashMap::new());
    let last = totals.cuts + CUTS_PER_DISK;
    while totals.cuts < last && length.goes_on(totals.cuts, CUTS) {
        let cut = totals.cuts;
        totals.cuts += 1;
        let running = Arc::new(shop);
        let mut customers = JoinSet::new();
        for token in tokens.clone() {
            let shop = Arc::clone(&running);
            customers.spawn(async move {
                let mut told = HashMap::new();
                let _ = shop.shop_on(&token, &mut told).await;
                (token, told)
            });
        }
        let newcomer = format!("newcomer-{cut}@power.example");
        let (registering, email) = (Arc::clone(&running), newcomer.clone());
        let registered = tokio::spawn(async move { registering.register(&email).await });
        sleep(random_ms(200..1_500)).await;
        disk.cut().unwrap();
        sleep(random_ms(0..50)).await;
        let id = running.process.child.id().unwrap().to_string();
        run(Command::new("kill").args(["-9", &id])).unwrap();
        let told = customers.join_all().await;
        let registered = registered.await.unwrap();
        drop(running);
        disk.power_on();
        shop = match Running::start(binary, &disk, &[]).await {
            Ok(shop) => shop,
            Err(error) => {
                violations.push(format!("cut {cut}: {error}"));
                return violations;
            }
        };
        let mut found = Vec::new();
        if registered.is_some() {
            found.extend(shop.log_in(&newcomer).await.err());
        }
        for (token, told) in told {
            found.extend(check_payments(&shop, &token, &told).await);
            totals.definite += told.values().map(|promise| promise.attempts.len()).sum::<usize>();
            promises.extend(told);
        }
        found.extend(shop.check(&tokens, &seller, &promises, &ledger).await);
        violations.extend(found.into_iter().map(|violation| format!("cut {cut}: {violation}")));
    }
    totals.orders += promises.len();
    shop.process.child.kill().await.unwrap();
    // What the last start has recovered, without a process: the checker sees more than the API shows.
    let source = Source::Directory(disk.data());
    let verdict = verify::verify(Subject { history: None, ledger: Some(ledger), shop: source }).await;
    violations.extend(verdict.stopped.map(|error| error.to_string()));
    violations.extend(verdict.report.findings.iter().map(|found| format!("{found:?}")));
    violations
}
