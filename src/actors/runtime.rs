//! The composition of the runtime: every entity, read model and process manager over one journal, under one root.
//!
//! May depend on `storage`, `payments` and `domain`.

use std::{sync::Arc, time::Duration};

use ractor::SpawnErr;

use super::{
    checkout::Checkout,
    directory::DirectoryLimits,
    drive::{DriveLimits, Driver},
    entities::Entities,
    erasure::{Erasure, ErasureParts},
    follower::{Open, Progress},
    lists::{Lists, ListsProjection},
    projection::Projection,
    rating_counter::RatingCounter,
    reconciler::{self, Reconciler},
    root::{Child, Root},
    sales::Sales,
};
use crate::{clock::Clock, payments::Gateway, storage::Journal};

/// How long the read models may take to catch up when the shop closes: it saves the next start the work.
const FOLLOWERS_CATCH_UP: Duration = Duration::from_secs(2);

/// What a runtime is made of.
#[allow(missing_docs, reason = "the names say it")]
pub struct RuntimeParts {
    pub journal: Journal,
    pub clock: Clock,
    pub gateway: Arc<dyn Gateway>,
    pub directory_limits: DirectoryLimits,
    pub drive_limits: DriveLimits,
    /// The least time between two commits of the lists while nobody waits for them, in milliseconds.
    pub lists_commit_ms_min: u64,
    /// The pause between two passes of the reconciler, in milliseconds.
    pub reconcile_every_ms: u64,
    /// How long an order may take to be paid, in milliseconds.
    pub payment_deadline_ms: u64,
    /// Read models that follow the log beside the lists.
    pub read_models: Vec<ReadModel>,
}

/// A read model that follows the log.
pub struct ReadModel {
    /// How far it has come.
    pub progress: Progress,
    /// Opens the projection of the read model.
    pub open: Open,
    /// The least time between two commits while nobody waits for it, in milliseconds.
    pub commit_ms_min: u64,
}

/// The running actors of a shop.
#[allow(missing_docs, reason = "the names say it")]
pub struct Runtime {
    pub entities: Entities,
    pub checkout: Checkout,
    pub erasure: Erasure,
    pub rating_counter: RatingCounter,
    pub reconciler: Reconciler,
    pub lists: Lists,
    pub lists_progress: Progress,
    /// Of all read models, for the close.
    progress: Vec<Progress>,
    pub root: Root,
}

fn open_lists(journal: Journal, sales: Arc<Sales>) -> Open {
    Arc::new(move || {
        let lists = ListsProjection::open(journal.clone(), Arc::clone(&sales))?;
        Ok(Box::new(lists) as Box<dyn Projection>)
    })
}

impl Runtime {
    /// Starts everything.
    ///
    /// # Errors
    /// An actor that does not start.
    pub async fn start(parts: RuntimeParts) -> Result<Self, SpawnErr> {
        let RuntimeParts { journal, clock, gateway, directory_limits, drive_limits, read_models, .. } = parts;
        let entities = Entities::new(&journal, &clock, directory_limits);
        let (lists, sales) = (Lists::new(journal.clone()), Arc::<Sales>::default());
        let lists_progress = Progress::new("lists", journal.clone());
        let driver = Driver {
            orders: entities.orders.clone(),
            carts: entities.carts.clone(),
            inventories: entities.inventories.clone(),
            journal: journal.clone(),
            gateway: Arc::clone(&gateway),
            clock: clock.clone(),
            limits: drive_limits,
            sales: Arc::clone(&sales),
        };
        let checkout = Checkout::new(driver, lists.clone(), lists_progress.clone());
        let reconciler = Reconciler::new(reconciler::Parts {
            orders: entities.orders.clone(),
            unmatched_notices: entities.unmatched_notices.clone(),
            gateway,
            checkout: checkout.clone(),
            lists: lists.clone(),
            progress: lists_progress.clone(),
            clock,
            every_ms: parts.reconcile_every_ms,
            deadline_ms: parts.payment_deadline_ms,
        });
        let erasure = Erasure::new(ErasureParts {
            accounts: entities.accounts.clone(),
            carts: entities.carts.clone(),
            orders: entities.orders.clone(),
            reviews: entities.reviews.clone(),
            ratings: entities.ratings.clone(),
            sellers: entities.sellers.clone(),
            lists: lists.clone(),
            progress: lists_progress.clone(),
        });
        let rating_counter = RatingCounter {
            reviews: entities.reviews.clone(),
            ratings: entities.ratings.clone(),
            lists: lists.clone(),
            progress: lists_progress.clone(),
            erasure: erasure.clone(),
        };
        let mut children = entities.owners();
        children.push(Child::follower(
            &lists_progress,
            open_lists(journal, sales),
            parts.lists_commit_ms_min,
            Some(erasure.store_erased()),
        ));
        let mut progress = vec![lists_progress.clone()];
        for ReadModel { progress: of, open, commit_ms_min } in read_models {
            children.push(Child::follower(&of, open, commit_ms_min, None));
            progress.push(of);
        }
        children.push(Child::checkout(&checkout));
        children.push(Child::rating_counter(&rating_counter));
        children.push(Child::erasure(&erasure));
        children.push(Child::reconciler(&reconciler));
        let root = Root::start(children).await?;
        Ok(Self { entities, checkout, erasure, rating_counter, reconciler, lists, lists_progress, progress, root })
    }

    /// Ends everything in order: orders under way come to rest, entities answer what is queued, read models catch up.
    pub async fn close(&self) {
        self.root.expect_ends().await;
        self.reconciler.close();
        self.checkout.close().await;
        self.entities.close().await;
        for progress in &self.progress {
            progress.catch_up(FOLLOWERS_CATCH_UP).await;
        }
        self.root.stop().await;
    }
}
