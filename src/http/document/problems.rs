//! The schemas of problems, from the table of their types: each type that has members of its own is a schema of its
//! own, which its code tells from the others.
//!
//! Depends on its neighbours.

use serde_json::{Map, Value, json};

use super::{
    super::error::{
        TYPE_BASE,
        kinds::{self, Kind, Presence, Shape},
    },
    members::HEX_ID,
    named,
};

const PROBLEM: &str = "Problem";
const PLAIN: &str = "PlainProblem";

/// Replaces the general schema of problems by one for each type.
pub(super) fn complete(schemas: &mut Map<String, Value>) {
    let Some(general) = schemas.get(PROBLEM).cloned() else { return };
    let (typed, plain): (Vec<&Kind>, Vec<&Kind>) =
        kinds::ALL.iter().copied().partition(|kind| !kind.members.is_empty());
    let codes: Vec<&str> = plain.iter().map(|kind| kind.code).collect();
    let mut whole = without_errors(&general);
    whole["description"] = "A problem without members of its own.".into();
    whole["properties"]["code"] = code(&codes);
    schemas.insert(PLAIN.to_owned(), whole);
    let mut branches = Vec::new();
    for kind in typed {
        let name = schema_name(kind);
        branches.push(named(&name));
        schemas.insert(name, schema(&general, kind));
    }
    branches.push(named(PLAIN));
    let description =
        "A problem (RFC 9457). Its code says of which type it is, and which members it has beside the standard ones.";
    schemas.insert(PROBLEM.to_owned(), json!({ "description": description, "oneOf": branches }));
}

/// `insufficient-stock` is `InsufficientStockProblem`.
fn schema_name(kind: &Kind) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    kind.code.split('-').map(capital).collect::<String>() + PROBLEM
}

/// The members that every problem has.
fn without_errors(general: &Value) -> Value {
    let mut schema = general.clone();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.remove("errors");
    }
    schema
}

fn schema(general: &Value, kind: &Kind) -> Value {
    let mut schema = without_errors(general);
    schema["description"] = kind.meaning.into();
    let mut example = json!({
        "type": format!("{TYPE_BASE}{}", kind.code),
        "title": kind.title,
        "status": kind.status.as_u16(),
        "detail": kind.meaning,
        "code": kind.code,
        "instance": "/path/of/the/request",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    });
    for member in kind.members {
        let (mut shape, value) = shape(member.shape);
        shape["description"] = member.description.into();
        schema["properties"][member.name] = shape;
        if member.presence == Presence::Always {
            if let Some(required) = schema["required"].as_array_mut() {
                required.push(member.name.into());
            }
            example[member.name] = value;
        }
    }
    schema["properties"]["code"] = code(&[kind.code]);
    schema["example"] = example;
    schema
}

fn code(codes: &[&str]) -> Value {
    json!({ "type": "string", "description": "Identifies the type.", "enum": codes })
}

/// The schema of a member, and a value.
fn shape(shape: Shape) -> (Value, Value) {
    let money = || json!({ "amount": 129_900, "currency": "INR" });
    match shape {
        Shape::Text => (json!({ "type": "string" }), json!("demo-000007")),
        Shape::Texts => (json!({ "type": "array", "items": { "type": "string" } }), json!(["demo-000007"])),
        Shape::Id => (json!({ "type": "string", "pattern": HEX_ID }), json!("b60817f7dca5c2961aa3865d07460622")),
        Shape::Number => (json!({ "type": "integer", "minimum": 0 }), json!(1)),
        Shape::Money => (named("Money"), money()),
        Shape::OrderStatus => (named("OrderStatus"), json!("shipped")),
        Shape::Faults => (
            json!({ "type": "array", "minItems": 1, "items": named("FieldError") }),
            json!([{ "detail": "is missing", "pointer": "#/shipping_address" }]),
        ),
    }
}
