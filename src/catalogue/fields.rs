//! The fields of an object of a catalogue row. They are taken one by one with their types checked, so that every error
//! names its field as it is written in the file.
//!
//! Depends on `domain` and its neighbours `value` and `error`.

use crate::{
    catalogue::{error::RowError, format::FIELDS, value::Value},
    domain::product::ATTRIBUTES_MAX,
};

/// From here on a number with a fraction is not exact (2^53), so as an attribute it must be written as text.
const EXACT_NUMBER_MAX: f64 = 9_007_199_254_740_992.0;

/// The fields of an object that have not been taken yet.
#[derive(Debug)]
pub(super) struct Fields(Vec<(String, Value)>);

impl Fields {
    /// The fields of `value`, which may be the common ones and `own`, each at most once.
    pub(super) fn of(value: Value, own: &[&str], place: &'static str) -> Result<Self, RowError> {
        let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).chain(own.iter().copied()).collect();
        Self::only(value, &known, place)
    }

    /// The fields of `value`, which may be those in `known`, each at most once.
    pub(super) fn only(value: Value, known: &[&str], place: &'static str) -> Result<Self, RowError> {
        let Value::Object(fields) = value else {
            return Err(RowError::NotAnObject { found: value.described() });
        };
        for (at, (name, _)) in fields.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(RowError::UnknownField { field: name.clone(), place });
            }
            if fields[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(RowError::Twice { field: name.clone() });
            }
        }
        Ok(Self(fields))
    }

    /// Takes a field; `None` if it is absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(field, _)| field == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Takes a field that is neither absent nor null.
    pub(super) fn given(&mut self, name: &str) -> Option<Value> {
        self.take(name).filter(|value| *value != Value::Null)
    }

    /// Takes a text, which may be blank.
    pub(super) fn any_text(&mut self, name: &str) -> Result<Option<String>, RowError> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a text", &other)),
        }
    }

    /// Takes a text; a blank one counts as absent.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, RowError> {
        Ok(self.any_text(name)?.filter(|text| !text.trim().is_empty()))
    }

    /// Takes a text, a number or a flag as text; a blank one counts as absent.
    pub(super) fn scalar(&mut self, name: &str) -> Result<Option<String>, RowError> {
        self.take(name).map_or(Ok(None), |value| scalar(name, value))
    }

    /// Takes a list of texts.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, RowError> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::List(list)) => texts(name, list).map(Some),
            Some(other) => Err(wrong(name, "a list of texts", &other)),
        }
    }

    /// Takes a whole number from 0 to `max`.
    pub(super) fn whole(&mut self, name: &str, max: u64) -> Result<Option<u64>, RowError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        match &value {
            Value::Number(number) => match number.as_u64() {
                Some(whole) if whole <= max => Ok(Some(whole)),
                Some(_) => Err(wrong(name, "smaller", &value)),
                None => Err(wrong(name, "a whole number from 0", &value)),
            },
            _ => Err(wrong(name, "a whole number from 0", &value)),
        }
    }

    /// Takes a number with or without a fraction.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<f64>, RowError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        match &value {
            Value::Number(number) => number.as_f64().map(Some).ok_or_else(|| wrong(name, "a number", &value)),
            _ => Err(wrong(name, "a number", &value)),
        }
    }

    /// Takes `true` or `false`.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, RowError> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::Flag(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(name, "true or false", &other)),
        }
    }

    /// Takes names and values: an object, or a list of `[name, value]` if names repeat. Values that are null or blank
    /// are dropped.
    pub(super) fn pairs(&mut self, name: &str) -> Result<Option<Vec<(String, String)>>, RowError> {
        let expected = "an object of texts, numbers and flags";
        let too_many = |count: usize| RowError::WrongType {
            field: name.into(),
            expected: "at most 200 names and values",
            found: count.to_string(),
        };
        let pairs = match self.given(name) {
            None => return Ok(None),
            // Checked here already, because the time of what follows grows with the square of their number.
            Some(Value::Object(list)) if list.len() > ATTRIBUTES_MAX => return Err(too_many(list.len())),
            Some(Value::List(list)) if list.len() > ATTRIBUTES_MAX => return Err(too_many(list.len())),
            Some(Value::Object(fields)) => {
                for (at, (field, _)) in fields.iter().enumerate() {
                    if fields[..at].iter().any(|(earlier, _)| earlier == field) {
                        return Err(RowError::Twice { field: format!("{name}.{field}") });
                    }
                }
                fields
            }
            Some(Value::List(list)) => {
                list.into_iter().map(|item| pair(name, item)).collect::<Result<Vec<_>, RowError>>()?
            }
            Some(other) => return Err(wrong(name, expected, &other)),
        };
        let mut texts = Vec::with_capacity(pairs.len());
        for (field, value) in pairs {
            if let Some(text) = scalar(&format!("{name}.{field}"), value)? {
                texts.push((field, text));
            }
        }
        Ok(Some(texts))
    }
}

/// The error of a field with a value of the wrong kind.
pub(super) fn wrong(field: &str, expected: &'static str, found: &Value) -> RowError {
    RowError::WrongType { field: field.into(), expected, found: found.described() }
}

/// The items of a list, all of which must be texts.
pub(super) fn texts(name: &str, list: Vec<Value>) -> Result<Vec<String>, RowError> {
    let text = |item| match item {
        Value::Text(text) => Ok(text),
        other => Err(wrong(name, "a list of texts", &other)),
    };
    list.into_iter().map(text).collect()
}

fn pair(name: &str, item: Value) -> Result<(String, Value), RowError> {
    let expected = "an object, or a list of [name, value]";
    match item {
        Value::List(list) => match <[Value; 2]>::try_from(list) {
            Ok([Value::Text(field), value]) => Ok((field, value)),
            Ok([other, _]) => Err(wrong(name, expected, &other)),
            Err(list) => Err(wrong(name, expected, &Value::List(list))),
        },
        other => Err(wrong(name, expected, &other)),
    }
}

fn scalar(name: &str, value: Value) -> Result<Option<String>, RowError> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Text(text) => text,
        Value::Flag(flag) => flag.to_string(),
        Value::Number(ref number) => match number.as_f64() {
            // `56.0` is written as 56; a shopper would take the fraction for a mistake.
            Some(decimal) if number.is_f64() && decimal.abs() < EXACT_NUMBER_MAX => decimal.to_string(),
            Some(_) if !number.is_f64() => number.to_string(),
            _ => return Err(wrong(name, "a text where the number is that large", &value)),
        },
        other => return Err(wrong(name, "a text, a number or a flag", &other)),
    };
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}
