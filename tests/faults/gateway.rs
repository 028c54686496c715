//! A shop and `souk gateway-sim`, each in a process of its own on a fixed port of this machine, so that either can be
//! killed and restarted where the other expects it.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::Value;
use souk_gateway_sim::{Line, Rule};
use tempfile::TempDir;

use crate::recorded::{Person, Process, START_MAX, World};

/// Ports below those that the system assigns to outgoing connections: otherwise such a connection could take the port
/// while its process is dead.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// The secret that signs the provider's notices.
pub(crate) const SECRET: &str = "whsec_of_the_faults";
/// How long a request that must be answered is repeated while its process starts.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// How often each of the two was killed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kills {
    pub(crate) shop: u64,
    pub(crate) provider: u64,
}

/// A running shop and its provider, with all their files.
pub(crate) struct Deployment {
    directory: TempDir,
    variables: Vec<(&'static str, String)>,
    shop: Process,
    shop_port: u16,
    provider: Process,
    provider_port: u16,
    pub(crate) world: Arc<World>,
    pub(crate) kills: Kills,
    http: reqwest::Client,
}

fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(|| fastrand::u16(PORTS)).find(is_free).unwrap()
}

/// Starting waits for the child process, which must not block the other tasks of this runtime.
fn begin(command: Command) -> Process {
    tokio::task::block_in_place(|| Process::begin(command, START_MAX)).expect("it prints its URL")
}

impl Deployment {
    /// Starts both; these variables replace the shop's defaults.
    pub(crate) async fn start(more: &[(&'static str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (shop_port, provider_port) = (free_port(), free_port());
        let mut variables = vec![
            ("SOUK_PAYMENTS__PROVIDER", "simulator".to_owned()),
            ("SOUK_PAYMENTS__URL", format!("http://127.0.0.1:{provider_port}")),
            ("SOUK_PAYMENTS__WEBHOOK_SECRETS", SECRET.to_owned()),
        ];
        variables.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let at = |name: &str| directory.path().join(name);
        fs::write(at("script.json"), "[]").unwrap();
        let provider = begin(provider_command(&directory, provider_port, shop_port));
        let shop = begin(shop_command(&directory, shop_port, &variables));
        let world = World::new(&at("history.jsonl"), &shop.url);
        let (kills, http) = (Kills::default(), reqwest::Client::new());
        Self { directory, variables, shop, shop_port, provider, provider_port, world, kills, http }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The shop's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.at("shop")
    }

    /// The file with the records of the customers.
    pub(crate) fn history(&self) -> PathBuf {
        self.at("history.jsonl")
    }

    pub(crate) fn ledger_file(&self) -> PathBuf {
        self.at("ledger.jsonl")
    }

    /// The URL of the shop.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.shop_port)
    }

    /// Sets a variable of the shop's environment, from the next start on.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_owned()));
    }

    /// Kills the shop with SIGKILL and restarts it after a while. Returns how long the start took.
    pub(crate) async fn kill_shop(&mut self, dead: Duration) -> Duration {
        self.stop_shop();
        tokio::time::sleep(dead).await;
        self.start_shop()
    }

    /// Starts a shop that was stopped. Returns how long that took.
    pub(crate) fn start_shop(&mut self) -> Duration {
        let began = Instant::now();
        self.shop = begin(shop_command(&self.directory, self.shop_port, &self.variables));
        began.elapsed()
    }

    /// Kills the shop with SIGKILL.
    pub(crate) fn stop_shop(&mut self) {
        self.shop.kill();
        self.kills.shop += 1;
    }

    /// Kills the provider with SIGKILL and restarts it with its ledger. Its script starts from the beginning.
    pub(crate) async fn kill_provider(&mut self, dead: Duration) {
        self.provider.kill();
        self.kills.provider += 1;
        tokio::time::sleep(dead).await;
        self.provider = begin(provider_command(&self.directory, self.provider_port, self.shop_port));
    }

    fn at_provider(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.provider_port)
    }

    /// Sets the script of the provider.
    pub(crate) async fn plan(&self, rules: &[Rule]) {
        // The file is for the provider's next start.
        fs::write(self.at("script.json"), serde_json::to_vec(rules).unwrap()).unwrap();
        let planned = self.http.put(self.at_provider("/script")).json(rules).send().await.unwrap();
        assert_eq!(planned.status(), 204, "the provider does not accept the script");
    }

    /// The rules that can still apply.
    pub(crate) async fn rules(&self) -> Vec<Rule> {
        self.http.get(self.at_provider("/script")).send().await.unwrap().json().await.unwrap()
    }

    /// A customer approves a payment on the provider's page, as soon as it exists.
    pub(crate) async fn approve(&self, order: &str, attempt: u32) {
        let (url, began) = (self.at_provider(&format!("/authenticate/{order}/{attempt}")), Instant::now());
        loop {
            let response = self.http.post(&url).form(&[("decision", "approve")]).send().await.unwrap();
            if response.status().is_success() {
                return;
            }
            assert!(began.elapsed() < ANSWER_MAX, "nothing can be approved: {}", response.status());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The hold of an order ends at the provider.
    pub(crate) async fn release(&self, order: &str) {
        let body = serde_json::json!({ "order": order });
        let released = self.http.post(self.at_provider("/holds/release")).json(&body).send().await.unwrap();
        assert_eq!(released.status(), 200, "nothing is held for {order}");
    }

    /// The provider's ledger, from its own API.
    pub(crate) async fn ledger(&self) -> Vec<Line> {
        self.http.get(self.at_provider("/ledger")).send().await.unwrap().json().await.unwrap()
    }
}

fn shop_command(directory: &TempDir, port: u16, variables: &[(&'static str, String)]) -> Command {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Process::command_at(&format!("127.0.0.1:{port}"), &directory.path().join("shop"), &variables)
}

fn provider_command(directory: &TempDir, port: u16, shop_port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    command
        .args(["gateway-sim", "--listen", &format!("127.0.0.1:{port}")])
        .arg("--ledger")
        .arg(directory.path().join("ledger.jsonl"))
        .arg("--script")
        .arg(directory.path().join("script.json"))
        .args(["--webhook-url", &format!("http://127.0.0.1:{shop_port}/webhooks/simulator")])
        .env("GATEWAY_SIM_WEBHOOK_SECRET", SECRET)
        .env("SOUK_LOG", "off")
        .stderr(Stdio::null());
    command
}

/// The answer to a request that may be repeated, from a shop that may be dead for a while: its status and body.
pub(crate) async fn answer(
    person: &Person,
    method: Method,
    path: &str,
    body: Value,
    key: Option<&str>,
) -> (u16, Value) {
    let began = Instant::now();
    loop {
        match person.send(method.clone(), path, body.clone(), key).await {
            Some((status, body)) if status < 500 => return (status, body),
            other => assert!(began.elapsed() < ANSWER_MAX, "{method} {path} is not answered: {other:?}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The body of a successful read.
pub(crate) async fn read(person: &Person, path: &str) -> Value {
    let (status, body) = answer(person, Method::GET, path, Value::Null, None).await;
    assert_eq!(status, 200, "GET {path}: {body}");
    body
}

/// All items of a paginated list.
pub(crate) async fn list(person: &Person, path: &str) -> Vec<Value> {
    let (mut items, mut page) = (Vec::new(), read(person, path).await);
    loop {
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        let Some(after) = page["next_cursor"].as_str() else { return items };
        let joint = if path.contains('?') { '&' } else { '?' };
        page = read(person, &format!("{path}{joint}after={after}")).await;
    }
}
