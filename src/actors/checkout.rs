//! The process manager of all orders: it has one task per order under way, wakes resting orders at their time, and
//! resumes every open order at start.
//!
//! Everything that it has to know is in the orders. So it can be killed at any moment, and a start continues with the
//! list of open orders.
//!
//! May depend on `storage`, `payments` and `domain`.

use std::{
    collections::{BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use parking_lot::RwLock;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{
    sync::oneshot,
    task::{AbortHandle, JoinSet},
};

use super::{
    drive::{Driver, Rest},
    follower::{CaughtUp, Progress},
    lists::Lists,
    pages::Pages,
    sales::Sales,
};
use crate::domain::{
    entity::Timestamp,
    ids::OrderId,
    order::{Order, Poll},
};

/// How many orders may be under way at once, each in a task. A task takes a few kB; an order that waits for a slow
/// provider keeps its task.
const TASKS_MAX: usize = 20_000;
/// The time between two looks for orders that have to be woken, in milliseconds. An unpaid order expires at most so
/// much after its deadline, unless `TASKS_MAX` orders are under way, or it is parked because the provider does not
/// answer.
const TICK_MS: u64 = 250;
/// By how much the clock must be set back for all open orders to be driven again, in milliseconds. After a smaller jump
/// they only rest longer.
const SET_BACK_MS: u64 = 10_000;
/// How many open orders a start resumes before a pause, and the pause, in milliseconds: 2,000 orders a second, so that
/// a start leaves room for shoppers.
const RESUME_AT_ONCE: usize = 100;
const RESUME_PAUSE_MS: u64 = 50;
/// The pause before a start lists the open orders again, after an error, in seconds.
const LIST_AGAIN_SECONDS: u64 = 1;
/// How long a start waits for the list of open orders to catch up before it logs a warning and waits again, in seconds.
const CATCH_UP_SECONDS: u64 = 60;
/// How long the orders under way may take to rest when the shop closes, in seconds. The next start resumes the others.
const CLOSE_SECONDS: u64 = 5;

/// The handle of the checkout. Cheap to clone.
#[derive(Clone)]
pub struct Checkout(Arc<CheckoutShared>);

struct CheckoutShared {
    actor: RwLock<Option<ActorRef<CheckoutMessage>>>,
    driver: Driver,
    lists: Lists,
    progress: Progress,
}

/// A message to the checkout.
pub(super) enum CheckoutMessage {
    /// Drive an order until it rests.
    Drive {
        order: OrderId,
        /// The order as the sender saw it; `None` if it is to be read.
        known: Option<Arc<Order>>,
        poll: Poll,
        /// Is answered when the order rests. If it is dropped, nobody drives the order now.
        done: Option<oneshot::Sender<()>>,
    },
    /// A task has driven this order to rest.
    Rested(OrderId, Rest),
    /// Wake the orders whose time has come.
    Tick,
    /// Answer when no order is under way any more.
    Close(oneshot::Sender<()>),
}

impl Checkout {
    /// A checkout with this driver. It works once the root has started its actor.
    #[must_use]
    pub fn new(driver: Driver, lists: Lists, progress: Progress) -> Self {
        Self(Arc::new(CheckoutShared { actor: RwLock::new(None), driver, lists, progress }))
    }

    /// What is counted of the orders that it drives, and of the lists.
    #[must_use]
    pub fn sales(&self) -> &Sales {
        &self.0.driver.sales
    }

    pub(super) fn actor(&self) -> CheckoutActor {
        CheckoutActor(Arc::clone(&self.0))
    }

    #[cfg(test)]
    pub(super) fn driver(&self) -> &Driver {
        &self.0.driver
    }

    /// The actor, for tests that end it.
    #[cfg(test)]
    pub(super) fn running(&self) -> Option<ActorRef<CheckoutMessage>> {
        self.0.actor.read().clone()
    }

    /// Drives an order until it rests and all its events are durable. `known` is the order as the caller saw it, which
    /// need not be durable yet. Dropping the future does not stop the order.
    pub async fn drive(&self, order: OrderId, known: Option<Arc<Order>>, poll: Poll) {
        let (done, rested) = oneshot::channel();
        let actor = self.0.actor.read().clone();
        if let Some(actor) = actor
            && actor.send_message(CheckoutMessage::Drive { order, known, poll, done: Some(done) }).is_ok()
        {
            let _ = rested.await;
        }
    }

    /// Waits until no order is under way any more, but not for ever.
    pub async fn close(&self) {
        let Some(actor) = self.0.actor.write().take() else { return };
        let (done, closed) = oneshot::channel();
        if actor.send_message(CheckoutMessage::Close(done)).is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(CLOSE_SECONDS), closed).await;
        }
        let _ = actor.stop_and_wait(None, Some(Duration::from_secs(1))).await;
    }
}

pub(super) struct CheckoutActor(Arc<CheckoutShared>);

/// The state of the actor. A restart can do without it.
pub(super) struct CheckoutState {
    tasks: JoinSet<()>,
    under_way: HashMap<OrderId, UnderWay>,
    wakes: Wakes,
    /// When a step of a parked order began to have no definite answer. A restart forgets it, and drives the order at
    /// once.
    unanswered: HashMap<OrderId, Timestamp>,
    /// The time of the last tick.
    ticked_at: Timestamp,
    /// The task that resumes the open orders.
    resumes: AbortHandle,
    /// Whether the shop closes: then no order begins to be driven.
    is_closing: bool,
    /// Waits until no order is under way any more.
    closed: Option<oneshot::Sender<()>>,
}

/// An order that a task is driving.
#[derive(Default)]
struct UnderWay {
    /// The senders that wait until it rests.
    waiting: Vec<oneshot::Sender<()>>,
    /// Messages that came while the task was at work. It may have read the order before their change, so it runs once
    /// more.
    rerun: Option<Rerun>,
}

struct Rerun {
    known: Option<Arc<Order>>,
    poll: Poll,
    waiting: Vec<oneshot::Sender<()>>,
}

/// When orders that rest are woken: each of them once.
#[derive(Default)]
struct Wakes {
    by_time: BTreeSet<(Timestamp, OrderId)>,
    by_order: HashMap<OrderId, Timestamp>,
}

impl Wakes {
    /// Sets the only moment at which an order is woken; `None` for never.
    fn set(&mut self, order: OrderId, moment: Option<Timestamp>) {
        if let Some(before) = self.by_order.remove(&order) {
            self.by_time.remove(&(before, order));
        }
        if let Some(moment) = moment {
            self.by_order.insert(order, moment);
            self.by_time.insert((moment, order));
        }
    }

    /// Removes the next order that has to be woken by now.
    fn next(&mut self, now: Timestamp) -> Option<OrderId> {
        let (_, order) = self.by_time.first().copied().filter(|(moment, _)| *moment <= now)?;
        self.set(order, None);
        Some(order)
    }
}

impl Actor for CheckoutActor {
    type Msg = CheckoutMessage;
    type State = CheckoutState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<CheckoutMessage>, (): ()) -> Result<CheckoutState, ActorProcessingErr> {
        *self.0.actor.write() = Some(myself.clone());
        myself.send_interval(Duration::from_millis(TICK_MS), || CheckoutMessage::Tick);
        let mut tasks = JoinSet::new();
        let resumes = tasks.spawn(resume(Arc::clone(&self.0), myself));
        Ok(CheckoutState {
            tasks,
            under_way: HashMap::new(),
            wakes: Wakes::default(),
            unanswered: HashMap::new(),
            ticked_at: Timestamp::default(),
            resumes,
            is_closing: false,
            closed: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<CheckoutMessage>,
        message: CheckoutMessage,
        state: &mut CheckoutState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            CheckoutMessage::Drive { order, known, poll, done } => {
                self.drive(&myself, order, known, poll, done, state);
            }
            CheckoutMessage::Rested(order, rest) => self.rested(&myself, order, rest, state),
            CheckoutMessage::Tick => self.tick(&myself, state),
            CheckoutMessage::Close(done) => {
                state.resumes.abort();
                (state.is_closing, state.closed) = (true, Some(done));
                Self::finish_closing(state);
            }
        }
        while state.tasks.try_join_next().is_some() {}
        Ok(())
    }
}

impl CheckoutActor {
    fn drive(
        &self,
        myself: &ActorRef<CheckoutMessage>,
        order: OrderId,
        known: Option<Arc<Order>>,
        poll: Poll,
        done: Option<oneshot::Sender<()>>,
        state: &mut CheckoutState,
    ) {
        if state.is_closing {
            // The sender gets its answer now. The next start resumes the order.
            return;
        }
        if let Some(under_way) = state.under_way.get_mut(&order) {
            let rerun = under_way.rerun.get_or_insert(Rerun { known: None, poll, waiting: Vec::new() });
            rerun.waiting.extend(done);
            rerun.known = known.or(rerun.known.take());
            if poll == Poll::Now {
                rerun.poll = Poll::Now;
            }
            return;
        }
        if state.under_way.len() >= TASKS_MAX {
            // The sender gets its answer now, and sees the order as it is. The next tick drives the order.
            state.wakes.set(order, Some(self.0.driver.clock.now()));
            return;
        }
        state.under_way.insert(order, UnderWay { waiting: done.into_iter().collect(), rerun: None });
        self.start(myself, order, known, poll, state);
    }

    fn start(
        &self,
        myself: &ActorRef<CheckoutMessage>,
        order: OrderId,
        known: Option<Arc<Order>>,
        poll: Poll,
        state: &mut CheckoutState,
    ) {
        let (driver, myself, since) = (self.0.driver.clone(), myself.clone(), state.unanswered.get(&order).copied());
        state.tasks.spawn(async move {
            // After a panic in the driver the order must not stay under way for ever. The panic is caught here, not in
            // a task of its own: that could outlive the checkout, and an order must never have two drivers.
            let driven = AssertUnwindSafe(driver.drive(order, known, poll, since)).catch_unwind().await;
            let rest = driven.unwrap_or_else(|_| {
                tracing::error!(%order, "driving an order panicked");
                driver.rest_after_failure()
            });
            let _ = myself.send_message(CheckoutMessage::Rested(order, rest));
        });
    }

    fn rested(&self, myself: &ActorRef<CheckoutMessage>, order: OrderId, rest: Rest, state: &mut CheckoutState) {
        let Some(under_way) = state.under_way.get_mut(&order) else { return };
        match rest {
            Rest::Parked(_, since) => state.unanswered.insert(order, since),
            Rest::Until(_) | Rest::Done => state.unanswered.remove(&order),
        };
        self.0.driver.sales.set_payments_unknown(state.unanswered.len());
        for waiting in std::mem::take(&mut under_way.waiting) {
            let _ = waiting.send(());
        }
        if let Some(rerun) = under_way.rerun.take().filter(|_| !state.is_closing) {
            under_way.waiting = rerun.waiting;
            self.start(myself, order, rerun.known, rerun.poll, state);
            return;
        }
        state.under_way.remove(&order);
        let wake = match rest {
            Rest::Until(moment) | Rest::Parked(moment, _) => Some(moment),
            Rest::Done => None,
        };
        state.wakes.set(order, wake);
        Self::finish_closing(state);
    }

    fn tick(&self, myself: &ActorRef<CheckoutMessage>, state: &mut CheckoutState) {
        if state.is_closing {
            return;
        }
        let now = self.0.driver.clock.now();
        if std::mem::replace(&mut state.ticked_at, now).ms_since(now) > SET_BACK_MS {
            tracing::warn!("the clock was set back: open orders are looked at again");
            state.resumes.abort();
            state.resumes = state.tasks.spawn(resume(Arc::clone(&self.0), myself.clone()));
        }
        while state.under_way.len() < TASKS_MAX
            && let Some(order) = state.wakes.next(now)
        {
            self.drive(myself, order, None, Poll::Now, None, state);
        }
    }

    fn finish_closing(state: &mut CheckoutState) {
        if state.under_way.is_empty()
            && let Some(done) = state.closed.take()
        {
            let _ = done.send(());
        }
    }
}

/// Drives every open order once, a few at a time. First the list must catch up, as an order that is not in it yet would
/// not be driven.
async fn resume(shared: Arc<CheckoutShared>, actor: ActorRef<CheckoutMessage>) {
    while shared.progress.catch_up(Duration::from_secs(CATCH_UP_SECONDS)).await == CaughtUp::No {
        tracing::warn!("the list of open orders has not caught up yet; orders are resumed later");
    }
    let mut pages = Pages::new(&shared.lists, |lists, after| lists.open_orders(after, RESUME_AT_ONCE));
    let mut resumed: usize = 0;
    loop {
        let page = match pages.next().await {
            Ok(Some(page)) => page,
            Ok(None) => break,
            Err(error) => {
                tracing::error!(?error, "open orders cannot be listed; this is tried again");
                tokio::time::sleep(Duration::from_secs(LIST_AGAIN_SECONDS)).await;
                continue;
            }
        };
        resumed += page.len();
        for order in page {
            let message = CheckoutMessage::Drive { order, known: None, poll: Poll::Now, done: None };
            if actor.send_message(message).is_err() {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(RESUME_PAUSE_MS)).await;
    }
    if resumed > 0 {
        tracing::info!(resumed, "open orders resumed");
    }
}
