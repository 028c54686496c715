//! What is found and in which order.

use super::{Fixture, delisted, described, ids, listed, priced, record, titled};
use crate::{
    domain::{
        entity::Timestamp,
        ids::SellerId,
        money::{Currency, Money},
        product::{Details, Picture, Variant},
    },
    search::{CategoryCount, SearchError, SearchRequest, Sort},
};

fn filed(title: &str, category: &[&str]) -> Details {
    Details { category: category.iter().map(|&level| level.to_owned()).collect(), ..titled(title) }
}

fn branded(title: &str, brand: &str) -> Details {
    Details { brand: Some(brand.to_owned()), ..titled(title) }
}

fn all() -> SearchRequest {
    SearchRequest::default()
}

fn sorted(sort: Sort) -> SearchRequest {
    SearchRequest { sort, ..all() }
}

#[test]
fn a_title_outranks_a_brand_and_a_brand_any_description() {
    let long_title = format!("{} lantern", "word ".repeat(300));
    let repeated = "lantern ".repeat(500);
    let mut shop = Fixture::with(&[
        ("description", described("Thing", "lantern")),
        ("repeated", described("Thing", &repeated)),
        ("category", filed("Thing", &["Lanterns", "Outdoor"])),
        ("brand", branded("Thing", "Lantern")),
        ("long", titled(&long_title)),
        ("short", titled("Lantern")),
    ]);
    let places = |ids: &[String]| {
        ids.iter()
            .map(|id| match id.as_str() {
                "long" | "short" => 0,
                "brand" | "category" => 1,
                _ => 2,
            })
            .collect()
    };
    let order: Vec<u8> = places(&shop.ids("lantern"));
    assert_eq!(order, [0, 0, 1, 1, 2, 2]);
    // The same where nearly every product has the word, so that it weighs next to nothing.
    let many: Vec<_> =
        (0..200).map(|number| listed(&format!("many-{number}"), described("Thing", "lantern"), 1)).collect();
    shop.take(&many);
    assert_eq!(places(&shop.ids("lanterns"))[..6], [0, 0, 1, 1, 2, 2]);
}

#[test]
fn all_words_come_before_some() {
    let shop = Fixture::with(&[
        ("one", titled("USB USB USB stick")),
        ("other", titled("Memory card")),
        ("both", described("Thing", "memory on usb")),
        ("none", titled("Lamp")),
    ]);
    assert_eq!(shop.ids("usb memory")[0], "both");
    assert_eq!(shop.ids("usb memory").len(), 3, "too few have both, so some follow");
    let cheapest = SearchRequest { text: Some("usb memory".into()), ..sorted(Sort::PriceAscending) };
    assert_eq!(ids(&shop.find(&cheapest).hits), ["both"], "in other orders the rest would stand between");
    assert_eq!(shop.ids("memory zeppelin"), shop.ids("memory"), "no product has both");
    assert_eq!(shop.ids("a lamp for the office"), ["none"]);
    assert_eq!(shop.ids("the"), Vec::<String>::new());
}

#[test]
fn words_are_found_in_all_their_forms() {
    let shop = Fixture::with(&[
        ("battery", titled("AA Batteries (4 pack)")),
        ("ink", titled("HP 80 C4872A Original Cyan")),
        ("tv", titled("Samsung 55\" QLED")),
        ("toner", titled("Brother TN-2110 toner")),
        ("cup", titled("Café crème cup")),
        ("shirt", titled("Women's T-Shirt")),
    ]);
    for (text, id) in [
        ("battery", "battery"),
        ("hp 80", "ink"),
        ("c4872a", "ink"),
        ("C4872A", "ink"),
        ("55\"", "tv"),
        ("samsung 55", "tv"),
        ("tn-2110", "toner"),
        ("TN2110", "toner"),
        ("cafe", "cup"),
        ("CRÈME", "cup"),
        ("womens tshirt", "shirt"),
        ("toner", "toner"),
    ] {
        assert_eq!(shop.ids(text).first().map(String::as_str), Some(id), "{text}");
    }
}

#[test]
fn a_hit_shows_what_a_list_needs() {
    let price = Some(Money { minor: 129_900, currency: Currency::INR });
    let details = Details {
        brand: Some("Acme".into()),
        price,
        thumbnail: Some(Picture { alt: Some("A phone".into()), ..Picture::at("https://images.example/1.jpg") }),
        ..titled("Phone \"X\" \u{1F4F1}")
    };
    let shop = Fixture::with(&[("phone", details)]);
    let page = shop.find(&SearchRequest { text: Some("phone".into()), ..all() });
    assert_eq!((page.total, page.next), (1, None));
    let hit = &page.hits[0];
    assert_eq!((hit.title.as_str(), hit.brand.as_deref(), hit.price), ("Phone \"X\" \u{1F4F1}", Some("Acme"), price));
    assert_eq!(hit.thumbnail_url.as_deref(), Some("https://images.example/1.jpg"));
    assert_eq!(hit.thumbnail_alt.as_deref(), Some("A phone"));
}

#[test]
fn categories_hold_what_is_below_them() {
    let mut shop = Fixture::with(&[
        ("phone", filed("Phone", &["Electronics", "Phones", "Smart"])),
        ("case", filed("Case", &["electronics", "Phones"])),
        ("radio", filed("Radio", &["Electronics", "Radio"])),
        ("lamp", filed("Lamp", &["Home & Garden"])),
        ("odd", titled("Odd")),
    ]);
    let found = |shop: &Fixture, path: &[&str]| {
        let category = path.iter().map(|&level| level.to_owned()).collect();
        let mut found = ids(&shop.find(&SearchRequest { category, ..all() }).hits);
        found.sort();
        found
    };
    assert_eq!(found(&shop, &["ELECTRONICS"]), ["case", "phone", "radio"]);
    assert_eq!(found(&shop, &["Electronics", "phones"]), ["case", "phone"]);
    assert_eq!(found(&shop, &["electronics", "phones", "smart"]), ["phone"]);
    assert_eq!(found(&shop, &["home  & garden "]), ["lamp"]);
    assert!(found(&shop, &["phones"]).is_empty(), "a path begins at the top");
    assert!(found(&shop, &["electronics", "phone"]).is_empty(), "names are whole");

    let counts = |shop: &Fixture| -> Vec<(String, usize)> {
        let counts = shop.search.categories().unwrap();
        counts.iter().map(|CategoryCount { path, count }| (path.join(" > "), *count)).collect()
    };
    let expected = [("Electronics", 3), ("Electronics > Phones", 2), ("Electronics > Radio", 1), ("Home & Garden", 1)];
    assert_eq!(counts(&shop), expected.map(|(path, count)| (path.to_owned(), count)));
    shop.take(&[delisted("radio"), delisted("lamp")]);
    assert_eq!(counts(&shop), [("Electronics".to_owned(), 2), ("Electronics > Phones".to_owned(), 2)]);
}

#[test]
fn filters_hold_together() {
    let currency = |code: &str| code.parse::<Currency>().unwrap();
    let product = |minor, code| Details {
        price: Some(Money { minor, currency: currency(code) }),
        category: vec!["Toys".into()],
        ..branded("Toy train", "Märklin ")
    };
    let mut shop =
        Fixture::with(&[("cheap", product(100, "EUR")), ("dear", product(900, "EUR")), ("yen", product(100, "JPY"))]);
    let details = std::sync::Arc::new(product(500, "EUR"));
    shop.take(&[record("other", &super::Event::Listed { seller: SellerId(2), details, at: Timestamp(9) })]);
    shop.take(&[listed("free", titled("Toy train"), 10)]);
    let found = |request: SearchRequest| {
        let page = shop.find(&SearchRequest { sort: Sort::PriceAscending, ..request });
        assert_eq!(page.total, page.hits.len());
        ids(&page.hits)
    };
    assert_eq!(found(all()), ["cheap", "yen", "other", "dear", "free"], "without a price: last; ties by id");
    assert_eq!(found(SearchRequest { brand: Some("märklin".into()), ..all() }).len(), 4);
    assert_eq!(found(SearchRequest { seller: Some(SellerId(2)), ..all() }), ["other"]);
    assert_eq!(found(SearchRequest { currency: Some(currency("JPY")), ..all() }), ["yen"]);
    assert_eq!(found(SearchRequest { price_minor: (Some(101), None), ..all() }), ["other", "dear"]);
    assert_eq!(found(SearchRequest { price_minor: (None, Some(500)), ..all() }), ["cheap", "yen", "other"]);
    assert_eq!(found(SearchRequest { price_minor: (Some(9), Some(1)), ..all() }), [""; 0]);
    let together = SearchRequest {
        text: Some("train".into()),
        category: vec!["toys".into()],
        brand: Some("Märklin".into()),
        seller: Some(SellerId(1)),
        price_minor: (Some(100), Some(900)),
        currency: Some(currency("EUR")),
        ..all()
    };
    assert_eq!(found(together), ["cheap", "dear"]);
}

#[test]
fn orders_are_what_they_say() {
    let shop = Fixture::with(&[
        ("b", priced("Lamp", 200)),
        ("a", priced("Lamp", 200)),
        ("c", priced("Lamp", 100)),
        ("d", titled("Lamp")),
    ]);
    let found = |sort| ids(&shop.find(&SearchRequest { text: Some("lamp".into()), ..sorted(sort) }).hits);
    assert_eq!(found(Sort::PriceAscending), ["c", "a", "b", "d"]);
    assert_eq!(found(Sort::PriceDescending), ["a", "b", "c", "d"]);
    assert_eq!(found(Sort::Newest), ["d", "c", "a", "b"]);
    assert_eq!(found(Sort::Relevance), ["a", "b", "c", "d"], "equally good ones by id");
    assert_eq!(ids(&shop.find(&all()).hits), ["d", "c", "a", "b"], "browsing shows the newest first");
}

#[test]
fn no_text_finds_everything_and_no_words_find_nothing() {
    let shop = Fixture::with(&[("a", titled("Lamp"))]);
    for text in [None, Some(""), Some(" \t\n")] {
        assert_eq!(shop.find(&SearchRequest { text: text.map(str::to_owned), ..all() }).total, 1);
    }
    for text in ["?", "\"\"", "*:*", "-"] {
        assert_eq!(shop.find(&SearchRequest { text: Some(text.into()), ..all() }).total, 0, "{text}");
    }
    let refused = shop.search.find(&SearchRequest { text: Some("x".repeat(257)), ..all() });
    assert_eq!(refused, Err(SearchError::TextTooLong { bytes: 257 }));
    for limit in [0, 101] {
        let refused = shop.search.find(&SearchRequest { limit, ..all() });
        assert_eq!(refused, Err(SearchError::LimitOutOfRange { limit }));
    }
}

#[test]
fn delisted_and_revised_products_are_found_as_they_are_now() {
    let mut shop = Fixture::with(&[("a", titled("Lamp")), ("b", titled("Lamp"))]);
    shop.take(&[delisted("a"), listed("b", titled("Torch"), 5), delisted("never-there")]);
    assert!(shop.ids("lamp").is_empty());
    assert_eq!(shop.ids("torch"), ["b"]);
    shop.take(&[listed("a", titled("Chair"), 6), listed("a", titled("Table"), 7)]);
    assert_eq!((shop.ids("chair").len(), shop.ids("table").len(), shop.search.products()), (0, 1, 2));
    shop.take(&[listed("a", titled("Table"), 7)]);
    assert_eq!(shop.find(&all()).total, 2, "a change may be applied twice");
}

#[test]
fn variants_are_found_through_their_parent() {
    let variant = Details { variant_of: Some("shirt".parse().unwrap()), ..titled("Shirt M turquoise") };
    let options = vec![("colour".to_owned(), "turquoise".to_owned())];
    let parent =
        Details { variants: vec![Variant { product: "shirt-m".parse().unwrap(), options }], ..titled("Shirt") };
    let mut shop =
        Fixture::with(&[("shirt", parent), ("shirt-m", variant.clone()), ("loose", titled("Loose turquoise"))]);
    assert_eq!(shop.ids("turquoise shirt")[0], "shirt");
    assert!(!shop.ids("turquoise").contains(&"shirt-m".to_owned()));
    shop.take(&[listed("loose", variant, 9)]);
    assert_eq!(shop.ids("turquoise"), ["shirt"], "what became a variant is no longer shown by itself");
}

#[test]
fn records_of_others_change_nothing() {
    let mut shop = Fixture::with(&[("a", titled("Lamp"))]);
    let mut foreign = delisted("a");
    foreign.stream = crate::storage::Stream::new(2, b"a");
    shop.take(&[foreign]);
    assert_eq!(shop.ids("lamp"), ["a"]);
}
