//! The checkout's hands: performs the step that an order says is next, records the outcome, and asks again.
//!
//! It runs ahead of the disk: a step begins when the one before it is admitted to the journal, because none can become durable
//! without those before it. It waits for the disk twice: before anything leaves for the provider, and before an order rests,
//! which is when customers are told.
//!
//! Every step may be performed twice, and an unknown outcome is repeated; so a crash between any two lines costs a repetition.
//! But an order has one driver at a time, and the checkout sees to it: of two, one could reserve what the other was refused.
//! No actor waits for another one here, and none is held while the provider answers: this runs in a task per order.
//!
//! May depend on `payments`, `storage` and `domain`.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;

use super::{
    directory::Directory,
    entity_actor::{Answer, AskError, NotDelivered},
};
use crate::{
    clock::Clock,
    domain::{
        cart::{self, Cart},
        entity::{Entity, Timestamp},
        ids::OrderId,
        inventory::{self, Hold, Inventory},
        order::{self, EndReason, Order, Placement, Step, StockAnswer},
    },
    payments::{Charge, Gateway, OperationKey},
    planted::{Bug, planted},
    storage::{Fault, Journal, LoadError},
};

/// After how long an order that cannot be read, or whose driver panicked, is looked at again, in milliseconds.
const LOOK_AGAIN_MS: u64 = 60_000;

/// The limits of driving an order.
#[derive(Debug, Clone, Copy)]
pub struct DriveLimits {
    /// How long the provider may take to answer, in milliseconds; after it the outcome is unknown.
    pub provider_ms_max: u64,
    /// How long an entity may take to answer, in milliseconds; after it the outcome is unknown.
    pub entity_ms_max: u64,
    /// The first pause before an unknown outcome is asked for again, in milliseconds. It doubles, with full jitter.
    pub back_off_ms_min: u64,
    /// The longest pause, in milliseconds.
    pub back_off_ms_max: u64,
}

impl Default for DriveLimits {
    fn default() -> Self {
        Self { provider_ms_max: 10_000, entity_ms_max: 10_000, back_off_ms_min: 20, back_off_ms_max: 30_000 }
    }
}

/// What driving needs.
#[derive(Clone)]
pub struct Driver {
    /// All orders.
    pub orders: Directory<Order>,
    /// All carts.
    pub carts: Directory<Cart>,
    /// All inventories.
    pub inventories: Directory<Inventory>,
    /// What is waited for before anything leaves the shop.
    pub journal: Journal,
    /// The payment provider.
    pub gateway: Arc<dyn Gateway>,
    /// The time.
    pub clock: Clock,
    /// Limits.
    pub limits: DriveLimits,
}

/// Where an order rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// There is nothing more to do for the checkout, or the shop is closing and the next start resumes it.
    Done,
    /// It waits until this moment: for its customer, or because something is wrong with it.
    Until(Timestamp),
}

/// A step whose outcome is unknown, or that could not be delivered.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Repeat it after a pause.
    Repeat(String),
    /// The shop is closing.
    Closing,
}

/// The order after a step; admitted, and durable when the order rests.
type Outcome = Result<Arc<Order>, Trouble>;

impl Driver {
    /// Performs step after step until the order rests. `known` is the order as the caller was told, which need not be durable yet.
    pub async fn drive(&self, id: OrderId, known: Option<Arc<Order>>) -> Rest {
        let mut pause_ms = self.limits.back_off_ms_min;
        let mut known = known;
        // Is there anything that need not be durable yet?
        let mut ahead = known.is_some();
        loop {
            let order = match known.take() {
                Some(order) => order,
                None => match self.orders.read(&id).await {
                    Ok(versioned) => versioned.view,
                    Err(LoadError::Fault(Fault::Closed | Fault::Failed)) => return Rest::Done,
                    Err(error) => {
                        tracing::error!(%id, %error, "an order cannot be read; this is tried again");
                        return self.look_again();
                    }
                },
            };
            let (Some(step), Some(placement)) = (order.next_step(), order.placement()) else { return Rest::Done };
            let outcome = match step {
                Step::Done => return self.rest(Rest::Done, ahead).await,
                Step::AwaitPayment if self.clock.now() < placement.deadline => {
                    return self.rest(Rest::Until(placement.deadline), ahead).await;
                }
                Step::AwaitPayment => self.tell(id, order::Command::Expire).await,
                Step::TakeFromCart => self.take(id, placement).await,
                Step::Reserve(lines) => self.reserve(id, placement, &lines).await,
                Step::Pay { attempt } => {
                    // The intent is durable before a byte leaves.
                    if ahead && self.journal.barrier().await.is_err() {
                        return Rest::Done;
                    }
                    self.pay(id, &order, placement, attempt).await
                }
                Step::Fulfil => self.fulfil(id, placement).await,
                Step::Undo(lines) => self.undo(id, placement, &lines).await,
            };
            match outcome {
                Ok(order) => {
                    (known, ahead) = (Some(order), true);
                    pause_ms = self.limits.back_off_ms_min;
                }
                Err(Trouble::Closing) => return Rest::Done,
                Err(Trouble::Repeat(problem)) => {
                    tracing::warn!(%id, problem, pause_ms, "a step of an order is to be repeated");
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(1..=pause_ms.max(1)))).await;
                    pause_ms = (pause_ms * 2).min(self.limits.back_off_ms_max);
                    // What is read next must not be older than what was done.
                    if self.journal.barrier().await.is_err() {
                        return Rest::Done;
                    }
                    ahead = false;
                }
            }
        }
    }

    /// The order rests when all that was done is durable. Where that cannot be any more, the next start resumes it.
    async fn rest(&self, rest: Rest, ahead: bool) -> Rest {
        if ahead && self.journal.barrier().await.is_err() {
            return Rest::Done;
        }
        rest
    }

    /// Rest for an order that something is wrong with: money may be at stake, so it is not left until the next start.
    pub(super) fn look_again(&self) -> Rest {
        Rest::Until(self.clock.now().plus_ms(LOOK_AGAIN_MS))
    }

    async fn take(&self, id: OrderId, placement: &Placement) -> Outcome {
        let line = |line: &order::Line| cart::Line { product: line.product.clone(), quantity: line.quantity };
        let take = cart::Command::Take {
            order: id,
            fingerprint: placement.fingerprint,
            version: placement.cart_version,
            lines: placement.lines.iter().map(line).collect(),
        };
        let refused = match self.ask(&self.carts, &placement.customer, take).await? {
            Ok(_) => return self.tell(id, order::Command::RecordTaken).await,
            Err(cart::Rejection::TooManyOpenOrders) => EndReason::TooManyOpenOrders,
            Err(cart::Rejection::Erased) => EndReason::CustomerErased,
            Err(_) => EndReason::CartChanged,
        };
        self.tell(id, order::Command::RejectByCart(refused)).await
    }

    async fn reserve(&self, id: OrderId, placement: &Placement, lines: &[u16]) -> Outcome {
        let asked = join_all(lines.iter().map(|index| async move {
            let line = &placement.lines[usize::from(*index)];
            let (quantity, deadline) = (line.quantity, placement.deadline);
            if planted(Bug::ReservationSkipped) {
                return Ok((*index, StockAnswer::Reserved));
            }
            let reserve = inventory::Command::Reserve { hold: Hold { order: id, round: 0 }, quantity, deadline };
            let answer = match self.ask(&self.inventories, &line.product, reserve).await? {
                Ok(_) => StockAnswer::Reserved,
                Err(inventory::Rejection::InsufficientStock { available, .. }) => StockAnswer::Refused { available },
                Err(inventory::Rejection::DeadlinePassed) => StockAnswer::TooLate,
                Err(rejection) => {
                    tracing::error!(%id, product = %line.product, %rejection, "a reservation was refused");
                    StockAnswer::Refused { available: 0 }
                }
            };
            Ok::<_, Trouble>((*index, answer))
        }));
        let (mut answers, mut trouble) = (Vec::with_capacity(lines.len()), Ok(()));
        for answer in asked.await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(unknown) => trouble = Err(unknown),
            }
        }
        // What is known is recorded also where one of the inventories did not answer.
        let recorded = self.tell(id, order::Command::RecordStock(answers)).await?;
        trouble.map(|()| recorded)
    }

    async fn pay(&self, id: OrderId, order: &Order, placement: &Placement, attempt: u32) -> Outcome {
        let Some(intent) = order.attempts().iter().find(|known| known.number == attempt) else {
            return Err(Trouble::Repeat("the attempt is not recorded".into()));
        };
        let mut charge =
            Charge { key: OperationKey { order: id, attempt }, amount: placement.total, method: intent.method.clone() };
        if planted(Bug::NewKeyOnRetry) {
            charge.key.attempt += fastrand::u32(..4_096);
        }
        if planted(Bug::WrongAmountCharged) {
            charge.amount.minor /= 2;
        }
        let limit = Duration::from_millis(self.limits.provider_ms_max);
        let outcome = match tokio::time::timeout(limit, self.gateway.charge(charge)).await {
            Ok(Ok(order::PaymentOutcome::Declined { reason })) if planted(Bug::DeclineIsSuccess) => {
                order::PaymentOutcome::Captured { reference: reason, amount: placement.total }
            }
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) if planted(Bug::ExpiresWhileUnknown) => return self.tell(id, order::Command::Expire).await,
            Ok(Err(unknown)) => return Err(Trouble::Repeat(unknown.to_string())),
            Err(_) => return Err(Trouble::Repeat("the provider did not answer in time".into())),
        };
        self.tell(id, order::Command::SettlePayment { attempt, outcome }).await
    }

    async fn fulfil(&self, id: OrderId, placement: &Placement) -> Outcome {
        let (hold, deadline) = (Hold { order: id, round: 0 }, placement.deadline);
        let sold = join_all(placement.lines.iter().map(|line| async move {
            let fulfil = inventory::Command::Fulfil { hold, deadline };
            let answer = self.ask(&self.inventories, &line.product, fulfil).await?;
            let refused = |rejection| Trouble::Repeat(format!("{} cannot be fulfilled: {rejection}", line.product));
            answer.map(drop).map_err(refused)
        }));
        let close = self.ask(&self.carts, &placement.customer, cart::Command::Close { order: id });
        let (sold, closed) = tokio::join!(sold, close);
        sold.into_iter().collect::<Result<(), Trouble>>()?;
        repeat_if_refused(closed?)?;
        self.tell(id, order::Command::RecordFulfilled).await
    }

    async fn undo(&self, id: OrderId, placement: &Placement, lines: &[u16]) -> Outcome {
        let (hold, deadline) = (Hold { order: id, round: 0 }, placement.deadline);
        let lines = if planted(Bug::ReservationLeaks) { &[] } else { lines };
        let released = join_all(lines.iter().map(|index| async move {
            let product = &placement.lines[usize::from(*index)].product;
            let release = inventory::Command::Release { hold, deadline };
            let answer = self.ask(&self.inventories, product, release).await?;
            let refused = |rejection| Trouble::Repeat(format!("{product} cannot be released: {rejection}"));
            answer.map(drop).map_err(refused)
        }));
        let give_back = self.ask(&self.carts, &placement.customer, cart::Command::Return { order: id });
        let (released, given_back) = tokio::join!(released, give_back);
        released.into_iter().collect::<Result<(), Trouble>>()?;
        repeat_if_refused(given_back?)?;
        self.tell(id, order::Command::RecordUndone).await
    }

    /// Tells the order something. A refusal says that the order has moved on meanwhile; what is next is asked again.
    async fn tell(&self, id: OrderId, command: order::Command) -> Outcome {
        match self.ask(&self.orders, &id, command).await? {
            Ok(order) => Ok(order),
            Err(rejection) => Err(Trouble::Repeat(rejection.to_string())),
        }
    }

    /// Asks an entity ahead.
    async fn ask<E: Entity>(
        &self,
        directory: &Directory<E>,
        id: &E::Id,
        command: E::Command,
    ) -> Result<Result<E::View, E::Rejection>, Trouble> {
        let limit = Duration::from_millis(self.limits.entity_ms_max);
        within::<E>(limit, id, directory.ask_ahead(id, command)).await
    }
}

/// What came of asking an entity: tells a refusal (inner) from an outcome that is unknown (outer).
pub(super) async fn within<E: Entity>(
    limit: Duration,
    id: &E::Id,
    asking: impl Future<Output = Answer<E>>,
) -> Result<Result<E::View, E::Rejection>, Trouble> {
    match tokio::time::timeout(limit, asking).await {
        Ok(Ok(accepted)) => Ok(Ok(accepted.view)),
        Ok(Err(AskError::Rejected(rejection))) => Ok(Err(rejection)),
        Ok(Err(AskError::NotDelivered(NotDelivered::Closed))) => Err(Trouble::Closing),
        Ok(Err(AskError::NotDelivered(refused))) => Err(Trouble::Repeat(format!("{id}: {refused}"))),
        Ok(Err(AskError::Unknown)) => Err(Trouble::Repeat(format!("{id}: the outcome is unknown"))),
        Err(_) => Err(Trouble::Repeat(format!("{id}: no answer in time"))),
    }
}

pub(super) fn repeat_if_refused<V, R: std::error::Error>(answer: Result<V, R>) -> Result<(), Trouble> {
    answer.map(drop).map_err(|rejection| Trouble::Repeat(rejection.to_string()))
}
