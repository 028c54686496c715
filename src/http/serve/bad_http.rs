//! Requests that break the rules of HTTP itself: they are answered with a problem, counted, and logged once a second at
//! most, and their connection ends.
//!
//! hyper answers some of them itself, with a status line and nothing else; [`Watched`](super::io::Watched) takes that
//! answer back, and the connection's task sends this one.
//!
//! Depends on its neighbours.

use std::error::Error;

use axum::{
    body::{HttpBody, to_bytes},
    http::{HeaderMap, HeaderValue, Version, header},
    response::{IntoResponse, Response},
};
use futures::FutureExt;

use super::super::{
    error::{Problem, kinds},
    peer::Peer,
};
use crate::log_throttle::Throttle;

/// Lines about such requests.
static LINES: Throttle = Throttle::new();
/// The longest problem document of this file, in bytes.
const PROBLEM_BYTES_MAX: usize = 16 * 1024;

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHttp {
    /// The head cannot be read.
    Malformed,
    /// HTTP/1.1 without exactly one `Host`.
    Host,
    /// More than one `Authorization`.
    Authorization,
    /// The head did not arrive in time.
    SlowHead,
    UriTooLong,
    /// The head is too large, or has too many fields.
    HeadTooLarge,
    /// Another version of HTTP.
    Version,
    /// HTTP where TLS is spoken.
    WithoutTls,
}

impl BadHttp {
    pub(super) const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Host,
        Self::Authorization,
        Self::SlowHead,
        Self::UriTooLong,
        Self::HeadTooLarge,
        Self::Version,
        Self::WithoutTls,
    ];

    /// What is wrong with a head that hyper has read.
    pub(super) fn of_head(version: Version, headers: &HeaderMap) -> Option<Self> {
        let is_single = |name| {
            let mut values = headers.get_all(name).iter();
            (values.next().is_some(), values.next().is_none())
        };
        if version == Version::HTTP_11 && is_single(header::HOST) != (true, true) {
            return Some(Self::Host);
        }
        (!is_single(header::AUTHORIZATION).1).then_some(Self::Authorization)
    }

    /// What was wrong with a head that hyper could not read; `None` if the connection has ended for another reason.
    pub(super) fn of_error(error: &(dyn Error + 'static)) -> Option<Self> {
        let error = error.downcast_ref::<hyper::Error>()?;
        if !error.is_parse() {
            return None;
        }
        // hyper tells these two apart only in words.
        let words = error.to_string();
        Some(match () {
            () if words.contains("HTTP version") => Self::Version,
            () if words.contains("URI") => {
                if words.contains("too long") {
                    Self::UriTooLong
                } else {
                    Self::Malformed
                }
            }
            () if error.is_parse_too_large() => Self::HeadTooLarge,
            () => Self::Malformed,
        })
    }

    /// The label in metrics and logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Host => "host",
            Self::Authorization => "authorization",
            Self::SlowHead => "slow_head",
            Self::UriTooLong => "uri_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::Version => "version",
            Self::WithoutTls => "without_tls",
        }
    }

    fn problem(self) -> Problem {
        let (kind, detail) = match self {
            Self::Malformed => {
                (&kinds::MALFORMED_REQUEST, "the request is not HTTP, or its head breaks the rules of HTTP")
            }
            Self::Host => (&kinds::MALFORMED_REQUEST, "an HTTP/1.1 request has exactly one Host header"),
            Self::Authorization => (&kinds::MALFORMED_REQUEST, "a request has at most one Authorization header"),
            Self::WithoutTls => (&kinds::MALFORMED_REQUEST, "this port speaks TLS: the address begins with https"),
            Self::SlowHead => (&kinds::REQUEST_TIMEOUT, "the head of the request did not arrive in time"),
            Self::UriTooLong => (&kinds::URI_TOO_LONG, "the URI is too long"),
            Self::HeadTooLarge => (&kinds::HEAD_TOO_LARGE, "the head has too many fields or bytes"),
            Self::Version => (&kinds::HTTP_VERSION, "the versions are HTTP/1.0, 1.1 and 2"),
        };
        Problem::new(kind, detail)
    }

    /// The answer, after which the connection ends.
    pub(super) fn response(self) -> Response {
        let mut response = self.problem().into_response();
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }

    /// The answer as HTTP/1.1 writes it.
    pub(super) fn bytes(self) -> Vec<u8> {
        let (parts, body) = self.response().into_parts();
        let length = body.size_hint().exact().unwrap_or_default();
        let body = to_bytes(body, PROBLEM_BYTES_MAX).now_or_never().and_then(Result::ok).unwrap_or_default();
        let mut bytes = format!("HTTP/1.1 {}\r\ncontent-length: {length}\r\n", parts.status).into_bytes();
        for (name, value) in parts.headers.iter().filter(|(name, _)| **name != header::CONTENT_LENGTH) {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        bytes
    }

    /// One line a second at most.
    pub(super) fn log(self, peer: Peer) {
        if let Some(left_out) = LINES.next_line() {
            tracing::info!(fault = self.name(), %peer, left_out, "a request that is not HTTP was refused");
        }
    }
}
