//! Linearizability: is there an order in which these operations took effect one by one, each between its call and its
//! answer? The search of Wing and Gong with a memory of failed attempts (Lowe), as in Knossos and Porcupine.
//!
//! Two things are added. An operation may be *optional*: a call whose answer was lost takes effect at any later time,
//! or never. And an operation may require or exclude another one: an order's release follows its reservation, and
//! excludes its sale. The search is best first: it continues with the order that explains the answers up to the latest
//! moment with the fewest operations. So operations that can wait are placed late, and a correct history is searched
//! almost without backtracking.
//!
//! Depends on `std` and `foldhash`.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashSet},
    hash::{BuildHasher, Hash},
};

use foldhash::quality::RandomState;

/// The work limit of the search for one object, in operations examined: some seconds. Beyond it the result is
/// undecided.
pub(super) const WORK_MAX: u64 = 100_000_000;
/// The memory limit of the search for one object, in bytes, approximately. Beyond it the result is undecided.
const MEMORY_BYTES_MAX: usize = 1 << 30;

/// A sequential specification: how an object changes.
pub(super) trait Model {
    type Op;
    type State: Clone + Hash;

    /// The state after `op`, or `None` if `op` is impossible in `state`, or impossible with this answer.
    fn step(state: &Self::State, op: &Self::Op) -> Option<Self::State>;
}

/// An operation with the interval in which it took effect.
#[derive(Debug, Clone)]
pub(super) struct Timed<O> {
    pub op: O,
    /// Not before this time.
    pub invoked: u64,
    /// Not after this time; `u64::MAX` if it may take effect at any later time.
    pub returned: u64,
    /// Whether it certainly took effect.
    pub required: bool,
    /// The operation that must come before, by index.
    pub after: Option<usize>,
    /// The operation that excludes this one, by index.
    pub instead_of: Option<usize>,
}

/// The result of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SearchOutcome {
    /// There is such an order.
    Linearizable,
    /// There is none: every attempt fails at this operation at the latest.
    Impossible { stuck_at: usize },
    /// A limit was reached.
    Undecided,
}

struct Node<S> {
    placed: Vec<u64>,
    state: S,
    /// The latest call among the placed operations: whatever was answered before it had to come before it.
    latest: u64,
    /// The required operation that must be placed next, which is the one answered first, with the time of its answer.
    next: (u64, usize),
    /// The number of placed operations.
    count: usize,
}

impl<S> Node<S> {
    fn has(&self, index: usize) -> bool {
        self.placed[index / 64] & (1 << (index % 64)) != 0
    }

    fn promise(&self) -> (u64, Reverse<usize>) {
        (self.next.0, Reverse(self.count))
    }
}

impl<S> PartialEq for Node<S> {
    fn eq(&self, other: &Self) -> bool {
        self.promise() == other.promise()
    }
}

impl<S> Eq for Node<S> {}

impl<S> PartialOrd for Node<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<S> Ord for Node<S> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.promise().cmp(&other.promise())
    }
}

/// Searches for an order.
pub(super) fn check<M: Model>(initial: M::State, ops: &[Timed<M::Op>], work_max: u64) -> SearchOutcome {
    let mut by_call: Vec<usize> = (0..ops.len()).collect();
    by_call.sort_by_key(|index| ops[*index].invoked);
    let hashers = [RandomState::default(), RandomState::default()];
    let (mut seen, mut open) = (HashSet::new(), BinaryHeap::new());
    let words = ops.len().div_ceil(64);
    let mut first = Node { placed: vec![0; words], state: initial, latest: 0, next: NOTHING, count: 0 };
    first.next = next_answer(&first.placed, ops, &by_call, &mut 0);
    open.push(first);
    let (mut work, mut furthest) = (0, (0, 0));
    while let Some(node) = open.pop() {
        if node.next == NOTHING {
            return SearchOutcome::Linearizable;
        }
        furthest = furthest.max(node.next);
        // Only operations that were called before the first open answer may come next.
        for index in by_call.iter().copied() {
            let op = &ops[index];
            if op.invoked > node.next.0 {
                break;
            }
            work += 1;
            if node.has(index) {
                continue;
            }
            let in_time = op.returned >= node.latest;
            let allowed =
                op.after.is_none_or(|before| node.has(before)) && op.instead_of.is_none_or(|other| !node.has(other));
            if !in_time || !allowed {
                continue;
            }
            let Some(state) = M::step(&node.state, &op.op) else { continue };
            let mut placed = node.placed.clone();
            placed[index / 64] |= 1 << (index % 64);
            if !seen.insert([0, 1].map(|half: usize| hashers[half].hash_one((&placed, &state)))) {
                continue;
            }
            let next = if index == node.next.1 { next_answer(&placed, ops, &by_call, &mut work) } else { node.next };
            open.push(Node { placed, state, latest: node.latest.max(op.invoked), next, count: node.count + 1 });
        }
        if work > work_max || open.len() * (words * 8 + 200) + seen.len() * 24 > MEMORY_BYTES_MAX {
            return SearchOutcome::Undecided;
        }
    }
    SearchOutcome::Impossible { stuck_at: furthest.1 }
}

/// No required operation is left.
const NOTHING: (u64, usize) = (u64::MAX, usize::MAX);

/// Of the required operations that are not placed, the one that was answered first.
fn next_answer<O>(placed: &[u64], ops: &[Timed<O>], by_call: &[usize], work: &mut u64) -> (u64, usize) {
    let mut next = NOTHING;
    for index in by_call.iter().copied() {
        if ops[index].invoked > next.0 {
            break;
        }
        *work += 1;
        if ops[index].required && placed[index / 64] & (1 << (index % 64)) == 0 {
            next = next.min((ops[index].returned, index));
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A counter that starts at 0: additions, and reads of what it shows.
    struct Counter;

    #[derive(Debug, Clone)]
    enum Op {
        Add(u8),
        Read(u8),
    }

    impl Model for Counter {
        type Op = Op;
        type State = u8;

        fn step(state: &u8, op: &Op) -> Option<u8> {
            match op {
                Op::Add(more) => state.checked_add(*more),
                Op::Read(seen) => (seen == state).then_some(*state),
            }
        }
    }

    fn op(op: Op, invoked: u64, returned: u64) -> Timed<Op> {
        Timed { op, invoked, returned, required: true, after: None, instead_of: None }
    }

    fn verdict(ops: &[Timed<Op>]) -> SearchOutcome {
        check::<Counter>(0, ops, WORK_MAX)
    }

    #[test]
    fn a_concurrent_change_may_be_seen_and_an_answered_one_must_be() {
        let seen = |read| verdict(&[op(Op::Add(1), 0, 10), op(Op::Read(read), 5, 6)]);
        assert_eq!((seen(0), seen(1)), (SearchOutcome::Linearizable, SearchOutcome::Linearizable));
        let answered = |read| verdict(&[op(Op::Add(1), 0, 4), op(Op::Read(read), 5, 6)]);
        assert_eq!(answered(1), SearchOutcome::Linearizable);
        assert_eq!(answered(0), SearchOutcome::Impossible { stuck_at: 1 });
    }

    #[test]
    fn a_later_read_never_shows_an_earlier_state() {
        let ops = [op(Op::Add(1), 0, 100), op(Op::Read(1), 1, 2), op(Op::Read(0), 3, 4)];
        assert!(matches!(verdict(&ops), SearchOutcome::Impossible { .. }));
    }

    #[test]
    fn an_unanswered_call_takes_effect_at_most_once_at_any_time() {
        let lost = Timed { returned: u64::MAX, required: false, ..op(Op::Add(1), 0, 0) };
        let reads = |second| [lost.clone(), op(Op::Read(0), 5, 6), op(Op::Read(second), 7, 8)];
        assert_eq!(verdict(&reads(0)), SearchOutcome::Linearizable);
        assert_eq!(verdict(&reads(1)), SearchOutcome::Linearizable);
        assert!(matches!(verdict(&reads(2)), SearchOutcome::Impossible { .. }));
    }

    #[test]
    fn many_unanswered_calls_do_not_exhaust_the_search() {
        let lost = |index: u8| Timed { returned: u64::MAX, required: false, ..op(Op::Add(1 + index % 3), 0, 0) };
        let mut ops: Vec<_> = (0..60).map(lost).collect();
        ops.extend((1..20).map(|read| op(Op::Read(3 * read), u64::from(read) * 10, u64::from(read) * 10 + 1)));
        assert_eq!(verdict(&ops), SearchOutcome::Linearizable);
    }

    #[test]
    fn a_search_beyond_its_limits_is_undecided() {
        let lost = |_| Timed { returned: u64::MAX, required: false, ..op(Op::Add(2), 0, 0) };
        let mut ops: Vec<_> = (0..60).map(lost).collect();
        ops.push(op(Op::Read(121), 5, 6));
        assert_eq!(check::<Counter>(0, &ops, 10_000), SearchOutcome::Undecided);
    }

    /// Tries every order of every choice of optional operations.
    fn brute_force(state: u8, ops: &[Timed<Op>], placed: &mut Vec<usize>) -> bool {
        let rest = || (0..ops.len()).filter(|index| !placed.contains(index));
        if rest().all(|index| !ops[index].required) {
            return true;
        }
        for index in rest().collect::<Vec<_>>() {
            let this = &ops[index];
            let before_all = (0..ops.len())
                .filter(|other| *other != index && !placed.contains(other) && ops[*other].required)
                .all(|other| ops[other].returned >= this.invoked);
            let after_all = placed.iter().all(|other| ops[*other].invoked <= this.returned);
            let allowed = this.after.is_none_or(|before| placed.contains(&before))
                && this.instead_of.is_none_or(|other| !placed.contains(&other));
            if !before_all || !after_all || !allowed {
                continue;
            }
            let Some(next) = Counter::step(&state, &this.op) else { continue };
            placed.push(index);
            let found = brute_force(next, ops, placed);
            placed.pop();
            if found {
                return true;
            }
        }
        false
    }

    fn any_history() -> impl Strategy<Value = Vec<Timed<Op>>> {
        let any_op = prop_oneof![(1_u8..3).prop_map(Op::Add), (0_u8..5).prop_map(Op::Read)];
        let timed = (any_op, 0_u64..12, 0_u64..6, 0_u8..8, 0_usize..6, 0_usize..6);
        prop::collection::vec(timed, 1..7).prop_map(|drawn| {
            let count = drawn.len();
            let timed = drawn.into_iter().enumerate().map(|(index, (op, invoked, takes, kind, other, link))| {
                let optional = kind < 3 && matches!(op, Op::Add(_));
                let returned = if kind == 0 { u64::MAX } else { invoked + takes };
                let linked = |wanted| (link == wanted && other < count && other != index).then_some(other);
                let (after, instead_of) = if optional { (linked(0), linked(1)) } else { (None, None) };
                Timed { op, invoked, returned, required: !optional, after, instead_of }
            });
            timed.collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn the_search_agrees_with_trying_every_order(ops in any_history()) {
            let possible = brute_force(0, &ops, &mut Vec::new());
            prop_assert_eq!(verdict(&ops) == SearchOutcome::Linearizable, possible);
        }
    }
}
