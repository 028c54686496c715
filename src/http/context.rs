//! What is known about the request at work, wherever in its task a problem arises: its path and its trace id.
//!
//! Depends on nothing of the crate.

use std::future::Future;

use axum::http::{HeaderMap, Uri};

/// The longest request id taken from a client, in bytes; a longer one is replaced.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// About the request at work.
#[derive(Clone)]
pub(super) struct Context {
    /// Its path, without the query, which may hold what somebody searched for.
    pub(super) path: String,
    /// Finds it in the logs.
    pub(super) trace_id: String,
}

tokio::task_local! {
    static CONTEXT: Context;
}

/// Runs a request within its context.
pub(super) async fn within<F: Future>(context: Context, request: F) -> F::Output {
    CONTEXT.scope(context, request).await
}

/// Path and trace id of the request at work.
pub(super) fn current() -> Option<(String, String)> {
    CONTEXT.try_with(|context| (context.path.clone(), context.trace_id.clone())).ok()
}

impl Context {
    /// The client's own request id, or the trace id of its `traceparent`, or a new one.
    pub(super) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let visible = |id: &&str| {
            (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let traced = || text("traceparent").and_then(|parent| parent.split('-').nth(1)).filter(|id| id.len() == 32);
        let trace_id = match text("x-request-id").filter(visible).or_else(traced) {
            Some(id) => id.to_owned(),
            None => format!("{:032x}", fastrand::u128(..)),
        };
        Self { path: uri.path().to_owned(), trace_id }
    }
}
