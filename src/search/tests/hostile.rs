//! Whatever somebody types or a seller writes is text, and breaks nothing.

use proptest::prelude::*;

use super::{Fixture, described, listed, titled};
use crate::{
    domain::{
        cursor::Cursor,
        product::{DESCRIPTION_BYTES_MAX, Details, TITLE_BYTES_MAX},
    },
    search::{SearchError, SearchRequest, Sort},
};

fn request(text: &str) -> SearchRequest {
    SearchRequest { text: Some(text.to_owned()), ..SearchRequest::default() }
}

#[test]
fn the_language_of_tantivy_is_not_spoken() {
    let shop = Fixture::with(&[("a", titled("Lamp")), ("b", titled("Chair title id"))]);
    for text in [
        "title:(",
        "\"",
        "\"lamp",
        "*",
        "lamp*",
        "l?mp",
        "la~",
        "[a TO z]",
        "{* TO *}",
        "+lamp -lamp",
        "lamp^9e99",
        "((((((",
        "\\",
        "id:a",
        "\u{0}",
        "\u{0}lamp\u{0}",
        "NOT lamp",
        "AND",
        "OR OR OR",
        "/lamp/",
        "IN [a b]",
        "\u{202e}lamp",
        "💡",
        "ﬁ",
        "a\u{300}\u{300}\u{300}",
        "'",
        "''''",
        "l'",
        "'l",
        "--",
        "-.-",
        "._.",
        "\u{fffd}",
        "𝔩𝔞𝔪𝔭",
        "٣",
        "ß",
        "İ",
    ] {
        let page = shop.search.find(&request(text)).unwrap();
        assert!(page.total <= 2, "{text:?}");
    }
    assert_eq!(shop.ids("title:lamp")[0], "a", "a field's name is a word like any other");
    assert_eq!(shop.ids("lamp* -lamp"), ["a"]);
}

#[test]
fn texts_too_long_are_refused_and_too_many_words_ignored() {
    let shop = Fixture::with(&[("a", titled("Lamp"))]);
    let long = "lamp ".repeat(20_000);
    assert_eq!(shop.search.find(&request(&long)), Err(SearchError::TextTooLong { bytes: 100_000 }));
    let many = (0..60).map(|number| format!("{number} ")).collect::<String>() + "lamp";
    assert_eq!(shop.search.find(&request(&many)).unwrap().total, 0, "the seventeenth word is not looked for");
    assert_eq!(shop.search.find(&request(&"lamp ".repeat(50))).unwrap().total, 1, "repeated words are one");
}

#[test]
fn the_greatest_product_is_indexed() {
    let text = |bytes: usize| "ab-1.c ".repeat(bytes / 7);
    let pairs = |count: usize| (0..count).map(|number| (format!("n{number}"), "v ".repeat(500))).collect::<Vec<_>>();
    let details = Details {
        description: text(DESCRIPTION_BYTES_MAX),
        category: vec!["\u{1f}\u{1e} c".repeat(100); 10],
        brand: Some("\u{0}".into()),
        attributes: pairs(200),
        ..titled(&text(TITLE_BYTES_MAX))
    };
    let mut shop = Fixture::with(&[("great", details)]);
    assert_eq!(shop.ids("ab1c"), ["great"]);
    shop.take(&[listed("after", titled("After"), 2)]);
    assert_eq!((shop.find(&SearchRequest::default()).total, shop.search.categories().unwrap().len()), (2, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn nothing_typed_or_written_panics(
        titles in prop::collection::vec(any::<String>(), 1..8),
        texts in prop::collection::vec(any::<String>(), 30),
        cursors in prop::collection::vec("[A-Za-z0-9_=-]{0,120}|\\PC{0,40}", 30),
    ) {
        let mut shop = Fixture::open();
        let records: Vec<_> = titles
            .iter()
            .enumerate()
            .map(|(number, title)| {
                let details = Details {
                    brand: Some(title.clone()),
                    category: vec![title.clone(); number % 4],
                    ..described(title, title)
                };
                listed(&format!("p{number}"), details, 1)
            })
            .collect();
        shop.take(&records);
        for text in texts.iter().chain(&titles) {
            for sort in [Sort::Relevance, Sort::Newest] {
                let category = vec![text.clone()];
                let asked = SearchRequest { sort, ..request(text) };
                let narrowed = SearchRequest { category, brand: Some(text.clone()), ..asked.clone() };
                for request in [asked, narrowed] {
                    match shop.search.find(&request) {
                        Ok(page) => prop_assert!(page.total <= titles.len()),
                        Err(SearchError::TextTooLong { .. }) => {}
                        Err(other) => prop_assert!(false, "{other}"),
                    }
                }
            }
        }
        for text in &cursors {
            if let Ok(after) = text.parse::<Cursor>() {
                let refused = shop.search.find(&SearchRequest { after: Some(after), ..SearchRequest::default() });
                prop_assert!(refused.is_err());
            }
        }
        prop_assert!(shop.search.categories().is_ok());
    }
}
