//! Requests with an idempotency key take effect once.
//!
//! [`Shop::once`] is the shop as one such request sees it. The entity that executes its command stores the key in the
//! same record as the event, so a repeat finds what the first request did, also after a kill, and changes nothing; it
//! shows the thing as it is now. The key belongs to the caller, and to the operation with what its path names. Where
//! only the body names the entity, or nothing is stored, the caller's account remembers the key ([`Shop::note`]).
//!
//! Checkouts, payments, refunds and returns take their key as an argument: the order is found by it, or finds its part.
//!
//! While a request with a key is in flight, another one with the same key is refused.
//!
//! Depends on the rooms below.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

use super::{Error, Shop};
use crate::{
    actors::{
        directory::Directory,
        reply::{Answer, Changed},
    },
    domain::{
        account,
        entity::Entity,
        idempotency::Requests,
        ids::{RequestKey, UserId},
    },
    identity::Principal,
};

/// A request with an idempotency key.
pub(super) struct Once {
    request: RequestKey,
    is_repeat: AtomicBool,
    _in_flight: InFlight,
}

/// The keys of the requests that are in flight: at most as many as there are requests. Each is taken and given back
/// once, so the lock is held for some nanoseconds.
#[derive(Default)]
pub(super) struct KeysInFlight(Arc<Mutex<HashSet<u128>>>);

/// A request with a key that is in flight, until this is dropped.
pub(super) struct InFlight {
    keys: Arc<Mutex<HashSet<u128>>>,
    key: u128,
}

impl KeysInFlight {
    /// Begins a request, unless one with the same key is in flight.
    ///
    /// # Errors
    /// [`Error::KeyInUse`].
    pub(super) fn begin(&self, key: u128) -> Result<InFlight, Error> {
        let is_alone = self.0.lock().insert(key);
        is_alone.then(|| InFlight { keys: Arc::clone(&self.0), key }).ok_or(Error::KeyInUse)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.keys.lock().remove(&self.key);
    }
}

impl Shop {
    /// The shop for one request with an idempotency key: the call that is made on it takes effect once, however often
    /// the same caller repeats it with the same key, operation and body. Call one function on it; where the same key
    /// comes with another body, that call fails with [`Error::KeyReused`]. The request is in flight until what this
    /// returns is dropped, with its clones.
    ///
    /// # Errors
    /// [`Error::InvalidKey`]; [`Error::KeyInUse`] while another request with this key is in flight.
    pub fn once(&self, who: &Principal, operation: &str, key: &str, body: &[u8]) -> Result<Self, Error> {
        self.with_request(self.requests_of(who).with_key(operation, key, body)?)
    }

    /// As [`Shop::once`], for a registration with this address, which has no caller yet.
    ///
    /// # Errors
    /// [`Error::InvalidKey`], [`Error::KeyInUse`], [`Error::Email`].
    pub fn once_of_address(&self, email: &str, operation: &str, key: &str, body: &[u8]) -> Result<Self, Error> {
        let address = UserId(self.account_of(email)?.0);
        self.with_request(self.requests(address).with_key(operation, key, body)?)
    }

    /// Whether the call that was made on the shop of [`Shop::once`] changed nothing, because an earlier request with
    /// its key did. A request that found nothing to change is no repeat.
    #[must_use]
    pub fn is_repeat(&self) -> bool {
        self.1.as_ref().is_some_and(|once| once.is_repeat.load(Ordering::Acquire))
    }

    fn with_request(&self, request: RequestKey) -> Result<Self, Error> {
        let _in_flight = self.0.in_flight.begin(request.key)?;
        let once = Once { request, is_repeat: AtomicBool::new(false), _in_flight };
        Ok(Self(Arc::clone(&self.0), Some(Arc::new(once))))
    }

    /// The key and the body of the request, as they are stored.
    pub(super) fn request(&self) -> Option<RequestKey> {
        self.1.as_ref().map(|once| once.request)
    }

    /// Sends an entity the command of this request, and waits until the reply is durable.
    pub(super) async fn ask_once<E: Entity>(
        &self,
        directory: &Directory<E>,
        id: &E::Id,
        command: E::Command,
    ) -> Answer<E> {
        self.noticed::<E>(directory.ask_once(id, command, self.request()).await)
    }

    /// The same, and waits only until its event is admitted to the journal.
    pub(super) async fn ask_ahead_once<E: Entity>(
        &self,
        directory: &Directory<E>,
        id: &E::Id,
        command: E::Command,
    ) -> Answer<E> {
        self.noticed::<E>(directory.ask_ahead_once(id, command, self.request()).await)
    }

    /// Whether an entity has executed this request, for a call that would be refused after its own effect.
    pub(super) async fn has_executed<E: Entity>(&self, directory: &Directory<E>, id: &E::Id) -> Result<bool, Error>
    where
        Error: From<E::Rejection>,
    {
        let Some(once) = &self.1 else { return Ok(false) };
        let is_repeat = directory.has_executed(id, once.request).await?;
        once.is_repeat.store(is_repeat, Ordering::Release);
        Ok(is_repeat)
    }

    fn noticed<E: Entity>(&self, answer: Answer<E>) -> Answer<E> {
        if let (Some(once), Ok(accepted)) = (&self.1, &answer) {
            once.is_repeat.store(accepted.changed == Changed::Repeat, Ordering::Release);
        }
        answer
    }

    /// Has the caller's account remember the key of this request, if it has one; returns whether it is a repeat. The
    /// event is durable before everything that the request changes afterwards. A kill between the two leaves the key
    /// without the effect, so a repeat must still be executed where it has not been.
    pub(super) async fn note(&self, who: &Principal) -> Result<bool, Error> {
        if self.request().is_some() {
            let accounts = &self.0.runtime.entities.accounts;
            self.ask_ahead_once(accounts, &who.account, account::Command::NoteRequest).await?;
        }
        Ok(self.is_repeat())
    }

    /// The identities of a user's requests.
    pub(super) fn requests_of(&self, who: &Principal) -> Requests<impl Fn(&str, &[&[u8]]) -> u128> {
        self.requests(who.user)
    }

    fn requests(&self, user: UserId) -> Requests<impl Fn(&str, &[&[u8]]) -> u128> {
        Requests { user, hash: move |purpose: &str, parts: &[&[u8]]| self.0.identity.hash_u128(purpose, parts) }
    }
}
