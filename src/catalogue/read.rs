//! Reads catalogue files, JSON Lines or CSV, of any size and from any source, a row at a time.
//!
//! A row that is refused is an item like any other, with its line and its reason; the rows after it are read all the same.
//! Only a source that fails and a CSV header that cannot be understood end the reading.
//!
//! Depends on `std` and its neighbours.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

pub use crate::catalogue::lines::LINE_BYTES_MAX;
use crate::catalogue::{
    entry::Entry,
    error::RowError,
    lines::{Found, Lines},
    row,
    table::{Header, TableRow, Waiting, quotes_are_closed},
};

/// How many bytes are asked of a file at a time: few enough to be nothing, enough to make system calls rare.
const BUFFER_BYTES: usize = 256 * 1024;

/// The two forms of a catalogue file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON object a line.
    JsonLines,
    /// Comma-separated values (RFC 4180) below a header.
    Csv,
}

impl Format {
    /// The form that the end of a file's name promises: `.jsonl`, `.ndjson` and `.json`, or `.csv`.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" | "json" => Some(Self::JsonLines),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// The form of a file that begins with these bytes: JSON Lines where the first that is not blank opens a JSON value.
    #[must_use]
    pub fn of_beginning(bytes: &[u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{' | b'[') | None => Self::JsonLines,
            Some(_) => Self::Csv,
        }
    }
}

/// Reads a catalogue file: an iterator of the line where a row begins, from 1, and its entries, the product first and its
/// variants after it, or the reason why the row is refused.
///
/// In a CSV file an unreadable row of a variant is reported before the product above it, which is complete only then.
#[derive(Debug)]
pub struct Reader<R> {
    lines: Lines<R>,
    buffer: Vec<u8>,
    form: Form,
    ended: bool,
}

/// The line where a row begins, and what it says.
type Row = (u64, Result<Vec<Entry>, RowError>);

#[derive(Debug)]
enum Form {
    JsonLines,
    CsvHeader,
    Csv { header: Header, waiting: Option<Waiting> },
}

impl Reader<BufReader<File>> {
    /// Opens a file; its form is told by its name, or else by its first byte.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let input = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
        match Format::of_path(path) {
            Some(format) => Ok(Self::new(input, format)),
            None => Self::sniffing(input),
        }
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads `input` as a file of this form.
    pub fn new(input: R, format: Format) -> Self {
        let form = match format {
            Format::JsonLines => Form::JsonLines,
            Format::Csv => Form::CsvHeader,
        };
        Self { lines: Lines::new(input), buffer: Vec::new(), form, ended: false }
    }

    /// Reads `input` as a file of the form that its first byte suggests.
    ///
    /// # Errors
    /// What the source says when it is first read.
    pub fn sniffing(mut input: R) -> io::Result<Self> {
        let format = Format::of_beginning(input.fill_buf()?);
        Ok(Self::new(input, format))
    }

    /// How many bytes of the input have been used up: beside its length, how far the reading has come.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.lines.bytes_read()
    }

    /// Reads a record into the buffer: a line that is not blank, in a CSV file with those that its quotes span. `None` at the
    /// end of the file.
    fn read_record(&mut self) -> Option<(u64, Result<(), RowError>)> {
        loop {
            self.buffer.clear();
            let first = self.lines.append_next(&mut self.buffer);
            let line = self.lines.number();
            match first {
                Err(error) => return Some(self.failed(error)),
                Ok(Found::End) => return None,
                Ok(Found::TooLong) => return Some((line, Err(RowError::TooLong))),
                Ok(Found::Line) if self.buffer.trim_ascii().is_empty() => continue,
                Ok(Found::Line) => {}
            }
            let mut closed = matches!(self.form, Form::JsonLines) || quotes_are_closed(&self.buffer);
            while !closed {
                let known = self.buffer.len();
                self.buffer.push(b'\n');
                match self.lines.append_next(&mut self.buffer) {
                    Err(error) => return Some(self.failed(error)),
                    Ok(Found::End) => return Some((line, Err(RowError::CutOff))),
                    Ok(Found::TooLong) => return Some((line, Err(RowError::TooLong))),
                    Ok(Found::Line) => closed = !quotes_are_closed(&self.buffer[known..]),
                }
            }
            let text = if std::str::from_utf8(&self.buffer).is_ok() { Ok(()) } else { Err(RowError::NotText) };
            return Some((line, text));
        }
    }

    /// Whoever reads a broken disk again and again gets nowhere, so this is the last item.
    fn failed(&mut self, error: io::Error) -> (u64, Result<(), RowError>) {
        self.ended = true;
        (self.lines.number() + 1, Err(RowError::Input(error)))
    }

    /// The next row, or `None` where the record only prepared one.
    fn row(&mut self, line: u64) -> Option<Row> {
        let record = std::mem::take(&mut self.buffer);
        let row = match &mut self.form {
            Form::JsonLines => {
                Some((line, std::str::from_utf8(&record).map_err(|_| RowError::NotText).and_then(row::parse)))
            }
            Form::CsvHeader => match Header::parse(&record) {
                Ok(header) => {
                    self.form = Form::Csv { header, waiting: None };
                    None
                }
                Err(error) => {
                    self.ended = true;
                    Some((line, Err(error)))
                }
            },
            Form::Csv { header, waiting } => match header.row(&record) {
                Ok(TableRow::Product(fields)) => waiting.replace(Waiting::new(line, fields)).map(completed),
                Ok(TableRow::Variant(parent, variant)) => match waiting {
                    Some(product) => product.add(parent, variant).err().map(|error| (line, Err(error))),
                    None => Some((line, Err(RowError::ParentElsewhere { parent }))),
                },
                Err(error) => Some((line, Err(error))),
            },
        };
        self.buffer = record;
        row
    }
}

fn completed(product: Waiting) -> Row {
    let (line, row) = product.complete();
    (line, row::entries_of(row))
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        while !self.ended {
            let row = match self.read_record() {
                Some((line, Ok(()))) => self.row(line),
                Some((line, Err(error))) => {
                    // Without the names of its columns, nothing in a CSV file means anything.
                    self.ended |= matches!(self.form, Form::CsvHeader);
                    Some((line, Err(error)))
                }
                None => {
                    self.ended = true;
                    None
                }
            };
            if row.is_some() {
                return row;
            }
        }
        // The last product of a CSV file waited for variants that did not come.
        match &mut self.form {
            Form::Csv { waiting, .. } => waiting.take().map(completed),
            Form::JsonLines | Form::CsvHeader => None,
        }
    }
}
