//! One row of a catalogue file: a product, or a product and its variants. The format is documented in
//! `docs/CATALOGUE.md`; `format.rs` lists its fields.
//!
//! A row is imported or refused as a whole. A field that the format does not have is refused, too: it is most often a
//! typing error, and if it were ignored only customers would find it.
//!
//! Depends on `domain` and its neighbours.

use std::collections::HashSet;

use crate::{
    catalogue::{
        common::{CommonFields, price, product_id, stock},
        entry::{Change, Entry},
        error::RowError,
        fields::{Fields, wrong},
        format::ROW_FIELDS,
        value::Value,
        variant,
    },
    domain::product::Details,
};

/// Reads the change to a product from a row of a file without titles.
pub(super) fn change_of(row: Value) -> Result<Change, RowError> {
    let mut fields = Fields::of(row, &[], "a change")?;
    let id = fields.text("id")?.ok_or(RowError::Missing { field: "id" })?;
    let change = Change { id: product_id("id", &id)?, price: price(&mut fields)?, stock: stock(&mut fields)? };
    if change.price.is_none() && change.stock.is_none() {
        return Err(RowError::NoChange);
    }
    Ok(change)
}

/// Reads one line of a JSON Lines file: the product first, followed by its variants.
///
/// # Errors
/// The first error that is found; nothing of the row may be used then.
pub fn parse(line: &str) -> Result<Vec<Entry>, RowError> {
    // A JSON array on several lines gets a message of its own, not that its first line ends too early.
    if line.trim_start().starts_with('[') {
        return Err(RowError::NotAnObject { found: "a list; write one object a line, without [ and ]".into() });
    }
    entries_of(serde_json::from_str(line).map_err(|error| RowError::of_json(&error))?)
}

/// Whether a text is more than blanks and characters without a width, such as U+200B.
fn has_something_to_see(text: &str) -> bool {
    let is_invisible = |c: char| {
        let ranges =
            ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}', '\u{fe00}'..='\u{fe0f}'];
        c.is_whitespace()
            || c.is_control()
            || ['\u{ad}', '\u{feff}'].contains(&c)
            || ranges.iter().any(|range| range.contains(&c))
    };
    !text.chars().all(is_invisible)
}

/// The product of a row, followed by its variants.
pub(super) fn entries_of(row: Value) -> Result<Vec<Entry>, RowError> {
    let mut fields = Fields::of(row, &ROW_FIELDS, "a catalogue row")?;
    let id = fields.text("id")?.ok_or(RowError::Missing { field: "id" })?;
    let id = product_id("id", &id)?;
    let title = fields
        .text("title")?
        .filter(|title| has_something_to_see(title))
        .ok_or(RowError::Missing { field: "title" })?;
    let price = price(&mut fields)?;
    let variant_of = fields.text("variant_of")?.map(|parent| product_id("variant_of", &parent)).transpose()?;
    let variants = match fields.given("variants") {
        None => Vec::new(),
        Some(Value::List(list)) => list,
        Some(other) => return Err(wrong("variants", "a list of objects", &other)),
    };
    let common = CommonFields::take(&mut fields)?;
    let stock = common.stock;
    let details = common.over(Details { title, price, variant_of, ..Details::default() });
    let entries = variant::with_variants(Entry { id, details, stock }, variants)?;
    if let Some(parent) = entries.first() {
        parent.details.validate()?;
    }
    let mut ids = HashSet::new();
    match entries.iter().enumerate().find(|(_, entry)| !ids.insert(&entry.id)) {
        Some((at, entry)) => Err(RowError::SameId { id: entry.id.to_string(), at }),
        None => Ok(entries),
    }
}
