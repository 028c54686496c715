//! Where in a product a word stands, packed into the word's frequency, and the tokenizer that writes it.
//!
//! The frequency of a word in a product is not how often it occurs but a code: the low bits count it in the description, one
//! bit says that the brand or the category has it, the high bits count it in the title. So one posting list per word tells
//! all that ranking needs. A frequency is written by repeating the token that often. Depends on tantivy's tokenizer trait.

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

/// Where a word stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In the title.
    Title,
    /// In the brand or the category.
    Label,
    /// In the description, a value of an attribute or an option of a variant.
    Description,
}

/// How often a word stands in each place, as far as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Places {
    /// In the title, up to 3.
    pub(super) title: u8,
    /// In the brand or the category: 0 or 1.
    pub(super) label: u8,
    /// In the description, up to 3.
    pub(super) description: u8,
}

impl Places {
    /// What a code says.
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

/// The words of one product with the codes of their places.
#[derive(Debug, Default)]
pub(super) struct PlacedWords {
    codes: BTreeMap<String, u8>,
}

impl PlacedWords {
    /// Notes one occurrence.
    pub(super) fn add(&mut self, word: &str, place: Place) {
        let code = match self.codes.get_mut(word) {
            Some(code) => code,
            None => self.codes.entry(word.to_owned()).or_default(),
        };
        let places = Places::of_code(*code);
        let added = match place {
            Place::Title if u32::from(places.title) < TITLE_COUNT_MAX => TITLE_UNIT,
            Place::Label if places.label == 0 => LABEL_BIT,
            Place::Description if u32::from(places.description) < DESCRIPTION_COUNT_MAX => 1,
            Place::Title | Place::Label | Place::Description => 0,
        };
        *code = code.saturating_add(u8::try_from(added).unwrap_or(0));
    }

    /// The text that [`PlacesTokenizer`] reads: for each word the character of its code, the word, a space.
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

/// Repeats each word of [`PlacedWords::to_text`] as often as its code says.
#[derive(Debug, Clone, Default)]
pub(super) struct PlacesTokenizer {
    token: Token,
}

impl Tokenizer for PlacesTokenizer {
    type TokenStream<'a> = PlacesStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> PlacesStream<'a> {
        self.token.reset();
        PlacesStream { words: text.split_ascii_whitespace(), repetitions_left: 0, token: &mut self.token }
    }
}

/// The stream of a [`PlacesTokenizer`].
#[derive(Debug)]
pub(super) struct PlacesStream<'a> {
    words: std::str::SplitAsciiWhitespace<'a>,
    repetitions_left: u8,
    token: &'a mut Token,
}

impl TokenStream for PlacesStream<'_> {
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
    fn places_survive_the_way_through_the_frequency() {
        let mut words = PlacedWords::default();
        for _ in 0..9 {
            words.add("battery", Place::Description);
            words.add("hp", Place::Title);
        }
        words.add("hp", Place::Label);
        words.add("hp", Place::Label);
        words.add("80", Place::Title);
        let mut frequencies: BTreeMap<String, u8> = BTreeMap::new();
        let (mut tokenizer, text) = (PlacesTokenizer::default(), words.to_text());
        tokenizer.token_stream(&text).process(&mut |token| *frequencies.entry(token.text.clone()).or_default() += 1);
        let places = |word: &str| Places::of_code(frequencies[word]);
        assert_eq!(places("battery"), Places { title: 0, label: 0, description: 3 });
        assert_eq!(places("hp"), Places { title: 3, label: 1, description: 0 });
        assert_eq!(places("80"), Places { title: 1, label: 0, description: 0 });
        assert!(frequencies.values().all(|frequency| usize::from(*frequency) < CODES));
    }
}
