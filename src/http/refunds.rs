//! Refunds, returns, and captures of authorised payments.
//!
//! May depend on `shop` and `domain`.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    App,
    bodies::{ProblemBody, product_id},
    error::Problem,
    extract::{Body, Caller, Id, Names},
    json::Json,
    once::{Act, Key, KeyHeader, Once},
    orders::{OrderBody, located, mark, order},
    responses::{JsonBody, Token, Write},
};
use crate::{
    domain::{
        ids::OrderId,
        order::{Restock, Shipping},
    },
    shop::refunds::{ItemUnits, RefundAsked, ReturnDecision},
};

/// Units of a product of the order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ItemBody {
    #[schema(min_length = 1, max_length = 64)]
    product_id: String,
    #[schema(minimum = 1)]
    quantity: u32,
}

/// A refund.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefundBody {
    /// The units to refund; by default, if `shipping` is false, everything that is left.
    #[serde(default)]
    items: Vec<ItemBody>,
    /// Whether shipping is refunded, too.
    #[serde(default)]
    shipping: bool,
    /// Whether the units return to stock; by default only if they are not shipped yet.
    restock: Option<bool>,
    #[schema(example = "damaged in transit", min_length = 1, max_length = 500)]
    reason: String,
}

/// A return.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReturnRequestBody {
    #[schema(min_items = 1)]
    items: Vec<ItemBody>,
    #[schema(example = "too small", min_length = 1, max_length = 500)]
    reason: String,
}

/// The received goods of a return.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReceiptBody {
    /// Whether they return to stock.
    restock: bool,
}

/// A rejected return.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectionBody {
    /// The reason.
    #[schema(example = "worn", min_length = 1, max_length = 500)]
    note: String,
}

fn items(items: Vec<ItemBody>) -> Result<Vec<ItemUnits>, Problem> {
    let item = |(index, item): (usize, ItemBody)| {
        let product = product_id(&item.product_id, &format!("items/{index}/product_id"))?;
        if item.quantity == 0 {
            return Err(Problem::invalid(&format!("items/{index}/quantity"), "must be at least 1"));
        }
        Ok(ItemUnits { product, quantity: item.quantity })
    };
    items.into_iter().enumerate().map(item).collect()
}

fn restocked(restock: bool) -> Restock {
    if restock { Restock::Yes } else { Restock::No }
}

/// Parses the number of a return in the path.
fn number(text: &str) -> Result<u32, Problem> {
    text.parse().map_err(|_| Problem::not_found("return"))
}

/// Refunds units of an order.
///
/// Without items and shipping, everything that is left. An order has one refund at a time; the answer waits a while for
/// the provider.
#[utoipa::path(post, path = "/orders/{order_id}/refunds", operation_id = "refund_order",
    tag = "selling", security(("bearer" = [])), request_body = RefundBody,
    params(("order_id" = String, Path), KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 201, description = "The order, with the refund; its status says how far it has come", body = OrderBody),
    (status = 403, description = "Not the seller of all its lines", body = ProblemBody),
    (status = 404, description = "No such order of yours, or no such product in it", body = ProblemBody),
    (status = 409, description = "More than is left, another refund is under way, not paid", body = ProblemBody),
))]
pub(super) async fn refund(
    State(app): State<App>,
    Caller(who): Caller,
    Id(id): Id<OrderId>,
    Key(key): Key,
    Body(body): Body<RefundBody>,
) -> Result<Response, Problem> {
    let RefundBody { items: units, shipping, restock, reason } = body;
    let shipping = if shipping { Shipping::Included } else { Shipping::Excluded };
    let asked = RefundAsked { items: items(units)?, shipping, restock: restock.map(restocked), reason };
    let done = app.shop.refund(&who, id, &asked, key.as_deref()).await?;
    let response = (StatusCode::CREATED, order(&done.outcome)?).into_response();
    Ok(mark(located(response, id), done.changed))
}

/// Requests a return.
///
/// For its customer, once the order is shipped. The seller receives or rejects it.
#[utoipa::path(post, path = "/orders/{order_id}/returns", operation_id = "request_return",
    tag = "orders", security(("bearer" = [])), request_body = ReturnRequestBody,
    params(("order_id" = String, Path), KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 201, description = "The order, with the return", body = OrderBody),
    (status = 404, description = "No such order of yours, or no such product in it", body = ProblemBody),
    (status = 409, description = "More than is left, or it has not been sent", body = ProblemBody),
))]
pub(super) async fn request_return(
    State(app): State<App>,
    Caller(who): Caller,
    Id(id): Id<OrderId>,
    Key(key): Key,
    Body(body): Body<ReturnRequestBody>,
) -> Result<Response, Problem> {
    let done = app.shop.request_return(&who, id, &items(body.items)?, &body.reason, key.as_deref()).await?;
    let response = (StatusCode::CREATED, order(&done.outcome)?).into_response();
    Ok(mark(located(response, id), done.changed))
}

/// Records that the goods of a return were received, and refunds them.
///
/// For the seller of all its lines and admins. The money goes back, and the goods may return to stock.
#[utoipa::path(post, path = "/orders/{order_id}/returns/{number}/receive", operation_id = "receive_return",
    tag = "selling", security(("bearer" = [])), request_body = ReceiptBody,
    params(("order_id" = String, Path), ("number" = u32, Path), KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 200, description = "The order, with the refund of the return", body = OrderBody),
    (status = 403, description = "Not the seller of all its lines", body = ProblemBody),
    (status = 404, description = "No such order of yours, or no such return", body = ProblemBody),
    (status = 409, description = "Rejected already, or another refund is under way", body = ProblemBody),
))]
pub(super) async fn receive_return(
    Caller(who): Caller,
    Names((id, of_return)): Names<(String, String)>,
    Once(shop, body): Once<ReceiptBody>,
) -> Result<Json<OrderBody>, Problem> {
    let id: OrderId = id.parse().map_err(|_| Problem::not_found("order"))?;
    let decision = ReturnDecision::Receive { restock: restocked(body.restock) };
    order(&shop.decide_return(&who, id, number(&of_return)?, decision).await?)
}

/// Rejects a return.
///
/// For the seller of all its lines and admins. The customer reads the note.
#[utoipa::path(post, path = "/orders/{order_id}/returns/{number}/reject", operation_id = "reject_return",
    tag = "selling", security(("bearer" = [])), request_body = RejectionBody,
    params(("order_id" = String, Path), ("number" = u32, Path), KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 200, description = "The order", body = OrderBody),
    (status = 403, description = "Not the seller of all its lines", body = ProblemBody),
    (status = 404, description = "No such order of yours, or no such return", body = ProblemBody),
    (status = 409, description = "Decided already", body = ProblemBody),
))]
pub(super) async fn reject_return(
    Caller(who): Caller,
    Names((id, of_return)): Names<(String, String)>,
    Once(shop, body): Once<RejectionBody>,
) -> Result<Json<OrderBody>, Problem> {
    let id: OrderId = id.parse().map_err(|_| Problem::not_found("order"))?;
    let decision = ReturnDecision::Reject { note: body.note };
    order(&shop.decide_return(&who, id, number(&of_return)?, decision).await?)
}

/// Captures an authorised payment.
///
/// For the seller of all its lines and admins, where the shop captures payments later.
#[utoipa::path(post, path = "/orders/{order_id}/capture", operation_id = "capture_order",
    tag = "selling", security(("bearer" = [])),
    params(("order_id" = String, Path), KeyHeader), responses(
    Write, Token,
    (status = 200, description = "The order; paid, if the provider has answered in time", body = OrderBody),
    (status = 403, description = "Not the seller of all its lines", body = ProblemBody),
    (status = 404, description = "No such order of yours", body = ProblemBody),
    (status = 409, description = "Nothing is held", body = ProblemBody),
))]
pub(super) async fn capture(
    Caller(who): Caller,
    Id(id): Id<OrderId>,
    Act(shop): Act,
) -> Result<Json<OrderBody>, Problem> {
    order(&shop.capture(&who, id).await?)
}

/// Gives up a payment that waits for its customer, so that they can pay in another way.
///
/// For its customer, while the payment waits for them, for instance for 3-D Secure. Nothing is charged.
#[utoipa::path(post, path = "/orders/{order_id}/abandon_payment", operation_id = "abandon_payment",
    tag = "orders", security(("bearer" = [])),
    params(("order_id" = String, Path), KeyHeader), responses(
    Write, Token,
    (status = 200, description = "The order", body = OrderBody),
    (status = 404, description = "No such order of yours", body = ProblemBody),
    (status = 409, description = "No payment waits for you", body = ProblemBody),
))]
pub(super) async fn abandon_payment(
    Caller(who): Caller,
    Id(id): Id<OrderId>,
    Act(shop): Act,
) -> Result<Json<OrderBody>, Problem> {
    order(&shop.abandon_payment(&who, id).await?)
}
