//! CSV tables: a header whose columns have the names of a row's fields, and rows that become the same values as a JSON
//! line, so that one set of rules applies to both.
//!
//! Lists are separated by `|`, the levels of a category by ` > `; attributes and options have a column each. A variant
//! is a row that names its parent: together they are one row of the format and are imported or refused together.
//!
//! Depends on its neighbours.

use serde_json::Number;

use crate::catalogue::{
    error::RowError,
    format::{FIELDS, FieldKind},
    spreadsheet::{self, Damage, barcode},
    value::Value,
};

/// The separator between the items of a list in one cell.
const ITEM_SEPARATOR: char = '|';

/// The prefix of the columns for attributes.
const ATTRIBUTE_PREFIX: &str = "attribute.";

/// The prefix of the columns for the options of variants.
const OPTION_PREFIX: &str = "option.";

/// The columns of a file that changes the price or the stock of existing products.
const CHANGE_FIELDS: [&str; 4] = ["id", "price_minor", "currency", "stock"];

/// The meaning of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Column {
    Field(&'static str, FieldKind),
    Attribute(String),
    Option(String),
    VariantOf,
    /// A column without a name; its cells must be empty.
    Nameless,
}

impl Column {
    fn of(name: &str) -> Option<Self> {
        let lower = name.to_lowercase();
        let free = |prefix: &str| {
            let begins = lower.starts_with(prefix) && name.is_char_boundary(prefix.len());
            begins.then(|| name[prefix.len()..].trim().to_owned()).filter(|rest| !rest.is_empty())
        };
        match FIELDS.iter().find(|(field, _)| *field == lower) {
            Some((_, FieldKind::Pairs)) => None,
            Some((field, kind)) => Some(Self::Field(field, *kind)),
            None if lower.is_empty() => Some(Self::Nameless),
            None if lower == "variant_of" => Some(Self::VariantOf),
            None if lower == "quantity" => Some(Self::Field("stock", FieldKind::Number)),
            None => free(ATTRIBUTE_PREFIX).map(Self::Attribute).or_else(|| free(OPTION_PREFIX).map(Self::Option)),
        }
    }
}

/// The columns of a CSV file.
#[derive(Debug)]
pub(super) struct Header {
    columns: Vec<Column>,
    /// Whether numbers have a decimal comma, which is usual where cells are separated by semicolons.
    decimal_comma: bool,
}

/// One CSV row: a product, or a variant of one.
#[derive(Debug)]
pub(super) enum TableRow {
    /// The fields of a product's row.
    Product(Vec<(String, Value)>),
    /// The id of the parent, and an element of its `variants`.
    Variant(String, Value),
    /// The fields of a change to an existing product.
    Change(Vec<(String, Value)>),
    /// Only empty cells, or the header again.
    Empty,
}

/// How many of these names are columns of the format. It measures how well a delimiter fits.
pub(super) fn known_names(names: &[String]) -> usize {
    names.iter().filter(|name| !matches!(Column::of(name.trim()), None | Some(Column::Nameless))).count()
}

impl Header {
    /// Reads the columns from the first record of a file.
    pub(super) fn parse(names: &[String], delimiter: u8) -> Result<Self, RowError> {
        let mut columns = Vec::with_capacity(names.len());
        for name in names.iter().map(|name| name.trim()) {
            let column = Column::of(name).ok_or_else(|| RowError::UnknownColumn { column: name.into() })?;
            if column != Column::Nameless && columns.contains(&column) {
                return Err(RowError::ColumnTwice { column: name.into() });
            }
            columns.push(column);
        }
        let header = Self { columns, decimal_comma: delimiter == b';' };
        match ["id", "title"].into_iter().find(|name| !header.has(name)) {
            Some("title") if header.is_change() => Ok(header),
            Some(column) => Err(RowError::ColumnMissing { column }),
            None => Ok(header),
        }
    }

    /// The number of columns.
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| matches!(column, Column::Field(field, _) if *field == name))
    }

    /// Whether rows may be variants.
    pub(super) fn has_variants(&self) -> bool {
        self.columns.contains(&Column::VariantOf)
    }

    /// The parent that a row names, which may have other faults.
    pub(super) fn parent<'a>(&self, cells: &'a [String]) -> Option<&'a str> {
        self.cell(cells, |column| *column == Column::VariantOf)
    }

    /// The id that a row names, which may have other faults.
    pub(super) fn id<'a>(&self, cells: &'a [String]) -> Option<&'a str> {
        self.cell(cells, |column| matches!(column, Column::Field("id", _)))
    }

    fn cell<'a>(&self, cells: &'a [String], is_wanted: impl Fn(&Column) -> bool) -> Option<&'a str> {
        if cells.len() != self.columns.len() {
            return None;
        }
        let at = self.columns.iter().position(is_wanted)?;
        cells.get(at).map(|cell| unprotected(cell.trim())).filter(|cell| !cell.is_empty())
    }

    /// Whether the file has only an id and the columns of a change.
    fn is_change(&self) -> bool {
        let may = |column: &Column| match column {
            Column::Field(name, _) => CHANGE_FIELDS.contains(name),
            Column::Nameless => true,
            Column::Attribute(_) | Column::Option(_) | Column::VariantOf => false,
        };
        !self.has("title") && (self.has("stock") || self.has("price_minor")) && self.columns.iter().all(may)
    }

    /// The content of one record. Empty cells are ignored.
    pub(super) fn row(&self, cells: &[String]) -> Result<TableRow, RowError> {
        // A file that was joined from several has the header several times.
        let named = |(column, cell): (&Column, &String)| Column::of(cell.trim()).as_ref() == Some(column);
        let is_header = cells.len() == self.columns.len() && self.columns.iter().zip(cells).all(named);
        if is_header || cells.iter().all(|cell| cell.trim().is_empty()) {
            return Ok(TableRow::Empty);
        }
        let (cells, beyond) = cells.split_at(cells.len().min(self.columns.len()));
        if cells.len() < self.columns.len() || beyond.iter().any(|cell| !cell.trim().is_empty()) {
            return Err(RowError::CellCount { expected: self.columns.len(), found: cells.len() + beyond.len() });
        }
        let mut fields: Vec<(String, Value)> = Vec::with_capacity(cells.len());
        let (mut attributes, mut options) = (Vec::new(), Vec::new());
        let mut parent = None;
        for (column, cell) in self.columns.iter().zip(cells) {
            if cell.trim().is_empty() {
                continue;
            }
            let text = unprotected(cell.trim());
            match column {
                Column::Field(name, kind) => {
                    check(name, text)?;
                    // Only in a description can blanks at the ends have a meaning.
                    let text = if *name == "description" { cell } else { text };
                    fields.push(((*name).into(), self.value(name, *kind, text)));
                }
                Column::Attribute(name) => {
                    check(name, text)?;
                    attributes.push((name.clone(), Value::text(text)));
                }
                Column::Option(name) => {
                    check_size(name, text)?;
                    options.push((name.clone(), Value::text(text)));
                }
                Column::VariantOf => {
                    check("variant_of", text)?;
                    parent = Some(text.to_owned());
                }
                Column::Nameless => return Err(RowError::Nameless { found: text.into() }),
            }
        }
        if !attributes.is_empty() {
            fields.push(("attributes".into(), Value::Object(attributes)));
        }
        // A product's row does not have options, so they are refused as an unknown field.
        if !options.is_empty() {
            fields.push(("options".into(), Value::Object(options)));
        }
        Ok(match parent {
            Some(parent) => TableRow::Variant(parent, Value::Object(fields)),
            None if self.is_change() => TableRow::Change(fields),
            None => TableRow::Product(fields),
        })
    }

    fn value(&self, name: &str, kind: FieldKind, text: &str) -> Value {
        match kind {
            FieldKind::List if name == "ean" => Value::List(items(text).map(barcode).map(Value::text).collect()),
            FieldKind::List => Value::List(items(text).map(Value::text).collect()),
            // Minor units have no fraction: a comma in them most likely means a price in major units.
            FieldKind::Number if self.decimal_comma && name == "rating" => number(&text.replacen(',', ".", 1)),
            FieldKind::Number => number(text),
            FieldKind::Flag => flag(text),
            FieldKind::Text | FieldKind::Pairs => Value::text(text),
        }
    }
}

/// Refuses a cell of this field that a spreadsheet has damaged.
fn check(field: &str, text: &str) -> Result<(), RowError> {
    check_cell(field, field, text)
}

/// Refuses a cell that a spreadsheet has damaged. `field` is our field with the same meaning as the column.
pub(super) fn check_cell(column: &str, field: &str, text: &str) -> Result<(), RowError> {
    if text.contains('\u{fffd}') {
        return Err(RowError::LostCharacter { field: column.into() });
    }
    if text.contains('\0') {
        return Err(RowError::Nul { field: column.into() });
    }
    let damage = spreadsheet::of_cell(text).or_else(|| match field {
        "id" | "sku" | "mpn" | "variant_of" => spreadsheet::of_name(text),
        "title" => spreadsheet::of_word(text),
        "ean" => items(text)
            .map(spreadsheet::barcode)
            .find_map(|code| spreadsheet::of_name(code).or_else(|| spreadsheet::of_barcode(code))),
        "size" => spreadsheet::of_size(text),
        _ => None,
    });
    damaged(column, text, damage)
}

/// Refuses an option that a spreadsheet has damaged.
pub(super) fn check_size(name: &str, text: &str) -> Result<(), RowError> {
    check(name, text)?;
    damaged(name, text, spreadsheet::of_size(text))
}

fn damaged(field: &str, found: &str, damage: Option<Damage>) -> Result<(), RowError> {
    let damage = match damage {
        None => return Ok(()),
        Some(Damage::FormulaError) => "is the error of a formula",
        Some(Damage::Scientific) => {
            "is a number in scientific notation, of which a spreadsheet has dropped the last digits"
        }
        Some(Damage::Date) => "is a date, which a spreadsheet makes of a text such as 1-3",
        Some(Damage::Flag) => "is a truth value, which a spreadsheet makes of a word or a formula",
        Some(Damage::Rounded) => "is a number of which a spreadsheet has replaced the last digits by zeros",
        Some(Damage::LeadingZeros) => "is a barcode that has lost its leading zeros",
        Some(Damage::CheckDigit) => {
            "is a barcode with a wrong check digit, as a spreadsheet leaves it when it drops digits"
        }
        Some(Damage::NoBarcode) => "is no barcode, which is written with digits only, or with letters and digits",
    };
    Err(RowError::Damaged { field: field.into(), found: found.into(), damage })
}

/// The text in `="00123"`, a form by which programs keep spreadsheets from reading it as a number.
pub(super) fn unprotected(text: &str) -> &str {
    text.strip_prefix("=\"").and_then(|text| text.strip_suffix('"')).map_or(text, str::trim)
}

fn items(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(ITEM_SEPARATOR).map(str::trim).filter(|item| !item.is_empty())
}

/// Anything that is not written with digits stays a text, which the rule of the field then refuses.
fn number(cell: &str) -> Value {
    let plain = cell.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
    let whole = cell.parse::<u64>().map(Number::from).ok();
    let negative = || cell.parse::<i64>().map(Number::from).ok();
    let decimal = || cell.parse::<f64>().ok().filter(|_| plain).and_then(Number::from_f64);
    whole.or_else(negative).or_else(decimal).map_or_else(|| Value::text(cell), Value::Number)
}

fn flag(cell: &str) -> Value {
    spreadsheet::truth(cell).map_or_else(|| Value::text(cell), Value::Flag)
}
