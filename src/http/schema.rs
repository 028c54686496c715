//! Compares JSON with its schema, and says of every field what is wrong with it, in the words of JSON.
//!
//! The schemas are those of the OpenAPI document, which are derived from the types of the bodies. Only a body that was
//! refused is compared: the good ones are read by serde alone. It is no whole implementation of JSON Schema: the words
//! that these schemas use are all it knows, and a word that it does not know refuses nothing.
//!
//! Depends on nothing of the crate.

use std::collections::BTreeMap;

use axum::body::Bytes;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// The most faults that are told of one body: who makes more has made the same one again and again.
pub(super) const FAULTS_MAX: usize = 100;
/// How a schema names another one.
const REFERENCE: &str = "#/components/schemas/";

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// A JSON pointer without its first `/`; empty for the whole body.
    pub(super) pointer: String,
    pub(super) detail: String,
}

impl Fault {
    /// The pointer as clients read it: a fragment.
    pub(super) fn json_pointer(&self) -> String {
        if self.pointer.is_empty() { "#".to_owned() } else { format!("#/{}", self.pointer) }
    }

    /// An entry of the `errors` of a problem.
    pub(super) fn to_json(&self) -> Value {
        json!({ "detail": self.detail, "pointer": self.json_pointer() })
    }
}

/// A body that was read, of which a problem can tell more faults.
#[derive(Clone)]
pub(super) struct ReadBody {
    bytes: Bytes,
    faults: fn(&[u8]) -> Vec<Fault>,
}

impl ReadBody {
    /// A body of this type.
    pub(super) fn of<T: ToSchema>(bytes: Bytes) -> Self {
        Self { bytes, faults: |bytes| value(bytes).map(|value| faults_of::<T>(&value)).unwrap_or_default() }
    }

    /// What its schema says against it.
    pub(super) fn faults(&self) -> Vec<Fault> {
        (self.faults)(&self.bytes)
    }
}

/// The first JSON value of a text.
pub(super) fn value(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde::Deserialize::deserialize(&mut serde_json::Deserializer::from_slice(bytes))
}

/// Everything that is wrong with a body of this type, in its own order; what is missing comes after what is there.
pub(super) fn faults_of<T: ToSchema>(value: &Value) -> Vec<Fault> {
    let mut named = Vec::new();
    T::schemas(&mut named);
    let json = |schema| serde_json::to_value(schema).unwrap_or_default();
    let named = named.into_iter().map(|(name, schema)| (name, json(schema))).collect();
    let root = json(T::schema());
    let mut reader = Reader { named, faults: Vec::new() };
    reader.compare(value, &root, "");
    reader.faults
}

/// What is wrong with the text of a parameter, whose schema this is.
pub(super) fn fault_of_text(text: &str, schema: &Value) -> Option<String> {
    let is_number = types(schema).any(|known| known == "integer" || known == "number");
    let value = match text.parse::<serde_json::Number>() {
        Ok(number) if is_number => Value::Number(number),
        _ => Value::String(text.to_owned()),
    };
    let mut reader = Reader { named: BTreeMap::new(), faults: Vec::new() };
    reader.compare(&value, schema, "");
    reader.faults.pop().map(|fault| fault.detail)
}

struct Reader {
    named: BTreeMap<String, Value>,
    faults: Vec<Fault>,
}

impl Reader {
    fn fault(&mut self, pointer: &str, detail: impl Into<String>) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { pointer: pointer.to_owned(), detail: detail.into() });
        }
    }

    /// The schema itself, if this one only names it.
    fn resolve(&self, schema: &Value) -> Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix(REFERENCE));
        name.and_then(|name| self.named.get(name)).unwrap_or(schema).clone()
    }

    fn compare(&mut self, value: &Value, schema: &Value, pointer: &str) {
        let schema = self.resolve(schema);
        if let Some(branches) = schema.get("oneOf").and_then(Value::as_array) {
            return self.compare_any(value, branches, pointer);
        }
        if types(&schema).next().is_some() && !types(&schema).any(|known| is_of(value, known)) {
            return self.fault(pointer, format!("must be {}", named_types(&schema)));
        }
        if let Some(known) = schema.get("enum").and_then(Value::as_array)
            && !known.contains(value)
        {
            let known: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
            return self.fault(pointer, format!("must be one of {}", known.join(", ")));
        }
        match value {
            Value::Object(members) => self.compare_object(members, &schema, pointer),
            Value::Array(items) => self.compare_list(items, &schema, pointer),
            Value::String(text) => {
                if let Some(detail) = fault_of_length(text.chars().count(), &schema, ["minLength", "maxLength"]) {
                    self.fault(pointer, format!("{detail} characters"));
                }
            }
            Value::Number(number) if !is_in_range(number, &schema) => {
                self.fault(pointer, format!("must be {}", named_types(&schema)));
            }
            _ => {}
        }
    }

    /// One of several: the one that is of the value's type says what is wrong.
    fn compare_any(&mut self, value: &Value, branches: &[Value], pointer: &str) {
        let branches: Vec<Value> = branches.iter().map(|branch| self.resolve(branch)).collect();
        match branches.iter().find(|branch| types(branch).any(|known| is_of(value, known))) {
            Some(branch) => self.compare(value, branch, pointer),
            None => {
                let names: Vec<String> = branches.iter().map(named_types).filter(|name| name != "null").collect();
                self.fault(pointer, format!("must be {}", names.join(" or ")));
            }
        }
    }

    fn compare_object(&mut self, members: &Map<String, Value>, schema: &Value, pointer: &str) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        for (name, value) in members {
            let at = below(pointer, name);
            match (properties.and_then(|known| known.get(name)), others) {
                (Some(known), _) => self.compare(value, known, &at),
                (None, Some(Value::Bool(false))) => self.fault(&at, "is no member of this object"),
                (None, Some(other)) => self.compare(value, other, &at),
                (None, None) => {}
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str).filter(|name| !members.contains_key(*name)) {
            self.fault(&below(pointer, name), "is missing");
        }
    }

    fn compare_list(&mut self, items: &[Value], schema: &Value, pointer: &str) {
        if let Some(detail) = fault_of_length(items.len(), schema, ["minItems", "maxItems"]) {
            self.fault(pointer, format!("{detail} items"));
        }
        let Some(known) = schema.get("items") else { return };
        for (index, item) in items.iter().enumerate() {
            self.compare(item, known, &below(pointer, &index.to_string()));
        }
    }
}

/// The pointer to a member.
pub(super) fn below(pointer: &str, name: &str) -> String {
    let name = name.replace('~', "~0").replace('/', "~1");
    if pointer.is_empty() { name } else { format!("{pointer}/{name}") }
}

/// The types of a schema: one, or a list.
fn types(schema: &Value) -> impl Iterator<Item = &str> {
    let (one, several) = match schema.get("type") {
        Some(Value::String(one)) => (Some(one.as_str()), None),
        Some(Value::Array(several)) => (None, Some(several)),
        _ => (None, None),
    };
    one.into_iter().chain(several.into_iter().flatten().filter_map(Value::as_str))
}

fn is_of(value: &Value, known: &str) -> bool {
    match known {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => true,
    }
}

/// The bounds of an integer: its own, or else those of its format.
fn bounds(schema: &Value) -> (i128, i128) {
    let stated = |name: &str| schema.get(name).and_then(|bound| Some(i128::from(bound.as_i64()?)));
    let (least, greatest) = match schema.get("format").and_then(Value::as_str) {
        Some("int32") => (i128::from(i32::MIN), i128::from(u32::MAX)),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    (stated("minimum").unwrap_or(least), stated("maximum").unwrap_or(greatest))
}

fn is_in_range(number: &serde_json::Number, schema: &Value) -> bool {
    let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    let (least, greatest) = bounds(schema);
    whole.is_none_or(|whole| (least..=greatest).contains(&whole))
}

/// The types of a schema, for people.
fn named_types(schema: &Value) -> String {
    let names = types(schema).filter(|known| *known != "null").map(|known| match known {
        "object" => "an object".to_owned(),
        "array" => "a list".to_owned(),
        "string" => "a string".to_owned(),
        "integer" => {
            let (least, greatest) = bounds(schema);
            format!("a whole number from {least} to {greatest}")
        }
        "number" => "a number".to_owned(),
        "boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    });
    let names: Vec<String> = names.collect();
    if names.is_empty() { "null".to_owned() } else { names.join(" or ") }
}

fn fault_of_length(length: usize, schema: &Value, [least, greatest]: [&str; 2]) -> Option<String> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    let length = length as u64;
    if let Some(least) = bound(least).filter(|least| length < *least) {
        return Some(format!("must have at least {least}"));
    }
    let greatest = bound(greatest).filter(|greatest| length > *greatest)?;
    Some(format!("must have at most {greatest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(ToSchema)]
    #[allow(dead_code, reason = "its schema is used")]
    struct Parcel {
        #[schema(min_length = 1, max_length = 3)]
        name: String,
        count: u32,
        weight: Option<u64>,
        /// Left out or null.
        inner: Option<Box<Inner>>,
        list: Option<Vec<Inner>>,
        words: BTreeMap<String, String>,
    }

    #[derive(ToSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "its schema is used")]
    struct Inner {
        flag: bool,
        delta: i64,
    }

    fn told(value: &Value) -> Vec<(String, String)> {
        faults_of::<Parcel>(value).into_iter().map(|fault| (fault.pointer, fault.detail)).collect()
    }

    #[test]
    fn every_fault_is_told_with_its_field() {
        let good = json!({"name": "a", "count": 4_294_967_295_u32, "words": {"a": "b"}, "inner": null,
            "list": [{"flag": true, "delta": -1}]});
        assert_eq!(told(&good), []);
        let bad = json!({"name": "long", "count": -1, "weight": 1.5, "words": {"a/b": 1},
            "list": [{"flag": 1, "delta": 9_223_372_036_854_775_808_u64, "x": null}, 7]});
        let expected = [
            ("count", "must be a whole number from 0 to 4294967295"),
            ("list/0/delta", "must be a whole number from -9223372036854775808 to 9223372036854775807"),
            ("list/0/flag", "must be true or false"),
            ("list/0/x", "is no member of this object"),
            ("list/1", "must be an object"),
            ("name", "must have at most 3 characters"),
            ("weight", "must be a whole number from 0 to 9223372036854775807"),
            ("words/a~1b", "must be a string"),
        ];
        assert_eq!(told(&bad), expected.map(|(at, detail)| (at.to_owned(), detail.to_owned())));
        let missing = told(&json!({"inner": {}}));
        let pointers: Vec<&str> = missing.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(pointers, ["inner/flag", "inner/delta", "name", "count", "words"]);
        assert_eq!(told(&json!(17)), [(String::new(), "must be an object".to_owned())]);
    }

    #[test]
    fn the_faults_of_one_body_are_bounded() {
        let list: Vec<Value> = (0..10_000).map(Value::from).collect();
        let body = json!({"name": "a", "count": 1, "words": {}, "list": list});
        assert_eq!(told(&body).len(), FAULTS_MAX);
    }

    #[test]
    fn texts_of_parameters_are_compared_too() {
        let limit = json!({"type": ["integer", "null"], "minimum": 1, "maximum": 100});
        assert_eq!(fault_of_text("7", &limit), None);
        for bad in ["0", "101", "x", "1.5", "", "18446744073709551616"] {
            assert_eq!(fault_of_text(bad, &limit).as_deref(), Some("must be a whole number from 1 to 100"), "{bad}");
        }
        let sort = json!({"type": "string", "enum": ["a", "b"]});
        assert_eq!(fault_of_text("c", &sort).as_deref(), Some("must be one of a, b"));
    }
}
