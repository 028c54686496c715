//! What customers do to the checkout in the tests, and how each story must end.
//!
//! Depends on `test_shop`.

use super::test_shop::ProviderFault;
use crate::domain::{ids::UserId, order::Status};

const ASHA: UserId = UserId(1);
const BINA: UserId = UserId(2);

/// A customer's action. Every action may be repeated after a crash, with the same identity.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    /// A customer places an order of everything in the cart, and waits for the checkout.
    Place(u128, UserId, &'static [(u8, u32)]),
    /// Places an order that was computed from another version of the cart.
    PlaceStale(u128, UserId, &'static [(u8, u32)]),
    /// Pays with this method and waits for the outcome.
    Pay(u128, &'static str),
    /// Pays without waiting for the outcome.
    PayAndLeave(u128, &'static str),
    Cancel(u128),
    /// Two requests drive the order at once.
    DriveTwice(u128),
    /// Places an order and cancels it while the checkout is at work.
    PlaceAndCancel(u128, UserId, &'static [(u8, u32)]),
    /// Places an order that two drivers work at. Only where nobody else wants the stock.
    PlaceWithTwoDrivers(u128, UserId, &'static [(u8, u32)]),
    /// The deadline of every placed order passes.
    LetExpire,
}

/// A story: what the customers put into their carts, what they do, and how it must end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Story {
    pub name: &'static str,
    pub stock: &'static [(u8, u64)],
    pub carts: &'static [(UserId, &'static [(u8, u32)])],
    pub faults: &'static [ProviderFault],
    pub actions: &'static [Action],
    pub ends: &'static [(u128, Status)],
}

const TWO: &[(u8, u32)] = &[(0, 2), (1, 1)];

pub(super) const STORIES: &[Story] = &[
    Story {
        name: "paid",
        stock: &[(0, 5), (1, 5)],
        carts: &[(ASHA, TWO)],
        faults: &[],
        actions: &[Action::Place(1, ASHA, TWO), Action::Pay(1, "tok_success")],
        ends: &[(1, Status::Confirmed)],
    },
    Story {
        name: "the answers of the provider are lost",
        stock: &[(0, 5), (1, 5)],
        carts: &[(ASHA, TWO)],
        faults: &[ProviderFault::AnswerLost, ProviderFault::RequestLost, ProviderFault::Hangs],
        actions: &[Action::Place(1, ASHA, TWO), Action::PayAndLeave(1, "tok_success"), Action::DriveTwice(1)],
        ends: &[(1, Status::Confirmed)],
    },
    Story {
        name: "the provider hears nothing, then declines, then captures",
        stock: &[(0, 5), (1, 5)],
        carts: &[(ASHA, TWO)],
        faults: &[ProviderFault::RequestLost, ProviderFault::AnswerLost],
        actions: &[Action::Place(1, ASHA, TWO), Action::Pay(1, "tok_decline"), Action::Pay(1, "tok_success")],
        ends: &[(1, Status::Confirmed)],
    },
    Story {
        name: "one line is not in stock",
        stock: &[(0, 5), (1, 0)],
        carts: &[(ASHA, TWO)],
        faults: &[],
        actions: &[Action::Place(1, ASHA, TWO), Action::DriveTwice(1)],
        ends: &[(1, Status::Rejected)],
    },
    Story {
        name: "the cart has changed",
        stock: &[(0, 5), (1, 5)],
        carts: &[(ASHA, TWO)],
        faults: &[],
        actions: &[Action::PlaceStale(1, ASHA, TWO), Action::DriveTwice(1)],
        ends: &[(1, Status::Rejected)],
    },
    Story {
        name: "cancelled after the reservation",
        stock: &[(0, 5), (1, 5)],
        carts: &[(ASHA, TWO)],
        faults: &[],
        actions: &[Action::Place(1, ASHA, TWO), Action::Cancel(1), Action::DriveTwice(1)],
        ends: &[(1, Status::Cancelled)],
    },
    Story {
        name: "cancelled meanwhile",
        stock: &[(0, 5), (1, 5)],
        carts: &[(ASHA, TWO)],
        faults: &[],
        actions: &[Action::PlaceAndCancel(1, ASHA, TWO)],
        ends: &[(1, Status::Cancelled)],
    },
    Story {
        name: "two drivers",
        stock: &[(0, 5), (1, 5)],
        carts: &[(ASHA, TWO)],
        faults: &[ProviderFault::AnswerLost],
        actions: &[
            Action::PlaceWithTwoDrivers(1, ASHA, TWO),
            Action::PayAndLeave(1, "tok_success"),
            Action::DriveTwice(1),
        ],
        ends: &[(1, Status::Confirmed)],
    },
    Story {
        name: "not paid in time",
        stock: &[(0, 5), (1, 5)],
        carts: &[(ASHA, TWO)],
        faults: &[],
        actions: &[Action::Place(1, ASHA, TWO), Action::Pay(1, "tok_decline"), Action::LetExpire],
        ends: &[(1, Status::Expired)],
    },
    Story {
        name: "two customers want the last pieces",
        stock: &[(0, 3), (1, 1)],
        carts: &[(ASHA, TWO), (BINA, TWO)],
        faults: &[ProviderFault::AnswerLost],
        actions: &[
            Action::Place(1, ASHA, TWO),
            Action::Place(2, BINA, TWO),
            Action::Pay(1, "tok_success"),
            Action::DriveTwice(2),
        ],
        ends: &[(1, Status::Confirmed), (2, Status::Rejected)],
    },
];
