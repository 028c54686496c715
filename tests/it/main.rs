//! The shop through its real router and as a process, one module per capability.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod access;
mod access_log;
mod account;
mod accounts;
mod amounts;
mod applications;
mod cancelling;
mod cart;
mod catalogue;
mod checkout;
mod circuit;
mod collection;
mod commands;
mod control;
mod conventions;
mod cursors;
mod deploy;
mod description;
mod disputes;
mod document;
mod embedding;
mod erasure;
mod events;
#[path = "../../examples/embedded/main.rs"]
#[allow(dead_code, reason = "its `main` is for `cargo run --example`")]
mod example_embedded;
#[path = "../../examples/nested/main.rs"]
#[allow(dead_code, reason = "its `main` is for `cargo run --example`")]
mod example_nested;
mod examples;
mod exit_codes;
mod expiry;
mod flash_sale;
mod fuzzed;
mod gateway_sim;
mod hoarding;
mod holds;
mod hostile;
mod import;
mod issues;
mod lifecycle;
mod load;
mod metrics;
mod monitoring;
mod nested;
mod once;
mod operations;
mod orders;
mod payment;
mod provider;
mod provider_account;
mod rates;
mod readme;
mod reconciliation;
#[path = "../recorded/mod.rs"]
mod recorded;
mod refunds;
mod restart;
mod returns;
mod reviews;
mod search;
mod secrets;
#[path = "../skipped/mod.rs"]
mod skipped;
mod stock;
mod stripe;
mod support;
mod upkeep;
mod verify;
mod webhooks;
mod wrong_bodies;
