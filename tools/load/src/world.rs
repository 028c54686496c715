//! The setup of a run: people who are logged in, products that can be bought, and what people search for.
//!
//! Depends on `acknowledged`, `answer`, `client`, `files`, `history_writer`, `kind`, `parcels`, `people`, `plan` and
//! `scenario`.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use serde_json::Value;

use crate::{
    acknowledged::Acknowledged,
    answer::Status,
    client::Client,
    files::{self, Basket},
    history_writer::HistoryWriter,
    kind::Kind,
    parcels::Parcels,
    people::People,
    plan::{LoadError, Plan},
    scenario::{Journey, Scenario},
};

/// The exponent of Zipf's law: the most popular product is viewed ten times as often as the tenth.
const ZIPF_EXPONENT: f64 = 1.0;
/// How many products a page of the list has.
const LIST_PRODUCTS: &str = "100";

/// Everything that journeys need. Shared by all of them.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) history: HistoryWriter,
    pub(crate) scenario: Scenario,
    pub(crate) people: People,
    /// Ids of products, the most popular first.
    pub(crate) products: Vec<String>,
    /// Cumulative weights of `products`.
    weights: Vec<f64>,
    pub(crate) queries: Vec<String>,
    /// The numbers of units of each basket's lines; empty without a file of baskets.
    pub(crate) baskets: Vec<Basket>,
    pub(crate) parcels: Parcels,
    seeds: AtomicU64,
    pub(crate) acknowledged: Acknowledged,
}

impl World {
    /// Reads the list of products and logs the people in.
    pub(crate) async fn prepare(plan: &Plan, client: Client, history: HistoryWriter) -> Result<Self, LoadError> {
        let baskets = plan.baskets.as_deref().map(files::baskets).transpose()?.unwrap_or_default();
        let queries = plan.queries.as_deref().map(files::queries).transpose()?;
        client.check_reachable().await?;
        let people = People::log_in(plan, &client).await?;
        let listed = list(plan, &client).await?;
        let queries = queries.unwrap_or_else(|| listed.iter().map(|(_, name)| two_words(name)).collect());
        let products: Vec<String> = match (plan.scenario, &plan.product) {
            (Scenario::Browse, _) => listed.into_iter().map(|(id, _)| id).take(plan.products).collect(),
            (Scenario::FlashSale, Some(product)) => vec![product.clone()],
            (Scenario::FlashSale, None) => purchasable(&client, listed, 1).await,
            (Scenario::Shop | Scenario::Marketplace | Scenario::Mix, _) => {
                purchasable(&client, listed, plan.products).await
            }
        };
        if products.is_empty() {
            return Err(LoadError::NothingToBuy);
        }
        let mut sum = 0.0;
        let weights = (1..=products.len()).map(|rank| {
            sum += (rank as f64).powf(-ZIPF_EXPONENT);
            sum
        });
        Ok(Self {
            weights: weights.collect(),
            products,
            history,
            queries,
            baskets,
            people,
            parcels: Parcels::default(),
            scenario: plan.scenario,
            seeds: AtomicU64::new(plan.seed),
            acknowledged: Acknowledged::default(),
            client,
        })
    }

    /// Performs one journey and records it.
    pub(crate) async fn journey(&self, due: Instant) {
        if let Some(status) = self.try_journey(due).await {
            self.client.recorder().record(Kind::Journey, due.elapsed(), status);
        }
    }

    /// The status of the journey's last request; `None` if nobody was logged in who could begin it.
    async fn try_journey(&self, due: Instant) -> Option<Status> {
        let mut random = fastrand::Rng::with_seed(self.seeds.fetch_add(1, Ordering::Relaxed));
        let journey = self.scenario.choose(&mut random);
        if journey == Journey::Glance {
            return Some(self.glance(&mut random, due).await);
        }
        if journey.is_operators() {
            let operator = self.people.operator(&self.client).await.ok()?;
            return Some(self.operate(journey, &operator, &mut random, due).await);
        }
        // A journey that has to wait for an idle customer is late; its first request is timed from when it was due.
        let customer = self.people.customer(&self.client).await.ok()?;
        Some(match journey {
            Journey::Grab => self.grab(&customer, due).await,
            Journey::Session => self.session(&customer, &mut random, due).await,
            _ => self.shop(&customer, &mut random, due).await,
        })
    }

    /// A random product, the popular ones more often.
    pub(crate) fn popular(&self, random: &mut fastrand::Rng) -> &str {
        let total = self.weights.last().copied().unwrap_or_default();
        let point = random.f64() * total;
        let rank = self.weights.partition_point(|sum| *sum < point);
        &self.products[rank.min(self.products.len() - 1)]
    }
}

/// Ids and names of products, as the shop lists them.
async fn list(plan: &Plan, client: &Client) -> Result<Vec<(String, String)>, LoadError> {
    let (mut listed, mut after) = (Vec::new(), None::<String>);
    // Twice as many as needed: parents of variants cannot be bought, and some products have no stock.
    while listed.len() < plan.products * 2 {
        let mut query = vec![("limit", LIST_PRODUCTS)];
        query.extend(after.as_deref().map(|cursor| ("after", cursor)));
        let answer = client.get(Kind::Setup, &["products"], &query, None, Instant::now()).await;
        let page = answer.required(client.base(), "listing products")?;
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

/// The first `wanted` products that can be bought now; of a product with variants, the first variant that can.
async fn purchasable(client: &Client, listed: Vec<(String, String)>, wanted: usize) -> Vec<String> {
    let mut found = Vec::new();
    for (id, _) in listed {
        if found.len() == wanted {
            break;
        }
        let page = client.get(Kind::Setup, &["products", &id], &[], None, Instant::now()).await.body;
        let in_stock = |entry: &Value| entry["quantity"].as_u64().unwrap_or_default() > 0;
        let variant = page["variants"].as_array().into_iter().flatten().find(|variant| in_stock(variant));
        if page["purchasable"] == true && in_stock(&page) {
            found.push(id);
        } else if let Some(id) = variant.and_then(|variant| variant["product_id"].as_str()) {
            found.push(id.to_owned());
        }
    }
    found
}

fn two_words(name: &str) -> String {
    let words: Vec<&str> = name.split_whitespace().filter(|word| word.chars().all(char::is_alphanumeric)).collect();
    words.iter().rev().take(2).rev().copied().collect::<Vec<_>>().join(" ")
}
