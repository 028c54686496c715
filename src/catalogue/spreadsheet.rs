//! Detects the damage that a spreadsheet does when it takes an id, a barcode or a size for a number or a date.
//!
//! Depends on `std`.

/// The names of months as spreadsheets shorten them: English, German, French, Spanish, Italian, Dutch.
const MONTHS: [&str; 47] = [
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
    "sept", // English
    "jän",
    "mär",
    "mrz",
    "mai",
    "okt",
    "dez", // German
    "janv",
    "févr",
    "mars",
    "avr",
    "juin",
    "juil",
    "août",
    "déc", // French
    "ene",
    "abr",
    "ago",
    "dic", // Spanish
    "gen",
    "mag",
    "giu",
    "lug",
    "set",
    "ott", // Italian
    "mrt",
    "mei",
    "januar",
    "februar",
    "märz",
    "april",
    "juni",
    "juli",
    "august",
    "september",
];

/// The names of months in other languages, after a day only, because some are also words: Portuguese, Polish,
/// Scandinavian, Turkish, Hungarian, Romanian, Czech, Russian.
const OTHER_MONTHS: [&str; 67] = [
    "fev", "out", "sty", "lut", "kwi", "maj", "cze", "lip", "sie", "wrz", "paź", "lis", "gru", "oca", "şub", "nis",
    "haz", "tem", "ağu", "eyl", "eki", "kas", "ara", "febr", "márc", "ápr", "máj", "jún", "júl", "szept", "ian", "iun",
    "iul", "noi", "led", "úno", "bře", "dub", "kvě", "čvn", "čvc", "srp", "zář", "říj", "pro", "янв", "фев", "мар",
    "апр", "май", "мая", "июн", "июл", "авг", "сен", "сент", "окт", "ноя", "нояб", "дек", "january", "february",
    "march", "june", "october", "november", "december",
];

/// The words for true and false: English, German, French, Spanish, Italian, Portuguese, Dutch, Swedish, Danish,
/// Norwegian, Finnish, Polish, Czech, Hungarian, Romanian, Turkish, Russian, Ukrainian, Greek; and numbers.
const TRUE: [&str; 20] = [
    "TRUE",
    "WAHR",
    "VRAI",
    "VERDADERO",
    "VERO",
    "VERDADEIRO",
    "WAAR",
    "SANT",
    "SAND",
    "SANN",
    "TOSI",
    "PRAWDA",
    "PRAVDA",
    "IGAZ",
    "ADEVĂRAT",
    "DOĞRU",
    "ИСТИНА",
    "ІСТИНА",
    "ΑΛΗΘΗΣ",
    "1",
];
const FALSE: [&str; 19] = [
    "FALSE",
    "FALSCH",
    "FAUX",
    "FALSO",
    "ONWAAR",
    "FALSKT",
    "FALSK",
    "USANN",
    "EPÄTOSI",
    "FAŁSZ",
    "NEPRAVDA",
    "HAMIS",
    "FALS",
    "YANLIŞ",
    "ЛОЖЬ",
    "ХИБНІСТЬ",
    "ΨΕΥΔΗΣ",
    "ЛЪЖА",
    "0",
];

/// The lengths of the barcodes with a check digit: EAN-8, UPC-A, EAN-13, GTIN-14.
const GTIN_DIGITS: [usize; 4] = [8, 12, 13, 14];
/// How many digits of a number a spreadsheet keeps.
const EXACT_DIGITS: usize = 15;

/// Why a cell does not contain its original value any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// `#REF!`, `#N/A`: the formula in the cell failed.
    FormulaError,
    /// `5.90123E+12`: digits have been lost.
    Scientific,
    /// `1-Mar`: it was something like `1-3`.
    Date,
    /// `TRUE`: it was a word or a formula.
    Flag,
    /// `12345678901234500000`: the digits after the fifteenth have become zeros.
    Rounded,
    /// A barcode whose check digit is right only with leading zeros.
    LeadingZeros,
    /// A barcode whose check digit is wrong.
    CheckDigit,
    /// `n/a`, `5,901,234,123,457`: not the digits of a barcode.
    NoBarcode,
}

/// Damage to any kind of cell.
pub(super) fn of_cell(cell: &str) -> Option<Damage> {
    (is_formula_error(cell) || is_loading(cell)).then_some(Damage::FormulaError)
}

/// `#REF!`, `#N/A`, `#GETTING_DATA`, a number that is too wide for its column, and LibreOffice's `Err:502`.
fn is_formula_error(cell: &str) -> bool {
    if let Some(number) = cell.strip_prefix("Err:") {
        return number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit());
    }
    let Some(mark) = cell.strip_prefix('#').filter(|mark| !mark.is_empty()) else { return false };
    let is_word = mark.chars().all(|c| c.is_uppercase() || "!?/0¡¿_".contains(c));
    let is_abbreviation =
        mark.split_once('/').is_some_and(|(first, rest)| first.chars().count() == 1 && !rest.is_empty());
    let is_error = mark.ends_with(['!', '?']) || mark.contains('_') || is_abbreviation;
    (is_word && is_error) || mark.chars().all(|c| c == '#') || ["NV", "YOK", "HIÁNYZIK"].contains(&mark)
}

/// What an online spreadsheet shows until a formula has its value.
fn is_loading(cell: &str) -> bool {
    ["#loading...", "loading...", "#loading…", "loading…"].contains(&cell.to_lowercase().as_str())
}

/// Damage to a word: a title.
pub(super) fn of_word(cell: &str) -> Option<Damage> {
    let is_capitals = cell.chars().all(char::is_uppercase);
    // `SAND` is also a colour.
    (is_capitals && cell != "SAND" && truth(cell).is_some()).then_some(Damage::Flag)
}

/// A truth value in the words of spreadsheets, which write it in the language of their user.
pub(super) fn truth(cell: &str) -> Option<bool> {
    let word = cell.to_uppercase();
    let is_in = |words: &[&str]| words.contains(&word.as_str());
    if is_in(&TRUE) { Some(true) } else { is_in(&FALSE).then_some(false) }
}

/// Damage to a cell that identifies something: an id, a SKU, a part number, a barcode.
pub(super) fn of_name(cell: &str) -> Option<Damage> {
    let digits_only = cell.bytes().all(|byte| byte.is_ascii_digit());
    if is_scientific(cell) {
        Some(Damage::Scientific)
    } else if digits_only && cell.len() > EXACT_DIGITS + 1 && cell[EXACT_DIGITS..].bytes().all(|byte| byte == b'0') {
        Some(Damage::Rounded)
    } else {
        of_word(cell).or_else(|| is_date(cell).then_some(Damage::Date))
    }
}

/// Damage to a cell with a size or another option, where `1-3` is common.
pub(super) fn of_size(cell: &str) -> Option<Damage> {
    of_word(cell).or_else(|| (is_date(cell) || is_iso_date(cell)).then_some(Damage::Date))
}

/// A barcode without what was put around its digits: an apostrophe in front, the `.0` of a number with a fraction.
pub(super) fn barcode(code: &str) -> &str {
    let code = code.strip_prefix('\'').unwrap_or(code);
    match code.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        _ => code,
    }
}

/// Damage to a barcode, in addition to that of [`of_name`]. A code with letters may be the shop's own; one of digits
/// that is as long as a GTIN is one.
pub(super) fn of_barcode(code: &str) -> Option<Damage> {
    let digits: String = code.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    let digits_only = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !digits_only || code.starts_with('-') {
        let has = |is: fn(&u8) -> bool| code.as_bytes().iter().any(is);
        let is_isbn = digits.len() == 10 && digits.ends_with(['X', 'x']);
        let is_own =
            has(u8::is_ascii_alphabetic) && has(u8::is_ascii_digit) && code.is_ascii() && !code.starts_with('-');
        let is_power = code.split_once(['E', 'e']).is_some_and(|(number, power)| {
            let plain =
                |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b".,+".contains(&b));
            plain(number) && plain(power)
        });
        return match () {
            () if is_power => Some(Damage::Scientific),
            () if is_own || is_isbn => None,
            () => Some(Damage::NoBarcode),
        };
    }
    if GTIN_DIGITS.contains(&digits.len()) {
        return (!is_gtin(&digits)).then_some(Damage::CheckDigit);
    }
    if digits.len() >= 12 || digits.len() < 7 || is_isbn_10(&digits) {
        return None;
    }
    let padded = |&length: &usize| length > digits.len() && is_gtin(&format!("{digits:0>length$}"));
    GTIN_DIGITS[..3].iter().any(padded).then_some(Damage::LeadingZeros)
}

/// `5.90123E+12`, and `5.90123E12`, which a SKU is not; `1E5` may be one.
fn is_scientific(cell: &str) -> bool {
    let Some((number, power)) = cell.split_once(['E', 'e']) else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let has_point = number.contains(['.', ',']);
    let (whole, fraction) = number.split_once(['.', ',']).unwrap_or((number, "0"));
    let has_power =
        power.strip_prefix(['+', '-']).is_some_and(digits) || (has_point && power.len() == 2 && digits(power));
    digits(whole) && digits(fraction) && has_power
}

/// `2024-10-08`.
fn is_iso_date(cell: &str) -> bool {
    let parts: Vec<&str> = cell.split('-').collect();
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts[..], [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2))
}

/// `1-Mar`, `Mar-01`, `01. Mrz`, `1-Mar-24`, `10月8日`, days with a year such as `01/03/2024` and `01/03/24`, and days
/// with a time.
fn is_date(cell: &str) -> bool {
    let day = [" 00:00:00", "T00:00:00", " 00:00", " 0:00"].iter().find_map(|time| cell.strip_suffix(time));
    if let Some(day) = day {
        return is_iso_date(day) || is_date(day);
    }
    if let Some((month, day)) = cell.strip_suffix('日').and_then(|day| day.rsplit_once('月')) {
        let month = month.rsplit_once('年').map_or(month, |(_, month)| month);
        return [month, day].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    }
    let parts: Vec<&str> = cell.split(['-', '.', ' ', '/']).filter(|part| !part.is_empty()).collect();
    let number = |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    // Spreadsheets write `Mar` or `mars`; `12-MAR` is more likely a SKU.
    let month =
        |part: &str| part.chars().skip(1).all(char::is_lowercase) && MONTHS.contains(&part.to_lowercase().as_str());
    let other_month =
        |part: &str| OTHER_MONTHS.contains(&part.to_lowercase().as_str()) && !part.ends_with(char::is_uppercase);
    let separated = cell.contains(['-', '.', '/']);
    match parts[..] {
        [first, second] => {
            separated && number(first) && (month(second) || other_month(second))
                || separated && month(first) && number(second)
        }
        [day, middle, year] if separated && number(day) && (month(middle) || other_month(middle)) => number(year),
        [day, middle, year] => {
            let slashed = cell.matches('/').count() == 2 || cell.matches('.').count() == 2;
            slashed
                && number(day)
                && number(middle)
                && day.len() <= 2
                && middle.len() <= 2
                && number(year)
                && (year.len() == 4 || (year.len() == 2 && cell.contains('/') && has_zero(day, middle)))
        }
        _ => false,
    }
}

/// Whether a day or a month is written with a zero in front, which no one does in `10/12/14` months.
fn has_zero(day: &str, month: &str) -> bool {
    [day, month].iter().any(|part| part.len() == 2 && part.starts_with('0'))
}

fn is_gtin(code: &str) -> bool {
    let weighted =
        code.bytes().rev().enumerate().map(|(at, byte)| u32::from(byte - b'0') * if at % 2 == 1 { 3 } else { 1 });
    weighted.sum::<u32>() % 10 == 0
}

fn is_isbn_10(code: &str) -> bool {
    code.len() == 10
        && (1..).zip(code.bytes().rev()).map(|(weight, byte)| u32::from(byte - b'0') * weight).sum::<u32>() % 11 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_by_a_spreadsheet_is_detected_and_other_cells_are_not() {
        for cell in ["#REF!", "#NAME?", "#N/A", "#VALUE!", "#DIV/0!", "#BEZUG!", "#####", "#NV"] {
            assert_eq!(of_cell(cell), Some(Damage::FormulaError), "{cell}");
        }
        for cell in [
            "Err:502",
            "#НЕТ_ДАННЫХ",
            "#Н/Д",
            "#LIEN_BLOQUE!",
            "#GETTING_DATA",
            "#LOADING...",
            "Loading...",
            "#ЗНАЧ!",
            "#N/DISP",
        ] {
            assert_eq!(of_cell(cell), Some(Damage::FormulaError), "{cell}");
        }
        for cell in ["#1", "#hashtag", "C#", "# 5", "", "#TAG", "Err:x", "Err: 502", "#"] {
            assert_eq!(of_cell(cell), None, "{cell}");
        }
        for (cell, damage) in [
            ("5.90123E+12", Damage::Scientific),
            ("5,90123E+12", Damage::Scientific),
            ("1E-05", Damage::Scientific),
            ("1-Mar", Damage::Date),
            ("Mar-01", Damage::Date),
            ("01. Mrz", Damage::Date),
            ("03/01/2024", Damage::Date),
            ("2-Sep-24", Damage::Date),
            ("TRUE", Damage::Flag),
            ("59012341234570000", Damage::Rounded),
        ] {
            assert_eq!(of_name(cell), Some(damage), "{cell}");
        }
        for cell in ["mug-1", "1E5", "MAR-2024", "1-3", "3.5.1", "true-blue", "5901234123457", "12-MAY", "2024-03-01"] {
            assert_eq!(of_name(cell), None, "{cell}");
        }
    }

    #[test]
    fn barcodes_sizes_and_truth_values_are_told_from_what_became_of_them() {
        assert_eq!(of_barcode("36000291452"), Some(Damage::LeadingZeros), "036000291452");
        for (code, damage) in [
            ("5.90123E12", Damage::Scientific),
            ("5E12", Damage::Scientific),
            ("5.901234123457E12", Damage::Scientific),
            ("5,901,234,123,457", Damage::NoBarcode),
            ("5.901.234.123.457", Damage::NoBarcode),
            ("-5901234123457", Damage::NoBarcode),
            ("n/a", Damage::NoBarcode),
            ("5.90123×10¹²", Damage::NoBarcode),
            ("5901230000000", Damage::CheckDigit),
            ("590-1234-123458", Damage::CheckDigit),
        ] {
            assert_eq!(of_barcode(code), Some(damage), "{code}");
        }
        for code in ["5901234123457.0", "5901234123457.00", "'5901234123457"] {
            assert_eq!(barcode(code), "5901234123457");
        }
        for cell in [
            "2024-10-08 00:00:00",
            "2024-10-08",
            "10月8日",
            "2024年10月8日",
            "08.paź",
            "8-maj",
            "8-fev",
            "8-out",
            "10/08/24",
        ] {
            assert_eq!(of_size(cell), Some(Damage::Date), "{cell}");
        }
        for cell in ["38/40", "1/2", "10/12/14", "out-1", "M", "2-3", "10.5", "SAND", "8-OUT", "True"] {
            assert_eq!(of_size(cell), None, "{cell}");
        }
        for (cell, value) in [("FALSCH", false), ("Faux", false), ("wahr", true), ("VERDADERO", true), ("1", true)] {
            assert_eq!(truth(cell), Some(value), "{cell}");
        }
        assert_eq!((truth("yes"), of_word("VERDADERO"), of_word("Vero")), (None, Some(Damage::Flag), None));
        for code in [
            "036000291452",
            "5901234123457",
            "96385074",
            "9971502100",
            "A-12345678",
            "978-3-16-148410-0",
            "080442957X",
            "590 1234 123457",
            "12345",
        ] {
            assert_eq!(of_barcode(code), None, "{code}");
        }
    }
}
