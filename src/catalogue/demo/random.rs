//! The random numbers of the demo catalogue: SplitMix64 (Steele, Lea and Flood, 2014). It is a few lines, gives the
//! same numbers on every machine for ever, and is good enough to choose colours.
//!
//! Depends on `std` only.

/// The step between two states: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sequence of numbers that is the same for the same seed and product.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The numbers for one product of the catalogue of `seed`.
    pub(super) fn new(seed: u64, number: u64) -> Self {
        Self(mixed(mixed(seed) ^ number.wrapping_mul(STEP)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }

    /// A number from 0 to below `bound`; 0 if `bound` is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// An index into a list of this length.
    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// One of the items, or an empty text if there are none.
    pub(super) fn pick(&mut self, items: &[&'static str]) -> &'static str {
        let at = self.index(items.len());
        items.get(at).copied().unwrap_or_default()
    }

    /// True with a probability of `permille` in a thousand.
    pub(super) fn chance(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }
}

fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
