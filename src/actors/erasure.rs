//! Erases customers: a process manager that finishes what an account begins in the customer's cart, reviews and orders.
//!
//! It keeps no state of its own. A list holds every erasure from the event that begins it to the event that ends it; a
//! pass takes them one by one and does what is left. There is a pass at start, when a caller waits for one, and every
//! minute, so a crash between any two lines costs a repetition.
//!
//! An erasure begins with the account, which ends its sessions. Requests that are still under way must not escape it:
//!
//! ```text
//!  account  ErasureBegun   no new request
//!  cart     Erased         refuses every order that has not taken its lines yet; the checkout ends such an order
//!                          and erases its address
//!  (gate)                  reviews under way are written
//!  (lists)                 contain every earlier order and review
//!  reviews  Erased         each behind the gate, so that no rating that was read before is counted after it
//!  orders   Erased
//!  account  Erased         the address can be registered again
//! ```
//!
//! May depend on `storage` and `domain`.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use parking_lot::RwLock;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{OwnedRwLockReadGuard, RwLock as Gate, RwLockWriteGuard, oneshot};

use super::{
    directory::Directory,
    follower::{Progress, StoreErased},
    lists::{Lists, OrdersOf},
    pages::Pages,
    passes::{PAGE, WAIT_MAX, catch_up, pass_later},
    reply::{AskError, NotDelivered},
    task_error::{TaskError, retry_if_rejected},
};
use crate::{
    domain::{
        account::{self, Account},
        cart::{self, Cart},
        entity::{Entity, EntityId, Kind},
        ids::{AccountId, SellerId, UserId},
        order::{self, Order},
        ratings::{self, Ratings},
        review::{self, Review},
        seller::{self, Seller},
    },
    storage::Stream,
};

/// How often storing the state of a busy or recovering entity is tried, and the pause between two tries, in
/// milliseconds.
const STORE_TRIES: u32 = 20;
const STORE_PAUSE_MS: u64 = 100;

/// What an erasure reads and changes.
#[derive(Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ErasureParts {
    pub accounts: Directory<Account>,
    pub carts: Directory<Cart>,
    pub orders: Directory<Order>,
    pub reviews: Directory<Review>,
    pub ratings: Directory<Ratings>,
    pub sellers: Directory<Seller>,
    pub lists: Lists,
    pub progress: Progress,
}

/// The handle of the erasure process manager. Cheap to clone.
#[derive(Clone)]
pub struct Erasure(Arc<ErasureShared>);

struct ErasureShared {
    actor: RwLock<Option<ActorRef<ErasureMessage>>>,
    parts: ErasureParts,
    reviews_under_way: Arc<Gate<()>>,
}

/// Whether an erasure is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// All data of the customer is erased.
    Yes,
    /// Something holds it up, for instance an open order; a later pass finishes it.
    No,
}

/// A message to the erasure.
pub(super) enum ErasureMessage {
    /// Continue every erasure.
    EraseAll,
    /// Continue the erasure of this account, and answer whether it is finished. At most as many callers wait as
    /// requests are in flight.
    Erase(AccountId, oneshot::Sender<Finished>),
}

/// While it is held, an erasure waits for the review that is being written or counted.
pub struct ReviewUnderWay {
    _held: OwnedRwLockReadGuard<()>,
}

impl Erasure {
    /// An erasure process manager; it works when the root has started its actor.
    #[must_use]
    pub fn new(parts: ErasureParts) -> Self {
        Self(Arc::new(ErasureShared { actor: RwLock::new(None), parts, reviews_under_way: Arc::default() }))
    }

    pub(super) fn actor(&self) -> ErasureActor {
        ErasureActor(Arc::clone(&self.0))
    }

    /// Continues an erasure that has begun, and waits for the outcome. Dropping the future does not stop the erasure.
    pub async fn finish(&self, account: AccountId) -> Finished {
        let (done, finished) = oneshot::channel();
        let actor = self.0.actor.read().clone();
        match actor.map(|actor| actor.send_message(ErasureMessage::Erase(account, done))) {
            Some(Ok(())) => finished.await.unwrap_or(Finished::No),
            Some(Err(_)) | None => Finished::No,
        }
    }

    /// Has the states of erased streams stored, for the follower of the lists. A disk that is nearly full does not
    /// hinder it; a stream whose entity cannot be activated is logged and left as it is, and nothing waits for it.
    #[must_use]
    pub fn store_erased(&self) -> StoreErased {
        let erasure = self.clone();
        Arc::new(move |streams| {
            let erasure = erasure.clone();
            let store = async move {
                for stream in &streams {
                    match erasure.0.store_state(stream).await {
                        Ok(()) => {}
                        Err(TaskError::Closing) => return Err(NotDelivered::Closed),
                        Err(TaskError::Retry(problem)) => {
                            tracing::error!(?stream, problem, "erased data may still be stored");
                        }
                    }
                }
                Ok(())
            };
            store.boxed()
        })
    }

    /// To be held from before the reviewer's account is read until the review is durable: an erasure waits for it, and
    /// so finds the review. And from before a review is read until its rating is counted: an erasure erases a review
    /// and its rating before or after both.
    pub async fn review_under_way(&self) -> ReviewUnderWay {
        ReviewUnderWay { _held: Arc::clone(&self.0.reviews_under_way).read_owned().await }
    }
}

pub(super) struct ErasureActor(Arc<ErasureShared>);

impl Actor for ErasureActor {
    type Msg = ErasureMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<ErasureMessage>, (): ()) -> Result<(), ActorProcessingErr> {
        *self.0.actor.write() = Some(myself.clone());
        myself.send_message(ErasureMessage::EraseAll)?;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<ErasureMessage>,
        message: ErasureMessage,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ErasureMessage::EraseAll => {
                self.0.pass(None).await;
                pass_later(&myself, || ErasureMessage::EraseAll);
            }
            ErasureMessage::Erase(account, waiting) => {
                let _ = waiting.send(self.0.pass(Some(account)).await);
            }
        }
        Ok(())
    }
}

impl ErasureShared {
    /// Continues every open erasure, or only that of one account; returns whether none of them is open any more.
    async fn pass(&self, only: Option<AccountId>) -> Finished {
        match self.erase_listed(only).await {
            Ok(finished) => finished,
            Err(TaskError::Closing) => Finished::No,
            Err(TaskError::Retry(problem)) => {
                tracing::warn!(problem, "erasures are left to the next pass");
                Finished::No
            }
        }
    }

    /// An erasure that has to wait does not keep the others waiting.
    async fn erase_listed(&self, only: Option<AccountId>) -> Result<Finished, TaskError> {
        catch_up(&self.parts.progress).await?;
        let mut finished = Finished::Yes;
        let mut erasures = Pages::new(&self.parts.lists, |lists, after| lists.erasures(after, PAGE));
        while let Some(page) = erasures.next().await? {
            for (account, user) in page.into_iter().filter(|(account, _)| only.is_none_or(|only| only == *account)) {
                let erased = self.erase(account, user).await;
                if let Err(TaskError::Retry(problem)) = &erased {
                    tracing::info!(%user, problem, "a customer is not erased yet");
                }
                if erased.is_err() {
                    finished = Finished::No;
                }
            }
        }
        Ok(finished)
    }

    async fn erase(&self, account: AccountId, user: UserId) -> Result<(), TaskError> {
        let parts = &self.parts;
        retry_if_rejected(parts.carts.ask_within(WAIT_MAX, &user, cart::Command::Erase).await?)?;
        drop(self.no_review_under_way().await?);
        catch_up(&self.parts.progress).await?;
        self.erase_reviews(user).await?;
        self.erase_orders(user).await?;
        // Sellers are not erased, but a customer may have been one, under their own name.
        let seller = SellerId::of(user);
        retry_if_rejected(parts.sellers.ask_within(WAIT_MAX, &seller, seller::Command::Erase).await?)?;
        let finish = account::Command::FinishErasure;
        retry_if_rejected(parts.accounts.ask_within(WAIT_MAX, &account, finish).await?)?;
        tracing::info!(%user, "a customer is erased");
        Ok(())
    }

    /// Waits until no review is being written or counted, and keeps others from beginning while the result is held.
    async fn no_review_under_way(&self) -> Result<RwLockWriteGuard<'_, ()>, TaskError> {
        let held = tokio::time::timeout(WAIT_MAX, self.reviews_under_way.write()).await;
        held.map_err(|_| TaskError::retry("reviews are being written"))
    }

    async fn erase_reviews(&self, customer: UserId) -> Result<(), TaskError> {
        let parts = &self.parts;
        let mut reviews = Pages::new(&parts.lists, move |lists, after| lists.reviews_of(customer, after, PAGE));
        while let Some(page) = reviews.next().await? {
            for id in page {
                let _held = self.no_review_under_way().await?;
                // The rating first: with its text the review leaves the list, and a later pass would not find it.
                let forget = ratings::Command::Forget { customer };
                retry_if_rejected(parts.ratings.ask_within(WAIT_MAX, &id.product, forget).await?)?;
                retry_if_rejected(parts.reviews.ask_within(WAIT_MAX, &id, review::Command::Erase).await?)?;
            }
        }
        Ok(())
    }

    async fn erase_orders(&self, customer: UserId) -> Result<(), TaskError> {
        let (parts, of) = (&self.parts, OrdersOf::Customer(customer));
        let mut erased = Ok(());
        let mut orders = Pages::new(&parts.lists, move |lists, after| lists.orders(of, after, PAGE));
        while let Some(page) = orders.next().await? {
            for id in page {
                if let Err(rejection) = parts.orders.ask_within(WAIT_MAX, &id, order::Command::Erase).await? {
                    erased = Err(TaskError::Retry(format!("{id}: {rejection}")));
                }
            }
        }
        erased
    }

    async fn store_state(&self, stream: &Stream) -> Result<(), TaskError> {
        let parts = &self.parts;
        match stream.kind() {
            kind if kind == Kind::Account as u8 => store_state(&parts.accounts, stream).await,
            kind if kind == Kind::Cart as u8 => store_state(&parts.carts, stream).await,
            kind if kind == Kind::Order as u8 => store_state(&parts.orders, stream).await,
            kind if kind == Kind::Review as u8 => store_state(&parts.reviews, stream).await,
            kind if kind == Kind::Ratings as u8 => store_state(&parts.ratings, stream).await,
            kind if kind == Kind::Seller as u8 => store_state(&parts.sellers, stream).await,
            kind => Err(TaskError::Retry(format!("nothing of kind {kind} erases"))),
        }
    }
}

/// Has the state of an entity stored, with retries while the entity is busy or recovering.
async fn store_state<E: Entity>(directory: &Directory<E>, stream: &Stream) -> Result<(), TaskError> {
    let id = E::Id::from_key(stream.key()).ok_or_else(|| TaskError::retry("a bad id"))?;
    for _ in 0..STORE_TRIES {
        match tokio::time::timeout(WAIT_MAX, directory.store_state(&id)).await {
            // A read-only disk only hinders new events: the entity is alive, and its snapshot is offered.
            Ok(Ok(()) | Err(AskError::NotDelivered(NotDelivered::ReadOnly))) => return Ok(()),
            Ok(Err(AskError::NotDelivered(NotDelivered::Closed))) => return Err(TaskError::Closing),
            Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(STORE_PAUSE_MS)).await,
            Err(_) => break,
        }
    }
    Err(TaskError::retry("the entity cannot be activated"))
}
