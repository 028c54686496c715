//! How requests are sent and timed.
//!
//! Depends on nothing of the crate.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Method, Url};
use serde_json::Value;

use super::{
    plan::{LoadError, Plan, Protocol},
    recorder::{Class, Kind, Recorder},
};

/// How much of an unexpected answer an error shows, in characters.
const SHOWN_CHARACTERS: usize = 200;

/// Sends requests to one shop.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    recorder: Arc<Recorder>,
}

/// What came back.
pub(super) struct Answer {
    /// `None` where nothing came back.
    pub(super) status: Option<u16>,
    /// Null where it was no JSON.
    pub(super) body: Value,
}

impl Answer {
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
    pub(super) fn new(plan: &Plan, recorder: Arc<Recorder>) -> Result<Self, LoadError> {
        let unreachable = |problem: String| LoadError::Unreachable { url: plan.url.clone(), problem };
        let base: Url = plan.url.parse().map_err(|error| unreachable(format!("it is no URL: {error}")))?;
        if base.scheme() != "http" || base.cannot_be_a_base() {
            return Err(unreachable("it must begin with http://".into()));
        }
        let builder = reqwest::Client::builder()
            .timeout(Duration::from_millis(plan.request_ms_max))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true);
        let builder = match plan.protocol {
            Protocol::Http1 => builder.http1_only().pool_max_idle_per_host(usize::MAX),
            Protocol::Http2 => builder.http2_prior_knowledge(),
        };
        let http = builder.build().map_err(|error| unreachable(error.to_string()))?;
        Ok(Self { http, base, recorder })
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Asks whether the shop is there at all, and says why not.
    pub(super) async fn knock(&self) -> Result<(), LoadError> {
        let Ok(url) = self.base.join("/livez") else { return Ok(()) };
        match self.http.get(url).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                // The cause says more than the error itself: "connection refused".
                let cause = std::iter::successors(std::error::Error::source(&error), |error| error.source()).last();
                let problem = cause.map_or_else(|| error.to_string(), ToString::to_string);
                Err(LoadError::Unreachable { url: self.base.to_string(), problem })
            }
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
        self.send(kind, self.request(Method::GET, url, token), due).await
    }

    pub(super) async fn post(
        &self,
        kind: Kind,
        path: &[&str],
        body: &Value,
        token: Option<&str>,
        due: Instant,
    ) -> Answer {
        let request = self.request(Method::POST, self.at(path), token).json(body);
        self.send(kind, request, due).await
    }

    pub(super) async fn delete(&self, kind: Kind, path: &[&str], token: Option<&str>) -> Answer {
        self.send(kind, self.request(Method::DELETE, self.at(path), token), Instant::now()).await
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        url
    }

    fn request(&self, method: Method, url: Url, token: Option<&str>) -> reqwest::RequestBuilder {
        let request = self.http.request(method, url);
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request and times it from the moment it was due until its answer is here as a whole.
    async fn send(&self, kind: Kind, request: reqwest::RequestBuilder, due: Instant) -> Answer {
        let answer = match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                match response.bytes().await {
                    Ok(bytes) => {
                        Answer { status: Some(status), body: serde_json::from_slice(&bytes).unwrap_or_default() }
                    }
                    Err(_) => Answer { status: None, body: Value::Null },
                }
            }
            Err(_) => Answer { status: None, body: Value::Null },
        };
        self.recorder.record(kind, due.elapsed(), Class::of(answer.status));
        answer
    }
}
