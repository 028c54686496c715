//! The countries of ISO 3166-1 and Kosovo, and what a postal code of each looks like.
//!
//! Kosovo has the code `XK`, which ISO leaves to its users: people live there, and carriers, the European Union and
//! payment providers use it. Other codes of that kind name no country.
//!
//! The table says of every country whether it has postal codes and which forms they have, as the Universal Postal Union
//! lists them. A form says how many letters and digits there are, not which codes exist: it catches slips and codes of
//! another country, and a new code needs no new program. Tests compare the countries with another list.
//!
//! Depends on nothing of the crate.

use std::{collections::HashMap, sync::LazyLock};

/// The forms of postal codes, and the countries that have them.
///
/// In a form `9` is a digit, `@` a letter, `*` either, and anything else itself; `|` stands between forms. After `?`
/// the code may be left out: it exists, but mail arrives without. Codes are compared without blanks and hyphens, and
/// with the country's sign before them or not. Thailand's have five digits; six are taken, too: a form that is too wide
/// refuses nobody.
const FORMS: [(&str, &str); 57] = [
    (
        "",
        "AE AG AW BF BI BJ BQ BS BV BW BZ CF CG CI CK CM CW DJ DM ER FJ GA GD GM GQ GY HK HM KM KP ML MO MR QA RW \
         SB SC SL SR ST SX SY TD TF TG TK TO TV UG VU YE ZW",
    ),
    ("999", "AD FO IS"),
    ("9999", "AT AU AZ BE BG CC CH CX CY DK GL HU LI LU LV MD MK NF NO NZ PH SI SJ TN ZA"),
    (
        "99999",
        "AX BA BL CU CZ DE DZ EE EH ES FI FR GF GP GR HR ID IT KR LT MA MC ME MF MQ MX MY NC PF PK PL PM RE SE SK \
         SM TR UA VA WF YT",
    ),
    ("999999", "BY CN IN KG RO RU SG TJ TM UZ"),
    ("9999999", "JP PT"),
    ("99999999", "BR"),
    ("9999999999", "IR"),
    ("999|99999|999999", "TW"),
    ("9999|999999", "AM"),
    ("9999|@9999@@@", "AR"),
    ("99999|999999", "RS TH"),
    ("99999|9999999", "IL"),
    ("99999|999999999", "AS FM GU MH MP PR PW SA UM US VI"),
    ("999999|@99@9@9", "KZ"),
    ("99@@|999@@", "IM JE"),
    ("9999@@", "NL"),
    ("@9@9@9", "CA"),
    ("@99@@|@999@@|@@99@@|@@999@@|@9@9@@|@@9@9@@|GIR0AA|BFPO9|BFPO99|BFPO999|BFPO9999", "GB"),
    ("@@@99|@@@999|@@@9999", "MT"),
    ("GY99@@|GY999@@", "GG"),
    ("?999", "GN LS MG PG"),
    ("?9999", "AF AL AO BD BO CD CV ET GE GW HT KI KN LR MZ NE NU PA VC VG WS"),
    ("?99999", "BB BT DO EG GT IQ JO KE KW KY LA LC LK LY MN MU MV NA NI NP SD SN SS TL TZ UY XK ZM"),
    ("?999999", "CO EC MW NG"),
    ("?9999999", "CL"),
    ("?99|999|9999|99999", "JM"),
    ("?999|9999", "BH"),
    ("?999|999999|9999999|P9999999", "PS"),
    ("?999|PC999", "OM"),
    ("?9999|999999", "TT"),
    ("?9999|99999", "CR"),
    ("?9999|999999", "PY"),
    ("?9999|99999999", "LB"),
    ("?9999|9999@", "VE"),
    ("?9999|CP9999", "SV"),
    ("?9999|MSR9999", "MS"),
    ("?99999|999999", "KH VN"),
    ("?99999|9999999", "MM"),
    ("?99999|@@9999", "HN"),
    ("?99999|LIMA9|LIMA99|CALLAO9|CALLAO99", "PE"),
    ("?@*9999999|@*99999999", "GH"),
    ("?@9*****", "IE"),
    ("?@999", "SZ"),
    ("?@@**", "BM"),
    ("?@@9999", "BN"),
    ("?@@99999", "SO"),
    ("?2640", "AI"),
    ("?BBND1ZZ", "IO"),
    ("?BIQQ1ZZ", "AQ"),
    ("?FIQQ1ZZ", "FK"),
    ("?GX111AA", "GI"),
    ("?NRU68", "NR"),
    ("?PCRN1ZZ", "PN"),
    ("?SIQQ1ZZ", "GS"),
    ("?STHL1ZZ|ASCN1ZZ|TDCU1ZZ", "SH"),
    ("?TKCA1ZZ", "TC"),
];

/// What people write before a postal code, beside the country's two letters: the sign of its cars, which the post of
/// many European countries recommended for mail from abroad, or the word for a postal code.
const SIGNS: [(&str, &[&str]); 40] = [
    ("AR", &["CP"]),
    ("AT", &["A"]),
    ("AX", &["FI", "FIN"]),
    ("BA", &["BIH"]),
    ("BE", &["B"]),
    ("BR", &["CEP"]),
    ("CL", &["CP"]),
    ("CO", &["CP"]),
    ("CU", &["CP"]),
    ("DE", &["D"]),
    ("EE", &["EST"]),
    ("ES", &["E", "CP"]),
    ("FI", &["FIN", "SF"]),
    ("FO", &["FR", "DK"]),
    ("FR", &["F"]),
    ("GL", &["DK"]),
    ("HU", &["H"]),
    ("IN", &["PIN"]),
    ("IT", &["I", "CAP"]),
    ("JP", &["\u{3012}", "\u{3020}", "\u{3036}"]),
    ("KZ", &["KAZ"]),
    ("LI", &["FL"]),
    ("LU", &["L"]),
    ("MC", &["F"]),
    ("ME", &["MNE"]),
    ("MK", &["NMK"]),
    ("MX", &["CP"]),
    ("NO", &["N"]),
    ("PT", &["P"]),
    ("RS", &["SRB"]),
    ("RU", &["RUS"]),
    ("SE", &["S"]),
    ("SG", &["S"]),
    ("SI", &["SLO"]),
    ("SJ", &["N", "NO"]),
    ("SM", &["I", "IT", "RSM"]),
    ("UA", &["UKR"]),
    ("UY", &["CP"]),
    ("VA", &["I", "IT", "V", "SCV"]),
    ("XK", &["RKS", "KS"]),
];

/// The zeroes of the decimal digits in which people write postal codes, each with its nine followers behind it.
const ZEROES: [char; 13] = [
    '0', '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{be6}', '\u{c66}', '\u{e50}', '\u{ed0}',
    '\u{1040}', '\u{ff10}',
];

/// The codes of all countries.
pub(super) fn codes() -> impl Iterator<Item = &'static str> {
    FORMS.iter().flat_map(|(_, countries)| countries.split(' '))
}

/// A country of ISO 3166-1 and its postal codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Country<'a> {
    code: &'a str,
    forms: &'static str,
}

/// The forms of each country.
static FORMS_OF: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    let of =
        |(forms, countries): (&'static str, &'static str)| countries.split(' ').map(move |country| (country, forms));
    FORMS.into_iter().flat_map(of).collect()
});

/// What a country says of postal codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PostalCodes {
    /// There are none.
    None,
    /// Mail arrives without.
    Optional,
    /// Every address has one.
    Required,
}

impl<'a> Country<'a> {
    /// The country with these two capital letters.
    pub(super) fn of(code: &'a str) -> Option<Self> {
        FORMS_OF.get(code).map(|forms| Self { code, forms })
    }

    pub(super) fn postal_codes(self) -> PostalCodes {
        match self.forms.as_bytes() {
            [] => PostalCodes::None,
            [b'?', ..] => PostalCodes::Optional,
            _ => PostalCodes::Required,
        }
    }

    /// Whether a text can be a postal code of the country.
    pub(super) fn has_postal_code(self, text: &str) -> bool {
        let is_one = |code: &str| self.forms().any(|form| fits(form, code));
        // Most codes are written alone.
        let code = bare(text);
        if code.as_deref().is_some_and(is_one) {
            return true;
        }
        let signs = SIGNS.iter().find(|(country, _)| *country == self.code).map_or(&[][..], |(_, signs)| *signs);
        if let Some(code) = code {
            return signs.iter().chain([&self.code]).filter_map(|sign| code.strip_prefix(sign)).any(is_one);
        }
        // The Japanese signs are no letters.
        let others = signs.iter().filter(|sign| !sign.is_ascii());
        let behind = others.filter_map(|sign| bare(text.trim_start().strip_prefix(sign)?));
        behind.into_iter().any(|code| is_one(&code))
    }

    /// How its codes look, for people: `N` is a digit, `A` a letter.
    pub(super) fn shown_forms(self) -> String {
        let shown = |form: &str| form.replace('9', "N").replace('@', "A");
        self.forms().map(shown).collect::<Vec<_>>().join(" or ")
    }

    fn forms(self) -> impl Iterator<Item = &'static str> {
        self.forms.trim_start_matches('?').split('|')
    }
}

/// A code in ASCII capitals and digits, without blanks, hyphens, and the dots and colons that people write after a
/// sign. `None` if there is anything else in it.
fn bare(text: &str) -> Option<String> {
    let is_between = |one: char| one.is_whitespace() || is_hyphen(one) || matches!(one, '.' | ':');
    text.chars().filter(|one| !is_between(*one)).map(to_ascii).collect()
}

/// A hyphen, a dash, or what the keyboards of East Asia put in its place: the mark of a long vowel, wide or narrow.
fn is_hyphen(one: char) -> bool {
    matches!(
        one,
        '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{30fc}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' | '\u{ff70}'
    )
}

/// The digit or the capital letter that a character stands for.
fn to_ascii(one: char) -> Option<char> {
    let value = u32::from(one);
    match one {
        'a'..='z' | 'A'..='Z' => Some(one.to_ascii_uppercase()),
        // The wide letters of East Asian keyboards.
        '\u{ff21}'..='\u{ff3a}' => char::from_u32(value - 0xff21 + u32::from('A')),
        '\u{ff41}'..='\u{ff5a}' => char::from_u32(value - 0xff41 + u32::from('A')),
        _ => {
            let digit =
                ZEROES.into_iter().find_map(|zero| value.checked_sub(u32::from(zero)).filter(|digit| *digit < 10));
            digit.and_then(|digit| char::from_digit(digit, 10))
        }
    }
}

fn fits(form: &str, code: &str) -> bool {
    form.len() == code.len()
        && form.bytes().zip(code.bytes()).all(|(wanted, given)| match wanted {
            b'9' => given.is_ascii_digit(),
            b'@' => given.is_ascii_uppercase(),
            b'*' => given.is_ascii_alphanumeric(),
            itself => given == itself,
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_countries_are_those_of_another_list() {
        let listed: Vec<&str> = codes().collect();
        let ours: BTreeSet<&str> = listed.iter().copied().collect();
        assert_eq!((listed.len(), ours.len()), (250, 250), "each once");
        for first in 'A'..='Z' {
            for second in 'A'..='Z' {
                let code = format!("{first}{second}");
                let is_listed = code.parse::<iso_country::Country>().is_ok() || code == "XK";
                assert_eq!(ours.contains(&*code), is_listed, "{code}");
            }
        }
        for none in ["", "XX", "ZZ", "UK", "EU", "in", "IND", "I", "AE AG", "IN ", "\u{ff29}\u{ff2e}"] {
            assert_eq!(Country::of(none), None, "{none:?}");
        }
    }

    #[test]
    fn codes_have_the_form_of_their_country() {
        for (country, code) in [
            ("AD", "AD500"),
            ("AR", "C1070AAM"),
            ("AR", "1070"),
            ("AZ", "AZ 1000"),
            ("BB", "BB23026"),
            ("BR", "40301-110"),
            ("CA", "h3z 2y7"),
            ("CZ", "100 00"),
            ("DE", "10115"),
            ("EG", "١٢٤١١"),
            ("FR", "75 001"),
            ("GB", "EC1Y 8SY"),
            ("GB", "M1 1AE"),
            ("GB", "SW1A1AA"),
            ("GB", "GIR 0AA"),
            ("GG", "GY1 1AA"),
            ("GH", "AK-039-5028"),
            ("IE", "D6W XY00"),
            ("IM", "IM2 1AA"),
            ("IN", "110 034"),
            ("IN", "४११००१"),
            ("IR", "11936-12345"),
            ("JP", "154-0023"),
            ("JP", "１５４‐００２３"),
            ("KY", "KY1-1100"),
            ("LT", "LT-04340"),
            ("LU", "L-4750"),
            ("LV", "LV-1073"),
            ("MT", "NXR 01"),
            ("NL", "1234 ab"),
            ("PL", "00-950"),
            ("PT", "2725-079"),
            ("SG", "546080"),
            ("TH", "10260"),
            ("TW", "104"),
            ("US", "95014"),
            ("US", "22162-1010"),
            ("VC", "VC0100"),
        ] {
            assert!(Country::of(country).unwrap().has_postal_code(code), "{country} {code}");
        }
        for (country, code) in [
            ("DE", "1011"),
            ("DE", "D0115"),
            ("DE", "101150"),
            ("GB", "411001"),
            ("GB", "EC1Y"),
            ("IN", "41100"),
            ("IN", "4110011"),
            ("IN", "ABCDEF"),
            ("IN", "411,001"),
            ("IN", "411001\0"),
            ("US", "9501"),
            ("US", "SW1A 1AA"),
            ("NL", "1234"),
            ("HK", "999077"),
            ("IN", ""),
        ] {
            assert!(!Country::of(country).unwrap().has_postal_code(code), "{country} {code}");
        }
    }

    #[test]
    fn a_code_may_have_before_it_what_people_of_the_country_write() {
        let is_code = |(country, code): (&str, &str)| Country::of(country).unwrap().has_postal_code(code);
        for taken in [
            ("AR", "CP 1070"),
            ("AT", "A-1010"),
            ("BR", "CEP: 01310-100"),
            ("IN", "PIN: 411001"),
            ("MX", "C.P. 06000"),
            ("SG", "S546080"),
            ("BE", "B-1000"),
            ("BR", "CEP 01310-100"),
            ("CH", "CH-8001"),
            ("DE", "D-10115"),
            ("DE", "d 10115"),
            ("DE", "DE-10115"),
            ("ES", "E-28001"),
            ("FI", "FIN-00100"),
            ("FR", "F-75001"),
            ("IN", "PIN 411001"),
            ("IT", "I-00118"),
            ("LI", "FL-9490"),
            ("LU", "L 1009"),
            ("MX", "CP 06000"),
            ("PT", "P-1000-001"),
            ("SE", "S-111 22"),
            ("SI", "SLO-1000"),
            ("XK", "10000"),
            ("XK", "XK-10000"),
            ("JP", "〒100-0001"),
            ("JP", " 〒 100 0001"),
            ("JP", "〒１００－０００１"),
            ("JP", "１００ー０００１"),
            ("JP", "100ｰ0001"),
        ] {
            assert!(is_code(taken), "{taken:?}");
        }
        for refused in [
            ("DE", "A-10115"),
            ("DE", "D-1011"),
            ("DE", "D-D-10115"),
            ("DE", "D"),
            ("DE", "〒10115"),
            ("AT", "D-1010"),
            ("CH", "A-8001"),
            ("JP", "100〒0001"),
            ("JP", "〒〒1000001"),
            ("JP", "〒"),
            ("JP", "〒1000"),
            ("US", "D-95014"),
        ] {
            assert!(!is_code(refused), "{refused:?}");
        }
    }

    #[test]
    fn forms_are_shown_as_the_postal_union_writes_them() {
        let shown = |code| Country::of(code).unwrap().shown_forms();
        assert_eq!((&*shown("IN"), &*shown("NL")), ("NNNNNN", "NNNNAA"));
        assert_eq!(shown("US"), "NNNNN or NNNNNNNNN");
        let asked = |code| Country::of(code).unwrap().postal_codes();
        assert_eq!(asked("HK"), PostalCodes::None);
        assert_eq!(asked("IE"), PostalCodes::Optional);
        assert_eq!(asked("IN"), PostalCodes::Required);
    }
}
