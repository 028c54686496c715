//! E-mail addresses: brought to one form, so that two forms of one address are not two accounts.
//!
//! Only a received mail proves that an address exists. Addresses may be internationalised (RFC 6531): the whole is in
//! Unicode's NFKC and the name before the `@` in lower case; the domain is in its `xn--` form (UTS 46), however it was
//! written. A domain has a dot, and its last label a letter: neither `localhost` nor an address of the network receives
//! mail from elsewhere. Dots and `+tags` in the name are kept, because only some providers ignore them.
//!
//! Depends on `domain`, `icu_normalizer`, `idna`, `thiserror`.

use icu_normalizer::ComposingNormalizerBorrowed;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::domain::text::is_shown_throughout;

/// The longest address, in bytes (RFC 5321, section 4.5.3.1.3, without the angle brackets).
pub const EMAIL_BYTES_MAX: usize = 254;
/// The longest text that is looked at, in bytes: one form of a letter is at most a few times as long as another.
const TEXT_BYTES_MAX: usize = 4 * EMAIL_BYTES_MAX;
/// The longest local part (before the `@`), in bytes (RFC 5321, section 4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;

/// A text is not an e-mail address. The error does not repeat the text, which could be a mistyped password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address: {rule}")]
pub struct InvalidEmail {
    /// The rule that the text breaks.
    pub rule: &'static str,
}

const TOO_LONG: InvalidEmail = InvalidEmail { rule: "at most 254 bytes" };
const AT: InvalidEmail = InvalidEmail { rule: "one @ between a name and a domain" };
const LOCAL: InvalidEmail =
    InvalidEmail { rule: "before the @ at most 64 bytes of letters, digits, symbols, and single dots between them" };
const DOMAIN: InvalidEmail = InvalidEmail { rule: "after the @ a domain such as example.org" };

/// The canonical form of an address, without blanks around it.
///
/// # Errors
/// [`InvalidEmail`] with the rule that the text breaks.
pub fn normalise(text: &str) -> Result<String, InvalidEmail> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TOO_LONG);
    }
    let text = ComposingNormalizerBorrowed::new_nfkc().normalize(text.trim());
    let (local, domain) = text.split_once('@').ok_or(AT)?;
    if domain.contains('@') {
        return Err(AT);
    }
    let address = format!("{}@{}", normalise_local(local)?, normalise_domain(domain)?);
    if address.len() > EMAIL_BYTES_MAX { Err(TOO_LONG) } else { Ok(address) }
}

/// A dot-atom of RFC 5322, with the letters of RFC 6531. Quoted names are not supported: nobody uses them.
fn normalise_local(local: &str) -> Result<String, InvalidEmail> {
    // A letter in lower case may be several characters that are not composed.
    // Whether a capital sigma becomes one at the end of a word depends on what follows, so both are one letter.
    let lower = local.to_lowercase().replace('ς', "σ");
    let local = ComposingNormalizerBorrowed::new_nfkc().normalize(&lower).into_owned();
    let is_atom = |atom: &str| !atom.is_empty() && atom.chars().all(is_of_atom);
    let is_legal = local.len() <= LOCAL_BYTES_MAX && local.split('.').all(is_atom) && is_shown_throughout(&local);
    if is_legal { Ok(local) } else { Err(LOCAL) }
}

fn is_of_atom(one: char) -> bool {
    one.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(one) || !one.is_ascii() && !one.is_whitespace()
}

fn normalise_domain(domain: &str) -> Result<String, InvalidEmail> {
    let (hyphens, length) = (Hyphens::CheckFirstLast, DnsLength::Verify);
    let ascii = Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::STD3, hyphens, length);
    let ascii = ascii.map_err(|_| DOMAIN)?;
    let last = ascii.rsplit_once('.').map(|(_, last)| last);
    let is_public = last.is_some_and(|last| last.bytes().any(|byte| byte.is_ascii_alphabetic()));
    if is_public { Ok(ascii.into_owned()) } else { Err(DOMAIN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(forms: &[&str], canonical: &str) {
        for form in forms {
            assert_eq!(normalise(form).as_deref(), Ok(canonical), "{form:?}");
        }
    }

    #[test]
    fn an_address_has_one_form() {
        same(&["asha@example.com", " Asha@Example.COM\n", "ASHA@EXAMPLE.COM"], "asha@example.com");
        same(&["ａｓｈａ＠ｅｘａｍｐｌｅ．ｃｏｍ", "asha@example。com"], "asha@example.com");
        same(&["ΝΙΚΟΣ.ΠΑΠΠΑΣ@example.com", "νικος.παππας@example.com"], "νικοσ.παππασ@example.com");
        for kept in ["a.b+tag@x.yz", "o'brien@xn--bcher-kva.example", "a@1.2.example", "a@r3---sn.example"] {
            same(&[kept], kept);
        }
        let longest = format!("{}@{}.{}.{}", "l".repeat(64), "d".repeat(63), "d".repeat(63), "d".repeat(61));
        assert_eq!(longest.len(), 254);
        assert!(normalise(&longest).is_ok());
        assert!(normalise(&format!("{longest}d")).is_err());
        assert_eq!(normalise(&"ä".repeat(100_000)), Err(TOO_LONG));
    }

    #[test]
    fn an_internationalised_address_has_one_form() {
        let domains =
            ["info@übung.example", "info@u\u{308}bung.example", "INFO@ÜBUNG.example", "info@XN--BUNG-ZRA.EXAMPLE"];
        same(&domains, "info@xn--bung-zra.example");
        same(&["a@faß.example"], "a@xn--fa-hia.example");
        same(&["a@fass.example"], "a@fass.example");
        same(&["Jürgen@example.org", "ju\u{308}rgen@example.org", "JÜRGEN@example.org"], "jürgen@example.org");
        same(&["संपर्क@उदाहरण.भारत"], "संपर्क@xn--p1b6ci4b4b3a.xn--h2brj9c");
        same(&["почта@пример.рф", "ПОЧТА@ПРИМЕР.РФ"], "почта@xn--e1afmkfd.xn--p1ai");
        assert!(normalise(&format!("{}@example.org", "ä".repeat(32))).is_ok());
        assert_eq!(normalise(&format!("{}@example.org", "ä".repeat(33))), Err(LOCAL));
    }

    #[test]
    fn other_texts_are_refused() {
        let long_local = format!("{}@x.yz", "l".repeat(65));
        for text in [
            "",
            "@",
            "a",
            "a@",
            "@b.example",
            "a@b@c.example",
            "a b@c.example",
            "a@b c.example",
            "a\0@b.example",
            "a@b\u{7f}.example",
            "a@b.example\r\nBcc: c@d.example",
            "\"a\"@b.example",
            "a@[1.2.3.4]",
            "a@1.2.3.4",
            "a@-b.example",
            "a@b-.example",
            "a@b..example",
            "a@.b.example",
            "a@b.example.",
            "a@localhost",
            "a@b_c.example",
            "a..b@example.org",
            ".a@example.org",
            "a.@example.org",
            ".@example.org",
            "a@xn--.example",
            "a@xn--zzzzzzzzz999.example",
            "a\u{200b}@example.org",
            "a\u{202e}@example.org",
            "a\u{a0}b@example.org",
            "a\u{85}@example.org",
            "a@b\u{200b}.",
            &long_local,
        ] {
            assert!(normalise(text).is_err(), "{text:?}");
        }
    }
}
