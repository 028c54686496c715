//! The shop through its real router, one module per capability.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod accounts;
mod cart;
mod catalogue;
mod checkout;
mod description;
mod erasure;
mod events;
mod flash_sale;
mod gateway_sim;
mod hostile;
mod operations;
mod orders;
mod payment;
mod restart;
mod reviews;
mod search;
mod stock;
mod support;
mod upkeep;
mod wrong_bodies;
