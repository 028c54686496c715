//! The Postman collection is the session of the document's examples, with an assertion for each answer. It is made from
//! them: `SOUK_GOLDEN=write cargo test --test it collection` writes it. And the file of requests asks for what
//! there is.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{
    examples::{FILE, IDS, NUMBERS, ORDERS},
    support::{PASSWORD, TestApp, operations},
};

const COLLECTION: &str = "api/souk.postman_collection.json";
const REQUESTS: &str = "api/souk.http";
const SCHEMA: &str = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json";
/// What must differ from run to run, because the shop keeps it, and what makes it so.
const ONCE: [(&str, &str); 5] = [
    ("asha@example.org", "asha-{{run}}@example.org"),
    ("meera@example.org", "meera-{{run}}@example.org"),
    ("ravi@example.org", "ravi-{{run}}@example.org"),
    ("teapot-1", "teapot-{{run}}"),
    ("d1b5c7f0-", "{{run}}-"),
];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The variable for a text of the examples that a shop makes anew.
fn variable(text: &str) -> Option<String> {
    let named = |kind: &str, pool: &[&str]| {
        pool.iter().position(|known| *known == text).map(|index| format!("{kind}_{}", index + 1))
    };
    let other = match text {
        "AWtleavH00U" => Some("next_cursor".to_owned()),
        "Vn3mQ0cKZp1xYw7uTq9sRe5dLb2a" => Some("refresh_token".to_owned()),
        _ => None,
    };
    other.or_else(|| named("order", &ORDERS)).or_else(|| named("id", &IDS)).or_else(|| named("number", &NUMBERS))
}

/// A text of a request, with variables.
fn filled(text: &str) -> String {
    if let Some(variable) = variable(text) {
        return format!("{{{{{variable}}}}}");
    }
    // Another session may have changed the cart before.
    if text.strip_prefix("\"c").is_some_and(|rest| rest.ends_with('"')) {
        return "\"c{{cart_version}}\"".to_owned();
    }
    ONCE.iter().fold(text.to_owned(), |text, (once, run)| text.replace(once, run))
}

fn filled_value(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), filled_value(value))).collect(),
        Value::Array(items) => items.iter().map(filled_value).collect(),
        Value::String(text) => filled(text).into(),
        other => other.clone(),
    }
}

/// Where in an answer the texts are that later requests need: the variable, and an expression of JavaScript.
fn kept(answer: &Value, at: &str, found: &mut Vec<(String, String)>) {
    match answer {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| kept(value, &format!("{at}[{}]", json!(name)), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| kept(value, &format!("{at}[{index}]"), found));
        }
        Value::String(text) => {
            if let Some(variable) = variable(text).filter(|variable| found.iter().all(|(known, _)| known != variable)) {
                found.push((variable, at.to_owned()));
            }
        }
        _ => {}
    }
}

/// The lines of JavaScript that check an answer, and keep what later requests need.
fn script(step: &Value, is_used: impl Fn(&str) -> bool) -> Vec<String> {
    let status = &step["status"];
    let mut lines = vec![format!("pm.test(\"{status}\", () => pm.response.to.have.status({status}));")];
    let Some(members) = step["answer"].as_object() else { return lines };
    lines.push("const body = pm.response.json();".to_owned());
    if let Some(code) = members.get("code") {
        lines.push(format!("pm.test(\"its code\", () => pm.expect(body.code).to.eql({code}));"));
    } else {
        let names: Vec<_> = members.keys().collect();
        lines.push(format!("pm.test(\"its members\", () => pm.expect(body).to.include.all.keys({}));", json!(names)));
    }
    if members.contains_key("subtotal") {
        lines.push("pm.collectionVariables.set(\"cart_version\", body.version);".to_owned());
    }
    let mut found = Vec::new();
    kept(&step["answer"], "body", &mut found);
    let used = found.into_iter().filter(|(variable, _)| is_used(variable));
    lines.extend(used.map(|(variable, at)| format!("pm.collectionVariables.set(\"{variable}\", {at});")));
    lines
}

fn login(email: &str, password: &str) -> Value {
    let (name, address) = (email.split('@').next().unwrap(), filled(email));
    json!({
        "name": format!("Log in: {name}"),
        "event": [{"listen": "test", "script": {"type": "text/javascript", "exec": [
            "pm.test(\"200\", () => pm.response.to.have.status(200));",
            format!("pm.collectionVariables.set(\"{name}_token\", pm.response.json().access_token);"),
        ]}}],
        "request": {
            "method": "POST", "header": [{"key": "Content-Type", "value": "application/json"}],
            "url": {"raw": "{{base_url}}/auth/login", "host": ["{{base_url}}"], "path": ["auth", "login"]},
            "body": {"mode": "raw", "raw": format!("{:#}", json!({"email": address, "password": password})),
                "options": {"raw": {"language": "json"}}},
        },
    })
}

/// An item of the collection.
fn item(step: &Value, (path, method, operation): &(String, String, Value), is_used: impl Fn(&str) -> bool) -> Value {
    let text = |value: &Value| filled(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let mut path = path.clone();
    for (name, value) in step["path"].as_object().into_iter().flatten() {
        path = path.replace(&format!("{{{name}}}"), &text(value).replace(' ', "%20"));
    }
    let pairs = |place: &str| -> Vec<Value> {
        let members = step[place].as_object().into_iter().flatten();
        members.map(|(name, value)| json!({"key": name, "value": text(value)})).collect()
    };
    let (mut headers, query) = (pairs("headers"), pairs("query"));
    if let Some(name) = step["as"].as_str().and_then(|email| email.split('@').next()) {
        headers.push(json!({"key": "Authorization", "value": format!("Bearer {{{{{name}_token}}}}")}));
    }
    let asked =
        query.iter().map(|pair| format!("{}={}", pair["key"].as_str().unwrap(), pair["value"].as_str().unwrap()));
    let asked = asked.collect::<Vec<_>>().join("&");
    let separator = if asked.is_empty() { "" } else { "?" };
    let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let mut request = json!({
        "method": method, "description": operation["description"],
        "url": {"raw": format!("{{{{base_url}}}}{path}{separator}{asked}"), "host": ["{{base_url}}"],
            "path": segments, "query": query},
    });
    if let Some(body) = step.get("body") {
        headers.push(json!({"key": "Content-Type", "value": "application/json"}));
        let language = json!({"raw": {"language": "json"}});
        request["body"] = json!({"mode": "raw", "raw": format!("{:#}", filled_value(body)), "options": language});
    }
    request["header"] = headers.into();
    let summary = operation["summary"].as_str().unwrap().trim_end_matches('.');
    json!({
        "name": format!("{summary} ({})", step["status"]),
        "event": [{"listen": "test", "script": {"type": "text/javascript", "exec": script(step, is_used)}}],
        "request": request,
    })
}

fn collection(steps: &[Value]) -> Value {
    let steps: Vec<&Value> = steps.iter().filter(|step| step["shop"].is_null()).collect();
    let all = operations();
    let asked: String = steps
        .iter()
        .map(|step| filled_value(&json!([step["path"], step["query"], step["body"]])).to_string())
        .collect();
    let is_used = |variable: &str| asked.contains(&format!("{{{{{variable}}}}}"));
    let (mut items, mut known) = (Vec::new(), Vec::new());
    for step in steps {
        if let Some(email) = step["as"].as_str().filter(|email| !known.contains(email)) {
            known.push(email);
            let password = if email.ends_with("@demo.example") { "souk-demo-password" } else { PASSWORD };
            items.push(login(email, password));
        }
        let operation = all.iter().find(|(.., operation)| operation["operationId"] == step["operation"]).unwrap();
        items.push(item(step, operation, is_used));
    }
    let first =
        "if (!pm.collectionVariables.get(\"run\")) pm.collectionVariables.set(\"run\", Date.now().toString(36));";
    json!({
        "info": {"name": "Souk", "schema": SCHEMA, "description": "A session in a demo shop (`souk serve --demo`), from the \
            registration to the refund. The requests build on each other: run the whole collection in its order."},
        "event": [{"listen": "prerequest", "script": {"type": "text/javascript", "exec": [first]}}],
        "item": items,
    })
}

#[tokio::test]
async fn the_collection_is_the_session_of_the_examples() {
    TestApp::new().await;
    let steps: Vec<Value> = serde_json::from_str(&read(FILE)).unwrap();
    let made = serde_json::to_string_pretty(&collection(&steps)).unwrap() + "\n";
    if std::env::var("SOUK_GOLDEN").is_ok_and(|does| does == "write") {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(COLLECTION), &made).unwrap();
    }
    assert!(read(COLLECTION) == made, "{COLLECTION} is not up to date; SOUK_GOLDEN=write writes it");
}

/// Each request line of the file is an operation of the document.
#[tokio::test]
async fn the_file_of_requests_asks_for_what_there_is() {
    TestApp::new().await;
    let operations = operations();
    let (file, mut seen) = (read(REQUESTS), 0);
    for line in file.lines().filter(|line| line.contains("{{base_url}}/")) {
        let (method, target) = line.split_once(" {{base_url}}").unwrap();
        let path = target.split('?').next().unwrap();
        let fits = |template: &str| {
            let (mut wanted, mut given) = (template.split('/'), path.split('/'));
            let segments: Vec<_> = wanted.by_ref().zip(given.by_ref()).collect();
            wanted.next().is_none()
                && given.next().is_none()
                && segments.iter().all(|(wanted, given)| {
                    wanted == given
                        || wanted
                            .split_once('{')
                            .is_some_and(|(prefix, _)| given.starts_with(prefix) && given.len() > prefix.len())
                })
        };
        assert!(operations.iter().any(|(template, known, _)| known == method && fits(template)), "{line}");
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

/// The value of each variable that the environment gives.
#[test]
fn the_environment_names_the_demo_shop() {
    let environment: Value = serde_json::from_str(&read("api/souk.postman_environment.json")).unwrap();
    let values: Map<String, Value> = environment["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| (value["key"].as_str().unwrap().to_owned(), value["value"].clone()))
        .collect();
    assert_eq!(values["base_url"], "http://127.0.0.1:8080");
}
