//! The fields of the format. This list is used for both JSON and CSV.
//!
//! Depends on `std`.

/// The kind of a field's value; in a CSV file it decides how the cell is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldKind {
    /// A text; some fields also accept a number.
    Text,
    /// A list of texts.
    List,
    Number,
    /// `true` or `false`.
    Flag,
    /// Names and values; in a CSV file there is a column for each name.
    Pairs,
}

/// The fields that a row and a variant share.
pub(super) const FIELDS: [(&str, FieldKind); 25] = [
    ("id", FieldKind::Text),
    ("title", FieldKind::Text),
    ("description", FieldKind::Text),
    ("bullets", FieldKind::List),
    ("brand", FieldKind::Text),
    ("category", FieldKind::Text),
    ("price_minor", FieldKind::Number),
    ("currency", FieldKind::Text),
    ("image_url", FieldKind::Text),
    ("image_alt", FieldKind::Text),
    ("images", FieldKind::List),
    ("thumbnail_url", FieldKind::Text),
    ("color", FieldKind::Text),
    ("size", FieldKind::Text),
    ("attributes", FieldKind::Pairs),
    ("mpn", FieldKind::Text),
    ("ean", FieldKind::List),
    ("sku", FieldKind::Text),
    ("released", FieldKind::Text),
    ("collections", FieldKind::List),
    ("is_book", FieldKind::Flag),
    ("source", FieldKind::Text),
    ("rating", FieldKind::Number),
    ("rating_count", FieldKind::Number),
    ("stock", FieldKind::Number),
];

/// The fields that only a row has.
pub(super) const ROW_FIELDS: [&str; 2] = ["variant_of", "variants"];

/// The fields that only a variant has.
pub(super) const VARIANT_FIELDS: [&str; 1] = ["options"];
