//! From text to the words that are indexed and searched for; the same for both, or nothing would be found.
//!
//! A word is a run of letters and digits in lower case, without accents, reduced to its English stem: `Women's` and
//! `woman` are not the same word, `batteries` and `battery` are. Names of models stay whole (`c4872a`); those written
//! in parts (`TN-2110`) are also found written as one (`tn2110`). Depends on tantivy's token filters.

use std::borrow::Cow;

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, TextAnalyzer, TokenStream,
};

/// The longest word, in bytes; longer runs (keys, encoded data) are not words that anybody types.
pub(super) const WORD_BYTES_MAX: usize = 64;

/// What may join the parts of one name: `TN-2110`, `DCS.2310`, `WRT_54`.
const JOINERS: [char; 3] = ['-', '.', '_'];

/// Stop words: a query's other words decide which products are found, these only refine the order. Lucene's list for
/// English, as stems, without `no` and `not`, which shoppers mean; with `x`, as in `10 x 12`.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "of", "on", "or",
    "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with", "without",
    "x",
];

pub(super) fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.contains(&word)
}

/// A category or brand in the form in which names are compared: lower case, single spaces.
pub(super) fn normalised(name: &str) -> String {
    let mut normalised = String::with_capacity(name.len());
    for part in name.split_whitespace() {
        if !normalised.is_empty() {
            normalised.push(' ');
        }
        // Control characters separate names in the index and are no part of one.
        normalised.extend(part.chars().filter(|letter| !letter.is_control()).flat_map(char::to_lowercase));
    }
    normalised
}

/// Splits text into words. Cheap to clone; one per thread, because the filters keep buffers.
#[derive(Clone)]
pub(super) struct Analyzer {
    filters: TextAnalyzer,
}

impl Default for Analyzer {
    fn default() -> Self {
        let filters = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
            .filter(LowerCaser)
            .filter(AsciiFoldingFilter)
            .filter(Stemmer::new(Language::English))
            .build();
        Self { filters }
    }
}

impl Analyzer {
    /// Passes every word of `text` to `sink`, in order.
    pub(super) fn each_word(&mut self, text: &str, mut sink: impl FnMut(&str)) {
        self.each_of(&simplified(text), &mut sink);
    }

    /// Passes every word of `text` to `sink`, and after them the names written in parts as one word.
    pub(super) fn each_word_and_name(&mut self, text: &str, mut sink: impl FnMut(&str)) {
        let text = simplified(text);
        self.each_of(&text, &mut sink);
        for chunk in text.split(|letter: char| !letter.is_alphanumeric() && !JOINERS.contains(&letter)) {
            let chunk = chunk.trim_matches(JOINERS);
            if chunk.len() <= WORD_BYTES_MAX && chunk.contains(JOINERS) {
                self.each_of(&chunk.replace(JOINERS, ""), &mut sink);
            }
        }
    }

    fn each_of(&mut self, text: &str, sink: &mut impl FnMut(&str)) {
        let mut stream = self.filters.token_stream(text);
        while stream.advance() {
            let word = stream.token().text.as_str();
            // Folding an accent can lengthen a word (`ß`), and stemming can empty one.
            if !word.is_empty() && word.len() <= WORD_BYTES_MAX {
                sink(word);
            }
        }
    }
}

/// Removes what is inside a word without separating it: apostrophes before a letter and combining accents.
fn simplified(text: &str) -> Cow<'_, str> {
    let combining = |letter: char| ('\u{300}'..='\u{36f}').contains(&letter);
    let apostrophe = |letter: char| matches!(letter, '\'' | '\u{2019}' | '\u{2bc}');
    if !text.contains(|letter| combining(letter) || apostrophe(letter)) {
        return Cow::Borrowed(text);
    }
    let mut simple = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let before_letter = || simple.ends_with(char::is_alphabetic);
        let inside = apostrophe(letter) && before_letter() && letters.peek().is_some_and(|next| next.is_alphabetic());
        if !combining(letter) && !inside {
            simple.push(letter);
        }
    }
    Cow::Owned(simple)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        Analyzer::default().each_word(text, |word| words.push(word.to_owned()));
        words
    }

    fn words_and_names(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        Analyzer::default().each_word_and_name(text, |word| words.push(word.to_owned()));
        words
    }

    #[test]
    fn words_are_folded_and_stemmed() {
        assert_eq!(words("Batteries, battery & BATTERY"), ["batteri", "batteri", "batteri"]);
        assert_eq!(words("Café Crème naïve"), words("cafe creme naive"));
        assert_eq!(words("cafe\u{301}"), words("café"), "composed and decomposed accents are one");
        assert_eq!(words("women's men\u{2019}s"), words("womens mens"));
    }

    #[test]
    fn numbers_and_models_stay() {
        assert_eq!(words("HP 80 C4872A 55\""), ["hp", "80", "c4872a", "55"]);
        assert_eq!(words("6'2\""), ["6", "2"]);
        assert_eq!(words_and_names("Brother TN-2110."), ["brother", "tn", "2110", "tn2110"]);
        assert_eq!(words_and_names("wi-fi - 2.4 GHz"), ["wi", "fi", "2", "4", "ghz", "wifi", "24"]);
    }

    #[test]
    fn what_is_no_word_is_none() {
        assert!(words("!?* \"' -- () \u{0} \u{1f}").is_empty());
        assert!(words(&"x".repeat(WORD_BYTES_MAX + 1)).is_empty());
    }

    #[test]
    fn names_are_compared_without_case_and_surplus_spaces() {
        assert_eq!(normalised("  Toner,  INK &\tSupplies "), "toner, ink & supplies");
        assert_eq!(normalised("a\u{0}b\u{1f}"), "ab");
    }
}
