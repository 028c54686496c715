//! The input files of a run: queries, baskets, tokens. Every error names the file and, if there is one, the line.
//!
//! Depends on `plan`.

use std::{fs, path::Path};

use serde_json::Value;

use crate::plan::{LoadError, PEOPLE_MAX};

/// The most lines of a cart in a Souk shop; further lines of a basket are ignored.
const LINES_MAX: usize = 200;
/// The most units of a line in a Souk shop; more are cut to this.
const UNITS_MAX: i64 = 10_000;

/// The number of units of each line.
pub(crate) type Basket = Vec<u32>;

fn wrong(path: &Path) -> impl Fn(String) -> LoadError {
    move |problem| LoadError::File { path: path.display().to_string(), problem }
}

/// The values of these columns, row by row.
fn table<const N: usize>(path: &Path, names: [&str; N]) -> Result<Vec<[String; N]>, LoadError> {
    let wrong = wrong(path);
    let mut reader = csv::Reader::from_path(path).map_err(|error| wrong(error.to_string()))?;
    let headers = reader.headers().map_err(|error| wrong(error.to_string()))?.clone();
    let mut columns = [0; N];
    for (column, name) in columns.iter_mut().zip(names) {
        let found = headers.iter().position(|header| header == name);
        *column = found.ok_or_else(|| wrong(format!("it has no column `{name}`")))?;
    }
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| wrong(error.to_string()))?;
        rows.push(columns.map(|column| row.get(column).unwrap_or_default().to_owned()));
    }
    Ok(rows)
}

/// Reads the column `query`.
pub(crate) fn queries(path: &Path) -> Result<Vec<String>, LoadError> {
    let rows = table(path, ["query"])?;
    let queries: Vec<String> = rows.into_iter().map(|[query]| query).filter(|query| !query.trim().is_empty()).collect();
    if queries.is_empty() { Err(wrong(path)("it has no queries".into())) } else { Ok(queries) }
}

/// Reads baskets: consecutive rows with the same `invoice` are the lines of one, with their `quantity`. Rows without a
/// positive quantity, which are returned goods, are left out.
pub(crate) fn baskets(path: &Path) -> Result<Vec<Basket>, LoadError> {
    let mut baskets: Vec<Basket> = Vec::new();
    let mut last = None;
    for (row, [invoice, quantity]) in (2..).zip(table(path, ["invoice", "quantity"])?) {
        let units: i64 =
            quantity.parse().map_err(|_| wrong(path)(format!("row {row}: `{quantity}` is not a whole number")))?;
        let Ok(units) = u32::try_from(units.min(UNITS_MAX)) else { continue };
        if units == 0 {
            continue;
        }
        if last.as_ref() != Some(&invoice) {
            baskets.push(Vec::new());
            last = Some(invoice);
        }
        if let Some(basket) = baskets.last_mut().filter(|basket| basket.len() < LINES_MAX) {
            basket.push(units);
        }
    }
    if baskets.is_empty() { Err(wrong(path)("it has no baskets".into())) } else { Ok(baskets) }
}

/// Reads sessions as `souk tokens` writes them: the answers to logins, a JSON line each.
pub(crate) fn sessions(path: &Path) -> Result<Vec<Value>, LoadError> {
    let wrong = wrong(path);
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let mut sessions = Vec::new();
    // Programs on Windows write a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    for (line, text) in (1..).zip(text.lines()) {
        let session: Value = serde_json::from_str(text).map_err(|error| wrong(format!("line {line}: {error}")))?;
        for member in ["role", "access_token", "access_expires_at", "refresh_token"] {
            if !session[member].is_string() {
                return Err(wrong(format!("line {line} has no `{member}`")));
            }
        }
        sessions.push(session);
    }
    match sessions.len() {
        0 => Err(wrong("it has no tokens".into())),
        1..=PEOPLE_MAX => Ok(sessions),
        _ => Err(wrong(format!("it has more than {PEOPLE_MAX} tokens"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_basket_has_the_lines_of_an_invoice_without_returns() {
        let text = "invoice,stock,quantity\n1,a,6\n1,b,1\n2,a,99999\nC3,a,-6\n4,a,0\n5,a,2\n5,b,-1\n";
        assert_eq!(baskets(file(text).path()).unwrap(), [vec![6, 1], vec![10_000], vec![2]]);
    }

    #[test]
    fn an_error_names_the_file_and_the_line() {
        let says = |error: LoadError, words: &str| assert!(error.to_string().contains(words), "{error}");
        says(baskets(file("invoice,quantity\n1,2\n1,many\n").path()).unwrap_err(), "row 3: `many`");
        says(baskets(file("invoice\n1\n").path()).unwrap_err(), "no column `quantity`");
        says(baskets(file("invoice,quantity\n").path()).unwrap_err(), "no baskets");
        says(queries(file("query\n \n").path()).unwrap_err(), "no queries");
        says(sessions(file("{}\n").path()).unwrap_err(), "line 1 has no `role`");
        says(sessions(file("{\"role\":\n").path()).unwrap_err(), "line 1: ");
        says(sessions(file("").path()).unwrap_err(), "no tokens");
        says(sessions(Path::new("/nowhere/at/all")).unwrap_err(), "/nowhere/at/all");
    }
}
