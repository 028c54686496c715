//! The path and the trace id of the current request, for any code in its task.
//!
//! The path is the one that the client sent; in a nested router it includes the prefix.
//!
//! Depends on nothing of the crate.

use std::future::Future;

use axum::{
    extract::{OriginalUri, Request},
    http::{HeaderValue, Uri},
};
use data_encoding::HEXLOWER;

/// The longest request id taken from a client, in bytes; a longer one is replaced.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The context of a request. Cheap to create: every request has one, and few need it.
#[derive(Clone)]
pub(super) struct Context {
    /// The URI as the client sent it.
    uri: Uri,
    /// The length of the nested router's prefix in the path, in bytes.
    prefix_bytes: usize,
    /// Identifies the request in the logs.
    pub(super) trace_id: HeaderValue,
}

tokio::task_local! {
    static CONTEXT: Context;
}

/// Runs a request within its context.
pub(super) async fn within<F: Future>(context: Context, request: F) -> F::Output {
    CONTEXT.scope(context, request).await
}

/// The path of the current request without its query, which may contain a user's search; empty outside of a request.
pub(super) fn path() -> String {
    CONTEXT.try_with(|context| context.uri.path().to_owned()).unwrap_or_default()
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
    /// Takes the client's request id, or the trace id of its `traceparent`, or generates one.
    pub(super) fn of(request: &Request) -> Self {
        let headers = request.headers();
        let visible = |id: &&HeaderValue| {
            (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        let parent = || {
            let parent = headers.get("traceparent")?.to_str().ok()?.split('-').nth(1)?;
            let is_id = parent.len() == 32 && HEXLOWER.decode(parent.as_bytes()).is_ok_and(|id| id != [0; 16]);
            HeaderValue::from_str(parent).ok().filter(|_| is_id)
        };
        let trace_id = headers.get("x-request-id").filter(visible).cloned().or_else(parent).unwrap_or_else(|| {
            let mut fresh = [0; 32];
            HEXLOWER.encode_mut(&fastrand::u128(..).to_be_bytes(), &mut fresh);
            // Hexadecimal digits are always a valid header value.
            HeaderValue::from_bytes(&fresh).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        });
        let inner = request.uri();
        let uri = request.extensions().get::<OriginalUri>().map_or(inner, |OriginalUri(uri)| uri);
        let prefix_bytes = uri.path().strip_suffix(inner.path()).map_or(0, str::len);
        Self { uri: uri.clone(), prefix_bytes, trace_id }
    }

    fn prefix(&self) -> &str {
        self.uri.path().get(..self.prefix_bytes).unwrap_or_default()
    }
}
