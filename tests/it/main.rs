//! The shop through its real router, one module per capability.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod bad_input;
mod buying;
mod flash_sale;
mod selling;
mod sessions;
mod support;
