//! Orders: checkout, payment, status and fulfilment.
//!
//! May depend on `shop` and `domain`.

mod shapes;

use axum::{
    extract::{OriginalUri, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;

use self::shapes::{AttemptBody, Payment, PaymentBody, Shipment};
pub(super) use self::shapes::{Checkout, HistoryBody, OrderBody};
use super::{
    App,
    admission::Permit,
    bodies::{Day, ProblemBody, moment},
    context::public_path,
    error::{Problem, RETRY_AFTER_SECONDS},
    extract::{Body, Caller, Id, Query},
    json::Json,
    once::{Act, Key, KeyHeader, Once},
    paging::{Page, PageQuery},
    responses::{JsonBody, REPLAYED, Read, Token, Write},
};
use crate::{
    domain::{
        account::Role,
        ids::OrderId,
        order::{PaymentState, Tracking},
        order_number::InvalidOrderNumber,
    },
    shop::{
        Changed, Stage,
        order_lists::{Filter, Whose},
        orders::{Advance, OrderPage},
        payments::PaymentResult,
    },
};

/// Marks a response that repeats that of an earlier request.
pub(super) fn mark(mut response: Response, changed: Changed) -> Response {
    if changed != Changed::Yes {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Says where the order is.
pub(super) fn located(mut response: Response, id: OrderId) -> Response {
    if let Ok(location) = HeaderValue::from_str(&public_path(&format!("/orders/{id}"))) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

pub(super) fn order(page: &OrderPage) -> Result<Json<OrderBody>, Problem> {
    Ok(Json(OrderBody::of(page).ok_or_else(|| Problem::not_found("order"))?))
}

/// Places an order and reserves its stock. The order then awaits its payment.
///
/// The order takes its lines out of the cart and holds their stock until its payment deadline. `total_price` must be
/// the `total` of the cart for these lines. Without a key, the same checkout of the same cart finds the same order.
#[utoipa::path(post, path = "/checkout", tag = "orders", security(("bearer" = [])), request_body = Checkout,
    params(KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 201, description = "The order, awaiting its payment", body = OrderBody),
    (status = 404, description = "No such product", body = ProblemBody),
    (status = 409, description = "Not enough stock, another total, a changed cart", body = ProblemBody),
    (status = 422, description = "Something that cannot be ordered, or a key used for another request", body = ProblemBody),
))]
pub(super) async fn checkout(
    State(app): State<App>,
    Caller(who): Caller,
    Key(key): Key,
    Body(body): Body<Checkout>,
) -> Result<Response, Problem> {
    let request = body.request()?;
    let done = app.shop.checkout(&who, &request, key.as_deref()).await?;
    let response = (StatusCode::CREATED, order(&done.outcome)?).into_response();
    Ok(mark(located(response, done.outcome.id), done.changed))
}

/// Pays an order.
///
/// While the outcome is unknown the answer is 202: repeat the request, which never charges twice, or look at the order.
/// If the customer has to act first, `payment.action_url` says where.
#[utoipa::path(post, path = "/payment", tag = "orders", security(("bearer" = [])), request_body = Payment,
    params(KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 200, description = "Success: the money is captured, or held where it is captured later", body = PaymentBody),
    (status = 202, description = "Pending: look at the order, or repeat the request", body = PaymentBody),
    (status = 404, description = "No such order of yours", body = ProblemBody),
    (status = 409, description = "Already paid, another payment pending, too late", body = ProblemBody),
    (status = 422, description = "Fail: declined or given up, nothing was charged", body = ProblemBody),
))]
pub(super) async fn pay(
    State(app): State<App>,
    Caller(who): Caller,
    Key(key): Key,
    permit: Permit,
    Body(body): Body<Payment>,
) -> Result<Response, Problem> {
    let id: OrderId = body.order_id.parse().map_err(|_| Problem::not_found("order"))?;
    let paying = app.shop.begin_payment(&who, id, &body.payment_method, key.as_deref()).await?;
    // From here on the request only waits for the provider, which occupies nothing of the shop.
    drop(permit);
    let done = paying.outcome().await?;
    let page = done.outcome;
    let response = match (page.result, &page.attempt.state) {
        (PaymentResult::Fail, state) => {
            let reason = match state {
                Some(PaymentState::Declined { reason }) => reason.as_str(),
                _ => "given_up",
            };
            Problem::payment_declined(id, page.attempt.number, reason).into_response()
        }
        (PaymentResult::Pending, _) => {
            let body = Json(PaymentBody::of(&page));
            (StatusCode::ACCEPTED, [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)], body).into_response()
        }
        (PaymentResult::Success, _) => Json(PaymentBody::of(&page)).into_response(),
    };
    Ok(mark(located(response, id), done.changed))
}

/// Shows an order's status (an alias of `GET /orders/{order_id}`).
///
/// For its customer, its sellers and admins.
#[utoipa::path(get, path = "/order_status={order_id}", operation_id = "show_order_status",
    tag = "orders", security(("bearer" = [])),
    params(("order_id" = String, Path)), responses(
    Read, Token,
    (status = 200, description = "The order", body = OrderBody),
    (status = 404, description = "No such order of yours", body = ProblemBody),
))]
pub(super) async fn status_by_path(
    app: State<App>,
    caller: Caller,
    id: Id<OrderId>,
) -> Result<Json<OrderBody>, Problem> {
    show(app, caller, id).await
}

/// Shows an order with its lines, payments and history.
///
/// For its customer, its sellers and admins. Another's order is not found.
#[utoipa::path(get, path = "/orders/{order_id}", operation_id = "show_order",
    tag = "orders", security(("bearer" = [])),
    params(("order_id" = String, Path)), responses(
    Read, Token,
    (status = 200, description = "The order", body = OrderBody),
    (status = 404, description = "No such order of yours", body = ProblemBody),
))]
pub(super) async fn show(
    State(app): State<App>,
    Caller(who): Caller,
    Id(id): Id<OrderId>,
) -> Result<Json<OrderBody>, Problem> {
    order(&app.shop.order(&who, id).await?)
}

/// The orders to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OrdersQuery {
    /// `seller`: orders with lines of the caller's products, instead of the caller's own orders.
    #[param(inline)]
    r#as: Option<Viewer>,
    /// Only orders in this stage. For admins, without `as`: everybody's.
    #[param(value_type = Option<StageName>, inline)]
    stage: Option<Stage>,
    /// Only orders placed then or later: a time in RFC 3339, or a day (UTC).
    #[param(example = "2026-11-01")]
    from: Option<String>,
    /// Only orders placed before then; of a day, up to its end.
    #[param(example = "2026-11-30T12:00:00Z")]
    to: Option<String>,
    /// Only orders that have changed then or later: a time in RFC 3339, or a day (UTC).
    updated_since: Option<String>,
    /// Only the caller's own order with this `number`; no other parameter goes with it.
    number: Option<String>,
    /// The size of the page: 1 to 100, 20 by default. With a filter a page may have fewer items and still a next one.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// The `next_cursor` of the previous page.
    after: Option<String>,
}

/// The stages of an order.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "it describes what Stage reads")]
enum StageName {
    Open,
    Authorised,
    Paid,
    Confirmed,
    Packed,
    Shipped,
    Delivered,
    Ended,
}

/// The role in which the caller lists orders.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Viewer {
    /// As the customer.
    Customer,
    /// As a seller of a line.
    Seller,
}

impl OrdersQuery {
    fn filter(&self) -> Result<Filter, Problem> {
        let read = |name: &str, text: &Option<String>, day: Day| {
            let at = text.as_ref().map(|text| moment(text, day).ok_or(name)).transpose();
            at.map_err(|name| Problem::invalid_query(format!("{name} must be a time in RFC 3339, or a day (UTC)")))
        };
        Ok(Filter {
            stage: self.stage,
            from: read("from", &self.from, Day::Begins)?,
            before: read("to", &self.to, Day::Ends)?,
            updated_since: read("updated_since", &self.updated_since, Day::Begins)?,
        })
    }
}

/// Lists orders, newest first.
///
/// The caller's own; with `as=seller` those with the seller's products; for admins with a `stage` everybody's. With a
/// filter a page may have fewer items than `limit`, and still a next one.
#[utoipa::path(get, path = "/orders", operation_id = "list_orders",
    tag = "orders", security(("bearer" = [])), params(OrdersQuery), responses(
    Read, Token,
    (status = 200, description = "A page of orders", body = Page<OrderBody>),
    (status = 403, description = "Not for this role", body = ProblemBody),
))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(who): Caller,
    Query(query): Query<OrdersQuery>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    let filter = query.filter()?;
    let page = PageQuery { limit: query.limit, after: query.after };
    if let Some(number) = query.number {
        let is_alone = query.r#as.is_none() && filter == Filter::default();
        if !is_alone || page.limit.is_some() || page.after.is_some() {
            return Err(Problem::invalid_query("number goes with no other parameter"));
        }
        let number = number.parse().map_err(|error: InvalidOrderNumber| Problem::invalid_query(error.to_string()))?;
        let orders = app.shop.orders_by_number(&who, number).await?;
        let items: Vec<_> = orders.iter().filter_map(OrderBody::of).collect();
        return Ok(Page::new(items, None).respond(&uri));
    }
    let (after, limit) = (page.after()?, page.limit()?);
    let whose = match (query.r#as, filter.stage, who.role) {
        (Some(Viewer::Seller), ..) => Whose::Sold,
        (None, Some(stage), Role::Admin) => Whose::Everybodys(stage),
        (None | Some(Viewer::Customer), ..) => Whose::Own,
    };
    let found = app.shop.orders_where(&who, whose, filter, after, limit).await?;
    let items: Vec<_> = found.orders.iter().filter_map(OrderBody::of).collect();
    Ok(Page::new(items, found.next.as_ref()).respond(&uri))
}

/// Lists the attempts to pay an order, oldest first.
///
/// There are at most five. The last one decides.
#[utoipa::path(get, path = "/orders/{order_id}/payments", operation_id = "list_payments",
    tag = "orders", security(("bearer" = [])),
    params(("order_id" = String, Path)), responses(
    Read, Token,
    (status = 200, description = "The attempts", body = Vec<AttemptBody>),
    (status = 404, description = "No such order of yours", body = ProblemBody),
))]
pub(super) async fn payments(
    State(app): State<App>,
    Caller(who): Caller,
    Id(id): Id<OrderId>,
) -> Result<Json<Vec<AttemptBody>>, Problem> {
    let page = app.shop.order(&who, id).await?;
    Ok(Json(page.order.attempts().iter().map(AttemptBody::from).collect()))
}

/// Cancels an order that is not shipped yet: held money is released, captured money is refunded.
///
/// For its customer and admins. Cancelling twice is cancelling once.
#[utoipa::path(post, path = "/orders/{order_id}/cancel", operation_id = "cancel_order",
    tag = "orders", security(("bearer" = [])),
    params(("order_id" = String, Path), KeyHeader), responses(
    Write, Token,
    (status = 200, description = "The order, cancelled", body = OrderBody),
    (status = 403, description = "Neither its customer nor an admin", body = ProblemBody),
    (status = 404, description = "No such order of yours", body = ProblemBody),
    (status = 409, description = "On its way, or a refund is under way", body = ProblemBody),
))]
pub(super) async fn cancel(
    Caller(who): Caller,
    Id(id): Id<OrderId>,
    Act(shop): Act,
) -> Result<Json<OrderBody>, Problem> {
    order(&shop.cancel_order(&who, id).await?)
}

/// Marks an order as packed.
///
/// For the seller of all its lines and admins. Packing twice is packing once.
#[utoipa::path(post, path = "/orders/{order_id}/pack", operation_id = "pack_order",
    tag = "selling", security(("bearer" = [])),
    params(("order_id" = String, Path), KeyHeader), responses(
    Write, Token,
    (status = 200, description = "The order", body = OrderBody),
    (status = 403, description = "Not the seller of all its lines", body = ProblemBody),
    (status = 404, description = "No such order of yours", body = ProblemBody),
    (status = 409, description = "It is not confirmed", body = ProblemBody),
))]
pub(super) async fn pack(Caller(who): Caller, Id(id): Id<OrderId>, Act(shop): Act) -> Result<Json<OrderBody>, Problem> {
    order(&shop.advance_order(&who, id, Advance::Pack).await?)
}

/// Marks an order as shipped.
///
/// For the seller of all its lines and admins. The customer sees carrier and tracking number.
#[utoipa::path(post, path = "/orders/{order_id}/ship", operation_id = "ship_order",
    tag = "selling", security(("bearer" = [])),
    request_body = Shipment, params(("order_id" = String, Path), KeyHeader), responses(
    Write, Token, JsonBody,
    (status = 200, description = "The order", body = OrderBody),
    (status = 403, description = "Not the seller of all its lines", body = ProblemBody),
    (status = 404, description = "No such order of yours", body = ProblemBody),
    (status = 409, description = "It is not confirmed or packed", body = ProblemBody),
))]
pub(super) async fn ship(
    Caller(who): Caller,
    Id(id): Id<OrderId>,
    Once(shop, Shipment { carrier, tracking_number }): Once<Shipment>,
) -> Result<Json<OrderBody>, Problem> {
    let tracking = Tracking { carrier, number: tracking_number };
    order(&shop.advance_order(&who, id, Advance::Ship(tracking)).await?)
}

/// Marks an order as delivered.
///
/// For the seller of all its lines and admins. The order has come to its end; goods may still be returned.
#[utoipa::path(post, path = "/orders/{order_id}/deliver", operation_id = "deliver_order",
    tag = "selling", security(("bearer" = [])),
    params(("order_id" = String, Path), KeyHeader), responses(
    Write, Token,
    (status = 200, description = "The order", body = OrderBody),
    (status = 403, description = "Not the seller of all its lines", body = ProblemBody),
    (status = 404, description = "No such order of yours", body = ProblemBody),
    (status = 409, description = "It is not shipped", body = ProblemBody),
))]
pub(super) async fn deliver(
    Caller(who): Caller,
    Id(id): Id<OrderId>,
    Act(shop): Act,
) -> Result<Json<OrderBody>, Problem> {
    order(&shop.advance_order(&who, id, Advance::Deliver).await?)
}
