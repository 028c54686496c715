//! The saga, walked through everything that can happen: from every state that can be reached, each request of each step
//! is answered, done but not answered, lost, or delivered late; each step is recorded or cut off by a crash before
//! that; the customer, the seller, the provider and time do whatever they may at any moment. Wherever that leads, when
//! all is quiet the shop brings it to an end by itself: no stock is held for nothing, no money hangs, and what is paid
//! is what is sold.
//!
//! The entities, the steps and the meaning of answers are the shop's own; only the provider is a model, honest but
//! where a tour says otherwise. Order, cart and inventories remember; what the checkout knows is lost with every crash,
//! so it is in no state here.
//!
//! `world` is what can happen, `operators` what people decide about issues, `quiescent` what comes of it when nothing
//! disturbs the shop any more. Depends on the order's rules.

mod operators;
mod quiescent;
mod world;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use self::world::World;
use super::{CaptureMode, Status};

/// What is walked: the stock there is, when money is taken, and what the people do.
#[derive(Clone, Copy)]
struct Tour {
    name: &'static str,
    stock: [u64; 2],
    stale_cart: bool,
    capture: CaptureMode,
    /// How often the customer pays at most.
    pays: u8,
    /// Whether the seller refunds a part, and the customer returns one.
    gives_back: bool,
    /// How many requests may be on their way for long at once.
    flying_max: usize,
    /// Whether a second driver of the order, which does not know of the first, makes its reservations once more; and
    /// whether more of the second line's product arrives meanwhile.
    has_two_drivers: bool,
    /// Whether the provider only takes and declines, and gives back at once.
    is_quick: bool,
    /// Whether the provider captures what it has declined or voided.
    captures_late: bool,
    /// Whether money is refunded at the provider's own site: a part of it, or all that is left.
    refunds_elsewhere: bool,
    /// Whether the seller packs, and the carrier delivers; otherwise orders are only sent.
    delivers: bool,
    /// Whether the provider may hold or take another amount than it was asked for.
    takes_other: bool,
    /// How often operators decide about issues at most.
    decisions: u8,
    /// Which issue comes beside those that come of what is walked.
    problem: Option<Problem>,
}

/// An issue that may come at any moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Problem {
    /// Whenever it is late, and the payment is not final.
    PaymentUnknown,
    Stuck,
    Differs,
    /// A dispute, and then its end.
    Disputed,
}

/// Which status follows which.
type Moves = BTreeSet<(Status, Status)>;

/// Walks a tour breadth first. Every state is also left alone, and must come to a good end.
fn walk(tour: &Tour) -> Moves {
    let first = World::new(tour);
    let mut seen: HashSet<u64> = HashSet::from([first.key()]);
    let mut moves = Moves::new();
    let (mut queue, mut known, mut ends) = (VecDeque::from([first]), HashSet::new(), HashMap::<Status, usize>::new());
    while let Some(world) = queue.pop_front() {
        world.check_always();
        for lands_first in [true, false] {
            // What is known was walked to its end before, or the test has failed there.
            if let Some(end) = world.come_to_rest(lands_first, &mut known) {
                end.check_always();
                end.check_at_rest(tour);
                *ends.entry(end.order.status().unwrap()).or_default() += 1;
            }
            if world.flying.is_empty() {
                break;
            }
        }
        for next in world.next(tour) {
            let (before, after) = (world.order.status().unwrap(), next.order.status().unwrap());
            if before != after {
                moves.insert((before, after));
            }
            if seen.insert(next.key()) {
                queue.push_back(next);
            }
        }
    }
    println!("{}: {} states, ends: {ends:?}", tour.name, seen.len());
    assert!(seen.len() > 100 && !ends.is_empty(), "the walk reaches more than a few states, and ends");
    moves
}

/// The moves as a diagram that documents can show.
fn diagram(moves: &Moves) -> String {
    let lines = moves.iter().map(|(before, after)| format!("    {} --> {}\n", before.as_str(), after.as_str()));
    format!("```mermaid\nstateDiagram-v2\n    [*] --> placed\n{}```\n", lines.collect::<String>())
}

const PLAIN: Tour = Tour {
    name: "paid at once",
    stock: [5, 5],
    stale_cart: false,
    capture: CaptureMode::AtOnce,
    pays: 1,
    gives_back: false,
    flying_max: 0,
    has_two_drivers: false,
    is_quick: false,
    captures_late: false,
    refunds_elsewhere: false,
    delivers: false,
    takes_other: false,
    decisions: 0,
    problem: None,
};

#[test]
fn the_diagram_in_the_documents_shows_all_that_can_happen() {
    let (capture, quick) = (CaptureMode::Later, Tour { is_quick: true, delivers: true, ..PLAIN });
    let mut moves = walk(&Tour { name: "delivered", ..quick });
    moves.extend(walk(&Tour { name: "captured later, and delivered", capture, ..quick }));
    moves.extend(walk(&Tour { name: "an action first", ..PLAIN }));
    moves.extend(walk(&Tour { name: "one line short", stock: [5, 0], ..PLAIN }));
    let drawn = diagram(&moves);
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
    walk(&Tour { name: "late requests", flying_max: 1, is_quick: true, ..PLAIN });
}

#[test]
fn an_order_that_is_paid_in_two_attempts_ends_well_whatever_happens() {
    walk(&Tour { name: "two attempts", pays: 2, is_quick: true, ..PLAIN });
}

#[test]
fn money_that_the_provider_takes_after_it_said_no_goes_back_whatever_happens() {
    let astray = Tour { captures_late: true, is_quick: true, ..PLAIN };
    walk(&Tour { name: "captured after a decline", ..astray });
    walk(&Tour { name: "captured after a decline, and slow", is_quick: false, ..astray });
    walk(&Tour { name: "captured after a decline, in two attempts", pays: 2, ..astray });
    walk(&Tour { name: "captured after a void", capture: CaptureMode::Later, ..astray });
}

#[test]
fn an_order_that_is_captured_later_ends_well_whatever_happens() {
    walk(&Tour { name: "captured later", capture: CaptureMode::Later, ..PLAIN });
}

#[test]
fn an_order_of_which_parts_come_back_ends_well_whatever_happens() {
    walk(&Tour { name: "refunds and returns", gives_back: true, is_quick: true, ..PLAIN });
}

#[test]
fn a_second_driver_leaves_no_reservation_behind_whatever_happens() {
    let two = Tour { flying_max: 1, has_two_drivers: true, is_quick: true, ..PLAIN };
    walk(&Tour { name: "two drivers, one line short", stock: [5, 0], ..two });
}

#[test]
fn what_is_refunded_at_the_providers_own_site_counts_whatever_happens() {
    let elsewhere = Tour { refunds_elsewhere: true, is_quick: true, ..PLAIN };
    walk(&Tour { name: "refunded elsewhere", ..elsewhere });
    walk(&Tour { name: "refunded elsewhere and here", gives_back: true, ..elsewhere });
    walk(&Tour { name: "a stray refunded elsewhere", captures_late: true, ..elsewhere });
}

#[test]
fn an_order_that_cannot_be_had_ends_well_whatever_happens() {
    let late = Tour { flying_max: 1, is_quick: true, ..PLAIN };
    walk(&Tour { name: "one line short", stock: [5, 0], ..late });
    walk(&Tour { name: "both lines short", stock: [1, 0], ..late });
    walk(&Tour { name: "another cart", stale_cart: true, ..late });
}

#[test]
fn an_order_about_which_operators_decide_ends_well_whatever_happens() {
    let decided = Tour { problem: Some(Problem::PaymentUnknown), decisions: 2, is_quick: true, ..PLAIN };
    walk(&Tour { name: "operators decide", ..decided });
    walk(&Tour { name: "operators decide about refunds", gives_back: true, ..decided });
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
        walk(&Tour { name, problem: Some(problem), decisions: 1, is_quick: true, ..PLAIN });
    }
}

#[test]
fn another_amount_pays_nothing_and_is_not_kept_whatever_happens() {
    let other = Tour { takes_other: true, decisions: 1, is_quick: true, ..PLAIN };
    walk(&Tour { name: "another amount", ..other });
    walk(&Tour { name: "another amount, held", capture: CaptureMode::Later, ..other });
    walk(&Tour { name: "another amount, in two attempts", pays: 2, ..other });
}
