//! The records of a CSV file, parsed by the csv crate's own parser.
//!
//! The parser accepts any text: it drops a quote that closes a cell too early, and reads an open quote to the end of
//! the file. So each record is compared with the file afterwards: if its cells, quoted again, equal the file, it is a
//! record, however many lines it has. Otherwise it is refused, and the question is where it ends, because what stands
//! inside a cell must never be read as a row. It may go on to the next quote that could close its cell. If the lines up
//! to there are whole rows by themselves, a stray quote has joined them, and reading continues after the first line;
//! otherwise it continues after the last one.
//!
//! Depends on `csv-core` and its neighbours.

use std::io::{self, BufRead, ErrorKind};

use csv_core::{ReadRecordResult, Reader as Parser, ReaderBuilder};

use crate::catalogue::{
    error::RowError,
    lines::LINE_BYTES_MAX,
    quotes::{LineEnd, Quoting, Scan, first_line, has_lone_closing_quote, line_count, quoting},
};

/// The byte order mark that some programs write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The character that MS-DOS and some programs still write at the end of a text: Ctrl-Z.
const END_OF_FILE: u8 = 0x1a;
/// The initial size of the buffer for the cells of a record, in bytes; it doubles when it is full.
const CELLS_BYTES: usize = 4 * 1024;
/// How many consumed bytes the buffer keeps before the rest is moved to its front.
const USED_BYTES_MAX: usize = 64 * 1024;
/// How often bytes may be read again after a quote has joined their lines. Without it the time to read a file of such
/// lines would grow with the square of its length, because each of them reaches as far as the first.
const REREADS_MAX: u32 = 8;
/// The longest word of a refused record that may name a product, in bytes: longer than an id or a SKU.
const WORD_BYTES_MAX: usize = 200;
/// The most words of a refused record that are kept.
const WORDS_MAX: usize = 500;
/// How much of the beginning is used to detect the delimiter, in bytes: a header is shorter.
const BEGINNING_BYTES: usize = 64 * 1024;

/// A record with the number of its first line.
pub(super) type Record = (u64, Texts);

/// The cells of a record, or why it is refused.
type Texts = Result<Vec<String>, Unread>;

/// A record whose cells cannot be told.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) reason: RowError,
    /// What seems to stand in it: one of them may name the product to which it belongs.
    pub(super) words: Vec<String>,
}

/// Where a record with wrong quotes would end.
#[derive(Debug, Clone, Copy)]
enum LenientEnd {
    /// At the end of a line after this many bytes.
    Closed(usize),
    /// Nowhere: its last cell goes on to the end of the file, after this many bytes.
    OfFile(usize),
    /// Beyond the longest row.
    Beyond(usize),
}

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
    /// Up to here the lines are known to be rows of their own, although a quote before them is not closed.
    apart_until: u64,
    cells: Vec<u8>,
    ends: Vec<usize>,
}

/// The result of parsing the input.
enum Parsed {
    /// A record of this many bytes and this many cells.
    Record(usize, usize),
    /// More bytes than a row may have.
    TooLong,
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
            apart_until: 0,
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
        let Parsed::Record(length, count) = self.parse(0)? else {
            return self.too_long(is_first_look).map(|refused| Some((line, refused)));
        };
        let raw = self.buffer[self.start..self.start + length].trim_suffix_line_end();
        let cells = cells(&self.cells, &self.ends[..count]);
        match quoting(raw, &cells, self.delimiter) {
            Quoting::Right => {
                let texts = texts(&cells);
                self.consume(length);
                Ok(Some((line, texts)))
            }
            quoting => {
                let is_one_line = quoting == Quoting::Broken && line_count(raw) == 1;
                self.misquoted(is_one_line, is_first_look).map(|refused| Some((line, refused)))
            }
        }
    }

    /// Refuses the current record, whose quotes are wrong, and consumes what may belong to it.
    fn misquoted(&mut self, is_one_line: bool, is_first_look: bool) -> io::Result<Texts> {
        let line = self.line;
        if is_one_line && self.bytes_read < self.apart_until {
            return Ok(self.refuse(self.first_line(), RowError::QuoteInside));
        }
        let end = self.lenient_end()?;
        let (length, lines) = match end {
            LenientEnd::Closed(length) | LenientEnd::OfFile(length) | LenientEnd::Beyond(length) => {
                (length, line_count(&self.buffer[self.start..][..length]))
            }
        };
        let last = line + lines - 1;
        if lines == 1 {
            return Ok(self.refuse(length, RowError::QuoteInside));
        }
        if is_one_line {
            // Without a quote that would close the cell, nothing suggests that it goes on below.
            if !matches!(end, LenientEnd::Closed(_)) || self.are_rows(length)? {
                self.apart_until = self.bytes_read + length as u64;
                return Ok(self.refuse(self.first_line(), RowError::QuoteInside));
            }
            return Ok(self.refuse(length, RowError::LinesJoined { last }));
        }
        match end {
            LenientEnd::Beyond(_) => self.too_long(is_first_look),
            _ if self.is_reread_too_often(is_first_look) => Ok(self.refuse_looked_at(length)),
            // A file that ends within a line may be cut off, and the lines before it may belong to the cell.
            LenientEnd::OfFile(_) if !self.ends_with_line() => Ok(self.refuse(length, RowError::LinesJoined { last })),
            LenientEnd::Closed(_) | LenientEnd::OfFile(_) if self.are_rows(length)? => {
                Ok(self.refuse(self.first_line(), RowError::QuoteOpen { last, lines }))
            }
            LenientEnd::Closed(_) | LenientEnd::OfFile(_) => Ok(self.refuse(length, RowError::LinesJoined { last })),
        }
    }

    /// Refuses the current record, which is too long to be kept, and consumes all of it: what stands in its cells is
    /// never read as a row.
    fn too_long(&mut self, is_first_look: bool) -> io::Result<Texts> {
        if self.is_reread_too_often(is_first_look) {
            return Ok(self.refuse_looked_at(0));
        }
        let words = self.words(self.buffer.len() - self.start);
        let mut scan = Scan::new(self.delimiter);
        let mut last = None;
        let is_closed = loop {
            let rest = &self.buffer[self.start..];
            last = rest.last().copied().or(last);
            if let Some(at) = rest.iter().position(|&byte| scan.ends_with(byte)) {
                self.consume(at);
                break true;
            }
            self.consume(rest.len());
            if self.at_end {
                break scan.is_outside_quotes();
            }
            self.fill()?;
        };
        let is_right = is_closed && !scan.is_broken;
        let last = self.line - u64::from(!is_closed && matches!(last, Some(b'\n' | b'\r')));
        let reason = if is_right { RowError::TooLong } else { RowError::LinesJoined { last } };
        Ok(Err(Unread { reason, words }))
    }

    /// Consumes this much, and refuses it.
    fn refuse(&mut self, length: usize, reason: RowError) -> Texts {
        let words = self.words(length);
        self.consume(length);
        Err(Unread { reason, words })
    }

    /// Refuses everything that the parser has looked at.
    fn refuse_looked_at(&mut self, least: usize) -> Texts {
        let most = self.buffer.len() - self.start;
        let length = usize::try_from(self.looked_at - self.bytes_read).unwrap_or(most).clamp(least, most);
        let whole = self.buffer[self.start + length..].iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let length = whole.map_or(most, |rest| length + rest);
        let last = self.line + line_count(&self.buffer[self.start..][..length]) - 1;
        self.refuse(length, RowError::LinesJoined { last })
    }

    fn is_reread_too_often(&mut self, is_first_look: bool) -> bool {
        self.rereads = if is_first_look { 1 } else { self.rereads + 1 };
        self.rereads > REREADS_MAX
    }

    /// What stands between the delimiters of the current record, as far as that can be told without its quotes.
    fn words(&self, length: usize) -> Vec<String> {
        let words =
            self.buffer[self.start..][..length].split(|&byte| byte == self.delimiter || matches!(byte, b'\n' | b'\r'));
        let words = words.map(|word| String::from_utf8_lossy(word.trim_ascii()).trim_matches('"').trim().to_owned());
        words.filter(|word| (1..=WORD_BYTES_MAX).contains(&word.len())).take(WORDS_MAX).collect()
    }

    /// Where the current record ends if a quote closes a cell only before a delimiter or the end of a line.
    fn lenient_end(&mut self) -> io::Result<LenientEnd> {
        let mut scan = Scan::new(self.delimiter);
        let mut length = 0;
        loop {
            let rest = &self.buffer[self.start + length..];
            if let Some(at) = rest.iter().position(|&byte| scan.ends_with(byte)) {
                length += at;
                self.looked_at = self.looked_at.max(self.bytes_read + length as u64);
                return Ok(if length > LINE_BYTES_MAX {
                    LenientEnd::Beyond(length)
                } else {
                    LenientEnd::Closed(length)
                });
            }
            length += rest.len();
            self.looked_at = self.looked_at.max(self.bytes_read + length as u64);
            match () {
                () if length > LINE_BYTES_MAX => return Ok(LenientEnd::Beyond(length)),
                () if self.at_end && scan.is_outside_quotes() => return Ok(LenientEnd::Closed(length)),
                () if self.at_end => return Ok(LenientEnd::OfFile(length)),
                () => self.fill()?,
            }
        }
    }

    /// The length of the current line.
    fn first_line(&self) -> usize {
        first_line(&self.buffer[self.start..])
    }

    fn ends_with_line(&self) -> bool {
        self.at_end && matches!(self.buffer.last(), Some(b'\n' | b'\r'))
    }

    /// Whether these bytes look like rows that a stray quote has joined: the first line has enough cells, and each line
    /// after it begins a row that has as many cells as the header and is correctly quoted, or whose quotes are wrong
    /// in that line only.
    fn are_rows(&mut self, length: usize) -> io::Result<bool> {
        let mut at = self.first_line();
        if self.delimiters(0, at) + 1 < self.columns {
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
            let is_row = match quoting(raw, &cells, self.delimiter) {
                // A quote at the end of a cell that none opened may close the cell in question.
                Quoting::Right => is_whole && !has_lone_closing_quote(raw, &cells),
                Quoting::Broken => {
                    line_count(raw) == 1 && self.delimiters(at, row) + 1 == self.columns && at + row < length
                }
                Quoting::Open => false,
            };
            if !is_row {
                return Ok(false);
            }
            at += row;
        }
        Ok(true)
    }

    /// How many delimiters stand in these bytes.
    fn delimiters(&self, at: usize, length: usize) -> usize {
        self.buffer[self.start + at..][..length].iter().filter(|&&byte| byte == self.delimiter).count()
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
                    return Ok((Parsed::TooLong, read));
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
                _ if read > LINE_BYTES_MAX + 2 => return Ok((Parsed::TooLong, read)),
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
        if self.at_end && self.buffer.len() > self.start && self.buffer.last() == Some(&END_OF_FILE) {
            self.buffer.pop();
        }
        Ok(())
    }
}

fn cells<'a>(bytes: &'a [u8], ends: &[usize]) -> Vec<&'a [u8]> {
    let mut begin = 0;
    ends.iter().map(|&end| &bytes[std::mem::replace(&mut begin, end)..end]).collect()
}

fn texts(cells: &[&[u8]]) -> Texts {
    let text = |cell: &&[u8]| std::str::from_utf8(cell).map(str::to_owned);
    cells.iter().map(text).collect::<Result<_, _>>().map_err(|_| Unread {
        reason: RowError::NotText,
        words: cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect(),
    })
}
