//! The style and the scripts of the pages. Swagger UI's are kept as gzip, as most clients take them; `assets/README.md`
//! says where they are from.
//!
//! Depends on `flate2` and its neighbours.

use std::{io::Read, sync::LazyLock};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use flate2::read::GzDecoder;

use super::kept;
use crate::http::{coding::Coding, error::Problem, etag, extract::Names, negotiation};

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
static STYLE: &[u8] = include_bytes!("assets/souk.css");
static START: &[u8] = include_bytes!("assets/start.js");
static SWAGGER_STYLE: &[u8] = include_bytes!("assets/swagger-ui.css.gz");
static SWAGGER: &[u8] = include_bytes!("assets/swagger-ui-bundle.js.gz");
/// For clients that do not take gzip.
static SWAGGER_STYLE_DECODED: LazyLock<Bytes> = LazyLock::new(|| decoded(SWAGGER_STYLE));
static SWAGGER_DECODED: LazyLock<Bytes> = LazyLock::new(|| decoded(SWAGGER));

fn decoded(bytes: &[u8]) -> Bytes {
    let mut decoded = Vec::new();
    // What was compiled in is whole; a test reads it.
    let _ = GzDecoder::new(bytes).read_to_end(&mut decoded);
    decoded.into()
}

pub(super) async fn show(Names(file): Names<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let gzip = negotiation::takes(&headers, Coding::Gzip);
    Ok(match file.as_str() {
        "souk.css" => asset(Bytes::from_static(STYLE), CSS, None),
        "start.js" => asset(Bytes::from_static(START), SCRIPT, None),
        "swagger-ui.css" if gzip => asset(Bytes::from_static(SWAGGER_STYLE), CSS, Some(Coding::Gzip)),
        "swagger-ui.css" => asset(SWAGGER_STYLE_DECODED.clone(), CSS, None),
        "swagger-ui-bundle.js" if gzip => asset(Bytes::from_static(SWAGGER), SCRIPT, Some(Coding::Gzip)),
        "swagger-ui-bundle.js" => asset(SWAGGER_DECODED.clone(), SCRIPT, None),
        _ => return Err(Problem::not_found("file")),
    })
}

fn asset(bytes: Bytes, kind: &'static str, coding: Option<Coding>) -> Response {
    let etag = etag::of_bytes(&bytes);
    let mut response = kept(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(etag) = etag {
        headers.insert(header::ETAG, etag);
    }
    if let Some(coding) = coding {
        headers.insert(header::CONTENT_ENCODING, coding.header());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_in_can_be_decoded() {
        assert!(SWAGGER_DECODED.windows(15).any(|part| part == b"SwaggerUIBundle"));
        assert!(SWAGGER_STYLE_DECODED.starts_with(b".swagger-ui"));
    }
}
