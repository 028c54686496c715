//! Money that is only held, and refunds that come back: their notices come often and late, each with one effect.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use souk_gateway_sim::{Mischief, Rule};

use crate::{
    gateway::{Stand, answer, read},
    ledger::{self, Orders},
    orders::Shopper,
};

/// How long an order may take to come to where it is to stand.
const REACHED_MAX: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(50);

/// How an order that was held goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Story {
    Captured,
    /// The hold ends at the provider.
    Ends,
    /// It is captured and given back, and the refund fails after it has succeeded.
    ComesBack,
}

/// Plays the stories with a shop that captures later; what is wrong.
pub(crate) async fn play(stand: &mut Stand, shopper: &mut Shopper, orders: &mut Orders) -> Vec<String> {
    stand.set("SOUK_PAYMENTS__CAPTURE_LATER", "true");
    stand.kill_shop(Duration::ZERO).await;
    let often = Mischief { times: 20, delay_ms: 200, ..Mischief::default() };
    stand.plan(&[Rule { webhook: Some(often), ..Rule::default() }]).await;
    let mut wrong = Vec::new();
    for story in [Story::Captured, Story::Ends, Story::ComesBack] {
        let id = shopper.order().await;
        match tell(story, stand, shopper, &id).await {
            Ok(order) => drop(orders.insert(id, order)),
            Err(what) => wrong.push(what),
        }
    }
    stand.set("SOUK_PAYMENTS__CAPTURE_LATER", "false");
    stand.plan(&[]).await;
    wrong
}

async fn tell(story: Story, stand: &Stand, shopper: &Shopper, id: &str) -> Result<Value, String> {
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
    let method = if story == Story::ComesBack { "pm_card_refundFail" } else { "tok_success" };
    shopper.person.pay(id, method, &format!("pay-{id}")).await;
    until("authorised", |order| ledger::status(order) == "authorised").await?;
    if story == Story::Ends {
        stand.release(id).await;
        let order = until("payable again", |order| ledger::status(order) == "awaiting_payment").await?;
        return if ledger::has_refunds(&order) {
            Err(format!("the end of a hold is a refund: {order}"))
        } else {
            Ok(order)
        };
    }
    act("capture", Value::Null).await?;
    let order = until("confirmed", |order| ledger::status(order) == "confirmed").await?;
    if story == Story::Captured {
        return Ok(order);
    }
    act("refunds", json!({ "items": [{ "product_id": "pen", "quantity": 1 }], "reason": "one too many" })).await?;
    until("given back", |order| order["refunds"][0]["status"] == "refunded").await?;
    until("left with a failed refund", |order| {
        order["refunds"][0]["status"] == "failed" && order["refunded"]["amount"] == 0
    })
    .await
}
