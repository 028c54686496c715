//! How many requests may be at work, by what they are to their customer: so that reads go on while writes wait for a slow disk,
//! and who has begun to buy can finish while others ask to begin.
//!
//! A refused request costs its customer one step; a refused payment costs the shop all that was done for it before. The fault
//! `overload` shows what is sold under more load than can be served. Depends on `axum` and `tokio`.

use std::sync::Arc;

use axum::http::Method;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// What a request is to its customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It changes nothing.
    Look,
    /// It changes something, and more is to follow: cart, login, catalogue.
    Begin,
    /// It goes on with what was begun: checkout, payment, a step of an order, a session renewed.
    GoOn,
}

/// Routes that go on, beside those of one order.
const GO_ON: [&str; 5] = ["/checkout", "/payment", "/auth/refresh", "/auth/logout", "/webhooks/{provider}"];

impl Step {
    /// Its name among the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Begin => "begin",
            Self::GoOn => "go_on",
        }
    }

    pub(super) fn of(method: &Method, template: &str) -> Self {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            Self::Look
        } else if GO_ON.contains(&template) || template.starts_with("/orders/") {
            Self::GoOn
        } else {
            Self::Begin
        }
    }
}

/// With it a request gives its place back before it is answered: what remains is waiting for somebody else.
#[derive(Debug, Clone, Default)]
pub(super) struct GivesBack(Arc<Notify>);

impl GivesBack {
    /// Gives the place back.
    pub(super) fn give_back(&self) {
        self.0.notify_one();
    }

    /// Comes back when the place is given back.
    pub(super) async fn given_back(&self) {
        self.0.notified().await;
    }
}

/// The places of requests at work.
#[derive(Debug)]
pub(super) struct Admission {
    places: [(Step, Semaphore, usize); 3],
}

impl Admission {
    /// Half of the places for reads, a quarter for each kind of write; at least one each.
    pub(super) fn new(in_flight_max: usize) -> Self {
        let quarter = (in_flight_max / 4).clamp(1, Semaphore::MAX_PERMITS / 4);
        let places = |step, count| (step, Semaphore::new(count), count);
        let look = in_flight_max.saturating_sub(2 * quarter).clamp(1, Semaphore::MAX_PERMITS);
        Self { places: [places(Step::Look, look), places(Step::Begin, quarter), places(Step::GoOn, quarter)] }
    }

    /// A place until it is dropped, where there is one. Who begins needs it also to look as if they could go on: a cart costs
    /// less than its checkout, so without that the shop would fill carts that it cannot sell.
    pub(super) fn admit(&self, step: Step) -> Option<SemaphorePermit<'_>> {
        let [(_, look, _), (_, begin, _), (_, go_on, go_on_max)] = &self.places;
        match step {
            Step::Look => look.try_acquire().ok(),
            Step::Begin if 2 * go_on.available_permits() < *go_on_max => None,
            Step::Begin => begin.try_acquire().ok(),
            Step::GoOn => go_on.try_acquire().ok(),
        }
    }

    /// How many requests are at work, by what they are.
    pub(super) fn at_work(&self) -> [(Step, usize); 3] {
        self.places.each_ref().map(|(step, places, count)| (*step, count - places.available_permits()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_places_of_its_own() {
        for (limit, expected) in [(1, [1, 1, 1]), (8, [4, 2, 2]), (4_096, [2_048, 1_024, 1_024])] {
            let admission = Admission::new(limit);
            for (step, places) in [Step::Look, Step::Begin, Step::GoOn].into_iter().zip(expected) {
                let held: Vec<_> = std::iter::from_fn(|| admission.admit(step)).collect();
                assert_eq!(held.len(), places, "{step:?} of {limit}");
                assert!(admission.at_work().contains(&(step, places)));
            }
        }
    }

    #[test]
    fn nobody_begins_while_those_who_go_on_take_more_than_half_of_their_places() {
        let admission = Admission::new(32);
        let going_on: Vec<_> = (0..4).map(|_| admission.admit(Step::GoOn).unwrap()).collect();
        assert!(admission.admit(Step::Begin).is_some());
        let one_more = admission.admit(Step::GoOn);
        assert!(one_more.is_some() && admission.admit(Step::Begin).is_none() && admission.admit(Step::Look).is_some());
        drop((one_more, going_on));
        assert!(admission.admit(Step::Begin).is_some());
    }

    #[test]
    fn what_goes_on_is_told_from_what_begins() {
        for (method, template, step) in [
            (Method::GET, "/orders/{order_id}", Step::Look),
            (Method::GET, "/checkout", Step::Look),
            (Method::POST, "/cart/add_products", Step::Begin),
            (Method::POST, "/auth/login", Step::Begin),
            (Method::POST, "/checkout", Step::GoOn),
            (Method::POST, "/payment", Step::GoOn),
            (Method::POST, "/orders/{order_id}/cancel", Step::GoOn),
            (Method::DELETE, "/cart/items/{product_id}", Step::Begin),
            (Method::POST, "", Step::Begin),
        ] {
            assert_eq!(Step::of(&method, template), step, "{method} {template}");
        }
    }
}
