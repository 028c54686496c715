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
    witness::Witness,
};

/// How much of an unexpected answer an error shows, in characters.
const SHOWN_CHARACTERS: usize = 200;

/// Sends requests to one shop.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
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
        Self { fate: Fate::Broken, status: None, body: Value::Null }
    }

    fn missing(error: &reqwest::Error) -> Self {
        Self { fate: if error.is_timeout() { Fate::TimedOut } else { Fate::Broken }, status: None, body: Value::Null }
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
        Ok(Self { http, base, recorder, witness })
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

    /// Sends a body; null for none.
    pub(super) async fn post(
        &self,
        kind: Kind,
        path: &[&str],
        body: &Value,
        token: Option<&str>,
        due: Instant,
    ) -> Answer {
        let request = self.request(Method::POST, self.at(path), token);
        let request = if body.is_null() { request } else { request.json(body) };
        self.send(kind, request, due).await
    }

    pub(super) async fn put(
        &self,
        kind: Kind,
        path: &[&str],
        body: &Value,
        token: Option<&str>,
        due: Instant,
    ) -> Answer {
        let request = self.request(Method::PUT, self.at(path), token).json(body);
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
                        let body = serde_json::from_slice(&bytes).unwrap_or_default();
                        Answer { fate: Fate::Answered, status: Some(status), body }
                    }
                    Err(error) => Answer::missing(&error),
                }
            }
            Err(error) => Answer::missing(&error),
        };
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
}
