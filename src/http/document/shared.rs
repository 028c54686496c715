//! Answers that several operations have, such as the problem of an overloaded shop, stand in the components once.
//!
//! Depends on its neighbours.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::each_operation;

/// Moves the answers that occur more than once into the components.
pub(super) fn complete(document: &mut Value) {
    let mut occurrences: BTreeMap<String, usize> = BTreeMap::new();
    each_answer(document, |_, answer| *occurrences.entry(answer.to_string()).or_default() += 1);
    occurrences.retain(|_, count| *count > 1);
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut shared = Map::new();
    each_answer(document, |status, answer| {
        let text = answer.to_string();
        if !occurrences.contains_key(&text) {
            return;
        }
        let name = names.entry(text).or_insert_with(|| {
            let name = fresh(status, &shared);
            shared.insert(name.clone(), answer.clone());
            name
        });
        *answer = json!({ "$ref": format!("#/components/responses/{name}") });
    });
    document["components"]["responses"] = shared.into();
}

fn each_answer(document: &mut Value, mut of: impl FnMut(&str, &mut Value)) {
    each_operation(document, |_, operation| {
        let answers = operation.get_mut("responses").and_then(Value::as_object_mut);
        answers.into_iter().flatten().for_each(|(status, answer)| of(status, answer));
    });
}

/// `NotFound`, or `NotFound2` where that is taken.
fn fresh(status: &str, taken: &Map<String, Value>) -> String {
    let reason = status.parse::<StatusCode>().ok().and_then(|status| status.canonical_reason()).unwrap_or(status);
    let name: String = reason.chars().filter(char::is_ascii_alphanumeric).collect();
    let same = |known: &&String| known.trim_end_matches(|last: char| last.is_ascii_digit()) == name;
    match taken.keys().filter(same).count() {
        0 => name,
        others => format!("{name}{}", others + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_occurs_once_stays_where_it_is() {
        let (missing, other) = (json!({ "description": "Missing" }), json!({ "description": "No such order" }));
        let answers =
            |of: &[(&str, &Value)]| json!({ "get": { "responses": of.iter().cloned().collect::<BTreeMap<_, _>>() } });
        let mut document = json!({ "components": {}, "paths": {
            "/a": answers(&[("404", &missing), ("200", &json!({ "description": "A" }))]),
            "/b": answers(&[("404", &missing)]),
            "/c": answers(&[("404", &other)]),
            "/d": answers(&[("404", &other)]),
        } });
        complete(&mut document);
        let at = |path: &str| document["paths"][path]["get"]["responses"]["404"]["$ref"].as_str().unwrap().to_owned();
        assert_eq!((at("/a"), at("/b")), ("#/components/responses/NotFound".into(), at("/a")));
        assert_eq!((at("/c"), at("/d")), ("#/components/responses/NotFound2".into(), at("/c")));
        assert_eq!(document["paths"]["/a"]["get"]["responses"]["200"]["description"], "A");
        assert_eq!(document["components"]["responses"], json!({ "NotFound": missing, "NotFound2": other }));
    }
}
