//! What customers do while their provider fails: each time an order that is paid, cancelled or refunded in one of
//! several ways.
//!
//! Requests without an answer are repeated, with their key, until a shop answers.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use souk::internals::verify::history::{Answer, Call, Outcome};
use souk_gateway_sim::Fault;

use crate::{
    gateway::{answer, read},
    provider::KINDS,
    recorded::Person,
};

/// The products: price, and stock at first.
pub(crate) const PRODUCTS: [(&str, u64, u64); 2] = [("pen", 1_000, 1_000_000), ("ink", 333, 1_000_000)];
/// How long a customer repeats a request to a shop that is being killed.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long a payment may take before its refund is skipped: a few retries, a kill and an open breaker.
const PAID_MAX: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_millis(100);

/// What happens to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Keep,
    /// It is cancelled while it is being paid.
    CancelPending,
    /// It is cancelled and never paid.
    CancelUnpaid,
    /// It is cancelled once it is paid.
    CancelPaid,
    /// The seller refunds all of it.
    RefundAll,
    /// The seller refunds a unit, and then another part or the rest.
    RefundParts,
    /// The payment is declined, and nobody tries again.
    Decline,
}

impl Plan {
    /// What happens to the orders with one fault, in turn: even a few orders include the most important cases.
    const TURNS: [Self; 12] = {
        use Plan::{CancelPaid, CancelPending, CancelUnpaid, Decline, Keep, RefundAll, RefundParts};
        [
            Keep,
            CancelPending,
            RefundParts,
            CancelPaid,
            Keep,
            RefundAll,
            Decline,
            CancelUnpaid,
            Keep,
            CancelPending,
            Keep,
            RefundAll,
        ]
    };
    /// The same if the payment fails for ever: then nothing can be refunded.
    const TURNS_FOR_EVER: [Self; 4] = [Self::Keep, Self::CancelPending, Self::Keep, Self::Keep];

    /// The plan of the order with this number among those with one kind of fault.
    pub(crate) fn of(kind: usize, number: usize) -> Self {
        let turns: &[Self] = if KINDS[kind].for_ever { &Self::TURNS_FOR_EVER } else { &Self::TURNS };
        turns[number % turns.len()]
    }
}

/// An order, and what happens to it.
#[derive(Clone, Debug)]
pub(crate) struct PlannedOrder {
    pub(crate) customer: String,
    pub(crate) order: String,
    /// The index of its fault in [`KINDS`].
    pub(crate) kind: usize,
    pub(crate) plan: Plan,
    /// The pause between the request to pay and the one to cancel, if they overlap.
    pause: Duration,
}

/// A customer, and the seller from whom they buy.
pub(crate) struct Shopper {
    pub(crate) person: Person,
    pub(crate) seller: Person,
    pub(crate) random: fastrand::Rng,
}

impl Shopper {
    /// Places an order for each of these faults and plans.
    pub(crate) async fn place(&mut self, wanted: &[(usize, Plan)]) -> Vec<PlannedOrder> {
        let mut orders = Vec::new();
        for (kind, plan) in wanted {
            let (customer, order) = (self.person.name.clone(), self.order().await);
            let pause = Duration::from_millis(self.random.u64(..300));
            orders.push(PlannedOrder { customer, order, kind: *kind, plan: *plan, pause });
        }
        orders
    }

    /// Places an order for random products; returns its id.
    pub(crate) async fn order(&mut self) -> String {
        let key = format!("{:016x}", self.random.u64(..));
        // Cancelled orders return their lines to the cart.
        for (product, ..) in PRODUCTS {
            self.until_answered(Call::CartRemove { customer: self.person.name.clone(), product: product.into() }).await;
        }
        let items = vec![("pen".to_owned(), self.random.u32(2..=4)), ("ink".to_owned(), self.random.u32(1..=3))];
        self.until_answered(Call::CartAdd { customer: self.person.name.clone(), items, key: Some(key.clone()) }).await;
        let began = Instant::now();
        loop {
            let cart = read(&self.person, "/cart").await;
            let total = cart["total"]["amount"].as_u64().expect("a cart with a total");
            let (customer, key) = (self.person.name.clone(), Some(key.clone()));
            match self.until_answered(Call::Checkout { customer, key, lines: None, total }).await {
                Outcome::Ok(Answer::Order(order)) => return order.order,
                // An order that expired meanwhile has changed the cart.
                refused => assert!(began.elapsed() < ANSWER_MAX, "no order can be placed: {refused:?}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Repeats a call until it is answered.
    async fn until_answered(&self, call: Call) -> Outcome {
        let began = Instant::now();
        loop {
            match self.person.call(call.clone()).await {
                Outcome::Unknown(_) => assert!(began.elapsed() < ANSWER_MAX, "{call:?} is not answered"),
                answered => return answered,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Carries out the plan of an order.
    pub(crate) async fn run(&self, planned: &PlannedOrder) {
        match planned.plan {
            Plan::Keep => self.pay(planned, "tok_success").await,
            Plan::Decline => self.pay(planned, "tok_decline").await,
            Plan::CancelUnpaid => self.cancel(planned).await,
            Plan::CancelPending => {
                let cancelling = async {
                    tokio::time::sleep(planned.pause).await;
                    self.cancel(planned).await;
                };
                tokio::join!(self.pay(planned, "tok_success"), cancelling);
            }
            Plan::CancelPaid => {
                self.pay(planned, "tok_success").await;
                if self.is_paid(planned).await {
                    self.cancel(planned).await;
                }
            }
            Plan::RefundAll => {
                // Where nothing else goes wrong, the refund comes back.
                let is_healthy = KINDS[planned.kind].fault == Fault::None;
                self.pay(planned, if is_healthy { "pm_card_refundFail" } else { "tok_success" }).await;
                self.refund(planned, "all", json!({ "reason": "faulty" })).await;
            }
            Plan::RefundParts => {
                self.pay(planned, "tok_success").await;
                let piece = json!({ "items": [{ "product_id": "pen", "quantity": 1 }], "reason": "one too many" });
                self.refund(planned, "piece", piece).await;
                let rest = match planned.pause.as_millis() % 3 {
                    0 => {
                        json!({ "items": [{ "product_id": "ink", "quantity": 1 }], "shipping": true, "reason": "late" })
                    }
                    1 => {
                        json!({ "items": [{ "product_id": "pen", "quantity": 1 }], "restock": false, "reason": "broken" })
                    }
                    _ => json!({ "reason": "the rest" }),
                };
                self.refund(planned, "rest", rest).await;
            }
        }
    }

    async fn pay(&self, planned: &PlannedOrder, method: &str) {
        let (customer, order) = (self.person.name.clone(), planned.order.clone());
        let key = Some(format!("pay-{order}"));
        self.until_answered(Call::Pay { customer, order, key, method: method.into() }).await;
    }

    async fn cancel(&self, planned: &PlannedOrder) {
        let (customer, order) = (self.person.name.clone(), planned.order.clone());
        self.until_answered(Call::Cancel { customer, order }).await;
    }

    /// Waits until an order is confirmed, but not for ever: it may have been paid too late.
    async fn is_paid(&self, planned: &PlannedOrder) -> bool {
        let began = Instant::now();
        while began.elapsed() < PAID_MAX {
            let order = read(&self.seller, &format!("/orders/{}", planned.order)).await;
            match order["status"].as_str() {
                Some("confirmed") => return true,
                Some("authorised") => {
                    let path = format!("/orders/{}/capture", planned.order);
                    answer(&self.seller, Method::POST, &path, Value::Null, None).await;
                }
                Some("payment_pending" | "paid") => tokio::time::sleep(PAUSE).await,
                _ => return false,
            }
        }
        false
    }

    /// A refund by the seller, repeated while another one is under way.
    async fn refund(&self, planned: &PlannedOrder, what: &str, body: Value) {
        if !self.is_paid(planned).await {
            return;
        }
        let (path, key) = (format!("/orders/{}/refunds", planned.order), format!("{what}-{}", planned.order));
        let began = Instant::now();
        while began.elapsed() < PAID_MAX {
            let (status, answer) = answer(&self.seller, Method::POST, &path, body.clone(), Some(&key)).await;
            match status {
                201 => return,
                409 => tokio::time::sleep(PAUSE).await,
                _ => panic!("a refund is answered with {status}: {answer}"),
            }
        }
    }
}
