//! Every valid entry is the same after it was written and read again, and no input makes the reader panic.

use proptest::{collection::vec, option, prelude::*};

use crate::{
    catalogue::{
        entry::Entry,
        read::Format,
        tests::{read, written},
        write::{WriteError, Writer},
    },
    domain::{
        money::{Currency, Money},
        product::{Details, ImportedRating, Picture, Variant},
    },
};

/// A text that can be shown, of several lines perhaps.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", " ?[\\PC\\n\\t\"\\\\]{0,12}x ?", "\\PC{0,30}x"]
}

/// A text of one line.
fn line() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.replace(['\n', '\t', '\u{2028}', '\u{2029}'], " "))
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![Just("color".to_string()), Just("sku".to_string()), Just("ean".to_string()), line()];
    vec((name, text()), 0..4)
}

fn price() -> impl Strategy<Value = Option<Money>> {
    let currency = prop_oneof![Just(Currency::INR), Just("JPY".parse().unwrap())];
    option::of((0..=Money::AMOUNT_MAX, currency).prop_map(|(minor, currency)| Money { minor, currency }))
}

fn rating() -> impl Strategy<Value = Option<ImportedRating>> {
    option::of(
        (0..=500_u16, any::<u32>())
            .prop_map(|(average_hundredths, count)| ImportedRating { average_hundredths, count }),
    )
}

fn picture() -> impl Strategy<Value = Picture> {
    ("https://images\\.example/[a-z0-9?=,]{0,12}", option::of(text()))
        .prop_map(|(url, alt)| Picture { alt, ..Picture::at(url) })
}

fn entry() -> impl Strategy<Value = Entry> {
    let description = prop_oneof![Just(String::new()), text()];
    let texts = (text(), description, option::of(line()), vec(line(), 0..3));
    let pictures = (option::of(picture()), vec(picture(), 0..3));
    (texts, price(), pictures, pairs(), rating(), option::of(0..=(1_u64 << 53) - 1)).prop_map(
        |((title, description, brand, category), price, (thumbnail, pictures), attributes, imported_rating, stock)| {
            Entry {
                id: "p".parse().unwrap(),
                details: Details {
                    title,
                    description,
                    brand,
                    category,
                    price,
                    thumbnail,
                    pictures,
                    attributes,
                    imported_rating,
                    variant_of: None,
                    variants: Vec::new(),
                },
                stock,
            }
        },
    )
}

/// A variant that has much or little in common with its parent.
fn child(number: usize, parent: Entry) -> impl Strategy<Value = (Variant, Entry)> {
    let kept = [any::<bool>(), any::<bool>(), any::<bool>()];
    (entry(), kept, pairs()).prop_map(move |(mut child, [texts, pictures, attributes], options)| {
        child.id = format!("p:{number}").parse().unwrap();
        if texts {
            child.details.description.clone_from(&parent.details.description);
            child.details.brand.clone_from(&parent.details.brand);
            child.details.category.clone_from(&parent.details.category);
            child.details.price = parent.details.price;
        }
        if pictures {
            child.details.pictures.clone_from(&parent.details.pictures);
            child.details.thumbnail.clone_from(&parent.details.thumbnail);
        }
        if attributes {
            child.details.attributes = vec![("sku".into(), number.to_string())];
        }
        child.details.variant_of = Some(parent.id.clone());
        (Variant { product: child.id.clone(), options }, child)
    })
}

fn family() -> impl Strategy<Value = Vec<Entry>> {
    entry().prop_flat_map(|parent| {
        let children = (child(1, parent.clone()), child(2, parent.clone()), child(3, parent.clone()));
        (Just(parent), children).prop_map(|(mut parent, children)| {
            let (variants, children): (Vec<_>, Vec<_>) = [children.0, children.1, children.2].into_iter().unzip();
            parent.details.variants = variants;
            std::iter::once(parent).chain(children).collect()
        })
    })
}

proptest! {
    #[test]
    fn a_product_is_the_same_after_export_and_import(entry in entry()) {
        let (entries, refused) = read(&written(std::slice::from_ref(&entry)), Format::JsonLines);
        prop_assert_eq!(refused, Vec::<String>::new());
        prop_assert_eq!(entries, [entry]);
    }

    #[test]
    fn a_family_is_the_same_after_export_and_import(family in family()) {
        let (entries, refused) = read(&written(&family), Format::JsonLines);
        prop_assert_eq!(refused, Vec::<String>::new());
        prop_assert_eq!(entries, family);
    }

    #[test]
    fn variants_that_come_late_or_never_are_kept_apart(family in family()) {
        let scattered = [family[2].clone(), family[0].clone(), family[3].clone()];
        let (entries, refused) = read(&written(&scattered), Format::JsonLines);
        prop_assert_eq!(refused, Vec::<String>::new());
        prop_assert_eq!(entries, scattered);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        read(&bytes, Format::JsonLines);
        read(&bytes, Format::Csv);
        read(&[b"id,title,variant_of,stock\n", bytes.as_slice()].concat(), Format::Csv);
    }

    #[test]
    fn malformed_rows_never_panic(line in r#"[{}\[\]",:a-z0-9\\\n -]{0,80}"#, at in 0..150_usize, byte: u8) {
        read(line.as_bytes(), Format::JsonLines);
        let mut good = br#"{"id":"a","title":"A","price_minor":1,"currency":"INR","variants":[{"sku":"S","size":4}]}"#.to_vec();
        if let Some(place) = good.get_mut(at) {
            *place = byte;
        }
        read(&good, Format::JsonLines);
    }
}

#[test]
fn a_usual_family_is_one_row() {
    let line = br#"{"id":"p","title":"Shirt","price_minor":100,"currency":"INR","attributes":{"fit":"slim"},"variants":[{"sku":"S","options":{"size":"S"},"price_minor":100,"stock":5},{"sku":"M","options":{"size":"M"},"price_minor":120,"stock":0},{"product":"elsewhere","options":{"size":"L"}}]}
"#;
    let (entries, refused) = read(line, Format::JsonLines);
    assert_eq!((entries.len(), refused.len()), (3, 0));
    assert_eq!(String::from_utf8(written(&entries)).unwrap().as_bytes(), line, "and its form does not change");
}

#[test]
fn a_row_that_is_too_long_to_be_read_is_not_written() {
    let mut entry = read(br#"{"id":"p","title":"P"}"#, Format::JsonLines).0.remove(0);
    // A quote of one byte takes two in JSON.
    let options: Vec<_> = ["a", "b"].map(|name| (name.to_owned(), "\"".repeat(1_000))).into();
    let variant = |number| Variant { product: format!("v{number}").parse().unwrap(), options: options.clone() };
    entry.details.variants = (0..500).map(variant).collect();
    entry.details.validate().unwrap();
    let mut writer = Writer::new(Vec::new());
    writer.write(entry).unwrap();
    let refused = writer.finish().map(|_| ());
    assert!(matches!(refused, Err(WriteError::TooLong { .. })), "{refused:?}");
}
