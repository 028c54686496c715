//! Product files of other programs: exports of Shopify and WooCommerce, and product feeds of Google Merchant.
//!
//! They are recognised by their header and become the same values as a row of our own format, so that one set of rules
//! applies to all. The rows of a product may be anywhere in such a file, so it is read to its end before the first
//! product is ready, and its rows are kept in memory within a limit. `docs/CATALOGUE.md` lists what becomes of each
//! column.
//!
//! Depends on `domain`, `nanohtml2text`, `quick-xml` and its neighbours.

mod google;
mod kept;
mod not_products;
mod record;
mod shopify;
mod woocommerce;
mod xml;

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasher,
    io::BufRead,
    str::FromStr,
    vec,
};

use foldhash::quality::RandomState;

use crate::{
    catalogue::{
        error::{RowError, RowWarning},
        foreign::record::{Columns, ForeignRow, Rows},
        places::Product,
        records::Records,
    },
    domain::{money::Currency, product::Kept},
};

/// The layout of a CSV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// Detected from the header.
    #[default]
    Auto,
    /// The format of `docs/CATALOGUE.md`.
    Souk,
    /// A file of another program.
    Foreign(Program),
}

/// A program whose product files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Program {
    Shopify,
    WooCommerce,
    Google,
}

/// The text is not the name of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be auto, souk, shopify, woocommerce or google")]
pub struct UnknownLayout;

impl FromStr for Layout {
    type Err = UnknownLayout;

    fn from_str(name: &str) -> Result<Self, UnknownLayout> {
        match name {
            "auto" => Ok(Self::Auto),
            "souk" => Ok(Self::Souk),
            "shopify" => Ok(Self::Foreign(Program::Shopify)),
            "woocommerce" => Ok(Self::Foreign(Program::WooCommerce)),
            "google" => Ok(Self::Foreign(Program::Google)),
            _ => Err(UnknownLayout),
        }
    }
}

impl Program {
    /// Columns by which a program's files are recognised: each file has at least one of each group.
    fn marks(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Shopify => &[
                &["handle", "url handle"],
                &["title"],
                &["variant price", "price", "variant sku", "variant inventory qty", "body (html)"],
            ],
            Self::WooCommerce => &[&["type"], &["sku", "id"], &["name"], &["regular price", "parent"]],
            Self::Google => {
                &[&["id"], &["title"], &["image_link", "availability", "google_product_category", "product_type"]]
            }
        }
    }

    /// The first column that the header lacks.
    fn lacks(self, columns: &Columns) -> Option<&'static str> {
        let absent = self.marks().iter().find(|names| !names.iter().any(|name| columns.has(name)));
        absent.map(|names| names[0])
    }
}

/// A file of another program, after its header.
#[derive(Debug)]
pub(super) struct Export {
    program: Program,
    columns: Columns,
    currency: Option<Currency>,
    /// A problem of the header, until it is reported.
    refused: Option<(u64, RowError)>,
    keep: Vec<Kept>,
    state: State,
}

/// How far a file is read.
#[derive(Debug)]
enum State {
    Reading(Rows),
    Read(Products),
}

/// The products of rows that are all read, by their lines.
#[derive(Debug)]
pub(super) struct Products {
    keep: Vec<Kept>,
    warnings: Vec<(u64, RowWarning)>,
    program: Program,
    currency: Option<Currency>,
    /// By their first lines.
    groups: vec::IntoIter<Group>,
    /// Rows that belong to no product, by their lines.
    refused: VecDeque<(u64, RowError)>,
    /// The faults of the last group.
    faults: VecDeque<(u64, RowError)>,
}

/// The rows of one product, with the line of the first.
type Group = Vec<ForeignRow>;

impl Export {
    /// A file with this header; `None` if it is of our own format.
    ///
    /// # Errors
    /// The user states the layout, and the header lacks a column of it.
    pub(super) fn of_header(
        names: &[String],
        header_line: u64,
        layout: Layout,
        currency: Option<Currency>,
    ) -> Result<Option<Self>, RowError> {
        let columns = Columns::of(names);
        if layout != Layout::Souk {
            not_products::check(&columns)?;
        }
        let program = match layout {
            Layout::Souk => None,
            Layout::Foreign(program) => match program.lacks(&columns) {
                Some(column) => return Err(RowError::ColumnMissing { column }),
                None => Some(program),
            },
            Layout::Auto => [Program::Shopify, Program::WooCommerce, Program::Google]
                .into_iter()
                .find(|program| program.lacks(&columns).is_none()),
        };
        Ok(program.map(|program| {
            // Neither the file nor the user states the currency of the prices.
            let lacks_currency = currency.is_none() && program != Program::Google;
            let keep = kept::of(program, lacks_currency, |name| columns.has(name));
            let columns = if program == Program::WooCommerce { columns.with_apostrophes() } else { columns };
            let refused = lacks_currency.then_some((header_line, RowError::NoCurrency));
            Self { program, columns, currency, refused, keep, state: State::Reading(Rows::default()) }
        }))
    }

    /// What products keep, because the file does not state it.
    pub(super) fn keep(&self) -> &[Kept] {
        &self.keep
    }

    /// What looks like a mistake in the file.
    pub(super) fn take_warnings(&mut self) -> Vec<(u64, RowWarning)> {
        match &mut self.state {
            State::Reading(_) => Vec::new(),
            State::Read(products) => products.take_warnings(),
        }
    }

    /// The number of columns of the header.
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The next product in the order of their first lines, or a refused row; `None` at the end. Rows that cannot be
    /// read come first.
    pub(super) fn next<R: BufRead>(&mut self, records: &mut Records<R>) -> Option<Product> {
        if let Some((line, reason)) = self.refused.take() {
            return Some((line, Err(reason)));
        }
        loop {
            let rows = match &mut self.state {
                State::Reading(rows) => rows,
                State::Read(products) => return products.next(),
            };
            match records.next() {
                Ok(None) => {
                    let (rows, unread) = std::mem::take(rows).into_rows();
                    self.state = State::Read(Products::of(self.program, self.currency, rows, &unread));
                }
                Ok(Some((line, Err(unread)))) => {
                    if let Err(reason) = rows.push_unread(line, &unread) {
                        return Some((line, Err(self.end(reason))));
                    }
                    return Some((line, Err(unread.reason)));
                }
                Ok(Some((line, Ok(cells)))) => {
                    let row = self.columns.record(line, &cells);
                    if let Some(Err(reason)) = row.map(|row| rows.push(row)) {
                        return Some((line, Err(self.end(reason))));
                    }
                }
                Err(error) => return Some((records.line(), Err(self.end(error.into())))),
            }
        }
    }

    /// The first line of a row that was read and not handed out.
    pub(super) fn first_line(&self) -> Option<u64> {
        match &self.state {
            State::Reading(rows) => rows.first_line(),
            State::Read(products) => products.first_line(),
        }
    }

    /// Reads no further: rows of any product may be missing.
    fn end(&mut self, reason: RowError) -> RowError {
        self.state = State::Read(Products::of(self.program, self.currency, Vec::new(), &[]));
        reason
    }
}

impl Products {
    /// The products of a feed of Google Merchant in XML.
    ///
    /// # Errors
    /// The input fails, is not a feed, or has more rows than can be kept.
    pub(super) fn of_feed(input: &mut impl BufRead, currency: Option<Currency>) -> Result<Self, (u64, RowError)> {
        let mut refused = Vec::new();
        let rows = xml::rows(input, &mut refused)?;
        let keep = kept::of(Program::Google, false, |name| rows.iter().any(|row| row.has_column(name)));
        let mut products = Self { keep, ..Self::of(Program::Google, currency, rows, &[]) };
        products.refuse(refused);
        Ok(products)
    }

    fn of(program: Program, currency: Option<Currency>, rows: Vec<ForeignRow>, unread: &[(u64, Vec<String>)]) -> Self {
        let mut refused = Vec::new();
        let warnings = warnings(program, &rows);
        let groups = groups(program, rows, unread, &mut refused).into_iter();
        let (refusals, faults) = (VecDeque::new(), VecDeque::new());
        let mut products = Self { keep: Vec::new(), warnings, program, currency, groups, refused: refusals, faults };
        products.refuse(refused);
        products
    }

    fn refuse(&mut self, refused: Vec<(u64, RowError)>) {
        self.refused.extend(refused);
        self.refused.make_contiguous().sort_by_key(|(line, _)| *line);
    }

    /// What products keep, because the feed does not state it.
    pub(super) fn keep(&self) -> &[Kept] {
        &self.keep
    }

    /// What looks like a mistake in the file.
    pub(super) fn take_warnings(&mut self) -> Vec<(u64, RowWarning)> {
        std::mem::take(&mut self.warnings)
    }

    /// The first line of what is left.
    pub(super) fn first_line(&self) -> Option<u64> {
        let refused = self.refused.front().into_iter().chain(self.faults.front()).map(|(line, _)| *line);
        refused.chain(self.next_group_line()).min()
    }

    fn next_group_line(&self) -> Option<u64> {
        self.groups.as_slice().first().and_then(|group| group.first()).map(|row| row.line)
    }
}

impl Iterator for Products {
    type Item = Product;

    fn next(&mut self) -> Option<Product> {
        loop {
            if let Some((line, reason)) = self.faults.pop_front() {
                return Some((line, Err(reason)));
            }
            let group_line = self.next_group_line().unwrap_or(u64::MAX);
            if self.refused.front().is_some_and(|(line, _)| *line <= group_line) {
                return self.refused.pop_front().map(|(line, reason)| (line, Err(reason)));
            }
            let group = self.groups.next()?;
            if group.iter().any(|row| row.fault.is_some()) {
                let faults = group.into_iter().filter_map(|row| row.fault.map(|fault| (row.line, *fault)));
                self.faults.extend(faults);
                continue;
            }
            let value = match self.program {
                Program::Shopify => shopify::product(&group, self.currency),
                Program::WooCommerce => woocommerce::product(&group, self.currency),
                Program::Google => google::product(&group, self.currency),
            };
            return Some(match value {
                Ok(made) => (group_line, Ok(made)),
                Err((line, reason)) => (line, Err(reason)),
            });
        }
    }
}

/// What the file says of stock, and does not say in pieces: once for all rows, because it is often said of each.
fn warnings(program: Program, rows: &[ForeignRow]) -> Vec<(u64, RowWarning)> {
    let is_uncounted = match program {
        Program::Shopify => shopify::is_untracked,
        Program::WooCommerce => woocommerce::is_uncounted,
        Program::Google => google::is_uncounted,
    };
    let of_parent = |row: &ForeignRow| program == Program::WooCommerce && woocommerce::has_stock_of_parent(row);
    let found = |is: &dyn Fn(&ForeignRow) -> bool, warning: fn(usize) -> RowWarning| {
        let first = rows.iter().find(|row| is(row))?;
        Some((first.line, warning(rows.iter().filter(|row| is(row)).count())))
    };
    let uncounted = found(&is_uncounted, |rows| RowWarning::Uncounted { rows });
    uncounted.into_iter().chain(found(&of_parent, |rows| RowWarning::StockOfParent { rows })).collect()
}

/// Groups the rows by product, in the order of their first rows. Rows that belong to no product are added to `refused`.
fn groups(
    program: Program,
    rows: Vec<ForeignRow>,
    unread: &[(u64, Vec<String>)],
    refused: &mut Vec<(u64, RowError)>,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    // By a hash of the key: a file may have millions.
    let hasher = RandomState::default();
    let mut index: HashMap<u64, usize, RandomState> = HashMap::with_hasher(hasher.clone());
    let (variations, products): (Vec<ForeignRow>, Vec<ForeignRow>) =
        rows.into_iter().partition(|row| program == Program::WooCommerce && woocommerce::is_variation(row));
    let mut refuse =
        |row: ForeignRow, reason: RowError| refused.push((row.line, row.fault.map_or(reason, |fault| *fault)));
    for row in products {
        let keys = match program {
            Program::Shopify => shopify::key(&row).map(|key| vec![key]),
            Program::WooCommerce => woocommerce::keys(&row),
            Program::Google => google::key(&row).map(|key| vec![key]),
        };
        let keys: Vec<u64> = match keys {
            Ok(keys) => keys.iter().map(|key| hasher.hash_one(key)).collect(),
            Err(reason) => {
                refuse(row, reason);
                continue;
            }
        };
        match keys.iter().find_map(|key| index.get(key)) {
            Some(&at) if program != Program::WooCommerce => groups[at].push(row),
            _ => {
                for key in keys {
                    index.entry(key).or_insert(groups.len());
                }
                groups.push(vec![row]);
            }
        }
    }
    for row in variations {
        let parent = row.get("parent").unwrap_or_default();
        match index.get(&hasher.hash_one(woocommerce::parent_key(parent))) {
            Some(&at) => groups[at].push(row),
            None => {
                let reason = RowError::ParentMissing { parent: parent.into() };
                refuse(row, reason);
            }
        }
    }
    for (line, word) in unread.iter().flat_map(|(line, words)| words.iter().map(move |word| (*line, word))) {
        let key = match program {
            Program::Shopify => word.clone(),
            Program::WooCommerce => woocommerce::parent_key(word),
            Program::Google => google::group_key(word),
        };
        if let Some(&at) = index.get(&hasher.hash_one(key)) {
            groups[at][0].fault.get_or_insert_with(|| Box::new(RowError::PartUnread { line }));
        }
    }
    groups
}
