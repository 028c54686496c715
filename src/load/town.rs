//! Where the load comes from: people who are logged in, goods that can be bought, and what people search for.
//!
//! Depends on nothing of the crate.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use serde_json::Value;

use super::{
    client::Client,
    files::{self, Basket},
    marketplace::Parcels,
    people::People,
    plan::{LoadError, Plan},
    recorder::Kind,
    scenario::{Journey, Scenario},
    verdict::Acknowledged,
};

/// The exponent of Zipf's law: the most popular product is looked at ten times as often as the tenth.
const ZIPF_EXPONENT: f64 = 1.0;
/// How many products a page of the list has.
const LIST_PRODUCTS: &str = "100";

/// Everything that journeys need.
pub(super) struct Town {
    pub(super) client: Client,
    pub(super) scenario: Scenario,
    pub(super) people: People,
    /// Ids of products, the most popular first.
    pub(super) goods: Vec<String>,
    /// Sums of the weights of `goods`.
    weights: Vec<f64>,
    pub(super) queries: Vec<String>,
    /// What baskets look like; empty where nobody said.
    pub(super) baskets: Vec<Basket>,
    /// Paid orders that are on their way.
    pub(super) parcels: Parcels,
    seeds: AtomicU64,
    /// What the shop said it had done.
    pub(super) acknowledged: Acknowledged,
}

impl Town {
    /// Looks around in the shop and lets the people log in.
    pub(super) async fn visit(plan: &Plan, client: Client) -> Result<Self, LoadError> {
        let baskets = plan.baskets.as_deref().map(files::baskets).transpose()?.unwrap_or_default();
        let queries = plan.queries.as_deref().map(files::queries).transpose()?;
        client.knock().await?;
        let people = People::gather(plan, &client).await?;
        let listed = list(plan, &client).await?;
        let queries = queries.unwrap_or_else(|| listed.iter().map(|(_, name)| two_words(name)).collect());
        let goods = match (plan.scenario, &plan.product) {
            (Scenario::Browse, _) => listed.into_iter().map(|(id, _)| id).take(plan.products).collect(),
            (Scenario::FlashSale, Some(product)) => vec![product.clone()],
            (Scenario::FlashSale, None) => purchasable(&client, listed, 1).await,
            (Scenario::Shop | Scenario::Marketplace | Scenario::Mix, _) => {
                purchasable(&client, listed, plan.products).await
            }
        };
        if goods.is_empty() {
            return Err(LoadError::NothingToBuy);
        }
        let mut sum = 0.0;
        let weights = (1..=goods.len()).map(|rank| {
            sum += (rank as f64).powf(-ZIPF_EXPONENT);
            sum
        });
        Ok(Self {
            weights: weights.collect(),
            goods,
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

    /// One visit, which was due then.
    pub(super) async fn journey(&self, due: Instant) {
        let mut random = fastrand::Rng::with_seed(self.seeds.fetch_add(1, Ordering::Relaxed));
        let journey = self.scenario.choose(&mut random);
        if journey == Journey::Glance {
            return self.glance(&mut random, due).await;
        }
        if journey.is_operators() {
            let Ok(pass) = self.people.operator(&self.client).await else { return };
            return self.operate(journey, &pass, &mut random, due).await;
        }
        // Waiting for a customer to have time is part of what the visitor feels.
        let Ok(customer) = self.people.customer(&self.client).await else { return };
        match journey {
            Journey::Grab => self.grab(&customer, due).await,
            Journey::Session => self.session(&customer, &mut random, due).await,
            _ => self.shop(&customer, &mut random, due).await,
        }
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

fn two_words(name: &str) -> String {
    let words: Vec<&str> = name.split_whitespace().filter(|word| word.chars().all(char::is_alphanumeric)).collect();
    words.iter().rev().take(2).rev().copied().collect::<Vec<_>>().join(" ")
}
