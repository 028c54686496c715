//! Why a row of a catalogue file is refused, in words for the person who wrote the file.
//!
//! Depends on `std`, `thiserror` and `domain`.

use std::io;

use crate::{
    catalogue::lines::{FOREIGN_BYTES_MAX, LINE_BYTES_MAX},
    domain::{ids::InvalidId, money::MoneyError, product::InvalidDetails},
};

/// Why a row is refused. Nothing of a refused row is imported, its variants included.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The line (or a CSV record over several lines) is too long to be held.
    #[error("the row is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// A quote opens a cell, and the row does not close it.
    #[error(
        "a quote opens a cell that does not end in its row: up to line {last} it would take in {lines} {}; the rows \
         after this line are read on their own. Write a quote inside a cell twice, and the cell between quotes",
        if *.lines == 1 { "line" } else { "lines" }
    )]
    QuoteOpen {
        /// The last line that the cell would take in.
        last: u64,
        /// How many lines that are, the first one included.
        lines: u64,
    },
    /// Text follows the quote that closes a cell.
    #[error("a cell between quotes holds a quote itself; write the inner one twice: \"24\"\" monitor\"")]
    QuoteInside,
    /// A file in an encoding that it does not name.
    #[error("the file is not UTF-8; it looks like {guess}. Save it as UTF-8, or name its encoding (--encoding)")]
    Encoding {
        /// What its bytes suggest.
        guess: &'static str,
    },
    /// A file that is no text.
    #[error("the file is {what}, not text; save the sheet as CSV (UTF-8)")]
    Binary {
        /// What it is.
        what: &'static str,
    },
    /// A cell with a character that stands for one that was lost.
    #[error("{field} holds the character \u{fffd}, which stands for one that was lost in a conversion")]
    LostCharacter {
        /// The column.
        field: String,
    },
    /// A cell with a NUL, which is in no text.
    #[error("{field} holds a NUL, which is in no text")]
    Nul {
        /// The column.
        field: String,
    },
    /// A cell that a spreadsheet has changed beyond recovery.
    #[error("{field} {found:?} {damage}")]
    Damaged {
        /// The column.
        field: String,
        /// The cell.
        found: String,
        /// What happened to it.
        damage: &'static str,
    },
    /// A cell below a column without a name.
    #[error("the cell {found:?} stands in a column without a name")]
    Nameless {
        /// The cell.
        found: String,
    },
    /// An id that an earlier row of the file has.
    #[error("the id {id} is given twice in this file, first in line {first}; this row is not taken")]
    IdTwice {
        /// The id.
        id: String,
        /// The line of the first.
        first: u64,
    },
    /// The bytes are no text.
    #[error("the row is not UTF-8 text")]
    NotText,
    /// The line is no JSON.
    #[error("the row is not JSON: {reason}")]
    NotJson {
        /// What is wrong, and where in the line.
        reason: String,
    },
    /// The line ends before its JSON does.
    #[error("the row ends too early; the file may be cut off")]
    CutOff,
    /// The line is JSON, but no object.
    #[error("the row must be a JSON object such as {{\"id\": …}}, not {found}")]
    NotAnObject {
        /// What is there.
        found: String,
    },
    /// A required field is absent, null or blank.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field that the format does not have; most often a slip of the pen.
    #[error("{field} is not a field of {place}")]
    UnknownField {
        /// The field as it stands in the file.
        field: String,
        /// What it was found in.
        place: &'static str,
    },
    /// A field occurs twice, or two fields say different things about the same.
    #[error("{field} is given twice")]
    Twice {
        /// The field.
        field: String,
    },
    /// A field holds something else than it should.
    #[error("{field} must be {expected}, not {found}")]
    WrongType {
        /// The field.
        field: String,
        /// What belongs there.
        expected: &'static str,
        /// The beginning of what is there.
        found: String,
    },
    /// An alternative text of nothing.
    #[error("image_alt is given without a picture")]
    AltWithoutPicture,
    /// An amount without its currency.
    #[error("price_minor is given without currency")]
    PriceWithoutCurrency,
    /// A currency without its amount.
    #[error("currency is given without price_minor")]
    CurrencyWithoutPrice,
    /// A currency that ISO 4217 does not know.
    #[error("currency must be an ISO 4217 code such as INR, not {code:?}")]
    UnknownCurrency {
        /// What is there.
        code: String,
    },
    /// A price out of range.
    #[error("price_minor: {0}")]
    Price(#[from] MoneyError),
    /// A text that can be no product's id.
    #[error("{field} {id:?} is {reason}")]
    Id {
        /// The field.
        field: &'static str,
        /// What is there.
        id: String,
        /// The rule for ids.
        reason: InvalidId,
    },
    /// A field breaks a rule of the shop.
    #[error(transparent)]
    Invalid(#[from] InvalidDetails),
    /// One of the variants is refused, and with it the row.
    #[error("variant {variant}: {reason}")]
    Variant {
        /// Its place in the list, from 1, and its sku where there is one.
        variant: String,
        /// Why.
        reason: Box<RowError>,
    },
    /// A row that changes a product states neither its price nor its stock.
    #[error("neither a price nor a stock is given")]
    NoChange,
    /// A variant has neither of the fields that name it.
    #[error("sku or id is missing")]
    Unnamed,
    /// Two products of the row would have one id.
    #[error("the id {id} occurs twice in this row; give each variant its own sku")]
    SameId {
        /// The id.
        id: String,
    },
    /// A CSV row with more or fewer cells than the header.
    #[error("the row has {found} cells, the header has {expected}")]
    CellCount {
        /// How many columns the header names.
        expected: usize,
        /// How many cells the row has.
        found: usize,
    },
    /// The CSV header names a column that the format does not have. No row can be read.
    #[error("the header names a column {column:?}, which a catalogue file does not have")]
    UnknownColumn {
        /// The column.
        column: String,
    },
    /// The CSV header names a column twice. No row can be read.
    #[error("the header names the column {column:?} twice")]
    ColumnTwice {
        /// The column.
        column: String,
    },
    /// The CSV header lacks a column that every row needs. No row can be read.
    #[error("the header lacks the column {column}; the first line of a CSV file names its columns")]
    ColumnMissing {
        /// The column.
        column: &'static str,
    },
    /// A CSV row of a variant that does not stand right behind its parent.
    #[error("the row of a variant must stand below the row of its parent {parent} and its other variants")]
    ParentElsewhere {
        /// The parent named in `variant_of`.
        parent: String,
    },
    /// A file of another program without the currency of its prices, which the user does not name either.
    #[error(
        "the file does not say in which currency its prices are. Its products are taken without a price, or keep the one \
         that they have; import it again with --currency, such as --currency EUR"
    )]
    NoCurrency,
    /// A product that the other program does not show to shoppers.
    #[error("it is not published there: {column} is {found:?}")]
    NotPublished {
        /// The column.
        column: &'static str,
        /// The cell.
        found: String,
    },
    /// A kind of product that cannot be sold here.
    #[error("{column} is {found:?}: only simple and variable products are taken")]
    NotSold {
        /// The column.
        column: &'static str,
        /// The cell.
        found: String,
    },
    /// A variation of a product that the file does not have.
    #[error("its parent {parent:?} is not in this file")]
    ParentMissing {
        /// The cell.
        parent: String,
    },
    /// A file that breaks the rules of XML.
    #[error("the file is not XML: {reason}; nothing of it is taken")]
    NotXml {
        /// What is wrong.
        reason: String,
    },
    /// A field that uses an entity which is not one of XML's own.
    #[error("{field} holds &{entity};, which XML does not know; write the character itself")]
    Entity {
        /// The field.
        field: String,
        /// The name of the entity.
        entity: String,
    },
    /// An XML file without products.
    #[error("the file is XML, but no feed of Google Merchant: it has neither <item> nor <entry>")]
    NoFeed,
    /// An XML file that is said to be something else.
    #[error("the file is XML; only feeds of Google Merchant are read in it")]
    OnlyFeeds,
    /// A file of another program that is too large to be held.
    #[error("the file has more than {FOREIGN_BYTES_MAX} bytes; divide it into several, each with the header")]
    FileTooLarge,
    /// The file cannot be read further.
    #[error("the file cannot be read: {0}")]
    Input(#[from] io::Error),
}

impl RowError {
    /// The reason of a line that `serde_json` refused. Its own message counts lines, of which there is one only.
    pub(super) fn of_json(error: &serde_json::Error) -> Self {
        if error.is_eof() {
            return Self::CutOff;
        }
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or(&message);
        // The parser's word for `true`, `false` and `null`.
        let reason = reason.replace("expected ident", "a word that is not true, false or null");
        Self::NotJson { reason: format!("{reason}, at byte {}", error.column()) }
    }
}
