//! Limits requests in flight in three classes: reads, writes that start a purchase, writes that continue one.
//!
//! So reads go on while writes wait for a slow disk, and customers who have started a purchase can finish it while
//! others try to start one. A refused read costs its customer one step; a refused payment costs the shop all the work
//! before it.
//!
//! Depends on `axum` and `tokio`.

use std::{convert::Infallible, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// The class of a request; each has a pool of permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Changes nothing.
    Read,
    /// A write after which more requests are to follow: cart, login, catalogue.
    Start,
    /// A write that continues a purchase or a session: checkout, payment, a step of an order, a renewed session.
    Continue,
}

impl Class {
    /// The label in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Start => "start",
            Self::Continue => "continue",
        }
    }
}

/// The permit of a request with a body, which is taken when the body is here: until then the request occupies nothing
/// that others need.
#[derive(Debug, Clone)]
pub(super) struct Ticket(Arc<Held>);

#[derive(Debug)]
struct Held {
    class: Class,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    admitted: Notify,
}

impl Ticket {
    pub(super) fn new(class: Class) -> Self {
        Self(Arc::new(Held { class, permit: Mutex::default(), admitted: Notify::new() }))
    }

    /// Takes the permit. Whether one was free.
    pub(super) fn admit(&self, admission: &Admission) -> Admitted {
        let Some(permit) = admission.pool(self.0.class).and_then(|pool| Arc::clone(pool).try_acquire_owned().ok())
        else {
            return Admitted::No;
        };
        *self.0.permit.lock() = Some(permit);
        self.0.admitted.notify_one();
        Admitted::Yes
    }

    /// Resolves when the permit is taken.
    pub(super) async fn admitted(&self) {
        self.0.admitted.notified().await;
    }
}

/// Whether a permit was free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    Yes,
    No,
}

/// For a handler that releases the permit of its request before it answers, when it only waits for another party.
/// Dropping it releases the permit.
#[derive(Debug)]
pub(super) struct Permit(Option<Ticket>);

impl<S: Sync> FromRequestParts<S> for Permit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get().cloned()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(Ticket(held)) = &self.0 {
            held.permit.lock().take();
        }
    }
}

/// The permits of requests in flight: pool and size of each class.
#[derive(Debug)]
pub(super) struct Admission {
    pools: [(Class, Arc<Semaphore>, usize); 3],
}

impl Admission {
    /// Half of the permits for reads, a quarter for each class of writes; at least one each.
    pub(super) fn new(in_flight_max: usize) -> Self {
        let quarter = (in_flight_max / 4).clamp(1, Semaphore::MAX_PERMITS / 4);
        let pool = |class, permits| (class, Arc::new(Semaphore::new(permits)), permits);
        let reads = in_flight_max.saturating_sub(2 * quarter).clamp(1, Semaphore::MAX_PERMITS);
        Self { pools: [pool(Class::Read, reads), pool(Class::Start, quarter), pool(Class::Continue, quarter)] }
    }

    /// A permit held by the layer, if one is free.
    pub(super) fn admit(&self, class: Class) -> Option<SemaphorePermit<'_>> {
        self.pool(class)?.try_acquire().ok()
    }

    /// The pool of a class, if it is open. A request that starts a purchase is admitted only while at least half of the
    /// permits to continue are free: a cart costs less than its checkout, so otherwise the shop would fill carts that
    /// it cannot sell.
    fn pool(&self, class: Class) -> Option<&Arc<Semaphore>> {
        let [(_, reads, _), (_, starts, _), (_, continues, continues_max)] = &self.pools;
        match class {
            Class::Read => Some(reads),
            Class::Start if 2 * continues.available_permits() < *continues_max => None,
            Class::Start => Some(starts),
            Class::Continue => Some(continues),
        }
    }

    /// How many requests of each class are in flight.
    pub(super) fn in_flight(&self) -> [(Class, usize); 3] {
        self.pools.each_ref().map(|(class, pool, permits)| (*class, permits - pool.available_permits()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_own_permits() {
        for (limit, expected) in [(1, [1, 1, 1]), (8, [4, 2, 2]), (4_096, [2_048, 1_024, 1_024])] {
            let admission = Admission::new(limit);
            for (class, permits) in [Class::Read, Class::Start, Class::Continue].into_iter().zip(expected) {
                let held: Vec<_> = std::iter::from_fn(|| admission.admit(class)).collect();
                assert_eq!(held.len(), permits, "{class:?} of {limit}");
                assert!(admission.in_flight().contains(&(class, permits)));
            }
        }
    }

    #[test]
    fn a_ticket_takes_its_permit_late_and_the_handler_may_release_it() {
        let admission = Admission::new(4);
        let (ticket, other) = (Ticket::new(Class::Continue), Ticket::new(Class::Continue));
        assert!(admission.in_flight().contains(&(Class::Continue, 0)));
        assert_eq!((ticket.admit(&admission), other.admit(&admission)), (Admitted::Yes, Admitted::No));
        let permit = Permit(Some(ticket.clone()));
        drop(permit);
        assert_eq!(other.admit(&admission), Admitted::Yes);
        drop(ticket);
    }

    #[test]
    fn no_purchase_starts_while_more_than_half_of_the_permits_to_continue_are_taken() {
        let admission = Admission::new(32);
        let continuing: Vec<_> = (0..4).map(|_| admission.admit(Class::Continue).unwrap()).collect();
        assert!(admission.admit(Class::Start).is_some());
        let one_more = admission.admit(Class::Continue);
        assert!(
            one_more.is_some() && admission.admit(Class::Start).is_none() && admission.admit(Class::Read).is_some()
        );
        drop((one_more, continuing));
        assert!(admission.admit(Class::Start).is_some());
    }
}
