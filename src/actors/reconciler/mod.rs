//! The reconciler compares the provider's payments with the orders, in both directions: the payments that the provider
//! lists with their orders, and the captures that orders record with the provider's list. So it finds captures without
//! an order, orders without their capture, and amounts that differ. The root starts it. A pass runs every few minutes
//! for recent orders, once a day for the last month, and when an operator asks for one: one at a time, in its actor.
//!
//! It decides nothing. If an order and its payment differ, the order records that the provider has news, and the
//! checkout polls the provider; a difference that a poll cannot explain becomes an issue for an operator. An order or a
//! payment that cannot be read is logged and counted as a difference, and the pass continues.
//!
//! It keeps no state but the results of its last passes. May depend on `storage`, `payments` and `domain`.

mod comparison;
mod failures;

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

pub use self::comparison::Parts;
use self::{comparison::SLACK_MS, failures::Stopped};
use crate::domain::entity::Timestamp;

/// How much of the past a full pass compares, in milliseconds: as much as notices are kept for.
const FULL_MS: u64 = 30 * DAY_MS;
const DAY_MS: u64 = 86_400_000;
/// The time from the start to the first full pass, in milliseconds: a start has other work to do.
const FIRST_FULL_MS: u64 = 600_000;

/// The handle of the reconciler. Cheap to clone.
#[derive(Clone)]
pub struct Reconciler(Arc<ReconcilerShared>);

struct ReconcilerShared {
    parts: Parts,
    actor: RwLock<Option<ActorRef<ReconcilerMessage>>>,
    requests: Mutex<Requests>,
    last: RwLock<[Option<Reconciled>; 2]>,
    under_way_since: RwLock<Option<Timestamp>>,
    closing: CancellationToken,
}

/// The passes that callers have asked for, by [`Pass`].
#[derive(Default)]
struct Requests {
    wanted: [bool; 2],
    /// The callers that wait: at most as many as requests are in flight, as those that are gone are removed.
    waiting: [Vec<oneshot::Sender<Reconciled>>; 2],
}

/// How much of the past a pass compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Orders that were placed so recently that their payments may still change.
    Recent,
    /// The last month.
    Full,
}

/// The result of a pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Reconciled {
    pub began: Timestamp,
    pub ended: Timestamp,
    /// Payments and orders from this moment on were compared.
    pub since: Timestamp,
    /// How many of the provider's payments were compared with an order.
    pub payments: u64,
    /// How many of the provider's payments name no order of ours.
    pub foreign: u64,
    /// How many orders were compared with the provider's list.
    pub orders: u64,
    /// How many differences were found. For each, the provider was polled or an operator was told.
    pub differences: u64,
    /// Why the pass was not finished, if it was not.
    pub problem: Option<String>,
}

/// A message to the reconciler.
pub(super) enum ReconcilerMessage {
    /// Make the pass that is due.
    Due,
    /// Make the passes that callers have asked for.
    Requested,
}

impl Reconciler {
    /// A reconciler with these parts. It makes passes once the root has started its actor.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(ReconcilerShared {
            parts,
            actor: RwLock::new(None),
            requests: Mutex::default(),
            last: RwLock::default(),
            under_way_since: RwLock::new(None),
            closing: CancellationToken::new(),
        }))
    }

    pub(super) fn actor(&self) -> ReconcilerActor {
        ReconcilerActor(self.clone())
    }

    /// The result of the last pass of a kind, if there was one since the start.
    #[must_use]
    pub fn last(&self, pass: Pass) -> Option<Reconciled> {
        self.0.last.read()[pass as usize].clone()
    }

    /// When the pass began that is under way.
    #[must_use]
    pub fn under_way_since(&self) -> Option<Timestamp> {
        *self.0.under_way_since.read()
    }

    /// Ends the pass that is under way, and starts no other one.
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// Asks for a pass that begins after this, and waits for its result; `None` if the reconciler has ended. Callers
    /// that ask for the same before it begins share one pass. Dropping the future does not stop it.
    pub async fn request(&self, pass: Pass) -> Option<Reconciled> {
        let (done, result) = oneshot::channel();
        {
            let mut requests = self.0.requests.lock();
            let waiting = &mut requests.waiting[pass as usize];
            waiting.retain(|sender| !sender.is_closed());
            waiting.push(done);
            requests.wanted[pass as usize] = true;
        }
        // Each caller sends, because the first one may have sent to an actor that has ended.
        let actor = self.0.actor.read().clone()?;
        actor.send_message(ReconcilerMessage::Requested).ok()?;
        result.await.ok()
    }

    async fn make_requested(&self) {
        for pass in [Pass::Recent, Pass::Full] {
            let waiting = {
                let mut requests = self.0.requests.lock();
                if !std::mem::take(&mut requests.wanted[pass as usize]) {
                    continue;
                }
                std::mem::take(&mut requests.waiting[pass as usize])
            };
            let result = self.make(pass).await;
            for waiting in waiting {
                let _ = waiting.send(result.clone());
            }
        }
    }

    async fn make(&self, pass: Pass) -> Reconciled {
        let parts = &self.0.parts;
        let began = parts.clock.now();
        *self.0.under_way_since.write() = Some(began);
        let back = match pass {
            Pass::Recent => 2 * parts.every_ms + parts.deadline_ms + SLACK_MS,
            Pass::Full => FULL_MS,
        };
        let since = Timestamp(began.0.saturating_sub(back));
        let mut result = Reconciled { began, since, ..Reconciled::default() };
        let work = async {
            let matched = parts.match_notices(began, &mut result).await;
            let compared = parts.compare(since, began, &mut result).await;
            if pass == Pass::Full {
                parts.forget_old_notices(began).await;
            }
            compared.and(matched)
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = self.0.closing.cancelled() => Err(Stopped("the shop closes".into())),
        };
        if let Err(stopped) = outcome {
            tracing::warn!(problem = stopped.0, "a pass of the reconciler could not be finished; the next one goes on");
            result.problem = Some(stopped.0);
        }
        result.ended = parts.clock.now();
        let Reconciled { payments, orders, differences, .. } = result;
        tracing::info!(?pass, payments, orders, differences, "the provider's payments were compared with the orders");
        self.0.last.write()[pass as usize] = Some(result.clone());
        *self.0.under_way_since.write() = None;
        result
    }
}

pub(super) struct ReconcilerActor(Reconciler);

/// When the next full pass is due, by the monotonic clock: a wall clock that was ahead would delay it.
pub(super) struct NextFull(Instant);

impl Actor for ReconcilerActor {
    type Msg = ReconcilerMessage;
    type State = NextFull;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<ReconcilerMessage>, (): ()) -> Result<NextFull, ActorProcessingErr> {
        let ReconcilerShared { parts, actor, under_way_since, .. } = &*self.0.0;
        *actor.write() = Some(myself.clone());
        *under_way_since.write() = None;
        // After a failure: the mailbox of the actor before is lost, but not what callers asked for.
        myself.send_message(ReconcilerMessage::Requested)?;
        myself.send_after(Duration::from_millis(parts.every_ms), || ReconcilerMessage::Due);
        Ok(NextFull(Instant::now() + Duration::from_millis(FIRST_FULL_MS)))
    }

    async fn handle(
        &self,
        myself: ActorRef<ReconcilerMessage>,
        message: ReconcilerMessage,
        next: &mut NextFull,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ReconcilerMessage::Requested => self.0.make_requested().await,
            ReconcilerMessage::Due => {
                if Instant::now() >= next.0 {
                    self.0.make(Pass::Full).await;
                    next.0 = Instant::now() + Duration::from_millis(DAY_MS);
                } else {
                    self.0.make(Pass::Recent).await;
                }
                // Sent after the pass, so that slow passes do not queue up.
                let every = Duration::from_millis(self.0.0.parts.every_ms);
                myself.send_after(every, || ReconcilerMessage::Due);
            }
        }
        Ok(())
    }
}
