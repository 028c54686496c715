//! What customers do, request by request. A step that is refused or fails ends the journey: a person would give up, too.
//!
//! Depends on `verify::history`.

use std::time::Instant;

use serde_json::{Value, json};

use super::{people::Person, recorder::Kind, town::Town, witness};
use crate::verify::history::Call;

/// How many lines a basket has at the most where no file says, and at the least one.
const LINES_MAX: usize = 3;
/// How many lines a session of the marketplace has at the most, as that benchmark has it.
const SESSION_LINES_MAX: usize = 10;
/// Of ten glances, so many are at a product; the others are searches.
const PAGES_OF_TEN: u8 = 7;
/// How often a product is drawn for each line before a basket is taken as it is: popular products come again and again.
const DRAWS_A_LINE: usize = 8;

/// How customers pay; the simulated provider charges it.
const METHOD: &str = "tok_success";

/// A line to buy: the product and how many pieces.
type Wanted<'a> = (&'a str, u32);

impl Town {
    /// One glance: at a product, or at what a search finds.
    pub(super) async fn glance(&self, random: &mut fastrand::Rng, due: Instant) {
        if random.u8(0..10) < PAGES_OF_TEN {
            self.look(random, due).await;
        } else {
            self.search(random, due).await;
        }
    }

    /// From the search to the tracked order.
    pub(super) async fn shop(&self, customer: &Person, random: &mut fastrand::Rng, due: Instant) {
        self.search(random, due).await;
        self.look(random, Instant::now()).await;
        let pieces = match random.choice(&self.baskets) {
            Some(basket) => basket.clone(),
            None => vec![1; random.usize(1..=LINES_MAX)],
        };
        let basket = self.basket(&pieces, random);
        if let Some(order) = self.buy(customer, &basket, Instant::now()).await {
            let path = format!("order_status={order}");
            let call = || Call::OrderRead { customer: customer.user.clone(), order };
            let path = [path.as_str()];
            let status = self.client.get(Kind::Track, &path, &[], Some(&customer.token), Instant::now());
            self.client.witnessed(Some(customer.number), call, witness::order, status).await;
        }
    }

    /// One piece of the one product, as fast as possible.
    pub(super) async fn grab(&self, customer: &Person, due: Instant) {
        self.buy(customer, &[(&self.goods[0], 1)], due).await;
    }

    /// A session of the marketplace; what was paid for is then to be delivered.
    pub(super) async fn session(&self, customer: &Person, random: &mut fastrand::Rng, due: Instant) {
        let pieces = vec![1; random.usize(1..=SESSION_LINES_MAX)];
        let basket = self.basket(&pieces, random);
        if let Some(order) = self.buy(customer, &basket, due).await {
            self.parcels.hand_over(order);
        }
    }

    /// Different products, by popularity, with these pieces of each.
    fn basket(&self, pieces: &[u32], random: &mut fastrand::Rng) -> Vec<Wanted<'_>> {
        let mut basket: Vec<Wanted<'_>> = Vec::new();
        for _ in 0..pieces.len() * DRAWS_A_LINE {
            let Some(count) = pieces.get(basket.len()) else { break };
            let product = self.popular(random);
            if basket.iter().all(|(chosen, _)| *chosen != product) {
                basket.push((product, *count));
            }
        }
        basket
    }

    async fn look(&self, random: &mut fastrand::Rng, due: Instant) {
        let product = self.popular(random);
        self.client.get(Kind::Page, &["products", product], &[], None, due).await;
    }

    async fn search(&self, random: &mut fastrand::Rng, due: Instant) {
        let words = random.choice(&self.queries).map_or("", String::as_str);
        self.client.get(Kind::Search, &["products"], &[("q", words)], None, due).await;
    }

    /// Into the cart, checked out, paid. The order's id where all of that was done.
    async fn buy(&self, customer: &Person, basket: &[Wanted<'_>], due: Instant) -> Option<String> {
        let (client, token, number) = (&self.client, Some(customer.token.as_str()), Some(customer.number));
        let user = || customer.user.clone();
        let item = |(id, quantity): &Wanted<'_>| json!({ "product_id": id, "quantity": quantity });
        let addition = json!({ "items": basket.iter().map(item).collect::<Vec<Value>>() });
        let line = |(id, quantity): &Wanted<'_>| ((*id).to_owned(), *quantity);
        let call = || Call::CartAdd { customer: user(), items: basket.iter().map(line).collect(), key: None };
        let cart = client.post(Kind::AddToCart, &["cart", "add_products"], &addition, token, due);
        let cart = client.witnessed(number, call, witness::cart, cart).await;
        if !cart.is_done() {
            return None;
        }
        let total = &cart.body["total"];
        // The name tells the checker whose order an answer shows.
        let address = json!({ "name": if customer.user.is_empty() { "A Customer" } else { &customer.user },
            "line1": "1 Long Road", "city": "Pune", "postal_code": "411001", "country": "IN" });
        let checkout = json!({ "total_price": total, "shipping_address": address });
        let total = total["amount"].as_u64().unwrap_or_default();
        let call = || Call::Checkout { customer: user(), key: None, lines: None, total };
        let order = client.post(Kind::Checkout, &["checkout"], &checkout, token, Instant::now());
        let order = client.witnessed(number, call, witness::order, order).await;
        let (true, Some(id)) = (order.is_done(), order.body["order_id"].as_str()) else {
            self.empty_cart(customer, basket).await;
            return None;
        };
        let payment = json!({ "order_id": id, "payment_method": METHOD });
        let call = || Call::Pay { customer: user(), order: id.to_owned(), key: None, method: METHOD.to_owned() };
        let paid = client.post(Kind::Payment, &["payment"], &payment, token, Instant::now());
        let paid = client.witnessed(number, call, witness::payment, paid).await;
        if paid.status != Some(200) {
            return None;
        }
        self.acknowledged.paid(id, customer.number, &customer.user, &order.body["total"], basket);
        Some(id.to_owned())
    }

    /// What is sold out would be in the way of everything that the customer buys later.
    async fn empty_cart(&self, customer: &Person, basket: &[Wanted<'_>]) {
        for (product, _) in basket {
            let call = || Call::CartRemove { customer: customer.user.clone(), product: (*product).to_owned() };
            let path = ["cart", "items", product];
            let removed = self.client.delete(Kind::Errand, &path, Some(&customer.token));
            self.client.witnessed(Some(customer.number), call, witness::cart, removed).await;
        }
    }
}
