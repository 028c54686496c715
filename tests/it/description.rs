//! The OpenAPI document is complete and consistent. (Every test checks that answers conform to it.)

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{TestApp, operations};

const METHODS: [&str; 5] = ["GET", "PUT", "POST", "PATCH", "DELETE"];

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(target) if name == "$ref" => found.push(target.clone()),
                    _ => references(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_operation_is_described_with_its_problems() {
    let app = TestApp::new().await;
    let description = app.anonymous().get("/openapi.json").await.expect(200);
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(description["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    let operations = operations();
    assert!(operations.len() >= 37, "{}", operations.len());
    let mut names = HashSet::new();
    for (path, method, operation) in operations {
        assert!(METHODS.contains(&method.as_str()));
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{method} {path}: {name} is taken");
        assert!(operation["summary"].is_string(), "{method} {path} has no summary");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
        for (status, response) in responses.iter().filter(|(status, _)| status.starts_with('4')) {
            let content = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(content, "#/components/schemas/Problem", "{method} {path} {status}");
        }
        let places = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path = places.iter().filter(|parameter| parameter["in"] == "path").count();
        assert_eq!(in_path, path.matches('{').count(), "{method} {path}");
    }
}

/// Only what operators and other programs ask for is exempt from the limits of one client.
#[tokio::test]
async fn rate_limits_are_described() {
    TestApp::new().await;
    let mut exempt = Vec::new();
    for (path, method, operation) in operations() {
        let responses = operation["responses"].as_object().unwrap();
        let Some(refused) = responses.get("429") else {
            exempt.push(path);
            continue;
        };
        assert_eq!(refused["headers"]["Retry-After"]["schema"]["type"], "integer", "{method} {path}");
        let answered = responses.iter().filter(|(status, _)| status.starts_with('2') || *status == "429");
        for (status, response) in answered {
            for header in ["RateLimit", "RateLimit-Policy"] {
                assert_eq!(response["headers"][header]["schema"]["type"], "string", "{method} {path} {status}");
            }
        }
    }
    exempt.sort();
    assert_eq!(exempt, ["/.well-known/jwks.json", "/livez", "/metrics", "/readyz"]);
}

#[tokio::test]
async fn every_reference_of_the_document_resolves() {
    let app = TestApp::new().await;
    let description = app.anonymous().get("/openapi.json").await.expect(200);
    let mut found = Vec::new();
    references(&description, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let target = description.pointer(reference.strip_prefix('#').unwrap());
        assert!(target.is_some(), "{reference}");
    }
}

/// The members of answers are those of their schemas, with every required one.
#[tokio::test]
async fn answers_have_the_members_of_their_schemas() {
    let app = TestApp::new().await;
    let (seller, customer) = (app.seller().await, app.customer("asha").await);
    let description = customer.get("/openapi.json").await.expect(200);
    let order = customer.buy("CABLE", 1).await;
    customer.add("PHONE", 1).await;
    customer.post("/products/CABLE/reviews", &json!({"rating": 5, "title": "Good"})).await.expect(201);
    app.caught_up().await;
    for (path, pointer, schema) in [
        ("/products/CABLE", "", "ProductBody"),
        ("/products", "/items/0", "HitBody"),
        ("/products/CABLE/reviews", "/items/0", "ReviewBody"),
        ("/categories", "/0", "CategoryBody"),
        ("/cart", "", "CartBody"),
        ("/cart", "/items/0", "CartItem"),
        (&format!("/orders/{order}"), "", "OrderBody"),
        (&format!("/orders/{order}"), "/history/0", "HistoryBody"),
        (&format!("/orders/{order}/payments"), "/0", "AttemptBody"),
        ("/products/PHONE/inventory", "", "Stock"),
        ("/products/NOTHING", "", "Problem"),
        ("/readyz", "", "Readiness"),
        ("/account", "", "AccountBody"),
    ] {
        let client = if path.ends_with("inventory") { &seller } else { &customer };
        let answer = client.get(path).await.json();
        let shown = answer.pointer(pointer).unwrap_or_else(|| panic!("{path}: {answer}")).as_object().unwrap();
        let described = &description["components"]["schemas"][schema];
        let known = described["properties"].as_object().unwrap_or_else(|| panic!("no schema {schema}"));
        for member in shown.keys() {
            assert!(known.contains_key(member), "{schema} does not describe {member}");
        }
        for member in described["required"].as_array().unwrap() {
            assert!(shown.contains_key(member.as_str().unwrap()), "{path} lacks {member}");
        }
    }
}
