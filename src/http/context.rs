//! The path, the ids and the body of the current request, for any code in its task.
//!
//! The path is the one that the client sent; in a nested router it includes the prefix.
//!
//! Depends on its neighbours, `shop` and `domain`.

use std::{
    cell::{Cell, RefCell},
    future::Future,
};

use axum::{
    extract::{OriginalUri, Request},
    http::{HeaderValue, Uri},
};
use data_encoding::HEXLOWER;

use super::schema::{Fault, ReadBody};
use crate::{domain::account::Role, shop::Shop};

/// The longest request id taken from a client, in characters; a longer one is replaced.
const REQUEST_ID_CHARACTERS_MAX: usize = 64;

/// The context of a request. Cheap to create: every request has one, and few need it.
pub(super) struct Context {
    /// The URI as the client sent it.
    uri: Uri,
    /// The length of the nested router's prefix in the path, in bytes.
    prefix_bytes: usize,
    /// The client's name for the request, or else the trace id: what `X-Request-Id` answers.
    pub(super) request_id: HeaderValue,
    /// Identifies the request in the logs: the trace id of its `traceparent`, or else the request id.
    pub(super) trace_id: HeaderValue,
    /// The JSON body, once it is read.
    body: RefCell<Option<ReadBody>>,
    /// The shop for a request with an idempotency key.
    shop: RefCell<Option<Shop>>,
    /// The role of its sender, once the token is verified.
    role: Cell<Option<Role>>,
}

tokio::task_local! {
    static CONTEXT: Context;
}

/// Runs a request within its context.
///
/// The future has room for the request's once; as an `async fn` it would have it twice.
pub(super) fn within<F: Future>(context: Context, request: F) -> impl Future<Output = F::Output> {
    CONTEXT.scope(context, request)
}

/// The path of the current request without its query, which may contain a user's search; empty outside of a request.
pub(super) fn path() -> String {
    CONTEXT.try_with(|context| context.uri.path().to_owned()).unwrap_or_default()
}

/// The client's name for the current request, where the trace has another one.
pub(super) fn request_id() -> Option<String> {
    let other = |context: &Context| {
        let id = (context.request_id != context.trace_id).then(|| context.request_id.to_str())?;
        id.ok().map(str::to_owned)
    };
    CONTEXT.try_with(other).ok().flatten()
}

/// The request id and the trace id of the current request; both are empty outside of a request.
pub(super) fn ids() -> [String; 2] {
    let text = |id: &HeaderValue| id.to_str().unwrap_or_default().to_owned();
    CONTEXT.try_with(|context| [&context.request_id, &context.trace_id].map(text)).unwrap_or_default()
}

/// The target of the current request as it was sent; empty outside of a request.
pub(super) fn uri() -> Uri {
    CONTEXT.try_with(|context| context.uri.clone()).unwrap_or_default()
}

/// Keeps the body of the current request for [`faults`].
pub(super) fn keep_body(body: ReadBody) {
    // Without a context nobody asks for it.
    let _ = CONTEXT.try_with(|context| context.body.replace(Some(body)));
}

/// What the schema says against the body of the current request.
pub(super) fn faults() -> Vec<Fault> {
    let body = CONTEXT.try_with(|context| context.body.borrow().clone()).ok().flatten();
    body.map(|body| body.faults()).unwrap_or_default()
}

/// Keeps the shop for the current request, if it has an idempotency key, for [`is_repeat`].
pub(super) fn keep_shop(shop: Shop) {
    let _ = CONTEXT.try_with(|context| context.shop.replace(Some(shop)));
}

/// Whether an earlier request with the same key did what the current one asks for.
pub(super) fn is_repeat() -> bool {
    CONTEXT.try_with(|context| context.shop.borrow().as_ref().is_some_and(Shop::is_repeat)).unwrap_or(false)
}

/// Keeps the role of the sender of the current request for [`role`].
pub(super) fn keep_role(role: Role) {
    // Without a context nobody asks for it.
    let _ = CONTEXT.try_with(|context| context.role.set(Some(role)));
}

/// The role of the sender of the current request, if its token was verified.
pub(super) fn role() -> Option<Role> {
    CONTEXT.try_with(|context| context.role.get()).ok().flatten()
}

/// A path of the shop as clients must write it: with the prefix of the nested router.
pub(super) fn public_path(path: &str) -> String {
    CONTEXT.try_with(|context| format!("{}{path}", context.prefix())).unwrap_or_else(|_| path.to_owned())
}

/// The trace id of the current request; empty outside of a request.
pub(super) fn trace_id() -> String {
    CONTEXT.try_with(|context| context.trace_id.to_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

impl Context {
    /// Takes the client's request id and the trace id of its `traceparent`. Where only one of them can be used, it is
    /// both; where none can, one is generated.
    pub(super) fn of(request: &Request) -> Self {
        let headers = request.headers();
        let named = headers.get("x-request-id").filter(|id| is_safe(id.as_bytes())).cloned();
        let traced = headers.get("traceparent").and_then(trace_of);
        let (request_id, trace_id) = match (named, traced) {
            (Some(named), Some(traced)) => (named, traced),
            (Some(id), None) | (None, Some(id)) => (id.clone(), id),
            (None, None) => {
                let fresh = fresh();
                (fresh.clone(), fresh)
            }
        };
        let inner = request.uri();
        let uri = request.extensions().get::<OriginalUri>().map_or(inner, |OriginalUri(uri)| uri);
        let prefix_bytes = match inner.path() {
            // The prefix itself, with or without a slash behind it, is the nested router's `/`.
            "/" => uri.path().trim_end_matches('/').len(),
            path => uri.path().strip_suffix(path).map_or(0, str::len),
        };
        Self {
            uri: uri.clone(),
            prefix_bytes,
            request_id,
            trace_id,
            body: RefCell::new(None),
            shop: RefCell::new(None),
            role: Cell::new(None),
        }
    }

    fn prefix(&self) -> &str {
        self.uri.path().get(..self.prefix_bytes).unwrap_or_default()
    }
}

/// Whether an id can stand in any log, answer or command line as it is.
fn is_safe(id: &[u8]) -> bool {
    let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    (1..=REQUEST_ID_CHARACTERS_MAX).contains(&id.len()) && id.iter().all(is_safe)
}

/// The trace id of a `traceparent` (W3C Trace Context): version, trace id, parent id and flags.
fn trace_of(parent: &HeaderValue) -> Option<HeaderValue> {
    let mut parts = parent.to_str().ok()?.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, digits: usize| part.len() == digits && HEXLOWER.decode(part.as_bytes()).is_ok();
    // A later version may have more parts.
    let is_whole = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    let is_id = |part: &str, digits| is_hex(part, digits) && part.bytes().any(|digit| digit != b'0');
    let is_valid = is_whole && is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2);
    HeaderValue::from_str(trace).ok().filter(|_| is_valid)
}

fn fresh() -> HeaderValue {
    let mut fresh = [0; 32];
    HEXLOWER.encode_mut(&fastrand::u128(..).to_be_bytes(), &mut fresh);
    // Hexadecimal digits are always a valid header value.
    HeaderValue::from_bytes(&fresh).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}
