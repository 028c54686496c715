//! The fake provider's ledger: a file of JSON lines, one for each thing that happened to somebody's money.
//!
//! May depend on `domain`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};

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
    #[error(transparent)]
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
        let line = serde_json::to_string(&Owner { store }).map_err(io::Error::from)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&draft)?;
        file.write_all(line.as_bytes())?;
        return Ok(fs::rename(&draft, path)?);
    };
    match serde_json::from_str::<Owner>(first) {
        Ok(owner) if owner.store == store => {}
        Ok(_) => return Err(LedgerError::OtherShop),
        Err(_) => return Err(LedgerError::NoOwner),
    }
    let unreadable = lines.filter(|line| !line.is_empty() && serde_json::from_str::<LedgerLine>(line).is_err()).count();
    if unreadable > 0 {
        tracing::warn!(
            ledger = %path.display(), lines = unreadable,
            "lines of the simulated provider's ledger cannot be read: it has forgotten what they say, \
             unless the shop was killed while it wrote them"
        );
    }
    Ok(())
}

/// The lines of a ledger's file, as they stand there. One that was cut short by a kill or a full disk was never
/// answered and is left out.
///
/// # Errors
/// The file cannot be read.
pub fn read_ledger(path: &Path) -> io::Result<Vec<LedgerLine>> {
    let bytes = fs::read(path)?;
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
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
        for damaged in ["{}", "\n", "no line of ours", "\u{fffd}"] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(claim(&path, 7), Err(LedgerError::NoOwner)), "{damaged}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(claim(&path, 7), Err(LedgerError::Io(_))));
    }
}
