//! Reads catalogue files: JSON Lines, CSV or XML feeds of any size and from any source, one row at a time.
//!
//! A refused row is an item like any other, with its line and its reason, and the rows after it are read. Only a source
//! that fails and a CSV header that cannot be understood end the reading.
//!
//! Depends on `encoding_rs_io`, `domain` and its neighbours.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map},
    fs::File,
    hash::BuildHasher,
    io::{self, BufRead, BufReader, Read, Seek},
    path::Path,
};

use encoding_rs::UTF_8;
use encoding_rs_io::DecodeReaderBytesBuilder;
use foldhash::quality::RandomState;

pub use crate::catalogue::lines::LINE_BYTES_MAX;
use crate::{
    catalogue::{
        delimiter::{best_delimiter, stated_delimiter},
        dos,
        encoding::{self, Known},
        entry::{Entry, Row},
        error::{RowError, RowWarning},
        families::Families,
        foreign::{Export, Layout, Products, Program},
        lines::{COLUMNS_MAX, Found, Lines},
        places::{BuiltRow, Places, Product},
        records::Records,
        row,
        table::{Header, TableRow},
        value::Value,
    },
    domain::{money::Currency, product::Kept},
};

/// How many bytes are read from a file at a time: little memory, and few system calls.
const BUFFER_BYTES: usize = 256 * 1024;

/// The format of a catalogue file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    JsonLines,
    /// Delimited values (RFC 4180) below a header, from which the delimiter is detected.
    Csv,
    /// A feed of Google Merchant.
    Xml,
}

impl Format {
    /// The format by the extension of a file's name: `.jsonl`, `.ndjson` and `.json`, or `.csv`, `.tsv` and `.tab`.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" | "json" => Some(Self::JsonLines),
            "csv" | "tsv" | "tab" => Some(Self::Csv),
            _ => None,
        }
    }

    /// The format of a file that begins with these bytes: JSON Lines if the first byte that is not blank begins a JSON
    /// value.
    #[must_use]
    pub fn of_beginning(bytes: &[u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.starts_with(b"\xff\xfe<") || bytes.starts_with(b"\xfe\xff\0<") {
            return Self::Xml;
        }
        match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{' | b'[') | None => Self::JsonLines,
            // No column name begins with it.
            Some(b'<') => Self::Xml,
            Some(_) => Self::Csv,
        }
    }
}

/// What the user states about a file, in case the file does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// The name of its encoding.
    pub encoding: Option<&'a str>,
    /// The program whose columns it has.
    pub layout: Layout,
    /// The currency of its prices, if another program wrote the file without stating it.
    pub currency: Option<Currency>,
}

/// Reads a catalogue file: an iterator over the line on which a row begins, from 1, and the content of the row or the
/// reason why it is refused.
#[derive(Debug)]
pub struct Reader<R> {
    source: Source<R>,
    /// The line of each id so far, by a hash of the id: a file may have millions.
    seen: HashMap<u64, u64, RandomState>,
    /// The same of each id in small letters.
    seen_in_small_letters: HashMap<u64, u64, RandomState>,
    warnings: Vec<(u64, RowWarning)>,
    hasher: RandomState,
    ready: VecDeque<Item>,
    /// The line behind the last row that was handed out.
    line_behind: u64,
    ended: bool,
    layout: Layout,
    currency: Option<Currency>,
    keep: Vec<Kept>,
}

/// A row that is ready: the line on which it begins, its content, and where its products stand.
#[derive(Debug)]
struct Item {
    line: u64,
    row: Result<Row, RowError>,
    places: Places,
}

impl Item {
    fn of(line: u64, row: Result<Row, RowError>) -> Self {
        Self { line, row, places: Places::default() }
    }
}

#[derive(Debug)]
enum Source<R> {
    JsonLines { lines: Lines<R>, buffer: Vec<u8> },
    Csv { records: Box<Records<R>>, table: Table },
    Feed { input: R },
    Products(Box<Products>),
    Refused { reason: Option<RowError> },
}

/// What stands below the header of a CSV file.
#[derive(Debug)]
enum Table {
    /// The header is not read yet.
    Unread,
    Own(Header),
    /// An own table with variants, which may stand anywhere in it.
    Families(Box<Families>),
    Foreign(Box<Export>),
}

/// A file, decoded to UTF-8.
pub type Decoded = BufReader<Box<dyn Read + Send>>;

impl Reader<Decoded> {
    /// Opens a file. Its format is detected from its name, or else from its first byte.
    ///
    /// # Errors
    /// The file system's error.
    pub fn open(path: &Path, Options { encoding, layout, currency }: Options<'_>) -> io::Result<Self> {
        let mut file = spooled(File::open(path)?)?;
        let mut beginning = [0; 64];
        let length = file.read(&mut beginning)?;
        file.rewind()?;
        if is_blank(&beginning[..length]) && length < beginning.len() {
            return Ok(Self::of(Source::Refused { reason: Some(RowError::NoRows) }));
        }
        let format = match (Format::of_beginning(&beginning[..length]), layout, Format::of_path(path)) {
            (Format::Xml, ..) => Format::Xml,
            (_, Layout::Foreign(_), _) => Format::Csv,
            (_, _, Some(format)) => format,
            (format, _, None) => format,
        };
        let found = match (encoding.map(encoding::named), format) {
            (Some(Some(named)), _) => Ok(named),
            (Some(None), _) => return Err(encoding::unknown(encoding.unwrap_or_default())),
            (None, Format::JsonLines) => encoding::of_json(&mut file)?.map(Known::Standard),
            (None, Format::Xml) => encoding::of_xml(&mut file)?.map(Known::Standard),
            (None, Format::Csv) => {
                encoding::of_csv(&mut BufReader::with_capacity(BUFFER_BYTES, &file))?.map(Known::Standard)
            }
        };
        file.rewind()?;
        let decoded: (Box<dyn Read + Send>, Option<RowError>) = match found {
            Ok(Known::Standard(plain)) if plain == UTF_8 => (Box::new(file), None),
            Ok(Known::Dos(table)) => (Box::new(dos::Decoder::new(file, table)), None),
            Ok(Known::Standard(other)) => {
                (Box::new(DecodeReaderBytesBuilder::new().encoding(Some(other)).build(file)), None)
            }
            Err(reason) => (Box::new(io::empty()), Some(reason)),
        };
        let input = BufReader::with_capacity(BUFFER_BYTES, decoded.0);
        Ok(match decoded.1 {
            None => Self { layout, currency, ..Self::new(input, format) },
            Some(reason) => Self::of(Source::Refused { reason: Some(reason) }),
        })
    }
}

/// Whether these bytes have nothing to read: byte order marks, blanks, and the Ctrl-Z at the end of a text.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_whitespace() || matches!(byte, 0xef | 0xbb | 0xbf | 0xfe | 0xff | 0 | 0x1a))
}

/// The file, or a copy of a pipe, because a pipe cannot be read twice.
fn spooled(mut file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    let mut copy = tempfile::tempfile()?;
    io::copy(&mut file, &mut copy)?;
    copy.rewind()?;
    Ok(copy)
}

impl<R: BufRead> Reader<R> {
    /// Reads `input`, which is UTF-8, in this format.
    pub fn new(input: R, format: Format) -> Self {
        Self::of(match format {
            Format::JsonLines => Source::JsonLines { lines: Lines::new(input), buffer: Vec::new() },
            Format::Xml => Source::Feed { input },
            Format::Csv => Source::Csv { records: Box::new(Records::new(input)), table: Table::Unread },
        })
    }

    fn of(source: Source<R>) -> Self {
        let hasher = RandomState::default();
        Self {
            source,
            seen: HashMap::with_hasher(hasher.clone()),
            seen_in_small_letters: HashMap::with_hasher(hasher.clone()),
            warnings: Vec::new(),
            hasher,
            ready: VecDeque::new(),
            line_behind: 1,
            ended: false,
            layout: Layout::Auto,
            currency: None,
            keep: Vec::new(),
        }
    }

    /// Reads `input`, which is UTF-8, in the format that its first byte suggests.
    ///
    /// # Errors
    /// The error of the first read.
    pub fn sniffing(mut input: R) -> io::Result<Self> {
        let format = Format::of_beginning(input.fill_buf()?);
        Ok(Self::new(input, format))
    }

    /// How many bytes of the input have been consumed; compared with its length, the progress.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        match &self.source {
            Source::JsonLines { lines, .. } => lines.bytes_read(),
            Source::Csv { records, .. } => records.bytes_read(),
            Source::Feed { .. } | Source::Products(_) | Source::Refused { .. } => 0,
        }
    }

    /// The line at which a second reading of the file may begin without missing a row: every row before it was handed
    /// out, which holds for no later line where a product waits for its variants or several rows stand in one line.
    #[must_use]
    pub fn next_line(&self) -> u64 {
        let waiting = match &self.source {
            Source::Csv { table: Table::Families(families), .. } => families.first_line(),
            Source::Csv { table: Table::Foreign(export), .. } => export.first_line(),
            Source::Products(products) => products.first_line(),
            _ => None,
        };
        let ready = self.ready.iter().map(|item| item.line).min();
        waiting.into_iter().chain(ready).fold(self.line_behind, u64::min)
    }

    /// What products keep of what they are, because the file cannot state it.
    #[must_use]
    pub fn keep(&self) -> &[Kept] {
        &self.keep
    }

    /// What looks like a mistake in the rows since the last call, with their lines.
    pub fn take_warnings(&mut self) -> Vec<(u64, RowWarning)> {
        std::mem::take(&mut self.warnings)
    }

    /// Reads until at least one row is ready, or the file ends.
    fn advance(&mut self) {
        let Self { source, ready, layout, currency, warnings, .. } = self;
        let ended = match source {
            Source::JsonLines { lines, buffer } => next_line(lines, buffer, ready),
            Source::Csv { records, table: Table::Own(header) } => next_record(records, header, ready),
            Source::Csv { records, table: Table::Families(families) } => hand_out(families.next(records), ready),
            Source::Csv { records, table: Table::Foreign(export) } => {
                let is_end = hand_out(export.next(records), ready);
                warnings.extend(export.take_warnings());
                is_end
            }
            Source::Csv { records, table } => match read_header(records, *layout, *currency) {
                Ok(read) => {
                    *table = read;
                    if let Table::Foreign(export) = table {
                        self.keep = export.keep().to_vec();
                    }
                    // The file is empty.
                    matches!(table, Table::Unread)
                }
                Err((line, reason)) => {
                    ready.push_back(Item::of(line, Err(reason)));
                    true
                }
            },
            Source::Products(products) => hand_out(products.next(), ready),
            Source::Feed { .. } if !matches!(layout, Layout::Auto | Layout::Foreign(Program::Google)) => {
                ready.push_back(Item::of(1, Err(RowError::OnlyFeeds)));
                true
            }
            Source::Feed { input } => match Products::of_feed(input, *currency) {
                Ok(mut products) => {
                    self.keep = products.keep().to_vec();
                    warnings.extend(products.take_warnings());
                    *source = Source::Products(Box::new(products));
                    false
                }
                Err((line, error)) => {
                    ready.push_back(Item::of(line, Err(error)));
                    true
                }
            },
            Source::Refused { reason } => {
                ready.extend(reason.take().map(|reason| Item::of(1, Err(reason))));
                true
            }
        };
        self.ended = ended;
    }

    /// Refuses a row that names an id of an earlier one, and warns of one with other capitals.
    fn first_of_its_id(&mut self, line: u64, row: Row, places: &Places) -> Result<Row, (u64, RowError)> {
        let ids = match &row {
            Row::Product(entries) => entries.iter().map(|entry| entry.id.as_str()).collect(),
            Row::Change(change) => vec![change.id.as_str()],
        };
        let hashes: Vec<u64> = ids.iter().map(|id| self.hasher.hash_one(id)).collect();
        for (at, (id, hash)) in ids.iter().zip(&hashes).enumerate() {
            if let Some(&first) = self.seen.get(hash) {
                return Err((places.line(at, line), RowError::IdTwice { id: places.name(at, id), first }));
            }
        }
        for (at, id) in ids.into_iter().enumerate() {
            let line = places.line(at, line);
            let hash = self.hasher.hash_one(id.to_ascii_lowercase());
            match self.seen_in_small_letters.entry(hash) {
                hash_map::Entry::Vacant(unseen) => {
                    unseen.insert(line);
                }
                hash_map::Entry::Occupied(seen) => {
                    self.warnings.push((line, RowWarning::OnlyCapitals { id: id.into(), first: *seen.get() }));
                }
            }
        }
        self.seen.extend(hashes.into_iter().enumerate().map(|(at, hash)| (hash, places.line(at, line))));
        Ok(row)
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = (u64, Result<Row, RowError>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(Item { line, row, places }) = self.ready.pop_front() {
                self.line_behind = self.line_behind.max(line + 1);
                let row = row.map_err(|reason| (line, reason));
                return Some(match row.and_then(|row| self.first_of_its_id(line, row, &places)) {
                    Ok(row) => (line, Ok(row)),
                    Err((line, reason)) => (line, Err(reason)),
                });
            }
            if self.ended {
                return None;
            }
            self.advance();
        }
    }
}

/// Reads the next line of a JSON Lines file. Returns whether it was the last.
fn next_line<R: BufRead>(lines: &mut Lines<R>, buffer: &mut Vec<u8>, ready: &mut VecDeque<Item>) -> bool {
    buffer.clear();
    let found = match lines.append_next(buffer) {
        Ok(Found::End) => return true,
        Err(error) => {
            // Reading a broken disk again would not help, so this is the last item.
            ready.push_back(Item::of(lines.number() + 1, Err(RowError::Input(error))));
            return true;
        }
        Ok(found) => found,
    };
    let row = match found {
        Found::Line if [b"".as_slice(), b"\x1a"].contains(&buffer.trim_ascii()) => return false,
        Found::TooLong => Err(RowError::TooLong),
        Found::Line | Found::End => {
            std::str::from_utf8(buffer).map_err(|_| RowError::NotText).and_then(row::parse).map(Row::Product)
        }
    };
    ready.push_back(Item::of(lines.number(), row));
    false
}

/// Reads the header with the delimiter for which it has the most known names.
fn read_header<R: BufRead>(
    records: &mut Records<R>,
    layout: Layout,
    currency: Option<Currency>,
) -> Result<Table, (u64, RowError)> {
    let failed = |error| (1, RowError::Input(error));
    let mut delimiter = best_delimiter(records.beginning().map_err(failed)?);
    if let Some(stated) = stated_delimiter(records.beginning().map_err(failed)?) {
        delimiter = stated.map_err(|reason| (records.line(), reason))?;
        records.skip_line().map_err(failed)?;
    }
    records.set_delimiter(delimiter);
    loop {
        let Some((line, names)) = records.next().map_err(failed)? else { return Ok(Table::Unread) };
        let mut names = names.map_err(|unread| (line, unread.reason))?;
        let Some(last) = names.iter().rposition(|name| !name.trim().is_empty()) else { continue };
        if last >= COLUMNS_MAX {
            return Err((line, RowError::TooManyColumns { columns: last + 1 }));
        }
        // Some spreadsheets write every column that there could be.
        names.truncate(COLUMNS_MAX);
        let export = Export::of_header(&names, line, layout, currency).map_err(|error| (line, error))?;
        if let Some(export) = export {
            records.set_columns(export.len());
            return Ok(Table::Foreign(Box::new(export)));
        }
        let header = Header::parse(&names, delimiter).map_err(|error| (line, error))?;
        records.set_columns(header.len());
        let may_have_variants = header.has_variants();
        return Ok(if may_have_variants {
            Table::Families(Box::new(Families::of(header)))
        } else {
            Table::Own(header)
        });
    }
}

/// Reads the next record of a CSV file. Returns whether it was the last.
fn next_record<R: BufRead>(records: &mut Records<R>, header: &Header, ready: &mut VecDeque<Item>) -> bool {
    let (line, row) = match records.next() {
        Ok(None) => return true,
        Ok(Some((line, Err(unread)))) => (line, Err(unread.reason)),
        Ok(Some((line, Ok(cells)))) => match header.row(&cells) {
            Ok(TableRow::Empty) => return false,
            Ok(TableRow::Product(fields)) => (line, row::entries_of(Value::Object(fields)).map(Row::Product)),
            Ok(TableRow::Change(fields)) => (line, row::change_of(Value::Object(fields)).map(Row::Change)),
            // There is no column for it.
            Ok(TableRow::Variant(parent, _)) => (line, Err(RowError::ParentMissing { parent })),
            Err(reason) => (line, Err(reason)),
        },
        Err(error) => {
            ready.push_back(Item::of(records.line(), Err(RowError::Input(error))));
            return true;
        }
    };
    ready.push_back(Item::of(line, row));
    false
}

/// The position among the entries of a variant with the same options as one before it. Rows of a table are joined to
/// products here, so a mistake in one of them looks like this; JSON states a product as a whole.
fn same_options(entries: &[Entry], places: &Places) -> Option<(usize, RowError)> {
    let variants = &entries.first()?.details.variants;
    let mut seen = HashSet::new();
    let at = variants.iter().position(|variant| !variant.options.is_empty() && !seen.insert(&variant.options))?;
    let options: Vec<&str> = variants[at].options.iter().map(|(_, value)| value.as_str()).collect();
    let variant = places.name(at + 1, variants[at].product.as_str());
    Some((at + 1, RowError::SameOptions { variant, options: options.join(", ") }))
}

/// Hands out the next product of a file whose rows are kept; whether there is none.
fn hand_out(product: Option<Product>, ready: &mut VecDeque<Item>) -> bool {
    let is_end = product.is_none();
    ready.extend(product.map(|(line, row)| match row {
        Err(reason) => Item::of(line, Err(reason)),
        Ok(BuiltRow { value, places }) => match row::entries_of(value) {
            Ok(entries) => match same_options(&entries, &places) {
                Some((at, reason)) => Item::of(places.line(at, line), Err(reason)),
                None => Item { line, row: Ok(Row::Product(entries)), places },
            },
            Err(reason) => {
                let (line, reason) = places.blame(line, reason);
                Item::of(line, Err(reason))
            }
        },
    }));
    is_end
}
