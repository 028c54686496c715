//! The variants of a row: each is a product of its own, which inherits from its parent what it does not state itself.
//!
//! An element of `variants` is a whole variant, or a reference (`product` and its options) to a variant that has a row
//! of its own elsewhere.
//!
//! Depends on `domain` and its neighbours.

use crate::{
    catalogue::{
        common::{CommonFields, currency, overlay, price_minor, product_id},
        entry::Entry,
        error::RowError,
        fields::Fields,
        format::VARIANT_FIELDS,
        value::Value,
    },
    domain::{
        ids::ProductId,
        money::Money,
        product::{Details, Field, InvalidDetails, Rule, VARIANTS_MAX, Variant},
    },
};

/// Every field of a reference.
const REFERENCE_FIELDS: [&str; 4] = ["product", "size", "color", "options"];

/// The attributes that identify one thing for sale, so a variant never inherits them from its parent.
const OWN_ATTRIBUTES: [&str; 3] = ["sku", "ean", "mpn"];

/// What stands between the title of the parent and the options in the title of a variant.
const TITLE_SEPARATOR: &str = " – ";

/// The parent with the list of its variants, and after it the variants that are not references.
pub(super) fn with_variants(mut parent: Entry, list: Vec<Value>) -> Result<Vec<Entry>, RowError> {
    // The limit is checked before each variant gets a copy of what its parent states.
    if list.len() > VARIANTS_MAX {
        return Err(InvalidDetails { field: Field::Variants, rule: Rule::CountMax(VARIANTS_MAX) }.into());
    }
    let mut children = Vec::new();
    let mut listed = Vec::with_capacity(list.len());
    for (at, value) in list.into_iter().enumerate() {
        let label = label(at + 1, &value);
        match variant(&parent, value) {
            Ok((variant, child)) => {
                listed.push(variant);
                children.extend(child);
            }
            Err(reason) => return Err(RowError::Variant { at, variant: label, reason: reason.into() }),
        }
    }
    parent.details.variants = listed;
    let mut entries = vec![parent];
    entries.append(&mut children);
    Ok(entries)
}

/// What distinguishes a variant: its size, its colour, then its other options.
pub(super) fn options(fields: &mut Fields) -> Result<Vec<(String, String)>, RowError> {
    let mut options = Vec::new();
    for name in ["size", "color"] {
        options.extend(fields.scalar(name)?.map(|value| (name.to_string(), value)));
    }
    let others = fields.pairs("options")?.unwrap_or_default();
    match others.iter().find(|(name, _)| options.iter().any(|(named, _)| named == name)) {
        Some((name, _)) => Err(RowError::Twice { field: name.clone() }),
        None => Ok(options.into_iter().chain(others).collect()),
    }
}

/// The title of a variant that states none: that of its parent and its options.
pub(super) fn title(parent: &Details, options: &[(String, String)]) -> String {
    if options.is_empty() {
        return parent.title.clone();
    }
    let values: Vec<&str> = options.iter().map(|(_, value)| value.as_str()).collect();
    format!("{}{TITLE_SEPARATOR}{}", parent.title.trim_end(), values.join(", "))
}

/// The attributes of a variant before it adds its own: those of its parent and its options.
pub(super) fn attributes(parent: &Details, options: &[(String, String)]) -> Vec<(String, String)> {
    let inherited = parent.attributes.iter().filter(|(name, _)| !OWN_ATTRIBUTES.contains(&name.as_str()));
    let mut attributes = inherited.cloned().collect();
    overlay(&mut attributes, options.to_vec());
    attributes
}

/// The id of a variant that states none: `{parent}:{sku}`, made legal.
pub(super) fn id_of(parent: &ProductId, sku: &str) -> Result<ProductId, RowError> {
    legal_id("sku", &format!("{parent}:{sku}"))
}

/// The wanted id where it is legal. Otherwise what is illegal becomes `-`, what is too long is cut, and a checksum of
/// the whole keeps two that differ apart; a first character that may not be one gets a `p` in front.
pub(super) fn legal_id(field: &'static str, wanted: &str) -> Result<ProductId, RowError> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let checksum = format!("-{:016x}", checksum(wanted.as_bytes()));
    let kept = wanted.chars().map(|character| if ProductId::may_contain(character) { character } else { '-' });
    let front = if wanted.starts_with(ProductId::may_begin_with) { "" } else { "p" };
    let kept: String = front.chars().chain(kept).take(ProductId::BYTES_MAX - checksum.len()).collect();
    product_id(field, &format!("{kept}{checksum}"))
}

/// FNV-1a in 64 bits: short, known everywhere, and the same for ever, which an id must be.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What an error message calls a variant.
fn label(number: usize, value: &Value) -> String {
    let Value::Object(fields) = value else { return number.to_string() };
    match fields.iter().find(|(name, _)| name == "sku" || name == "id" || name == "product") {
        Some((_, Value::Text(text))) => format!("{number} ({text})"),
        _ => number.to_string(),
    }
}

fn variant(parent: &Entry, value: Value) -> Result<(Variant, Option<Entry>), RowError> {
    let refers = matches!(&value, Value::Object(fields) if fields.iter().any(|(name, _)| name == "product"));
    if refers { reference(value).map(|variant| (variant, None)) } else { full(parent, value) }
}

/// A variant that has a row of its own elsewhere.
fn reference(value: Value) -> Result<Variant, RowError> {
    let mut fields = Fields::only(value, &REFERENCE_FIELDS, "a variant that refers to a product by its id")?;
    let product = fields.text("product")?.ok_or(RowError::Missing { field: "product" })?;
    Ok(Variant { product: product_id("product", &product)?, options: options(&mut fields)? })
}

/// A variant told in full.
fn full(parent: &Entry, value: Value) -> Result<(Variant, Option<Entry>), RowError> {
    let mut fields = Fields::of(value, &VARIANT_FIELDS, "a variant")?;
    let sku = fields.scalar("sku")?;
    let id = match (fields.text("id")?, &sku) {
        (Some(id), _) => product_id("id", &id)?,
        (None, Some(sku)) => id_of(&parent.id, sku)?,
        (None, None) => return Err(RowError::Unnamed),
    };
    let options = options(&mut fields)?;
    let price = price(&mut fields, parent.details.price)?;
    let title = fields.text("title")?.unwrap_or_else(|| title(&parent.details, &options));
    let common = CommonFields::take(&mut fields)?;
    let stock = common.stock;
    let mut details = common.over(Details {
        title,
        price,
        attributes: attributes(&parent.details, &options),
        variant_of: Some(parent.id.clone()),
        ..parent.details.clone()
    });
    overlay(&mut details.attributes, sku.map(|sku| ("sku".into(), sku)).into_iter().collect());
    details.validate()?;
    let variant = Variant { product: id.clone(), options };
    Ok((variant, Some(Entry { id, details, stock })))
}

/// The price of a variant: its own, in the currency of its parent where it states none, or that of its parent.
fn price(fields: &mut Fields, parent: Option<Money>) -> Result<Option<Money>, RowError> {
    match (price_minor(fields)?, currency(fields)?) {
        (None, None) => Ok(parent),
        (None, Some(_)) => Err(RowError::CurrencyWithoutPrice),
        (Some(minor), stated) => {
            let currency = stated.or(parent.map(|price| price.currency)).ok_or(RowError::PriceWithoutCurrency)?;
            Ok(Some(Money::new(minor, currency)?))
        }
    }
}
