//! How often a word occurs in each text field of a product, packed into the word's term frequency.
//!
//! The term frequency that tantivy stores is not how often the word occurs but a code: the low two bits count it in the
//! description, one bit says that the brand or the category has it, and the high bits count it in the title. So one
//! posting list per word holds all that ranking needs. The tokenizer here writes a frequency by repeating the token
//! that often.
//!
//! Depends on tantivy's tokenizer trait.

use std::collections::BTreeMap;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// The most occurrences in the description that count: the low two bits of the code.
const DESCRIPTION_COUNT_MAX: u32 = 3;
/// Set where the brand or the category has the word.
const LABEL_BIT: u32 = 4;
/// One occurrence in the title.
const TITLE_UNIT: u32 = 8;
/// The most occurrences in the title that count.
const TITLE_COUNT_MAX: u32 = 3;
/// The number of codes, 0 included.
pub(super) const CODES: usize = 32;

/// Added to a code to make it a printable character in the text handed to the tokenizer.
const CODE_BASE: u8 = b'@';

/// A text field of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TextField {
    Title,
    /// The brand or the category.
    Label,
    /// The description, a value of an attribute or an option of a variant.
    Description,
}

/// How often a word occurs in each field, up to the most that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FieldCounts {
    /// At most [`TITLE_COUNT_MAX`].
    pub(super) title: u8,
    /// 0 or 1.
    pub(super) label: u8,
    /// At most [`DESCRIPTION_COUNT_MAX`].
    pub(super) description: u8,
}

impl FieldCounts {
    /// Decodes a term frequency.
    pub(super) fn of_code(code: u8) -> Self {
        let code = u32::from(code);
        let count = |number: u32, most: u32| u8::try_from(number.min(most)).unwrap_or(u8::MAX);
        Self {
            title: count(code / TITLE_UNIT, TITLE_COUNT_MAX),
            label: count((code & LABEL_BIT) / LABEL_BIT, 1),
            description: count(code & DESCRIPTION_COUNT_MAX, DESCRIPTION_COUNT_MAX),
        }
    }
}

/// The words of one product with the codes of their counts.
#[derive(Debug, Default)]
pub(super) struct WordCounts {
    codes: BTreeMap<String, u8>,
}

impl WordCounts {
    /// Counts one occurrence of `word` in `field`.
    pub(super) fn add(&mut self, word: &str, field: TextField) {
        let code = match self.codes.get_mut(word) {
            Some(code) => code,
            None => self.codes.entry(word.to_owned()).or_default(),
        };
        let counts = FieldCounts::of_code(*code);
        let added = match field {
            TextField::Title if u32::from(counts.title) < TITLE_COUNT_MAX => TITLE_UNIT,
            TextField::Label if counts.label == 0 => LABEL_BIT,
            TextField::Description if u32::from(counts.description) < DESCRIPTION_COUNT_MAX => 1,
            TextField::Title | TextField::Label | TextField::Description => 0,
        };
        *code = code.saturating_add(u8::try_from(added).unwrap_or(0));
    }

    /// The text that [`WordCountsTokenizer`] reads: for each word the character of its code, the word, a space.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.codes.len() * 10);
        for (word, code) in &self.codes {
            text.push(char::from(CODE_BASE + code));
            text.push_str(word);
            text.push(' ');
        }
        text
    }
}

/// Repeats each word of [`WordCounts::to_text`] as often as its code says.
#[derive(Debug, Clone, Default)]
pub(super) struct WordCountsTokenizer {
    token: Token,
}

impl Tokenizer for WordCountsTokenizer {
    type TokenStream<'a> = WordCountsStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordCountsStream<'a> {
        self.token.reset();
        WordCountsStream { words: text.split_ascii_whitespace(), repetitions_left: 0, token: &mut self.token }
    }
}

/// The stream of a [`WordCountsTokenizer`].
#[derive(Debug)]
pub(super) struct WordCountsStream<'a> {
    words: std::str::SplitAsciiWhitespace<'a>,
    repetitions_left: u8,
    token: &'a mut Token,
}

impl TokenStream for WordCountsStream<'_> {
    fn advance(&mut self) -> bool {
        while self.repetitions_left == 0 {
            let Some(coded) = self.words.next() else { return false };
            let Some((code, word)) = coded.split_at_checked(1) else { continue };
            self.repetitions_left = code.as_bytes()[0].saturating_sub(CODE_BASE);
            self.token.text.clear();
            self.token.text.push_str(word);
        }
        self.repetitions_left -= 1;
        self.token.position = self.token.position.wrapping_add(1);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_the_encoding_as_a_frequency() {
        let mut words = WordCounts::default();
        for _ in 0..9 {
            words.add("battery", TextField::Description);
            words.add("hp", TextField::Title);
        }
        words.add("hp", TextField::Label);
        words.add("hp", TextField::Label);
        words.add("80", TextField::Title);
        let mut frequencies: BTreeMap<String, u8> = BTreeMap::new();
        let (mut tokenizer, text) = (WordCountsTokenizer::default(), words.to_text());
        tokenizer.token_stream(&text).process(&mut |token| *frequencies.entry(token.text.clone()).or_default() += 1);
        let counts = |word: &str| FieldCounts::of_code(frequencies[word]);
        assert_eq!(counts("battery"), FieldCounts { title: 0, label: 0, description: 3 });
        assert_eq!(counts("hp"), FieldCounts { title: 3, label: 1, description: 0 });
        assert_eq!(counts("80"), FieldCounts { title: 1, label: 0, description: 0 });
        assert!(frequencies.values().all(|frequency| usize::from(*frequency) < CODES));
    }
}
