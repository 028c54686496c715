//! The headers of answers, by their status and what they show. Each is described once, and named where it occurs.
//!
//! Headers that every answer of HTTP has (`Content-Type`, `Content-Length`, `Vary`, `Date`) are not described.
//!
//! Depends on its neighbours.

use serde_json::{Map, Value, json};

use super::{
    super::{
        responses::{JSON, PROBLEM_JSON},
        version,
    },
    SCHEMAS,
};

/// The operation whose answers say where the order is, whatever became of the payment.
const PAYS: &str = "pay";
/// The schemas of what has a version that `If-Match` can name.
const VERSIONED: [&str; 4] = ["AccountBody", "CartBody", "ProductBody", "Stock"];

/// The headers, for the components of the document.
pub(super) fn all() -> Value {
    let text = || json!({ "type": "string" });
    let count = || json!({ "type": "integer", "minimum": 1 });
    let headers = [
        ("X-Request-Id", "The name of the request: the client's, or a new one", text(), json!("6f1c0f3e9b7a4d52")),
        (
            "Souk-Version",
            "The version of the API that answered: a date",
            json!({ "type": "string", "format": "date" }),
            json!(version::CURRENT),
        ),
        ("Cache-Control", "Who may keep the answer, and for how long", text(), json!("private, no-cache")),
        (
            "ETag",
            "Identifies what the answer shows, for If-None-Match and If-Match",
            text(),
            json!("\"p1-9c1f5b2a7e3d4860\""),
        ),
        (
            "Link",
            "The next page, with `rel=\"next\"`; absent on the last one",
            text(),
            json!("</products?limit=2&after=AWtleavH00U>; rel=\"next\""),
        ),
        (
            "Location",
            "Where the thing is",
            json!({ "type": "string", "format": "uri-reference" }),
            json!("/orders/b60817f7dca5c2961aa3865d07460622"),
        ),
        ("WWW-Authenticate", "`Bearer`, with the reason", text(), json!("Bearer error=\"invalid_token\"")),
        ("Retry-After", "Seconds until the same request may succeed", count(), json!(1)),
        ("Accept-Encoding", "The content codings that a body may have", text(), json!("zstd, br, gzip")),
        (
            "Idempotent-Replayed",
            "`true` where the answer repeats that of an earlier request with the same key",
            json!({ "type": "string", "enum": ["true"] }),
            json!("true"),
        ),
        (
            "RateLimit-Policy",
            "The quota of a client: its name, units `q`, seconds `w`. Absent where the request was refused uncounted",
            text(),
            json!("\"default\";q=12000;w=60"),
        ),
        (
            "RateLimit",
            "What is left of it: units `r`, seconds `t` until it is whole again, or until a refused request is admitted",
            text(),
            json!("\"default\";r=11996;t=1"),
        ),
    ];
    let described = headers.map(|(name, description, schema, example)| {
        (name.to_owned(), json!({ "description": description, "schema": schema, "example": example }))
    });
    Value::Object(described.into_iter().collect())
}

/// Names the headers of an operation's answers.
pub(super) fn complete(method: &str, operation: &mut Map<String, Value>) {
    let name = operation.get("operationId").and_then(Value::as_str).unwrap_or_default().to_owned();
    let takes_key = parameters(operation).any(|parameter| parameter["name"] == "Idempotency-Key");
    let is_list = parameters(operation).any(|parameter| parameter["name"] == "after");
    let creates = operation.get("responses").is_some_and(|responses| responses["201"].is_object());
    let is_counted = operation.get("responses").is_some_and(|responses| responses["429"].is_object());
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for (status, response) in responses.into_iter().flatten() {
        let answers = |media_type: &str| response["content"].get(media_type).is_some();
        let (is_json, is_problem, is_success) = (answers(JSON), answers(PROBLEM_JSON), status.starts_with('2'));
        let mut names = vec!["X-Request-Id", "Souk-Version", "Cache-Control"];
        if is_counted {
            names.extend(["RateLimit-Policy", "RateLimit"]);
        }
        if is_success && is_json && (method == "get" || shows_a_version(response)) || status == "304" {
            names.push("ETag");
        }
        if is_list && (is_success || status == "304") {
            names.push("Link");
        }
        if creates && is_success || name == PAYS && (is_success || status == "422") {
            names.push("Location");
        }
        if takes_key && (is_success || status == "422") {
            names.push("Idempotent-Replayed");
        }
        match status.as_str() {
            "202" if name == PAYS => names.push("Retry-After"),
            "401" => names.push("WWW-Authenticate"),
            "409" | "429" | "503" | "504" | "507" if is_problem => names.push("Retry-After"),
            "415" => names.push("Accept-Encoding"),
            _ => {}
        }
        for name in names {
            response["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
        }
    }
}

fn parameters(operation: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    operation.get("parameters").and_then(Value::as_array).into_iter().flatten()
}

/// Whether an answer to a write shows something whose next write may name it.
fn shows_a_version(response: &Value) -> bool {
    let schema = response["content"][JSON]["schema"]["$ref"].as_str().unwrap_or_default();
    VERSIONED.iter().any(|name| schema.strip_prefix(SCHEMAS) == Some(name))
}
