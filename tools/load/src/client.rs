//! Sends requests and times them.
//!
//! It uses hyper's own client, because the generator shares the processors with the shop that it measures, and does not
//! need redirects, cookies or proxies.
//!
//! Depends on `answer`, `kind`, `plan` and `recorder`.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::Value;
use url::Url;

use crate::{
    answer::{Answer, NoAnswer},
    kind::Kind,
    plan::{LoadError, Plan, Protocol},
    recorder::Recorder,
};

/// Sends requests to one shop.
#[derive(Clone)]
pub(crate) struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    base: Url,
    /// How long an answer may take.
    timeout: Duration,
    recorder: Arc<Recorder>,
}

impl Client {
    pub(crate) fn new(plan: &Plan, recorder: Arc<Recorder>) -> Result<Self, LoadError> {
        let base = shop_address(&plan.url)?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).http2_only(plan.protocol == Protocol::Http2);
        let (http, timeout) = (builder.build(connector), Duration::from_millis(plan.request_ms_max));
        Ok(Self { http, base, timeout, recorder })
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// Fails with the reason if no shop answers at the URL.
    pub(crate) async fn check_reachable(&self) -> Result<(), LoadError> {
        let url = self.at(&["livez"]);
        let unreachable = |problem: String| Err(LoadError::Unreachable { url: self.base.to_string(), problem });
        let Some(request) = request(Method::GET, &url, None, None) else {
            return Err(LoadError::Address { url: self.base.to_string(), problem: "it is not a valid URL".into() });
        };
        match tokio::time::timeout(self.timeout, self.http.request(request)).await {
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) if answer.status().is_server_error() => {
                unreachable(format!("GET {url} answered {}", answer.status().as_u16()))
            }
            Ok(Ok(answer)) => {
                let problem = format!("there is no shop: GET {url} answered {}", answer.status().as_u16());
                Err(LoadError::Address { url: self.base.to_string(), problem })
            }
            Ok(Err(error)) => {
                // The deepest cause says more than the error itself: "connection refused".
                let cause = std::iter::successors(error.source(), |error| (*error).source()).last();
                unreachable(cause.map_or_else(|| error.to_string(), ToString::to_string))
            }
            Err(_) => unreachable("no answer in time".into()),
        }
    }

    /// Sends a GET; `query` is encoded here.
    pub(crate) async fn get(
        &self,
        kind: Kind,
        path: &[&str],
        query: &[(&str, &str)],
        token: Option<&str>,
        due: Instant,
    ) -> Answer {
        let mut url = self.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(kind, request(Method::GET, &url, token, None), due).await
    }

    /// Sends a POST; a null body is left out.
    pub(crate) async fn post(
        &self,
        kind: Kind,
        path: &[&str],
        body: &Value,
        token: Option<&str>,
        due: Instant,
    ) -> Answer {
        let body = Some(body).filter(|body| !body.is_null());
        self.send(kind, request(Method::POST, &self.at(path), token, body), due).await
    }

    pub(crate) async fn put(
        &self,
        kind: Kind,
        path: &[&str],
        body: &Value,
        token: Option<&str>,
        due: Instant,
    ) -> Answer {
        self.send(kind, request(Method::PUT, &self.at(path), token, Some(body)), due).await
    }

    pub(crate) async fn delete(&self, kind: Kind, path: &[&str], token: Option<&str>) -> Answer {
        self.send(kind, request(Method::DELETE, &self.at(path), token, None), Instant::now()).await
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// Sends a request and records its latency, from the moment it was due until the whole answer has arrived.
    async fn send(&self, kind: Kind, request: Option<Request<Full<Bytes>>>, due: Instant) -> Answer {
        let answer = match request {
            Some(request) => tokio::time::timeout(self.timeout, self.exchange(request)).await,
            None => Ok(Err(NoAnswer::NotSent)),
        };
        let answer = answer.unwrap_or(Err(NoAnswer::TimedOut)).unwrap_or_else(Answer::missing);
        self.recorder.record(kind, due.elapsed(), answer.status);
        if let Ok(status @ 400..) = answer.status {
            self.recorder.problem(kind, status, answer.body["code"].as_str().unwrap_or("without a code"));
        }
        answer
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        let response = self.http.request(request).await.map_err(|error| NoAnswer::of(&error))?;
        let status = Ok(response.status().as_u16());
        let bytes = response.into_body().collect().await.map_err(|error| NoAnswer::of(&error))?.to_bytes();
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or_default() })
    }
}

/// The URL of a shop. It may have a path, if the shop is nested in another server.
fn shop_address(text: &str) -> Result<Url, LoadError> {
    let wrong = |problem: String| LoadError::Address { url: text.to_owned(), problem };
    let base: Url = match text.parse() {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            return Err(wrong(format!("write http:// before it: http://{text}")));
        }
        Err(error) => return Err(wrong(format!("it is not a URL: {error}"))),
    };
    match base.scheme() {
        "http" if base.query().is_none() && base.fragment().is_none() => Ok(base),
        "http" => Err(wrong("the address of a shop has no query and no fragment".into())),
        "https" => Err(wrong("the generator does not support TLS: use the http:// URL behind the proxy".into())),
        // `localhost:8080` is read as a URL with the scheme `localhost`.
        _ => Err(wrong(format!("it must begin with http://, for example http://{DEFAULT_ADDRESS}"))),
    }
}

const DEFAULT_ADDRESS: &str = "127.0.0.1:8080";

/// `None` if the URL or the token is not allowed in a request.
fn request(method: Method, url: &Url, token: Option<&str>, body: Option<&Value>) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::builder().method(method).uri(Uri::try_from(url.as_str()).ok()?);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let bytes = match body {
        Some(body) => {
            request = request.header(CONTENT_TYPE, "application/json");
            serde_json::to_vec(body).ok()?
        }
        None => Vec::new(),
    };
    request.body(Full::from(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_address_is_refused_with_an_example() {
        for (address, word) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("localhost:8080", "must begin with http://"),
            ("ftp://127.0.0.1", "must begin with http://"),
            ("https://127.0.0.1", "does not support TLS"),
            ("http://127.0.0.1/?a=b", "no query"),
            ("http://", "it is not a URL"),
        ] {
            let error = shop_address(address).unwrap_err().to_string();
            assert!(error.contains(word), "{address}: {error}");
        }
        assert!(shop_address("http://127.0.0.1:8080/shop").is_ok());
    }
}
