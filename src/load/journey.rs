//! What customers do, request by request. A step that is refused or fails ends the journey: a person would give up, too.
//!
//! Depends on nothing of the crate.

use std::time::Instant;

use serde_json::{Value, json};

use super::{
    recorder::Kind,
    town::{Customer, Town},
};

/// How many different products a basket has at the most.
const LINES_MAX: usize = 3;
/// Of ten glances, so many are at a product; the others are searches.
const PAGES_OF_TEN: u8 = 7;

impl Town {
    /// One glance: at a product, or at what a search finds.
    pub(super) async fn browse(&self, mut random: fastrand::Rng, due: Instant) {
        if random.u8(0..10) < PAGES_OF_TEN {
            self.look(&mut random, due).await;
        } else {
            self.search(&mut random, due).await;
        }
    }

    /// From the search to the tracked order.
    pub(super) async fn shop(&self, customer: &Customer, mut random: fastrand::Rng, due: Instant) {
        self.search(&mut random, due).await;
        self.look(&mut random, Instant::now()).await;
        let mut chosen: Vec<&str> = (0..random.usize(1..=LINES_MAX)).map(|_| self.popular(&mut random)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        self.buy(customer, &chosen, Instant::now()).await;
    }

    /// One piece of the one product, as fast as possible.
    pub(super) async fn grab(&self, customer: &Customer, due: Instant) {
        self.buy(customer, &[&self.goods[0]], due).await;
    }

    async fn look(&self, random: &mut fastrand::Rng, due: Instant) {
        let product = self.popular(random);
        self.client.get(Kind::Page, &["products", product], &[], None, due).await;
    }

    async fn search(&self, random: &mut fastrand::Rng, due: Instant) {
        let words = random.choice(&self.queries).map_or("", String::as_str);
        self.client.get(Kind::Search, &["products"], &[("q", words)], None, due).await;
    }

    async fn buy(&self, customer: &Customer, products: &[&str], due: Instant) {
        let token = Some(customer.token.as_str());
        let items: Vec<Value> = products.iter().map(|id| json!({ "product_id": id, "quantity": 1 })).collect();
        let addition = json!({ "items": items });
        let cart = self.client.post(Kind::AddToCart, &["cart", "add_products"], &addition, token, due).await;
        if !cart.is_done() {
            return;
        }
        let checkout = json!({ "total_price": cart.body["total"], "shipping_address": {
            "name": "A Customer", "line1": "1 Long Road", "city": "Pune", "postal_code": "411001", "country": "IN" } });
        let order = self.client.post(Kind::Checkout, &["checkout"], &checkout, token, Instant::now()).await;
        let (true, Some(id)) = (order.is_done(), order.body["order_id"].as_str()) else {
            return self.empty_cart(customer, products).await;
        };
        let payment = json!({ "order_id": id, "payment_method": "tok_success" });
        let paid = self.client.post(Kind::Payment, &["payment"], &payment, token, Instant::now()).await;
        if paid.status != Some(200) {
            return;
        }
        self.acknowledged.paid(id, customer.number, &order.body["total"]);
        let path = format!("order_status={id}");
        self.client.get(Kind::Track, &[&path], &[], token, Instant::now()).await;
    }

    /// What is sold out would be in the way of everything that the customer buys later.
    async fn empty_cart(&self, customer: &Customer, products: &[&str]) {
        for product in products {
            self.client.delete(Kind::Errand, &["cart", "items", product], Some(&customer.token)).await;
        }
    }
}
