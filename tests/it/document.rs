//! The OpenAPI document, and what it says of an answer: the status, the media type, the headers, and the schema.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
};

use axum::http::{HeaderName, Method};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::Answer;

/// `/openapi.json`, which is the same for every shop.
pub(crate) static DESCRIPTION: OnceLock<Value> = OnceLock::new();

/// What stands in the components of the document, if this names it.
fn resolved(value: &Value) -> &Value {
    let shared = value["$ref"].as_str().and_then(|name| name.strip_prefix('#'));
    shared.map_or(value, |shared| DESCRIPTION.get().unwrap().pointer(shared).unwrap())
}

/// All operations of the document: path, method, description with all its parameters and answers.
pub(crate) fn operations() -> Vec<(String, String, Value)> {
    let description = DESCRIPTION.get().unwrap();
    let mut found = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let mut operation = operation.clone();
            for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
                *parameter = resolved(parameter).clone();
            }
            for response in operation["responses"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
                *response = resolved(response).clone();
            }
            found.push((path.clone(), method.to_uppercase(), operation));
        }
    }
    found
}

/// The path of the document that matches a request's path.
fn template(path: &str) -> Option<&'static str> {
    let paths = DESCRIPTION.get()?["paths"].as_object()?.keys().map(String::as_str);
    // Prefer a literal segment to a parameter, as the router does: parameters begin with `{`, which sorts last.
    let mut fitting: Vec<_> = paths.filter(|template| fits(template, path)).collect();
    fitting.sort_unstable();
    // A search without words has the route of a product.
    if path.starts_with("/products/search_item") {
        fitting.insert(0, "/products/search_item={keywords}");
    }
    fitting.first().copied()
}

fn fits(template: &str, path: &str) -> bool {
    // The keywords of a search may have slashes.
    if let Some(prefix) = template.strip_suffix("{keywords}") {
        return path.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    }
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) => {
                let (prefix, is_open) = wanted.split_once('{').map_or((wanted, false), |(prefix, _)| (prefix, true));
                let rest = given.strip_prefix(prefix);
                if rest.is_none_or(|rest| rest.is_empty() == is_open) {
                    return false;
                }
            }
            (Some(_), None) | (None, Some(_)) => return false,
        }
    }
}

/// Fails if the document says nothing of this answer, or something else.
#[track_caller]
pub(crate) fn hold_against_description(method: &Method, path: &str, answer: &Answer) {
    let Some(template) = template(path) else { return };
    let operation = &DESCRIPTION.get().unwrap()["paths"][template][method.as_str().to_lowercase()];
    let status = answer.status.as_u16();
    if operation.is_null() {
        let expected = match *method {
            Method::OPTIONS => 204,
            _ if path.contains('%') => 400,
            _ => 405,
        };
        assert_eq!(status, expected, "{method} {path} is not described: {answer:?}");
        return;
    }
    let documented = resolved(&operation["responses"][status.to_string()]);
    assert!(documented.is_object(), "{method} {template} does not document {status}: {answer:?}");
    let content_type = answer.header("content-type").split(';').next().unwrap_or_default();
    if !answer.text.is_empty() {
        let types = documented["content"].as_object().map(|types| types.keys().cloned().collect::<Vec<_>>());
        let types = types.unwrap_or_default();
        assert!(types.iter().any(|known| known == content_type), "{method} {template}: {types:?}, not {content_type}");
        if content_type.ends_with("json") {
            let schema = &documented["content"][content_type]["schema"];
            hold_against_schema(&format!("{method} {template} {status}"), schema, &answer.json());
        }
    }
    for name in answer.headers.keys().map(HeaderName::as_str) {
        let described = documented["headers"].as_object().into_iter().flat_map(|headers| headers.keys());
        let is_known = UNDESCRIBED.contains(&name) || name.starts_with("access-control-");
        let is_described = is_known || described.into_iter().any(|known| known.eq_ignore_ascii_case(name));
        assert!(is_described, "{method} {template} {status} does not document {name}: {answer:?}");
    }
}

/// Headers of HTTP itself, which no description has.
const UNDESCRIBED: [&str; 5] = ["content-type", "content-length", "content-encoding", "vary", "x-content-type-options"];

/// The schemas that were compiled, by where they stand in the document.
static SCHEMAS: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());

fn validator(place: &str, schema: &Value) -> Arc<Validator> {
    let known = SCHEMAS.lock().unwrap().get(place).cloned();
    known.unwrap_or_else(|| {
        let mut whole = schema.clone();
        whole["components"] = DESCRIPTION.get().unwrap()["components"].clone();
        let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&whole).unwrap();
        let validator = Arc::new(validator);
        SCHEMAS.lock().unwrap().insert(place.to_owned(), validator.clone());
        validator
    })
}

#[track_caller]
fn hold_against_schema(place: &str, schema: &Value, body: &Value) {
    let faults: Vec<_> = validator(place, schema).iter_errors(body).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{place} answers what its schema does not allow: {faults:?} {body}");
}

/// Whether a body is what the named schema of the document allows.
pub(crate) fn is_allowed(schema: &str, body: &Value) -> bool {
    validator(schema, &json!({"$ref": format!("#/components/schemas/{schema}")})).is_valid(body)
}
