//! Product feeds of Google Merchant: one row per item that is sold; the variants of a product have the same
//! `item_group_id`.
//!
//! Depends on `domain` and its neighbours.

use crate::{
    catalogue::{
        error::RowError,
        fields::wrong,
        foreign::record::{
            AtLine, FieldList, ForeignRow, set, set_attributes, set_id, set_name, set_options, set_pictures, set_price,
            set_text, with_variants,
        },
        places::BuiltRow,
        value::Value,
    },
    domain::{money::Currency, product::Picture},
};

const QUANTITY: [&str; 2] = ["quantity", "sell_on_google_quantity"];
/// The columns that distinguish the variants of a group.
const OPTIONS: [&str; 4] = ["size", "color", "material", "pattern"];
/// Other columns that shoppers look for.
const ATTRIBUTES: [&str; 6] = ["material", "pattern", "gender", "age_group", "condition", "size_system"];

/// The key that the rows of a product share.
pub(super) fn key(row: &ForeignRow) -> Result<String, RowError> {
    let id = row.get("id").ok_or(RowError::Missing { field: "id" })?;
    Ok(row.get("item_group_id").map_or_else(|| format!("id:{id}"), group_key))
}

/// The key of a group.
pub(super) fn group_key(group: &str) -> String {
    format!("group:{group}")
}

/// The product of these rows: one item, or the variants of a group.
pub(super) fn product(rows: &[ForeignRow], currency: Option<Currency>) -> AtLine<BuiltRow> {
    let first = &rows[0];
    let mut fields = FieldList::new();
    let id = first.name_in(&["id"], "id")?.unwrap_or_default();
    let Some(group) = first.name_in(&["item_group_id"], "id")? else {
        if let Some(second) = rows.get(1) {
            let first = first.line;
            return second.at(Err(RowError::IdTwice { id, first }));
        }
        first.at(set_id(&mut fields, "id", &id))?;
        common(&mut fields, first, &[])?;
        set_text(&mut fields, "color", first.get("color"));
        set_text(&mut fields, "size", first.name_in(&["size"], "size")?.as_deref());
        sale(&mut fields, first, currency)?;
        return Ok(with_variants(fields, first.place(&id), Vec::new()));
    };
    first.at(set_id(&mut fields, "item_group_id", &group))?;
    common(&mut fields, first, &OPTIONS)?;
    let mut variants = Vec::with_capacity(rows.len());
    for row in rows {
        let mut variant = FieldList::new();
        let sku = row.name_in(&["id"], "id")?.unwrap_or_default();
        set_text(&mut variant, "sku", Some(&sku));
        let mut options = Vec::new();
        for name in OPTIONS {
            options.extend(row.name_in(&[name], "size")?.map(|value| (name.to_owned(), value)));
        }
        set_options(&mut variant, options);
        set_pictures(&mut variant, pictures(row).map(Picture::at));
        sale(&mut variant, row, currency)?;
        variants.push((row.place(&sku), variant));
    }
    Ok(with_variants(fields, first.place(&group), variants))
}

fn availability(row: &ForeignRow) -> String {
    row.get("availability").unwrap_or_default().to_lowercase().replace(' ', "_")
}

/// Whether a row is in stock, and does not say with how many pieces.
pub(super) fn is_uncounted(row: &ForeignRow) -> bool {
    !["", "out_of_stock"].contains(&availability(row).as_str()) && row.any(&QUANTITY).is_none()
}

/// Sets the fields that the variants of a group share.
fn common(fields: &mut FieldList, row: &ForeignRow, but: &[&str]) -> AtLine<()> {
    set_name(fields, "title", row.get("title"));
    if let Some(text) = row.get("description") {
        set(fields, "description", Some(Value::Text(row.plain("description", text)?)));
    }
    set_name(fields, "brand", row.get("brand"));
    // A category of Google's may be a number, which means nothing to shoppers.
    let named = |text: &&str| !text.bytes().all(|byte| byte.is_ascii_digit());
    let category = row.get("product_type").or_else(|| row.get("google_product_category").filter(named));
    set_name(fields, "category", category);
    set_pictures(fields, pictures(row).map(Picture::at));
    let attributes = ATTRIBUTES.iter().filter(|name| !but.contains(name));
    let attribute = |name: &&str| row.get(name).map(|value| ((*name).to_owned(), vec![value.to_owned()]));
    set_attributes(fields, attributes.filter_map(attribute).collect());
    Ok(())
}

fn pictures(row: &ForeignRow) -> impl Iterator<Item = &str> {
    let others = row.all("additional_image_link").flat_map(|cell| cell.split(','));
    row.get("image_link").into_iter().chain(others.map(str::trim).filter(|url| !url.is_empty()))
}

/// Sets the fields of one item.
fn sale(fields: &mut FieldList, row: &ForeignRow, currency: Option<Currency>) -> AtLine<()> {
    let code = row.name_in(&["gtin"], "ean")?;
    set(fields, "ean", code.map(|code| Value::List(vec![Value::Text(code)])));
    set_text(fields, "mpn", row.name_in(&["mpn"], "mpn")?.as_deref());
    let none = (availability(row) == "out_of_stock").then(|| Value::Number(0.into()));
    set(fields, "stock", none.or(row.pieces(&QUANTITY)?));
    let dated = row.get("sale_price_effective_date").is_some();
    let reduced = row.get("sale_price").filter(|_| !dated).map(|text| ("sale_price", text));
    if let Some((column, text)) = reduced.or_else(|| row.get("price").map(|text| ("price", text))) {
        set_price(fields, Some(price(row, column, text, currency)?));
    }
    Ok(())
}

/// `12.99 EUR` or `EUR 12.99`; an amount without a currency is in the one that the user states.
fn price(row: &ForeignRow, column: &str, text: &str, currency: Option<Currency>) -> AtLine<(u64, Currency)> {
    let refused = || (row.line, wrong(column, "an amount and its currency, such as 12.99 EUR", &Value::text(text)));
    let parts: Vec<&str> = text.split_whitespace().collect();
    let (amount, currency) = match parts[..] {
        [amount] => (amount, currency.ok_or_else(refused)?),
        [first, second] => match (second.parse(), first.parse()) {
            (Ok(currency), _) => (first, currency),
            (_, Ok(currency)) => (second, currency),
            _ => return Err(refused()),
        },
        _ => return Err(refused()),
    };
    Ok((row.minor(column, amount, currency, false)?, currency))
}
