//! Stock, for sellers and admins.
//!
//! May depend on `shop` and `domain`.

use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    bodies::ProblemBody,
    error::Problem,
    etag::{self, IfMatch},
    extract::{Body, Caller, Id},
    once::{KeyHeader, Once},
    responses::{Conditional, JsonBody, Read, Token, Write},
};
use crate::{
    domain::{ids::ProductId, inventory},
    shop::Error,
};

/// The stock of a product, in units.
#[derive(Serialize, ToSchema)]
pub(super) struct Stock {
    product_id: String,
    /// Units in the warehouse, reserved ones included.
    on_hand: u64,
    /// Units reserved for orders.
    reserved_quantity: u64,
    /// Units that can be ordered now.
    available: u64,
    /// Units sold so far.
    sold: u64,
    /// Units received so far, adjustments included.
    received: u64,
}

fn stock(product: &ProductId, view: inventory::View) -> Response {
    let inventory::View { on_hand, reserved_quantity, available, sold, received } = view;
    let product_id = product.to_string();
    let body = Stock { product_id, on_hand, reserved_quantity, available, sold, received };
    // The first part of the tag is for stock-takings: a sale refuses none.
    etag::json(&format!("i{received}"), &body)
}

/// Reports a refused quantity under its name in the body.
fn refused(error: Error, field: &str) -> Problem {
    match error {
        Error::Inventory(inventory::Rejection::InvalidQuantity) => Problem::invalid(field, error.to_string()),
        other => other.into(),
    }
}

/// Received goods.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Receipt {
    #[schema(example = 25, minimum = 1)]
    quantity: u64,
    /// The name of the delivery: with it (or with an `Idempotency-Key`) a repeat counts once.
    #[schema(example = "delivery-2026-11-22")]
    receipt_id: Option<String>,
}

/// A correction of the stock.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Adjustment {
    /// Units found, or lost if negative.
    #[schema(example = -2)]
    delta: i64,
    /// The name of the adjustment: with it (or with an `Idempotency-Key`) a repeat counts once.
    adjustment_id: Option<String>,
}

/// A stock-taking.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Count {
    /// Counted units on hand.
    #[schema(example = 100)]
    on_hand: u64,
}

/// Shows the stock of a product.
///
/// For its seller and admins. Shoppers see what is available on the product's page.
#[utoipa::path(get, path = "/products/{product_id}/inventory", operation_id = "show_inventory",
    tag = "selling", security(("bearer" = [])),
    params(("product_id" = String, Path)), responses(
    Read, Token,
    (status = 200, description = "The stock", body = Stock),
    (status = 403, description = "Another seller's, or not a seller", body = ProblemBody),
    (status = 404, description = "No such product", body = ProblemBody),
))]
pub(super) async fn show(
    State(app): State<App>,
    Caller(who): Caller,
    Id(product): Id<ProductId>,
) -> Result<Response, Problem> {
    Ok(stock(&product, app.shop.inventory(&who, &product).await?))
}

/// Records received goods.
///
/// They are available at once. A repeat with the same `receipt_id` or key counts once.
#[utoipa::path(post, path = "/products/{product_id}/inventory/receipts", operation_id = "receive_stock",
    tag = "selling", security(("bearer" = [])),
    request_body = Receipt, params(("product_id" = String, Path), KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 200, description = "The stock after it", body = Stock),
    (status = 403, description = "Another seller's, or not a seller", body = ProblemBody),
    (status = 404, description = "No such product", body = ProblemBody),
    (status = 409, description = "The receipt was used with another quantity", body = ProblemBody),
    (status = 422, description = "A quantity that cannot be", body = ProblemBody),
))]
pub(super) async fn receive(
    Caller(who): Caller,
    Id(product): Id<ProductId>,
    Once(shop, body): Once<Receipt>,
) -> Result<Response, Problem> {
    let received = shop.receive_stock(&who, &product, body.quantity, body.receipt_id.as_deref()).await;
    Ok(stock(&product, received?))
}

/// Records goods that were found or lost.
///
/// Units that are reserved for orders cannot be lost. A repeat with the same `adjustment_id` or key counts once.
#[utoipa::path(post, path = "/products/{product_id}/inventory/adjustments", operation_id = "adjust_stock",
    tag = "selling", security(("bearer" = [])),
    request_body = Adjustment, params(("product_id" = String, Path), KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 200, description = "The stock after it", body = Stock),
    (status = 403, description = "Another seller's, or not a seller", body = ProblemBody),
    (status = 404, description = "No such product", body = ProblemBody),
    (status = 409, description = "It would take units that are reserved for orders", body = ProblemBody),
    (status = 422, description = "A quantity that cannot be", body = ProblemBody),
))]
pub(super) async fn adjust(
    Caller(who): Caller,
    Id(product): Id<ProductId>,
    Once(shop, body): Once<Adjustment>,
) -> Result<Response, Problem> {
    let adjusted = shop.adjust_stock(&who, &product, body.delta, body.adjustment_id.as_deref()).await;
    Ok(stock(&product, adjusted.map_err(|error| refused(error, "delta"))?))
}

/// Records the result of a stock-taking.
///
/// With `If-Match`, one that would overwrite another is refused. Reserved units are among those on hand.
#[utoipa::path(put, path = "/products/{product_id}/inventory", operation_id = "count_stock",
    tag = "selling", security(("bearer" = [])),
    request_body = Count, params(("product_id" = String, Path), ("If-Match" = Option<String>, Header)), responses(
    Write, Token, JsonBody, Conditional,
    (status = 200, description = "The stock after it", body = Stock),
    (status = 403, description = "Another seller's, or not a seller", body = ProblemBody),
    (status = 404, description = "No such product", body = ProblemBody),
    (status = 409, description = "More units are reserved for orders", body = ProblemBody),
))]
pub(super) async fn count(
    State(app): State<App>,
    Caller(who): Caller,
    Id(product): Id<ProductId>,
    expected: IfMatch,
    Body(Count { on_hand }): Body<Count>,
) -> Result<Response, Problem> {
    let received = expected.version('i');
    match app.shop.count_stock_if(&who, &product, on_hand, received).await {
        Ok(view) => Ok(stock(&product, view)),
        Err(Error::Inventory(inventory::Rejection::ReceivedChanged)) => {
            let view = app.shop.inventory(&who, &product).await?;
            Err(Problem::version_mismatch(view.received))
        }
        Err(error) => Err(refused(error, "on_hand")),
    }
}
