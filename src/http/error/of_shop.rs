//! The problem of each error of the shop.
//!
//! Depends on its parent, on `shop` and on `domain`.

use axum::http::header;
use serde_json::{Value, json};

use super::{Fault, Problem, kinds};
use crate::{
    domain::{account, cart, inventory, money::Money, order, product, ratings, review, seller, unmatched_notices},
    shop::{Error, NotDelivered, PasswordError, SearchError},
};

fn key_reused() -> Problem {
    let detail = "the key was used with another request; take a new key for a new request";
    Problem::new(&kinds::IDEMPOTENCY_KEY_REUSED, detail)
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
            Error::Forbidden(_) => Problem::new(&kinds::FORBIDDEN, detail),
            Error::OwnProduct => Problem::new(&kinds::OWN_PRODUCT, detail),
            Error::SellerNotApproved { .. } => Problem::new(&kinds::SELLER_NOT_APPROVED, detail),
            Error::Token(_) => Self::unauthorized("the token is not valid"),
            Error::WrongCredentials => {
                Problem::new(&kinds::WRONG_CREDENTIALS, detail).header(header::WWW_AUTHENTICATE, "Bearer")
            }
            Error::RefreshReused => Problem::new(&kinds::REFRESH_REUSED, detail)
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
            Error::Notice(_) => Problem::new(&kinds::INVALID_NOTICE, detail),
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
            Error::Ratings(ratings::Rejection::TooMany) => Problem::new(&kinds::TOO_MANY_REVIEWS, detail),
            Error::InvalidCursor(_) | Error::Search(SearchError::InvalidCursor(_)) => {
                Problem::new(&kinds::INVALID_CURSOR, detail)
            }
            Error::InvalidLimit { .. }
            | Error::Search(SearchError::TextTooLong { .. } | SearchError::LimitOutOfRange { .. }) => {
                Problem::new(&kinds::INVALID_QUERY, detail)
            }
            Error::Search(SearchError::Fault { .. }) => {
                tracing::error!(detail, "a search met a fault");
                Self::fault()
            }
            Error::NotForSale { product } => {
                Problem::new(&kinds::NOT_FOR_SALE, detail).with("product_id", product.as_str())
            }
            Error::ChooseVariant { product, variants } => {
                let variants: Vec<_> = variants.iter().map(ToString::to_string).collect();
                Problem::new(&kinds::CHOOSE_VARIANT, detail)
                    .with("product_id", product.as_str())
                    .with("variants", variants)
            }
            Error::EmptyCart => Problem::new(&kinds::EMPTY_CART, detail),
            Error::NotInCart { product, requested, in_cart } => Problem::new(&kinds::NOT_IN_CART, detail)
                .with("product_id", product.as_str())
                .with("requested", requested)
                .with("in_cart", in_cart),
            Error::NamedTwice { .. } => Self::invalid("items", detail),
            Error::MixedCurrencies { .. } => Problem::new(&kinds::MIXED_CURRENCIES, detail),
            Error::TotalMismatch { computed, stated } => Problem::new(&kinds::TOTAL_MISMATCH, detail)
                .with("computed_total", money(&computed))
                .with("stated_total", money(&stated)),
            Error::Amount(refused) => {
                let problem = Problem::new(&kinds::AMOUNT_NOT_PAYABLE, detail);
                match refused.limit() {
                    Some(limit) => problem.with("amount_limit", money(&limit)),
                    None => problem,
                }
            }
            Error::PaymentMethod(_) => Self::invalid("payment_method", detail),
            Error::InsufficientStock { product, requested, available, order } => {
                let problem = Problem::new(&kinds::INSUFFICIENT_STOCK, detail)
                    .with("product_id", product.as_str())
                    .with("requested", requested)
                    .with("available", available);
                match order {
                    Some(order) => problem.with("order_id", order.to_string()),
                    None => problem,
                }
            }
            Error::CartChanged => Problem::new(&kinds::CART_CHANGED, detail),
            Error::CheckoutInProgress(order) => {
                Problem::new(&kinds::CHECKOUT_IN_PROGRESS, detail).with("order_id", order.to_string()).retry()
            }
            Error::OrdersUnfinished { orders } => {
                let orders: Vec<_> = orders.iter().map(ToString::to_string).collect();
                Problem::new(&kinds::ORDERS_UNFINISHED, detail).with("order_ids", orders)
            }
            Error::KeyReused => key_reused(),
            Error::KeyInUse => Problem::new(&kinds::IDEMPOTENCY_KEY_IN_USE, detail).retry(),
            Error::InvalidKey(_) => Problem::new(&kinds::INVALID_IDEMPOTENCY_KEY, detail),
            Error::NotDelivered(NotDelivered::ReadOnly) => Problem::new(&kinds::READ_ONLY, detail).retry(),
            Error::NotDelivered(NotDelivered::Busy | NotDelivered::Closed) => {
                Problem::new(&kinds::BUSY, detail).retry()
            }
            Error::Unknown => Problem::new(&kinds::UNKNOWN_OUTCOME, detail).retry(),
        }
    }
}

fn of_product(rejection: &product::Rejection, detail: String) -> Problem {
    match rejection {
        product::Rejection::NotFound => Problem::not_found("product"),
        product::Rejection::AlreadyExists | product::Rejection::VariantOfOther { .. } => {
            Problem::new(&kinds::ALREADY_EXISTS, detail)
        }
        product::Rejection::NotOwner => Problem::new(&kinds::FORBIDDEN, detail),
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
            Problem::new(&kinds::BELOW_RESERVED, detail).with("reserved_quantity", *reserved)
        }
        inventory::Rejection::ReceiptReused => Problem::new(&kinds::RECEIPT_REUSED, detail),
        inventory::Rejection::InvalidQuantity => Problem::invalid("quantity", detail),
        inventory::Rejection::TooManyHolds => Problem::new(&kinds::BUSY, detail).retry(),
        inventory::Rejection::InsufficientStock { .. }
        | inventory::Rejection::DeadlinePassed
        | inventory::Rejection::HoldReleased
        | inventory::Rejection::HoldReused
        | inventory::Rejection::HoldUnknown
        | inventory::Rejection::ReceivedChanged => Problem::new(&kinds::STOCK_CONFLICT, detail),
    }
}

fn of_cart(rejection: &cart::Rejection, detail: String) -> Problem {
    match rejection {
        cart::Rejection::Empty | cart::Rejection::TooManyLines => Problem::invalid("items", detail),
        cart::Rejection::InvalidQuantity { product } => {
            Problem::invalid("quantity", detail).with("product_id", product.as_str())
        }
        cart::Rejection::MixedCurrencies { .. } => Problem::new(&kinds::MIXED_CURRENCIES, detail),
        cart::Rejection::NotInCart { product } => {
            Problem::new(&kinds::NOT_IN_CART, detail).with("product_id", product.as_str())
        }
        cart::Rejection::Changed { .. } | cart::Rejection::OrderEnded => Problem::new(&kinds::CART_CHANGED, detail),
        cart::Rejection::TooManyOpenOrders => Problem::new(&kinds::TOO_MANY_OPEN_ORDERS, detail),
        cart::Rejection::TooManyUnpaidUnits { product, requested, unpaid, units_max } => {
            Problem::new(&kinds::TOO_MANY_UNPAID_UNITS, detail)
                .with("product_id", product.as_str())
                .with("requested", *requested)
                .with("unpaid", *unpaid)
                .with("units_max", *units_max)
        }
        cart::Rejection::OrdersOpen => Problem::new(&kinds::ORDERS_UNFINISHED, detail),
        cart::Rejection::Erased => Problem::unauthorized("the account is erased"),
    }
}

fn of_order(rejection: &order::Rejection, detail: String) -> Problem {
    match rejection {
        order::Rejection::NotFound => Problem::not_found("order"),
        order::Rejection::KeyReused => key_reused(),
        order::Rejection::WrongStatus { status } => {
            Problem::new(&kinds::WRONG_ORDER_STATUS, detail).with("order_status", status.as_str())
        }
        order::Rejection::PaymentInProgress { attempt } => {
            Problem::new(&kinds::PAYMENT_IN_PROGRESS, detail).with("attempt", *attempt).retry()
        }
        order::Rejection::AlreadyShipped => Problem::new(&kinds::ALREADY_SHIPPED, detail),
        order::Rejection::AlreadyPaid => Problem::new(&kinds::ALREADY_PAID, detail),
        order::Rejection::DeadlinePassed => Problem::new(&kinds::HOLD_EXPIRED, detail),
        order::Rejection::TooManyAttempts => Problem::new(&kinds::TOO_MANY_ATTEMPTS, detail),
        order::Rejection::AmountMismatch { .. } => {
            tracing::error!(detail, "the provider reports another amount");
            Problem::fault()
        }
        order::Rejection::NothingToRefund => Problem::new(&kinds::NOTHING_TO_REFUND, detail),
        order::Rejection::MoreThanLeft { left } => Problem::new(&kinds::MORE_THAN_LEFT, detail).with("left", *left),
        order::Rejection::RefundedElsewhere => Problem::new(&kinds::REFUNDED_ELSEWHERE, detail),
        order::Rejection::DisputeLost => Problem::new(&kinds::DISPUTE_LOST, detail),
        order::Rejection::CancelInstead => Problem::new(&kinds::CANCEL_INSTEAD, detail),
        order::Rejection::RefundInProgress => Problem::new(&kinds::REFUND_IN_PROGRESS, detail).retry(),
        order::Rejection::TooManyRefunds => Problem::new(&kinds::TOO_MANY_REFUNDS, detail),
        order::Rejection::NoSuchReturn => Problem::not_found("return"),
        order::Rejection::NothingToResolve => Problem::new(&kinds::NOTHING_TO_RESOLVE, detail),
        order::Rejection::ReturnDecided => Problem::new(&kinds::RETURN_DECIDED, detail),
        order::Rejection::InvalidText { field, .. } => Problem::invalid(field.as_str(), detail),
    }
}

fn of_account(rejection: &account::Rejection, detail: String) -> Problem {
    match rejection {
        account::Rejection::AlreadyRegistered => Problem::new(&kinds::ALREADY_REGISTERED, detail),
        account::Rejection::InvalidName(_) => Problem::invalid("name", detail),
        account::Rejection::InvalidContact(_) => Problem::invalid("contact", detail),
        account::Rejection::InvalidNote => Problem::invalid("note", detail),
        account::Rejection::NothingToDecide => Problem::new(&kinds::NOTHING_TO_DECIDE, detail),
        account::Rejection::VersionMismatch { current } => Problem::version_mismatch(*current),
        account::Rejection::NotACustomer => Problem::new(&kinds::NOT_ERASABLE, detail),
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
