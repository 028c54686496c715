//! The real catalogues as a whole: no bad line, the figures in their documentation, and the same again after an export.
//!
//! They are not part of the repository; if they are absent, the tests are skipped.

use std::{collections::HashSet, path::Path};

use crate::{
    catalogue::{
        entry::{Entry, Row},
        read::{Format, Options, Reader},
        tests::{read, written},
    },
    skipped::data_file,
};

/// All entries of the file, and the number of its rows. No line is bad, every id occurs once, and the catalogue is the
/// same after an export and an import.
fn load(path: &Path) -> (Vec<Entry>, usize) {
    let mut reader = Reader::open(path, Options::default()).unwrap();
    let (mut entries, mut rows) = (Vec::new(), 0);
    for (line, row) in reader.by_ref() {
        let row = row.unwrap_or_else(|reason| panic!("{}:{line}: {reason}", path.display()));
        let Row::Product(row) = row else { panic!("a change: {row:?}") };
        entries.extend(row);
        rows += 1;
    }
    assert_eq!(reader.bytes_read(), path.metadata().unwrap().len());

    let ids: HashSet<_> = entries.iter().map(|entry| &entry.id).collect();
    assert_eq!(ids.len(), entries.len());

    let written = written(&entries);
    assert_eq!(written.iter().filter(|&&byte| byte == b'\n').count(), rows, "a product and its variants are one row");
    let (again, refused) = read(&written, Format::JsonLines);
    assert_eq!(refused, Vec::<String>::new());
    assert!(again == entries, "{} is not the same after an export", path.display());
    (entries, rows)
}

#[test]
fn electronics() {
    let Some(path) = data_file("products_icecat.jsonl") else { return };
    let (entries, rows) = load(&path);
    assert_eq!((rows, entries.len()), (19_406, 19_406));
    assert!(entries.iter().all(|entry| entry.details.price.is_some()));
    let first = &entries[0].details;
    assert_eq!(first.price.unwrap().to_string(), "USD 125.95");
    assert!(first.attributes.contains(&("width".into(), "56".into())));
    assert!(first.attributes.contains(&("ean".into(), "0882780756328, 0088698629123".into())));
    assert_eq!(first.thumbnail.as_ref(), first.pictures.first());
}

#[test]
fn a_general_store_with_some_prices() {
    let Some(path) = data_file("products_esci.jsonl") else { return };
    let (entries, rows) = load(&path);
    assert_eq!((rows, entries.len()), (6_764, 6_764));
    let prices: Vec<u64> = entries.iter().filter_map(|entry| entry.details.price).map(|price| price.minor).collect();
    assert_eq!(prices.len(), 1_990);
    assert_eq!(prices.iter().filter(|&&minor| minor == 0).count(), 3, "free of charge is a price");
    assert_eq!(entries[0].details.imported_rating.unwrap().average_hundredths, 440);
    assert!(entries[0].details.attributes.contains(&("is_book".into(), "true".into())));
}

#[test]
fn apparel() {
    let Some(path) = data_file("products_apparel.jsonl") else { return };
    let (entries, rows) = load(&path);
    assert_eq!((rows, entries.len()), (7_128, 7_128));
    assert!(entries.iter().all(|entry| entry.stock.is_none()));
}

#[test]
fn apparel_with_variants() {
    let Some(path) = data_file("products_variants.jsonl") else { return };
    let (entries, rows) = load(&path);
    assert_eq!((rows, entries.len()), (191, 191 + 1_891));
    let (parent, child) = (&entries[0], &entries[1]);
    assert_eq!(parent.details.variants.len(), 15);
    assert_eq!(parent.details.variants[0].product, child.id);
    assert_eq!(child.id.as_str(), "mg-MH01:MH01-XS-Black");
    assert_eq!(child.details.title, "Chaz Kangeroo Hoodie – XS, Black");
    assert_eq!(child.details.variant_of.as_ref(), Some(&parent.id));
    assert_eq!(child.stock, Some(100));
    assert!(child.details.attributes.contains(&("size".into(), "XS".into())));
    assert!(child.details.attributes.contains(&("material".into(), "Wool".into())));
}
