//! HTTP to a provider, on a short leash: no redirects and no proxies, an answer of bounded size, type and time. Whatever is not a
//! whole answer is unknown.
//!
//! Depends on its neighbours.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{RequestBuilder, StatusCode, Url, header::CONTENT_TYPE, redirect};

use super::Unknown;

/// How long a connection to the provider may take, in milliseconds.
const CONNECT_MS_MAX: u64 = 3_000;
/// How much of an answer is read, in bytes: a payment with all its refunds is some kilobytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Sends requests to one provider.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
}

/// A whole answer, of JSON.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// The provider's address or the client's own set-up is no good.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It is no URL to which requests can go.
    #[error("{0:?} is no http:// or https:// address")]
    Address(String),
    /// The HTTP client cannot be made.
    #[error("the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

impl Client {
    /// A client of the provider at this address, whose answers may take so long.
    pub(super) fn new(url: &str, answer_ms_max: u64) -> Result<Self, ClientError> {
        let address = || ClientError::Address(url.to_owned());
        let base: Url = url.parse().map_err(|_| address())?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(address());
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_millis(CONNECT_MS_MAX))
            .timeout(Duration::from_millis(answer_ms_max))
            .redirect(redirect::Policy::none())
            .no_proxy();
        Ok(Self { http: http.build()?, base })
    }

    /// A request to this path, in parts that are encoded.
    pub(super) fn post(&self, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.http.post(url)
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Reply, Unknown> {
        let unknown = |error: reqwest::Error| Unknown { problem: error.without_url().to_string() };
        let mut response = request.send().await.map_err(unknown)?;
        let status = response.status();
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !content_type.starts_with("application/json") {
            return Err(Unknown { problem: format!("{status} with {content_type:?} instead of JSON") });
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(unknown)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Unknown { problem: format!("{status} with more than {ANSWER_BYTES_MAX} bytes") });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, body: body.freeze() })
    }
}
