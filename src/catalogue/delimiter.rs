//! What separates the cells of a CSV file.
//!
//! Depends on `csv` and its neighbours.

use crate::catalogue::{error::RowError, table::known_names};

/// The possible delimiters, most common first.
const DELIMITERS: [u8; 4] = *b",;\t|";

/// The delimiter of a first line such as `sep=;`, which Excel writes for itself, with quotes around it or not.
pub(super) fn stated_delimiter(beginning: &[u8]) -> Option<Result<u8, RowError>> {
    let end = beginning.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    let line = beginning[..end].strip_prefix(b"\"").unwrap_or(&beginning[..end]);
    let stated = match line {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', stated @ ..] => stated.strip_suffix(b"\"").unwrap_or(stated),
        _ => return None,
    };
    Some(match stated {
        [delimiter] if DELIMITERS.contains(delimiter) => Ok(*delimiter),
        _ => Err(RowError::Separator { found: String::from_utf8_lossy(stated).chars().take(20).collect() }),
    })
}

/// The delimiter with which the header has the most known names.
pub(super) fn best_delimiter(beginning: &[u8]) -> u8 {
    let fit = |delimiter: u8| {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(beginning);
        let mut names = csv::StringRecord::new();
        let read = reader.read_record(&mut names).unwrap_or(false);
        let names: Vec<String> = names.iter().map(str::to_owned).collect();
        if read { (known_names(&names), names.len()) } else { (0, 0) }
    };
    // If several fit equally well, the first one is taken.
    DELIMITERS.into_iter().rev().max_by_key(|&delimiter| fit(delimiter)).unwrap_or(b',')
}
