//! Why a row of a catalogue file is refused or looks like a mistake, in words for the person who wrote the file.
//!
//! Depends on `std`, `thiserror` and `domain`.

use std::io;

use crate::{
    catalogue::{
        hints,
        lines::{COLUMNS_MAX, FEED_DEPTH_MAX, HELD_BYTES_MAX, LINE_BYTES_MAX},
    },
    domain::{ids::InvalidId, money::MoneyError, product::InvalidDetails},
};

/// Why a row is refused. Nothing of a refused row is imported, including its variants.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the names say it")]
pub enum RowError {
    /// The line, or a CSV record over several lines, is too long to be kept in memory.
    #[error("the row is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// A quote opens a cell, but the row does not close it.
    #[error(
        "a quote opens a cell that does not end in its row: up to line {last} it would take in {lines} {}; the rows \
         after this line are read on their own. Write a quote inside a cell twice, and the cell between quotes",
        if *.lines == 1 { "line" } else { "lines" }
    )]
    QuoteOpen {
        /// The last line that the cell would include.
        last: u64,
        /// The number of these lines, including the first one.
        lines: u64,
    },
    /// A quote joins lines that are not rows by themselves.
    #[error(
        "a quote in this row is not closed where its cell ends, so what belongs to the row cannot be told: nothing is \
         taken up to line {last}. Write a quote inside a cell twice, and the cell between quotes"
    )]
    LinesJoined {
        /// The last line that is not taken.
        last: u64,
    },
    /// Text follows the quote that closes a cell.
    #[error("a cell between quotes holds a quote itself; write the inner one twice: \"24\"\" monitor\"")]
    QuoteInside,
    /// The first line of the file states a delimiter that is not supported.
    #[error("the file states {found:?} as what separates its cells; that may be a comma, a semicolon, a tab or |")]
    Separator { found: String },
    /// The header has too many columns.
    #[error("the header names {columns} columns, of which {COLUMNS_MAX} are read at most")]
    TooManyColumns { columns: usize },
    /// The file does not state its encoding, which is not UTF-8.
    #[error("the file is not UTF-8; it looks like {guess}. Save it as UTF-8, or name its encoding (--encoding)")]
    Encoding {
        /// The encoding that its bytes suggest.
        guess: &'static str,
    },
    /// The file is not text.
    #[error("the file is {what}, not text; save the sheet as CSV (UTF-8)")]
    Binary {
        /// The kind of the file.
        what: &'static str,
    },
    /// A cell has a replacement character, which stands for one that was lost.
    #[error("{field} holds the character \u{fffd}, which stands for one that was lost in a conversion")]
    LostCharacter { field: String },
    /// A cell has a NUL character, which text does not contain.
    #[error("{field} contains a NUL character, which is not allowed")]
    Nul { field: String },
    /// A spreadsheet has changed the cell, and the original value cannot be recovered.
    #[error("{field} {found:?} {damage}")]
    Damaged {
        field: String,
        found: String,
        /// What happened to it.
        damage: &'static str,
    },
    /// A cell in a column without a name.
    #[error("the cell {found:?} stands in a column without a name")]
    Nameless { found: String },
    /// An earlier row of the file has the same id.
    #[error("the id {id} is given twice in this file, first in line {first}; this row is not taken")]
    IdTwice {
        id: String,
        /// The line of the earlier row.
        first: u64,
    },
    /// The bytes are not UTF-8.
    #[error("the row is not UTF-8 text")]
    NotText,
    /// The line is not JSON.
    #[error("the row is not JSON: {reason}")]
    NotJson {
        /// What is wrong, and where in the line.
        reason: String,
    },
    /// The line ends before its JSON does.
    #[error("the row ends too early; the file may be cut off")]
    CutOff,
    /// The line is JSON, but not an object.
    #[error("the row must be a JSON object such as {{\"id\": …}}, not {found}")]
    NotAnObject { found: String },
    /// A required field is absent, null or blank.
    #[error("{field} is missing")]
    Missing { field: &'static str },
    /// The format has no such field, which most often is a typing error.
    #[error("{field} is not a field of {place}")]
    UnknownField {
        /// The name of the field as written in the file.
        field: String,
        /// The object in which it was found.
        place: &'static str,
    },
    /// A field occurs twice, or two fields contradict each other.
    #[error("{field} is given twice")]
    Twice { field: String },
    /// A field has a value of the wrong kind.
    #[error("{field} must be {expected}, not {found}")]
    WrongType {
        field: String,
        /// The expected kind of value.
        expected: &'static str,
        /// The beginning of the value.
        found: String,
    },
    /// An alternative text without a picture.
    #[error("image_alt is given without a picture")]
    AltWithoutPicture,
    /// An amount without its currency.
    #[error("price_minor is given without currency")]
    PriceWithoutCurrency,
    /// A currency without its amount.
    #[error("currency is given without price_minor")]
    CurrencyWithoutPrice,
    /// A currency that is not in ISO 4217.
    #[error("currency must be an ISO 4217 code such as INR, not {code:?}")]
    UnknownCurrency { code: String },
    /// The price is out of range.
    #[error("price_minor: {0}")]
    Price(#[from] MoneyError),
    /// A text that cannot be a product's id.
    #[error("{field} {id:?} is {reason}")]
    Id {
        field: &'static str,
        id: String,
        /// The rule for ids.
        reason: InvalidId,
    },
    /// A field violates a rule of the shop.
    #[error(transparent)]
    Invalid(#[from] InvalidDetails),
    /// One of the variants is refused, and with it the whole row.
    #[error("variant {variant}: {reason}")]
    Variant {
        /// Its position in the list, from 0.
        at: usize,
        /// Its position in the list, from 1, and its sku if it has one.
        variant: String,
        reason: Box<RowError>,
    },
    /// A row that changes a product states neither its price nor its stock.
    #[error("neither a price nor a stock is given")]
    NoChange,
    /// A variant has neither an id nor a sku.
    #[error("sku or id is missing")]
    Unnamed,
    /// Two variants of a product have the same options, so that a shopper could not tell them apart.
    #[error("variant {variant} has the same options as another one: {options}")]
    SameOptions { variant: String, options: String },
    /// A file without a row.
    #[error("the file has no rows; it is empty")]
    NoRows,
    /// Two products of the row would have the same id.
    #[error("the id {id} occurs twice in this row; give each variant its own sku")]
    SameId {
        id: String,
        /// The position of the second one among the products of the row.
        at: usize,
    },
    /// A CSV row has more or fewer cells than the header.
    #[error("the row has {found} cells, the header has {expected}")]
    CellCount {
        /// The number of columns of the header.
        expected: usize,
        /// The number of cells of the row.
        found: usize,
    },
    /// The CSV header names a column that the format does not have, so no row can be read.
    #[error("the header names a column {column:?}, which a catalogue file does not have{}", hints::of_column(.column))]
    UnknownColumn { column: String },
    /// The CSV header names a column twice, so no row can be read.
    #[error("the header names the column {column:?} twice")]
    ColumnTwice { column: String },
    /// The CSV header lacks a required column, so no row can be read.
    #[error("the header lacks the column {column}; the first line of a CSV file names its columns")]
    ColumnMissing { column: &'static str },
    /// A row that may be a variant of the product cannot be read, and without it the page would lose that variant.
    #[error("the row in line {line}, which may belong to this product, cannot be read; the product is not taken")]
    PartUnread {
        /// The line of that row.
        line: u64,
    },
    /// The product of a variant is refused.
    #[error("its parent {parent:?} is refused, see line {line}")]
    ParentRefused { parent: String, line: u64 },
    /// A file of another program does not state the currency of its prices, and the user does not, either.
    #[error(
        "the file does not say in which currency its prices are. Its products are taken without a price, or keep the one \
         that they have; import it again with --currency, such as --currency EUR"
    )]
    NoCurrency,
    /// The other program does not show the product to shoppers.
    #[error("it is not published there: {column} is {found:?}")]
    NotPublished { column: &'static str, found: String },
    /// A kind of product that this shop cannot sell.
    #[error("{column} is {found:?}: only simple and variable products are taken")]
    NotSold { column: &'static str, found: String },
    /// A variation of a product that is not in the file.
    #[error("its parent {parent:?} is not in this file")]
    ParentMissing { parent: String },
    /// The file is not well-formed XML.
    #[error("the file is not XML: {reason}; nothing of it is taken")]
    NotXml { reason: String },
    /// A field uses an entity that is not one of XML's own.
    #[error("{field} holds &{entity};, which XML does not know; write the character itself")]
    Entity {
        field: String,
        /// The name of the entity.
        entity: String,
    },
    /// A file of another program that does not describe products.
    #[error("the file is {what}, not a file of products; nothing of it is taken. To import it, {remedy}")]
    NotProducts { what: &'static str, remedy: &'static str },
    /// An XML file without products.
    #[error("the file is XML, but no feed of Google Merchant: it has neither <item> nor <entry>")]
    NoFeed,
    /// An XML file where the user stated another format.
    #[error("the file is XML; only feeds of Google Merchant are read in it")]
    OnlyFeeds,
    /// An XML file whose elements are nested too deep to be kept in memory.
    #[error("the elements of the file are nested more than {FEED_DEPTH_MAX} deep")]
    TooDeep,
    /// A file of another program with more rows than can be kept in memory.
    #[error(
        "the rows of the file take more than {HELD_BYTES_MAX} bytes of memory, and nothing of them is taken; divide it \
         into several, each with the header"
    )]
    RowsTooLarge,
    /// The file cannot be read further.
    #[error("the file cannot be read: {0}")]
    Input(#[from] io::Error),
}

/// What looks like a mistake in a row that can be taken all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowWarning {
    /// Ids are compared with their capitals.
    #[error("the id {id} differs only in capitals from one in line {first}; they are two products")]
    OnlyCapitals {
        /// The id of the later row.
        id: String,
        /// The line of the other one.
        first: u64,
    },
    /// Rows of another shop's file that are in stock without a count.
    #[error(
        "{rows} {} in stock there, but the file does not say how many pieces there are; their stock is not set. A file \
         with the columns id and quantity sets it", if *.rows == 1 { "row is" } else { "rows from here on are" }
    )]
    Uncounted {
        /// How many there are.
        rows: usize,
    },
    /// Variations that are sold from the stock of their product.
    #[error(
        "{rows} {} sold from the stock of the product there; here each variant has a stock of its own, which is not set. \
         A file with the columns id and quantity sets it", if *.rows == 1 { "row is" } else { "rows from here on are" }
    )]
    StockOfParent {
        /// How many there are.
        rows: usize,
    },
}

impl RowError {
    /// The reason of a line that `serde_json` refused. Its own message has a line number, but there is only one line.
    pub(super) fn of_json(error: &serde_json::Error) -> Self {
        if error.is_eof() {
            return Self::CutOff;
        }
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or(&message);
        // The parser's name for `true`, `false` and `null`.
        let reason = reason.replace("expected ident", "a word that is not true, false or null");
        Self::NotJson { reason: format!("{reason}, at byte {}", error.column()) }
    }
}
