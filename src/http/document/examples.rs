//! The examples of the document: the requests of a session in the demo shop, and what the shop answered.
//!
//! They are in `examples.json`, one step after the other. `tests/it/examples.rs` carries the steps out, compares the
//! answers, and writes them down again with `SOUK_GOLDEN=write`; an operation without a step fails there.
//!
//! Depends on its neighbours.

use serde_json::{Map, Value};

use super::each_operation;

/// A list of steps. Each has the `operation`, the `path`, `query`, `headers` and `body` of its request, and the
/// `status` and the `answer`.
const STEPS: &str = include_str!("examples.json");

/// Shows each operation's first steps: one for its request, and one for each status.
pub(super) fn complete(document: &mut Value) {
    let steps: Vec<Value> = serde_json::from_str(STEPS).unwrap_or_default();
    each_operation(document, |_, operation| {
        let name = operation.get("operationId").cloned().unwrap_or_default();
        for step in steps.iter().filter(|step| step["operation"] == name) {
            show(operation, step);
        }
    });
}

fn show(operation: &mut Map<String, Value>, step: &Value) {
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        let given = ["path", "query", "headers"].into_iter().find_map(|place| step[place].get(name)).cloned();
        give(parameter, given);
    }
    if let Some(body) = operation.get_mut("requestBody") {
        give_content(body, step.get("body"));
    }
    let status = step["status"].to_string();
    if let Some(response) = operation.get_mut("responses").and_then(|responses| responses.get_mut(&status)) {
        give_content(response, step.get("answer"));
    }
}

fn give_content(of: &mut Value, example: Option<&Value>) {
    let content = of.get_mut("content").and_then(Value::as_object_mut);
    for content in content.into_iter().flat_map(Map::values_mut) {
        give(content, example.cloned());
    }
}

/// The first example stays.
fn give(to: &mut Value, example: Option<Value>) {
    if let (Some(example), Some(to)) = (example, to.as_object_mut()) {
        to.entry("example").or_insert(example);
    }
}
