//! Quotes in CSV: whether a record is quoted as it should be, and where one with wrong quotes may end.
//!
//! Depends on `std` only.

/// Finds the end of a record in which a quote closes a cell only before a delimiter or the end of a line.
#[derive(Debug)]
pub(super) struct Scan {
    delimiter: u8,
    state: State,
    /// Whether a quote stood elsewhere in a cell between quotes.
    pub(super) is_broken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    CellBegins,
    Plain,
    Quoted,
    /// After a quote in a cell between quotes.
    Closed,
}

impl Scan {
    pub(super) fn new(delimiter: u8) -> Self {
        Self { delimiter, state: State::CellBegins, is_broken: false }
    }

    /// Whether the record ends with this byte, which ends a line.
    pub(super) fn ends_with(&mut self, byte: u8) -> bool {
        let is_line_end = matches!(byte, b'\n' | b'\r');
        let is_end_of_cell = is_line_end || byte == self.delimiter;
        self.state = match (self.state, byte) {
            (State::Quoted, b'"') => State::Closed,
            (State::Quoted, _) | (State::Closed | State::CellBegins, b'"') => State::Quoted,
            (State::Closed, _) if !is_end_of_cell => {
                self.is_broken = true;
                State::Quoted
            }
            _ if is_line_end => return true,
            _ if is_end_of_cell => State::CellBegins,
            _ => State::Plain,
        };
        false
    }

    pub(super) fn is_outside_quotes(&self) -> bool {
        self.state != State::Quoted
    }
}

/// The length of the first line without its end.
pub(super) fn first_line(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len())
}

pub(super) fn line_count(raw: &[u8]) -> u64 {
    let raw = raw.trim_suffix_line_end();
    let pairs = raw.windows(2).filter(|pair| pair == b"\r\n").count();
    (raw.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() - pairs) as u64 + 1
}

pub(super) trait LineEnd {
    fn trim_suffix_line_end(&self) -> &[u8];
}

impl LineEnd for [u8] {
    fn trim_suffix_line_end(&self) -> &[u8] {
        let text = self.strip_suffix(b"\n").unwrap_or(self);
        text.strip_suffix(b"\r").unwrap_or(text)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Quoting {
    Right,
    /// The last quote of the record is not closed.
    Open,
    /// A closing quote is followed by more text.
    Broken,
}

/// Compares the cells, quoted again, with the bytes from which they were read.
pub(super) fn quoting(raw: &[u8], cells: &[&[u8]], delimiter: u8) -> Quoting {
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

/// Whether a cell of a correctly quoted record ends with a quote, but does not begin with one.
pub(super) fn has_lone_closing_quote(raw: &[u8], cells: &[&[u8]]) -> bool {
    let mut rest = raw;
    cells.iter().any(|cell| {
        let is_quoted = rest.first() == Some(&b'"');
        let quotes = cell.iter().filter(|&&byte| byte == b'"').count();
        let written = if is_quoted { cell.len() + quotes + 2 } else { cell.len() };
        rest = rest.get(written + 1..).unwrap_or_default();
        !is_quoted && cell.ends_with(b"\"")
    })
}
