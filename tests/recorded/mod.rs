//! The real binary as a process, and customers who record every call and its answer.
#![allow(dead_code, reason = "each test that has this module uses its own part of it")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use souk::internals::verify::{
    self,
    history::{Answer, Call, Cart, Cause, Durability, Line, Outcome, Recorder},
};

pub(crate) const PASSWORD: &str = "souk-demo-password";
/// How long a start may take: far longer than on a busy machine.
pub(crate) const START_MAX: Duration = Duration::from_secs(60);

/// The shop's process. Dropping it kills it.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) url: String,
}

/// The shop did not report its address: how it ended, or `None` if it was killed because it took too long.
#[derive(Debug)]
pub(crate) struct NotStarted(pub(crate) Option<ExitStatus>);

impl Process {
    /// Starts the shop with a demo of one product and these environment variables.
    pub(crate) fn start(data: &Path, variables: &[(&str, &str)]) -> Self {
        Self::begin(Self::command(data, variables), START_MAX).expect("the shop says where it listens")
    }

    /// The command, for tests that change it.
    pub(crate) fn command(data: &Path, variables: &[(&str, &str)]) -> Command {
        Self::command_at("127.0.0.1:0", data, variables)
    }

    /// The same at a fixed address, so that a restarted shop has it again.
    pub(crate) fn command_at(listen: &str, data: &Path, variables: &[(&str, &str)]) -> Command {
        Self::command_of(Path::new(env!("CARGO_BIN_EXE_souk")), listen, data, variables)
    }

    /// The same with another program than the shop itself.
    pub(crate) fn command_of(program: &Path, listen: &str, data: &Path, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(program);
        command
            .args(["serve", "--listen", listen, "--demo", "--demo-products", "1", "--data-dir"])
            .arg(data)
            .env("SOUK_LOG", "off")
            // All clients of a test have one address.
            .env("SOUK_LIMITS__RATES", "off")
            .envs(variables.iter().copied())
            // Bugs make the shop's own assertions fail, with much output.
            .stderr(Stdio::null());
        command
    }

    /// Starts the shop and waits, within limits, until it reports its address.
    pub(crate) fn begin(mut command: Command, within: Duration) -> Result<Self, NotStarted> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, first) = mpsc::channel();
        std::thread::spawn(move || {
            let _ = lines.next().map(|line| sender.send(line));
            drop(sender);
            // Drain the rest of the output, so that the pipe does not fill up.
            lines.for_each(drop);
        });
        match first.recv_timeout(within) {
            Ok(line) => Ok(Self { child, url: line.unwrap().rsplit(' ').next().unwrap().to_owned() }),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(NotStarted(Some(child.wait().unwrap()))),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(NotStarted(None))
            }
        }
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Closes it, or kills it if that takes too long.
    pub(crate) fn stop(mut self) {
        self.close(Duration::from_secs(15));
    }

    /// Closes it. Returns how it ended, if it did in time.
    pub(crate) fn close(&mut self, within: Duration) -> Option<ExitStatus> {
        if let Ok(Some(ended)) = self.child.try_wait() {
            return Some(ended);
        }
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let began = Instant::now();
        while began.elapsed() < within {
            if let Some(ended) = self.child.try_wait().unwrap() {
                return Some(ended);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What all customers share.
pub(crate) struct World {
    client: Client,
    /// The shop's address, which changes with every start.
    pub(crate) url: Mutex<String>,
    recorder: Recorder,
    people: AtomicU64,
}

/// A customer with a token.
#[derive(Clone)]
pub(crate) struct Person {
    world: Arc<World>,
    number: u64,
    pub(crate) name: String,
    pub(crate) token: String,
}

impl World {
    /// Begins a new history in this file.
    pub(crate) fn new(history: &Path, url: &str) -> Arc<Self> {
        Arc::new(Self {
            client: Client::builder().timeout(Duration::from_secs(20)).build().unwrap(),
            url: Mutex::new(url.to_owned()),
            recorder: Recorder::create(history, url, Durability::Written).unwrap(),
            people: AtomicU64::new(1),
        })
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url.lock())
    }

    /// Registers an account if necessary, and logs in.
    pub(crate) async fn enter(self: &Arc<Self>, name: &str, email: &str) -> Person {
        self.try_enter(name, email).await.unwrap_or_else(|why| panic!("{email} cannot log in: {why}"))
    }

    /// The same, if the shop may be unable to do so.
    pub(crate) async fn try_enter(self: &Arc<Self>, name: &str, email: &str) -> Result<Person, String> {
        let credentials = json!({ "email": email, "password": PASSWORD });
        // The accounts of the demo exist already.
        let _ = self.client.post(self.at("/auth/register")).json(&credentials).send().await;
        self.log_in(name, email).await
    }

    /// The answer to a login.
    ///
    /// # Errors
    /// The answer that was not a login.
    pub(crate) async fn session(&self, email: &str) -> Result<Value, String> {
        let credentials = json!({ "email": email, "password": PASSWORD });
        let answer = self.client.post(self.at("/auth/login")).json(&credentials).send().await;
        answer.map_err(|error| error.to_string())?.json().await.map_err(|error| error.to_string())
    }

    /// Logs in to an existing account.
    pub(crate) async fn log_in(self: &Arc<Self>, name: &str, email: &str) -> Result<Person, String> {
        let session = self.session(email).await?;
        let token = session["access_token"].as_str().ok_or_else(|| session.to_string())?;
        Ok(self.remember(name, token))
    }

    /// A customer who has logged in before.
    pub(crate) fn remember(self: &Arc<Self>, name: &str, token: &str) -> Person {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        Person { world: Arc::clone(self), number, name: name.into(), token: token.into() }
    }
}

impl Person {
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Value,
        key: Option<&str>,
    ) -> Option<(u16, Value)> {
        let mut request = self.world.client.request(method, self.world.at(path)).bearer_auth(&self.token);
        if !body.is_null() {
            request = request.json(&body);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    /// Makes a call and records it with its outcome.
    pub(crate) async fn call(&self, call: Call) -> Outcome {
        let customer = || self.name.clone();
        let items = |lines: &[Line]| -> Vec<Value> {
            lines.iter().map(|(product, quantity)| json!({ "product_id": product, "quantity": quantity })).collect()
        };
        let (method, path, body, key) = match &call {
            Call::StockRead { product } => (Method::GET, format!("/products/{product}/inventory"), Value::Null, None),
            Call::StockSet { product, on_hand } => {
                (Method::PUT, format!("/products/{product}/inventory"), json!({ "on_hand": on_hand }), None)
            }
            Call::CartRead { .. } => (Method::GET, "/cart".into(), Value::Null, None),
            Call::CartAdd { items: lines, key, .. } => {
                (Method::POST, "/cart/add_products".into(), json!({ "items": items(lines) }), key.clone())
            }
            Call::CartRemove { product, .. } => (Method::DELETE, format!("/cart/items/{product}"), Value::Null, None),
            Call::Checkout { total, key, .. } => {
                let address = json!({
                    "name": customer(), "line1": "1 Road", "city": "Pune", "postal_code": "411001", "country": "IN"
                });
                let body = json!({ "total_price": total, "shipping_address": address });
                (Method::POST, "/checkout".into(), body, key.clone())
            }
            Call::Pay { order, method, key, .. } => {
                let body = json!({ "order_id": order, "payment_method": method });
                (Method::POST, "/payment".into(), body, key.clone())
            }
            Call::Cancel { order, .. } => (Method::POST, format!("/orders/{order}/cancel"), Value::Null, None),
            Call::OrderRead { order, .. } => (Method::GET, format!("/orders/{order}"), Value::Null, None),
            Call::Advance { order, to } => {
                let body = json!({ "carrier": "Post", "tracking_number": "1" });
                let body = if to == "ship" { body } else { Value::Null };
                (Method::POST, format!("/orders/{order}/{to}"), body, None)
            }
            other => panic!("the script has no {other:?}"),
        };
        let op = self.world.recorder.invoke(self.number, call.clone()).unwrap();
        let outcome = match self.send(method, &path, body, key.as_deref()).await {
            Some((status, body)) => verify::outcome(&call, status, &body).unwrap(),
            None => Outcome::Unknown(Cause::Reset),
        };
        self.world.recorder.end(op, outcome.clone()).unwrap();
        outcome
    }

    pub(crate) async fn stock(&self, product: &str) {
        self.call(Call::StockRead { product: product.into() }).await;
    }

    pub(crate) async fn cart(&self) -> Vec<Line> {
        match self.call(Call::CartRead { customer: self.name.clone() }).await {
            Outcome::Ok(Answer::Cart(Cart { lines, .. })) => lines,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn add(&self, product: &str, quantity: u32, key: Option<&str>) -> Outcome {
        let (customer, key) = (self.name.clone(), key.map(str::to_owned));
        self.call(Call::CartAdd { customer, items: vec![(product.into(), quantity)], key }).await
    }

    pub(crate) async fn remove(&self, product: &str) {
        self.call(Call::CartRemove { customer: self.name.clone(), product: product.into() }).await;
    }

    /// Orders the whole cart. Returns the order's id, if there is an order.
    pub(crate) async fn checkout(&self, total: u64, key: &str) -> Option<String> {
        let customer = self.name.clone();
        match self.call(Call::Checkout { customer, key: Some(key.into()), lines: None, total }).await {
            Outcome::Ok(Answer::Order(order)) => Some(order.order),
            _ => None,
        }
    }

    pub(crate) async fn pay(&self, order: &str, method: &str, key: &str) {
        let (customer, order, method) = (self.name.clone(), order.into(), method.into());
        self.call(Call::Pay { customer, order, key: Some(key.into()), method }).await;
    }

    pub(crate) async fn cancel(&self, order: &str) {
        self.call(Call::Cancel { customer: self.name.clone(), order: order.into() }).await;
    }

    pub(crate) async fn read_order(&self, order: &str) {
        self.call(Call::OrderRead { customer: self.name.clone(), order: order.into() }).await;
    }

    pub(crate) async fn list(&self, product: &str, price: u64) {
        let body = json!({ "id": product, "name": product, "price": { "amount": price, "currency": "INR" } });
        let answer = self.send(Method::POST, "/products", body, None).await.unwrap();
        assert_eq!(answer.0, 201, "{}", answer.1);
    }

    /// Sets the stock without recording it.
    pub(crate) async fn set_stock(&self, product: &str, on_hand: u64) {
        let (path, body) = (format!("/products/{product}/inventory"), json!({ "on_hand": on_hand }));
        let answer = self.send(Method::PUT, &path, body, None).await.unwrap();
        assert_eq!(answer.0, 200, "{}", answer.1);
    }

    pub(crate) async fn reprice(&self, product: &str, price: u64) {
        let body = json!({ "name": product, "price": { "amount": price, "currency": "INR" } });
        let answer = self.send(Method::PUT, &format!("/products/{product}"), body, None).await.unwrap();
        assert_eq!(answer.0, 200, "{}", answer.1);
    }
}
