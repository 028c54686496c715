//! The rows of an own CSV file that has a column for variants. A variant may stand anywhere in the file, as sorting a
//! sheet leaves it, so the file is read to its end before the first product is ready, and its rows are kept in memory
//! within a limit. A product with a variant that cannot be read is refused whole: otherwise its page would lose it.
//!
//! Depends on `domain` and its neighbours.

use std::{
    collections::{BTreeMap, HashMap},
    io::BufRead,
    vec,
};

use crate::{
    catalogue::{
        error::RowError,
        lines::HELD_BYTES_MAX,
        places::{BuiltRow, Place, Places, Product},
        records::{Records, Unread},
        table::{Header, TableRow},
        value::Value,
    },
    domain::product::VARIANTS_MAX,
};

/// What a row takes beside its text, in bytes: its place in a list with room to grow, and in the index of products.
const ROW_BYTES: usize = 2 * size_of::<Row>() + 128;
/// What stands between the cells of a row that is kept. A cell that has it is refused.
const CELL_END: &str = "\0";

/// An own table with variants, after its header.
#[derive(Debug)]
pub(super) struct Families {
    header: Header,
    state: State,
    bytes: usize,
}

#[derive(Debug)]
enum State {
    Reading(Read),
    /// By the lines of the products.
    Ready(vec::IntoIter<Waiting>),
}

/// What is read so far.
#[derive(Debug, Default)]
struct Read {
    products: Vec<Row>,
    /// Each with its parent.
    variants: Vec<(String, Row)>,
    refused: Vec<(u64, RowError)>,
    /// The lines of rows that cannot be read, and what stands in them.
    unread: Vec<(u64, Vec<String>)>,
    /// The lines of products that are refused, by their ids.
    refused_products: HashMap<String, u64>,
}

/// A row with its line and its id.
#[derive(Debug)]
struct Row {
    line: u64,
    name: String,
    cells: Box<str>,
}

/// What is handed out later.
#[derive(Debug)]
enum Waiting {
    Refused(u64, RowError),
    Family { product: Row, variants: Vec<Row> },
}

impl Waiting {
    fn line(&self) -> u64 {
        match self {
            Self::Refused(line, _) => *line,
            Self::Family { product, .. } => product.line,
        }
    }
}

impl Families {
    /// A file with this header.
    pub(super) fn of(header: Header) -> Self {
        Self { header, state: State::Reading(Read::default()), bytes: 0 }
    }

    /// The next product in the order of their lines, or a refused row; `None` at the end.
    pub(super) fn next<R: BufRead>(&mut self, records: &mut Records<R>) -> Option<Product> {
        loop {
            let read = match &mut self.state {
                State::Ready(waiting) => {
                    return waiting.next().map(|waiting| match waiting {
                        Waiting::Refused(line, reason) => (line, Err(reason)),
                        Waiting::Family { product, variants } => built(&self.header, product, variants),
                    });
                }
                State::Reading(read) => read,
            };
            match records.next() {
                Ok(None) => self.state = State::Ready(std::mem::take(read).families().into_iter()),
                Ok(Some((line, cells))) => {
                    self.bytes += read.add(&self.header, line, cells);
                    if self.bytes > HELD_BYTES_MAX {
                        return Some((line, Err(self.end(RowError::RowsTooLarge))));
                    }
                }
                Err(error) => return Some((records.line(), Err(self.end(error.into())))),
            }
        }
    }

    /// The first line of what was read and not handed out.
    pub(super) fn first_line(&self) -> Option<u64> {
        match &self.state {
            State::Ready(waiting) => waiting.as_slice().first().map(Waiting::line),
            State::Reading(read) => read.first_line(),
        }
    }

    /// Reads no further: variants of any product may be missing.
    fn end(&mut self, reason: RowError) -> RowError {
        self.state = State::Ready(Vec::new().into_iter());
        reason
    }
}

impl Read {
    /// Adds a row. Returns about how many bytes it takes.
    fn add(&mut self, header: &Header, line: u64, cells: Result<Vec<String>, Unread>) -> usize {
        let cells = match cells {
            Ok(cells) => cells,
            Err(Unread { reason, words }) => return self.refuse(line, reason, words),
        };
        let text = cells.join(CELL_END).into_boxed_str();
        let bytes = ROW_BYTES + text.len();
        match header.row(&cells) {
            Ok(TableRow::Empty) => 0,
            Ok(TableRow::Product(fields) | TableRow::Change(fields)) => {
                self.products.push(Row { line, name: name(&fields, &["id"]), cells: text });
                bytes
            }
            Ok(TableRow::Variant(parent, variant)) => {
                let name =
                    if let Value::Object(fields) = &variant { name(fields, &["id", "sku"]) } else { String::new() };
                let bytes = bytes + parent.len() + name.len();
                self.variants.push((parent, Row { line, name, cells: text }));
                bytes
            }
            Err(reason) => match header.parent(&cells) {
                Some(parent) => self.refuse(line, reason, vec![parent.to_owned()]),
                None if matches!(reason, RowError::CellCount { .. }) => self.refuse(line, reason, cells),
                None => {
                    self.refused_products.extend(header.id(&cells).map(|id| (id.to_owned(), line)));
                    self.refuse(line, reason, Vec::new())
                }
            },
        }
    }

    fn refuse(&mut self, line: u64, reason: RowError, words: Vec<String>) -> usize {
        let bytes = ROW_BYTES + words.iter().map(|word| size_of::<String>() + word.len()).sum::<usize>();
        self.refused.push((line, reason));
        if !words.is_empty() {
            self.unread.push((line, words));
        }
        bytes
    }

    fn first_line(&self) -> Option<u64> {
        let products = self.products.first().map(|row| row.line);
        let variants = self.variants.first().map(|(_, row)| row.line);
        products.into_iter().chain(variants).chain(self.refused.first().map(|(line, _)| *line)).min()
    }

    /// The products with their variants, and the refused rows, by their lines.
    fn families(self) -> Vec<Waiting> {
        let mut refused = self.refused;
        // The first row with an id; a second one is refused later.
        let mut index: HashMap<&str, usize> = HashMap::with_capacity(self.products.len());
        for (at, product) in self.products.iter().enumerate() {
            index.entry(&product.name).or_insert(at);
        }
        let mut variants: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
        for (parent, row) in self.variants {
            match (index.get(parent.as_str()), self.refused_products.get(&parent)) {
                (Some(&at), _) => {
                    let family = variants.entry(at).or_default();
                    // One more than allowed is kept, so that the product is refused because of this rule.
                    if family.len() <= VARIANTS_MAX {
                        family.push(row);
                    }
                }
                (None, Some(&product)) => refused.push((row.line, RowError::ParentRefused { parent, line: product })),
                (None, None) => refused.push((row.line, RowError::ParentMissing { parent })),
            }
        }
        let mut parts_unread: HashMap<usize, u64> = HashMap::new();
        for (line, words) in &self.unread {
            parts_unread.extend(words.iter().filter_map(|word| index.get(word.as_str())).map(|&at| (at, *line)));
        }
        let mut waiting: Vec<Waiting> = Vec::with_capacity(self.products.len() + refused.len());
        for (at, product) in self.products.into_iter().enumerate() {
            waiting.push(match parts_unread.get(&at) {
                Some(&line) => Waiting::Refused(product.line, RowError::PartUnread { line }),
                None => Waiting::Family { product, variants: variants.remove(&at).unwrap_or_default() },
            });
        }
        waiting.extend(refused.into_iter().map(|(line, reason)| Waiting::Refused(line, reason)));
        waiting.sort_by_key(Waiting::line);
        waiting
    }
}

/// The first of these fields that is given.
fn name(fields: &[(String, Value)], names: &[&str]) -> String {
    let value = names.iter().find_map(|name| fields.iter().find(|(field, _)| field == name));
    match value {
        Some((_, Value::Text(text))) => text.clone(),
        _ => String::new(),
    }
}

/// The row of a product and its variants. The cells were read before, so they are read again without errors.
fn built(header: &Header, product: Row, variants: Vec<Row>) -> Product {
    let mut fields = match fields_of(header, &product) {
        Ok(fields) => fields,
        Err(reason) => return (product.line, Err(reason)),
    };
    let mut places = vec![Place { line: product.line, name: product.name }];
    let mut values = Vec::with_capacity(variants.len());
    for row in variants {
        match fields_of(header, &row) {
            Ok(fields) => values.push(Value::Object(fields)),
            Err(reason) => return (row.line, Err(reason)),
        }
        places.push(Place { line: row.line, name: row.name });
    }
    if !values.is_empty() {
        fields.push(("variants".into(), Value::List(values)));
    }
    (product.line, Ok(BuiltRow { value: Value::Object(fields), places: Places(places) }))
}

fn fields_of(header: &Header, row: &Row) -> Result<Vec<(String, Value)>, RowError> {
    let cells: Vec<String> = row.cells.split(CELL_END).map(str::to_owned).collect();
    Ok(match header.row(&cells)? {
        TableRow::Product(fields) | TableRow::Change(fields) | TableRow::Variant(_, Value::Object(fields)) => fields,
        TableRow::Variant(..) | TableRow::Empty => Vec::new(),
    })
}
