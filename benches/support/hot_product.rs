//! Souk's inventory in process: the entity's actor over the journal, as in the shop, without HTTP and without an order.
//!
//! Depends on `flash_sale` and on the rooms `actors`, `clock`, `domain` and `storage` of `souk`.

use std::sync::Arc;

use souk::{
    clock::Clock,
    domain::{
        entity::Timestamp,
        ids::{OrderId, ProductId, UserId},
        inventory::{Command, HOLDS_MAX, Inventory, Rejection},
    },
    internals::{
        actors::{
            directory::{Directory, DirectoryLimits},
            reply::AskError,
            root::{Child, Root},
        },
        storage::{Journal, JournalConfig},
    },
};
use tempfile::TempDir;

use super::flash_sale::{Answer, Caller, Engine};

/// The payment deadline of an order, in milliseconds: the shop's default.
const DEADLINE_MS: u64 = 900_000;

/// Inventories over a journal.
pub(crate) struct HotProduct {
    inventories: Directory<Inventory>,
    journal: Journal,
    root: Root,
    /// The prefix of the products' ids.
    prefix: String,
    /// The directory of the journal, if it belongs to this bench.
    own: Option<TempDir>,
}

impl HotProduct {
    /// With its own journal in an empty directory.
    pub(crate) async fn alone() -> Self {
        let directory = super::scratch();
        let journal = Journal::open(JournalConfig::new(directory.path())).expect("the journal opens");
        Self { own: Some(directory), ..Self::beside(journal, String::new()).await }
    }

    /// On the journal of a running shop, which must not know the products; their ids get this prefix.
    pub(crate) async fn beside(journal: Journal, prefix: String) -> Self {
        let inventories = Directory::new(journal.clone(), Clock::system(), DirectoryLimits::default());
        let root = Root::start(vec![Child::owner("inventories", &inventories)]).await.expect("the actors start");
        Self { inventories, journal, root, prefix, own: None }
    }

    fn product(&self, product: &str) -> ProductId {
        id(&self.prefix, product)
    }

    /// The average number of records per sync of the journal.
    pub(crate) fn records_per_sync(&self) -> f64 {
        let figures = self.journal.figures();
        figures.records as f64 / figures.batches.max(1) as f64
    }

    /// Ends the actors, and the journal if it belongs to this bench.
    pub(crate) async fn close(self) {
        self.root.expect_ends().await;
        self.inventories.close().await;
        self.root.stop().await;
        if self.own.is_some() {
            self.journal.close().await.expect("the journal closes");
        }
    }
}

fn id(prefix: &str, product: &str) -> ProductId {
    format!("{prefix}{product}").parse().expect("a legal id")
}

impl Engine for HotProduct {
    type Caller = Reserving;

    fn name(&self) -> String {
        "Souk in process; fdatasync before each answer".into()
    }

    fn product_reservations_max(&self) -> Option<u64> {
        Some(HOLDS_MAX as u64)
    }

    async fn open(&self, product: &str, units: u64) {
        let product = self.product(product);
        self.inventories.ask(&product, Command::Open { quantity: units }).await.expect("stock is set");
    }

    async fn caller(&self, _number: usize) -> Reserving {
        let deadline = Clock::system().now().plus_ms(DEADLINE_MS);
        Reserving { inventories: self.inventories.clone(), prefix: self.prefix.clone(), product: None, deadline }
    }

    async fn counts(&self, product: &str) -> (u64, Option<u64>) {
        let product = self.product(product);
        let view = self.inventories.read(&product).await.expect("it can be read").view;
        (view.available, Some(view.reserved_quantity))
    }
}

/// A caller in process.
pub(crate) struct Reserving {
    inventories: Directory<Inventory>,
    prefix: String,
    product: Option<Arc<ProductId>>,
    deadline: Timestamp,
}

impl Caller for Reserving {
    async fn reserve(&mut self, product: &str, order: u64) -> Answer {
        let product = self.product.get_or_insert_with(|| Arc::new(id(&self.prefix, product)));
        let (order, customer) = (OrderId(u128::from(order)), UserId(u128::from(order)));
        let command = Command::Reserve { order, customer, quantity: 1, deadline: self.deadline };
        match self.inventories.ask(product, command).await {
            Ok(_) => Answer::Reserved,
            Err(AskError::Rejected(Rejection::InsufficientStock { .. })) => Answer::SoldOut,
            Err(error) => panic!("{error}"),
        }
    }
}
