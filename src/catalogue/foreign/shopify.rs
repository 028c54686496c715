//! Exports of Shopify: one row per variant and per further picture; the rows of a product have the same handle.
//!
//! Depends on `domain` and its neighbours.

use crate::{
    catalogue::{
        error::RowError,
        fields::wrong,
        foreign::record::{
            AtLine, FieldList, ForeignRow, items, set, set_attributes, set_id, set_name, set_options, set_pictures,
            set_price, set_text, with_variants,
        },
        places::BuiltRow,
        spreadsheet::truth,
        table::check_size,
        value::Value,
        variant::legal_id,
    },
    domain::{money::Currency, product::Picture},
};

const HANDLE: [&str; 2] = ["handle", "url handle"];
const PRICE: [&str; 2] = ["variant price", "price"];
const SKU: [&str; 2] = ["variant sku", "sku"];
const TRACKER: [&str; 2] = ["variant inventory tracker", "inventory tracker"];
const QUANTITY: [&str; 2] = ["variant inventory qty", "inventory quantity"];
const PICTURE: [&str; 2] = ["image src", "product image url"];
const PICTURE_ALT: [&str; 2] = ["image alt text", "image alt"];
/// The option of a product without variants.
const NO_OPTION: (&str, &str) = ("Title", "Default Title");

/// The key that the rows of a product share.
pub(super) fn key(row: &ForeignRow) -> Result<String, RowError> {
    row.any(&HANDLE).map(str::to_owned).ok_or(RowError::Missing { field: "Handle" })
}

/// The product of these rows, of which the first describes it.
pub(super) fn product(rows: &[ForeignRow], currency: Option<Currency>) -> AtLine<BuiltRow> {
    let first = &rows[0];
    let status = first.any(&["status"]).unwrap_or("active");
    if !status.eq_ignore_ascii_case("active") {
        return first.at(Err(RowError::NotPublished { column: "Status", found: status.into() }));
    }
    let published = first.any(&["published", "published on online store"]).unwrap_or("true");
    match truth(published) {
        Some(true) => {}
        Some(false) => return first.at(Err(RowError::NotPublished { column: "Published", found: published.into() })),
        None => return first.at(Err(wrong("Published", "true or false", &Value::text(published)))),
    }
    let handle = first.at(key(first))?;
    let mut fields = FieldList::new();
    first.at(set_id(&mut fields, "Handle", &handle))?;
    set_name(&mut fields, "title", first.get("title"));
    if let Some(html) = first.any(&["body (html)", "description"]) {
        set(&mut fields, "description", Some(Value::Text(first.plain("Body (HTML)", html)?)));
    }
    set_name(&mut fields, "brand", first.get("vendor"));
    set_name(&mut fields, "category", first.any(&["product category", "type"]));
    set_attributes(&mut fields, vec![("tags".into(), items(first.get("tags").unwrap_or_default()))]);
    set_pictures(&mut fields, pictures(rows).into_iter());

    let sold: Vec<&ForeignRow> = rows.iter().filter(|row| is_variant(row)).collect();
    if let [only] = sold[..] {
        let options = options(first, only)?;
        if options.is_empty() || matches!(&options[..], [(name, value)] if (name.as_str(), value.as_str()) == NO_OPTION)
        {
            set_text(&mut fields, "sku", only.name_in(&SKU, "sku")?.as_deref());
            sale(&mut fields, only, currency)?;
            return Ok(with_variants(fields, first.place(&handle), Vec::new()));
        }
    }
    let mut variants = Vec::with_capacity(sold.len());
    for row in sold {
        let mut variant = FieldList::new();
        let options = options(first, row)?;
        let name = match row.name_in(&SKU, "sku")? {
            Some(sku) => {
                set_text(&mut variant, "sku", Some(&sku));
                sku
            }
            None => {
                let values: Vec<&str> = options.iter().map(|(_, value)| value.as_str()).collect();
                let parent = row.at(legal_id("Handle", &handle))?;
                let name = format!("{parent}:{}", values.join("-"));
                row.at(set_id(&mut variant, "Option1 Value", &name))?;
                name
            }
        };
        set_options(&mut variant, options);
        set_pictures(
            &mut variant,
            row.any(&["variant image", "variant image url"]).map(|url| picture(rows, url)).into_iter(),
        );
        sale(&mut variant, row, currency)?;
        variants.push((row.place(&name), variant));
    }
    Ok(with_variants(fields, first.place(&handle), variants))
}

/// Whether a row is sold without a count: what it says of its stock is not kept up to date.
pub(super) fn is_untracked(row: &ForeignRow) -> bool {
    let has_column = TRACKER.iter().any(|name| row.has_column(name));
    let is_nothing = row.any(&QUANTITY).is_none_or(|quantity| quantity.bytes().all(|byte| b"0.".contains(&byte)));
    is_variant(row) && has_column && row.any(&TRACKER).is_none() && is_nothing
}

fn is_variant(row: &ForeignRow) -> bool {
    row.get("option1 value").is_some() || row.any(&PRICE).is_some() || row.any(&SKU).is_some()
}

/// The options of a variant; their names are in the first row only.
fn options(first: &ForeignRow, row: &ForeignRow) -> AtLine<Vec<(String, String)>> {
    let mut options = Vec::new();
    for number in 1..=3 {
        let column = format!("option{number} value");
        let Some(value) = row.get(&column) else { continue };
        row.at(check_size(&column, value))?;
        let name = first.get(&format!("option{number} name")).map_or_else(|| format!("option {number}"), str::to_owned);
        options.push((name, value.to_owned()));
    }
    Ok(options)
}

fn pictures(rows: &[ForeignRow]) -> Vec<Picture> {
    let mut pictures = Vec::new();
    for row in rows {
        let Some(url) = row.any(&PICTURE) else { continue };
        let position = row.any(&["image position"]).and_then(|text| text.parse::<u32>().ok());
        pictures.push((position.unwrap_or(u32::MAX), picture(rows, url)));
    }
    pictures.sort_by_key(|(position, _)| *position);
    pictures.into_iter().map(|(_, picture)| picture).collect()
}

/// The picture at a URL, with the alternative text that one of the rows has for it.
fn picture(rows: &[ForeignRow], url: &str) -> Picture {
    let rows_of_it = rows.iter().filter(|row| row.any(&PICTURE) == Some(url));
    let alt = rows_of_it.filter_map(|row| row.any(&PICTURE_ALT)).next();
    Picture { alt: alt.map(str::to_owned), ..Picture::at(url) }
}

/// Sets the fields of one item.
fn sale(fields: &mut FieldList, row: &ForeignRow, currency: Option<Currency>) -> AtLine<()> {
    let barcode = row.name_in(&["variant barcode", "barcode"], "ean")?;
    set(fields, "ean", barcode.map(|code| Value::List(vec![Value::Text(code)])));
    if !is_untracked(row) {
        set(fields, "stock", row.pieces(&QUANTITY)?);
    }
    if let (Some(text), Some(currency)) = (row.any(&PRICE), currency) {
        set_price(fields, Some((row.minor("Variant Price", text, currency, false)?, currency)));
    }
    Ok(())
}
