//! The file of the fake provider's ledger: JSON lines, one for each operation.
//!
//! The last member of each line is a checksum over the members before it, so that a changed digit is found.
//!
//! May depend on `domain`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    config::layout::FILE_MODE,
    domain::{money::Money, order::CaptureMode},
};

/// The effect of the operation that a line records.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerEffect {
    Captured,
    Held,
    Declined,
    Voided,
    Processing,
    Refunded,
    RefundFailed,
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// The order, the operation and its number, as [`crate::payments::OperationKey`] prints them.
    pub key: String,
    /// The amount of the operation.
    pub amount: Money,
    /// The token of the payment method; for a refund, the number of the refunded attempt; otherwise empty.
    pub method: String,
    /// The reason of a decline or of a failed refund.
    pub declined: Option<String>,
    /// What became of the money.
    pub effect: LedgerEffect,
    /// When the money of the payment is captured.
    pub capture: CaptureMode,
    /// The time, in milliseconds since 1970.
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

/// The first line of the ledger of a shop's built-in fake provider: it names the shop. The ledger of `souk gateway-sim`
/// has no such line.
#[derive(Serialize, Deserialize)]
struct Owner {
    /// The store of the shop's journal, in hexadecimal.
    store: String,
}

/// The text between a line's own members and its checksum.
const CHECKSUM: &str = r#","crc32c":""#;
/// The text after the checksum, which has eight hexadecimal digits.
const LINE_END: &str = r#""}"#;

/// Encodes a value as a line: its JSON, with the checksum as one more member.
pub(super) fn line(value: &impl Serialize) -> io::Result<String> {
    let json = serde_json::to_string(value)?;
    let members = json.strip_suffix('}').ok_or(io::ErrorKind::InvalidInput)?;
    Ok(format!("{members}{CHECKSUM}{:08x}{LINE_END}", crc32c::crc32c(members.as_bytes())))
}

/// Whether the checksum of a line is right; `None` if it has none, because another program wrote it, or because it was
/// cut short while it was written.
#[must_use]
pub fn is_whole(line: &str) -> Option<bool> {
    let (members, checksum) = line.strip_suffix(LINE_END)?.rsplit_once(CHECKSUM)?;
    Some(checksum == format!("{:08x}", crc32c::crc32c(members.as_bytes())))
}

/// Decodes a line, if its checksum is right.
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

/// Checks that the ledger is that of the shop with this store; a new or empty ledger is made that shop's. Warns of
/// lines that cannot be read.
pub(super) fn claim(path: &Path, store: u64) -> Result<(), LedgerError> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    let store = format!("{store:016x}");
    let mut lines = text.lines();
    let Some(first) = lines.next() else {
        // Written under another name first, so that a kill leaves no half of a line.
        let draft = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&draft)?;
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
            "lines of the fake provider's ledger cannot be read: it has forgotten what they say, \
             unless the shop was killed while it wrote them; put an undamaged ledger back if there is one"
        );
    }
    Ok(())
}

fn is_unreadable(line: &str) -> bool {
    !line.is_empty() && parse::<LedgerLine>(line).is_none()
}

/// The lines of a ledger's file. A line that was cut short by a kill or a full disk is left out, because its request
/// was never answered; so is a line with a wrong checksum.
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
            effect: LedgerEffect::Captured,
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
