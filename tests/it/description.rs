//! The OpenAPI document is complete and consistent. (Every test checks that answers conform to it.)

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{TestApp, is_allowed, operations};

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

/// What people and generated clients need of each operation.
#[tokio::test]
async fn every_operation_says_what_people_and_generators_need() {
    let app = TestApp::new().await;
    let description = app.anonymous().get("/openapi.json").await.expect(200);
    let tags: Vec<_> = description["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    assert!(description["tags"].as_array().unwrap().iter().all(|tag| tag["description"].is_string()));
    assert_eq!(description["servers"][0]["url"], "/");
    let mut missing = Vec::new();
    for (path, method, operation) in operations() {
        let mut needs = |is_there: bool, what: &str| {
            if !is_there {
                missing.push(format!("{method} {path}: {what}"));
            }
        };
        needs(!path.contains('*'), "a path that generators read");
        needs(operation["description"].is_string(), "a second paragraph of its doc comment");
        needs(operation["security"].is_array(), "security");
        let named = operation["tags"].as_array().cloned().unwrap_or_default();
        needs(named.len() == 1 && named.iter().all(|tag| tags.contains(&tag)), "one tag of those in document/mod.rs");
        for parameter in operation["parameters"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            needs(parameter["description"].is_string(), &format!("a description of {name}"));
            // Cursors and tickets are made by the shop.
            needs(
                ["after", "ticket"].contains(&name) || !parameter["example"].is_null(),
                &format!("an example of {name}"),
            );
            needs(!parameter["schema"].to_string().contains("null"), &format!("{name} without null"));
        }
        if let Some(content) = operation["requestBody"]["content"].as_object() {
            needs(content.values().all(|one| !one["example"].is_null()), "an example of its body");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            needs(response["headers"]["X-Request-Id"].is_object(), &format!("headers of {status}"));
            needs(response["description"].as_str().is_some_and(|text| !text.is_empty()), &format!("what {status} is"));
        }
        let is_shown = |(status, response): (&String, &Value)| {
            let content = response["content"].as_object();
            status.starts_with('2')
                && content.is_none_or(|content| content.values().all(|one| !one["example"].is_null()))
        };
        needs(operation["responses"].as_object().unwrap().iter().any(is_shown), "an example of an answer");
    }
    assert!(missing.is_empty(), "missing in the document:\n{}", missing.join("\n"));
}

/// Every schema and every member says what it is; times, ids and words of a vocabulary say of which form they are.
#[tokio::test]
async fn every_member_is_described() {
    let app = TestApp::new().await;
    let description = app.anonymous().get("/openapi.json").await.expect(200);
    let schemas = description["components"]["schemas"].as_object().unwrap();
    let mut missing = Vec::new();
    for (name, schema) in schemas {
        if !schema["description"].is_string() {
            missing.push(name.clone());
        }
        for (member, property) in schema["properties"].as_object().into_iter().flatten() {
            if !property["description"].is_string() {
                missing.push(format!("{name}.{member}: a description"));
            }
            let is_time =
                member.ends_with("_at") || ["at", "since", "began", "ended", "payment_deadline"].contains(&&**member);
            if is_time && property["format"] != "date-time" {
                missing.push(format!("{name}.{member}: format date-time"));
            }
            if member == "status"
                && name != "PlainProblem"
                && !name.ends_with("Problem")
                && !property["$ref"].is_string()
            {
                missing.push(format!("{name}.{member}: its words (document/vocabulary.rs)"));
            }
        }
    }
    assert!(missing.is_empty(), "missing in the document:\n{}", missing.join("\n"));
    let used = description.to_string();
    let unused: Vec<_> = schemas.keys().filter(|name| !used.contains(&format!("schemas/{name}\""))).collect();
    assert_eq!(unused, Vec::<&String>::new(), "schemas that nothing names");
}

/// The document says of a text what the shop says of it.
#[tokio::test]
async fn the_document_and_the_shop_take_the_same_texts() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    let good = "a| a |日本語|नमस्ते|👨\u{200d}👩|a\u{200e}b|a\nb|a\tb|a\u{2028}b";
    let bad = "| |\u{200b}|\u{3164}|a\0b|a\u{7f}|a\u{85}b|a\u{1b}[1m|a\u{202e}b|a\u{2067}b";
    for text in good.split('|').chain(bad.split('|')) {
        for (field, value) in [
            ("name", json!(text)),
            ("description", json!(text)),
            ("brand", json!(text)),
            ("category", json!(["Home", text])),
            ("attributes", json!({"colour": text})),
            ("attributes", json!({text: "black"})),
            ("pictures", json!([{"url": "https://images.example/1.jpg", "alt": text}])),
        ] {
            let mut body = json!({"name": "Teapot"});
            body[field] = value;
            let answer = seller.post("/products", &body).await;
            assert_eq!(answer.status == 201, is_allowed("ProductFields", &body), "{body}: {answer:?}");
        }
    }
    let addresses =
        "https://a.example/1.jpg http://a:8080?x=1#y HTTPS://1.a.example ftp://a.example //a https:// https:a a";
    for url in addresses.split(' ') {
        let body = json!({"name": "Teapot", "images": [url]});
        let answer = seller.post("/products", &body).await;
        assert_eq!(answer.status == 201, is_allowed("ProductFields", &body), "{url}: {answer:?}");
    }
    let emails =
        "a@b.example A.b+c@xn--bcher-kva.example a@b a..b@c.example @b.example a@-b.example a@b.1 a@b@c.example";
    for email in emails.split(' ') {
        let body = json!({"email": email, "password": "correct horse battery"});
        let answer = seller.post("/auth/register", &body).await;
        assert_eq!(answer.status == 201, is_allowed("Registration", &body), "{email}: {answer:?}");
    }
}

/// The examples of problems are problems of their type.
#[tokio::test]
async fn every_type_of_problems_has_a_page() {
    let app = TestApp::new().await;
    let client = app.anonymous();
    let all = client.get("/problems").await.expect(200);
    assert!(all.as_array().unwrap().len() > 60);
    let description = client.get("/openapi.json").await.expect(200);
    let schemas = description["components"]["schemas"].as_object().unwrap();
    let codes = schemas.values().filter_map(|schema| schema["properties"]["code"]["enum"].as_array()).flatten();
    let mut described: Vec<_> = codes.map(|code| code.as_str().unwrap()).collect();
    let mut known: Vec<_> = all.as_array().unwrap().iter().map(|kind| kind["code"].as_str().unwrap()).collect();
    described.sort_unstable();
    known.sort_unstable();
    assert_eq!(described, known);
    for code in known {
        let page = client.get_with(&format!("/problems/{code}"), &[("accept", "text/html")]).await;
        assert!(page.expect_text(200).contains(&format!("<code>{code}</code>")), "{code}");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.header("content-security-policy").contains("default-src 'none'"));
        assert!(page.header("vary").starts_with("Accept, "), "{page:?}");
        assert_eq!(client.get(&format!("/problems/{code}")).await.expect(200)["code"], code);
    }
    client.get("/problems/no-such-code").await.problem(404, "not-found");
}

/// What the front page shows, and who sees the logins of a demo.
#[tokio::test]
async fn the_front_page_says_where_everything_is() {
    let app = TestApp::new().await;
    let client = app.anonymous();
    let browser = [("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")];
    let page = client.get_with("/", &browser).await;
    for link in ["/docs", "/openapi.json", "/problems", "/readyz"] {
        assert!(page.expect_text(200).contains(&format!("href=\"{link}\"")), "{link}");
    }
    assert!(!page.text.contains("Demo logins"));
    app.caught_up().await;
    let links = client.get("/").await.expect(200)["links"].clone();
    for link in links.as_object().unwrap().values() {
        client.get(link.as_str().unwrap()).await.expect_text(200);
    }
    let etag = page.header("etag").to_owned();
    client.get_with("/", &[browser[0], ("if-none-match", &etag)]).await.expect_text(304);
    let login =
        souk::http::DemoLogin { email: "a@b.example".into(), role: "seller".into(), password: "<secret>".into() };
    let program = souk::http::Program { demo_logins: vec![login], ..souk::http::Program::default() };
    let demo = TestApp::through(souk::http::router_with(app.shop.clone(), program), "", &client);
    let page = demo.get_with("/", &browser).await;
    assert!(page.expect_text(200).contains("Demo logins") && page.text.contains("&lt;secret&gt;"), "{}", page.text);
}

/// The page that reads and tries the document loads nothing from elsewhere.
#[tokio::test]
async fn the_document_can_be_read_and_tried_offline() {
    let app = TestApp::new().await;
    let client = app.anonymous();
    let page = client.get("/docs").await;
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self';") && !policy.contains("http"), "{policy}");
    let html = page.expect_text(200);
    let links = html.split(['"']).filter(|part| part.starts_with("/docs/") || *part == "/openapi.json");
    let links: std::collections::BTreeSet<_> = links.collect();
    assert_eq!(links.len(), 4, "{html}");
    assert!(!html.contains("//"), "{html}");
    for link in links {
        client.get(link).await.expect_text(200);
        let gzip = client.request("GET", link, &[("accept-encoding", "gzip")], axum::body::Body::empty());
        let (headers, bytes) = client.bytes(gzip).await;
        assert!(headers.contains_key("etag") && !bytes.is_empty(), "{link}");
    }
    client.get("/docs/../openapi.json").await.problem(404, "not-found");
    client.get("/docs/none.js").await.problem(404, "not-found");
}

/// The version that a client was made for.
#[tokio::test]
async fn the_version_of_the_api_is_a_date() {
    let app = TestApp::new().await;
    let client = app.anonymous();
    let answered = client.get("/categories").await.header("souk-version").to_owned();
    client.get_with("/categories", &[("souk-version", &answered)]).await.expect(200);
    let refused = client.get_with("/categories", &[("souk-version", "2020-01-01")]).await;
    assert_eq!(refused.problem(400, "unknown-version")["versions"], json!([answered]));
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
        assert!(refused["headers"]["Retry-After"].is_object(), "{method} {path}");
        for (status, response) in responses {
            for header in ["RateLimit", "RateLimit-Policy"] {
                assert!(response["headers"][header].is_object(), "{method} {path} {status}");
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
        ("/products/NOTHING", "", "PlainProblem"),
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
