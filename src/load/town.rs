//! Where the load comes from: customers who are logged in, goods that can be bought, and what people search for.
//!
//! Depends on nothing of the crate.

use std::{
    collections::HashMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    client::Client,
    plan::{LoadError, Plan, Scenario},
    recorder::Kind,
    verdict::Acknowledged,
};

/// What all customers log in with; their accounts are good for nothing else.
const PASSWORD: &str = "load generator password";
/// How many customers log in at once. A password costs the shop 20 ms of a core, and it takes only so many at once.
const LOGINS_AT_ONCE: usize = 4;
/// How often a login is tried again while the shop is busy hashing.
const LOGIN_TRIES: u32 = 50;
/// The pause between two tries, in milliseconds.
const LOGIN_PAUSE_MS: u64 = 100;
/// The exponent of Zipf's law: the most popular product is looked at ten times as often as the tenth.
const ZIPF_EXPONENT: f64 = 1.0;
/// The longest that a token is used before it is renewed, whatever it says.
const TOKEN_LIFE_MAX: Duration = Duration::from_secs(3_600);
/// How many products a page of the list has.
const LIST_PRODUCTS: &str = "100";

/// A customer.
pub(super) struct Customer {
    pub(super) number: usize,
    pub(super) token: String,
    refresh_token: String,
    /// When half of the token's life is over.
    renew_at: Instant,
}

impl Customer {
    fn of(number: usize, session: &Value) -> Self {
        let text = |field: &str| session[field].as_str().unwrap_or_default().to_owned();
        let expires_at = text("access_expires_at").parse::<jiff::Timestamp>().unwrap_or(jiff::Timestamp::MAX);
        let life = Duration::try_from(expires_at.duration_since(jiff::Timestamp::now())).unwrap_or_default();
        let renew_at = Instant::now() + life.min(TOKEN_LIFE_MAX) / 2;
        Self { number, token: text("access_token"), refresh_token: text("refresh_token"), renew_at }
    }
}

/// Everything that journeys need.
pub(super) struct Town {
    pub(super) client: Client,
    pub(super) scenario: Scenario,
    /// Ids of products, the most popular first.
    pub(super) goods: Vec<String>,
    /// Sums of the weights of `goods`.
    weights: Vec<f64>,
    pub(super) queries: Vec<String>,
    /// Customers who do nothing at the moment.
    idle: Mutex<Vec<Customer>>,
    free: Semaphore,
    seeds: AtomicU64,
    /// What the shop said it had done.
    pub(super) acknowledged: Acknowledged,
}

impl Town {
    /// Looks around in the shop and lets the customers log in.
    pub(super) async fn visit(plan: &Plan, client: Client) -> Result<Self, LoadError> {
        client.knock().await?;
        let listed = list(plan, &client).await?;
        let queries = match &plan.queries {
            Some(path) => read_queries(path)?,
            None => listed.iter().map(|(_, name)| two_words(name)).collect(),
        };
        let goods = match (plan.scenario, &plan.product) {
            (Scenario::Browse, _) => listed.into_iter().map(|(id, _)| id).take(plan.products).collect(),
            (Scenario::FlashSale, Some(product)) => vec![product.clone()],
            (Scenario::FlashSale, None) => purchasable(&client, listed, 1).await,
            (Scenario::Shop, _) => purchasable(&client, listed, plan.products).await,
        };
        if goods.is_empty() {
            return Err(LoadError::NothingToBuy);
        }
        let users = if plan.scenario == Scenario::Browse { 0 } else { plan.users };
        let logins = stream::iter((0..users).map(|number| log_in(&client, plan.seed, number)));
        let customers: Vec<Result<Customer, LoadError>> = logins.buffer_unordered(LOGINS_AT_ONCE).collect().await;
        let customers = customers.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut sum = 0.0;
        let weights = (1..=goods.len()).map(|rank| {
            sum += (rank as f64).powf(-ZIPF_EXPONENT);
            sum
        });
        Ok(Self {
            weights: weights.collect(),
            goods,
            queries,
            free: Semaphore::new(customers.len()),
            idle: Mutex::new(customers),
            scenario: plan.scenario,
            seeds: AtomicU64::new(plan.seed),
            acknowledged: Acknowledged::default(),
            client,
        })
    }

    /// One customer's visit, which was due then.
    pub(super) async fn journey(&self, due: Instant) {
        let random = fastrand::Rng::with_seed(self.seeds.fetch_add(1, Ordering::Relaxed));
        if self.scenario == Scenario::Browse {
            return self.browse(random, due).await;
        }
        // Waiting for a customer to have time is part of what the visitor feels.
        let Ok(_free) = self.free.acquire().await else { return };
        let Some(mut customer) = self.idle.lock().pop() else { return };
        if Instant::now() >= customer.renew_at {
            let body = json!({ "refresh_token": customer.refresh_token });
            let session = self.client.post(Kind::Errand, &["auth", "refresh"], &body, None, Instant::now()).await;
            if session.is_done() {
                customer = Customer::of(customer.number, &session.body);
            }
        }
        match self.scenario {
            Scenario::FlashSale => self.grab(&customer, due).await,
            Scenario::Shop | Scenario::Browse => self.shop(&customer, random, due).await,
        }
        self.idle.lock().push(customer);
    }

    /// The tokens of all customers who do nothing, by their numbers.
    pub(super) fn tokens(&self) -> HashMap<usize, String> {
        self.idle.lock().iter().map(|customer| (customer.number, customer.token.clone())).collect()
    }

    /// A product, by popularity.
    pub(super) fn popular(&self, random: &mut fastrand::Rng) -> &str {
        let total = self.weights.last().copied().unwrap_or_default();
        let point = random.f64() * total;
        let rank = self.weights.partition_point(|sum| *sum < point);
        &self.goods[rank.min(self.goods.len() - 1)]
    }
}

/// Ids and names of products, as the shop lists them.
async fn list(plan: &Plan, client: &Client) -> Result<Vec<(String, String)>, LoadError> {
    let (mut listed, mut after) = (Vec::new(), None::<String>);
    // Variants' parents cannot be bought and some products have no stock, so look at a few more.
    while listed.len() < plan.products * 2 {
        let mut query = vec![("limit", LIST_PRODUCTS)];
        query.extend(after.as_deref().map(|cursor| ("after", cursor)));
        let answer = client.get(Kind::Errand, &["products"], &query, None, Instant::now()).await;
        let page = answer.needed(client.base(), "listing products")?;
        let text = |item: &Value, field: &str| item[field].as_str().unwrap_or_default().to_owned();
        let items = page["items"].as_array().into_iter().flatten();
        listed.extend(items.map(|item| (text(item, "id"), text(item, "title"))));
        after = page["next_cursor"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    Ok(listed)
}

/// The first `wanted` products that can be bought now; of one in variants, the first variant that can.
async fn purchasable(client: &Client, listed: Vec<(String, String)>, wanted: usize) -> Vec<String> {
    let mut goods = Vec::new();
    for (id, _) in listed {
        if goods.len() == wanted {
            break;
        }
        let page = client.get(Kind::Errand, &["products", &id], &[], None, Instant::now()).await.body;
        let in_stock = |entry: &Value| entry["quantity"].as_u64().unwrap_or_default() > 0;
        let variant = page["variants"].as_array().into_iter().flatten().find(|variant| in_stock(variant));
        if page["purchasable"] == true && in_stock(&page) {
            goods.push(id);
        } else if let Some(id) = variant.and_then(|variant| variant["product_id"].as_str()) {
            goods.push(id.to_owned());
        }
    }
    goods
}

async fn log_in(client: &Client, seed: u64, number: usize) -> Result<Customer, LoadError> {
    let email = format!("load-{seed}-{number}@load.example");
    let credentials = json!({ "email": email, "password": PASSWORD });
    // Whoever was here before has an account.
    errand(client, "register", &credentials).await;
    let session = errand(client, "login", &credentials).await.needed(client.base(), "logging in")?;
    Ok(Customer::of(number, &session))
}

/// Asks again while the shop has too many passwords to hash.
async fn errand(client: &Client, what: &str, credentials: &Value) -> super::client::Answer {
    let mut tries = 0;
    loop {
        let answer = client.post(Kind::Errand, &["auth", what], credentials, None, Instant::now()).await;
        tries += 1;
        if answer.status != Some(503) || tries == LOGIN_TRIES {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(LOGIN_PAUSE_MS)).await;
    }
}

fn read_queries(path: &Path) -> Result<Vec<String>, LoadError> {
    let problem = |problem: String| LoadError::Queries { path: path.display().to_string(), problem };
    let mut reader = csv::Reader::from_path(path).map_err(|error| problem(error.to_string()))?;
    let headers = reader.headers().map_err(|error| problem(error.to_string()))?;
    let column = headers.iter().position(|header| header == "query");
    let column = column.ok_or_else(|| problem("it has no column `query`".into()))?;
    let mut queries = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| problem(error.to_string()))?;
        queries.extend(row.get(column).filter(|query| !query.trim().is_empty()).map(str::to_owned));
    }
    if queries.is_empty() { Err(problem("it has no queries".into())) } else { Ok(queries) }
}

fn two_words(name: &str) -> String {
    let words: Vec<&str> = name.split_whitespace().filter(|word| word.chars().all(char::is_alphanumeric)).collect();
    words.iter().rev().take(2).rev().copied().collect::<Vec<_>>().join(" ")
}
