//! Reads the lines of a file, one at a time, with a limit. A line that is too long is skipped without being kept in
//! memory, so that a file that is not a catalogue (a disk image, a database dump) cannot exhaust the memory.
//!
//! Depends on `std` only.

use std::io::{self, BufRead, ErrorKind};

/// The longest row, in bytes without its line ending. The longest of 33,489 real ones has under 8 KiB; a product
/// without variants that reaches every limit of [`Details`](crate::domain::product::Details) has about half of this.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// How deep the elements of a feed in XML may be nested: the names of all open ones are kept in memory. Those of a feed
/// are, with a description in XHTML, about ten deep.
pub(super) const FEED_DEPTH_MAX: usize = 100;

/// The most memory that the rows of a file may take, in bytes, as far as it can be counted: the import may run on the
/// machine of the shop.
pub(super) const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The most columns of a file: exports of other shops have a few hundred at most, and each cell is looked for by name.
pub(super) const COLUMNS_MAX: usize = 2_000;

/// The byte order mark that some programs write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The result of reading a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A line; it was appended to the buffer without its line ending.
    Line,
    /// A line that was too long and was skipped; the content of the buffer is undefined.
    TooLong,
    /// The end of the file.
    End,
}

/// The lines of `input`.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    bytes_read: u64,
    lines_read: u64,
    /// Whether a line feed that follows belongs to the carriage return before it.
    after_carriage_return: bool,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `input`, from its beginning.
    pub(super) fn new(input: R) -> Self {
        Self { input, bytes_read: 0, lines_read: 0, after_carriage_return: false }
    }

    /// How many bytes of the input have been consumed.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The number of the last line read, from 1.
    pub(super) fn number(&self) -> u64 {
        self.lines_read
    }

    /// Appends the next line to `buffer`, up to [`LINE_BYTES_MAX`] bytes in total.
    pub(super) fn append_next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Found> {
        let start = buffer.len();
        let mut fits = true;
        let mut begun = false;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                if !begun {
                    return Ok(Found::End);
                }
                break;
            }
            if std::mem::take(&mut self.after_carriage_return) && chunk[0] == b'\n' {
                self.input.consume(1);
                self.bytes_read += 1;
                continue;
            }
            begun = true;
            let line_end = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            self.after_carriage_return = line_end.is_some_and(|at| chunk[at] == b'\r');
            let piece = &chunk[..line_end.unwrap_or(chunk.len())];
            fits &= buffer.len() + piece.len() <= LINE_BYTES_MAX + BYTE_ORDER_MARK.len();
            if fits {
                buffer.extend_from_slice(piece);
            }
            let used = line_end.map_or(chunk.len(), |at| at + 1);
            self.input.consume(used);
            self.bytes_read += used as u64;
            if line_end.is_some() {
                break;
            }
        }
        self.lines_read += 1;
        if self.lines_read == 1 && buffer[start..].starts_with(BYTE_ORDER_MARK) {
            buffer.drain(start..start + BYTE_ORDER_MARK.len());
        }
        if fits && buffer.len() <= LINE_BYTES_MAX { Ok(Found::Line) } else { Ok(Found::TooLong) }
    }
}
