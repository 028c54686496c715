//! A fake payment provider: no money moves, and it fails as its script says. It is the only fake provider over HTTP, so
//! a test against it is a test of the adapter that ships.
//!
//! ```text
//!  /v1/… ─▶ api (key, script) ─▶ intents, refunds ─▶ Store ─▶ file
//!                                                      │
//!  operator, page ─────────────────────────────────────┴─▶ Notices ─▶ signed events to the shop
//! ```
//!
//! It speaks the part of Stripe's API that a shop with PaymentIntents needs:
//!
//! | request | |
//! |---|---|
//! | `POST /v1/payment_intents`, `/{id}/confirm`, `/{id}/capture`, `/{id}/cancel` | with `Idempotency-Key` |
//! | `GET /v1/payment_intents`, `/{id}`, `/search` | a search sees a new payment after a minute |
//! | `POST /v1/refunds`, `GET /v1/refunds`, `/{id}` | |
//! | `GET /v1/account` | the account of the key, which is named after the key |
//!
//! In addition, for tests, with JSON:
//!
//! | request | |
//! |---|---|
//! | `POST /refunds` | the shop's operator refunds at the provider's own site |
//! | `POST /holds/release` | a hold ends without the shop, and is shown as by older versions of the API: refunded |
//! | `POST /disputes`, `POST /disputes/{id}/close` | a customer disputes a payment at their bank; the bank decides |
//! | `GET`, `POST /authenticate/{order}/{attempt}` | the page on which a customer approves or declines a payment |
//! | `GET /ledger` | all changes of payments but their creation |
//! | `GET`, `PUT /script` | the rules by which it fails: a list of [`Rule`] |
//! | `GET /livez` | 200 |
//!
//! An object belongs to an order by its metadata `order`, `attempt` and `refund`; the ledger and the script's rules
//! name it by a key made of them, such as `ORDER:charge:1`. Depends on no crate of the shop.

mod amounts;
mod api;
mod command;
mod intents;
mod ledger;
mod methods;
mod notices;
mod objects;
mod operator;
mod page;
mod provider;
mod query;
mod refunds;
mod router;
mod script;
mod signature;
mod store;

pub use self::{
    amounts::amount_problem,
    command::{LISTENING, Options},
    ledger::{Capture, Effect, Line, Money},
    notices::{Webhook, WebhookError},
    provider::Provider,
    router::router,
    script::{COPIES_MAX, DELAY_MS_MAX, Fault, Operation, RULES_MAX, Rule, Script, ScriptError, WebhookDelivery},
};
