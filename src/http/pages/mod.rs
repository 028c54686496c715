//! Pages for people who open the shop in a browser: what it is, the document of its API to read and to try, and each
//! type of problems. A program that asks for the same address gets JSON, where there is something to say to it.
//!
//! They load nothing from elsewhere, and say so to the browser. What they show is the program's own; no page shows a
//! text that a client sent.
//!
//! Depends on its neighbours.

mod assets;
mod docs;
mod index;
mod problems;

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use serde_json::Value;

pub use self::index::DemoLogin;
use super::{App, DOCUMENT_RULE, context::public_path, etag, json::Json, negotiation, responses::JSON, routes::Routes};

/// What a page may load: its own style and script. Nobody may frame it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";

/// The pages with their paths.
pub(super) fn all(routes: &Routes) -> [(&'static str, MethodRouter<App>); 5] {
    let pages = [
        ("/", get(index::show)),
        ("/docs", get(docs::show)),
        ("/docs/{file}", get(assets::show)),
        ("/problems", get(problems::list)),
        ("/problems/{code}", get(problems::show)),
    ];
    pages.map(|(path, show)| (path, routes.page(path, show)))
}

/// A page for people, or what a program gets instead.
fn page_or_json(headers: &HeaderMap, page: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> Response {
    if negotiation::prefers(headers, "text/html", JSON) { html(page(), POLICY) } else { kept(Json(json())) }
}

/// The answer with a whole page.
fn html(page: String, policy: &'static str) -> Response {
    let etag = etag::of_bytes(page.as_bytes());
    let mut response = kept(page);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(HTML));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(etag) = etag {
        headers.insert(header::ETAG, etag);
    }
    response
}

/// What changes only with the program.
fn kept(answer: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, DOCUMENT_RULE)], answer).into_response()
}

/// A page around its content.
fn page(title: &str, content: &str) -> String {
    // A nested router answers at its prefix, and below it, but not always at the prefix with a slash.
    let (style, prefix) = (public_path("/docs/souk.css"), public_path(""));
    let home = if prefix.is_empty() { "/" } else { &prefix };
    let (docs, problems) = (public_path("/docs"), public_path("/problems"));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"{style}\">\n</head>\n\
         <body>\n<nav><a href=\"{home}\">Souk</a><a href=\"{docs}\">API</a><a href=\"{problems}\">Problems</a></nav>\n\
         <main>\n{content}</main>\n</body>\n</html>\n",
        title = escaped(title),
        style = escaped(&style),
        home = escaped(home),
        docs = escaped(&docs),
        problems = escaped(&problems),
    )
}

/// A text as HTML shows it, also within quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        assert_eq!(escaped("<a href=\"x\">&'</a>"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;&lt;/a&gt;");
        assert!(page("a < b", "").contains("<title>a &lt; b</title>"));
    }
}
