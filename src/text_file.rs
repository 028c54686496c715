//! Small texts that people and other programs write: settings, secrets, tokens, scripts, passwords that are piped in.
//!
//! Programs on Windows put a byte order mark in front, write UTF-16, and end lines with CRLF. Whoever reads such a text
//! reads it here, so that the same file is good or bad for every command.
//!
//! May depend on `config`.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use encoding_rs::{Encoding, UTF_8};

use crate::config::layout::OTHERS_MODE;

/// The longest such file, in bytes: far more than any of them has, and little enough to be held.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The longest line that is piped in, in bytes: more than a password may have.
#[cfg(feature = "cli")]
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// What the group may do with a credential of systemd. A list (ACL) allows the service alone to read it, and the mode
/// of the group shows the most that the list allows to anybody.
const CREDENTIAL_MODE: u32 = 0o040;

/// The text of a file, without a byte order mark.
///
/// # Errors
/// It cannot be read, is longer than 16 MiB, or is no text.
pub fn read(path: &Path) -> io::Result<String> {
    text(File::open(path)?, FILE_BYTES_MAX)
}

/// Warns where others than its owner can read or change a file with secrets.
pub fn warn_if_open(path: &Path) {
    // Whether it can be read at all is found out by reading it.
    let Ok(found) = std::fs::metadata(path) else { return };
    let mode = found.permissions().mode() & 0o777;
    if mode & if is_credential(path) { OTHERS_MODE & !CREDENTIAL_MODE } else { OTHERS_MODE } != 0 {
        let (file, mode) = (path.display(), format!("{mode:03o}"));
        tracing::warn!(%file, %mode, "a file with secrets is open to others: run chmod go= on it");
    }
}

/// Whether systemd gives this file to the service.
fn is_credential(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|directory| path.starts_with(directory))
}

/// The first line of what is piped in, such as a password, without its line end and otherwise as it stands.
///
/// # Errors
/// It cannot be read, is longer than 16 KiB, or is no text.
#[cfg(feature = "cli")]
pub fn first_line(input: impl Read) -> io::Result<String> {
    Ok(text(input, LINE_BYTES_MAX)?.lines().next().unwrap_or_default().to_owned())
}

fn text(input: impl Read, bytes_max: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    input.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(invalid(format!("it is longer than {bytes_max} bytes")));
    }
    let (encoding, mark) = Encoding::for_bom(&bytes).unwrap_or((UTF_8, 0));
    match encoding.decode_without_bom_handling_and_without_replacement(&bytes[mark..]) {
        // NUL is a character, but in no text: this is UTF-16 without a mark, or no text at all.
        Some(text) if !text.contains('\0') => Ok(text.into_owned()),
        _ => Err(invalid("it is not UTF-8 text".to_owned())),
    }
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_system_are_the_same() {
        let line = "pässword with blanks ";
        let utf_16 = |unit: fn(u16) -> [u8; 2]| {
            std::iter::once(0xfeff).chain(line.encode_utf16()).flat_map(unit).collect::<Vec<u8>>()
        };
        for bytes in [
            line.as_bytes().to_vec(),
            format!("{line}\n").into_bytes(),
            format!("\u{feff}{line}\r\nmore").into_bytes(),
            utf_16(u16::to_le_bytes),
            utf_16(u16::to_be_bytes),
        ] {
            assert_eq!(first_line(&bytes[..]).unwrap(), line);
        }
        assert_eq!(first_line(&b""[..]).unwrap(), "");
    }

    #[test]
    fn what_is_no_text_or_too_long_is_refused_and_not_cut() {
        for bytes in [&b"caf\xe9"[..], b"a\0b\0c\0", b"\xff\xfe\x00\xd8"] {
            assert_eq!(first_line(bytes).unwrap_err().to_string(), "it is not UTF-8 text");
        }
        let long = "x".repeat(16 * 1024);
        assert_eq!(first_line(long.as_bytes()).unwrap(), long);
        assert_eq!(first_line(format!("{long}x").as_bytes()).unwrap_err().to_string(), "it is longer than 16384 bytes");
        assert!(read(Path::new("/dev/zero")).unwrap_err().to_string().contains("longer"));
    }
}
