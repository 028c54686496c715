//! E-mail addresses: brought to one spelling, so that two spellings are not two accounts.
//!
//! Only a received mail proves that an address exists. Only ASCII is allowed: an internationalised domain is written in
//! its `xn--` form, and a local part outside ASCII is refused, because Unicode normalisation is not implemented. A
//! domain without a dot is allowed (`root@localhost`): intranets and tests use them. Dots and `+tags` in the local part
//! are kept, because only some providers ignore them. Depends on `thiserror`.

/// The longest address, in bytes (RFC 5321, section 4.5.3.1.3, without the angle brackets).
pub const EMAIL_BYTES_MAX: usize = 254;
/// The longest local part (before the `@`), in bytes (RFC 5321, section 4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;
/// The longest label of a domain, in bytes (RFC 1035, section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// A text is not an e-mail address. The error does not repeat the text, which could be a mistyped password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address: {rule}")]
pub struct InvalidEmail {
    /// The rule that the text breaks.
    pub rule: &'static str,
}

/// The canonical spelling of an address: trimmed and in lower case.
///
/// # Errors
/// [`InvalidEmail`] with the rule that the text breaks.
pub fn normalise(text: &str) -> Result<String, InvalidEmail> {
    let broken = |rule| Err(InvalidEmail { rule });
    let text = text.trim();
    if text.len() > EMAIL_BYTES_MAX {
        return broken("at most 254 characters");
    }
    let Some((local, domain)) = text.split_once('@') else {
        return broken("one @ between a name and a domain");
    };
    // The characters of an atom of RFC 5322, and the dot. Quoted local parts are not supported: nobody uses them.
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+-/=?^_`{|}~".contains(&byte);
    if local.is_empty() || local.len() > LOCAL_BYTES_MAX || !local.bytes().all(legal) {
        return broken("1 to 64 ASCII letters, digits or symbols before the @");
    }
    let is_label = |label: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let inner_hyphens = !label.starts_with('-') && !label.ends_with('-');
        (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(legal) && inner_hyphens
    };
    if !domain.split('.').all(is_label) {
        return broken("a domain of ASCII letters, digits, hyphens and dots after the @");
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        for text in ["asha@example.com", " Asha@Example.COM\n", "ASHA@EXAMPLE.COM"] {
            assert_eq!(normalise(text).as_deref(), Ok("asha@example.com"), "{text:?}");
        }
        for kept in ["a.b+tag@x.y", "root@localhost", "o'brien@xn--bcher-kva.example", "a@1.2.3"] {
            assert_eq!(normalise(kept).as_deref(), Ok(kept));
        }
        let longest = format!("{}@{}.{}.{}", "l".repeat(64), "d".repeat(63), "d".repeat(63), "d".repeat(61));
        assert_eq!(longest.len(), 254);
        assert!(normalise(&longest).is_ok());
        assert!(normalise(&format!("{longest}d")).is_err());
    }

    #[test]
    fn other_texts_are_refused() {
        let long_local = format!("{}@x.y", "l".repeat(65));
        for text in [
            "",
            "@",
            "a",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a@b c",
            "a\0@b",
            "a@b\u{7f}",
            "a@b\r\nBcc: c@d",
            "\"a\"@b",
            "a@[1.2.3.4]",
            "a@-b",
            "a@b-",
            "a@b..c",
            "a@.b",
            "a@b.",
            "ä@b",
            "a@bücher.de",
            "a@b\u{200b}",
            &long_local,
        ] {
            assert!(normalise(text).is_err(), "{text:?}");
        }
    }
}
