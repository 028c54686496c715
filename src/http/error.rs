//! Problems (RFC 9457): the only place where an error becomes a status code.
//!
//! May depend on `shop` and `domain`.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{coding::Coding, context, rates::Exceeded, responses::PROBLEM_JSON, schema::Fault};
use crate::{
    domain::{
        account, cart, ids::OrderId, inventory, money::Money, order, product, ratings, review, seller,
        unmatched_notices,
    },
    shop::{Error, NotDelivered, PasswordError, SearchError},
};

/// The prefix of problem types, which docs/API.md describes.
pub const TYPE_BASE: &str = "https://souk.example/problems/";
/// The `Retry-After` of an overloaded shop and of a pending payment, in seconds.
pub(super) const RETRY_AFTER_SECONDS: &str = "1";
const INVALID_BODY: &str = "invalid-body";
/// The member with the faults of a body.
const ERRORS: &str = "errors";

/// A problem document (RFC 9457): what the shop's routes answer where a request fails. A handler of another program
/// makes one from an [`Error`] and gives it back as its response.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem without members and headers of its own.
    pub(super) fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let (members, headers) = (Map::new(), Vec::new());
        Self { status, code, title, detail: detail.into(), members, headers }
    }

    /// Adds a member beside the standard ones.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub(super) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// Adds the `Retry-After` of something that may have changed in a moment.
    #[must_use]
    fn retry(self) -> Self {
        self.header(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// Adds `Retry-After`, rounded up to whole seconds.
    fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = u64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1);
        self.headers.push((header::RETRY_AFTER, seconds.into()));
        self
    }

    /// A field of the body breaks a rule; the whole body if the pointer is empty.
    pub(super) fn invalid(pointer: &str, detail: impl Into<String>) -> Self {
        let fault = Fault { pointer: pointer.to_owned(), detail: detail.into() };
        unprocessable(INVALID_BODY, "Invalid body", fault.detail.clone()).with(ERRORS, vec![fault.to_json()])
    }

    /// Fields of the body break rules of its schema.
    pub(super) fn invalid_fields(faults: &[Fault]) -> Self {
        let first = faults.first().map(|fault| format!("{}: {}", fault.json_pointer(), fault.detail));
        let errors: Vec<Value> = faults.iter().map(Fault::to_json).collect();
        unprocessable(INVALID_BODY, "Invalid body", first.unwrap_or_default()).with(ERRORS, errors)
    }

    /// Another part of the request cannot be understood.
    fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, "Invalid request", detail)
    }

    /// The body is not JSON.
    pub(super) fn malformed_json(error: &serde_json::Error) -> Self {
        Self::bad_request("malformed-json", error.to_string())
    }

    /// The connection broke within the body.
    pub(super) fn unreadable_body() -> Self {
        Self::bad_request("unreadable-body", "the body could not be read")
    }

    /// The bytes of the body are not what its content coding says.
    pub(super) fn undecodable_body(coding: Coding) -> Self {
        Self::bad_request("unreadable-body", format!("the body is not {}", coding.name()))
    }

    /// The encoding or the names of the path break a rule.
    pub(super) fn invalid_path(detail: impl Into<String>) -> Self {
        Self::bad_request("invalid-path", detail)
    }

    /// The query has an unknown name or breaks a rule.
    pub(super) fn invalid_query(detail: impl Into<String>) -> Self {
        Self::bad_request("invalid-query", detail)
    }

    /// `If-Match` is not a list of ETags.
    pub(super) fn invalid_etag() -> Self {
        Self::bad_request("invalid-etag", "If-Match must be `*` or ETags in quotes, separated by commas")
    }

    /// The thing has another version than `If-Match` says.
    pub(super) fn version_mismatch(current: u64) -> Self {
        let detail = "it has changed since the ETag in If-Match was read: read it again";
        Self::new(StatusCode::PRECONDITION_FAILED, "version-mismatch", "The version differs", detail)
            .with("current_version", current)
    }

    /// The shop wants `If-Match` on writes, and there is none.
    pub(super) fn precondition_required() -> Self {
        let detail = "send the ETag that you have read in If-Match, so that nobody else's change is overwritten";
        Self::new(StatusCode::PRECONDITION_REQUIRED, "precondition-required", "Precondition required", detail)
    }

    /// `Last-Event-ID` is not an event of the stream.
    pub(super) fn invalid_last_event_id() -> Self {
        let detail = "Last-Event-ID must be the id of an event of this stream";
        Self::bad_request("invalid-last-event-id", detail)
    }

    /// The resource does not have this method.
    pub(super) fn method_not_allowed(method: &Method) -> Self {
        let detail = format!("this resource does not take {method}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
    }

    /// The body did not arrive within its time limit.
    pub(super) fn request_timeout() -> Self {
        let detail = "the body did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", "Request timeout", detail)
    }

    /// The body has more than `bytes_max` bytes.
    pub(super) fn body_too_large(bytes_max: usize) -> Self {
        let detail = format!("a body has at most {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large", detail)
    }

    /// The body has another media type than JSON.
    pub(super) fn unsupported_media_type() -> Self {
        let detail = "the content type must be application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type", detail)
    }

    /// The body has a content coding that the shop does not decode.
    pub(super) fn unsupported_encoding() -> Self {
        let detail = format!("the content coding of the body must be one of {}, or none", Coding::NAMES);
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", "Unsupported content coding", detail)
            .header(header::ACCEPT_ENCODING, Coding::NAMES)
    }

    /// The client takes no answer that this resource gives.
    pub(super) fn not_acceptable(media_type: &str) -> Self {
        let detail = format!("this resource answers {media_type}, which the Accept header excludes");
        Self::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", "Not acceptable", detail)
    }

    /// The payment was declined or given up.
    pub(super) fn payment_declined(order: OrderId, attempt: u32, reason: &str) -> Self {
        unprocessable("payment-declined", "Payment declined", format!("the payment was declined: {reason}"))
            .with("payment_status", "fail")
            .with("order_id", order.to_string())
            .with("attempt", attempt)
            .with("declined_reason", reason)
    }

    /// The thing does not exist, or it belongs to somebody else.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", format!("there is no such {what}"))
    }

    /// A token is required, and the request has none.
    pub(super) fn anonymous() -> Self {
        let detail = "a bearer token is needed: log in with POST /auth/login";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", detail)
            .header(header::WWW_AUTHENTICATE, "Bearer")
    }

    /// The token is not valid.
    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", detail)
            .header(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
    }

    /// The user follows as many orders as one may at once. The first stream ends within `wait`.
    pub(super) fn too_many_streams(streams_max: usize, wait: Duration) -> Self {
        let detail = format!("at most {streams_max} event streams of one user may be open: close one of them");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-streams", "Too many event streams", detail).retry_after(wait)
    }

    /// Too much of what the detail names is under way; nothing was done.
    pub(super) fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Try again", detail).retry()
    }

    pub(super) fn rate_limited(Exceeded { requests_max, window, left }: Exceeded) -> Self {
        let detail = format!("the limit \"{}\" of {requests_max} in {} s is reached", left.name, window.as_secs());
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many requests", detail);
        problem.headers.extend(left.headers());
        problem.with("limit", left.name).retry_after(left.after)
    }

    /// There is no permit for the request.
    pub(super) fn too_many_requests() -> Self {
        Self::overloaded("too many requests are in flight; nothing was done")
    }

    /// The request took too long. If it would have changed something, perhaps it did.
    pub(super) fn timed_out(method: &Method) -> Self {
        if !method.is_safe() {
            return Error::Unknown.into();
        }
        let detail = "the answer was not ready in time; nothing was changed";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timed-out", "Timed out", detail).retry()
    }

    /// A fault of the shop, not of the request.
    pub(super) fn fault() -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, "fault", "Internal error", "the shop has a fault; the trace id finds it in its logs")
    }
}

impl Problem {
    /// Tells every fault of the body: the one for which it was refused, and what else its schema says against it.
    fn tell_faults(&mut self) {
        let Some(Value::Array(errors)) = self.members.get_mut(ERRORS) else { return };
        for fault in context::faults() {
            let pointer = fault.json_pointer();
            if !errors.iter().any(|known| known["pointer"] == pointer) {
                errors.push(fault.to_json());
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        if self.code == INVALID_BODY {
            self.tell_faults();
        }
        let mut body = self.members;
        body.insert("type".into(), format!("{TYPE_BASE}{}", self.code).into());
        body.insert("title".into(), self.title.into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.into());
        body.insert("code".into(), self.code.into());
        // Outside of the shop's router there is neither.
        for (name, value) in [("instance", context::path()), ("trace_id", context::trace_id())] {
            if !value.is_empty() {
                body.insert(name.into(), value.into());
            }
        }
        let mut response = (self.status, Json(Value::Object(body))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

fn conflict(code: &'static str, title: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, title, detail)
}

fn unprocessable(code: &'static str, title: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, title, detail)
}

fn key_reused() -> Problem {
    let detail = "the key was used with another request; take a new key for a new request";
    unprocessable("idempotency-key-reused", "The idempotency key was used before", detail)
}

fn money(amount: &Money) -> Value {
    json!({ "amount": amount.minor, "currency": amount.currency.code() })
}

impl From<Error> for Problem {
    #[expect(clippy::too_many_lines, reason = "a flat match: one arm per error")]
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::NotFound(what) => Self::not_found(what.as_str()),
            Error::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail),
            Error::Token(_) => Self::unauthorized("the token is not valid"),
            Error::WrongCredentials => Self::new(StatusCode::UNAUTHORIZED, "wrong-credentials", "Login failed", detail)
                .header(header::WWW_AUTHENTICATE, "Bearer"),
            Error::RefreshReused => Self::new(StatusCode::UNAUTHORIZED, "refresh-reused", "Log in again", detail)
                .header(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""),
            Error::Email(_) => Self::invalid("email", detail),
            Error::Password(PasswordError::Busy { .. }) => Self::overloaded(detail),
            Error::Password(PasswordError::Length { .. }) => Self::invalid("password", detail),
            Error::Password(PasswordError::DamagedHash | PasswordError::Failed) | Error::Fault(_) => {
                tracing::error!(detail, "a request met a fault");
                Self::fault()
            }
            Error::Product(rejection) => of_product(&rejection, detail),
            Error::Inventory(rejection) => of_inventory(&rejection, detail),
            Error::Cart(rejection) => of_cart(&rejection, detail),
            Error::Order(rejection) => of_order(&rejection, detail),
            Error::Seller(seller::Rejection::InvalidName(_)) => Self::invalid("name", detail),
            Error::Seller(seller::Rejection::Erased) => Self::not_found("seller"),
            Error::UnmatchedNotices(rejection) => match rejection {
                unmatched_notices::Rejection::Full => Problem::overloaded(detail),
                unmatched_notices::Rejection::NotFound => Problem::not_found("notice"),
                unmatched_notices::Rejection::InvalidNote => Problem::invalid("note", detail),
            },
            Error::Notice(_) => Problem::bad_request("invalid-notice", detail),
            Error::Account(rejection) => of_account(&rejection, detail),
            Error::Placement(invalid) => match invalid {
                order::InvalidPlacement::Address { field } => {
                    Self::invalid(&format!("shipping_address/{field}"), detail)
                }
                order::InvalidPlacement::Empty
                | order::InvalidPlacement::TooManyLines
                | order::InvalidPlacement::Money(_)
                | order::InvalidPlacement::TotalMismatch { .. } => Self::invalid("items", detail),
            },
            Error::Review(review::Rejection::InvalidRating) => Self::invalid("rating", detail),
            Error::Review(review::Rejection::InvalidText { field, .. }) => Self::invalid(field.as_str(), detail),
            Error::Ratings(ratings::Rejection::TooMany) => conflict("too-many-reviews", "Too many reviews", detail),
            Error::InvalidCursor(_) | Error::Search(SearchError::InvalidCursor(_)) => {
                Self::bad_request("invalid-cursor", detail)
            }
            Error::InvalidLimit { .. }
            | Error::Search(SearchError::TextTooLong { .. } | SearchError::LimitOutOfRange { .. }) => {
                Self::bad_request("invalid-query", detail)
            }
            Error::Search(SearchError::Fault { .. }) => {
                tracing::error!(detail, "a search met a fault");
                Self::fault()
            }
            Error::NotForSale { product } => {
                unprocessable("not-for-sale", "Not for sale", detail).with("product_id", product.as_str())
            }
            Error::ChooseVariant { product, variants } => {
                let variants: Vec<_> = variants.iter().map(ToString::to_string).collect();
                unprocessable("choose-variant", "Choose a variant", detail)
                    .with("product_id", product.as_str())
                    .with("variants", variants)
            }
            Error::EmptyCart => unprocessable("empty-cart", "The cart is empty", detail),
            Error::NotInCart { product, requested, in_cart } => conflict("not-in-cart", "Not in the cart", detail)
                .with("product_id", product.as_str())
                .with("requested", requested)
                .with("in_cart", in_cart),
            Error::NamedTwice { .. } => Self::invalid("items", detail),
            Error::MixedCurrencies { .. } => unprocessable("mixed-currencies", "An order has one currency", detail),
            Error::TotalMismatch { computed, stated } => conflict("total-mismatch", "The total differs", detail)
                .with("computed_total", money(&computed))
                .with("stated_total", money(&stated)),
            Error::Amount(refused) => {
                let problem = unprocessable("amount-not-payable", "The amount cannot be paid", detail);
                match refused.limit() {
                    Some(limit) => problem.with("amount_limit", money(&limit)),
                    None => problem,
                }
            }
            Error::PaymentMethod(_) => Self::invalid("payment_method", detail),
            Error::InsufficientStock { product, requested, available, order } => {
                let problem = conflict("insufficient-stock", "Not enough in stock", detail)
                    .with("product_id", product.as_str())
                    .with("requested", requested)
                    .with("available", available);
                match order {
                    Some(order) => problem.with("order_id", order.to_string()),
                    None => problem,
                }
            }
            Error::CartChanged => conflict("cart-changed", "The cart has changed", detail),
            Error::CheckoutInProgress(order) => conflict("checkout-in-progress", "Checkout in progress", detail)
                .with("order_id", order.to_string())
                .retry(),
            Error::OrdersUnfinished { orders } => {
                let orders: Vec<_> = orders.iter().map(ToString::to_string).collect();
                conflict("orders-unfinished", "Orders are unfinished", detail).with("order_ids", orders)
            }
            Error::InvalidKey(_) => Self::bad_request("invalid-idempotency-key", detail),
            Error::NotDelivered(NotDelivered::ReadOnly) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "read-only", "Read-only", detail).retry()
            }
            Error::NotDelivered(NotDelivered::Busy | NotDelivered::Closed) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Try again", detail).retry()
            }
            Error::Unknown => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "unknown-outcome", "Outcome unknown", detail).retry()
            }
        }
    }
}

fn of_product(rejection: &product::Rejection, detail: String) -> Problem {
    match rejection {
        product::Rejection::NotFound => Problem::not_found("product"),
        product::Rejection::AlreadyExists | product::Rejection::VariantOfOther { .. } => {
            conflict("already-exists", "The id is taken", detail)
        }
        product::Rejection::NotOwner => Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail),
        product::Rejection::VersionMismatch { current } => Problem::version_mismatch(*current),
        product::Rejection::Invalid(product::InvalidDetails { field: product::Field::Title, rule }) => {
            Problem::invalid("name", format!("name {rule}"))
        }
        product::Rejection::Invalid(invalid) => Problem::invalid(invalid.field.as_str(), detail),
    }
}

fn of_inventory(rejection: &inventory::Rejection, detail: String) -> Problem {
    match rejection {
        inventory::Rejection::BelowReserved { reserved } => {
            conflict("below-reserved", "Units are reserved for orders", detail).with("reserved_quantity", *reserved)
        }
        inventory::Rejection::ReceiptReused => conflict("receipt-reused", "The receipt was used before", detail),
        inventory::Rejection::InvalidQuantity => Problem::invalid("quantity", detail),
        inventory::Rejection::TooManyHolds => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Try again", detail).retry()
        }
        inventory::Rejection::InsufficientStock { .. }
        | inventory::Rejection::DeadlinePassed
        | inventory::Rejection::HoldReleased
        | inventory::Rejection::HoldReused
        | inventory::Rejection::HoldUnknown
        | inventory::Rejection::ReceivedChanged => conflict("stock-conflict", "The stock has changed", detail),
    }
}

fn of_cart(rejection: &cart::Rejection, detail: String) -> Problem {
    match rejection {
        cart::Rejection::Empty | cart::Rejection::TooManyLines => Problem::invalid("items", detail),
        cart::Rejection::InvalidQuantity { product } => {
            Problem::invalid("quantity", detail).with("product_id", product.as_str())
        }
        cart::Rejection::MixedCurrencies { .. } => unprocessable("mixed-currencies", "A cart has one currency", detail),
        cart::Rejection::NotInCart { product } => {
            conflict("not-in-cart", "Not in the cart", detail).with("product_id", product.as_str())
        }
        cart::Rejection::Changed { .. } | cart::Rejection::OrderEnded => {
            conflict("cart-changed", "The cart has changed", detail)
        }
        cart::Rejection::TooManyOpenOrders => conflict("too-many-open-orders", "Too many open orders", detail),
        cart::Rejection::TooManyUnpaidUnits { product, requested, unpaid, units_max } => {
            conflict("too-many-unpaid-units", "Too many unpaid units", detail)
                .with("product_id", product.as_str())
                .with("requested", *requested)
                .with("unpaid", *unpaid)
                .with("units_max", *units_max)
        }
        cart::Rejection::OrdersOpen => conflict("orders-unfinished", "Orders are unfinished", detail),
        cart::Rejection::Erased => Problem::unauthorized("the account is erased"),
        cart::Rejection::KeyReused => key_reused(),
    }
}

fn of_order(rejection: &order::Rejection, detail: String) -> Problem {
    match rejection {
        order::Rejection::NotFound => Problem::not_found("order"),
        order::Rejection::KeyReused => key_reused(),
        order::Rejection::WrongStatus { status } => {
            conflict("wrong-order-status", "Not in this status of the order", detail)
                .with("order_status", status.as_str())
        }
        order::Rejection::PaymentInProgress { attempt } => {
            conflict("payment-in-progress", "A payment is pending", detail).with("attempt", *attempt).retry()
        }
        order::Rejection::AlreadyShipped => conflict("already-shipped", "Already shipped", detail),
        order::Rejection::AlreadyPaid => conflict("already-paid", "Already paid", detail),
        order::Rejection::DeadlinePassed => conflict("hold-expired", "The payment deadline has passed", detail),
        order::Rejection::TooManyAttempts => conflict("too-many-attempts", "Too many attempts", detail),
        order::Rejection::AmountMismatch { .. } => {
            tracing::error!(detail, "the provider reports another amount");
            Problem::fault()
        }
        order::Rejection::NothingToRefund => conflict("nothing-to-refund", "Nothing left to refund", detail),
        order::Rejection::MoreThanLeft { left } => {
            conflict("more-than-left", "More than is left", detail).with("left", *left)
        }
        order::Rejection::RefundedElsewhere => conflict("refunded-elsewhere", "Refunded at the provider", detail),
        order::Rejection::DisputeLost => conflict("dispute-lost", "The dispute is lost", detail),
        order::Rejection::CancelInstead => conflict("cancel-instead", "Cancel the order instead", detail),
        order::Rejection::RefundInProgress => conflict("refund-in-progress", "A refund is under way", detail).retry(),
        order::Rejection::TooManyRefunds => conflict("too-many-refunds", "Too many refunds", detail),
        order::Rejection::NoSuchReturn => Problem::not_found("return"),
        order::Rejection::NothingToResolve => conflict("nothing-to-resolve", "Nothing to resolve", detail),
        order::Rejection::ReturnDecided => conflict("return-decided", "The return is decided", detail),
        order::Rejection::InvalidText { field, .. } => Problem::invalid(field.as_str(), detail),
    }
}

fn of_account(rejection: &account::Rejection, detail: String) -> Problem {
    match rejection {
        account::Rejection::AlreadyRegistered => conflict("already-registered", "The address is taken", detail),
        account::Rejection::InvalidName(_) => Problem::invalid("name", detail),
        account::Rejection::NotACustomer => Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail),
        account::Rejection::EpochEnded => Problem::unauthorized("the account has changed; log in again"),
        account::Rejection::NotRegistered
        | account::Rejection::UnknownFamily { .. }
        | account::Rejection::FamilyExpired { .. } => Problem::unauthorized("the session has ended; log in again"),
        account::Rejection::PasswordHashTooLong { .. } | account::Rejection::EpochsExhausted => {
            tracing::error!(detail, "an account met a fault");
            Problem::fault()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_method_that_changes_something_may_have_done_it_when_its_time_is_up() {
        for (method, code) in
            [(Method::GET, "timed-out"), (Method::HEAD, "timed-out"), (Method::POST, "unknown-outcome")]
        {
            let problem = Problem::timed_out(&method);
            assert_eq!((problem.status, problem.code), (StatusCode::GATEWAY_TIMEOUT, code), "{method}");
            assert_eq!(problem.detail.contains("Idempotency-Key"), code == "unknown-outcome", "{method}");
        }
    }

    #[test]
    fn what_is_full_is_named() {
        let full = Problem::from(Error::UnmatchedNotices(unmatched_notices::Rejection::Full));
        assert_eq!((full.status.as_u16(), full.code), (503, "overloaded"));
        assert!(full.detail.contains("notices"), "{}", full.detail);
    }
}
