//! From an id to the one live actor. Callers keep a directory, never an `ActorRef`.
//!
//! A shared map is the fast path (look up, send); one owner actor is the slow path (activate, passivate, remove the
//! failed). Only the owner writes the map, so an id has one incarnation at a time. Commands for an entity that is being
//! passivated wait until it has ended and go to the next incarnation. An entity that failed is activated by the next
//! command, after a back-off per id, so that an entity that always fails cannot spin.
//!
//! May depend on `storage` and `domain`.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::oneshot;

pub use super::live::DirectoryLimits;
use super::{
    envelope::{Envelope, ReplyWhen},
    figures::{Busiest, KindFigures},
    live::{OwnerMessage, PushRefused, Shared},
    owner::Owner,
    reply::{Answer, AskError, Changed, NotDelivered},
    task_error::TaskError,
    views::{Subscription, Versioned},
};
use crate::{
    clock::Clock,
    domain::{entity::Entity, ids::RequestKey},
    storage::{Journal, LoadError},
};

/// The way to all entities of one kind. Cheap to clone.
pub struct Directory<E: Entity>(Arc<Shared<E>>);

impl<E: Entity> Clone for Directory<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: Entity> Directory<E> {
    /// A directory over a journal. Reads work at once, commands once the root has started its owner.
    #[must_use]
    pub fn new(journal: Journal, clock: Clock, limits: DirectoryLimits) -> Self {
        Self(Arc::new(Shared::new(journal, clock, limits)))
    }

    /// The actor that owns this directory's entities, for the root to start.
    pub(super) fn owner(&self) -> Owner<E> {
        Owner(Arc::clone(&self.0))
    }

    /// Sends a command to an entity and waits until the reply is durable.
    ///
    /// # Errors
    /// [`AskError`]. After `Unknown` the command may have been executed; repeat it with the same identity.
    pub async fn ask(&self, id: &E::Id, command: E::Command) -> Answer<E> {
        self.ask_once(id, command, None).await
    }

    /// As [`Directory::ask`], for a request with a key: if the entity has executed it, this changes nothing. The key is
    /// stored in the same record as the event.
    ///
    /// # Errors
    /// As [`Directory::ask`], and [`AskError::KeyReused`].
    pub async fn ask_once(&self, id: &E::Id, command: E::Command, request: Option<RequestKey>) -> Answer<E> {
        self.send(id, Some(command), request, ReplyWhen::Durable).await
    }

    /// Whether an entity remembers that it has executed this request.
    ///
    /// # Errors
    /// As [`Directory::ask_once`], but never `Rejected`.
    pub async fn has_executed(&self, id: &E::Id, request: RequestKey) -> Result<bool, AskError<E::Rejection>> {
        let answer = self.send(id, None, Some(request), ReplyWhen::Durable).await?;
        Ok(answer.changed == Changed::Repeat)
    }

    /// Sends a command to an entity and waits only until its event is admitted to the journal. A crash may lose the
    /// event, but then it also loses everything admitted later. So a caller that acts on the reply inside the shop need
    /// not wait for the disk; before anything leaves the shop it must wait for a later event to be durable. A rejection
    /// is durable.
    ///
    /// # Errors
    /// As [`Directory::ask`].
    pub async fn ask_ahead(&self, id: &E::Id, command: E::Command) -> Answer<E> {
        self.ask_ahead_once(id, command, None).await
    }

    /// As [`Directory::ask_ahead`], for a request with a key.
    ///
    /// # Errors
    /// As [`Directory::ask_once`].
    pub async fn ask_ahead_once(&self, id: &E::Id, command: E::Command, request: Option<RequestKey>) -> Answer<E> {
        self.send(id, Some(command), request, ReplyWhen::Admitted).await
    }

    /// As [`Directory::ask`], for a process manager: with a time limit, and with a rejection (inner) apart from an
    /// unknown outcome (outer).
    pub(super) async fn ask_within(
        &self,
        limit: Duration,
        id: &E::Id,
        command: E::Command,
    ) -> Result<Result<E::View, E::Rejection>, TaskError> {
        within::<E>(limit, id, self.ask(id, command)).await
    }

    /// As [`Directory::ask_within`], but it waits only until the event is admitted.
    pub(super) async fn ask_ahead_within(
        &self,
        limit: Duration,
        id: &E::Id,
        command: E::Command,
    ) -> Result<Result<E::View, E::Rejection>, TaskError> {
        within::<E>(limit, id, self.ask_ahead(id, command)).await
    }

    /// Activates an entity, if it is not alive, and waits until everything it has done is durable. An event that erases
    /// data, and whose snapshot was lost, gets its snapshot again.
    ///
    /// # Errors
    /// [`AskError`], but never `Rejected`.
    pub async fn store_state(&self, id: &E::Id) -> Result<(), AskError<E::Rejection>> {
        self.send(id, None, None, ReplyWhen::Durable).await.map(|_| ())
    }

    async fn send(
        &self,
        id: &E::Id,
        command: Option<E::Command>,
        request: Option<RequestKey>,
        reply_when: ReplyWhen,
    ) -> Answer<E> {
        let (reply, answer) = oneshot::channel();
        self.deliver(id, Envelope { command, request, reply, reply_when }).map_err(AskError::NotDelivered)?;
        answer.await.unwrap_or(Err(AskError::Unknown))
    }

    fn deliver(&self, id: &E::Id, envelope: Envelope<E>) -> Result<(), NotDelivered> {
        let shared = &self.0;
        let envelope = match shared.push(id, envelope) {
            Ok(()) => return Ok(()),
            Err((_, PushRefused::Full)) => return Err(NotDelivered::Busy),
            // Not alive, or about to end: the owner activates its next incarnation.
            Err((returned, PushRefused::Ended)) => returned,
        };
        let owner = shared.owner.read().clone().ok_or(NotDelivered::Closed)?;
        let sent = owner.send_message(OwnerMessage::Deliver(id.clone(), envelope));
        // The root restarts an owner that failed, but not one that was closed.
        sent.map_err(|_| if shared.owner.read().is_some() { NotDelivered::Busy } else { NotDelivered::Closed })
    }

    /// The durable view of an entity. It activates nothing.
    ///
    /// # Errors
    /// What loading reports.
    pub async fn read(&self, id: &E::Id) -> Result<Versioned<E::View>, LoadError> {
        if let Some(newest) = self.0.live.get(id).and_then(|live| live.cell.newest()) {
            return Ok(newest);
        }
        // The entity may have been activated meanwhile, and a load can see a record a moment before the writer
        // publishes it. The next reader must not see an older view.
        let raise = |loaded: &Versioned<E::View>| {
            if let Some(live) = self.0.live.get(id) {
                live.cell.raise(loaded);
            }
        };
        self.0.views.at_rest(id, raise).await
    }

    /// A subscription to the changes of one entity.
    #[must_use]
    pub fn subscribe(&self, id: &E::Id) -> Subscription<E> {
        self.0.views.subscribe(id)
    }

    /// What operators see of this kind.
    #[must_use]
    pub(super) fn figures(&self, kind: &'static str) -> KindFigures {
        let shared = &self.0;
        let (mut live, mut waiting, mut busiest) = (0, 0_u64, None::<(E::Id, u32)>);
        for entity in &shared.live {
            let of_this = entity.mailbox.permits_in_use();
            live += 1;
            waiting += u64::from(of_this);
            if of_this > busiest.as_ref().map_or(0, |(_, most)| *most) {
                busiest = Some((entity.key().clone(), of_this));
            }
        }
        KindFigures {
            kind,
            live,
            failures: shared.failures.load(Ordering::Relaxed),
            waiting,
            busiest: busiest.map(|(id, waiting)| Busiest { id: id.to_string(), waiting }),
            slowest: shared.slowest.of_late(),
        }
    }

    /// How many entities of this kind are alive.
    #[must_use]
    pub fn live_count(&self) -> usize {
        self.0.live.len()
    }

    /// Passivates an entity now, if it is alive. Commands that arrive meanwhile go to its next incarnation.
    #[cfg(test)]
    pub fn passivate(&self, id: &E::Id) {
        if let Some(owner) = self.0.owner.read().as_ref() {
            let _ = owner.send_message(OwnerMessage::Passivate(id.clone()));
        }
    }

    /// Passivates all entities: queued commands are answered, later ones are refused.
    pub async fn close(&self) {
        let Some(owner) = self.0.owner.write().take() else { return };
        let (done, gone) = oneshot::channel();
        if owner.send_message(OwnerMessage::Close(done)).is_ok() {
            let _ = gone.await;
        }
        // Drained, not stopped: commands on their way to the owner are refused rather than left without an answer.
        let _ = owner.drain_and_wait(Some(Duration::from_secs(5))).await;
        // An owner that failed while the shop was closing was not started again and has left its map behind.
        self.shut();
    }

    /// Refuses every command and ends every subscription from now on. The entities have ended, or end with the tree.
    pub(super) fn shut(&self) {
        self.0.owner.write().take();
        self.0.live.iter().for_each(|live| live.cell.retire());
        self.0.live.clear();
        self.0.views.close();
    }
}

async fn within<E: Entity>(
    limit: Duration,
    id: &E::Id,
    answer: impl Future<Output = Answer<E>>,
) -> Result<Result<E::View, E::Rejection>, TaskError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(accepted)) => Ok(Ok(accepted.view)),
        Ok(Err(AskError::Rejected(rejection))) => Ok(Err(rejection)),
        Ok(Err(AskError::NotDelivered(NotDelivered::Closed))) => Err(TaskError::Closing),
        Ok(Err(error)) => Err(TaskError::Retry(format!("{id}: {error}"))),
        Err(_) => Err(TaskError::Retry(format!("{id}: no answer in time"))),
    }
}
