//! Limits requests in flight in three classes: reads, writes that start a purchase, writes that continue one.
//!
//! So reads go on while writes wait for a slow disk, and customers who have started a purchase can finish it while others
//! try to start. A refused read costs its customer one step; a refused payment costs the shop all that was done before it.
//!
//! Depends on `axum` and `tokio`.

use std::sync::Arc;

use axum::http::Method;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// The class of a request; each has a pool of permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Changes nothing.
    Read,
    /// Changes something, and more requests are to follow: cart, login, catalogue.
    Start,
    /// Continues what was started: checkout, payment, a step of an order, a renewed session.
    Continue,
}

/// Routes that continue, beside those of one order.
const CONTINUES: [&str; 5] = ["/checkout", "/payment", "/auth/refresh", "/auth/logout", "/webhooks/{provider}"];

impl Class {
    /// Its name among the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "look",
            Self::Start => "begin",
            Self::Continue => "go_on",
        }
    }

    pub(super) fn of(method: &Method, template: &str) -> Self {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            Self::Read
        } else if CONTINUES.contains(&template) || template.starts_with("/orders/") {
            Self::Continue
        } else {
            Self::Start
        }
    }
}

/// Lets a handler release its request's permit before it answers, when only waiting for another party remains.
#[derive(Debug, Clone, Default)]
pub(super) struct PermitRelease(Arc<Notify>);

impl PermitRelease {
    /// Releases the permit.
    pub(super) fn release(&self) {
        self.0.notify_one();
    }

    /// Returns when the permit is released.
    pub(super) async fn released(&self) {
        self.0.notified().await;
    }
}

/// The permits of requests in flight: pool and size of each class.
#[derive(Debug)]
pub(super) struct Admission {
    pools: [(Class, Semaphore, usize); 3],
}

impl Admission {
    /// Half of the permits for reads, a quarter for each class of writes; at least one each.
    pub(super) fn new(in_flight_max: usize) -> Self {
        let quarter = (in_flight_max / 4).clamp(1, Semaphore::MAX_PERMITS / 4);
        let pool = |class, permits| (class, Semaphore::new(permits), permits);
        let reads = in_flight_max.saturating_sub(2 * quarter).clamp(1, Semaphore::MAX_PERMITS);
        Self { pools: [pool(Class::Read, reads), pool(Class::Start, quarter), pool(Class::Continue, quarter)] }
    }

    /// A permit, if one is free. A request that starts a purchase is admitted only while at least half of the permits to
    /// continue are free: a cart costs less than its checkout, so without that rule the shop would fill carts that it cannot
    /// sell.
    pub(super) fn admit(&self, class: Class) -> Option<SemaphorePermit<'_>> {
        let [(_, reads, _), (_, starts, _), (_, continues, continues_max)] = &self.pools;
        match class {
            Class::Read => reads.try_acquire().ok(),
            Class::Start if 2 * continues.available_permits() < *continues_max => None,
            Class::Start => starts.try_acquire().ok(),
            Class::Continue => continues.try_acquire().ok(),
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
    fn each_class_has_permits_of_its_own() {
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
    fn nothing_starts_while_more_than_half_of_the_permits_to_continue_are_taken() {
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

    #[test]
    fn classes_follow_method_and_route() {
        for (method, template, class) in [
            (Method::GET, "/orders/{order_id}", Class::Read),
            (Method::GET, "/checkout", Class::Read),
            (Method::POST, "/cart/add_products", Class::Start),
            (Method::POST, "/auth/login", Class::Start),
            (Method::POST, "/checkout", Class::Continue),
            (Method::POST, "/payment", Class::Continue),
            (Method::POST, "/orders/{order_id}/cancel", Class::Continue),
            (Method::DELETE, "/cart/items/{product_id}", Class::Start),
            (Method::POST, "", Class::Start),
        ] {
            assert_eq!(Class::of(&method, template), class, "{method} {template}");
        }
    }
}
