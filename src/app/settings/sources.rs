//! Settings as a file and the environment give them, each checked for its kind.
//!
//! No value is converted: a fraction is no whole number, and `1` is not `true`. A setting that was rounded would be
//! charged to customers before anybody saw it.
//!
//! May depend on `text_file`.

use std::{collections::BTreeMap, path::Path};

use toml::{Table, Value};

use super::SettingsError;
use crate::text_file;

/// What the names of environment variables with settings begin with, in either case.
const VARIABLES: &str = "SOUK_";
/// Settings that have no default. All of them are texts.
const OPTIONAL: [&str; 10] = [
    "admin_listen",
    "payments.url",
    "payments.key",
    "payments.key_file",
    "payments.webhook_secrets",
    "payments.webhook_secrets_file",
    "payments.return_url",
    "payments.simulated_ledger",
    "tls.certificate_file",
    "tls.key_file",
];

/// A setting that a source gives.
pub(super) struct Given {
    /// The file's path, or the variable's name.
    pub(super) origin: String,
    /// The name, with its group: `limits.in_flight_max`.
    pub(super) name: String,
    pub(super) value: Value,
}

/// All settings by their names, each with a value of its kind.
pub(super) fn known(defaults: &Table) -> Table {
    let mut known = defaults.clone();
    for name in OPTIONAL {
        set(&mut known, name, Value::String(String::new()));
    }
    known
}

/// Sets a value by its name.
pub(super) fn set(all: &mut Table, name: &str, value: Value) {
    match name.split_once('.') {
        None => drop(all.insert(name.to_owned(), value)),
        Some((group, name)) => {
            let group = all.entry(group).or_insert_with(|| Value::Table(Table::new()));
            if let Some(group) = group.as_table_mut() {
                set(group, name, value);
            }
        }
    }
}

/// The settings of a TOML file, read as every small text is.
pub(super) fn of_file(file: &Path, known: &Table) -> Result<Vec<Given>, SettingsError> {
    let origin = file.display().to_string();
    let failed = |problem: String| SettingsError::Source { origin: origin.clone(), problem };
    let text = text_file::read(file).map_err(|error| failed(error.to_string()))?;
    let table: Table =
        text.parse().map_err(|error: toml::de::Error| failed(error.to_string().trim_end().to_owned()))?;
    let mut given = Vec::new();
    collect(&table, known, "", &mut |name, value| given.push(Given { origin: origin.clone(), name, value }))
        .map_err(failed)?;
    Ok(given)
}

fn collect(table: &Table, known: &Table, group: &str, give: &mut impl FnMut(String, Value)) -> Result<(), String> {
    for (name, value) in table {
        let whole = if group.is_empty() { name.clone() } else { format!("{group}.{name}") };
        match (known.get(name), value) {
            (None, _) => return Err(unknown(&whole, known)),
            (Some(Value::Table(known)), Value::Table(table)) => collect(table, known, &whole, give)?,
            (Some(kind), value) => {
                check(kind, value).map_err(|problem| format!("{whole} {problem}"))?;
                give(whole, value.clone());
            }
        }
    }
    Ok(())
}

/// The settings of the environment.
pub(super) fn of_environment(variables: BTreeMap<String, String>, known: &Table) -> Result<Vec<Given>, SettingsError> {
    let mut given = Vec::new();
    for (origin, text) in variables {
        if !origin.get(..VARIABLES.len()).is_some_and(|start| start.eq_ignore_ascii_case(VARIABLES)) {
            continue;
        }
        let name = origin[VARIABLES.len()..].to_ascii_lowercase().replace("__", ".");
        match of_variable(&name, &text, known) {
            Ok(value) => given.push(Given { origin, name, value }),
            Err(problem) => return Err(SettingsError::Source { origin, problem }),
        }
    }
    Ok(given)
}

fn of_variable(name: &str, text: &str, known: &Table) -> Result<Value, String> {
    let (mut kind, mut group) = (None, known);
    for part in name.split('.') {
        kind = Some(group.get(part).ok_or_else(|| unknown(name, group))?);
        if let Some(Value::Table(inner)) = kind {
            group = inner;
        }
    }
    let Some(kind) = kind else { return Err(unknown(name, known)) };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = match (kind, text) {
        (Value::Integer(_), text) if is_number => text.parse().map(Value::Integer).ok(),
        (Value::Boolean(_), "true" | "false") => Some(Value::Boolean(text == "true")),
        _ => None,
    };
    let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
    check(kind, &value).map_err(|problem| format!("{name} {problem}"))?;
    Ok(value)
}

/// Checks that a value is of the kind of its setting. No text is shown: it may be a secret.
fn check(kind: &Value, value: &Value) -> Result<(), String> {
    match (kind, value) {
        (Value::Integer(_), Value::Integer(0..)) | (Value::Boolean(_), Value::Boolean(_)) => Ok(()),
        (Value::String(_), Value::String(text)) if !text.is_empty() => Ok(()),
        // The environment has no lists, so there the members stand in one text with commas between them.
        (Value::Array(_), Value::Array(_) | Value::String(_)) => Ok(()),
        (Value::String(_), Value::String(_)) => Err("is empty: leave it out, or give it a value".to_owned()),
        (Value::Integer(_), value) => Err(format!("must be a whole number from 0 to {}, not {value}", i64::MAX)),
        (Value::Boolean(_), value) => Err(format!("must be true or false, not {value}")),
        (Value::Array(_), value) => Err(format!("must be a list, not {value}")),
        (Value::Table(_), _) => Err("is a group of settings".to_owned()),
        _ => Err("must be a text in quotes".to_owned()),
    }
}

fn unknown(name: &str, group: &Table) -> String {
    let mut names: Vec<_> = group.keys().map(String::as_str).collect();
    names.sort_unstable();
    format!("there is no setting {name}, only {}", names.join(", "))
}
