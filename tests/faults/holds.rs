//! Payments that are captured later, and refunds that fail after they succeeded. The provider sends each notice twenty
//! times, and late; each must count once.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use souk_gateway_sim::{Rule, WebhookDelivery};

use crate::{
    gateway::{Deployment, answer, read},
    ledger::{self, Orders},
    orders::Shopper,
};

/// How long an order may take to reach the expected status.
const REACHED_MAX: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(50);

/// What happens to a payment that is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Captured,
    /// The provider releases the hold.
    Released,
    /// It is captured and refunded, and the refund fails after it has succeeded.
    RefundFailsLate,
}

/// Runs the scenarios with a shop that captures later, and returns the violations.
pub(crate) async fn run(deployment: &mut Deployment, shopper: &mut Shopper, orders: &mut Orders) -> Vec<String> {
    deployment.set("SOUK_PAYMENTS__CAPTURE_LATER", "true");
    deployment.kill_shop(Duration::ZERO).await;
    let often = WebhookDelivery { times: 20, delay_ms: 200, ..WebhookDelivery::default() };
    deployment.plan(&[Rule { webhook: Some(often), ..Rule::default() }]).await;
    let mut wrong = Vec::new();
    for scenario in [Scenario::Captured, Scenario::Released, Scenario::RefundFailsLate] {
        let id = shopper.order().await;
        match run_scenario(scenario, deployment, shopper, &id).await {
            Ok(order) => drop(orders.insert(id, order)),
            Err(what) => wrong.push(what),
        }
    }
    deployment.set("SOUK_PAYMENTS__CAPTURE_LATER", "false");
    deployment.plan(&[]).await;
    wrong
}

async fn run_scenario(
    scenario: Scenario,
    deployment: &Deployment,
    shopper: &Shopper,
    id: &str,
) -> Result<Value, String> {
    let act = async |what: &str, body: Value| {
        let (path, key) = (format!("/orders/{id}/{what}"), format!("{what}-{id}"));
        let (status, body) = answer(&shopper.seller, Method::POST, &path, body, Some(&key)).await;
        if status < 300 { Ok(()) } else { Err(format!("{what} of {id} is answered with {status}: {body}")) }
    };
    let until = async |what: &str, is: fn(&Value) -> bool| {
        let began = Instant::now();
        loop {
            let order = read(&shopper.seller, &format!("/orders/{id}")).await;
            if is(&order) {
                return Ok(order);
            }
            if began.elapsed() > REACHED_MAX {
                return Err(format!("{id} is not {what}: {order}"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let method = if scenario == Scenario::RefundFailsLate { "pm_card_refundFail" } else { "tok_success" };
    shopper.person.pay(id, method, &format!("pay-{id}")).await;
    until("authorised", |order| ledger::status(order) == "authorised").await?;
    if scenario == Scenario::Released {
        deployment.release(id).await;
        let order = until("payable again", |order| ledger::status(order) == "awaiting_payment").await?;
        return if ledger::has_refunds(&order) {
            Err(format!("the end of a hold is a refund: {order}"))
        } else {
            Ok(order)
        };
    }
    act("capture", Value::Null).await?;
    let order = until("confirmed", |order| ledger::status(order) == "confirmed").await?;
    if scenario == Scenario::Captured {
        return Ok(order);
    }
    act("refunds", json!({ "items": [{ "product_id": "pen", "quantity": 1 }], "reason": "one too many" })).await?;
    until("given back", |order| order["refunds"][0]["status"] == "refunded").await?;
    until("left with a failed refund", |order| {
        order["refunds"][0]["status"] == "failed" && order["refunded"]["amount"] == 0
    })
    .await
}
