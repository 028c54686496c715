//! The rooms that are closed to a program that embeds the shop, open to the program `souk` and to the tests and benches
//! of this crate.
//!
//! Nothing here is stable: whatever is in it may change or go in any version. A room is closed so that it can change,
//! and so that the compiler finds what is not used any more; what a public signature names is re-exported where the
//! signature is. May depend on `app`, `verify`, `http`, `shop`, `catalogue`, `search`, `actors`, `storage`, `payments`,
//! `identity`, `domain` and `text_file`.

#![allow(missing_docs, reason = "the rooms have their own documentation")]

use crate::{
    domain::{ids::OrderId, order::Order},
    shop::{Error, Principal, Shop},
};

pub mod actors {
    pub use crate::actors::*;
}
#[cfg(feature = "cli")]
pub mod app {
    pub use crate::app::*;
}
#[cfg(feature = "cli")]
pub mod catalogue {
    pub use crate::catalogue::*;
}
#[cfg(feature = "http")]
pub mod edge {
    pub use crate::http::fuzz::*;
}
pub mod fake_provider {
    pub use crate::payments::fake_provider::*;
}
pub mod identity {
    pub use crate::identity::*;
}
pub mod search {
    pub use crate::search::*;
}
#[cfg(feature = "stripe")]
pub mod signature {
    pub use crate::payments::signature::*;
}
pub mod storage {
    pub use crate::storage::*;
}
#[cfg(feature = "stripe")]
pub mod stripe {
    pub use crate::payments::stripe::*;
}
#[cfg(feature = "stripe")]
pub mod text_file {
    pub use crate::text_file::*;
}
#[cfg(feature = "cli")]
pub mod verify {
    pub use crate::verify::*;
}

/// The shop's journal.
#[must_use]
pub fn journal(shop: &Shop) -> &storage::Journal {
    shop.journal()
}

/// The shop's tokens and keys.
#[must_use]
pub fn identity(shop: &Shop) -> &identity::Identity {
    shop.identity()
}

/// The shop's search index.
#[must_use]
pub fn search_index(shop: &Shop) -> &search::Search {
    shop.search_index()
}

/// Notifies of changes of an order; read the order after each.
///
/// # Errors
/// [`Error::NotFound`], also for somebody else's order.
pub async fn follow_order(
    shop: &Shop,
    who: &Principal,
    id: OrderId,
) -> Result<actors::views::Subscription<Order>, Error> {
    shop.follow_order(who, id).await
}
