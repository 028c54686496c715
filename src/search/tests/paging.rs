//! Pages: every product once, in one order, however the index lies on disk.

use std::collections::HashSet;

use super::{Fixture, delisted, ids, listed, priced, titled};
use crate::{
    domain::{
        cursor::{Cursor, InvalidCursor},
        product::Details,
    },
    search::{SearchError, SearchRequest, Sort},
};

/// How many products the walks go through.
const PRODUCTS: usize = 5_000;

/// A catalogue in several segments, with ties in everything, with deleted and revised products.
fn catalogue() -> Fixture {
    let mut shop = Fixture::open();
    let product = |number: usize| -> Details {
        let words = ["lamp", "lamp desk", "desk", "desk lamp green", "green chair"][number % 5];
        if number.is_multiple_of(3) { titled(words) } else { priced(words, (number % 7) as u64 * 100) }
    };
    // Some ids are told apart by their end only.
    let id = |number: usize| match number % 2 {
        0 => format!("p-{:04}", number * 7919 % PRODUCTS),
        _ => format!("product-with-a-long-name-{:04}", number * 7919 % PRODUCTS),
    };
    for part in 0..5 {
        let numbers = (0..PRODUCTS).filter(|number| number % 5 == part);
        let records: Vec<_> = numbers.map(|number| listed(&id(number), product(number), 1)).collect();
        shop.take(&records);
    }
    let gone: Vec<_> = (0..100).map(|number| delisted(&id(number * 3))).collect();
    shop.take(&gone);
    shop
}

#[test]
fn pages_show_every_product_once_in_every_order() {
    let shop = catalogue();
    for text in [None, Some("lamp"), Some("desk lamp"), Some("green zeppelin"), Some("lamp chair")] {
        for sort in [Sort::Relevance, Sort::PriceAscending, Sort::PriceDescending, Sort::Newest] {
            for limit in [7, 100] {
                let mut request =
                    SearchRequest { text: text.map(str::to_owned), sort, limit, ..SearchRequest::default() };
                let mut seen = HashSet::new();
                let mut prices = Vec::new();
                let total = shop.find(&request).total;
                // Small pages need not be walked to the end to be tested.
                for _ in 0..60 {
                    let page = shop.find(&request);
                    assert_eq!(page.total, total);
                    assert!(page.hits.len() == limit || page.next.is_none());
                    for hit in &page.hits {
                        assert!(seen.insert(hit.product.clone()), "{} twice", hit.product);
                        prices.push(hit.price.map(|price| price.minor));
                    }
                    let Some(next) = page.next else {
                        assert_eq!(seen.len(), total, "{text:?} {sort:?}");
                        break;
                    };
                    request.after = Some(next.to_string().parse().unwrap());
                }
                assert!(seen.len() == total || limit == 7);
                let ascending = |price: &Option<u64>| price.unwrap_or(u64::MAX);
                let descending = |price: &Option<u64>| price.map_or(u64::MAX, |price| u64::MAX - 1 - price);
                match sort {
                    Sort::PriceAscending => assert!(prices.is_sorted_by_key(ascending)),
                    Sort::PriceDescending => assert!(prices.is_sorted_by_key(descending)),
                    Sort::Relevance | Sort::Newest => {}
                }
            }
        }
    }
}

#[test]
fn the_size_of_pages_does_not_change_the_order() {
    let shop = catalogue();
    for sort in [Sort::Relevance, Sort::PriceAscending, Sort::Newest] {
        let walk = |limit: usize| {
            let mut request =
                SearchRequest { text: Some("green lamp".into()), sort, limit, ..SearchRequest::default() };
            let mut walked = Vec::new();
            while walked.len() < 90 {
                let page = shop.find(&request);
                walked.extend(ids(&page.hits));
                request.after = page.next;
            }
            walked.truncate(90);
            walked
        };
        assert_eq!(walk(1), walk(90));
        assert_eq!(walk(13), walk(90));
    }
}

#[test]
fn a_cursor_outlives_changes_of_the_index() {
    let mut shop =
        Fixture::with(&[("a", titled("Lamp")), ("b", titled("Lamp")), ("c", titled("Lamp")), ("d", titled("Lamp"))]);
    let mut request = SearchRequest { sort: Sort::PriceAscending, limit: 2, ..SearchRequest::default() };
    let page = shop.find(&request);
    assert_eq!(ids(&page.hits), ["a", "b"]);
    shop.take(&[delisted("b"), delisted("c"), listed("bb", titled("Lamp"), 9), listed("aa", titled("Lamp"), 9)]);
    request.after = page.next;
    let page = shop.find(&request);
    assert_eq!((ids(&page.hits), page.next, page.total), (vec!["bb".to_owned(), "d".to_owned()], None, 4));
}

#[test]
fn a_cursor_of_another_search_is_refused() {
    let shop = Fixture::with(&[("a", titled("Lamp")), ("b", titled("Lamp"))]);
    let request = SearchRequest { text: Some("lamp".into()), limit: 1, ..SearchRequest::default() };
    let after = shop.find(&request).next;
    assert!(after.is_some());
    let invalid = Err(SearchError::InvalidCursor(InvalidCursor));
    let find = |request| shop.search.find(&request);
    for other in [
        SearchRequest { text: Some("desk".into()), ..request.clone() },
        SearchRequest { brand: Some("HP".into()), ..request.clone() },
        SearchRequest { sort: Sort::Newest, ..request.clone() },
    ] {
        assert_eq!(find(SearchRequest { after: after.clone(), ..other }), invalid);
    }
    let with_a_bad_key = Cursor::new(&request.list(), b"key");
    assert_eq!(find(SearchRequest { after: Some(with_a_bad_key), ..request.clone() }), invalid);
    assert!(find(SearchRequest { after, limit: 3, ..request }).is_ok(), "pages may change their size");
}
