//! The limits of an order.
//!
//! Depends on nothing.

/// How often a customer may try to pay one order. It stops a thief who tries stolen cards, and no honest customer.
pub const ATTEMPTS_MAX: usize = 5;
/// The longest token of a payment method, in characters.
pub const METHOD_CHARACTERS_MAX: usize = 255;
/// The longest carrier name and tracking number, in characters.
pub const TRACKING_CHARACTERS_MAX: usize = 100;
/// How many refunds an order may have. A person asks for each, and each adds three entries to the history.
pub const REFUNDS_MAX: usize = 50;
/// How many returns an order may have.
pub const RETURNS_MAX: usize = 20;
/// The longest reason or note, in characters.
pub const REASON_CHARACTERS_MAX: usize = 500;
