//! A model checker for the saga: it visits every reachable state.
//!
//! In each state, every effect of every step is answered, executed without an answer, lost, or delivered late; every
//! step is recorded, or a crash cuts it off before that; the customer, the seller, the provider and the clock take
//! every action that they may take. From each state the shop must come to rest by itself once nothing more happens: no
//! stock stays reserved, the provider keeps no money that is not the order's, and exactly what is paid for is sold.
//!
//! The entities, the steps and the interpretation of answers are the shop's own code. Only the provider is a model,
//! which keeps its promises unless a tour says otherwise. The checkout is not part of a state, because a crash loses
//! all that it knows.
//!
//! `system` has a state and its successors, `outcomes` those of the checkout's steps, `operators` those of decisions
//! about issues; `quiescent` has the way to rest and the invariants. Depends on the order's rules.

mod operators;
mod outcomes;
mod quiescent;
mod system;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use self::system::System;
use super::{CaptureMode, Status};

/// The configuration of one search: the initial state, and the actions that are possible.
#[derive(Clone, Copy)]
struct Tour {
    name: &'static str,
    /// The units on hand of each line's product.
    stock: [u64; 2],
    /// Whether the cart changes between the customer's checkout and the order's first step.
    stale_cart: bool,
    capture: CaptureMode,
    /// How often the customer pays at most.
    pays_max: u8,
    /// Whether the seller refunds one unit, and the customer returns one.
    refunds_and_returns: bool,
    /// How many requests may be in flight at once, to be delivered late.
    in_flight_max: usize,
    /// Whether a second driver, which does not know of the first, sends the reservations of the order, too; and more
    /// units of the second line's product arrive meanwhile.
    has_two_drivers: bool,
    /// Whether every answer of the provider is final: it never answers that it is processing, or needs the customer.
    answers_at_once: bool,
    /// Whether the provider may capture a payment that it has declined or voided.
    captures_late: bool,
    /// Whether money is refunded at the provider's own site: one minor unit, or all that is left.
    refunds_elsewhere: bool,
    /// Whether such a refund may fail afterwards.
    refunds_elsewhere_fail: bool,
    /// Whether the seller packs and delivers; otherwise orders are only shipped.
    delivers: bool,
    /// Whether the provider may hold or capture another amount than was requested.
    charges_other_amount: bool,
    /// How many issues operators resolve at most.
    decisions_max: u8,
    /// An issue that is raised in addition to those that the order raises.
    problem: Option<Problem>,
}

/// An issue that may be raised in any state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Problem {
    /// Raised only past the deadline, while the payment is not final.
    PaymentUnknown,
    Stuck,
    Differs,
    /// A dispute; later its end.
    Disputed,
}

/// Pairs of a status and one that follows it.
type Transitions = BTreeSet<(Status, Status)>;

/// Visits every state of a tour, breadth first. Checks in each that the invariants hold, and that it comes to rest.
fn walk(tour: &Tour) -> Transitions {
    let first = System::new(tour);
    let mut visited: HashSet<u64> = HashSet::from([first.fingerprint()]);
    let mut transitions = Transitions::new();
    let (mut queue, mut checked, mut ends) = (VecDeque::from([first]), HashSet::new(), HashMap::<Status, usize>::new());
    while let Some(system) = queue.pop_front() {
        system.check_always();
        for delivers_first in [true, false] {
            // There is no end to check if the way leads to a state whose way to rest was checked before.
            if let Some(end) = system.come_to_rest(delivers_first, &mut checked) {
                end.check_always();
                end.check_at_rest(tour);
                *ends.entry(end.order.status().unwrap()).or_default() += 1;
            }
            if system.in_flight.is_empty() {
                break;
            }
        }
        for next in system.successors(tour) {
            let (before, after) = (system.order.status().unwrap(), next.order.status().unwrap());
            if before != after {
                transitions.insert((before, after));
            }
            if visited.insert(next.fingerprint()) {
                queue.push_back(next);
            }
        }
    }
    println!("{}: {} states, ends: {ends:?}", tour.name, visited.len());
    assert!(visited.len() > 100 && !ends.is_empty(), "the walk reaches more than a few states, and ends");
    transitions
}

/// The transitions as the diagram in the documents.
fn diagram(transitions: &Transitions) -> String {
    let lines = transitions.iter().map(|(before, after)| format!("    {} --> {}\n", before.as_str(), after.as_str()));
    format!("```mermaid\nstateDiagram-v2\n    [*] --> placed\n{}```\n", lines.collect::<String>())
}

const PLAIN: Tour = Tour {
    name: "paid at once",
    stock: [5, 5],
    stale_cart: false,
    capture: CaptureMode::AtOnce,
    pays_max: 1,
    refunds_and_returns: false,
    in_flight_max: 0,
    has_two_drivers: false,
    answers_at_once: false,
    captures_late: false,
    refunds_elsewhere: false,
    refunds_elsewhere_fail: false,
    delivers: false,
    charges_other_amount: false,
    decisions_max: 0,
    problem: None,
};

#[test]
fn the_diagram_in_the_documents_shows_all_that_can_happen() {
    let (capture, quick) = (CaptureMode::Later, Tour { answers_at_once: true, delivers: true, ..PLAIN });
    let mut transitions = walk(&Tour { name: "delivered", ..quick });
    transitions.extend(walk(&Tour { name: "captured later, and delivered", capture, ..quick }));
    transitions.extend(walk(&Tour { name: "an action first", ..PLAIN }));
    transitions.extend(walk(&Tour { name: "one line short", stock: [5, 0], ..PLAIN }));
    let drawn = diagram(&transitions);
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PAYMENTS.md")).unwrap();
    assert!(document.contains(&drawn), "docs/PAYMENTS.md is to show:\n{drawn}");
    let head = include_str!("../mod.rs").lines().map_while(|line| line.strip_prefix("//!"));
    let head: String = head.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect();
    assert!(head.contains(&drawn), "src/domain/order/mod.rs is to show:\n{drawn}");
}

#[test]
fn an_order_that_is_paid_at_once_ends_well_whatever_happens() {
    walk(&PLAIN);
}

#[test]
fn an_order_whose_requests_are_late_ends_well_whatever_happens() {
    walk(&Tour { name: "late requests", in_flight_max: 1, answers_at_once: true, ..PLAIN });
}

#[test]
fn an_order_that_is_paid_in_two_attempts_ends_well_whatever_happens() {
    walk(&Tour { name: "two attempts", pays_max: 2, answers_at_once: true, ..PLAIN });
}

#[test]
fn what_is_captured_after_a_decline_or_a_void_is_refunded_whatever_happens() {
    let late = Tour { captures_late: true, answers_at_once: true, ..PLAIN };
    walk(&Tour { name: "captured after a decline", ..late });
    walk(&Tour { name: "captured after a decline, and slow", answers_at_once: false, ..late });
    walk(&Tour { name: "captured after a decline, in two attempts", pays_max: 2, ..late });
    walk(&Tour { name: "captured after a void", capture: CaptureMode::Later, ..late });
}

#[test]
fn an_order_that_is_captured_later_ends_well_whatever_happens() {
    walk(&Tour { name: "captured later", capture: CaptureMode::Later, ..PLAIN });
}

#[test]
fn an_order_of_which_parts_come_back_ends_well_whatever_happens() {
    walk(&Tour { name: "refunds and returns", refunds_and_returns: true, answers_at_once: true, ..PLAIN });
}

#[test]
fn a_second_driver_leaves_no_reservation_behind_whatever_happens() {
    let two = Tour { in_flight_max: 1, has_two_drivers: true, answers_at_once: true, ..PLAIN };
    walk(&Tour { name: "two drivers, one line short", stock: [5, 0], ..two });
}

#[test]
fn refunds_at_the_providers_own_site_are_counted_whatever_happens() {
    let elsewhere = Tour { refunds_elsewhere: true, answers_at_once: true, ..PLAIN };
    walk(&Tour { name: "refunded elsewhere", ..elsewhere });
    walk(&Tour { name: "refunded elsewhere and here", refunds_and_returns: true, ..elsewhere });
    walk(&Tour { name: "a stray refunded elsewhere", captures_late: true, ..elsewhere });
}

#[test]
fn what_failed_to_be_refunded_at_the_providers_own_site_is_owed_again_whatever_happens() {
    let fails = Tour { refunds_elsewhere: true, refunds_elsewhere_fail: true, answers_at_once: true, ..PLAIN };
    walk(&Tour { name: "refunded elsewhere in vain", ..fails });
    walk(&Tour { name: "refunded elsewhere in vain, and operators decide", decisions_max: 1, ..fails });
}

#[test]
fn an_order_that_is_rejected_ends_well_whatever_happens() {
    let late = Tour { in_flight_max: 1, answers_at_once: true, ..PLAIN };
    walk(&Tour { name: "one line short", stock: [5, 0], ..late });
    walk(&Tour { name: "both lines short", stock: [1, 0], ..late });
    walk(&Tour { name: "another cart", stale_cart: true, ..late });
}

#[test]
fn an_order_about_which_operators_decide_ends_well_whatever_happens() {
    let decided = Tour { problem: Some(Problem::PaymentUnknown), decisions_max: 2, answers_at_once: true, ..PLAIN };
    walk(&Tour { name: "operators decide", ..decided });
    walk(&Tour { name: "operators decide about refunds", refunds_and_returns: true, ..decided });
    walk(&Tour { name: "operators decide about strays", captures_late: true, ..decided });
    let elsewhere = Tour { refunds_elsewhere: true, problem: None, ..decided };
    walk(&Tour { name: "operators decide, and some is refunded elsewhere", ..elsewhere });
}

#[test]
fn an_order_with_any_issue_ends_well_whatever_operators_decide() {
    for (name, problem) in [
        ("operators decide about what is stuck", Problem::Stuck),
        ("operators decide about what differs", Problem::Differs),
        ("operators decide about a dispute", Problem::Disputed),
    ] {
        walk(&Tour { name, problem: Some(problem), decisions_max: 1, answers_at_once: true, ..PLAIN });
    }
}

#[test]
fn another_amount_pays_for_nothing_and_is_refunded_whatever_happens() {
    let other = Tour { charges_other_amount: true, decisions_max: 1, answers_at_once: true, ..PLAIN };
    walk(&Tour { name: "another amount", ..other });
    walk(&Tour { name: "another amount, held", capture: CaptureMode::Later, ..other });
    walk(&Tour { name: "another amount, in two attempts", pays_max: 2, ..other });
}
