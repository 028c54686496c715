//! The runtime: entities as supervised actors, read models that follow the log, and process managers that carry work
//! over several streams: the checkout, the reconciler, the rating counter and the erasure.
//!
//! ```text
//!  Shop ── Root ─┬─ Owner<Product>   ── EntityActor<Product>  per live product
//!                ├─ Owner<Inventory> ── EntityActor<Inventory>
//!                ├─ Owner<Cart>      ── …
//!                ├─ Owner<Order>     ── …
//!                ├─ Owner<Account>   ── …
//!                ├─ Owner<Review>    ── …
//!                ├─ Owner<Ratings>   ── …
//!                ├─ Owner<Seller>    ── …
//!                ├─ Owner<UnmatchedNotices> ── …
//!                ├─ Follower(lists)      pulls the log into sled
//!                ├─ Follower(search)     pulls the log into tantivy
//!                ├─ Checkout         ── a task per order under way
//!                ├─ Reconciler          compares the provider's payments with the orders
//!                ├─ RatingCounter       adds the ratings of reviews to their products
//!                └─ Erasure             erases customers
//! ```
//!
//! Who ends, what happens then, and who notices:
//!
//! - An **entity** panics, or its storage fails: its owner removes it, and the next message activates it again, after a
//!   back-off per id. The callers of its unanswered messages get *unknown*.
//! - An **entity** is passivated: it answers what is queued, leaves a snapshot and ends; the next message activates it
//!   again. Nobody notices.
//! - An **owner** panics (a bug): its entities end with it, and the root starts a new owner with none. Callers of
//!   unanswered messages get *unknown*.
//! - A **follower** panics, or its read model fails: the root starts it again from its last committed position, after a
//!   back-off. Readers see an older list meanwhile.
//! - The **checkout** panics (a bug): the root starts it again, and it resumes every open order. Orders in progress
//!   finish later.
//! - The **reconciler** panics (a bug): the root starts it again. Differences are found later.
//! - The **rating counter** or the **erasure** panics (a bug): the root starts it again, and it makes a pass.
//!   Unfinished work is finished later.
//! - The **root** stops: it drains the checkout, then the followers, then the owners. The shop is closed.
//!
//! May depend on `storage`, `payments` and `domain`. Only this room names ractor.

pub(crate) mod backoff;
pub mod checkout;
pub mod directory;
pub mod drive;
pub mod entities;
mod entity_actor;
mod envelope;
pub mod erasure;
pub mod figures;
pub mod follower;
pub mod lists;
mod live;
mod mailbox;
mod owner;
mod pages;
mod passes;
mod pending_snapshot;
pub mod projection;
pub mod rating_counter;
pub mod reconciler;
pub mod records;
pub mod reply;
pub mod root;
pub mod runtime;
pub mod sales;
mod task_error;
pub mod views;

#[cfg(test)]
pub(crate) mod tests;
