//! CSV: a header that names columns as the fields of a row are named, and rows that become the same values a JSON line
//! yields, so that there is one set of rules for both.
//!
//! Lists are separated by `|`, the levels of a category by ` > `; attributes and options have a column each. A variant is a
//! row below its parent's: the two are one row of the format and are taken or refused together.
//!
//! Depends on `csv` and its neighbours.

use serde_json::Number;

use crate::{
    catalogue::{
        error::RowError,
        format::{FIELDS, FieldKind},
        value::Value,
    },
    domain::product::VARIANTS_MAX,
};

/// What stands between the items of a list in one cell.
const ITEM_SEPARATOR: char = '|';

/// What the name of a column for one attribute begins with.
const ATTRIBUTE_PREFIX: &str = "attribute.";

/// What the name of a column for one option of variants begins with.
const OPTION_PREFIX: &str = "option.";

/// What a cell of a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Column {
    Text(&'static str),
    List(&'static str),
    Number(&'static str),
    Flag(&'static str),
    Attribute(String),
    Option(String),
    VariantOf,
}

impl Column {
    fn of(name: &str) -> Option<Self> {
        let free = |prefix| name.strip_prefix(prefix).filter(|rest| !rest.trim().is_empty()).map(str::to_string);
        match FIELDS.iter().find(|(field, _)| *field == name) {
            Some((field, FieldKind::Text)) => Some(Self::Text(field)),
            Some((field, FieldKind::List)) => Some(Self::List(field)),
            Some((field, FieldKind::Number)) => Some(Self::Number(field)),
            Some((field, FieldKind::Flag)) => Some(Self::Flag(field)),
            Some((_, FieldKind::Pairs)) => None,
            None if name == "variant_of" => Some(Self::VariantOf),
            None => free(ATTRIBUTE_PREFIX).map(Self::Attribute).or_else(|| free(OPTION_PREFIX).map(Self::Option)),
        }
    }
}

/// The columns of a CSV file.
#[derive(Debug)]
pub(super) struct Header(Vec<Column>);

/// One CSV row: the row of a product, or a variant for the row above it.
#[derive(Debug)]
pub(super) enum TableRow {
    /// The fields of a row.
    Product(Vec<(String, Value)>),
    /// The id of the parent and an element of its `variants`.
    Variant(String, Value),
}

impl Header {
    /// The columns that the first record of a file names.
    pub(super) fn parse(record: &[u8]) -> Result<Self, RowError> {
        let names = cells(record)?;
        let mut columns = Vec::with_capacity(names.len());
        for name in names.iter().map(|name| name.trim()) {
            let column = Column::of(name).ok_or_else(|| RowError::UnknownColumn { column: name.into() })?;
            if columns.contains(&column) {
                return Err(RowError::ColumnTwice { column: name.into() });
            }
            columns.push(column);
        }
        match ["id", "title"].into_iter().find(|name| !columns.contains(&Column::Text(name))) {
            Some(column) => Err(RowError::ColumnMissing { column }),
            None => Ok(Self(columns)),
        }
    }

    /// What one record says. An empty cell says nothing.
    pub(super) fn row(&self, record: &[u8]) -> Result<TableRow, RowError> {
        let cells = cells(record)?;
        if cells.len() != self.0.len() {
            return Err(RowError::CellCount { expected: self.0.len(), found: cells.len() });
        }
        let mut fields: Vec<(String, Value)> = Vec::with_capacity(cells.len());
        let (mut attributes, mut options) = (Vec::new(), Vec::new());
        let mut parent = None;
        for (column, cell) in self.0.iter().zip(&cells) {
            if cell.trim().is_empty() {
                continue;
            }
            match column {
                Column::Text(name) => fields.push(((*name).into(), Value::text(cell))),
                Column::List(name) => fields.push(((*name).into(), list(cell))),
                Column::Number(name) => fields.push(((*name).into(), number(cell))),
                Column::Flag(name) => fields.push(((*name).into(), flag(cell))),
                Column::Attribute(name) => attributes.push((name.clone(), Value::text(cell))),
                Column::Option(name) => options.push((name.clone(), Value::text(cell))),
                Column::VariantOf => parent = Some(cell.trim().to_string()),
            }
        }
        if !attributes.is_empty() {
            fields.push(("attributes".into(), Value::Object(attributes)));
        }
        // On the row of a product, options are a field that it does not have, and are refused as such.
        if !options.is_empty() {
            fields.push(("options".into(), Value::Object(options)));
        }
        Ok(match parent {
            Some(parent) => TableRow::Variant(parent, Value::Object(fields)),
            None => TableRow::Product(fields),
        })
    }
}

/// The row of a product that waits for the rows of its variants.
#[derive(Debug)]
pub(super) struct Waiting {
    line: u64,
    fields: Vec<(String, Value)>,
    variants: Vec<Value>,
}

impl Waiting {
    /// A product whose row stands in `line`.
    pub(super) fn new(line: u64, fields: Vec<(String, Value)>) -> Self {
        Self { line, fields, variants: Vec::new() }
    }

    /// Adds a variant, which must be one of this product.
    pub(super) fn add(&mut self, parent: String, variant: Value) -> Result<(), RowError> {
        let mine = |(name, value): &(String, Value)| name == "id" && *value == Value::text(&parent);
        if !self.fields.iter().any(mine) {
            return Err(RowError::ParentElsewhere { parent });
        }
        // One more than is allowed is kept, so that the row is refused with the rule it breaks.
        if self.variants.len() <= VARIANTS_MAX {
            self.variants.push(variant);
        }
        Ok(())
    }

    /// The line of the product, and the whole row.
    pub(super) fn complete(mut self) -> (u64, Value) {
        if !self.variants.is_empty() {
            self.fields.push(("variants".into(), Value::List(self.variants)));
        }
        (self.line, Value::Object(self.fields))
    }
}

/// Whether the quotes of a record, or of its first lines, are all closed (RFC 4180 doubles those inside a cell).
pub(super) fn quotes_are_closed(record: &[u8]) -> bool {
    record.iter().filter(|&&byte| byte == b'"').count() % 2 == 0
}

fn cells(record: &[u8]) -> Result<Vec<String>, RowError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(record.len().max(1))
        .from_reader(record);
    let mut cells = csv::StringRecord::new();
    reader.read_record(&mut cells).map_err(|_| RowError::NotText)?;
    Ok(cells.iter().map(str::to_string).collect())
}

fn list(cell: &str) -> Value {
    let items = cell.split(ITEM_SEPARATOR).map(str::trim).filter(|item| !item.is_empty());
    Value::List(items.map(Value::text).collect())
}

/// What is no number stays text, which the rule of the field then refuses in its own words.
fn number(cell: &str) -> Value {
    let cell = cell.trim();
    let whole = cell.parse::<u64>().map(Number::from).ok();
    let decimal = || cell.parse::<f64>().ok().and_then(Number::from_f64);
    whole.or_else(decimal).map_or_else(|| Value::text(cell), Value::Number)
}

fn flag(cell: &str) -> Value {
    match cell.trim() {
        "true" => Value::Flag(true),
        "false" => Value::Flag(false),
        other => Value::text(other),
    }
}
