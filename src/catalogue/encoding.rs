//! Detects the encoding of a file: from its first bytes, and for CSV from all of its bytes, because spreadsheets write
//! CSV in the encoding of the computer and do not state it.
//!
//! Depends on `chardetng`, `encoding_rs` and its neighbour `error`.

use std::io::{self, ErrorKind, Read};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, MACINTOSH, UTF_8, WINDOWS_1252};

use crate::catalogue::{dos, error::RowError};

/// How many bytes are read at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Within how many bytes the declaration of an XML file must end.
const DECLARATION_BYTES: usize = 512;
/// The longest incomplete character at the end of a chunk, in bytes.
const UNFINISHED_BYTES_MAX: usize = 3;

/// Files that are not text, by their first bytes.
const BINARY: [(&[u8], &str); 5] = [
    (b"PK\x03\x04", "an Excel workbook (.xlsx), an OpenDocument file or a ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls)"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"%PDF", "a PDF document"),
];

/// The encoding of a JSON Lines file: that of its byte order mark, or UTF-8.
///
/// # Errors
/// The source fails, or the file is not text.
pub(super) fn of_json(input: &mut impl Read) -> io::Result<Result<&'static Encoding, RowError>> {
    let mut beginning = [0; 4];
    let length = read_up_to(input, &mut beginning)?;
    Ok(of_beginning(&beginning[..length]).map(|found| found.unwrap_or(UTF_8)))
}

/// The encoding of an XML file: that of its byte order mark or its declaration, or UTF-8.
///
/// # Errors
/// The source fails, the file is not text, or its encoding is unknown.
pub(super) fn of_xml(input: &mut impl Read) -> io::Result<Result<&'static Encoding, RowError>> {
    let mut beginning = [0; DECLARATION_BYTES];
    let length = read_up_to(input, &mut beginning)?;
    let found = match of_beginning(&beginning[..length]) {
        Ok(found) => found,
        Err(error) => return Ok(Err(error)),
    };
    let declaration = String::from_utf8_lossy(&beginning[..length]);
    let declared = declaration.split_once("?>").and_then(|(declaration, _)| declaration.split_once("encoding="));
    let label = declared.and_then(|(_, value)| value.split(['"', '\'']).nth(1));
    Ok(match (found, label) {
        (Some(found), _) => Ok(found),
        (None, None) => Ok(UTF_8),
        (None, Some(label)) => {
            Encoding::for_label(label.trim().as_bytes()).ok_or(RowError::Encoding { guess: "an unknown encoding" })
        }
    })
}

/// The encoding of a CSV file, which is read to its end.
///
/// # Errors
/// The source fails, or the encoding cannot be determined.
pub(super) fn of_csv(input: &mut impl Read) -> io::Result<Result<&'static Encoding, RowError>> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut length = read_up_to(input, &mut chunk)?;
    match of_beginning(&chunk[..length]) {
        Ok(None) => {}
        Ok(Some(encoding)) => return Ok(Ok(encoding)),
        Err(error) => return Ok(Err(error)),
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    let (mut kept, mut is_utf_8, mut is_other) = (0, false, false);
    let mut readings = [Reading::of(WINDOWS_1252), Reading::of(MACINTOSH), Reading::of_dos()];
    while length > kept {
        let bytes = &chunk[..length];
        detector.feed(&bytes[kept..], false);
        let whole = length - if length == CHUNK_BYTES { unfinished(bytes) } else { 0 };
        for piece in bytes[..whole].utf8_chunks() {
            is_utf_8 |= !piece.valid().is_ascii();
            is_other |= !piece.invalid().is_empty();
        }
        if is_other && !is_utf_8 {
            readings.iter_mut().for_each(|reading| bytes[kept..].iter().for_each(|&byte| reading.feed(byte)));
        }
        chunk.copy_within(whole..length, 0);
        kept = length - whole;
        length = kept + read_up_to(input, &mut chunk[kept..])?;
    }
    // If some characters are UTF-8, the others are damaged: their rows are refused one by one.
    if is_utf_8 || !is_other {
        return Ok(Ok(UTF_8));
    }
    detector.feed(&[], true);
    let guess = detector.guess(None, Utf8Detection::Deny);
    let [windows, mac, dos] = readings.map(|reading| reading.strange);
    // Excel writes these two if it is told to; they have no bytes of their own that would tell them.
    let other = if mac < dos { (mac, "Mac Roman (macintosh)") } else { (dos, "a code page of MS-DOS (cp850)") };
    Ok(match other {
        (strange, guess) if windows > 0 && (strange == 0 || strange * 4 < windows) => Err(RowError::Encoding { guess }),
        _ if guess == WINDOWS_1252 => Ok(guess),
        _ => Err(RowError::Encoding { guess: guess.name() }),
    })
}

/// A file as it would read in an encoding of one byte for each character.
struct Reading {
    /// The characters of the bytes from 0x80 on.
    characters: Vec<char>,
    last: char,
    /// A sign behind a letter, which is strange if another letter follows.
    sign: Option<char>,
    /// How many characters stand where no text has them.
    strange: u64,
}

/// Signs that stand between two letters in ordinary texts.
const WITHIN_WORDS: &str = "\u{a0}\u{ad}‘’´·–—…×®™°&«»“”";
/// Signs that stand before a word, never directly behind one.
const BEFORE_WORDS: &str = "‚„¿¡ˆ";

impl Reading {
    fn of(encoding: &'static Encoding) -> Self {
        let bytes: Vec<u8> = (0x80..=0xff).collect();
        Self::with(encoding.decode_without_bom_handling(&bytes).0.chars().collect())
    }

    fn of_dos() -> Self {
        Self::with(dos::CP850.chars().collect())
    }

    fn with(characters: Vec<char>) -> Self {
        Self { characters, last: ' ', sign: None, strange: 0 }
    }

    fn feed(&mut self, byte: u8) {
        let character = match byte.checked_sub(0x80) {
            None => char::from(byte),
            Some(at) => self.characters.get(usize::from(at)).copied().unwrap_or('\u{fffd}'),
        };
        let is_high = byte >= 0x80;
        let is_letter = character.is_alphabetic();
        let behind_letter = self.last.is_alphabetic();
        let is_strange = match () {
            // A byte that the encoding does not have.
            () if is_high && (character.is_control() || character == '\u{fffd}') => true,
            () if is_letter && self.sign.take().is_some() => true,
            // A capital within a word of small letters.
            () if is_letter => is_high && character.is_uppercase() && self.last.is_lowercase(),
            () => is_high && behind_letter && BEFORE_WORDS.contains(character),
        };
        self.strange += u64::from(is_strange);
        let may_be_strange = is_high && !is_letter && behind_letter && !WITHIN_WORDS.contains(character);
        self.sign = may_be_strange.then_some(character);
        self.last = character;
    }
}

/// An encoding that can be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    Standard(&'static Encoding),
    Dos(dos::Table),
}

/// The encoding with the name that the user gave, such as `windows-1250`.
pub(super) fn named(label: &str) -> Option<Known> {
    match label.trim().to_lowercase().as_str() {
        "cp850" | "ibm850" | "850" | "dos" => Some(Known::Dos(dos::CP850)),
        "cp437" | "ibm437" | "437" => Some(Known::Dos(dos::CP437)),
        "mac" | "macroman" | "mac-roman" => Some(Known::Standard(MACINTOSH)),
        label => Encoding::for_label(label.as_bytes()).map(Known::Standard),
    }
}

/// The error of an encoding that is not known.
pub(super) fn unknown(label: &str) -> io::Error {
    let known = "utf-8, utf-16le, utf-16be, windows-1250 to windows-1258, windows-874, iso-8859-1 to iso-8859-16, \
        macintosh, x-mac-cyrillic, cp437, cp850, ibm866, koi8-r, koi8-u, gbk, gb18030, big5, euc-jp, shift_jis, euc-kr";
    io::Error::new(ErrorKind::InvalidInput, format!("no encoding {label:?} is known; known are {known}"))
}

fn of_beginning(bytes: &[u8]) -> Result<Option<&'static Encoding>, RowError> {
    let is_utf_32 = matches!(
        bytes,
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] | [1..=255, 0, 0, 0, ..] | [0, 0, 0, 1..=255, ..]
    );
    if is_utf_32 {
        return Err(RowError::Encoding { guess: "UTF-32" });
    }
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return Ok(Some(encoding));
    }
    if let Some((_, what)) = BINARY.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Err(RowError::Binary { what });
    }
    if bytes.iter().take(4).any(|&byte| byte == 0) {
        return Err(RowError::Encoding { guess: "UTF-16 without a byte order mark" });
    }
    Ok(None)
}

/// How many bytes at the end may belong to a character that continues in the next chunk.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(UNFINISHED_BYTES_MAX)..];
    tail.iter().position(|&byte| byte >= 0xc0).map_or(0, |at| tail.len() - at)
}

fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match input.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
