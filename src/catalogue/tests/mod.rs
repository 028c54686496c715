//! Tests of the whole room: a catalogue is the same after an export and an import, reading never panics, and the real
//! catalogues are read without a bad line.
//!
//! Depends on its neighbours and `proptest`.

mod bad_lines;
mod documentation;
mod families;
mod foreign;
mod real_files;
mod round_trip;
mod spreadsheets;

use crate::catalogue::{
    entry::{Entry, Row},
    error::RowError,
    read::{Format, Reader},
    row::parse,
    write::Writer,
};

/// The entries of the rows that were read, and the refused rows as `line: reason`.
pub(super) fn read(bytes: &[u8], format: Format) -> (Vec<Entry>, Vec<String>) {
    let (mut entries, mut refused) = (Vec::new(), Vec::new());
    for (line, row) in Reader::new(bytes, format) {
        match row {
            Ok(Row::Product(row)) => entries.extend(row),
            Ok(Row::Change(change)) => panic!("{line}: {change:?}"),
            Err(reason) => refused.push(format!("{line}: {reason}")),
        }
    }
    (entries, refused)
}

/// The file that is written for these entries.
pub(super) fn written(entries: &[Entry]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    entries.iter().cloned().try_for_each(|entry| writer.write(entry)).unwrap();
    writer.finish().unwrap()
}

/// The only product of a line.
fn product(line: &str) -> Entry {
    let mut entries = parse(line).unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

/// The reason why a line is refused.
fn reason(line: &str) -> String {
    parse(line).map(|_: Vec<Entry>| ()).map_err(|error: RowError| error.to_string()).unwrap_err()
}
