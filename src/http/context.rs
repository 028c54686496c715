//! What is known about the request at work, wherever in its task a problem arises: its path and its trace id.
//!
//! Depends on nothing of the crate.

use std::future::Future;

use axum::http::{HeaderMap, HeaderValue, Uri};
use data_encoding::HEXLOWER;

/// The longest request id taken from a client, in bytes; a longer one is replaced.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// About the request at work. Cheap to make: every request has one, and few need it.
#[derive(Clone)]
pub(super) struct Context {
    uri: Uri,
    /// Finds it in the logs.
    pub(super) trace_id: HeaderValue,
}

tokio::task_local! {
    static CONTEXT: Context;
}

/// Runs a request within its context.
pub(super) async fn within<F: Future>(context: Context, request: F) -> F::Output {
    CONTEXT.scope(context, request).await
}

/// The path of the request at work, without the query, which may hold what somebody searched for; empty outside of one.
pub(super) fn path() -> String {
    CONTEXT.try_with(|context| context.uri.path().to_owned()).unwrap_or_default()
}

/// The trace id of the request at work; empty outside of one.
pub(super) fn trace_id() -> String {
    CONTEXT.try_with(|context| context.trace_id.to_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

impl Context {
    /// The client's own request id, or the trace id of its `traceparent`, or a new one.
    pub(super) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
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
            // Hexadecimal digits are always a legal header value.
            HeaderValue::from_bytes(&fresh).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        });
        Self { uri: uri.clone(), trace_id }
    }
}
