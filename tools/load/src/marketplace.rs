//! The journeys of the operator in the marketplace: sends parcels, reads orders and stock, changes prices and products.
//! Each returns the status of its last request.
//!
//! Depends on `answer`, `history`, `history_writer`, `kind`, `parcels`, `people`, `scenario` and `world`.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    answer::{Status, is_failure},
    history::Call,
    history_writer,
    kind::Kind,
    parcels::{Parcel, Step},
    people::OperatorToken,
    scenario::Journey,
    world::World,
};

/// How often a step that failed is retried: the order may not be confirmed yet.
const TRIES_MAX: u32 = 5;
/// The greatest change of a price, in percent, up or down.
const PRICE_CHANGE_PERCENT: u64 = 10;
/// The fields of a product's page that are sent back unchanged when the product is replaced.
const KEPT_FIELDS: [&str; 10] = [
    "name",
    "description",
    "brand",
    "category",
    "price",
    "thumbnail_url",
    "thumbnail_alt",
    "pictures",
    "attributes",
    "variant_of",
];

impl World {
    /// Performs one of the operator's journeys.
    pub(crate) async fn operate(
        &self,
        journey: Journey,
        operator: &OperatorToken,
        random: &mut fastrand::Rng,
        due: Instant,
    ) -> Status {
        match journey {
            Journey::Deliver => match self.parcels.take() {
                Some(parcel) => self.advance(parcel, operator, due).await,
                // An operator without parcels looks for orders to send.
                None => self.list_orders(operator, due).await,
            },
            Journey::Reprice => self.change(Kind::Reprice, operator, random, due, reprice).await,
            Journey::Replace => self.change(Kind::Replace, operator, random, due, next_edition).await,
            _ => {
                let listed = self.list_orders(operator, due).await;
                if is_failure(listed) {
                    return listed;
                }
                let product = self.popular(random);
                let path = ["products", product, "inventory"];
                let call = || Call::StockRead { product: product.to_owned() };
                let stock = self.client.get(Kind::Stock, &path, &[], Some(&operator.token), Instant::now());
                self.history.record(None, call, history_writer::stock, stock).await.status
            }
        }
    }

    /// Performs a parcel's next step. If it fails, the parcel goes to the end of the queue.
    async fn advance(&self, parcel: Parcel, operator: &OperatorToken, due: Instant) -> Status {
        let Parcel { order, step, tries } = parcel;
        let (kind, verb, to, body, next) = match step {
            Step::Pack => (Kind::Pack, "pack", "packed", Value::Null, Some(Step::Ship)),
            Step::Ship => {
                let body = json!({ "carrier": "A Carrier", "tracking_number": order });
                (Kind::Ship, "ship", "shipped", body, Some(Step::Deliver))
            }
            Step::Deliver => (Kind::Deliver, "deliver", "delivered", Value::Null, None),
        };
        let call = || Call::Advance { order: order.clone(), to: to.to_owned() };
        let path = ["orders", order.as_str(), verb];
        let answer = self.client.post(kind, &path, &body, Some(&operator.token), due);
        let answer = self.history.record(None, call, history_writer::order, answer).await;
        match (answer.is_done(), answer.status, next) {
            (true, _, Some(step)) => self.parcels.queue(Parcel { order, step, tries: 0 }),
            (true, _, None) | (false, Ok(403 | 404), _) => {}
            (false, ..) if tries == TRIES_MAX => {}
            (false, ..) => self.parcels.queue(Parcel { order, step, tries: tries + 1 }),
        }
        answer.status
    }

    async fn list_orders(&self, operator: &OperatorToken, due: Instant) -> Status {
        let query = if operator.is_seller { ("as", "seller") } else { ("stage", "confirmed") };
        self.client.get(Kind::SellerOrders, &["orders"], &[query], Some(&operator.token), due).await.status
    }

    /// Reads a product and replaces it with an altered one.
    async fn change(
        &self,
        kind: Kind,
        operator: &OperatorToken,
        random: &mut fastrand::Rng,
        due: Instant,
        alter: impl Fn(&mut Value, &mut fastrand::Rng),
    ) -> Status {
        let product = self.popular(random);
        let page = self.client.get(Kind::Page, &["products", product], &[], None, due).await;
        if !page.is_done() {
            return page.status;
        }
        let mut fields = unchanged(&page.body);
        alter(&mut fields, random);
        self.client.put(kind, &["products", product], &fields, Some(&operator.token), Instant::now()).await.status
    }
}

/// The body of a `PUT /products/{id}` that changes nothing, from the product's page.
fn unchanged(page: &Value) -> Value {
    let mut fields = json!({});
    for name in KEPT_FIELDS {
        fields[name] = page[name].clone();
    }
    let variants = page["variants"].as_array().into_iter().flatten();
    let variant = |variant: &Value| json!({ "product_id": variant["product_id"], "options": variant["options"] });
    fields["variants"] = variants.map(variant).collect();
    fields
}

fn reprice(fields: &mut Value, random: &mut fastrand::Rng) {
    if let Some(amount) = fields["price"]["amount"].as_u64() {
        let percent = random.u64(100 - PRICE_CHANGE_PERCENT..=100 + PRICE_CHANGE_PERCENT);
        fields["price"]["amount"] = json!((amount.saturating_mul(percent) / 100).max(1));
    }
}

fn next_edition(fields: &mut Value, random: &mut fastrand::Rng) {
    fields["attributes"]["Edition"] = json!(random.u32(1..1_000_000).to_string());
}
