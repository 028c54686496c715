//! The lists that are not one entity's: orders by customer, by seller and by state, reviews by product and by customer,
//! and what has been begun and is to be finished after a crash.
//!
//! A projection of order, review and account events into ordered keys. Applying a record twice puts the same keys, so a
//! rewind after a crash does no harm.
//!
//! | key | value | serves |
//! |---|---|---|
//! | `c` customer, newest first, order | | `GET /orders` of a customer |
//! | `s` seller, newest first, order | | `GET /orders` of a seller |
//! | `t` stage, newest first, order | lines | `GET /orders` of an admin |
//! | `o` order | | what the checkout resumes at start |
//! | `p` order | placed at, listing, lines | how an order is listed, until its last stage |
//! | `r` product, newest first, customer | review | `GET /products/{id}/reviews` |
//! | `v` customer, product | when | to replace a review; to erase a customer's |
//! | `n` customer, product | version | reviews whose stars the product may not have counted yet |
//! | `a` order | | orders with issues, about which an operator has to decide |
//! | `e` account | user | customers whose erasure has begun and not ended |
//! | `w` standing, registered at, user | account | sellers by where they stand, the oldest first |
//! | `u` user | account, registered at | to find the account of a seller |
//!
//! May depend on `storage` and `domain`.

mod keys;
mod projection;
mod reader;

pub use self::{
    keys::{NAME, open_order_key},
    projection::ListsProjection,
    reader::{Listed, Lists, OrdersFilter, OrdersOf, PageError},
};
