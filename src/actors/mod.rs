//! The runtime: entities as supervised actors, read models that follow the log, and process managers that carry work over several
//! streams: the checkout, the reconciler, the rating counter and the erasure.
//!
//! ```text
//!  Shop ── Root ─┬─ Owner<Product>   ── EntityActor<Product>  per live product
//!                ├─ Owner<Inventory> ── EntityActor<Inventory>
//!                ├─ Owner<Cart>      ── …
//!                ├─ Owner<Order>     ── …
//!                ├─ Owner<Account>   ── …
//!                ├─ Owner<Review>    ── …
//!                ├─ Owner<Reviews>   ── …
//!                ├─ Owner<UnmatchedNotices>     ── …
//!                ├─ Follower(lists)      pulls the log into sled
//!                ├─ Follower(search)     pulls the log into tantivy
//!                ├─ Checkout         ── a task per order under way
//!                ├─ Reconciler          compares the provider's payments with the orders
//!                ├─ RatingCounter       adds the ratings of reviews to their products
//!                └─ Erasure             erases customers
//! ```
//!
//! | who ends | how | what happens | who notices |
//! |---|---|---|---|
//! | an entity | panics, or its storage fails | buried by its owner; the next message starts it again, after a back-off per id | the callers of its unanswered messages: *unknown* |
//! | an entity | passivated | answers what is queued, leaves a snapshot, ends; the next message starts it again | nobody |
//! | an owner | panics (a bug) | its entities end with it; the root starts a new one with none | callers under way: *unknown* |
//! | a follower | its read model fails, or panics | the root starts it again from its last committed position, after a back-off | readers see an older list meanwhile |
//! | the checkout | panics (a bug) | the root starts it again; it resumes every open order | orders under way finish later |
//! | the reconciler | panics (a bug) | the root starts it again | differences are found later |
//! | the rating counter, the erasure | panics (a bug) | the root starts it again, with a pass | what is unfinished is finished later |
//! | the root | stops | drains the checkout, then the followers, then the owners | the end of the shop |
//!
//! May depend on `storage`, `payments` and `domain`. Only this room names ractor.

mod backoff;
pub mod checkout;
pub mod directory;
pub mod drive;
pub mod entities;
mod entity_actor;
mod envelope;
pub mod erasure;
pub mod follower;
pub mod lists;
mod live;
mod mailbox;
mod owner;
mod pages;
mod pending_snapshot;
pub mod projection;
pub mod rating_counter;
pub mod reconciler;
pub mod records;
pub mod reply;
pub mod root;
pub mod runtime;
mod task_error;
pub mod views;

#[cfg(test)]
mod tests;
