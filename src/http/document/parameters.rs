//! What a parameter means and which values it may have, by its name: the same in every operation.
//!
//! Depends on its neighbours, on `domain` and `shop`.

use serde_json::{Map, Value, json};

use super::{
    add,
    members::{HEX_ID, ORDER_NUMBER, PRODUCT_ID},
    named,
};
use crate::{domain::idempotency::KEY_CHARACTERS_MAX, shop::QUERY_BYTES_MAX};

/// An entity tag, weak or strong.
const ETAG: &str = r#"(W/)?"[!#-~]*""#;
/// The characters of a cursor.
const CURSOR: &str = "^[A-Za-z0-9_-]+$";

/// Completes the parameters of an operation.
pub(super) fn complete(operation: &mut Map<String, Value>) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten().filter_map(Value::as_object_mut) {
        let text = |member: &str| parameter.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, place) = (text("name"), text("in"));
        if let Some(schema) = parameter.get_mut("schema") {
            never_null(schema);
        }
        if name == "If-None-Match" {
            parameter.entry("example").or_insert_with(|| "\"p1-9c1f5b2a7e3d4860\"".into());
        }
        let Some((description, rules)) = known(&name, &place) else { continue };
        parameter.entry("description").or_insert_with(|| description.into());
        let replaces = rules["$ref"].is_string() || rules["anyOf"].is_array();
        match parameter.get_mut("schema").and_then(Value::as_object_mut).filter(|_| !replaces) {
            Some(schema) => add(schema, rules),
            None => drop(parameter.insert("schema".to_owned(), rules)),
        }
    }
}

/// A parameter is there or not; `null` is a value of JSON alone.
fn never_null(schema: &mut Value) {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|known| known != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema["type"] = only;
        }
    }
    if let Some(branches) = schema["oneOf"].as_array() {
        let mut branches = branches.iter().filter(|branch| branch["type"] != "null");
        if let (Some(only), None) = (branches.next(), branches.next()) {
            *schema = only.clone();
        }
    }
}

/// The description is empty where one stands beside the parameter.
fn known(name: &str, place: &str) -> Option<(&'static str, Value)> {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let time =
        || json!({ "anyOf": [{ "type": "string", "format": "date-time" }, { "type": "string", "format": "date" }] });
    Some(match name {
        "product_id" => ("The id of the product", text(PRODUCT_ID)),
        "order_id" => ("The id of the order", text(HEX_ID)),
        "seller_id" => ("The id of the seller", text(HEX_ID)),
        "seller" => ("Only products of this seller, by its id", text(HEX_ID)),
        "notice_id" => ("The id of the notice, from the list of notices", text("^[0-9]{1,9}-[0-9a-f]{32}$")),
        "provider" => ("The provider's name", text("^[a-z_]+$")),
        "currency" => ("Only prices in this currency", named("Currency")),
        "after" => ("The `next_cursor` of the page before", text(CURSOR)),
        "from" | "to" | "updated_since" => ("A time in RFC 3339, or a day (UTC)", time()),
        "number" if place == "query" => ("The number of the order for people", text(ORDER_NUMBER)),
        "number" => ("The number of the return within its order", json!({ "minimum": 1 })),
        "q" => ("", json!({ "maxLength": QUERY_BYTES_MAX })),
        "ticket" => ("A ticket for this order, in place of a token", json!({})),
        "keywords" => (
            "Percent-encoded words, a `/` as `%2F`",
            json!({ "type": "string", "minLength": 1, "maxLength": QUERY_BYTES_MAX }),
        ),
        "Idempotency-Key" => (
            "",
            json!({ "minLength": 1, "maxLength": KEY_CHARACTERS_MAX,
                "pattern": r#"^([!#-~]|[!#-~][ -~]{0,253}[!-~]|"[ !#-\[\]-~]{1,253}")$"# }),
        ),
        "If-Match" => (
            "The ETag that was read: if it has changed since, nothing is done (412)",
            text(&format!(r"^(\*|{ETAG}( *, *{ETAG})*)$")),
        ),
        "If-None-Match" => ("The ETag of the client's copy: if it is still right, the answer is 304", json!({})),
        "Last-Event-ID" => (
            "The id of the last event that was seen: the stream resumes after it",
            json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX }),
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_with_known_names_are_described_and_never_null() {
        let mut operation = json!({ "parameters": [
            { "name": "product_id", "in": "path", "schema": { "type": "string" } },
            { "name": "after", "in": "query", "description": "its own", "schema": { "type": ["string", "null"] } },
            { "name": "currency", "in": "query", "schema": { "type": ["string", "null"] } },
            { "name": "sort", "in": "query", "schema": { "oneOf": [{ "type": "null" }, { "$ref": "x" }] } },
        ] });
        complete(operation.as_object_mut().unwrap());
        let parameters = &operation["parameters"];
        assert_eq!(parameters[0]["schema"], json!({ "type": "string", "pattern": PRODUCT_ID }));
        assert_eq!(parameters[1]["description"], "its own");
        assert_eq!(parameters[1]["schema"], json!({ "type": "string", "pattern": CURSOR }));
        assert_eq!(parameters[2]["schema"], named("Currency"));
        assert_eq!(parameters[3]["schema"], json!({ "$ref": "x" }));
    }
}
