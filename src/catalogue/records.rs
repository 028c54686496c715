//! The records of a CSV file, parsed by the csv crate's own parser.
//!
//! The parser accepts any text: it drops a quote that closes a cell too early, and reads an open quote to the end of
//! the file. So each record is compared with the file afterwards: if its cells, quoted again, differ from the file, the
//! record is refused, and reading continues after its first line.
//!
//! Depends on `csv-core` and its neighbour `error`.

use std::io::{self, BufRead, ErrorKind};

use csv_core::{ReadRecordResult, Reader as Parser, ReaderBuilder};

use crate::catalogue::{error::RowError, lines::LINE_BYTES_MAX};

/// The byte order mark that some programs write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The initial size of the buffer for the cells of a record, in bytes; it doubles when it is full.
const CELLS_BYTES: usize = 4 * 1024;
/// How many consumed bytes the buffer keeps before the rest is moved to its front.
const USED_BYTES_MAX: usize = 64 * 1024;
/// How much of the beginning is used to detect the delimiter, in bytes: a header is shorter.
const BEGINNING_BYTES: usize = 64 * 1024;

/// A record with the number of its first line.
pub(super) type Record = (u64, Result<Vec<String>, RowError>);

/// The records of `input`.
#[derive(Debug)]
pub(super) struct Records<R> {
    input: R,
    parser: Parser,
    delimiter: u8,
    /// The number of columns of the header; 0 until it is read.
    columns: usize,
    buffer: Vec<u8>,
    /// The position in the buffer at which the next record begins.
    start: usize,
    at_end: bool,
    /// The number of the line at `start`.
    line: u64,
    after_carriage_return: bool,
    bytes_read: u64,
    cells: Vec<u8>,
    ends: Vec<usize>,
}

/// The result of parsing the input.
enum Parsed {
    /// A record of this many bytes and this many cells.
    Record(usize, usize),
    /// More than this many bytes.
    TooLong(usize),
}

impl<R: BufRead> Records<R> {
    /// The records of `input`, from its beginning.
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            parser: Parser::new(),
            delimiter: b',',
            columns: 0,
            buffer: Vec::new(),
            start: 0,
            at_end: false,
            line: 1,
            after_carriage_return: false,
            bytes_read: 0,
            cells: vec![0; CELLS_BYTES],
            ends: vec![0; CELLS_BYTES / 16],
        }
    }

    /// The beginning of the file, without a byte order mark.
    ///
    /// # Errors
    /// The source fails.
    pub(super) fn beginning(&mut self) -> io::Result<&[u8]> {
        while self.buffer.len() < BEGINNING_BYTES && !self.at_end {
            self.fill()?;
        }
        self.skip_empty_lines()?;
        Ok(&self.buffer[self.start..])
    }

    /// Sets the delimiter between cells.
    pub(super) fn set_delimiter(&mut self, delimiter: u8) {
        self.delimiter = delimiter;
        self.parser = ReaderBuilder::new().delimiter(delimiter).build();
    }

    /// Sets the number of cells that a row must have.
    pub(super) fn set_columns(&mut self, columns: usize) {
        self.columns = columns;
    }

    /// Skips the current line.
    ///
    /// # Errors
    /// The source fails.
    pub(super) fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let rest = &self.buffer[self.start..];
            if let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                self.consume(at + 1);
                return Ok(());
            }
            self.consume(rest.len());
            if self.at_end {
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// How many bytes have been consumed.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The number of the current line.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The next record that is not an empty line; `None` at the end of the file.
    ///
    /// # Errors
    /// The source fails.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        self.skip_empty_lines()?;
        if self.start == self.buffer.len() {
            return Ok(None);
        }
        let line = self.line;
        let (length, count) = match self.parse()? {
            Parsed::Record(length, count) => (length, count),
            Parsed::TooLong(length) => {
                let lines = line_count(&self.buffer[self.start..self.start + length]);
                self.skip_line()?;
                return Ok(Some((
                    line,
                    Err(if lines > 1 {
                        RowError::QuoteOpen { last: line + lines - 1, lines }
                    } else {
                        RowError::TooLong
                    }),
                )));
            }
        };
        let raw = self.buffer[self.start..self.start + length].trim_suffix_line_end();
        let cells = cells(&self.cells, &self.ends[..count]);
        if let Err(fault) = self.check(raw, &cells, line) {
            self.skip_line()?;
            return Ok(Some((line, Err(fault))));
        }
        let text = |cell: &&[u8]| std::str::from_utf8(cell).map(str::to_owned);
        let texts = cells.iter().map(text).collect::<Result<Vec<_>, _>>().map_err(|_| RowError::NotText);
        self.consume(length);
        Ok(Some((line, texts)))
    }

    /// Checks that the cells are what the file contains.
    fn check(&self, raw: &[u8], cells: &[&[u8]], line: u64) -> Result<(), RowError> {
        let lines = line_count(raw);
        match quoting(raw, cells, self.delimiter) {
            Quoting::Open => Err(RowError::QuoteOpen { last: line + lines - 1, lines }),
            Quoting::Broken if lines > 1 => Err(RowError::QuoteOpen { last: line + lines - 1, lines }),
            Quoting::Broken => Err(RowError::QuoteInside),
            // If every line is a complete row by itself, a quote was probably meant as an inch mark.
            Quoting::Right if lines > 1 && self.columns > 2 && self.each_line_is_a_row(raw) => {
                Err(RowError::QuoteOpen { last: line + lines - 1, lines })
            }
            Quoting::Right => Ok(()),
        }
    }

    fn each_line_is_a_row(&self, raw: &[u8]) -> bool {
        let mut lines = raw.split(|&byte| byte == b'\n' || byte == b'\r').filter(|line| !line.is_empty());
        lines.all(|line| line.iter().filter(|&&byte| byte == self.delimiter).count() + 1 == self.columns)
    }

    fn parse(&mut self) -> io::Result<Parsed> {
        self.parser.reset();
        let (mut read, mut written, mut count) = (0, 0, 0);
        loop {
            let input = &self.buffer[self.start + read..];
            if input.is_empty() && !self.at_end {
                if read > LINE_BYTES_MAX {
                    return Ok(Parsed::TooLong(read));
                }
                self.fill()?;
                continue;
            }
            let (result, more_read, more_written, more_count) =
                self.parser.read_record(input, &mut self.cells[written..], &mut self.ends[count..]);
            read += more_read;
            written += more_written;
            count += more_count;
            match result {
                _ if read > LINE_BYTES_MAX + 2 => return Ok(Parsed::TooLong(read)),
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.cells.resize(self.cells.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record | ReadRecordResult::End => return Ok(Parsed::Record(read, count)),
            }
        }
    }

    fn skip_empty_lines(&mut self) -> io::Result<()> {
        loop {
            while self.buffer.len() - self.start < BYTE_ORDER_MARK.len() && !self.at_end {
                self.fill()?;
            }
            let rest = &self.buffer[self.start..];
            if rest.starts_with(BYTE_ORDER_MARK) {
                self.consume(BYTE_ORDER_MARK.len());
            } else if let Some(b'\n' | b'\r') = rest.first() {
                self.consume(1);
            } else {
                return Ok(());
            }
        }
    }

    /// Consumes this many bytes of the buffer.
    fn consume(&mut self, bytes: usize) {
        for &byte in &self.buffer[self.start..self.start + bytes] {
            // CRLF ends one line, and so does either of the two by itself.
            self.line += u64::from(byte == b'\r' || (byte == b'\n' && !self.after_carriage_return));
            self.after_carriage_return = byte == b'\r';
        }
        self.start += bytes;
        self.bytes_read += bytes as u64;
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.start > USED_BYTES_MAX {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let chunk = loop {
            match self.input.fill_buf() {
                Ok(chunk) => break chunk,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        self.at_end = chunk.is_empty();
        let bytes = chunk.len();
        self.buffer.extend_from_slice(chunk);
        self.input.consume(bytes);
        Ok(())
    }
}

fn cells<'a>(bytes: &'a [u8], ends: &[usize]) -> Vec<&'a [u8]> {
    let mut begin = 0;
    ends.iter().map(|&end| &bytes[std::mem::replace(&mut begin, end)..end]).collect()
}

fn line_count(raw: &[u8]) -> u64 {
    let raw = raw.trim_suffix_line_end();
    let pairs = raw.windows(2).filter(|pair| pair == b"\r\n").count();
    (raw.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() - pairs) as u64 + 1
}

trait LineEnd {
    fn trim_suffix_line_end(&self) -> &[u8];
}

impl LineEnd for [u8] {
    fn trim_suffix_line_end(&self) -> &[u8] {
        let text = self.strip_suffix(b"\n").unwrap_or(self);
        text.strip_suffix(b"\r").unwrap_or(text)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Quoting {
    Right,
    /// The last quote of the record is not closed.
    Open,
    /// A closing quote is followed by more text.
    Broken,
}

/// Compares the cells, quoted again, with the bytes from which they were read.
fn quoting(raw: &[u8], cells: &[&[u8]], delimiter: u8) -> Quoting {
    let mut rest = raw;
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            let Some(after) = rest.strip_prefix(&[delimiter]) else { return Quoting::Broken };
            rest = after;
        }
        let Some(mut quoted) = rest.strip_prefix(b"\"") else {
            let Some(after) = rest.strip_prefix(*cell) else { return Quoting::Broken };
            rest = after;
            continue;
        };
        for &byte in *cell {
            let written: &[u8] = if byte == b'"' { b"\"\"" } else { std::slice::from_ref(&byte) };
            let Some(after) = quoted.strip_prefix(written) else {
                return if quoted.is_empty() { Quoting::Open } else { Quoting::Broken };
            };
            quoted = after;
        }
        let Some(after) = quoted.strip_prefix(b"\"") else {
            return if quoted.trim_suffix_line_end().is_empty() { Quoting::Open } else { Quoting::Broken };
        };
        rest = after;
    }
    if rest.is_empty() { Quoting::Right } else { Quoting::Broken }
}
