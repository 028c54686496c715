//! The rule for texts that people write and others see: names, titles, descriptions, notes, addresses.
//!
//! What a text shows is what it holds: no control characters, which break logs, terminals and files of commas, and no
//! lone marks of direction, with which one text turns around what stands behind it. A text of nothing but blanks, or of
//! characters that show nothing, is no text.
//!
//! Depends on nothing of the crate.

/// Whether a text may have several lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// It stands on one line: a name, a title.
    One,
    /// It may have line breaks and tabs: a description, a review.
    Many,
}

/// Whether a text can be shown: no control characters, and every mark of direction is closed.
pub(super) fn is_clean(text: &str, lines: Lines) -> bool {
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
    text.bytes().all(is_plain) || !text.chars().any(|one| is_control(one, lines)) && is_balanced(text)
}

/// Whether each character of a line shows something: two texts that look alike are then more often the same.
pub(crate) fn is_shown_throughout(text: &str) -> bool {
    is_clean(text, Lines::One) && !text.chars().any(is_invisible)
}

/// Whether a text shows nothing: it is empty, or has only spaces and invisible characters.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(|one| one.is_whitespace() || is_invisible(one))
}

/// C0, DEL and C1, and what breaks a line.
fn is_control(one: char, lines: Lines) -> bool {
    match one {
        '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => lines == Lines::One,
        other => other.is_control(),
    }
}

/// Whether every embedding, override and isolate is closed in its line (Unicode, annex 9), and nothing else is.
fn is_balanced(text: &str) -> bool {
    let mut open = Vec::new();
    for one in text.chars() {
        match one {
            '\u{202a}' | '\u{202b}' | '\u{202d}' | '\u{202e}' => open.push('\u{202c}'),
            '\u{2066}'..='\u{2068}' => open.push('\u{2069}'),
            '\u{202c}' | '\u{2069}' if open.pop() != Some(one) => return false,
            '\n' | '\r' | '\u{2028}' | '\u{2029}' if !open.is_empty() => return false,
            _ => {}
        }
    }
    open.is_empty()
}

/// Characters without a width: joiners, marks of direction, fillers.
fn is_invisible(one: char) -> bool {
    matches!(one,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_control_characters_are_refused() {
        for bad in ["a\0b", "\u{1b}[31m", "a\u{7f}", "a\u{85}b", "a\u{9f}", "a\u{8}"] {
            assert!(!is_clean(bad, Lines::One) && !is_clean(bad, Lines::Many), "{bad:?}");
        }
        for broken in ["a\nb", "a\tb", "a\r\nb", "a\u{2028}b"] {
            assert!(!is_clean(broken, Lines::One) && is_clean(broken, Lines::Many), "{broken:?}");
        }
        for good in ["", "plain", "Straße 1 – ½ €", "日本語", "👨\u{200d}👩\u{200d}👧", "नमस्ते", "עברית", "a\u{200e}b"]
        {
            assert!(is_clean(good, Lines::One), "{good:?}");
        }
    }

    #[test]
    fn marks_of_direction_are_closed_in_their_line() {
        for bad in
            ["\u{202e}gpj.exe", "a\u{202c}", "\u{2066}a\u{202c}", "\u{202b}a\n\u{202c}", "\u{2067}\u{202e}a\u{2069}"]
        {
            assert!(!is_clean(bad, Lines::Many), "{bad:?}");
        }
        for good in ["\u{202b}אב\u{202c} 1", "\u{2068}אב\u{2069}", "\u{2067}\u{202a}a\u{202c}\u{2069}"] {
            assert!(is_clean(good, Lines::One), "{good:?}");
        }
    }

    #[test]
    fn a_text_that_shows_nothing_is_blank() {
        for blank in ["", "  ", "\u{200b}", "\u{feff}\u{2060} ", "\u{200d}\u{3164}", "\u{ad}", "\u{2800}"] {
            assert!(is_blank(blank), "{blank:?}");
        }
        assert!(!is_blank(".") && !is_blank("\u{200b}a"));
    }
}
