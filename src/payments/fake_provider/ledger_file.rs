//! The fake provider's ledger: a file of JSON lines, one for each thing that happened to somebody's money.
//!
//! The last member of each line is a checksum over what stands before it, so that a changed digit is no other amount.
//!
//! May depend on `domain`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::domain::{money::Money, order::CaptureMode};

/// A ledger is for its owner to read and write.
pub(super) const MODE: u32 = 0o600;

/// What a line did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Money was taken.
    Captured,
    /// Money is held.
    Held,
    /// Nothing was taken, nor will be.
    Declined,
    /// It was given up; nothing will be taken.
    Voided,
    /// The provider works on it.
    Processing,
    /// Money went back.
    Refunded,
    /// Money was to go back and did not.
    RefundFailed,
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// The order, the operation and its number, as [`crate::payments::OperationKey`] prints them.
    pub key: String,
    /// The amount of the operation.
    pub amount: Money,
    /// The token; empty where the operation has none.
    pub method: String,
    /// Why nothing was captured, or nothing went back.
    pub declined: Option<String>,
    /// What it did.
    pub effect: Effect,
    /// When the money of the payment is taken.
    #[serde(default)]
    pub capture: CaptureMode,
    /// When, in milliseconds since 1970.
    #[serde(default)]
    pub at_ms: u64,
}

impl LedgerLine {
    /// The order, the operation and its number.
    #[must_use]
    pub fn parts(&self) -> Option<(&str, &str, u32)> {
        let mut parts = self.key.split(':');
        match (parts.next(), parts.next(), parts.next().and_then(|number| number.parse().ok()), parts.next()) {
            (Some(order), Some(operation), Some(number), None) => Some((order, operation, number)),
            _ => None,
        }
    }
}

/// The first line of a shop's own ledger, which says whose it is. The ledger of a provider that is a program of its own
/// has none.
#[derive(Serialize, Deserialize)]
struct Owner {
    /// The store of the shop's journal, in hexadecimal.
    store: String,
}

/// What is between a line's own members and its checksum.
const CHECKSUM: &str = r#","crc32c":""#;
/// What follows the checksum, which has eight hexadecimal digits.
const LINE_END: &str = r#""}"#;

/// The line of a value: its JSON, with the checksum as one more member.
pub(super) fn line(value: &impl Serialize) -> io::Result<String> {
    let json = serde_json::to_string(value)?;
    let members = json.strip_suffix('}').ok_or(io::ErrorKind::InvalidInput)?;
    Ok(format!("{members}{CHECKSUM}{:08x}{LINE_END}", crc32c::crc32c(members.as_bytes())))
}

/// Whether a line is as it was written; `None` where it has no checksum, because it is another program's, or was cut
/// short while it was written.
#[must_use]
pub fn is_whole(line: &str) -> Option<bool> {
    let (members, checksum) = line.strip_suffix(LINE_END)?.rsplit_once(CHECKSUM)?;
    Some(checksum == format!("{:08x}", crc32c::crc32c(members.as_bytes())))
}

/// The value of a line, if it is as it was written.
fn parse<T: DeserializeOwned>(line: &str) -> Option<T> {
    is_whole(line).filter(|whole| *whole).and_then(|_| serde_json::from_str(line).ok())
}

/// Why the ledger of a shop cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// It begins with the name of another shop.
    #[error(
        "the ledger of another shop: put this shop's ledger back, or name another file in payments.simulated_ledger"
    )]
    OtherShop,
    /// It does not begin with the name of any shop.
    #[error(
        "the ledger's first line is damaged, or was written by no shop: \
         put this shop's ledger back, or move it away; without it the provider forgets all charges"
    )]
    NoOwner,
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Makes sure that the ledger is that of the shop with this store; a new or empty one becomes it. Warns of lines that
/// cannot be read.
pub(super) fn claim(path: &Path, store: u64) -> Result<(), LedgerError> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    let store = format!("{store:016x}");
    let mut lines = text.lines();
    let Some(first) = lines.next() else {
        // Under another name first: a kill must not leave half a line.
        let draft = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&draft)?;
        file.write_all(line(&Owner { store })?.as_bytes())?;
        return Ok(fs::rename(&draft, path)?);
    };
    match parse::<Owner>(first) {
        Some(owner) if owner.store == store => {}
        Some(_) => return Err(LedgerError::OtherShop),
        None => return Err(LedgerError::NoOwner),
    }
    let unreadable: Vec<usize> =
        (2..).zip(lines).filter_map(|(number, line)| is_unreadable(line).then_some(number)).collect();
    if let Some(first) = unreadable.first() {
        tracing::warn!(
            ledger = %path.display(), lines = unreadable.len(), first_line = first,
            "lines of the simulated provider's ledger cannot be read: it has forgotten what they say, \
             unless the shop was killed while it wrote them; put an undamaged ledger back if there is one"
        );
    }
    Ok(())
}

fn is_unreadable(line: &str) -> bool {
    !line.is_empty() && parse::<LedgerLine>(line).is_none()
}

/// The lines of a ledger's file, as they were written. One that was cut short by a kill or a full disk was never
/// answered and is left out, as is one that was changed later.
///
/// # Errors
/// The file cannot be read.
pub fn read_ledger(path: &Path) -> io::Result<Vec<LedgerLine>> {
    let bytes = fs::read(path)?;
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(parse).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_belongs_to_the_shop_that_made_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        for empty in [false, true] {
            if empty {
                fs::write(&path, "").unwrap();
            }
            claim(&path, 7).unwrap();
            claim(&path, 7).unwrap();
            assert!(matches!(claim(&path, 8), Err(LedgerError::OtherShop)));
        }
        let whole = fs::read_to_string(&path).unwrap();
        let other_digit = whole.replacen('7', "8", 1);
        assert_ne!(whole, other_digit);
        for damaged in ["{}", "\n", "no line of ours", "\u{fffd}", &other_digit] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(claim(&path, 7), Err(LedgerError::NoOwner)), "{damaged}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(claim(&path, 7), Err(LedgerError::Io(_))));
    }

    #[test]
    fn a_line_with_any_other_byte_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        let written = LedgerLine {
            key: "00000000000000000000000000000001:charge:1".into(),
            amount: Money::new(500, crate::domain::money::Currency::INR).unwrap(),
            method: "tok_success".into(),
            declined: None,
            effect: Effect::Captured,
            capture: CaptureMode::AtOnce,
            at_ms: 1_790_000_000_000,
        };
        let text = line(&written).unwrap();
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read_ledger(&path).unwrap()
        };
        assert_eq!((is_whole(&text), read(text.as_bytes())), (Some(true), vec![written]));
        for place in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone().into_bytes();
                changed[place] ^= 1 << bit;
                assert!(read(&changed).is_empty(), "byte {place}, bit {bit}");
            }
            assert!(read(&text.as_bytes()[..place]).is_empty(), "cut at {place}");
        }
        assert_eq!(is_whole(r#"{"key":"a:charge:1"}"#), None, "another program's");
        assert_eq!(is_whole(&text[..text.len() - 3]), None, "cut short");
        assert_eq!(is_whole(&text.replacen("500", "400", 1)), Some(false));
    }
}
