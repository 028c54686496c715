//! Exports of WooCommerce: one row per product and per variation, which names its parent by id or SKU.
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
    },
    domain::{money::Currency, product::Picture},
};

/// The kinds of products that the shop can sell. Others are links or bundles.
const SOLD: [&str; 2] = ["simple", "variable"];

/// Whether the row is a variation of another product.
pub(super) fn is_variation(row: &ForeignRow) -> bool {
    kinds(row).any(|kind| kind == "variation")
}

fn kinds(row: &ForeignRow) -> impl Iterator<Item = String> {
    row.get("type").unwrap_or("simple").split(',').map(|kind| kind.trim().to_lowercase())
}

/// Whether a variation is sold from the stock of its product, which cannot be divided among the variants here.
pub(super) fn has_stock_of_parent(row: &ForeignRow) -> bool {
    row.get("stock").is_some_and(|stock| stock.eq_ignore_ascii_case("parent"))
}

/// Whether a row is in stock, and does not say with how many pieces.
pub(super) fn is_uncounted(row: &ForeignRow) -> bool {
    let is_in_stock = row.get("in stock?").is_some_and(|text| truth(text) == Some(true) || text == "backorder");
    let is_sold = kinds(row).any(|kind| ["simple", "variation"].contains(&kind.as_str()));
    is_sold && is_in_stock && row.get("stock").is_none()
}

/// The keys by which variations may name this product.
pub(super) fn keys(row: &ForeignRow) -> Result<Vec<String>, RowError> {
    let id = row.get("id").map(|id| format!("id:{id}"));
    let keys: Vec<String> = id.into_iter().chain(row.get("sku").map(|sku| format!("sku:{sku}"))).collect();
    if keys.is_empty() { Err(RowError::Missing { field: "SKU" }) } else { Ok(keys) }
}

/// The key in a cell `Parent`: `id:12`, or a SKU.
pub(super) fn parent_key(cell: &str) -> String {
    cell.strip_prefix("id:").map_or_else(|| format!("sku:{cell}"), |id| format!("id:{}", id.trim()))
}

/// The product of the first row, with its variations.
pub(super) fn product(rows: &[ForeignRow], currency: Option<Currency>) -> AtLine<BuiltRow> {
    let first = &rows[0];
    let variations = &rows[1..];
    if !kinds(first).any(|kind| SOLD.contains(&kind.as_str())) {
        let found = first.get("type").unwrap_or_default().into();
        return first.at(Err(RowError::NotSold { column: "Type", found }));
    }
    if let Some(found) = first.get("published").filter(|published| truth(published) != Some(true)) {
        return first.at(Err(RowError::NotPublished { column: "Published", found: found.into() }));
    }
    let mut fields = FieldList::new();
    let sku = first.name_in(&["sku"], "sku")?;
    let wanted = sku.as_deref().or(first.get("id")).unwrap_or_default();
    first.at(set_id(&mut fields, "SKU", wanted))?;
    set_name(&mut fields, "title", first.get("name"));
    set_text(&mut fields, "sku", sku.as_deref());
    set(&mut fields, "description", description(first)?);
    set_name(&mut fields, "brand", first.get("brands"));
    let mut categories = items(first.get("categories").unwrap_or_default()).into_iter();
    set_name(&mut fields, "category", categories.next().as_deref());
    let mut own: Vec<(String, Vec<String>)> = Vec::new();
    let chosen: Vec<String> = variations.iter().flat_map(attributes).map(|(name, _)| name).collect();
    for (name, values) in attributes(first).into_iter().filter(|(name, _)| !chosen.contains(name)) {
        own.push((name, items(&values)));
    }
    own.push(("tags".into(), items(first.get("tags").unwrap_or_default())));
    own.push(("categories".into(), categories.collect()));
    set_attributes(&mut fields, own);
    let pictures = items(first.get("images").unwrap_or_default());
    set_pictures(&mut fields, pictures.into_iter().map(Picture::at));
    sale(&mut fields, first, currency)?;

    let mut variants = Vec::with_capacity(variations.len());
    for row in variations {
        match row.get("published").map(|published| (published, truth(published))) {
            None | Some((_, Some(true))) => {}
            Some(("-1", _) | (_, Some(false))) => continue,
            Some((found, None)) => return row.at(Err(wrong("Published", "1, 0 or -1", &Value::text(found)))),
        }
        let mut variant = FieldList::new();
        let sku = row.name_in(&["sku"], "sku")?;
        let name = sku.as_deref().or(row.get("id"));
        set_text(&mut variant, "sku", name);
        let options = attributes(row);
        for (name, value) in &options {
            row.at(check_size(name, value))?;
        }
        set_options(&mut variant, options);
        let pictures = items(row.get("images").unwrap_or_default());
        set_pictures(&mut variant, pictures.into_iter().map(Picture::at));
        sale(&mut variant, row, currency)?;
        let place = row.place(name.unwrap_or_default());
        variants.push((place, variant));
    }
    Ok(with_variants(fields, first.place(wanted), variants))
}

/// The short description, followed by the long one. Exports write line breaks as `\n`.
fn description(row: &ForeignRow) -> AtLine<Option<Value>> {
    let mut parts = Vec::new();
    for column in ["short description", "description"] {
        if let Some(html) = row.get(column) {
            parts.push(row.plain(column, &html.replace("\\n", "\n"))?);
        }
    }
    Ok(if parts.is_empty() { None } else { Some(Value::Text(parts.join("\n\n"))) })
}

/// The attributes that are visible to shoppers.
fn attributes(row: &ForeignRow) -> Vec<(String, String)> {
    let attribute = |number: usize| {
        let column = |rest: &str| format!("attribute {number} {rest}");
        let name = row.get(&column("name"))?;
        let value = row.get(&column("value(s)"))?;
        let hidden = row.get(&column("visible")).and_then(truth) == Some(false);
        (is_variation(row) || !hidden).then(|| (name.to_owned(), value.to_owned()))
    };
    (1..=ATTRIBUTE_COLUMNS_MAX).filter_map(attribute).collect()
}

/// The highest number of an attribute's columns: as many attributes as a product may have.
const ATTRIBUTE_COLUMNS_MAX: usize = 50;

/// Sets the fields of one item.
fn sale(fields: &mut FieldList, row: &ForeignRow, currency: Option<Currency>) -> AtLine<()> {
    let code = row.name_in(&["gtin, upc, ean, or isbn"], "ean")?;
    set(fields, "ean", code.map(|code| Value::List(vec![Value::Text(code)])));
    if !has_stock_of_parent(row) {
        set(fields, "stock", row.pieces(&["stock"])?);
    }
    let Some(currency) = currency else { return Ok(()) };
    // A sale price with a start or an end is left out, because it would never end here.
    let dated = row.any(&["date sale price starts", "date sale price ends"]).is_some();
    let reduced = row.get("sale price").filter(|_| !dated).map(|text| ("Sale price", text));
    if let Some((column, text)) = reduced.or_else(|| row.get("regular price").map(|text| ("Regular price", text))) {
        set_price(fields, Some((row.minor(column, text, currency, true)?, currency)));
    }
    Ok(())
}
