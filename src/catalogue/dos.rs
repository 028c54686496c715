//! The encodings of MS-DOS, in which Excel still writes "CSV (MS-DOS)" in Europe and America. The standard of encodings
//! for the web does not have them.
//!
//! Depends on `std` only.

use std::io::{self, Read};

/// The characters of the bytes from 0x80 on.
pub(super) type Table = &'static str;

/// Western Europe: code page 850.
pub(super) const CP850: Table = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐\
    └┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";
/// America: code page 437.
pub(super) const CP437: Table = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// The longest character of these encodings in UTF-8, in bytes.
const CHARACTER_BYTES_MAX: usize = 3;

/// Decodes a source to UTF-8.
pub(super) struct Decoder<R> {
    input: R,
    characters: Vec<char>,
}

impl<R: Read> Decoder<R> {
    pub(super) fn new(input: R, table: Table) -> Self {
        Self { input, characters: table.chars().collect() }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // It is read with large buffers only.
        let mut bytes = vec![0; (buffer.len() / CHARACTER_BYTES_MAX).max(1)];
        let read = self.input.read(&mut bytes)?;
        let mut length = 0;
        for &byte in &bytes[..read] {
            let character = match byte.checked_sub(0x80) {
                None => char::from(byte),
                Some(at) => self.characters[usize::from(at)],
            };
            if length + character.len_utf8() > buffer.len() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            length += character.encode_utf8(&mut buffer[length..]).len();
        }
        Ok(length)
    }
}
