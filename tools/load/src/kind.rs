//! The kinds of requests, by which latencies and answers are counted.
//!
//! Depends on `answer`.

use serde::Serialize;

use crate::answer::Status;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `GET /products?q=…`.
    Search,
    /// `GET /products/{id}`.
    Page,
    /// `POST /cart/add_products`.
    AddToCart,
    /// `POST /checkout`.
    Checkout,
    /// `POST /payment`.
    Payment,
    /// `GET /order_status={id}`.
    Track,
    /// `POST /orders/{id}/pack`.
    Pack,
    /// `POST /orders/{id}/ship`.
    Ship,
    /// `POST /orders/{id}/deliver`.
    Deliver,
    /// `GET /orders` as the operator.
    SellerOrders,
    /// `GET /products/{id}/inventory`.
    Stock,
    /// `PUT /products/{id}` with another price.
    Reprice,
    /// `PUT /products/{id}` with the next edition.
    Replace,
    /// `POST /auth/refresh`.
    Renewal,
    /// A whole journey, from the moment it was due to the answer of its last request.
    Journey,
    /// A request that prepares or checks a run; not reported.
    Setup,
}

impl Kind {
    /// The kinds that are reported, in the order of their numbers.
    pub(crate) const REPORTED: [Self; 15] = [
        Self::Search,
        Self::Page,
        Self::AddToCart,
        Self::Checkout,
        Self::Payment,
        Self::Track,
        Self::Pack,
        Self::Ship,
        Self::Deliver,
        Self::SellerOrders,
        Self::Stock,
        Self::Reprice,
        Self::Replace,
        Self::Renewal,
        Self::Journey,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Page => "page",
            Self::AddToCart => "add to cart",
            Self::Checkout => "checkout",
            Self::Payment => "payment",
            Self::Track => "track",
            Self::Pack => "pack",
            Self::Ship => "ship",
            Self::Deliver => "deliver",
            Self::SellerOrders => "orders",
            Self::Stock => "stock",
            Self::Reprice => "price",
            Self::Replace => "replace",
            Self::Renewal => "renew token",
            Self::Journey => "journey",
            Self::Setup => "setup",
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// 2xx and 3xx.
    Done,
    /// 4xx: understood and refused. "Sold out" is an answer.
    Refused,
    /// 5xx.
    Failed,
    /// No answer in time, or no connection.
    Unanswered,
}

impl Class {
    pub(crate) fn of(status: Status) -> Self {
        match status {
            Ok(200..=399) => Self::Done,
            Ok(400..=499) => Self::Refused,
            Ok(_) => Self::Failed,
            Err(_) => Self::Unanswered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reported_kinds_are_in_the_order_of_their_numbers() {
        for (place, kind) in Kind::REPORTED.iter().enumerate() {
            assert_eq!(*kind as usize, place, "{}", kind.name());
        }
        assert_eq!(Kind::Setup as usize, Kind::REPORTED.len());
    }
}
