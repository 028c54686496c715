//! All directories of the shop, one per kind of entity: made, started, counted and closed in one place.
//!
//! May depend on `storage` and `domain`.

use super::{
    directory::{Directory, DirectoryLimits},
    figures::KindFigures,
    root::Child,
};
use crate::{
    clock::Clock,
    domain::{
        account::Account, cart::Cart, inventory::Inventory, order::Order, product::Product, ratings::Ratings,
        review::Review, seller::Seller, unmatched_notices::UnmatchedNotices,
    },
    storage::Journal,
};

/// The directories of all kinds of entities. Cheap to clone.
#[derive(Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Entities {
    pub products: Directory<Product>,
    pub inventories: Directory<Inventory>,
    pub carts: Directory<Cart>,
    pub orders: Directory<Order>,
    pub accounts: Directory<Account>,
    pub reviews: Directory<Review>,
    /// The sums of each product's ratings.
    pub ratings: Directory<Ratings>,
    pub unmatched_notices: Directory<UnmatchedNotices>,
    pub sellers: Directory<Seller>,
}

impl Entities {
    /// Directories over a journal, each with these limits.
    #[must_use]
    pub fn new(journal: &Journal, clock: &Clock, limits: DirectoryLimits) -> Self {
        Self {
            products: Directory::new(journal.clone(), clock.clone(), limits),
            inventories: Directory::new(journal.clone(), clock.clone(), limits),
            carts: Directory::new(journal.clone(), clock.clone(), limits),
            orders: Directory::new(journal.clone(), clock.clone(), limits),
            accounts: Directory::new(journal.clone(), clock.clone(), limits),
            reviews: Directory::new(journal.clone(), clock.clone(), limits),
            ratings: Directory::new(journal.clone(), clock.clone(), limits),
            unmatched_notices: Directory::new(journal.clone(), clock.clone(), limits),
            sellers: Directory::new(journal.clone(), clock.clone(), limits),
        }
    }

    /// The owners of all entities, for the root to start.
    pub(super) fn owners(&self) -> Vec<Child> {
        vec![
            Child::owner("products", &self.products),
            Child::owner("inventories", &self.inventories),
            Child::owner("carts", &self.carts),
            Child::owner("orders", &self.orders),
            Child::owner("accounts", &self.accounts),
            Child::owner("reviews", &self.reviews),
            Child::owner("ratings", &self.ratings),
            Child::owner("unmatched_notices", &self.unmatched_notices),
            Child::owner("sellers", &self.sellers),
        ]
    }

    /// How many entities are alive, by kind. The names are labels of metrics.
    #[must_use]
    pub fn live_counts(&self) -> [(&'static str, usize); 9] {
        [
            ("product", self.products.live_count()),
            ("inventory", self.inventories.live_count()),
            ("cart", self.carts.live_count()),
            ("order", self.orders.live_count()),
            ("account", self.accounts.live_count()),
            ("review", self.reviews.live_count()),
            ("reviews", self.ratings.live_count()),
            ("inbox", self.unmatched_notices.live_count()),
            ("seller", self.sellers.live_count()),
        ]
    }

    /// What operators see of the entities, by kind.
    #[must_use]
    pub fn figures(&self) -> Vec<KindFigures> {
        vec![
            self.products.figures("product"),
            self.inventories.figures("inventory"),
            self.carts.figures("cart"),
            self.orders.figures("order"),
            self.accounts.figures("account"),
            self.reviews.figures("review"),
            self.ratings.figures("ratings"),
            self.unmatched_notices.figures("unmatched_notices"),
            self.sellers.figures("seller"),
        ]
    }

    /// Passivates all entities: queued commands are answered, later ones are refused.
    pub async fn close(&self) {
        self.orders.close().await;
        self.carts.close().await;
        self.inventories.close().await;
        self.products.close().await;
        self.accounts.close().await;
        self.reviews.close().await;
        self.ratings.close().await;
        self.unmatched_notices.close().await;
        self.sellers.close().await;
    }
}
