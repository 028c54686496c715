//! Souk: an online shopping backend, as a program and as a library.
//!
//! A whole order, without HTTP:
//!
//! ```
//! use souk::{Address, CheckoutRequest, Config, Currency, Details, Line, Money, Role, Shop};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let data_dir = directory.path().join("data");
//! let shop = Shop::open(Config { data_dir, ..Config::default() }).await?;
//!
//! shop.register("seller@example.org", "a long password".to_owned().into(), None, Role::Seller).await?;
//! let seller = shop.principal("seller@example.org").await?;
//! let teapot = "teapot".parse()?;
//! let price = Some(Money::new(249_900, Currency::INR)?);
//! shop.create_product(&seller, &teapot, Details { title: "Teapot".into(), price, ..Details::default() }).await?;
//! shop.receive_stock(&seller, &teapot, 10, Some("delivery-1")).await?;
//!
//! shop.ensure_customer_without_password("asha@example.org").await?;
//! let asha = shop.principal("asha@example.org").await?;
//! let cart = shop.add_to_cart(&asha, vec![Line { product: teapot.clone(), quantity: 2 }], None).await?;
//! let address = Address {
//!     name: "Asha Rao".into(),
//!     line1: "1 MG Road".into(),
//!     city: "Pune".into(),
//!     postal_code: "411001".into(),
//!     country: "IN".into(),
//!     ..Address::default()
//! };
//! let total_minor = cart.total.ok_or("a line is in the way")?.minor;
//! let request = CheckoutRequest { total_minor, address, ..CheckoutRequest::default() };
//! let order = shop.checkout(&asha, &request, Some("my-key")).await?.outcome;
//! let paid = shop.pay(&asha, order.id, "tok_success", None).await?.outcome;
//! assert!(paid.order.order.status().is_some_and(|status| status.is_paid()));
//! assert_eq!(shop.inventory(&seller, &teapot).await?.available, 8);
//!
//! shop.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Shop`] has everything that shoppers, sellers and operators can do.
//! A program that embeds the shop takes `default-features = false`; the features are:
//!
//! - `http`: [`http`], the router and a server for it.
//! - `stripe`: the adapter for Stripe. Without it, `payments.provider = "stripe"` is refused.
//! - `cli`: what only the program `souk` needs. It implies `http` and `stripe`.
//! - `jemalloc`: the program's allocator.
//!
//! The shop needs a tokio runtime with time enabled.
//! Its arithmetic on money is checked; `overflow-checks = true` in the profile of the program that embeds it keeps the
//! second line of defence that the shop's own profile has.
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
//! Depends on `shop`, `domain`, `config` and `clock`, whose types it exports again.

// With the rooms closed, what a public signature names has a public path.
#![cfg_attr(
    not(feature = "internals"),
    warn(unnameable_types),
    allow(unreachable_pub, unused_imports, reason = "some items and re-exports of a room are for `internals` alone")
)]

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, `unknown` where it was built from a source archive.
pub const COMMIT: &str = env!("BUILD_COMMIT");

#[cfg(test)]
#[path = "../tests/skipped/mod.rs"]
mod skipped;

pub mod clock;
pub mod config;
mod directories;
mod log_throttle;
#[cfg(any(feature = "stripe", feature = "tls"))]
mod text_file;

pub mod domain;

#[cfg(feature = "cli")]
mod catalogue;

mod identity;
pub mod payments;
mod storage;

mod actors;

mod search;

pub mod shop;

#[cfg(feature = "http")]
pub mod http;

#[cfg(feature = "cli")]
mod app;

#[cfg(feature = "cli")]
mod verify;

#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;

pub use crate::{
    clock::Clock,
    config::Config,
    domain::{
        account::Role,
        cart::Line,
        cursor::Cursor,
        entity::Timestamp,
        ids::{OrderId, ProductId},
        money::{Currency, Money},
        order::{Address, Tracking},
        product::Details,
    },
    shop::{
        Error, OpenShopError, Parts, Principal, SearchRequest, Shop,
        orders::{Advance, CheckoutItem, CheckoutRequest},
    },
};
