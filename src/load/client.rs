//! How requests are sent and timed: with hyper's own client, since the generator takes its time from the same processors as the shop
//! that it measures, and redirects, cookies and proxies are not what it needs.
//!
//! Depends on nothing of the crate.

use std::{
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
use reqwest::Url;
use serde_json::Value;

use super::{
    plan::{LoadError, Plan, Protocol},
    recorder::{Class, Kind, Recorder},
    witness::Witness,
};

/// How much of an unexpected answer an error shows, in characters.
const SHOWN_CHARACTERS: usize = 200;

/// Sends requests to one shop.
#[derive(Clone)]
pub(super) struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    base: Url,
    /// How long an answer may take.
    time_max: Duration,
    recorder: Arc<Recorder>,
    witness: Option<Arc<Witness>>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// With an answer.
    Answered,
    /// Not in time.
    TimedOut,
    /// The connection broke, or there was none.
    Broken,
}

/// What came back.
pub(super) struct Answer {
    pub(super) fate: Fate,
    /// `None` where nothing came back.
    pub(super) status: Option<u16>,
    /// Null where it was no JSON.
    pub(super) body: Value,
}

impl Answer {
    /// Nothing was asked.
    pub(super) fn not_sent() -> Self {
        Self::missing(Fate::Broken)
    }

    fn missing(fate: Fate) -> Self {
        Self { fate, status: None, body: Value::Null }
    }

    pub(super) fn is_done(&self) -> bool {
        Class::of(self.status) == Class::Done
    }

    /// The body of an answer without which a run cannot begin.
    pub(super) fn needed(self, base: &Url, what: &str) -> Result<Value, LoadError> {
        match self.status {
            Some(200..=299) => Ok(self.body),
            Some(status) => {
                let answer = self.body.to_string().chars().take(SHOWN_CHARACTERS).collect();
                Err(LoadError::Refused { what: what.to_owned(), status, answer })
            }
            None => Err(LoadError::Unreachable { url: base.to_string(), problem: "no answer".into() }),
        }
    }
}

impl Client {
    pub(super) fn new(plan: &Plan, recorder: Arc<Recorder>, witness: Option<Arc<Witness>>) -> Result<Self, LoadError> {
        let unreachable = |problem: String| LoadError::Unreachable { url: plan.url.clone(), problem };
        let base: Url = plan.url.parse().map_err(|error| unreachable(format!("it is no URL: {error}")))?;
        if base.scheme() != "http" || base.cannot_be_a_base() {
            return Err(unreachable("it must begin with http://".into()));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).http2_only(plan.protocol == Protocol::Http2);
        let (http, time_max) = (builder.build(connector), Duration::from_millis(plan.request_ms_max));
        Ok(Self { http, base, time_max, recorder, witness })
    }

    /// Who writes the history, where one is wanted.
    pub(super) fn witness(&self) -> Option<&Witness> {
        self.witness.as_deref()
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Asks whether the shop is there at all, and says why not.
    pub(super) async fn knock(&self) -> Result<(), LoadError> {
        let unreachable = |problem: String| Err(LoadError::Unreachable { url: self.base.to_string(), problem });
        let Some(request) = request(Method::GET, &self.at(&["livez"]), None, None) else {
            return unreachable("it is no address".into());
        };
        match tokio::time::timeout(self.time_max, self.http.request(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                // The cause says more than the error itself: "connection refused".
                let cause = std::iter::successors(std::error::Error::source(&error), |error| error.source()).last();
                unreachable(cause.map_or_else(|| error.to_string(), ToString::to_string))
            }
            Err(_) => unreachable("no answer in time".into()),
        }
    }

    /// Reads something; `query` is encoded here.
    pub(super) async fn get(
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

    /// Sends a body; null for none.
    pub(super) async fn post(
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

    pub(super) async fn put(
        &self,
        kind: Kind,
        path: &[&str],
        body: &Value,
        token: Option<&str>,
        due: Instant,
    ) -> Answer {
        self.send(kind, request(Method::PUT, &self.at(path), token, Some(body)), due).await
    }

    pub(super) async fn delete(&self, kind: Kind, path: &[&str], token: Option<&str>) -> Answer {
        self.send(kind, request(Method::DELETE, &self.at(path), token, None), Instant::now()).await
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        url
    }

    /// Sends a request, if it is one, and times it from the moment it was due until its answer is here as a whole.
    async fn send(&self, kind: Kind, request: Option<Request<Full<Bytes>>>, due: Instant) -> Answer {
        let answer = match request {
            Some(request) => tokio::time::timeout(self.time_max, self.exchange(request)).await,
            None => Ok(Err(Fate::Broken)),
        };
        let answer = answer.unwrap_or(Err(Fate::TimedOut)).unwrap_or_else(Answer::missing);
        let class = Class::of(answer.status);
        let took = match (answer.fate, class) {
            (Fate::Answered, Class::Done | Class::Refused) | (Fate::TimedOut, _) => Some(due.elapsed()),
            (Fate::Answered | Fate::Broken, _) => None,
        };
        self.recorder.record(kind, took, class);
        if let Some(status @ 400..) = answer.status {
            self.recorder.problem(kind, status, answer.body["code"].as_str().unwrap_or("without a code"));
        }
        answer
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Fate> {
        let response = self.http.request(request).await.map_err(|_| Fate::Broken)?;
        let status = Some(response.status().as_u16());
        let bytes = response.into_body().collect().await.map_err(|_| Fate::Broken)?.to_bytes();
        Ok(Answer { fate: Fate::Answered, status, body: serde_json::from_slice(&bytes).unwrap_or_default() })
    }
}

/// `None` where the address or the token cannot stand in a request.
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
