//! The records of a CSV file, parsed by the csv crate's own parser.
//!
//! The parser accepts any text: it drops a quote that closes a cell too early, and reads an open quote to the end of
//! the file. So each record is compared with the file afterwards: if its cells, quoted again, equal the file, it is a
//! record, however many lines it has. Otherwise it is refused. If the lines after its first are whole rows, a stray
//! quote has joined them, and reading continues after the first line; otherwise it continues after the last one, so
//! that the rest of a refused row is never read as a row.
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
/// How often bytes may be read again after a quote has joined their lines. Without it the time to read a file of such
/// lines would grow with the square of its length, because each of them reaches as far as the first.
const REREADS_MAX: u32 = 8;
/// How much of the beginning is used to detect the delimiter, in bytes: a header is shorter.
const BEGINNING_BYTES: usize = 64 * 1024;

/// A record with the number of its first line.
pub(super) type Record = (u64, Texts);

/// The cells of a record, or why it is refused.
type Texts = Result<Vec<String>, RowError>;

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
    /// How far the parser has looked, in bytes from the beginning of the file.
    looked_at: u64,
    /// How many refused records in a row began before that.
    rereads: u32,
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
            looked_at: 0,
            rereads: 0,
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
        let is_first_look = self.bytes_read >= self.looked_at;
        let (length, texts) = match self.parse(0)? {
            Parsed::Record(length, count) => {
                let raw = self.buffer[self.start..self.start + length].trim_suffix_line_end();
                let cells = cells(&self.cells, &self.ends[..count]);
                match quoting(raw, &cells, self.delimiter) {
                    Quoting::Right => (length, texts(&cells)),
                    Quoting::Broken if line_count(raw) == 1 => (length, Err(RowError::QuoteInside)),
                    Quoting::Broken => {
                        let are_rows = self.are_rows(length)?;
                        self.quote_open(length, is_first_look, are_rows)
                    }
                    // Up to the end of the file.
                    Quoting::Open => self.quote_open(length, is_first_look, true),
                }
            }
            Parsed::TooLong(length) => {
                if line_count(&self.buffer[self.start..self.start + length]) == 1 {
                    self.skip_line()?;
                    return Ok(Some((line, Err(RowError::TooLong))));
                }
                self.quote_open(length, is_first_look, true)
            }
        };
        self.consume(length);
        if matches!(texts, Err(RowError::LinesJoined { .. })) && !matches!(self.buffer[self.start - 1], b'\n' | b'\r') {
            self.skip_line()?;
        }
        Ok(Some((line, texts)))
    }

    /// How many bytes to skip because a quote has joined the lines of `length` bytes, and the reason to report: only
    /// the first line if the lines after it are to be read on their own, otherwise all of them.
    fn quote_open(&mut self, length: usize, is_first_look: bool, are_rows: bool) -> (usize, Texts) {
        let line = self.line;
        let bytes = &self.buffer[self.start..];
        let lines = line_count(&bytes[..length]);
        let last = line + lines - 1;
        self.rereads = if is_first_look { 1 } else { self.rereads + 1 };
        if self.rereads > REREADS_MAX {
            let length = usize::try_from(self.looked_at - self.bytes_read).unwrap_or(length).clamp(length, bytes.len());
            let last = line + line_count(&bytes[..length]) - 1;
            return (length, Err(RowError::LinesJoined { last }));
        }
        if are_rows {
            (first_line(bytes), Err(RowError::QuoteOpen { last, lines }))
        } else {
            (length, Err(RowError::LinesJoined { last }))
        }
    }

    /// Whether these bytes look like rows that a stray quote has joined: the first line has enough cells, and each line
    /// after it begins a row that is correctly quoted and has as many cells as the header.
    fn are_rows(&mut self, length: usize) -> io::Result<bool> {
        let mut at = first_line(&self.buffer[self.start..]);
        let delimiters = self.buffer[self.start..][..at].iter().filter(|&&byte| byte == self.delimiter).count();
        if delimiters + 1 < self.columns {
            return Ok(false);
        }
        while at < length {
            if matches!(self.buffer[self.start + at], b'\n' | b'\r') {
                at += 1;
                continue;
            }
            let Parsed::Record(row, count) = self.parse(at)? else { return Ok(false) };
            let raw = self.buffer[self.start + at..][..row].trim_suffix_line_end();
            let cells = cells(&self.cells, &self.ends[..count]);
            let is_whole =
                count >= self.columns && cells[self.columns..].iter().all(|cell| cell.trim_ascii().is_empty());
            if !is_whole || quoting(raw, &cells, self.delimiter) != Quoting::Right {
                return Ok(false);
            }
            at += row;
        }
        Ok(true)
    }

    /// Parses the record that begins `at` bytes after the current position.
    fn parse(&mut self, at: usize) -> io::Result<Parsed> {
        let (parsed, read) = self.parse_counting(at)?;
        self.looked_at = self.looked_at.max(self.bytes_read + (at + read) as u64);
        Ok(parsed)
    }

    fn parse_counting(&mut self, at: usize) -> io::Result<(Parsed, usize)> {
        self.parser.reset();
        let (mut read, mut written, mut count) = (0, 0, 0);
        loop {
            let input = &self.buffer[self.start + at + read..];
            if input.is_empty() && !self.at_end {
                if read > LINE_BYTES_MAX {
                    return Ok((Parsed::TooLong(read), read));
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
                _ if read > LINE_BYTES_MAX + 2 => return Ok((Parsed::TooLong(read), read)),
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.cells.resize(self.cells.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record | ReadRecordResult::End => {
                    return Ok((Parsed::Record(read, count), read));
                }
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

fn texts(cells: &[&[u8]]) -> Texts {
    let text = |cell: &&[u8]| std::str::from_utf8(cell).map(str::to_owned);
    cells.iter().map(text).collect::<Result<_, _>>().map_err(|_| RowError::NotText)
}

/// The length of the first line without its end.
fn first_line(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len())
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
