//! Souk: an online shopping backend in one binary.
//!
//! ```text
//!             request                                        log (positions)
//!  HTTP edge ──────────▶ Directory ──▶ Entity ──▶ Journal ───────────────▶ Projections ─▶ search index, lists
//!     ▲                     ▲            reply ◀── commit                        │
//!     │                     │                                                    │
//!     └───────────────── Checkout (process manager) ◀──── open orders ◀──────────┘
//!                           │
//!                        Gateway (payment provider)
//! ```
//!
//! The rules are in [`domain`]; `tests/tidy/` holds which room may use which.

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, `unknown` where it was built from a source archive.
pub const COMMIT: &str = env!("BUILD_COMMIT");

pub mod clock;
pub mod config;
pub mod planted;

pub mod domain;

pub mod catalogue;

pub mod identity;
pub mod payments;
pub mod storage;

pub mod gateway_sim;

pub mod actors;

pub mod search;

pub mod shop;

pub mod http;

pub mod app;

pub mod verify;

pub mod load;
