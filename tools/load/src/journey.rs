//! The journeys of customers, request by request. A refused or failed step ends the journey, as it would for a person.
//! Each returns the status of its last request.
//!
//! Depends on `answer`, `history`, `history_writer`, `kind`, `people` and `world`.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    answer::{Status, is_failure},
    history::Call,
    history_writer,
    kind::Kind,
    people::Person,
    world::World,
};

/// A basket has one to this many lines if there is no file of baskets.
const LINES_MAX: usize = 3;
/// A session of the marketplace has one to this many lines, as in that benchmark.
const SESSION_LINES_MAX: usize = 10;
/// Of ten views, this many are of a product; the others are searches.
const PAGES_OF_TEN: u8 = 7;
/// How often a product is drawn per line of a basket before the basket gets fewer lines: popular products are drawn
/// again and again.
const DRAWS_A_LINE: usize = 8;

/// A payment method that the fake provider charges.
const METHOD: &str = "tok_success";

/// A line to buy: the product and the number of units.
type BasketLine<'a> = (&'a str, u32);

/// The result of an attempt to buy.
enum Bought {
    /// The id of an order that is paid.
    Order(String),
    /// The status of the request that was refused or failed.
    Nothing(Status),
}

impl World {
    /// One product page, or one search.
    pub(crate) async fn glance(&self, random: &mut fastrand::Rng, due: Instant) -> Status {
        if random.u8(0..10) < PAGES_OF_TEN {
            self.view_product(random, due).await
        } else {
            self.search(random, due).await
        }
    }

    /// From the search to the status of the order.
    pub(crate) async fn shop(&self, customer: &Person, random: &mut fastrand::Rng, due: Instant) -> Status {
        let found = self.search(random, due).await;
        if is_failure(found) {
            return found;
        }
        let viewed = self.view_product(random, Instant::now()).await;
        if is_failure(viewed) {
            return viewed;
        }
        let units = match random.choice(&self.baskets) {
            Some(basket) => basket.clone(),
            None => vec![1; random.usize(1..=LINES_MAX)],
        };
        let basket = self.basket(&units, random);
        match self.buy(customer, &basket, Instant::now()).await {
            Bought::Nothing(status) => status,
            Bought::Order(order) => {
                let path = format!("order_status={order}");
                let call = || Call::OrderRead { customer: customer.user.clone(), order };
                let path = [path.as_str()];
                let status = self.client.get(Kind::Track, &path, &[], Some(&customer.token), Instant::now());
                self.history.record(Some(customer.number), call, history_writer::order, status).await.status
            }
        }
    }

    /// One unit of the flash sale's product.
    pub(crate) async fn grab(&self, customer: &Person, due: Instant) -> Status {
        match self.buy(customer, &[(&self.products[0], 1)], due).await {
            Bought::Order(_) => Ok(200),
            Bought::Nothing(status) => status,
        }
    }

    /// A session of the marketplace; the paid order becomes a parcel.
    pub(crate) async fn session(&self, customer: &Person, random: &mut fastrand::Rng, due: Instant) -> Status {
        let units = vec![1; random.usize(1..=SESSION_LINES_MAX)];
        let basket = self.basket(&units, random);
        match self.buy(customer, &basket, due).await {
            Bought::Order(order) => {
                self.parcels.add(order);
                Ok(200)
            }
            Bought::Nothing(status) => status,
        }
    }

    /// Different random products with these numbers of units, the popular ones more often.
    fn basket(&self, units: &[u32], random: &mut fastrand::Rng) -> Vec<BasketLine<'_>> {
        let mut basket: Vec<BasketLine<'_>> = Vec::new();
        for _ in 0..units.len() * DRAWS_A_LINE {
            let Some(count) = units.get(basket.len()) else { break };
            let product = self.popular(random);
            if basket.iter().all(|(chosen, _)| *chosen != product) {
                basket.push((product, *count));
            }
        }
        basket
    }

    async fn view_product(&self, random: &mut fastrand::Rng, due: Instant) -> Status {
        let product = self.popular(random);
        self.client.get(Kind::Page, &["products", product], &[], None, due).await.status
    }

    async fn search(&self, random: &mut fastrand::Rng, due: Instant) -> Status {
        let words = random.choice(&self.queries).map_or("", String::as_str);
        self.client.get(Kind::Search, &["products"], &[("q", words)], None, due).await.status
    }

    /// Fills the cart, checks out and pays.
    async fn buy(&self, customer: &Person, basket: &[BasketLine<'_>], due: Instant) -> Bought {
        let (client, token, number) = (&self.client, Some(customer.token.as_str()), Some(customer.number));
        let user = || customer.user.clone();
        let item = |(id, quantity): &BasketLine<'_>| json!({ "product_id": id, "quantity": quantity });
        let addition = json!({ "items": basket.iter().map(item).collect::<Vec<Value>>() });
        let line = |(id, quantity): &BasketLine<'_>| ((*id).to_owned(), *quantity);
        let call = || Call::CartAdd { customer: user(), items: basket.iter().map(line).collect() };
        let cart = client.post(Kind::AddToCart, &["cart", "add_products"], &addition, token, due);
        let cart = self.history.record(number, call, history_writer::cart, cart).await;
        if !cart.is_done() {
            return Bought::Nothing(cart.status);
        }
        let total = &cart.body["total"];
        // The checker recognises by the name whose order an answer shows.
        let address = json!({ "name": if customer.user.is_empty() { "A Customer" } else { &customer.user },
            "line1": "1 Long Road", "city": "Pune", "postal_code": "411001", "country": "IN" });
        let checkout = json!({ "total_price": total, "shipping_address": address });
        let total = total["amount"].as_u64().unwrap_or_default();
        let call = || Call::Checkout { customer: user(), total };
        let order = client.post(Kind::Checkout, &["checkout"], &checkout, token, Instant::now());
        let order = self.history.record(number, call, history_writer::order, order).await;
        let (true, Some(id)) = (order.is_done(), order.body["order_id"].as_str()) else {
            self.empty_cart(customer, basket).await;
            return Bought::Nothing(order.status);
        };
        let payment = json!({ "order_id": id, "payment_method": METHOD });
        let call = || Call::Pay { customer: user(), order: id.to_owned(), method: METHOD.to_owned() };
        let paid = client.post(Kind::Payment, &["payment"], &payment, token, Instant::now());
        let paid = self.history.record(number, call, history_writer::payment, paid).await;
        if paid.status != Ok(200) {
            return Bought::Nothing(paid.status);
        }
        self.acknowledged.paid(id, customer.number, &customer.user, &order.body["total"], basket);
        Bought::Order(id.to_owned())
    }

    /// Empties the cart after a checkout that failed: a line that is sold out would make all later checkouts fail, too.
    async fn empty_cart(&self, customer: &Person, basket: &[BasketLine<'_>]) {
        for (product, _) in basket {
            let call = || Call::CartRemove { customer: customer.user.clone(), product: (*product).to_owned() };
            let path = ["cart", "items", product];
            let removed = self.client.delete(Kind::Setup, &path, Some(&customer.token));
            self.history.record(Some(customer.number), call, history_writer::cart, removed).await;
        }
    }
}
