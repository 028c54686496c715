//! The caller's cart.
//!
//! May depend on `shop` and `domain`.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    bodies::{Item, Money, ProblemBody, product_id},
    error::Problem,
    etag::{self, IfMatch},
    extract::{Body, Caller, Id},
    once::{KeyHeader, Once},
    responses::{Conditional, JsonBody, Read, Token, Write},
};
use crate::{
    domain::{
        cart::{Line, Rejection},
        ids::ProductId,
    },
    shop::{
        AmountRefused, Error,
        carts::{CartPage, LineProblem},
    },
};

/// What to add: a list of lines, or a single product.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Addition {
    /// The lines to add.
    items: Option<Vec<Item>>,
    /// A single product, instead of `items`.
    #[schema(min_length = 1, max_length = 64)]
    product_id: Option<String>,
    /// The quantity of the single product; 1 by default.
    #[schema(minimum = 1)]
    quantity: Option<u32>,
    /// The caller's own user id; optional.
    user_id: Option<String>,
}

/// The new quantity.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Quantity {
    #[schema(example = 3, minimum = 1, maximum = 10_000)]
    quantity: u32,
}

/// A cart with current prices.
#[derive(Serialize, ToSchema)]
pub(super) struct CartBody {
    /// Grows with every change; also the first part of the ETag.
    version: u64,
    items: Vec<CartItem>,
    /// The sum of the lines that have no problem.
    subtotal: Option<Money>,
    /// The cost of a checkout of the whole cart: the `total_price` to state. Null if the cart is empty or a line has a
    /// problem.
    total: Option<Money>,
    /// Why the payment provider would not take the total: `amount_too_small` (it can be ordered, and the payment is
    /// declined), `amount_too_large` or `amount_not_supported` (then the total is null). Absent where it would.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount_problem: Option<&'static str>,
    /// The least or the greatest amount that the provider takes, where the total is too small or too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount_limit: Option<Money>,
}

/// A line of a cart.
#[derive(Serialize, ToSchema)]
pub(super) struct CartItem {
    product_id: String,
    title: String,
    thumbnail_url: Option<String>,
    /// What that picture shows.
    thumbnail_alt: Option<String>,
    quantity: u32,
    /// The price of one unit; null if the product cannot be bought any more.
    unit_price: Option<Money>,
    /// Units in stock now.
    available: u64,
    /// Why a checkout of the whole cart would refuse this line: `not_for_sale`, `choose_variant`, `other_currency` or
    /// `too_large`. Absent if it would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'static str>,
}

fn respond(page: CartPage) -> Response {
    let items = page.lines.into_iter().map(|line| CartItem {
        product_id: line.product.to_string(),
        title: line.title,
        thumbnail_url: line.thumbnail_url,
        thumbnail_alt: line.thumbnail_alt,
        quantity: line.quantity,
        unit_price: line.unit_price.map(Money::from),
        available: line.available,
        problem: line.problem.map(LineProblem::as_str),
    });
    let version = page.version;
    let body = CartBody {
        version,
        items: items.collect(),
        subtotal: page.subtotal.map(Money::from),
        total: page.total.map(Money::from),
        amount_problem: page.amount_problem.map(AmountRefused::code),
        amount_limit: page.amount_problem.and_then(AmountRefused::limit).map(Money::from),
    };
    // The first part of the tag is for writers: prices and stock change without the cart.
    etag::json(&format!("c{version}"), &body)
}

/// Reports a cart that is not the one of `If-Match`.
fn unexpected(error: Error, version: Option<u64>) -> Problem {
    match error {
        Error::Cart(Rejection::Changed { current }) if version.is_some() => Problem::version_mismatch(current),
        error => error.into(),
    }
}

/// Shows the caller's cart.
///
/// With the prices of now and what is available. A line that cannot be ordered has a `problem`.
#[utoipa::path(get, path = "/cart", operation_id = "show_cart", tag = "cart", security(("bearer" = [])), responses(
    Read, Token,
    (status = 200, description = "The cart", body = CartBody),
))]
pub(super) async fn show(State(app): State<App>, Caller(who): Caller) -> Result<Response, Problem> {
    Ok(respond(app.shop.cart(&who).await?))
}

/// Adds products to the caller's cart, all of them or none.
///
/// Either `items`, or one `product_id` with its quantity. What is in the cart already is added up; stock is reserved
/// only by a checkout.
#[utoipa::path(post, path = "/cart/add_products", operation_id = "add_to_cart",
    tag = "cart", security(("bearer" = [])), request_body = Addition,
    params(KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 200, description = "The cart", body = CartBody),
    (status = 403, description = "Somebody else's cart", body = ProblemBody),
    (status = 404, description = "No such product", body = ProblemBody),
    (status = 422, description = "A quantity or product that cannot be, or one without a price", body = ProblemBody),
))]
pub(super) async fn add(Caller(who): Caller, Once(shop, body): Once<Addition>) -> Result<Response, Problem> {
    if let Some(owner) = &body.user_id {
        shop.use_cart(&who, owner)?;
    }
    let is_list = body.items.is_some();
    let at = |index: usize, field: &str| if is_list { format!("items/{index}/{field}") } else { field.to_owned() };
    let items = match (body.items, body.product_id) {
        (Some(items), None) if body.quantity.is_none() => items,
        (None, Some(product_id)) => vec![Item { product_id, quantity: body.quantity.unwrap_or(1) }],
        (Some(_), _) => {
            return Err(Problem::invalid("items", "give either items, or one product_id with its quantity"));
        }
        (None, None) => return Err(Problem::invalid("items", "items are needed")),
    };
    let lines = items.iter().enumerate().map(|(index, item)| {
        let product = product_id(&item.product_id, &at(index, "product_id"))?;
        Ok(Line { product, quantity: item.quantity })
    });
    let lines = lines.collect::<Result<Vec<_>, Problem>>()?;
    match shop.add_to_cart(&who, lines, None).await {
        Ok(page) => Ok(respond(page)),
        Err(Error::Cart(Rejection::InvalidQuantity { product })) => {
            let index = items.iter().rposition(|item| item.product_id == product.as_str()).unwrap_or_default();
            let detail = Rejection::InvalidQuantity { product: product.clone() }.to_string();
            Err(Problem::invalid(&at(index, "quantity"), detail).with("product_id", product.as_str()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Sets the quantity of a product in the cart.
///
/// The product may be new in the cart. With `If-Match` and the cart's ETag, a change of an older cart is refused.
#[utoipa::path(put, path = "/cart/items/{product_id}", operation_id = "set_cart_item",
    tag = "cart", security(("bearer" = [])), request_body = Quantity,
    params(("product_id" = String, Path), ("If-Match" = Option<String>, Header)), responses(
    Write, Token, JsonBody, Conditional,
    (status = 200, description = "The cart", body = CartBody),
    (status = 404, description = "No such product", body = ProblemBody),
    (status = 422, description = "A quantity that cannot be", body = ProblemBody),
))]
pub(super) async fn set(
    State(app): State<App>,
    Caller(who): Caller,
    Id(product): Id<ProductId>,
    expected: IfMatch,
    Body(Quantity { quantity }): Body<Quantity>,
) -> Result<Response, Problem> {
    let version = expected.version('c');
    let set = app.shop.set_cart_line_if(&who, Line { product, quantity }, version).await;
    Ok(respond(set.map_err(|error| unexpected(error, version))?))
}

/// Removes a product from the cart.
///
/// Removing what is not there succeeds, too.
#[utoipa::path(delete, path = "/cart/items/{product_id}", operation_id = "remove_cart_item",
    tag = "cart", security(("bearer" = [])),
    params(("product_id" = String, Path), ("If-Match" = Option<String>, Header)), responses(
    Write, Token, Conditional,
    (status = 204, description = "It is not in the cart (any more)"),
    (status = 404, description = "Nothing can have this id", body = ProblemBody),
))]
pub(super) async fn remove(
    State(app): State<App>,
    Caller(who): Caller,
    Id(product): Id<ProductId>,
    expected: IfMatch,
) -> Result<StatusCode, Problem> {
    let version = expected.version('c');
    let removed = app.shop.remove_cart_line_if(&who, &product, version).await;
    removed.map_err(|error| unexpected(error, version))?;
    Ok(StatusCode::NO_CONTENT)
}
