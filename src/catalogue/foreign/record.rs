//! A row of a file of another program, and the meaning of its cells: amounts, counts, texts in HTML.
//!
//! Depends on `domain`, `nanohtml2text` and its neighbours.

use std::sync::Arc;

use crate::{
    catalogue::{
        common::{joined, picture_value},
        error::RowError,
        fields::wrong,
        lines::HELD_BYTES_MAX,
        places::{BuiltRow, Place, Places},
        records::Unread,
        spreadsheet::barcode,
        table::{check_cell, unprotected},
        value::Value,
        variant::legal_id,
    },
    domain::{
        money::Currency,
        product::{PICTURES_MAX, Picture},
    },
};

/// The longest description in HTML, in bytes: longer than its text may be, and still quick to convert.
const HTML_BYTES_MAX: usize = 128 * 1024;

/// The fields of a row or a variant of our own format.
pub(super) type FieldList = Vec<(String, Value)>;

/// An error with the line of its row.
pub(super) type AtLine<T> = Result<T, (u64, RowError)>;

/// The names of the columns, in lower case, without the prefix and the underscores of feeds.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    names: Arc<Vec<String>>,
    /// Whether cells that a spreadsheet would take for a formula have an apostrophe in front, as in WooCommerce.
    has_apostrophes: bool,
}

/// A row. All rows of a file are kept until its end, and most cells of an export are empty, so a row is one text that
/// has only the others.
#[derive(Debug)]
pub(super) struct ForeignRow {
    pub(super) line: u64,
    columns: Columns,
    text: Box<str>,
    cells: Box<[Cell]>,
    /// Why the row is refused, and with it the other rows of its product.
    pub(super) fault: Option<Box<RowError>>,
}

/// A cell that is not empty: the number of its column, and where it ends in the text of its row.
#[derive(Debug, Clone, Copy)]
struct Cell {
    column: u32,
    end: u32,
}

/// The rows of a file, whose memory is limited.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Vec<ForeignRow>,
    unread: Vec<(u64, Vec<String>)>,
    bytes: usize,
}

/// What a row takes beside its cells, in bytes: its place in two lists with room to grow and in the index of products.
const ROW_BYTES: usize = 6 * size_of::<ForeignRow>() + 64;
/// What the reason why a row is refused takes, in bytes; it quotes the beginning of a cell.
pub(super) const FAULT_BYTES: usize = 256;

impl Rows {
    /// Keeps a row.
    ///
    /// # Errors
    /// The rows would take too much memory.
    pub(super) fn push(&mut self, row: ForeignRow) -> Result<(), RowError> {
        let fault = if row.fault.is_some() { FAULT_BYTES } else { 0 };
        self.count(ROW_BYTES + row.text.len() + size_of_val(&*row.cells) + fault)?;
        self.rows.push(row);
        Ok(())
    }

    /// Counts memory beside that of the rows.
    ///
    /// # Errors
    /// The rows would take too much memory.
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), RowError> {
        self.bytes += bytes;
        if self.bytes > HELD_BYTES_MAX { Err(RowError::RowsTooLarge) } else { Ok(()) }
    }

    /// The line of the first row.
    pub(super) fn first_line(&self) -> Option<u64> {
        self.rows.first().map(|row| row.line)
    }

    /// Keeps what stands in a row that cannot be read, because it may belong to a product.
    ///
    /// # Errors
    /// The rows would take too much memory.
    pub(super) fn push_unread(&mut self, line: u64, unread: &Unread) -> Result<(), RowError> {
        self.count(ROW_BYTES + unread.words.iter().map(|word| size_of::<String>() + word.len()).sum::<usize>())?;
        self.unread.push((line, unread.words.clone()));
        Ok(())
    }

    /// The rows, and the lines and words of those that cannot be read.
    pub(super) fn into_rows(self) -> (Vec<ForeignRow>, Vec<(u64, Vec<String>)>) {
        (self.rows, self.unread)
    }
}

impl Columns {
    pub(super) fn of(names: &[String]) -> Self {
        Self { names: Arc::new(names.iter().map(|name| normalised(name)).collect()), has_apostrophes: false }
    }

    /// The columns of a file of WooCommerce.
    pub(super) fn with_apostrophes(self) -> Self {
        Self { has_apostrophes: true, ..self }
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        let name = name.replace('_', " ");
        self.names.contains(&name)
    }

    /// The row with these cells; `None` if all are empty, or if they are the header again.
    pub(super) fn record(&self, line: u64, cells: &[String]) -> Option<ForeignRow> {
        let is_header =
            cells.len() == self.len() && self.names.iter().zip(cells).all(|(name, cell)| *name == normalised(cell));
        let filled = || cells.iter().map(|cell| cell.trim()).enumerate().filter(|(_, cell)| !cell.is_empty());
        if is_header || filled().next().is_none() {
            return None;
        }
        let (expected, found) = (self.len(), cells.len());
        let fault = if found < expected || filled().any(|(column, _)| column >= expected) {
            Some(RowError::CellCount { expected, found })
        } else {
            filled().find_map(|(column, cell)| {
                let name = &self.names[column];
                let field = if ["title", "name"].contains(&name.as_str()) { "title" } else { "" };
                check_cell(name, field, cell).err()
            })
        };
        let mut text = String::with_capacity(filled().map(|(_, cell)| cell.len()).sum());
        let mut ends = Vec::with_capacity(filled().count());
        for (column, cell) in filled().take_while(|(column, _)| *column < expected) {
            text.push_str(cell);
            // A row is far shorter than 4 GiB.
            ends.extend(u32::try_from(column).ok().zip(u32::try_from(text.len()).ok()));
        }
        let cells = ends.into_iter().map(|(column, end)| Cell { column, end }).collect();
        Some(ForeignRow { line, columns: self.clone(), text: text.into(), cells, fault: fault.map(Box::new) })
    }
}

/// The cell without the apostrophe that WooCommerce puts before `=`, `+`, `-` and `@`.
fn without_apostrophe(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| rest.starts_with(['=', '+', '-', '@', '\t', '\r'])).unwrap_or(cell)
}

fn normalised(name: &str) -> String {
    let lower = name.trim().to_lowercase();
    lower.strip_prefix("g:").unwrap_or(&lower).replace('_', " ")
}

impl ForeignRow {
    /// The non-empty cells of all columns with this name.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let name = name.replace('_', " ");
        let mut begin = 0;
        let cells = self.cells.iter().map(move |cell| {
            let end = cell.end as usize;
            (&self.columns.names[cell.column as usize], &self.text[std::mem::replace(&mut begin, end)..end])
        });
        let named = cells.filter(move |(column, _)| **column == name);
        let text = |cell| if self.columns.has_apostrophes { without_apostrophe(cell) } else { cell };
        named.map(move |(_, cell)| text(unprotected(cell))).filter(|cell| !cell.is_empty())
    }

    /// The cell of a column, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The first non-empty cell of these columns.
    pub(super) fn any(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }

    /// Whether its table has this column.
    pub(super) fn has_column(&self, name: &str) -> bool {
        self.columns.has(name)
    }

    /// The place of the product of this row, which is called `name`.
    pub(super) fn place(&self, name: &str) -> Place {
        Place { line: self.line, name: name.to_owned() }
    }

    /// Adds the line of this row to an error.
    pub(super) fn at<T>(&self, result: Result<T, RowError>) -> AtLine<T> {
        result.map_err(|reason| (self.line, reason))
    }

    /// A cell that identifies something. It is refused if a spreadsheet has damaged it; `field` is our field with the
    /// same meaning.
    pub(super) fn name_in(&self, columns: &[&str], field: &str) -> AtLine<Option<String>> {
        let found = columns.iter().find_map(|column| self.get(column).map(|text| (column, text)));
        let Some((column, text)) = found else { return Ok(None) };
        // Exports write an apostrophe in front, so that spreadsheets do not read the digits as a number.
        let text = text.strip_prefix('\'').unwrap_or(text);
        self.at(check_cell(column, field, text))?;
        Ok(Some(if field == "ean" { barcode(text) } else { text }.to_owned()))
    }

    /// A whole number of pieces. A negative number, for oversold stock, counts as 0.
    pub(super) fn pieces(&self, columns: &[&str]) -> AtLine<Option<Value>> {
        let Some(text) = self.any(columns) else { return Ok(None) };
        let digits = text.strip_prefix('-').unwrap_or(text);
        let whole = digits.strip_suffix(".0").unwrap_or(digits);
        let count = whole.bytes().all(|byte| byte.is_ascii_digit()).then(|| whole.parse::<u64>().ok()).flatten();
        match count {
            Some(_) if digits.len() < text.len() => Ok(Some(Value::Number(0.into()))),
            Some(count) => Ok(Some(Value::Number(count.into()))),
            None => self.at(Err(wrong(columns[0], "a whole number of pieces", &Value::text(text)))),
        }
    }

    /// An amount in minor units.
    pub(super) fn minor(&self, column: &str, text: &str, currency: Currency, decimal_comma: bool) -> AtLine<u64> {
        let expected = "an amount such as 12.99, with no more decimals than its currency has";
        let minor = minor_units(text, currency, decimal_comma);
        self.at(minor.ok_or_else(|| wrong(column, expected, &Value::text(text))))
    }

    /// The text of a description in HTML.
    pub(super) fn plain(&self, column: &str, html: &str) -> AtLine<String> {
        if html.len() > HTML_BYTES_MAX {
            let found = Value::text(html);
            return self.at(Err(wrong(column, "at most 131072 bytes of HTML", &found)));
        }
        if !html.contains(['<', '&']) {
            return Ok(html.to_owned());
        }
        Ok(nanohtml2text::html2text(html).replace("\r\n", "\n").trim().to_owned())
    }
}

/// Reads an amount as minor units. Its decimal sign may be a point or a comma, unless three digits follow: `1.000` and
/// `1,000` may mean one thousand. With `decimal_comma` a comma never does where the currency has three decimals.
fn minor_units(text: &str, currency: Currency, decimal_comma: bool) -> Option<u64> {
    let places = usize::from(currency.minor_digits());
    let may_be_decimal = |sign: char| places == 3 && (sign == '.' || decimal_comma);
    let (whole, fraction) = match text.find(['.', ',']) {
        Some(at) => {
            let (whole, fraction) = (&text[..at], &text[at + 1..]);
            let sign = if text[at..].starts_with('.') { '.' } else { ',' };
            if fraction.is_empty() || (fraction.len() == 3 && !may_be_decimal(sign)) {
                return None;
            }
            (whole, fraction.trim_end_matches('0'))
        }
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > places {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}

/// Sets a field, if there is a value.
pub(super) fn set(fields: &mut FieldList, name: &str, value: Option<Value>) {
    fields.extend(value.map(|value| (name.to_owned(), value)));
}

/// Sets a text, if there is one.
pub(super) fn set_text(fields: &mut FieldList, name: &str, text: Option<&str>) {
    set(fields, name, text.map(Value::text));
}

/// Sets a text that may have entities of HTML, such as `&amp;`: names, brands, categories.
pub(super) fn set_name(fields: &mut FieldList, name: &str, text: Option<&str>) {
    set(fields, name, text.map(|text| Value::Text(resolved(text))));
}

/// The text with the characters that its entities of HTML stand for.
pub(super) fn resolved(text: &str) -> String {
    if !(text.contains('&') && text.contains(';')) {
        return text.to_owned();
    }
    // What looks like a tag is text here.
    nanohtml2text::html2text(&text.replace('<', "&lt;")).trim().to_owned()
}

/// Sets the id: `wanted` if it is legal, or else a legal one made from it.
pub(super) fn set_id(fields: &mut FieldList, column: &'static str, wanted: &str) -> Result<(), RowError> {
    set_text(fields, "id", Some(legal_id(column, wanted)?.as_str()));
    Ok(())
}

/// Sets the price in minor units.
pub(super) fn set_price(fields: &mut FieldList, price: Option<(u64, Currency)>) {
    set(fields, "price_minor", price.map(|(minor, _)| Value::Number(minor.into())));
    set_text(fields, "currency", price.as_ref().map(|(_, currency)| currency.code()));
}

/// Sets the pictures: as many as a product may have, each once.
pub(super) fn set_pictures(fields: &mut FieldList, pictures: impl Iterator<Item = Picture>) {
    let mut kept: Vec<Picture> = Vec::new();
    for picture in pictures {
        if kept.len() < PICTURES_MAX && kept.iter().all(|known| known.url() != picture.url()) {
            kept.push(picture);
        }
    }
    let values = kept.iter().map(picture_value).collect();
    set(fields, "images", Some(Value::List(values)).filter(|_| !kept.is_empty()));
}

/// Sets attributes. One that would be too long becomes several with the same name.
pub(super) fn set_attributes(fields: &mut FieldList, attributes: Vec<(String, Vec<String>)>) {
    let texts = |(name, items)| joined(items).into_iter().map(move |text| (String::clone(&name), text));
    let pair = |(name, text)| Value::List(vec![Value::Text(name), Value::Text(text)]);
    let attributes = attributes.into_iter().map(|(name, items): (String, Vec<String>)| {
        (resolved(&name), items.iter().map(|item| resolved(item)).collect())
    });
    let pairs: Vec<Value> = attributes.flat_map(texts).map(pair).collect();
    set(fields, "attributes", Some(Value::List(pairs)).filter(|pairs| *pairs != Value::List(Vec::new())));
}

/// Sets the options of a variant: `size` and `color` under our names, the others under their own.
pub(super) fn set_options(fields: &mut FieldList, options: Vec<(String, String)>) {
    let mut others = Vec::new();
    for (name, value) in options {
        let (name, value) = (resolved(&name), resolved(&value));
        match name.to_lowercase().as_str() {
            "size" => set_text(fields, "size", Some(&value)),
            "color" | "colour" => set_text(fields, "color", Some(&value)),
            _ => others.push((name, Value::Text(value))),
        }
    }
    set(fields, "options", Some(Value::Object(others)).filter(|others| *others != Value::Object(Vec::new())));
}

/// The items between commas; `\,` is a comma within an item.
pub(super) fn items(text: &str) -> Vec<String> {
    let escaped = text.replace("\\,", "\u{0}");
    let items = escaped.split(',').map(|item| item.replace('\u{0}', ",").trim().to_owned());
    items.filter(|item| !item.is_empty()).collect()
}

/// The product with its variants. Its price is the lowest of theirs.
pub(super) fn with_variants(mut fields: FieldList, place: Place, variants: Vec<(Place, FieldList)>) -> BuiltRow {
    let (places, variants): (Vec<Place>, Vec<FieldList>) = variants.into_iter().unzip();
    let places = Places(std::iter::once(place).chain(places).collect());
    let price = |fields: &FieldList| {
        let minor = fields.iter().find_map(|(name, value)| match value {
            Value::Number(number) if name == "price_minor" => number.as_u64(),
            _ => None,
        })?;
        let currency = fields.iter().find(|(name, _)| name == "currency")?.1.clone();
        Some((minor, currency))
    };
    if !variants.is_empty() {
        // A variant without a price would inherit the product's, so the product has one only if each variant has.
        fields.retain(|(name, _)| name != "price_minor" && name != "currency");
        let prices: Option<Vec<(u64, Value)>> = variants.iter().map(price).collect();
        let lowest = prices.and_then(|prices| prices.into_iter().min_by_key(|(minor, _)| *minor));
        if let Some((minor, currency)) = lowest {
            set(&mut fields, "price_minor", Some(Value::Number(minor.into())));
            set(&mut fields, "currency", Some(currency));
        }
        fields.push(("variants".into(), Value::List(variants.into_iter().map(Value::Object).collect())));
    }
    BuiltRow { value: Value::Object(fields), places }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_held_within_a_limit() {
        let columns = Columns::of(&["handle".into(), "title".into(), "body".into()]);
        let cells = ["h", "", "text"].map(str::to_owned);
        let mut rows = Rows::default();
        rows.push(columns.record(2, &cells).unwrap()).unwrap();
        let row = columns.record(3, &cells).unwrap();
        assert_eq!((row.get("handle"), row.get("title"), row.get("body")), (Some("h"), None, Some("text")));
        rows.count(HELD_BYTES_MAX - 1_000).unwrap();
        assert!(rows.push(row).is_ok());
        let refused = rows.push(columns.record(4, &cells).unwrap()).unwrap_err();
        assert!(refused.to_string().contains("268435456 bytes of memory"), "{refused}");
    }
}
