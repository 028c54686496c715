//! Product files of other programs: exports of Shopify and WooCommerce, and product feeds of Google Merchant.
//!
//! They are recognised by their header and become the same values as a row of our own format, so that one set of rules
//! applies to all. The rows of a product may be anywhere in such a file, so it is read to its end before the first
//! product is ready. `docs/CATALOGUE.md` lists what becomes of each column.
//!
//! Depends on `domain`, `nanohtml2text`, `quick-xml` and its neighbours.

mod google;
mod record;
mod shopify;
mod woocommerce;
mod xml;

use std::{
    collections::HashMap,
    io::{self, BufRead, Read},
    str::FromStr,
};

use crate::{
    catalogue::{
        error::RowError,
        foreign::record::{Columns, Record},
        lines::FOREIGN_BYTES_MAX,
        records::Records,
        value::Value,
    },
    domain::money::Currency,
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
            Self::Shopify => {
                &[&["handle", "url handle"], &["title"], &["variant price", "variant sku", "option1 name", "price"]]
            }
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
    header_line: u64,
}

/// The rows of one product, with the line of the first.
type Group = Vec<Record>;

/// The line of a product, and the equivalent row of our own format.
pub(super) type Product = (u64, Result<Value, RowError>);

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
        Ok(program.map(|program| Self { program, columns, currency, header_line }))
    }

    /// Whether neither the file nor the user states the currency of the prices.
    pub(super) fn lacks_currency(&self) -> bool {
        self.currency.is_none() && self.program != Program::Google
    }

    /// The number of columns of the header.
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// All products of the file, ordered by their first line, and the refused rows.
    pub(super) fn products<R: BufRead>(&self, records: &mut Records<R>) -> Vec<Product> {
        let mut products = Vec::new();
        if self.lacks_currency() {
            products.push((self.header_line, Err(RowError::NoCurrency)));
        }
        let rows = match self.rows(records, &mut products) {
            Ok(rows) => rows,
            Err(error) => {
                products.push((records.line(), Err(error)));
                return products;
            }
        };
        self.with_products_of(rows, products)
    }

    /// Adds the products of these rows to those that are refused already, ordered by line.
    fn with_products_of(&self, rows: Vec<Record>, mut products: Vec<Product>) -> Vec<Product> {
        for group in self.groups(rows, &mut products) {
            let Some(line) = group.first().map(|row| row.line) else { continue };
            if group.iter().any(|row| row.fault.is_some()) {
                let faults = group.into_iter().filter_map(|row| row.fault.map(|fault| (row.line, Err(fault))));
                products.extend(faults);
                continue;
            }
            let value = match self.program {
                Program::Shopify => shopify::product(&group, self.currency),
                Program::WooCommerce => woocommerce::product(&group, self.currency),
                Program::Google => google::product(&group, self.currency),
            };
            products.push(match value {
                Ok(value) => (line, Ok(value)),
                Err((line, reason)) => (line, Err(reason)),
            });
        }
        products.sort_by_key(|(line, _)| *line);
        products
    }

    /// All products of a feed of Google Merchant in XML, and the refused ones.
    ///
    /// # Errors
    /// The feed is too large, or not text.
    pub(super) fn products_of_feed(
        input: &mut impl Read,
        currency: Option<Currency>,
    ) -> Result<Vec<Product>, (u64, RowError)> {
        let mut text = Vec::new();
        input.take(FOREIGN_BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| (1, RowError::Input(error)))?;
        if text.len() as u64 > FOREIGN_BYTES_MAX {
            return Err((1, RowError::FileTooLarge));
        }
        let text = String::from_utf8(text).map_err(|_| (1, RowError::NotText))?;
        let mut refused = Vec::new();
        let rows = xml::rows(text.trim_start_matches('\u{feff}'), &mut refused)?;
        let feed = Self { program: Program::Google, columns: Columns::of(&[]), currency, header_line: 1 };
        Ok(feed.with_products_of(rows, refused))
    }

    fn rows<R: BufRead>(&self, records: &mut Records<R>, refused: &mut Vec<Product>) -> Result<Vec<Record>, RowError> {
        let mut rows = Vec::new();
        while let Some((line, cells)) = records.next().map_err(|error: io::Error| RowError::Input(error))? {
            if records.bytes_read() > FOREIGN_BYTES_MAX {
                return Err(RowError::FileTooLarge);
            }
            match cells.map(|cells| self.columns.record(line, cells)) {
                Ok(row) => rows.extend(row),
                Err(reason) => refused.push((line, Err(reason))),
            }
        }
        Ok(rows)
    }

    /// Groups the rows by product.
    fn groups(&self, rows: Vec<Record>, refused: &mut Vec<Product>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut index: HashMap<String, usize> = HashMap::new();
        let (variations, products): (Vec<Record>, Vec<Record>) =
            rows.into_iter().partition(|row| self.program == Program::WooCommerce && woocommerce::is_variation(row));
        for row in products {
            let keys = match self.program {
                Program::Shopify => shopify::key(&row).map(|key| vec![key]),
                Program::WooCommerce => woocommerce::keys(&row),
                Program::Google => google::key(&row).map(|key| vec![key]),
            };
            match keys {
                Err(reason) => refused.push((row.line, Err(row.fault.unwrap_or(reason)))),
                Ok(keys) => match keys.iter().find_map(|key| index.get(key)) {
                    Some(&at) if self.program != Program::WooCommerce => groups[at].push(row),
                    _ => {
                        for key in keys {
                            index.entry(key).or_insert(groups.len());
                        }
                        groups.push(vec![row]);
                    }
                },
            }
        }
        for row in variations {
            let parent = row.get("parent").unwrap_or_default();
            match index.get(&woocommerce::parent_key(parent)) {
                Some(&at) => groups[at].push(row),
                None => {
                    let reason = RowError::ParentMissing { parent: parent.into() };
                    refused.push((row.line, Err(row.fault.unwrap_or(reason))));
                }
            }
        }
        groups
    }
}
