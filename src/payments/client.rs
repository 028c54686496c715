//! HTTP to a provider, within limits: no redirects and no proxies; the size, the type and the time of an answer are
//! limited. Anything but a complete answer is an unknown outcome.
//!
//! Depends on its neighbours.

use std::{error::Error, net::IpAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Method, RequestBuilder, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap},
    redirect,
};

use super::Unknown;

/// How long connecting to the provider may take, in milliseconds.
const CONNECT_MS_MAX: u64 = 3_000;
/// How much of an answer is read, in bytes. A page of a hundred payments with all details is about one million.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An HTTP client of one provider.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
}

/// A complete answer, of JSON.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The provider's address or the configuration of the client is not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// It is not a URL to which requests can be sent.
    #[error("{0:?} is not an http:// or https:// URL")]
    Address(String),
    /// A secret would be sent unencrypted.
    #[error("{0:?} is not encrypted, so the key would be sent in the clear: use https://, or http:// to this machine")]
    InTheClear(String),
    /// The key is unusable; the error does not show it.
    #[error("the key is empty, or has characters that are not allowed in a header")]
    Key,
    /// The HTTP client cannot be created.
    #[error("the HTTP client cannot be created: {0}")]
    Http(#[from] reqwest::Error),
}

impl Client {
    /// A client of the provider at this address. `answer_ms_max` limits the time of an answer, in milliseconds.
    pub(super) fn new(url: &str, answer_ms_max: u64) -> Result<Self, ClientError> {
        let address = || ClientError::Address(url.to_owned());
        let base: Url = url.parse().map_err(|_| address())?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(address());
        }
        let is_encrypted = base.scheme() == "https";
        let mut http = reqwest::Client::builder()
            .connect_timeout(Duration::from_millis(CONNECT_MS_MAX))
            .timeout(Duration::from_millis(answer_ms_max))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .https_only(is_encrypted);
        if !is_encrypted {
            // The system's certificates are not needed, and a machine without any must be able to start.
            http = http.tls_certs_only([]);
        }
        Ok(Self { http: http.build()?, base })
    }

    /// Whether requests stay secret in transit: they are encrypted, or do not leave the machine.
    pub(super) fn is_private(&self) -> bool {
        // The text of an IPv6 address is in brackets.
        let host = self.base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        self.base.scheme() == "https" || is_here
    }

    /// A request that changes something. The path's segments are percent-encoded.
    pub(super) fn post(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// A request that changes nothing. The path's segments are percent-encoded.
    pub(super) fn get(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.http.request(method, url)
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Reply, Unknown> {
        let unknown = |error: reqwest::Error| Unknown::new(with_causes(&error.without_url()));
        let mut response = request.send().await.map_err(unknown)?;
        let status = response.status();
        let headers = response.headers().clone();
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !content_type.starts_with("application/json") {
            return Err(Unknown::new(format!("{status} with {content_type:?} instead of JSON")));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(unknown)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Unknown::new(format!("{status} with more than {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, headers, body: body.freeze() })
    }
}

/// An error with its sources: the text of the library's own error only says that a request failed.
fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
