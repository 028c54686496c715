//! The examples of the OpenAPI document are a session: every operation is tried as it stands there, and answers what
//! stands there.
//!
//! `SOUK_GOLDEN=write cargo test --test it examples` writes the answers down again. Ids, tokens and times differ from
//! run to run, so the file has others in their place, the same one wherever a thing is meant.

use std::{collections::BTreeMap, path::Path};

use axum::body::Body;
use serde_json::{Map, Value, json};
use souk::{
    clock::Clock,
    config::{Config, Secret},
    internals::{app::demo, signature::sign},
};

use crate::{
    provider::{Provider, point_at},
    support::{Answer, Client, NOW, PASSWORD, TestApp, operations},
};

pub(crate) const FILE: &str = "src/http/document/examples.json";
const WEBHOOK_SECRET: &str = "the secret of the examples";
/// Enough products for `demo-000007` and some like it.
const PRODUCTS: usize = 60;
/// What stands for the ids of orders, and for all other ids.
pub(crate) const ORDERS: [&str; 5] = [
    "b60817f7dca5c2961aa3865d07460622",
    "4e9a1c7d2f6b80354c7e2d9a61f0b38c",
    "91d7c3e05a4f6b2893ce70d14b5a2f68",
    "2c5e8f0a7b3d49610e8c5f7a2d4b9613",
    "7a0e4c92d85f1b36c49a7e0d5f28b314",
];
pub(crate) const IDS: [&str; 12] = [
    "5f0c7c2a9d3e4b1f8a6e0d2c4b7a9e13",
    "c81d3f6a02b94e75a1c6d8e3f7092b54",
    "e29b5d174c8f4a03b6d1f2c7890a3e65",
    "08f4e6b1d7c2493ea5b09c7d3f1e8a62",
    "d35a9f02c6e74b18973cb1e5084fda26",
    "6b1c8e4f70d2493fa58e0b7c9d3a2f14",
    "f7e2035dc9a14b68b03d5e8f17c6924a",
    "1a94c7e6d0b3485fa2e7f60c8d5b3917",
    "83bd0f5e2c7a4196be4d1703c9f8a65e",
    "4d7e19a0c5f24b83960fb2e8d7a13c5f",
    "be60a2d9f3c84157a8d40e6b1f7c9532",
    "2f9c4b7e1d0a4836b5e8f7c03a6d9e14",
];
/// What stands for the numbers of orders.
pub(crate) const NUMBERS: [&str; 5] =
    ["K7QZ-M3VB-2HT4", "9RWC-41XN-8KDE", "T3HA-Q0ZJ-5YGP", "1MFS-7VEB-60CW", "XG24-DN9K-R8TA"];
/// What stands for a member that is different in every run.
const VARYING: [(&str, &str); 9] = [
    ("access_token", "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJjODFkM2Y2YSJ9.c2lnbmF0dXJl"),
    ("refresh_token", "Vn3mQ0cKZp1xYw7uTq9sRe5dLb2a"),
    ("next_cursor", "AWtleavH00U"),
    ("ticket", "souk_ticket_1_24YiKx_YHXUTpzE3udgA"),
    ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
    ("notice_id", "20787-0b7c3f5e9a1d4862c0e4f7a9b3d58126"),
    ("reference", "pi_3MtwBwLkdIwHu7ix28a3tqPa"),
    ("action_url", "https://payments.example/3ds/pi_3MtwBwLkdIwHu7ix28a3tqPa"),
    ("commit", "0123456789abcdef0123456789abcdef01234567"),
];

/// A shop with its callers, and what stands for what.
struct Stage {
    app: TestApp,
    _provider: Option<Provider>,
    callers: BTreeMap<String, Client>,
    names: Names,
}

/// What a run has in the place of what the file has.
#[derive(Default)]
struct Names {
    /// The text of this run, and that of the file.
    pairs: Vec<(String, String)>,
    /// How many stand for something already, by kind.
    used: BTreeMap<&'static str, usize>,
    keeps_times: bool,
}

impl Names {
    /// What stands for this text of the run.
    fn shown(&mut self, actual: &str, kind: &'static str, pool: &[&str]) -> String {
        if let Some((_, shown)) = self.pairs.iter().find(|(known, _)| known == actual) {
            return shown.clone();
        }
        let used = self.used.entry(kind).or_default();
        let shown = match pool.get(*used) {
            Some(shown) => (*shown).to_owned(),
            None => format!("{}{used}", pool[0]),
        };
        *used += 1;
        self.pairs.push((actual.to_owned(), shown.clone()));
        shown
    }

    /// The answer as it stands in the file.
    fn file(&mut self, name: &str, value: &Value, first: &FirstOrder) -> Value {
        match value {
            Value::Object(members) if name == "settings" => {
                let kept = members.iter().filter(|(name, _)| *name == "rates");
                Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
            }
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| (name.clone(), self.file(name, value, first)));
                Value::Object(members.collect())
            }
            Value::Array(items) => items.iter().map(|item| self.file(name, item, first)).collect(),
            Value::String(text) => self.file_text(name, text, first).into(),
            other => other.clone(),
        }
    }

    fn file_text(&mut self, name: &str, text: &str, first: &FirstOrder) -> String {
        if let Some((kind, shown)) = VARYING.iter().find(|(kind, _)| *kind == name) {
            return self.shown(text, kind, &[shown]);
        }
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if name == "number" {
            return self.shown(text, "numbers", &NUMBERS[first.0..]);
        }
        if is_hex && name == "order_id" {
            return self.shown(text, "orders", &ORDERS[first.0..]);
        }
        if is_hex && text.bytes().any(|byte| byte != b'f') {
            return self.shown(text, "ids", &IDS);
        }
        if ["kid", "x"].contains(&name) {
            return "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned();
        }
        let is_time = text.len() == "2026-09-21T14:13:20.000Z".len() && text.ends_with('Z') && text.contains('T');
        if is_time && !self.keeps_times {
            return "2026-09-21T14:13:20.000Z".to_owned();
        }
        self.pairs.iter().fold(text.to_owned(), |text, (actual, shown)| text.replace(actual, shown))
    }

    /// A request of the file as this run sends it.
    fn run(&self, value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.clone(), self.run(value))).collect())
            }
            Value::Array(items) => items.iter().map(|item| self.run(item)).collect(),
            Value::String(text) => {
                let pair = self.pairs.iter().find(|(_, shown)| shown == text);
                pair.map_or(text, |(actual, _)| actual).clone().into()
            }
            other => other.clone(),
        }
    }
}

/// The index of the shop's first order in [`ORDERS`]: the orders of different shops are shown with different ids.
struct FirstOrder(usize);

impl Stage {
    async fn named(name: &str) -> (Self, FirstOrder) {
        let (provider, clock, first) = match name {
            "" => (None, Clock::manual(NOW), 0),
            "provider" => (Some(Provider::new().await), Clock::system(), 2),
            _ => (None, Clock::system(), 3),
        };
        let change = |config: &mut Config| {
            config.payments.capture_later = name == "capture_later";
            if name == "approval" {
                config.registration.sellers = souk::config::Sellers::Approval;
            }
            if let Some(provider) = &provider {
                point_at(config, &provider.url);
                config.payments.webhook_secrets = Some(Secret::new(WEBHOOK_SECRET.to_owned()));
            }
        };
        let app = TestApp::with(change, clock).await;
        demo::fill(&app.shop, 1, PRODUCTS).await.unwrap();
        let names = Names { keeps_times: name.is_empty(), ..Names::default() };
        (Self { app, _provider: provider, callers: BTreeMap::new(), names }, FirstOrder(first))
    }

    /// The client of somebody with an account.
    async fn caller(&mut self, email: &str) -> Client {
        if let Some(client) = self.callers.get(email) {
            return client.clone();
        }
        let mut client = self.app.anonymous();
        if !email.is_empty() {
            let password = if email.ends_with("@demo.example") { demo::PASSWORD } else { PASSWORD };
            let login = client.post("/auth/login", &json!({"email": email, "password": password})).await.expect(200);
            client.token = Some(login["access_token"].as_str().unwrap().to_owned());
        }
        self.callers.insert(email.to_owned(), client.clone());
        client
    }

    async fn carry_out(&mut self, step: &Value, operation: &Value, method: &str, path: &str) -> Answer {
        let client = self.caller(step["as"].as_str().unwrap_or_default()).await;
        self.app.caught_up().await;
        let sent = self.names.run(step);
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let members = |place: &str| sent[place].as_object().cloned().unwrap_or_default();
        let mut target = path.to_owned();
        for (name, value) in members("path") {
            target = target.replace(&format!("{{{name}}}"), &encoded(&text(&value)));
        }
        let query: Vec<_> =
            members("query").iter().map(|(name, value)| format!("{name}={}", encoded(&text(value)))).collect();
        if !query.is_empty() {
            target = format!("{target}?{}", query.join("&"));
        }
        let mut headers: Map<String, Value> = members("headers");
        // The examples of headers that the step does not send are sent, too.
        for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "header") {
            let name = parameter["name"].as_str().unwrap();
            if ["If-None-Match", "Souk-Version"].contains(&name) {
                headers.entry(name).or_insert_with(|| parameter["example"].clone());
            }
        }
        let body = sent.get("body").map(Value::to_string).unwrap_or_default();
        if step["operation"] == "take_notice" {
            let (secret, now) = (WEBHOOK_SECRET.to_owned().into(), self.app.shop.clock().now());
            headers.insert("Stripe-Signature".to_owned(), sign(&secret, body.as_bytes(), now).into());
        }
        if !body.is_empty() {
            headers.insert("Content-Type".to_owned(), "application/json".into());
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        client.raw(client.request(method, &target, &headers, Body::from(body))).await
    }
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[tokio::test]
async fn examples_are_answered_as_they_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let mut steps: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let writes = std::env::var("SOUK_GOLDEN").is_ok_and(|does| does == "write");
    let mut stages = BTreeMap::new();
    let mut tried = Vec::new();
    for step in &mut steps {
        let shop = step["shop"].as_str().unwrap_or_default().to_owned();
        if !stages.contains_key(&shop) {
            stages.insert(shop.clone(), Stage::named(&shop).await);
        }
        let (stage, first) = stages.get_mut(&shop).unwrap();
        let name = step["operation"].as_str().unwrap().to_owned();
        let all = operations();
        let (path, method, operation) = all
            .iter()
            .find(|(.., operation)| operation["operationId"] == name.as_str())
            .unwrap_or_else(|| panic!("there is no {name}"));
        let answer = stage.carry_out(step, operation, method, path).await;
        assert_eq!(answer.status.as_u16(), step["status"], "{step:#}: {answer:?}");
        tried.push((name.clone(), answer.status.as_u16()));
        let shown = match answer.header("content-type") {
            _ if answer.text.is_empty() => Value::Null,
            // The figures differ from run to run, and so does the order of the series.
            _ if name == "show_metrics" => answer.text.lines().take(2).collect::<Vec<_>>().join("\n").into(),
            json if json.contains("json") => stage.names.file("", &answer.json(), first),
            _ => stage
                .names
                .pairs
                .iter()
                .fold(answer.text.clone(), |text, (actual, shown)| text.replace(actual, shown))
                .into(),
        };
        if writes && !shown.is_null() {
            step["answer"] = shown;
        } else {
            assert_eq!(shown, step["answer"], "{name} answers something else; SOUK_GOLDEN=write writes it down");
        }
    }
    if writes {
        std::fs::write(&path, serde_json::to_string_pretty(&steps).unwrap() + "\n").unwrap();
    }
    for (path, method, operation) in operations() {
        let is_tried = |(name, status): &(String, u16)| operation["operationId"] == name.as_str() && *status < 300;
        assert!(tried.iter().any(is_tried), "{method} {path} has no example: add a step to {FILE}");
    }
}
