//! The document of the API, to read and to try: Swagger UI, from the program itself.
//!
//! Depends on its neighbours.

use axum::response::Response;

use super::{escaped, html};
use crate::http::{DOCUMENT, context::public_path};

/// Like that of the other pages, but Swagger UI sets styles of single elements.
const POLICY: &str = "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn show() -> Response {
    let at = |path: &str| escaped(&public_path(path));
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Souk API</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"{}\">\n</head>\n\
         <body>\n<div id=\"api\" data-document=\"{}\"></div>\n<noscript>This page needs JavaScript; the document itself is \
         <a href=\"{}\">here</a>.</noscript>\n<script src=\"{}\"></script>\n<script src=\"{}\"></script>\n</body>\n</html>\n",
        at("/docs/swagger-ui.css"),
        at(DOCUMENT),
        at(DOCUMENT),
        at("/docs/swagger-ui-bundle.js"),
        at("/docs/start.js"),
    );
    html(page, POLICY)
}
