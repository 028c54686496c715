//! Translates HTTP answers into outcomes of a history, for every client that writes one.
//!
//! Depends on `history`, `placings` and `domain`.

use serde::Deserialize;
use serde_json::Value;

use super::{
    history::{Answer, Call, Cart, Cause, Line, Order, Outcome, Payment, Refusal, Stock},
    placings::status_of,
};
use crate::domain::{money::Money, order::Status};

#[derive(Deserialize)]
struct ItemBody {
    product_id: String,
    quantity: u32,
}

#[derive(Deserialize)]
struct CartBody {
    version: u64,
    items: Vec<ItemBody>,
}

#[derive(Deserialize)]
struct OrderBody {
    order_id: String,
    status: String,
    items: Vec<ItemBody>,
    total: Money,
    shipping_address: AddressBody,
    history: Vec<StepBody>,
}

#[derive(Deserialize)]
struct StepBody {
    status: String,
}

#[derive(Deserialize)]
struct AddressBody {
    name: String,
}

#[derive(Deserialize)]
struct PaymentBody {
    status: String,
    order_id: String,
    order_status: String,
    payment: AttemptBody,
}

#[derive(Deserialize)]
struct AttemptBody {
    attempt: u32,
}

/// A product's stock in an answer.
#[derive(Deserialize)]
pub(super) struct StockBody {
    pub(super) received: u64,
    pub(super) on_hand: u64,
    pub(super) sold: u64,
    pub(super) reserved_quantity: u64,
    pub(super) available: u64,
}

fn lines(items: Vec<ItemBody>) -> Vec<Line> {
    items.into_iter().map(|item| (item.product_id, item.quantity)).collect()
}

/// The outcome of a call that was answered with this status and body. Clients write their customer's name into the
/// address of each order, so the name in the address is the order's owner.
///
/// # Errors
/// The answer is a success, but its body is not what the API describes.
pub fn outcome(call: &Call, status: u16, body: &Value) -> Result<Outcome, String> {
    match status {
        200..=299 => Ok(Outcome::Ok(answer(call, body).map_err(|error| format!("{error} in {body}"))?)),
        400..=499 => {
            let code = body["code"].as_str().unwrap_or("no-code").to_owned();
            Ok(Outcome::Fail(Refusal { status, code }))
        }
        _ => Ok(Outcome::Unknown(Cause::ServerError)),
    }
}

fn answer(call: &Call, body: &Value) -> serde_json::Result<Answer> {
    Ok(match call {
        Call::StockRead { .. } | Call::StockReceive { .. } | Call::StockAdjust { .. } | Call::StockSet { .. } => {
            let StockBody { received, on_hand, sold, reserved_quantity: reserved, available } =
                StockBody::deserialize(body)?;
            Answer::Stock(Stock { received, on_hand, sold, reserved, available })
        }
        Call::CartRead { .. } | Call::CartAdd { .. } | Call::CartSet { .. } => {
            let CartBody { version, items } = CartBody::deserialize(body)?;
            Answer::Cart(Cart { version, lines: lines(items) })
        }
        Call::CartRemove { .. } => Answer::Done,
        Call::Checkout { .. } | Call::Cancel { .. } | Call::OrderRead { .. } | Call::Advance { .. } => {
            let OrderBody { order_id, status, items, total, shipping_address, history } = OrderBody::deserialize(body)?;
            let owner = Some(shipping_address.name);
            let sold = history.iter().any(|step| step.status == Status::Confirmed.as_str());
            Answer::Order(Order { order: order_id, owner, state: status, lines: lines(items), total, sold })
        }
        Call::Pay { .. } => {
            let PaymentBody { status, order_id, order_status, payment } = PaymentBody::deserialize(body)?;
            // A hold is a success, too, and may end without a capture.
            let captured = status == "success" && status_of(&order_status).is_some_and(Status::is_paid);
            Answer::Payment(Payment { order: order_id, state: order_status, attempt: payment.attempt, captured })
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hold_is_no_capture() {
        let call = Call::Pay { customer: "c".into(), order: "o".into(), key: None, method: "m".into() };
        for (status, order_status, captured) in [
            ("success", "authorised", false),
            ("success", "cancelling", false),
            ("success", "confirmed", true),
            ("pending", "payment_pending", false),
        ] {
            let body = json!({
                "status": status, "order_id": "o", "order_status": order_status, "payment": {"attempt": 1},
            });
            let answered = outcome(&call, 200, &body).unwrap();
            let payment = Payment { order: "o".into(), state: order_status.into(), attempt: 1, captured };
            assert_eq!(answered, Outcome::Ok(Answer::Payment(payment)));
        }
    }
}
