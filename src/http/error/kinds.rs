//! The types of problems: one table, from which the answers, the OpenAPI document and the pages at `/problems/` have
//! their codes, and with which a test compares docs/API.md.
//!
//! Depends on its neighbours.

use axum::http::StatusCode;

/// A type of problems.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct Kind {
    /// Identifies the type; clients compare it.
    pub(in crate::http) code: &'static str,
    pub(in crate::http) status: StatusCode,
    /// A short summary, the same for every problem of the type.
    pub(in crate::http) title: &'static str,
    /// What has happened, and what a client does about it.
    pub(in crate::http) meaning: &'static str,
    /// The members beside those that every problem has.
    pub(in crate::http) members: &'static [Member],
}

/// A member of the problems of a type.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct Member {
    pub(in crate::http) name: &'static str,
    pub(in crate::http) shape: Shape,
    pub(in crate::http) presence: Presence,
    pub(in crate::http) description: &'static str,
}

/// What a member is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Shape {
    Text,
    /// An id of 32 hexadecimal digits.
    Id,
    Texts,
    Number,
    Money,
    OrderStatus,
    /// The faults of a body.
    Faults,
}

/// Whether each problem of the type has a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Presence {
    Always,
    Sometimes,
}

const fn always(name: &'static str, shape: Shape, description: &'static str) -> Member {
    Member { name, shape, presence: Presence::Always, description }
}

const fn sometimes(name: &'static str, shape: Shape, description: &'static str) -> Member {
    Member { name, shape, presence: Presence::Sometimes, description }
}

const PRODUCT: Member = always("product_id", Shape::Text, "The product");
const REQUESTED: Member = always("requested", Shape::Number, "The units asked for");
const ORDER: Member = always("order_id", Shape::Id, "The order");

macro_rules! kinds {
    ($($name:ident = $status:ident, $code:literal, $title:literal, $meaning:literal $(, $member:expr)*;)*) => {
        $(pub(in crate::http) static $name: Kind = Kind {
            code: $code,
            status: StatusCode::$status,
            title: $title,
            meaning: $meaning,
            members: &[$($member),*],
        };)*
        /// All types, by status.
        pub(in crate::http) static ALL: &[&Kind] = &[$(&$name),*];
    };
}

kinds! {
    MALFORMED_REQUEST = BAD_REQUEST, "malformed-request", "Invalid request",
        "The request is not HTTP, or has no Host, two of them, or two Authorization. The connection ends.";
    MALFORMED_JSON = BAD_REQUEST, "malformed-json", "Invalid request",
        "The body is not JSON. The detail says where it goes wrong.";
    UNREADABLE_BODY = BAD_REQUEST, "unreadable-body", "Invalid request",
        "The body broke off, or is not what its Content-Encoding says. Send it again.";
    INVALID_QUERY = BAD_REQUEST, "invalid-query", "Invalid request",
        "A parameter of the query is unknown, or has a value that it cannot have. The detail names it.";
    INVALID_PATH = BAD_REQUEST, "invalid-path", "Invalid request",
        "The path is not percent-encoded UTF-8.";
    INVALID_CURSOR = BAD_REQUEST, "invalid-cursor", "Invalid request",
        "The cursor is none of this list with these filters, or was made for somebody else. Begin with the first page.";
    INVALID_ETAG = BAD_REQUEST, "invalid-etag", "Invalid request",
        "If-Match is neither * nor a list of ETags in quotes.";
    INVALID_LAST_EVENT_ID = BAD_REQUEST, "invalid-last-event-id", "Invalid request",
        "Last-Event-ID is not the id of an event of this order.";
    INVALID_IDEMPOTENCY_KEY = BAD_REQUEST, "invalid-idempotency-key", "Invalid request",
        "Idempotency-Key is not a text of 1 to 255 printable characters, with or without quotes.";
    IDEMPOTENCY_KEY_NOT_TAKEN = BAD_REQUEST, "idempotency-key-not-taken", "Invalid request",
        "The operation takes no Idempotency-Key, because its answer must not be kept. Send it without one.";
    UNKNOWN_VERSION = BAD_REQUEST, "unknown-version", "Unknown version",
        "Souk-Version is not a version of the API that this shop answers. Leave it out, or name one of them.",
        always("versions", Shape::Texts, "The versions that the shop answers");
    INVALID_NOTICE = BAD_REQUEST, "invalid-notice", "Invalid request",
        "The signature of a webhook is not valid, or its body cannot be read.";
    UNAUTHORIZED = UNAUTHORIZED, "unauthorized", "Unauthorized",
        "The request has no token, or one that is not valid any more. Log in, or refresh the session.";
    WRONG_CREDENTIALS = UNAUTHORIZED, "wrong-credentials", "Login failed",
        "The e-mail address or the password is wrong. Which of them, the shop does not say.";
    REFRESH_REUSED = UNAUTHORIZED, "refresh-reused", "Log in again",
        "The refresh token was used before. The session has ended, since somebody else may have the token. Log in again.";
    FORBIDDEN = FORBIDDEN, "forbidden", "Not allowed",
        "The role does not allow it, or the product is another seller's.";
    OWN_PRODUCT = FORBIDDEN, "own-product", "Your own product",
        "Nobody reviews a product that they sell, or manage as an admin.";
    SELLER_NOT_APPROVED = FORBIDDEN, "seller-not-approved", "Not approved",
        "An admin has to approve the seller first, or has refused it: GET /account shows its standing.";
    NOT_ERASABLE = FORBIDDEN, "not-erasable", "Not erasable",
        "The account is a seller's or an admin's. Only customers are erased.";
    NOT_FOUND = NOT_FOUND, "not-found", "Not found",
        "It does not exist, or it is somebody else's.";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed",
        "The resource does not have this method. Allow lists those that it has.";
    NOT_ACCEPTABLE = NOT_ACCEPTABLE, "not-acceptable", "Not acceptable",
        "Accept excludes what the resource answers.";
    REQUEST_TIMEOUT = REQUEST_TIMEOUT, "request-timeout", "Request timeout",
        "The head or the body of the request did not arrive in time. The connection ends.";
    INSUFFICIENT_STOCK = CONFLICT, "insufficient-stock", "Not enough in stock",
        "Fewer units are available than were asked for. Ask for fewer.",
        PRODUCT, REQUESTED, always("available", Shape::Number, "The units that can be ordered now"),
        sometimes("order_id", Shape::Id, "The order, which was rejected");
    TOTAL_MISMATCH = CONFLICT, "total-mismatch", "The total differs",
        "The total_price differs from the computed total, because a price has changed. Show the new total, and check out again.",
        always("computed_total", Shape::Money, "What the order costs now"),
        always("stated_total", Shape::Money, "What the request said");
    CART_CHANGED = CONFLICT, "cart-changed", "The cart has changed",
        "The cart changed during the checkout. Read it again.";
    NOT_IN_CART = CONFLICT, "not-in-cart", "Not in the cart",
        "The checkout asks for more than the cart contains.",
        PRODUCT, sometimes("requested", Shape::Number, "The units asked for"),
        sometimes("in_cart", Shape::Number, "The units in the cart");
    CHECKOUT_IN_PROGRESS = CONFLICT, "checkout-in-progress", "Checkout in progress",
        "The same checkout is being carried out. Repeat the request in a moment (Retry-After).", ORDER;
    IDEMPOTENCY_KEY_IN_USE = CONFLICT, "idempotency-key-in-use", "The idempotency key is in use",
        "A request with the same key is being carried out. Repeat the request in a moment (Retry-After).";
    PAYMENT_IN_PROGRESS = CONFLICT, "payment-in-progress", "A payment is pending",
        "Another payment of the order is pending. Repeat the request in a moment (Retry-After).",
        always("attempt", Shape::Number, "The number of the attempt that is pending");
    ALREADY_PAID = CONFLICT, "already-paid", "Already paid",
        "The order is paid. Nothing was charged again.";
    HOLD_EXPIRED = CONFLICT, "hold-expired", "The payment deadline has passed",
        "The time to pay is over, and the stock is free for others. Check out again.";
    TOO_MANY_ATTEMPTS = CONFLICT, "too-many-attempts", "Too many attempts",
        "The order has as many attempts to pay as it can have. Check out again.";
    WRONG_ORDER_STATUS = CONFLICT, "wrong-order-status", "Not in this status of the order",
        "The order's status does not allow it.",
        always("order_status", Shape::OrderStatus, "The order's status");
    ALREADY_SHIPPED = CONFLICT, "already-shipped", "Already shipped",
        "The order was shipped with another carrier or tracking number.";
    NOTHING_TO_REFUND = CONFLICT, "nothing-to-refund", "Nothing left to refund",
        "The money has gone back already.";
    MORE_THAN_LEFT = CONFLICT, "more-than-left", "More than is left",
        "Fewer units or less money are left than were asked for.",
        always("left", Shape::Number, "What is left");
    TOO_MANY_REFUNDS = CONFLICT, "too-many-refunds", "Too many refunds",
        "The order has as many refunds or returns as it can have.";
    RETURN_DECIDED = CONFLICT, "return-decided", "The return is decided",
        "The return was received or rejected before.";
    NOTHING_TO_RESOLVE = CONFLICT, "nothing-to-resolve", "Nothing to resolve",
        "No open issue of the order fits the action.";
    NOTHING_TO_DECIDE = CONFLICT, "nothing-to-decide", "Nothing to decide",
        "The account is no seller's any more.";
    CANCEL_INSTEAD = CONFLICT, "cancel-instead", "Cancel the order instead",
        "The refund would leave nothing to ship. Cancel the order.";
    REFUNDED_ELSEWHERE = CONFLICT, "refunded-elsewhere", "Refunded at the provider",
        "All the money has gone back at the provider's own site. Cancel the order instead of shipping it.";
    DISPUTE_LOST = CONFLICT, "dispute-lost", "The dispute is lost",
        "The customer's bank has taken the money back. An operator decides before the order is packed or shipped.";
    REFUND_IN_PROGRESS = CONFLICT, "refund-in-progress", "A refund is under way",
        "An order has one refund at a time. Repeat the request in a moment (Retry-After).";
    TOO_MANY_OPEN_ORDERS = CONFLICT, "too-many-open-orders", "Too many open orders",
        "The customer has as many unpaid orders as one may have. Pay or cancel one first.";
    TOO_MANY_UNPAID_UNITS = CONFLICT, "too-many-unpaid-units", "Too many unpaid units",
        "The customer's unpaid orders would have more units of the product than allowed. Pay or cancel one first.",
        PRODUCT, REQUESTED, always("unpaid", Shape::Number, "The units in unpaid orders"),
        always("units_max", Shape::Number, "How many there may be");
    ORDERS_UNFINISHED = CONFLICT, "orders-unfinished", "Orders are unfinished",
        "The customer has orders that are neither delivered nor ended.",
        sometimes("order_ids", Shape::Texts, "These orders");
    ALREADY_EXISTS = CONFLICT, "already-exists", "The id is taken",
        "There is a product with this id, or it is another product's variant.";
    ALREADY_REGISTERED = CONFLICT, "already-registered", "The address is taken",
        "There is an account with this e-mail address. Log in.";
    RECEIPT_REUSED = CONFLICT, "receipt-reused", "The receipt was used before",
        "The receipt or adjustment was recorded with another quantity.";
    TOO_MANY_REVIEWS = CONFLICT, "too-many-reviews", "Too many reviews",
        "The product has as many reviews as it can have.";
    STOCK_CONFLICT = CONFLICT, "stock-conflict", "The stock has changed",
        "The stock has changed meanwhile. Read it again.";
    BELOW_RESERVED = CONFLICT, "below-reserved", "Units are reserved for orders",
        "These units are reserved for orders.",
        always("reserved_quantity", Shape::Number, "The reserved units");
    VERSION_MISMATCH = PRECONDITION_FAILED, "version-mismatch", "The version differs",
        "It has changed since the ETag in If-Match was read. Read it again, and decide whether the change still makes sense.",
        always("current_version", Shape::Number, "Its version now");
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE, "body-too-large", "Body too large",
        "The body has more bytes than the shop takes, as it was sent or as it was decoded.";
    URI_TOO_LONG = URI_TOO_LONG, "uri-too-long", "URI too long",
        "The URI does not fit into a head of 64 KiB. The connection ends.";
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type",
        "The Content-Type of the body is not application/json.";
    UNSUPPORTED_ENCODING = UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", "Unsupported content coding",
        "The Content-Encoding of the body is not one of Accept-Encoding of this answer.";
    INVALID_BODY = UNPROCESSABLE_ENTITY, "invalid-body", "Invalid body",
        "Fields of the body break rules. The errors name each of them.",
        always("errors", Shape::Faults, "What is wrong with which field"),
        sometimes("product_id", Shape::Text, "The product whose quantity cannot be");
    PAYMENT_DECLINED = UNPROCESSABLE_ENTITY, "payment-declined", "Payment declined",
        "The payment was declined or given up, and nothing was charged. Pay in another way.",
        always("payment_status", Shape::Text, "Always `fail`"), ORDER,
        always("attempt", Shape::Number, "The number of the attempt"),
        always("declined_reason", Shape::Text, "The provider's reason, or `given_up`");
    NOT_FOR_SALE = UNPROCESSABLE_ENTITY, "not-for-sale", "Not for sale",
        "The product has no price, or is not in the shop any more.", PRODUCT;
    CHOOSE_VARIANT = UNPROCESSABLE_ENTITY, "choose-variant", "Choose a variant",
        "The product has variants. Order one of them.",
        PRODUCT, always("variants", Shape::Texts, "The ids of its variants");
    EMPTY_CART = UNPROCESSABLE_ENTITY, "empty-cart", "The cart is empty",
        "There is nothing to order.";
    MIXED_CURRENCIES = UNPROCESSABLE_ENTITY, "mixed-currencies", "One currency only",
        "The products of a cart or an order have prices in one currency.";
    AMOUNT_NOT_PAYABLE = UNPROCESSABLE_ENTITY, "amount-not-payable", "The amount cannot be paid",
        "The payment provider cannot take this total.",
        sometimes("amount_limit", Shape::Money, "The least or the greatest amount that it takes");
    IDEMPOTENCY_KEY_REUSED = UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The idempotency key was used before",
        "The key was used with another request. Take a new key for a new request.";
    PRECONDITION_REQUIRED = PRECONDITION_REQUIRED, "precondition-required", "Precondition required",
        "The shop wants an If-Match with the ETag that was read, so that nobody else's change is overwritten.";
    RATE_LIMITED = TOO_MANY_REQUESTS, "rate-limited", "Too many requests",
        "The client has used up a quota, and nothing was done. After the seconds of Retry-After the request is admitted.",
        always("limit", Shape::Text, "The name of the quota");
    TOO_MANY_STREAMS = TOO_MANY_REQUESTS, "too-many-streams", "Too many event streams",
        "As many event streams of the user are open as one may have. Close one.";
    HEAD_TOO_LARGE = REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "Header too large",
        "The head of a request has at most 64 KiB and 100 fields. The connection ends.";
    FAULT = INTERNAL_SERVER_ERROR, "fault", "Internal error",
        "A fault of the shop, not of the request. The trace_id finds it in the shop's logs.";
    OVERLOADED = SERVICE_UNAVAILABLE, "overloaded", "Try again",
        "Too much is under way, and nothing was done. Repeat the request after the seconds of Retry-After.";
    BUSY = SERVICE_UNAVAILABLE, "busy", "Try again",
        "What the request needs has too much to do, and nothing was done. Repeat the request after the seconds of Retry-After.";
    UNKNOWN_OUTCOME = GATEWAY_TIMEOUT, "unknown-outcome", "Outcome unknown",
        "Perhaps it was done. Repeat the same request with the same Idempotency-Key.";
    TIMED_OUT = GATEWAY_TIMEOUT, "timed-out", "Timed out",
        "The answer to a read was not ready in time, and nothing was changed. Repeat it.";
    HTTP_VERSION = HTTP_VERSION_NOT_SUPPORTED, "http-version", "HTTP version not supported",
        "The versions are HTTP/1.0, 1.1 and 2. The connection ends.";
    READ_ONLY = INSUFFICIENT_STORAGE, "read-only", "Read-only",
        "The disk of the shop is nearly full. Reads still work, writes are refused until it has room.";
}

impl Kind {
    /// The type with this code.
    pub(in crate::http) fn named(code: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|kind| kind.code == code)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_words_and_the_table_is_in_order_of_status() {
        let codes: BTreeSet<_> = ALL.iter().map(|kind| kind.code).collect();
        assert_eq!(codes.len(), ALL.len(), "a code stands twice");
        for kind in ALL {
            assert!(kind.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", kind.code);
            assert!(kind.meaning.ends_with('.') && !kind.title.ends_with('.'), "{}", kind.code);
            assert_eq!(Kind::named(kind.code), Some(*kind));
        }
        assert!(ALL.is_sorted_by_key(|kind| kind.status.as_u16()));
        assert_eq!(Kind::named("none-such"), None);
    }

    /// The table of docs/API.md has these codes with these statuses and members, and no others.
    #[test]
    fn the_document_for_people_has_the_same_table() {
        let documented = include_str!("../../../docs/API.md");
        let (_, table) = documented.split_once("\n## Problems\n").unwrap();
        let table = table.split("\n## ").next().unwrap();
        let mut found = BTreeSet::new();
        for row in table.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let codes: Vec<&str> =
                cells[1].split('`').filter(|part| part.contains(|c: char| c.is_alphabetic())).collect();
            let statuses: Vec<&str> = cells[2].split(", ").collect();
            for (index, code) in codes.iter().enumerate() {
                let status = statuses.get(index).or(statuses.first()).unwrap();
                let members: BTreeSet<String> = Kind::named(code)
                    .unwrap_or_else(|| panic!("{code} is in the document alone"))
                    .members
                    .iter()
                    .map(|member| member.name.to_owned())
                    .collect();
                for member in &members {
                    assert!(cells[4].contains(member.as_str()), "{code} has {member}: {row}");
                }
                found.insert((code.to_string(), (*status).to_owned()));
            }
        }
        let known: BTreeSet<_> =
            ALL.iter().map(|kind| (kind.code.to_owned(), kind.status.as_u16().to_string())).collect();
        assert_eq!(found, known);
    }
}
