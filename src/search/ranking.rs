//! How much a word found in a product adds to its score: BM25 within a text field, and a step from field to field.
//!
//! BM25's share of one word is always less than the word's weight, `idf × (K1 + 1)`. A word in the brand or category is
//! lifted by one such weight, one in the title by two: so no description, however often it repeats a word, ranks above
//! a title that has it. Over several words the shares are added.
//!
//! The numbers were chosen by measuring NDCG@10 on two judged sets of queries (`tests/quality.rs`); none of them is at
//! a point where a small change matters.
//!
//! Depends on [`super::field_counts`].

use super::field_counts::{CODES, FieldCounts};

/// BM25's saturation of repeated words; the customary value.
const K1: f32 = 1.2;
/// BM25's correction for long texts. Less than the customary 0.75: a long title says more about a product, not less.
const B: f32 = 0.5;

/// How many weights a word in the title is lifted by.
const TITLE_STEPS: f32 = 2.0;
/// How many weights a word in the brand or category is lifted by.
const LABEL_STEPS: f32 = 1.0;
/// How often BM25 counts an occurrence in the title; one in the description counts once.
const TITLE_FREQUENCY: f32 = 3.0;
/// How often BM25 counts an occurrence in the brand or category.
const LABEL_FREQUENCY: f32 = 2.0;

/// BM25's length correction of each of the 256 lengths an index distinguishes; one table per snapshot of the index.
#[derive(Debug)]
pub(super) struct LengthTable([f32; 256]);

impl LengthTable {
    /// The table for texts of `average` length.
    pub(super) fn new(average: f32, length_of_code: impl Fn(u8) -> u32) -> Self {
        let correction = |code: usize| {
            let length = length_of_code(u8::try_from(code).unwrap_or(u8::MAX)) as f32;
            K1 * (1.0 - B + B * length / average.max(1.0))
        };
        Self(std::array::from_fn(correction))
    }

    /// The correction of the length with this code.
    #[inline]
    pub(super) fn correction(&self, length_code: u8) -> f32 {
        self.0[usize::from(length_code)]
    }
}

/// What one word of a query counts.
#[derive(Debug)]
pub(super) struct WordRank {
    weight: f32,
}

/// The steps and the frequency of a code.
#[derive(Debug, Clone, Copy)]
struct CodeWeights {
    steps: f32,
    frequency: f32,
}

/// The weights of every code.
static CODE_WEIGHTS: std::sync::LazyLock<[CodeWeights; CODES]> = std::sync::LazyLock::new(|| {
    std::array::from_fn(|code| {
        let counts = FieldCounts::of_code(u8::try_from(code).unwrap_or(0));
        let title = f32::from(counts.title);
        let label = f32::from(counts.label);
        CodeWeights {
            steps: TITLE_STEPS * title.min(1.0) + LABEL_STEPS * label,
            frequency: TITLE_FREQUENCY * title + LABEL_FREQUENCY * label + f32::from(counts.description),
        }
    })
});

impl WordRank {
    /// For a word that `with_word` of `all` products have.
    pub(super) fn new(with_word: u64, all: u64) -> Self {
        let (with_word, all) = (with_word as f32, all.max(with_word) as f32);
        let idf = (1.0 + (all - with_word + 0.5) / (with_word + 0.5)).ln();
        Self { weight: idf * (K1 + 1.0) }
    }

    /// The share of this word in a product's score; never negative.
    #[inline]
    pub(super) fn share(&self, code: u32, length_correction: f32) -> f32 {
        let CodeWeights { steps, frequency } = CODE_WEIGHTS[(code as usize) % CODES];
        self.weight * (steps + frequency / (frequency + length_correction))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_outranks_a_label_and_a_label_any_description() {
        let lengths = LengthTable::new(80.0, |code| u32::from(code) * 50);
        for (with_word, all) in [(1, 1), (1, 1_000_000), (999_999, 1_000_000)] {
            let rank = WordRank::new(with_word, all);
            let extremes = |codes: std::ops::Range<u32>, having: u32, lacking: u32| {
                let shares: Vec<f32> = codes
                    .filter(|code| code & having != 0 && code & lacking == 0)
                    .flat_map(|code| [0, 255].map(|length| rank.share(code, lengths.correction(length))))
                    .collect();
                let least = shares.iter().copied().fold(f32::MAX, f32::min);
                (least, shares.iter().copied().fold(0.0, f32::max))
            };
            let (title_least, _) = extremes(1..32, 24, 0);
            let (label_least, label_most) = extremes(1..32, 4, 24);
            let (_, description_most) = extremes(1..32, 3, 28);
            assert!(title_least > label_most && label_least > description_most);
        }
    }
}
