//! A command on its way to an entity, with the address for its reply.
//!
//! May depend on `domain`.

use tokio::sync::oneshot;

use super::reply::{Answer, AskError, NotDelivered};
use crate::domain::{entity::Entity, ids::RequestKey};

/// A command on its way to an entity.
pub(super) struct Envelope<E: Entity> {
    /// `None` asks only for a reply when the entity is alive and everything it has done is durable; with a request, it
    /// says whether the entity has executed it.
    pub(super) command: Option<E::Command>,
    /// With it, the command is executed once: a repeat changes nothing.
    pub(super) request: Option<RequestKey>,
    pub(super) reply: oneshot::Sender<Answer<E>>,
    pub(super) reply_when: ReplyWhen,
}

impl<E: Entity> Envelope<E> {
    /// Replies that the command was surely not executed.
    pub(super) fn refuse(self, reason: NotDelivered) {
        let _ = self.reply.send(Err(AskError::NotDelivered(reason)));
    }
}

/// When a reply may leave the entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplyWhen {
    /// When everything the reply depends on is durable.
    Durable,
    /// When the event is admitted to the journal. A rejection still waits until it is durable.
    Admitted,
}
