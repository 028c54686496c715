//! Compares `docs/CATALOGUE.md` with the code: every field is documented, and the examples are read as the text says.

use crate::catalogue::{
    format::{FIELDS, ROW_FIELDS, VARIANT_FIELDS},
    read::Format,
    row::parse,
    tests::read,
};

const DOCUMENTATION: &str = include_str!("../../../docs/CATALOGUE.md");

/// The examples in this language.
fn examples(language: &str) -> Vec<&'static str> {
    let blocks = DOCUMENTATION.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

#[test]
fn every_field_is_documented() {
    for field in FIELDS.into_iter().map(|(name, _)| name).chain(ROW_FIELDS).chain(VARIANT_FIELDS) {
        assert!(DOCUMENTATION.contains(&format!("`{field}`")), "{field}");
    }
}

#[test]
fn the_examples_are_good_rows_and_the_two_forms_say_the_same() {
    let [plain, variants] = examples("json")[..] else { panic!("two examples in JSON") };
    assert_eq!(parse(plain).unwrap().len(), 1);
    let hoodies = parse(variants).unwrap();
    let names: Vec<&str> = hoodies.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(names, ["hoodie-1", "hoodie-1:TH-S-BLACK", "hoodie-1:TH-XL-BLACK"]);
    assert_eq!(hoodies[1].details.title, "Trail Hoodie – S, Black");

    let [table] = examples("csv")[..] else { panic!("one example in CSV") };
    let (mut entries, refused) = read(table.as_bytes(), Format::Csv);
    assert_eq!(refused, Vec::<String>::new());
    entries.iter_mut().for_each(|entry| entry.details.category.clear());
    assert_eq!(entries, hoodies);
}
