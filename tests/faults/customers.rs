//! A seller and a few customers whose calls are all recorded, for faults that do not depend on what exactly they do.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use souk::internals::verify::history::{Answer, Call, Outcome};

use crate::recorded::{Person, World};

/// The product that everybody buys.
pub(crate) const PRODUCT: &str = "pen";
pub(crate) const PRICE: u64 = 1_000;
/// A product whose name changes in each round, so that the search index has work.
pub(crate) const RENAMED: &str = "cap";
const ON_HAND: u64 = 100_000;
const SELLER: &str = "seller@demo.example";

/// A seller and customers.
#[derive(Default)]
pub(crate) struct Crowd {
    /// The people who are logged in: the seller, then the customers.
    people: Vec<Person>,
    /// The orders with their customers' names.
    orders: Vec<(String, String)>,
    rounds: u64,
    /// The last acknowledged name of the renamed product.
    renamed: Option<String>,
    /// How many calls succeeded.
    pub(crate) acknowledged: usize,
}

/// The result of a visit, or of a round of visits.
#[derive(Default)]
struct Visit {
    orders: Vec<(String, String)>,
    acknowledged: usize,
    unknown: usize,
}

impl Visit {
    fn count(&mut self, outcome: &Outcome) {
        self.acknowledged += usize::from(matches!(outcome, Outcome::Ok(_)));
        self.unknown += usize::from(matches!(outcome, Outcome::Unknown(_)));
    }
}

impl Crowd {
    /// The seller and this many customers register if necessary, and log in. People who cannot log in are left out.
    pub(crate) async fn enter(&mut self, world: &Arc<World>, customers: usize) {
        self.people.clear();
        // Without a seller there is nothing to buy.
        let Ok(seller) = world.try_enter("seller", SELLER).await else { return };
        self.people.push(seller);
        for number in 1..=customers {
            let name = format!("customer-{number}");
            self.people.extend(world.try_enter(&name, &format!("{name}@example.org")).await);
        }
    }

    /// Continues with the tokens of people who are logged in.
    pub(crate) fn resume(&mut self, world: &Arc<World>, people: &[(String, String)]) {
        self.people = people.iter().map(|(name, token)| world.remember(name, token)).collect();
    }

    /// The names and tokens of all people.
    pub(crate) fn tokens(&self) -> Vec<(String, String)> {
        self.people.iter().map(|person| (person.name.clone(), person.token.clone())).collect()
    }

    /// How many people there are.
    pub(crate) fn len(&self) -> usize {
        self.people.len()
    }

    /// The seller, who may change products.
    pub(crate) fn seller(&self) -> Option<&Person> {
        self.people.first()
    }

    /// Lists the products of this shop, as far as that is possible now.
    pub(crate) async fn list(&self) {
        let Some(seller) = self.seller() else { return };
        for product in [PRODUCT, RENAMED] {
            let body = json!({ "id": product, "name": product, "price": { "amount": PRICE, "currency": "INR" } });
            let _ = seller.send(Method::POST, "/products", body, None).await;
        }
    }

    /// Changes a product's name, and returns the status of the answer.
    pub(crate) async fn rename(&self, name: &str) -> Option<u16> {
        let body = json!({ "name": name, "price": { "amount": PRICE, "currency": "INR" } });
        let answer = self.seller()?.send(Method::PUT, &format!("/products/{RENAMED}"), body, None).await;
        answer.map(|(status, _)| status)
    }

    /// A round: the seller adds stock, customers buy. They continue whatever fails. Returns whether everything was
    /// answered.
    pub(crate) async fn shop(&mut self) -> bool {
        let Some((seller, customers)) = self.people.split_first() else { return false };
        self.rounds += 1;
        let round = self.rounds;
        let mut sum = Visit::default();
        sum.count(&seller.call(Call::StockSet { product: PRODUCT.into(), on_hand: ON_HAND }).await);
        let name = format!("{RENAMED} {round}");
        let renamed = self.rename(&name).await;
        let visits = customers.iter().map(|customer| visit(customer, round));
        for Visit { orders, acknowledged, unknown } in futures::future::join_all(visits).await {
            self.orders.extend(orders);
            sum.acknowledged += acknowledged;
            sum.unknown += unknown;
        }
        seller.stock(PRODUCT).await;
        // A name that was not acknowledged may be the current one all the same.
        self.renamed = (renamed == Some(200)).then_some(name);
        self.acknowledged += sum.acknowledged;
        sum.unknown == 0 && renamed == Some(200)
    }

    /// Whether search finds the last acknowledged name.
    pub(crate) async fn is_found(&self) -> bool {
        let (Some(seller), Some(name)) = (self.seller(), &self.renamed) else { return true };
        let found = seller.send(Method::GET, &format!("/products?q={RENAMED}"), Value::Null, None).await;
        let items = found.and_then(|(_, body)| body["items"].as_array().cloned());
        items.is_some_and(|items| items.iter().any(|item| item["title"] == *name))
    }

    /// Everybody reads everything that may have changed.
    pub(crate) async fn read_all(&self) {
        let Some((seller, customers)) = self.people.split_first() else { return };
        seller.stock(PRODUCT).await;
        for customer in customers {
            customer.call(Call::CartRead { customer: customer.name.clone() }).await;
        }
        for (name, order) in &self.orders {
            if let Some(customer) = customers.iter().find(|customer| customer.name == *name) {
                customer.read_order(order).await;
            }
        }
    }
}

/// Fills a cart, orders and pays, in one of several ways; orders again and cancels.
async fn visit(customer: &Person, round: u64) -> Visit {
    let name = || customer.name.clone();
    let mut visit = Visit::default();
    for (nth, method) in [(0, "tok_success"), (1, "tok_timeout_after_charge"), (2, "")] {
        let key = format!("{}-{round}-{nth}", customer.name);
        let added = customer.add(PRODUCT, 2, Some(&key)).await;
        visit.count(&added);
        let Outcome::Ok(Answer::Cart(cart)) = added else { continue };
        let total = PRICE * cart.lines.iter().map(|(_, quantity)| u64::from(*quantity)).sum::<u64>();
        let checkout = Call::Checkout { customer: name(), key: Some(key.clone()), lines: None, total };
        let ordered = customer.call(checkout).await;
        visit.count(&ordered);
        let Outcome::Ok(Answer::Order(order)) = ordered else { continue };
        let order = order.order;
        visit.orders.push((name(), order.clone()));
        let call = match method {
            "" => Call::Cancel { customer: name(), order },
            _ => Call::Pay { customer: name(), order, key: Some(key), method: method.into() },
        };
        visit.count(&customer.call(call).await);
    }
    visit
}
