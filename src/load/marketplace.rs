//! What the operator does in the marketplace: sends parcels, looks at orders and stock, changes prices and products.
//!
//! Depends on `verify::history`.

use std::{collections::VecDeque, time::Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{people::Pass, recorder::Kind, scenario::Journey, town::Town, witness};
use crate::verify::history::Call;

/// How many parcels wait at the most, each about 60 bytes; orders paid beyond that stay where they are.
const PARCELS_MAX: usize = 1_000_000;
/// How often a step that was not done is tried again: a payment may still be on its way to the order.
const TRIES_MAX: u32 = 5;
/// By how much a price changes at the most, in percent, up or down.
const PRICE_CHANGE_PERCENT: u64 = 10;
/// What of a product's page is said again when it is replaced.
const REPEATED: [&str; 9] =
    ["name", "description", "brand", "category", "price", "thumbnail_url", "images", "attributes", "variant_of"];

/// What a parcel needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Pack,
    Ship,
    Deliver,
}

struct Parcel {
    order: String,
    step: Step,
    tries: u32,
}

/// Paid orders that are not delivered yet, the longest waiting first.
#[derive(Default)]
pub(super) struct Parcels(Mutex<VecDeque<Parcel>>);

impl Parcels {
    /// A paid order.
    pub(super) fn hand_over(&self, order: String) {
        self.queue(Parcel { order, step: Step::Pack, tries: 0 });
    }

    fn queue(&self, parcel: Parcel) {
        let mut parcels = self.0.lock();
        if parcels.len() < PARCELS_MAX {
            parcels.push_back(parcel);
        }
    }

    fn take(&self) -> Option<Parcel> {
        self.0.lock().pop_front()
    }
}

impl Town {
    /// One of the operator's journeys.
    pub(super) async fn operate(&self, journey: Journey, pass: &Pass, random: &mut fastrand::Rng, due: Instant) {
        match journey {
            Journey::Deliver => match self.parcels.take() {
                Some(parcel) => self.move_on(parcel, pass, due).await,
                // Nothing waits: that, too, is found out by asking.
                None => self.look_at_orders(pass, due).await,
            },
            Journey::Reprice => self.change(Kind::Reprice, pass, random, due, reprice).await,
            Journey::Replace => self.change(Kind::Replace, pass, random, due, next_edition).await,
            _ => {
                self.look_at_orders(pass, due).await;
                let product = self.popular(random);
                let path = ["products", product, "inventory"];
                let call = || Call::StockRead { product: product.to_owned() };
                let stock = self.client.get(Kind::Stock, &path, &[], Some(&pass.token), Instant::now());
                self.client.witnessed(None, call, witness::stock, stock).await;
            }
        }
    }

    /// A parcel's next step. One that was not done waits again, at the end.
    async fn move_on(&self, parcel: Parcel, pass: &Pass, due: Instant) {
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
        let answer = self.client.post(kind, &path, &body, Some(&pass.token), due);
        let answer = self.client.witnessed(None, call, witness::order, answer).await;
        match (answer.is_done(), answer.status, next) {
            (true, _, Some(step)) => self.parcels.queue(Parcel { order, step, tries: 0 }),
            (true, _, None) | (false, Some(403 | 404), _) => {}
            (false, ..) if tries == TRIES_MAX => {}
            (false, ..) => self.parcels.queue(Parcel { order, step, tries: tries + 1 }),
        }
    }

    async fn look_at_orders(&self, pass: &Pass, due: Instant) {
        let query = if pass.is_seller { ("as", "seller") } else { ("stage", "confirmed") };
        self.client.get(Kind::SellerOrders, &["orders"], &[query], Some(&pass.token), due).await;
    }

    /// Reads a product and says it again with something changed.
    async fn change(
        &self,
        kind: Kind,
        pass: &Pass,
        random: &mut fastrand::Rng,
        due: Instant,
        alter: impl Fn(&mut Value, &mut fastrand::Rng),
    ) {
        let product = self.popular(random);
        let page = self.client.get(Kind::Page, &["products", product], &[], None, due).await;
        if !page.is_done() {
            return;
        }
        let mut fields = restated(&page.body);
        alter(&mut fields, random);
        self.client.put(kind, &["products", product], &fields, Some(&pass.token), Instant::now()).await;
    }
}

/// What `PUT /products/{id}` takes, as the product's page has it.
fn restated(page: &Value) -> Value {
    let mut fields = json!({});
    for name in REPEATED {
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
