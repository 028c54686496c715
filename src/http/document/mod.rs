//! The OpenAPI document: what the descriptions beside the handlers say, completed by what holds everywhere.
//!
//! A handler's description says what only it knows. What is the same wherever it occurs is said once, in the tables
//! here: parameters and members by their names, headers of answers by their status, the words of each vocabulary, the
//! types of problems, and the examples, which a test executes.
//!
//! Depends on its neighbours and on `domain`.

mod examples;
mod headers;
mod members;
mod parameters;
mod problems;
mod shared;
mod texts;
mod vocabulary;

use std::sync::LazyLock;

use axum::{
    body::Bytes,
    http::{HeaderValue, header},
    response::Response,
};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::{DOCUMENT_RULE, context, responses::JSON, version};

/// What stands before the name of a schema that another one names.
const SCHEMAS: &str = "#/components/schemas/";
/// The tags of operations, in the order in which people read them.
const TAGS: [(&str, &str); 6] = [
    ("browsing", "Find products, read their pages and reviews. Nobody has to log in for that."),
    ("cart", "The caller's cart, which is kept for them."),
    ("orders", "Check out, pay, and follow an order until it is delivered, cancelled or returned."),
    ("accounts", "Register, log in and out, and be forgotten."),
    ("selling", "Products, stock, and the fulfilment of orders, for sellers and admins."),
    ("operations", "Health, metrics, keys, payments that need a decision: for operators and programs."),
];
const ABOUT: &str = "An online shop: browse, search, fill a cart, check out, pay and track orders; sell and operate.\n\n\
    Log in with `POST /auth/login` and send the `access_token` as `Authorization: Bearer …`. \
    Money is in minor units of an ISO 4217 currency, times are RFC 3339 in UTC with milliseconds, ids are opaque. \
    Errors are problems (RFC 9457): compare their `code`, whose types are described at `/problems`. \
    Repeat a request whose outcome you do not know with the same `Idempotency-Key`.\n\n\
    The version of the API is a date, which answers say in `Souk-Version`.";

/// The OpenAPI document; its servers have the prefix of the nested router.
pub(super) struct Document {
    /// It is made for whoever asks first, since many programs that embed a shop never ask.
    api: LazyLock<Value, Box<dyn FnOnce() -> Value + Send>>,
    /// The answer for the last prefix: all answers share its bytes.
    last: Mutex<Option<(String, Bytes)>>,
}

impl Document {
    /// The document of these routes.
    pub(super) fn of(api: OpenApi) -> Self {
        Self { api: LazyLock::new(Box::new(move || completed(&api))), last: Mutex::default() }
    }

    pub(super) fn answer(&self) -> Response {
        let prefix = context::public_path("");
        let mut last = self.last.lock();
        let bytes = match &*last {
            Some((of, bytes)) if *of == prefix => bytes.clone(),
            _ => last.insert((prefix.clone(), self.render(&prefix))).1.clone(),
        };
        let mut response = Response::new(bytes.into());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(DOCUMENT_RULE));
        response
    }

    fn render(&self, prefix: &str) -> Bytes {
        let mut api = LazyLock::force(&self.api).clone();
        let here = if prefix.is_empty() { "/" } else { prefix };
        api["servers"] = json!([{ "url": here, "description": "The shop that serves this document" }]);
        serde_json::to_vec(&api).unwrap_or_default().into()
    }
}

fn completed(api: &OpenApi) -> Value {
    let mut document = serde_json::to_value(api).unwrap_or_default();
    let info = &mut document["info"];
    info["description"] = ABOUT.into();
    info["contact"] = json!({ "name": "The operators of the shop" });
    document["tags"] =
        TAGS.iter().map(|(name, description)| json!({ "name": name, "description": description })).collect();
    // The router writes `*` for "the rest of the path", which is no part of the parameter's name.
    if let Some(paths) = document["paths"].as_object_mut() {
        *paths = std::mem::take(paths).into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    }
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        vocabulary::complete(schemas);
        members::complete(schemas);
        problems::complete(schemas);
    }
    document["components"]["headers"] = headers::all();
    document["components"]["parameters"] = json!({ "SoukVersion": {
        "name": "Souk-Version", "in": "header", "description": "The version of the API that the client was made for",
        "schema": { "type": "string", "enum": [version::CURRENT] }, "example": version::CURRENT,
    } });
    each_operation(&mut document, |method, operation| {
        // An operation that says nothing of security is for everybody.
        operation.entry("security").or_insert_with(|| json!([]));
        parameters::complete(operation);
        if let Some(parameters) = operation.entry("parameters").or_insert_with(|| json!([])).as_array_mut() {
            parameters.push(json!({ "$ref": "#/components/parameters/SoukVersion" }));
        }
        headers::complete(method, operation);
    });
    examples::complete(&mut document);
    shared::complete(&mut document);
    document
}

/// Calls a function with each operation of a document and its method.
fn each_operation(document: &mut Value, mut complete: impl FnMut(&str, &mut Map<String, Value>)) {
    let items = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for (method, operation) in items.filter_map(Value::as_object_mut).flatten() {
        if let Some(operation) = operation.as_object_mut() {
            complete(method, operation);
        }
    }
}

/// Adds members that an object lacks.
fn add(object: &mut Map<String, Value>, more: Value) {
    let Value::Object(more) = more else { return };
    for (name, value) in more {
        object.entry(name).or_insert(value);
    }
}

/// A schema that names another one.
fn named(name: &str) -> Value {
    json!({ "$ref": format!("{SCHEMAS}{name}") })
}

/// A member of a schema.
fn member_of<'a>(schemas: &'a mut Map<String, Value>, schema: &str, member: &str) -> Option<&'a mut Value> {
    schemas.get_mut(schema)?.get_mut("properties")?.get_mut(member)
}
