//! kill -9: the real binary under concurrent load, killed at random moments, restarted, and held to its word.
//!
//! Customers shop over HTTP and write down every answer. After each restart and when things are quiet: every acknowledged order is
//! there with the same lines and total, and has not gone back; every order ends; nobody was charged twice or for nothing; the
//! provider's ledger agrees; stock balances; a cart holds what its customer last acknowledged.
//!
//! `SOUK_CRASH_CYCLES=200 cargo test --test crash` for more. The seed is printed; `SOUK_CRASH_SEED` repeats the moments of the kills.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const CYCLES: usize = 20;
const CUSTOMERS: usize = 12;
/// Few products, so that customers meet: the first two are scarce.
const PRODUCTS: [(&str, u64); 4] = [("hot", 60), ("warm", 300), ("cold-1", 1_000_000), ("cold-2", 1_000_000)];
const PRICE: u64 = 1_000;
/// How long a start or an order may take before the test gives up, in seconds.
const PATIENCE_SECONDS: u64 = 60;

/// The shop's process. Dropping it kills it.
struct Shop {
    child: Child,
    url: String,
}

impl Shop {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_souk"))
            .args(["serve", "--listen", "127.0.0.1:0", "--demo", "--demo-products", "1", "--data-dir"])
            .arg(data)
            .env("SOUK_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().expect("the shop says where it listens").unwrap();
        let url = first.rsplit(' ').next().unwrap().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{first}");
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a customer was told.
#[derive(Default)]
struct Memory {
    /// Orders by id: what was ordered, the total, and how far it was seen to have come.
    orders: BTreeMap<String, Told>,
    /// The cart's quantities and version as last acknowledged; `None` after a request whose outcome is unknown.
    cart: Option<(u64, BTreeMap<String, u64>)>,
    acknowledged: usize,
}

#[derive(Clone)]
struct Told {
    items: Value,
    total: u64,
    rank: u8,
    paid: bool,
}

/// How far an order has come; it may only grow.
fn rank(status: &str) -> u8 {
    match status {
        "placed" => 0,
        "awaiting_payment" | "payment_pending" => 1,
        "paid" => 2,
        "confirmed" => 3,
        "cancelling" => 4,
        "cancelled" | "expired" | "rejected" => 5,
        other => panic!("an unexpected status: {other}"),
    }
}

struct Customer {
    number: usize,
    token: String,
    client: Client,
    memory: Memory,
    random: fastrand::Rng,
}

/// An answer, or `None` where its request may or may not have been done.
type Answer = Option<(StatusCode, Value)>;

impl Customer {
    async fn send(&mut self, url: &str, method: reqwest::Method, path: &str, body: Value, key: Option<&str>) -> Answer {
        let mut request = self.client.request(method, format!("{url}{path}")).bearer_auth(&self.token);
        if !body.is_null() {
            request = request.json(&body);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = request.send().await.ok()?;
        let status = response.status();
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        let body = response.json().await.ok()?;
        if status.is_server_error() { None } else { Some((status, body)) }
    }

    /// One visit: fill the cart, check out, pay; each answer is written down. Ends early when the shop is gone.
    async fn visit(&mut self, url: &str) -> Option<()> {
        let product = PRODUCTS[self.random.usize(..PRODUCTS.len())].0;
        let quantity = self.random.u64(1..=3);
        self.memory.cart = None;
        let addition = json!({ "items": [{ "product_id": product, "quantity": quantity }] });
        let (status, cart) = self.send(url, reqwest::Method::POST, "/cart/add_products", addition, None).await?;
        assert!(status.is_success(), "{status} {cart}");
        self.remember_cart(&cart);
        if self.random.u8(..) < 40 {
            return Some(());
        }
        let total = cart["total"]["amount"].as_u64().unwrap();
        let address =
            json!({ "name": "A", "line1": "1 Road", "city": "Pune", "postal_code": "411001", "country": "IN" });
        let checkout = json!({ "total_price": total, "shipping_address": address });
        let key = format!("{}-{}", self.number, self.random.u64(..));
        self.memory.cart = None;
        let (status, order) = self.send(url, reqwest::Method::POST, "/checkout", checkout, Some(&key)).await?;
        if status == StatusCode::CONFLICT {
            return self.make_room(url, &order).await;
        }
        assert_eq!(status, StatusCode::CREATED, "{order}");
        let id = order["order_id"].as_str().unwrap().to_owned();
        self.remember_order(&order);
        if self.random.u8(..) < 30 {
            let path = format!("/orders/{id}/cancel");
            let (status, order) = self.send(url, reqwest::Method::POST, &path, Value::Null, None).await?;
            assert_eq!(status, StatusCode::OK, "{order}");
            self.remember_order(&order);
            return Some(());
        }
        let method = ["tok_success", "tok_success", "tok_timeout_after_charge", "tok_decline"][self.random.usize(..4)];
        let payment = json!({ "order_id": id, "payment_method": method });
        let (status, paid) = self.send(url, reqwest::Method::POST, "/payment", payment, Some(&key)).await?;
        if status == StatusCode::OK {
            assert_eq!(paid["status"], "success");
            let told = self.memory.orders.get_mut(&id).unwrap();
            told.paid = true;
            told.rank = told.rank.max(rank(paid["order_status"].as_str().unwrap()));
            self.memory.acknowledged += 1;
        } else {
            assert!(matches!(status, StatusCode::ACCEPTED | StatusCode::UNPROCESSABLE_ENTITY), "{status} {paid}");
        }
        Some(())
    }

    /// A refused checkout would be refused for ever: what is sold out leaves the cart, an unpaid order is cancelled.
    async fn make_room(&mut self, url: &str, problem: &Value) -> Option<()> {
        if let Some(product) = problem["product_id"].as_str() {
            let path = format!("/cart/items/{product}");
            let url = format!("{url}{path}");
            let removed = self.client.delete(url).bearer_auth(&self.token).send().await.ok()?;
            return removed.status().is_success().then_some(());
        }
        let unpaid = self.memory.orders.iter().find(|(_, told)| told.rank == 1 && !told.paid);
        let Some((id, _)) = unpaid else { return Some(()) };
        let path = format!("/orders/{id}/cancel");
        let (status, order) = self.send(url, reqwest::Method::POST, &path, Value::Null, None).await?;
        if status == StatusCode::OK {
            self.remember_order(&order);
        } else {
            // It was paid after all, by a request whose answer never came.
            let path = path.trim_end_matches("/cancel").to_owned();
            let (_, order) = self.send(url, reqwest::Method::GET, &path, Value::Null, None).await?;
            self.remember_order(&order);
        }
        Some(())
    }

    fn remember_cart(&mut self, cart: &Value) {
        let items = cart["items"].as_array().unwrap().iter();
        let line = |item: &Value| (item["product_id"].as_str().unwrap().to_owned(), item["quantity"].as_u64().unwrap());
        self.memory.cart = Some((cart["version"].as_u64().unwrap(), items.map(line).collect()));
        self.memory.acknowledged += 1;
    }

    fn remember_order(&mut self, order: &Value) {
        let (id, status) = (order["order_id"].as_str().unwrap(), order["status"].as_str().unwrap());
        let total = order["total"]["amount"].as_u64().unwrap();
        let told = Told { items: order["items"].clone(), total, rank: rank(status), paid: false };
        self.memory.orders.insert(id.to_owned(), told);
        self.memory.acknowledged += 1;
    }

    /// Holds the shop to everything it said to this customer.
    async fn check(&mut self, url: &str) {
        if let Some((version, lines)) = self.memory.cart.take() {
            let (_, cart) = self.send(url, reqwest::Method::GET, "/cart", Value::Null, None).await.unwrap();
            let now = cart["version"].as_u64().unwrap();
            assert!(now >= version, "the cart went back from version {version} to {now}");
            self.remember_cart(&cart);
            if now == version {
                assert_eq!(self.memory.cart.as_ref().unwrap().1, lines, "the cart lost an acknowledged change");
            }
        }
        let ids: Vec<String> = self.memory.orders.keys().cloned().collect();
        for id in ids {
            let path = format!("/orders/{id}");
            let (status, order) = self.send(url, reqwest::Method::GET, &path, Value::Null, None).await.unwrap();
            assert_eq!(status, StatusCode::OK, "an acknowledged order is lost: {id}");
            let told = self.memory.orders.get_mut(&id).unwrap();
            assert_eq!(order["items"], told.items, "{id}");
            assert_eq!(order["total"]["amount"], told.total, "{id}");
            let status = order["status"].as_str().unwrap();
            assert!(rank(status) >= told.rank, "{id} went back to {status}");
            assert!(!told.paid || (2..=3).contains(&rank(status)), "{id} was paid and is {status}");
            told.rank = rank(status);
        }
    }
}

async fn login(client: &Client, url: &str, email: &str, password: &str) -> String {
    let body = json!({ "email": email, "password": password });
    let response = client.post(format!("{url}/auth/login")).json(&body).send().await.unwrap();
    let session: Value = response.json().await.unwrap();
    session["access_token"].as_str().unwrap_or_else(|| panic!("{session}")).to_owned()
}

async fn open_for_business(client: &Client, url: &str, seed: u64) -> Vec<Customer> {
    let seller = login(client, url, "seller@demo.example", "souk-demo-password").await;
    for (id, stock) in PRODUCTS {
        let product = json!({ "id": id, "name": id, "price": { "amount": PRICE, "currency": "INR" } });
        let created = client.post(format!("{url}/products")).bearer_auth(&seller).json(&product).send().await.unwrap();
        assert_eq!(created.status(), StatusCode::CREATED);
        let count = client.put(format!("{url}/products/{id}/inventory")).bearer_auth(&seller);
        assert!(count.json(&json!({ "on_hand": stock })).send().await.unwrap().status().is_success());
    }
    let mut customers = Vec::new();
    for number in 0..CUSTOMERS {
        let email = format!("customer-{number}@example.org");
        let body = json!({ "email": email, "password": "a long password" });
        let registered = client.post(format!("{url}/auth/register")).json(&body).send().await.unwrap();
        assert_eq!(registered.status(), StatusCode::CREATED);
        let token = login(client, url, &email, "a long password").await;
        let random = fastrand::Rng::with_seed(seed ^ (number as u64 + 1));
        customers.push(Customer { number, token, client: client.clone(), memory: Memory::default(), random });
    }
    customers
}

/// Waits until no order is under way any more.
async fn quiet(client: &Client, url: &str) {
    let admin = login(client, url, "admin@demo.example", "souk-demo-password").await;
    let until = Instant::now() + Duration::from_secs(PATIENCE_SECONDS);
    loop {
        let mut busy = 0;
        for stage in ["open", "paid"] {
            let path = format!("{url}/orders?stage={stage}&limit=100");
            let page: Value = client.get(path).bearer_auth(&admin).send().await.unwrap().json().await.unwrap();
            let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
            busy += items.iter().filter(|order| order["status"] != "awaiting_payment").count();
        }
        if busy == 0 {
            return;
        }
        assert!(Instant::now() < until, "{busy} orders did not come to rest");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Stock, orders and the provider's ledger against each other.
async fn check_books(client: &Client, url: &str, data: &Path) {
    let admin = login(client, url, "admin@demo.example", "souk-demo-password").await;
    let (mut reserved, mut sold) = (HashMap::<String, u64>::new(), HashMap::<String, u64>::new());
    let mut captured = BTreeMap::new();
    for stage in ["open", "paid", "confirmed", "ended"] {
        let mut after = String::new();
        loop {
            let path = format!("{url}/orders?stage={stage}&limit=100{after}");
            let page: Value = client.get(path).bearer_auth(&admin).send().await.unwrap().json().await.unwrap();
            for order in page["items"].as_array().unwrap() {
                let status = order["status"].as_str().unwrap();
                let books = match rank(status) {
                    0 | 1 => Some(&mut reserved),
                    2 | 3 => Some(&mut sold),
                    _ => None,
                };
                if rank(status) == 3 {
                    let id = order["order_id"].as_str().unwrap().to_owned();
                    captured.insert(id, order["total"]["amount"].as_u64().unwrap());
                }
                let Some(books) = books else { continue };
                for item in order["items"].as_array().unwrap() {
                    let product = item["product_id"].as_str().unwrap().to_owned();
                    *books.entry(product).or_default() += item["quantity"].as_u64().unwrap();
                }
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => after = format!("&after={cursor}"),
                None => break,
            }
        }
    }
    for (id, stock) in PRODUCTS {
        let path = format!("{url}/products/{id}/inventory");
        let view: Value = client.get(path).bearer_auth(&admin).send().await.unwrap().json().await.unwrap();
        let of = |books: &HashMap<String, u64>| books.get(id).copied().unwrap_or_default();
        assert_eq!(view["received"], stock, "{view}");
        assert_eq!(view["sold"], of(&sold), "{id}: what is sold is what confirmed orders say");
        assert_eq!(view["reserved_quantity"], of(&reserved), "{id}: only open orders hold stock");
        assert_eq!(view["on_hand"], stock - of(&sold), "{view}");
    }
    assert_eq!(ledger(data), captured, "the provider's ledger is what the orders say");
}

/// What was captured, by order. Two captures of one order fail at once.
fn ledger(data: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(data.join("simulated-provider.jsonl")).unwrap();
    let mut captured = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        if line["declined"].is_null() {
            let order = line["key"].as_str().unwrap().split(':').next().unwrap().to_owned();
            let again = captured.insert(order.clone(), line["amount"]["amount"].as_u64().unwrap());
            assert_eq!(again, None, "order {order} was charged twice");
        }
    }
    captured
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let cycles = setting("SOUK_CRASH_CYCLES", CYCLES as u64);
    let seed = setting("SOUK_CRASH_SEED", fastrand::u64(..));
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let client = Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
    let mut shop = Shop::start(data);
    let mut customers = open_for_business(&client, &shop.url, seed).await;
    let mut starts = Vec::new();
    for cycle in 0..cycles {
        let gone = Arc::new(AtomicBool::new(false));
        let visits: Vec<JoinHandle<Customer>> = customers
            .drain(..)
            .map(|mut customer| {
                let (url, gone) = (shop.url.clone(), Arc::clone(&gone));
                tokio::spawn(async move {
                    while !gone.load(Ordering::Relaxed) && customer.visit(&url).await.is_some() {}
                    customer
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(random.u64(20..700))).await;
        shop.kill();
        gone.store(true, Ordering::Relaxed);
        for visit in visits {
            customers.push(visit.await.unwrap());
        }
        // Now and then it is killed again while it starts.
        if random.u8(..) < 64 {
            let mut starting = Command::new(env!("CARGO_BIN_EXE_souk"))
                .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
                .arg(data)
                .env("SOUK_LOG", "error")
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            tokio::time::sleep(Duration::from_millis(random.u64(1..150))).await;
            starting.kill().unwrap();
            starting.wait().unwrap();
        }
        let began = Instant::now();
        shop = Shop::start(data);
        starts.push(began.elapsed());
        for customer in &mut customers {
            let email = format!("customer-{}@example.org", customer.number);
            customer.token = login(&client, &shop.url, &email, "a long password").await;
            customer.check(&shop.url).await;
        }
        if cycle % 5 == 4 || cycle + 1 == cycles {
            quiet(&client, &shop.url).await;
            check_books(&client, &shop.url, data).await;
        }
    }
    starts.sort();
    let acknowledged: usize = customers.iter().map(|customer| customer.memory.acknowledged).sum();
    let orders: usize = customers.iter().map(|customer| customer.memory.orders.len()).sum();
    let slowest = starts.last().copied().unwrap_or_default();
    println!(
        "{cycles} cycles / {acknowledged} acknowledged ({orders} orders) / 0 violations; slowest start {slowest:?}"
    );
    assert!(orders as u64 > cycles, "hardly anything happened: {orders} orders");
}
