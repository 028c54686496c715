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
}

/// Damage to any kind of cell.
pub(super) fn of_cell(cell: &str) -> Option<Damage> {
    let mark = cell.strip_prefix('#')?;
    let error = mark.ends_with(['!', '?']) && mark.chars().all(|c| c.is_uppercase() || "!?/0¡¿".contains(c));
    let only_marks = !mark.is_empty() && mark.chars().all(|c| c == '#');
    (error || only_marks || ["N/A", "NV", "N/D", "N/V"].contains(&mark)).then_some(Damage::FormulaError)
}

/// Damage to a cell that identifies something: an id, a SKU, a part number, a barcode.
pub(super) fn of_name(cell: &str) -> Option<Damage> {
    let digits_only = cell.bytes().all(|byte| byte.is_ascii_digit());
    if is_scientific(cell) {
        Some(Damage::Scientific)
    } else if ["TRUE", "FALSE", "WAHR", "FALSCH", "VRAI", "FAUX"].contains(&cell) {
        Some(Damage::Flag)
    } else if digits_only && cell.len() > EXACT_DIGITS + 1 && cell[EXACT_DIGITS..].bytes().all(|byte| byte == b'0') {
        Some(Damage::Rounded)
    } else {
        of_size(cell)
    }
}

/// Damage to a cell with a size or another option, where `1-3` is common.
pub(super) fn of_size(cell: &str) -> Option<Damage> {
    is_date(cell).then_some(Damage::Date)
}

/// Damage to a barcode, in addition to that of [`of_name`].
pub(super) fn of_barcode(code: &str) -> Option<Damage> {
    let digits_only = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit());
    if !digits_only || code.len() >= 12 || code.len() == 8 || code.len() < 7 || is_isbn_10(code) {
        return None;
    }
    let padded = |&digits: &usize| digits > code.len() && is_gtin(&format!("{code:0>digits$}"));
    GTIN_DIGITS[..3].iter().any(padded).then_some(Damage::LeadingZeros)
}

fn is_scientific(cell: &str) -> bool {
    let Some((number, power)) = cell.split_once(['E', 'e']) else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = number.split_once(['.', ',']).unwrap_or((number, "0"));
    digits(whole) && digits(fraction) && power.strip_prefix(['+', '-']).is_some_and(digits)
}

/// `1-Mar`, `Mar-01`, `01. Mrz`, `1-Mar-24`, and days with a year such as `01/03/2024`.
fn is_date(cell: &str) -> bool {
    let parts: Vec<&str> = cell.split(['-', '.', ' ', '/']).filter(|part| !part.is_empty()).collect();
    let number = |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    // Spreadsheets write `Mar` or `mars`; `12-MAR` is more likely a SKU.
    let month =
        |part: &str| part.chars().skip(1).all(char::is_lowercase) && MONTHS.contains(&part.to_lowercase().as_str());
    let separated = cell.contains(['-', '.', '/']);
    match parts[..] {
        [first, second] => separated && ((number(first) && month(second)) || (month(first) && number(second))),
        [day, middle, year] if separated && number(day) && month(middle) => number(year),
        [day, middle, year] => {
            let slashed = cell.matches('/').count() == 2 || cell.matches('.').count() == 2;
            slashed
                && number(day)
                && number(middle)
                && day.len() <= 2
                && middle.len() <= 2
                && year.len() == 4
                && number(year)
        }
        _ => false,
    }
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
        for cell in ["#1", "#hashtag", "C#", "# 5", ""] {
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
        assert_eq!(of_barcode("36000291452"), Some(Damage::LeadingZeros), "036000291452");
        for code in ["036000291452", "5901234123457", "96385074", "9971502100", "A-12345678"] {
            assert_eq!(of_barcode(code), None, "{code}");
        }
    }
}
