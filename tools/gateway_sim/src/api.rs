//! What all requests of the API have in common: their key, the script, the stored answer, errors in Stripe's form.
//!
//! As at Stripe, the first answer to a request with an `Idempotency-Key` is stored, including errors, and repeated for
//! the same request; the same key with another request is an error. The answer is not stored if the work had not begun:
//! the request is not valid, its key is in use, or there are too many requests. Stripe keeps answers for at least a
//! day; here they are kept for a day, or as long as the script says.
//!
//! Depends on `store`, `ledger`, `methods`, `objects`, `provider` and `script`.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::{future, stream};
use serde_json::{Value, json};

use crate::{
    ledger::{Metadata, StoredAnswer},
    methods::SLOW_MS,
    objects,
    provider::{Provider, now_ms},
    script::{Fault, Operation, Rule},
    store::Store,
};

const KEY_HEADER: &str = "idempotency-key";
/// How long the answer under a key is stored, in milliseconds.
const STORED_MS: u64 = 86_400_000;
/// The longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// How many metadata an object may have, and the longest name and text, in bytes.
const METADATA_MAX: usize = 50;
const METADATA_NAME_MAX: usize = 40;
const METADATA_TEXT_MAX: usize = 500;

/// Why a request was refused.
pub(crate) struct Refusal {
    status: StatusCode,
    error: Value,
    /// Whether the work had begun, so that this answer is stored under the request's key.
    is_begun: bool,
}

impl Refusal {
    fn new(status: StatusCode, kind: &str, code: Option<&str>, param: Option<&str>, message: &str) -> Self {
        let error = json!({"type": kind, "code": code, "param": param, "message": message});
        Self { status, error, is_begun: false }
    }

    /// A parameter is not valid.
    pub(crate) fn invalid(code: Option<&str>, param: &str, message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", code, Some(param), message)
    }

    /// The object in the URL does not exist.
    pub(crate) fn missing(param: &str) -> Self {
        let message = format!("No such {param}.");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", Some("resource_missing"), Some(param), &message)
    }

    /// The state of the payment does not allow the request.
    pub(crate) fn not_now(code: Option<&str>, message: &str) -> Self {
        let refusal = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", code, None, message);
        Self { is_begun: true, ..refusal }
    }

    /// The card was declined.
    pub(crate) fn declined(reason: &str, intent: Value) -> Self {
        let mut error = objects::card_error(reason);
        error["payment_intent"] = intent;
        Self { status: StatusCode::PAYMENT_REQUIRED, error, is_begun: true }
    }

    fn failed() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "api_error", None, None, "By the script.")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.error}))).into_response()
    }
}

/// How many objects a page has unless the request says, and at most.
const PAGE: u64 = 10;
const PAGE_MAX: u64 = 100;

/// The parameters of a form or a query.
#[derive(Debug, Default)]
pub(crate) struct Params(BTreeMap<String, String>);

impl Params {
    /// Accepts parameters with these names only; `name[]` and `name[inner]` belong to `name`.
    pub(crate) fn new(pairs: Vec<(String, String)>, known: &[&str]) -> Result<Self, Refusal> {
        for (name, _) in &pairs {
            let base = name.split('[').next().unwrap_or_default();
            if !known.contains(&base) {
                let message = format!("Received unknown parameter: {name}");
                return Err(Refusal::invalid(Some("parameter_unknown"), name, &message));
            }
        }
        Ok(Self(pairs.into_iter().collect()))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn require(&self, name: &str) -> Result<&str, Refusal> {
        let missing = || Refusal::invalid(Some("parameter_missing"), name, &format!("Missing required param: {name}."));
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(missing)
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let invalid = || Refusal::invalid(Some("parameter_invalid_integer"), name, "Invalid integer");
        self.get(name).map(|value| value.parse().map_err(|_| invalid())).transpose()
    }

    /// A page of the list of objects, newest first, that the query asks for, and whether there are more.
    pub(crate) fn page<'a, T>(
        &self,
        objects: impl Iterator<Item = &'a T>,
        name: fn(&T) -> &str,
    ) -> Result<(Vec<&'a T>, bool), Refusal> {
        let limit = self.number("limit")?.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(Refusal::invalid(Some("parameter_invalid_integer"), "limit", "A page has 1 to 100 objects."));
        }
        let (limit, mut objects) = (usize::try_from(limit).unwrap_or(usize::MAX), objects);
        if let Some(after) = self.get("starting_after")
            && !objects.any(|object| name(object) == after)
        {
            return Err(Refusal::invalid(Some("resource_missing"), "starting_after", "There is no such object."));
        }
        let mut page: Vec<&T> = objects.take(limit + 1).collect();
        let has_more = page.len() > limit;
        page.truncate(limit);
        Ok((page, has_more))
    }

    /// The value of a parameter that must be one of these.
    pub(crate) fn one_of<'a>(&'a self, name: &str, values: &[&'a str]) -> Result<&'a str, Refusal> {
        let value = self.get(name).unwrap_or(values[0]);
        let invalid = || Refusal::invalid(None, name, &format!("Invalid {name}: must be one of {}", values.join(", ")));
        values.contains(&value).then_some(value).ok_or_else(invalid)
    }

    pub(crate) fn metadata(&self) -> Result<Metadata, Refusal> {
        let inner = |name: &str| Some(name.strip_prefix("metadata[")?.strip_suffix(']')?.to_owned());
        let metadata: Metadata =
            self.0.iter().filter_map(|(name, value)| Some((inner(name)?, value.clone()))).collect();
        let fits = |(name, text): (&String, &String)| {
            (1..=METADATA_NAME_MAX).contains(&name.len()) && text.len() <= METADATA_TEXT_MAX
        };
        if metadata.len() > METADATA_MAX || !metadata.iter().all(fits) {
            return Err(Refusal::invalid(None, "metadata", "The metadata is too large."));
        }
        Ok(metadata)
    }

    /// All parameters as text, by which two requests are compared.
    fn text(&self) -> String {
        self.0.iter().map(|(name, value)| format!("&{name}={value}")).collect()
    }
}

/// The part of a key for tests that follows its prefix.
fn name_of_key(headers: &HeaderMap) -> Option<&str> {
    let key = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    key.strip_prefix("sk_test_").or_else(|| key.strip_prefix("rk_test_"))
}

/// The account of a key: each key has one of its own.
pub(crate) async fn account(headers: HeaderMap) -> Response {
    let id = format!("acct_{}", name_of_key(&headers).unwrap_or_default());
    Json(json!({"id": id, "object": "account"})).into_response()
}

/// Accepts requests with a test key only.
pub(crate) async fn authorise(request: Request, next: Next) -> Response {
    if name_of_key(request.headers()).is_some() {
        return next.run(request).await;
    }
    let message = "Invalid API key: only keys for tests (sk_test_…) are taken.";
    Refusal::new(StatusCode::UNAUTHORIZED, "invalid_request_error", None, None, message).into_response()
}

/// What the script and the stored answers need to know about a request.
pub(crate) struct RequestInfo {
    /// The same as in the ledger.
    pub(crate) key: String,
    pub(crate) operation: Operation,
    /// The payment method; empty if it is not known.
    pub(crate) method: String,
    pub(crate) path: String,
}

/// A key that is in use until this is dropped.
struct KeyInUse<'a> {
    provider: &'a Provider,
    key: String,
}

impl Drop for KeyInUse<'_> {
    fn drop(&mut self) {
        self.provider.store.lock().free_key(&self.key);
    }
}

impl<'a> KeyInUse<'a> {
    fn take(provider: &'a Provider, headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let Some(key) = headers.get(KEY_HEADER) else { return Ok(None) };
        let key = key.to_str().unwrap_or_default();
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(Refusal::invalid(None, "Idempotency-Key", "A key has 1 to 255 characters."));
        }
        if !provider.store.lock().take_key(key) {
            let (code, message) = ("idempotency_key_in_use", "Another request uses this key now.");
            return Err(Refusal::new(StatusCode::CONFLICT, "idempotency_error", Some(code), None, message));
        }
        Ok(Some(Self { provider, key: key.to_owned() }))
    }
}

/// An answer before it is sent and stored.
struct Reply {
    status: u16,
    body: Value,
    is_replay: bool,
}

impl Reply {
    fn of(refusal: &Refusal) -> Self {
        Self { status: refusal.status.as_u16(), body: json!({"error": refusal.error}), is_replay: false }
    }

    fn send(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.body)).into_response();
        if self.is_replay {
            response.headers_mut().insert("Idempotent-Replayed", HeaderValue::from_static("true"));
        }
        response
    }
}

/// Performs a request and answers it, with the faults of the script. `work` receives whether the script declines the
/// payment.
pub(crate) async fn change(
    provider: &Arc<Provider>,
    headers: &HeaderMap,
    asked: RequestInfo,
    params: &Params,
    work: impl FnOnce(&mut Store, bool) -> Result<Value, Refusal>,
) -> Response {
    let rule = provider.script.of_request(&asked.key, asked.operation, &asked.method);
    let key = match KeyInUse::take(provider, headers) {
        Ok(key) => key,
        Err(refusal) => return refusal.into_response(),
    };
    tokio::time::sleep(Duration::from_millis(rule.latency_ms)).await;
    if let Some(response) = before(rule.fault) {
        return response;
    }
    let request = format!("{}?{}", asked.path, params.text());
    let key_name = key.as_ref().map(|key| key.key.as_str());
    let Ok(reply) = once(provider, key_name, &request, &rule, work) else {
        return Refusal::failed().into_response();
    };
    provider.announce();
    drop(key);
    let is_first_charge = asked.operation == Operation::Charge && !reply.is_replay;
    match asked.method.as_str() {
        "tok_slow" if is_first_charge => tokio::time::sleep(Duration::from_millis(SLOW_MS)).await,
        "tok_timeout_after_charge" if is_first_charge => return broken(),
        _ => {}
    }
    after(rule.fault, reply).await
}

/// Reads objects and answers, with the faults of the script.
pub(crate) async fn inspect(
    provider: &Arc<Provider>,
    asked: RequestInfo,
    work: impl FnOnce(&mut Store) -> Result<Value, Refusal>,
) -> Response {
    let rule = provider.script.of_request(&asked.key, asked.operation, &asked.method);
    tokio::time::sleep(Duration::from_millis(rule.latency_ms)).await;
    if let Some(response) = before(rule.fault) {
        return response;
    }
    let (found, flushed) = {
        let mut store = provider.store.lock();
        (work(&mut store), store.flush())
    };
    provider.announce();
    match (found, flushed) {
        (_, Err(_)) => Refusal::failed().into_response(),
        (Ok(body), Ok(())) => after(rule.fault, Reply { status: 200, body, is_replay: false }).await,
        (Err(refusal), Ok(())) => after(rule.fault, Reply::of(&refusal)).await,
    }
}

/// Performs a request, or returns the answer that is stored under its key.
fn once(
    provider: &Provider,
    key: Option<&str>,
    request: &str,
    &Rule { fault, forget_ms, .. }: &Rule,
    work: impl FnOnce(&mut Store, bool) -> Result<Value, Refusal>,
) -> io::Result<Reply> {
    let mut store = provider.store.lock();
    let now_ms = now_ms();
    if let Some(stored) = key.and_then(|key| store.answer(key, now_ms)) {
        if stored.request != request {
            let message = "A key can only be used with the request that it was first used with.";
            return Ok(Reply::of(&Refusal::new(StatusCode::BAD_REQUEST, "idempotency_error", None, None, message)));
        }
        let body = serde_json::from_str(&stored.body).unwrap_or_default();
        return Ok(Reply { status: stored.status, body, is_replay: true });
    }
    let done = match fault {
        Fault::FailsStored => Err(Refusal { is_begun: true, ..Refusal::failed() }),
        fault => work(&mut store, fault == Fault::Declined),
    };
    let (mut reply, is_begun) = match done {
        Ok(body) => (Reply { status: 200, body, is_replay: false }, true),
        Err(refusal) => (Reply::of(&refusal), refusal.is_begun),
    };
    if fault == Fault::FailsAfter {
        reply = Reply::of(&Refusal::failed());
    }
    if let Some(key) = key.filter(|_| is_begun) {
        let (request, status, body) = (request.to_owned(), reply.status, reply.body.to_string());
        let until_ms = now_ms.saturating_add(forget_ms.unwrap_or(STORED_MS));
        store.store_answer(StoredAnswer { idempotency_key: key.to_owned(), request, status, body, until_ms });
    }
    store.flush()?;
    Ok(reply)
}

/// The script's answer before the work, if it has one.
fn before(fault: Fault) -> Option<Response> {
    match fault {
        Fault::RequestLost => Some(broken()),
        Fault::FailsBefore => Some(Refusal::failed().into_response()),
        Fault::TooMany => {
            let (kind, code, message) = ("invalid_request_error", Some("rate_limit"), "By the script.");
            Some(Refusal::new(StatusCode::TOO_MANY_REQUESTS, kind, code, None, message).into_response())
        }
        _ => None,
    }
}

/// Applies the script's fault to an answer.
async fn after(fault: Fault, mut reply: Reply) -> Response {
    match fault {
        Fault::AnswerLost => broken(),
        Fault::Silence => future::pending().await,
        Fault::FailsAfter => Refusal::failed().into_response(),
        Fault::Garbage => ([(header::CONTENT_TYPE, "application/json")], "{\"id\":").into_response(),
        Fault::WrongAmount => {
            falsify(&mut reply.body);
            if let Some(data) = reply.body["data"].as_array_mut() {
                data.iter_mut().for_each(falsify);
            }
            reply.send()
        }
        _ => reply.send(),
    }
}

/// Increases the amounts of an object by one.
fn falsify(object: &mut Value) {
    for name in ["amount", "amount_received", "amount_capturable"] {
        if let Some(amount) = object[name].as_u64().filter(|amount| *amount > 0) {
            object[name] = json!(amount + 1);
        }
    }
}

/// An answer that breaks off before its first byte.
fn broken() -> Response {
    let nothing = stream::iter([Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionAborted))]);
    let mut response = Response::new(Body::from_stream(nothing));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
