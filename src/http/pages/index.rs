//! What the shop is and where everything is.
//!
//! Depends on its neighbours.

use std::fmt::Write;

use axum::{extract::State, http::HeaderMap, response::Response};
use serde_json::{Value, json};

use super::{App, escaped, page, page_or_json};
use crate::http::{DOCUMENT, context::public_path, version};

/// A login of a demo, whose password everybody may know.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub struct DemoLogin {
    pub email: String,
    pub role: String,
    pub password: String,
}

/// What is where: name, path, and what it is for.
const PLACES: [(&str, &str, &str); 6] = [
    ("docs", "/docs", "the API, to read and to try in the browser"),
    ("openapi", DOCUMENT, "the same as an OpenAPI 3.1 document, for programs that make clients"),
    ("problems", "/problems", "every type of error, and what to do about it"),
    ("products", "/products", "the products, newest first"),
    ("livez", "/livez", "whether the program is alive"),
    ("readyz", "/readyz", "whether the shop takes requests, and what is wrong if it does not"),
];

pub(super) async fn show(State(app): State<App>, headers: HeaderMap) -> Response {
    page_or_json(&headers, || for_people(&app.program.demo_logins), for_programs)
}

fn for_people(logins: &[DemoLogin]) -> String {
    let mut content = String::from(
        "<h1>Souk</h1>\n<p>This is an online shop without a shop window: shoppers, sellers and operators use its API.</p>\n\
         <table>\n",
    );
    for (_, path, what) in PLACES {
        let path = escaped(&public_path(path));
        let _ = writeln!(content, "<tr><td><a href=\"{path}\">{path}</a></td><td>{what}</td></tr>");
    }
    content.push_str("</table>\n");
    if !logins.is_empty() {
        content.push_str(
            "<h2>Demo logins</h2>\n<p>The products and these accounts are made up, and everybody knows the passwords. \
             Log in with <code>POST&nbsp;/auth/login</code>.</p>\n\
             <table>\n<tr><th>role</th><th>e-mail address</th><th>password</th></tr>\n",
        );
        for DemoLogin { email, role, password } in logins {
            let [email, role, password] = [email, role, password].map(|text| escaped(text));
            let _ = writeln!(
                content,
                "<tr><td>{role}</td><td><code>{email}</code></td><td><code>{password}</code></td></tr>"
            );
        }
        content.push_str("</table>\n");
        let search = escaped(&public_path("/products/search_item=wireless%20mouse?limit=3"));
        let _ = writeln!(content, "<p>Try a search: <a href=\"{search}\">wireless mouse</a>.</p>");
    }
    let _ = writeln!(content, "<p class=\"small\">Souk {}, API version {}.</p>", crate::VERSION, version::CURRENT);
    page("Souk", &content)
}

fn for_programs() -> Value {
    let links: serde_json::Map<_, _> =
        PLACES.iter().map(|(name, path, _)| ((*name).to_owned(), public_path(path).into())).collect();
    json!({ "name": "Souk", "version": crate::VERSION, "api_version": version::CURRENT, "links": links })
}
