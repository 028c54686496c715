//! What is begun in one stream and has to be finished in others: stars that a product has not counted yet, and customers who
//! are to be erased.
//!
//! It keeps nothing of its own. What is unfinished stands in the lists, from the event that begins it to the one that ends it;
//! a pass takes one after the other and does what is left of it. There is a pass at start, when somebody waits for one, and
//! every minute; so a crash between any two lines costs a repetition.
//!
//! An erasure begins with the account, whose sessions end with it; what is on its way then must not slip through:
//!
//! ```text
//!  account  ErasureBegun   no new request
//!  cart     Erased         refuses every order that has not taken its lines yet; the checkout ends it, its address erased
//!  (gate)                  reviews under way are written
//!  (lists)                 hold every order and review from before
//!  reviews, orders  Erased
//!  account  Erased         the address can be registered again
//! ```
//!
//! May depend on `storage` and `domain`.

use std::{sync::Arc, time::Duration};

use parking_lot::RwLock;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{OwnedRwLockReadGuard, RwLock as Gate, oneshot};

use super::{
    directory::Directory,
    drive::{Trouble, repeat_if_refused, within},
    entity_actor::{AskError, NotDelivered},
    follower::{CaughtUp, Progress},
    lists::{Listed, Lists, OrdersOf, Settle},
};
use crate::{
    domain::{
        account::{self, Account},
        cart::{self, Cart},
        entity::{Entity, EntityId, Kind},
        ids::{AccountId, UserId},
        order::{self, Order},
        review::{self, Review, ReviewId},
        reviews::{self, Reviews},
    },
    storage::{Fault, Stream},
};

/// How often there is a pass, in milliseconds: what could not be finished, because an order is still on its way, waits so long.
const PASS_MS: u64 = 60_000;
/// How many entries of a list are taken at once.
const PAGE: usize = 100;
/// How long one wait of a pass may take, in milliseconds: for an entity, for the lists, for reviews under way.
const WAIT_MS_MAX: u64 = 5_000;
/// How often an entity that is busy, or recovering, is asked to have its state stored, and how long the pause between is, in
/// milliseconds.
const SETTLE_TRIES: u32 = 20;
const SETTLE_PAUSE_MS: u64 = 100;

/// What errands work on.
#[derive(Clone)]
pub struct Tools {
    /// All accounts.
    pub accounts: Directory<Account>,
    /// All carts.
    pub carts: Directory<Cart>,
    /// All orders.
    pub orders: Directory<Order>,
    /// All reviews.
    pub reviews: Directory<Review>,
    /// The stars of all products.
    pub ratings: Directory<Reviews>,
    /// Where it stands what is unfinished.
    pub lists: Lists,
    /// How far the lists have come.
    pub progress: Progress,
}

/// The way to the errands. Cheap to clone.
#[derive(Clone)]
pub struct Errands(Arc<Shared>);

struct Shared {
    actor: RwLock<Option<ActorRef<Pass>>>,
    tools: Tools,
    reviews_under_way: Arc<Gate<()>>,
}

/// Whether something is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It is.
    Yes,
    /// Not yet; it will be.
    No,
}

/// The only message: make a pass, and tell who waits whether the erasure of this account is finished with it. As many can be
/// waiting as requests are at work.
pub(super) struct Pass(Option<(AccountId, oneshot::Sender<Finished>)>);

/// While it is held, a review may be written by a customer who is not being erased.
pub struct ReviewUnderWay {
    _held: OwnedRwLockReadGuard<()>,
}

impl Errands {
    /// The errands with these tools; they are run when the root has started their actor.
    #[must_use]
    pub fn new(tools: Tools) -> Self {
        Self(Arc::new(Shared { actor: RwLock::new(None), tools, reviews_under_way: Arc::default() }))
    }

    pub(super) fn actor(&self) -> ErrandsActor {
        ErrandsActor(Arc::clone(&self.0))
    }

    /// Goes on with an erasure that has begun, and waits for the pass. Dropping the future does not stop it.
    pub async fn go_on_erasing(&self, account: AccountId) -> Finished {
        let (done, finished) = oneshot::channel();
        let actor = self.0.actor.read().clone();
        match actor.map(|actor| actor.send_message(Pass(Some((account, done))))) {
            Some(Ok(())) => finished.await.unwrap_or(Finished::No),
            Some(Err(_)) | None => Finished::No,
        }
    }

    /// What the lists have states stored with. A disk that is nearly full does not hinder it; an entity that does not come to
    /// life is left as it is, and nothing waits for it.
    #[must_use]
    pub fn settle(&self) -> Settle {
        let errands = self.clone();
        Arc::new(move |stream| match tokio::runtime::Handle::current().block_on(errands.0.settle(stream)) {
            Err(Trouble::Closing) => Err(NotDelivered::Closed),
            Err(Trouble::Repeat(problem)) => {
                tracing::error!(?stream, problem, "what an event erased may still be stored");
                Ok(())
            }
            Ok(()) => Ok(()),
        })
    }

    /// To be held from before a reviewer's account is looked at until the review is durable: an erasure waits for it, and so
    /// finds the review.
    pub async fn review_under_way(&self) -> ReviewUnderWay {
        ReviewUnderWay { _held: Arc::clone(&self.0.reviews_under_way).read_owned().await }
    }
}

/// The actor.
pub(super) struct ErrandsActor(Arc<Shared>);

impl Actor for ErrandsActor {
    type Msg = Pass;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Pass>, (): ()) -> Result<(), ActorProcessingErr> {
        *self.0.actor.write() = Some(myself.clone());
        myself.send_message(Pass(None))?;
        myself.send_interval(Duration::from_millis(PASS_MS), || Pass(None));
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Pass>, Pass(waiting): Pass, (): &mut ()) -> Result<(), ActorProcessingErr> {
        let asked = waiting.as_ref().map(|(account, _)| *account);
        let finished = match self.0.pass(asked).await {
            Ok(finished) => finished,
            Err(Trouble::Closing) => Finished::No,
            Err(Trouble::Repeat(problem)) => {
                tracing::warn!(problem, "errands are left for the next pass");
                Finished::No
            }
        };
        if let Some((_, waiting)) = waiting {
            let _ = waiting.send(finished);
        }
        Ok(())
    }
}

impl Shared {
    /// Does what is left of everything; whether the erasure that was asked for is finished. What cannot be finished now does
    /// not keep the others waiting.
    async fn pass(&self, asked: Option<AccountId>) -> Result<Finished, Trouble> {
        self.catch_up().await?;
        let mut after = None;
        loop {
            let page = self.list(move |lists| lists.uncounted_reviews(after.as_deref(), PAGE)).await?;
            for id in page.items {
                if let Err(Trouble::Repeat(problem)) = self.count(&id).await {
                    tracing::warn!(%id, problem, "the stars of a review are not counted yet");
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let mut finished = Finished::Yes;
        loop {
            let page = self.list(move |lists| lists.erasures(after.as_deref(), PAGE)).await?;
            for (account, user) in page.items {
                let erased = self.erase(account, user).await;
                if let Err(Trouble::Repeat(problem)) = &erased {
                    tracing::info!(%user, problem, "a customer is not erased yet");
                }
                if erased.is_err() && asked == Some(account) {
                    finished = Finished::No;
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(finished);
            }
        }
    }

    /// Tells a product of the stars of a review. One that the product has no room for is withdrawn.
    async fn count(&self, id: &ReviewId) -> Result<(), Trouble> {
        let view = self.tools.reviews.read(id).await.map_err(|error| Trouble::Repeat(error.to_string()))?.view;
        let Some(written) = view.written else { return Ok(()) };
        let (customer, rating, version) = (id.customer, written.content.rating, view.version);
        let rate = reviews::Command::Rate { customer, rating, version };
        match self.ask(&self.tools.ratings, &id.product, rate).await? {
            Ok(_) => Ok(()),
            Err(reviews::Rejection::TooMany) => {
                repeat_if_refused(self.ask(&self.tools.reviews, id, review::Command::Erase).await?)
            }
        }
    }

    async fn erase(&self, account: AccountId, user: UserId) -> Result<(), Trouble> {
        repeat_if_refused(self.ask(&self.tools.carts, &user, cart::Command::Erase).await?)?;
        let wait = Duration::from_millis(WAIT_MS_MAX);
        let written = tokio::time::timeout(wait, self.reviews_under_way.write()).await;
        drop(written.map_err(|_| Trouble::Repeat("reviews are under way".into()))?);
        self.catch_up().await?;
        self.erase_reviews(user).await?;
        self.erase_orders(user).await?;
        repeat_if_refused(self.ask(&self.tools.accounts, &account, account::Command::FinishErasure).await?)?;
        tracing::info!(%user, "a customer is erased");
        Ok(())
    }

    async fn erase_reviews(&self, customer: UserId) -> Result<(), Trouble> {
        let mut after = None;
        loop {
            let page = self.list(move |lists| lists.reviews_of(customer, after.as_deref(), PAGE)).await?;
            for id in page.items {
                // The stars first: with its text the review leaves the list, and would not be found again.
                let forget = reviews::Command::Forget { customer };
                repeat_if_refused(self.ask(&self.tools.ratings, &id.product, forget).await?)?;
                repeat_if_refused(self.ask(&self.tools.reviews, &id, review::Command::Erase).await?)?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn erase_orders(&self, customer: UserId) -> Result<(), Trouble> {
        let (mut after, mut erased) = (None, Ok(()));
        loop {
            let of = OrdersOf::Customer(customer);
            let page = self.list(move |lists| lists.orders(of, after.as_deref(), PAGE)).await?;
            for id in page.items {
                if let Err(rejection) = self.ask(&self.tools.orders, &id, order::Command::Erase).await? {
                    erased = Err(Trouble::Repeat(format!("{id}: {rejection}")));
                }
            }
            after = page.next;
            if after.is_none() {
                return erased;
            }
        }
    }

    async fn settle(&self, stream: &Stream) -> Result<(), Trouble> {
        let tools = &self.tools;
        match stream.kind() {
            kind if kind == Kind::Account as u8 => settle(&tools.accounts, stream).await,
            kind if kind == Kind::Cart as u8 => settle(&tools.carts, stream).await,
            kind if kind == Kind::Order as u8 => settle(&tools.orders, stream).await,
            kind if kind == Kind::Review as u8 => settle(&tools.reviews, stream).await,
            kind if kind == Kind::Reviews as u8 => settle(&tools.ratings, stream).await,
            kind => Err(Trouble::Repeat(format!("nothing of kind {kind} erases"))),
        }
    }

    async fn catch_up(&self) -> Result<(), Trouble> {
        match self.tools.progress.catch_up(Duration::from_millis(WAIT_MS_MAX)).await {
            CaughtUp::Yes => Ok(()),
            CaughtUp::No => Err(Trouble::Repeat("the lists have not caught up".into())),
        }
    }

    async fn list<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Lists) -> Result<Listed<T>, Fault> + Send + 'static,
    ) -> Result<Listed<T>, Trouble> {
        let lists = self.tools.lists.clone();
        match tokio::task::spawn_blocking(move || read(&lists)).await {
            Ok(Ok(page)) => Ok(page),
            Ok(Err(Fault::Closed | Fault::Failed)) => Err(Trouble::Closing),
            Ok(Err(fault)) => Err(Trouble::Repeat(fault.to_string())),
            Err(error) => Err(Trouble::Repeat(error.to_string())),
        }
    }

    async fn ask<E: Entity>(
        &self,
        directory: &Directory<E>,
        id: &E::Id,
        command: E::Command,
    ) -> Result<Result<E::View, E::Rejection>, Trouble> {
        within::<E>(Duration::from_millis(WAIT_MS_MAX), id, directory.ask(id, command)).await
    }
}

/// Has the state of an entity stored, again and again while it is busy.
async fn settle<E: Entity>(directory: &Directory<E>, stream: &Stream) -> Result<(), Trouble> {
    let id = E::Id::from_key(stream.key()).ok_or_else(|| Trouble::Repeat("a bad id".into()))?;
    for _ in 0..SETTLE_TRIES {
        let settled = tokio::time::timeout(Duration::from_millis(WAIT_MS_MAX), directory.settle(&id)).await;
        match settled {
            // What cannot be written now is no new event: the entity is alive, and its state is offered.
            Ok(Ok(()) | Err(AskError::NotDelivered(NotDelivered::ReadOnly))) => return Ok(()),
            Ok(Err(AskError::NotDelivered(NotDelivered::Closed))) => return Err(Trouble::Closing),
            Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(SETTLE_PAUSE_MS)).await,
            Err(_) => break,
        }
    }
    Err(Trouble::Repeat("it does not come to life".into()))
}
