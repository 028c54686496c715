//! The problem of each error of the shop.
//!
//! Depends on its parent, on `shop` and on `domain`.

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use super::{Fault, Problem, unprocessable};
use crate::{
    domain::{account, cart, inventory, money::Money, order, product, ratings, review, seller, unmatched_notices},
    shop::{Error, NotDelivered, PasswordError, SearchError},
};

fn conflict(code: &'static str, title: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, title, detail)
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
            Error::OwnProduct => Self::new(StatusCode::FORBIDDEN, "own-product", "Your own product", detail),
            Error::SellerNotApproved { .. } => {
                Self::new(StatusCode::FORBIDDEN, "seller-not-approved", "Not approved", detail)
            }
            Error::Token(_) => Self::unauthorized("the token is not valid"),
            Error::WrongCredentials => Self::new(StatusCode::UNAUTHORIZED, "wrong-credentials", "Login failed", detail)
                .header(header::WWW_AUTHENTICATE, "Bearer"),
            Error::RefreshReused => Self::new(StatusCode::UNAUTHORIZED, "refresh-reused", "Log in again", detail)
                .header(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""),
            Error::Email(_) => Self::invalid("email", detail),
            Error::Password(PasswordError::Busy { .. }) => Self::overloaded(detail),
            Error::Password(PasswordError::Length { .. } | PasswordError::ControlCharacter) => {
                Self::invalid("password", detail)
            }
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
                order::InvalidPlacement::Address(fields) => {
                    let fault = |order::InvalidField { field, rule }| Fault {
                        pointer: format!("shipping_address/{field}"),
                        detail: rule.to_string(),
                    };
                    Self::invalid_fields(&fields.into_iter().map(fault).collect::<Vec<_>>())
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
            Error::KeyReused => key_reused(),
            Error::KeyInUse => conflict("idempotency-key-in-use", "The idempotency key is in use", detail).retry(),
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
        account::Rejection::InvalidContact(_) => Problem::invalid("contact", detail),
        account::Rejection::InvalidNote => Problem::invalid("note", detail),
        account::Rejection::NothingToDecide => conflict("nothing-to-decide", "Nothing to decide", detail),
        account::Rejection::VersionMismatch { current } => Problem::version_mismatch(*current),
        account::Rejection::NotACustomer => Problem::new(StatusCode::FORBIDDEN, "not-erasable", "Not erasable", detail),
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
