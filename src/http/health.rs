//! Whether the program is alive, whether it should be sent requests, and what it runs with.
//!
//! May depend on `shop` and `domain`.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{
    App,
    bodies::ProblemBody,
    error::Problem,
    extract::Caller,
    json::Json,
    responses::{Read, Token},
};
use crate::shop::{SearchStatus, Shop, StorageStatus};

/// How an acknowledged change is kept. There is no other mode: acknowledging first and syncing later would be faster,
/// but a crash would lose acknowledged orders.
const DURABILITY: &str = "fdatasync before every acknowledgement";

/// Whether requests are welcome. Clones are the same health.
#[derive(Debug, Clone, Default)]
pub struct Health {
    leaving: CancellationToken,
    stopping: CancellationToken,
}

impl Health {
    /// From now on `/readyz` says no, so that a load balancer sends nobody any more. Those who come are served.
    pub fn leaving(&self) {
        self.leaving.cancel();
    }

    /// The same, and event streams end.
    pub fn stopping(&self) {
        self.leaving.cancel();
        self.stopping.cancel();
    }

    /// Whether the shop should get requests.
    pub(super) fn is_ready(&self, shop: &Shop) -> bool {
        let usable = !matches!(shop.storage_status(), StorageStatus::Failed(_));
        let whole = shop.search_status() == SearchStatus::Ready && shop.lists_are_whole();
        usable && whole && !self.leaving.is_cancelled()
    }

    /// Completes when the shop is stopping.
    pub(super) async fn stopped(&self) {
        self.stopping.cancelled().await;
    }
}

/// What the shop's parts say.
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Whether requests are welcome.
    ready: bool,
    /// `writable`, `read-only` or `failed`.
    storage: &'static str,
    /// How an acknowledged change is kept.
    #[schema(example = "fdatasync before every acknowledgement")]
    durability: &'static str,
    /// `ready`, or `rebuilding`: then search shows what is indexed so far, and the shop is not ready.
    search: &'static str,
    /// The same for the lists of orders and reviews.
    lists: &'static str,
    /// Who takes the money: `simulated`, `simulator` or `stripe`.
    provider: &'static str,
    /// Whether the provider is asked: `closed` (yes), `open` (it did not answer, so it is left alone for a while) or
    /// `half_open` (it is tried). The shop is ready all the same: payments are pending meanwhile.
    provider_circuit: &'static str,
    /// How many requests the provider is working on.
    provider_in_flight: u64,
    /// How many bytes of the log the lists have yet to read.
    lists_lag_bytes: u64,
    /// How many bytes of the log the search index has yet to read.
    search_lag_bytes: u64,
    /// What keeps the shop from being ready, or from taking writes or payments, for people; empty when all is well.
    problems: Vec<String>,
}

/// Bytes as people read them.
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}

/// What the shop runs with.
#[derive(Serialize, ToSchema)]
pub(super) struct SettingsBody {
    /// The program's version.
    version: &'static str,
    /// The commit it was built from.
    commit: &'static str,
    /// Every setting with its value, as `souk config` names them. None of them is a secret.
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
}

/// What the shop runs with: its version and every setting, for admins.
///
/// None of them is a secret. `souk config` shows the same.
#[utoipa::path(get, path = "/settings", operation_id = "show_settings",
    tag = "operations", security(("bearer" = [])), responses(
    Read, Token,
    (status = 200, description = "The settings", body = SettingsBody),
    (status = 403, description = "Not an admin", body = ProblemBody),
))]
pub(super) async fn settings(State(app): State<App>, Caller(who): Caller) -> Result<Json<SettingsBody>, Problem> {
    let Ok(Value::Object(mut settings)) = serde_json::to_value(app.shop.settings(&who)?) else {
        return Err(Problem::fault());
    };
    settings.extend(app.program.settings.clone());
    Ok(Json(SettingsBody { version: crate::VERSION, commit: crate::COMMIT, settings }))
}

/// The program is alive.
///
/// It says nothing of the shop: `GET /readyz` does.
#[utoipa::path(get, path = "/livez", operation_id = "show_liveness",
    tag = "operations", responses((status = 200, description = "Alive", body = String)))]
pub(super) async fn live() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], "alive\n")
}

/// The shop takes requests.
///
/// With 503, `problems` says what is wrong. The shop is ready while it refuses writes, because reads go on.
#[utoipa::path(get, path = "/readyz", operation_id = "show_readiness", tag = "operations", responses(
    (status = 200, description = "Ready", body = Readiness),
    (status = 503, description = "Stopping, search or lists are incomplete, or the storage has failed", body = Readiness),
))]
pub(super) async fn ready(State(app): State<App>) -> impl IntoResponse {
    readiness(&app, Reader::Anybody)
}

/// The shop takes requests; to operators it also tells why the storage has failed.
#[utoipa::path(get, path = "/readyz", operation_id = "show_readiness_to_operators", tag = "operators", responses(
    (status = 200, description = "Ready", body = Readiness),
    (status = 503, description = "Stopping, search or lists are incomplete, or the storage has failed", body = Readiness),
))]
pub(super) async fn ready_for_operators(State(app): State<App>) -> impl IntoResponse {
    readiness(&app, Reader::Operator)
}

/// Who reads the state of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Anybody,
    Operator,
}

fn readiness(app: &App, reader: Reader) -> impl IntoResponse + use<> {
    let mut problems = Vec::new();
    let storage = match app.shop.storage_status() {
        StorageStatus::Writable => "writable",
        // Reads go on, so the shop stays in its load balancer; the metric `souk_journal_read_only` is for the alarm.
        StorageStatus::ReadOnly { free_bytes, needed_bytes } => {
            let (free, needed) = (mib(free_bytes), mib(needed_bytes));
            problems.push(format!("the disk has {free} free: writes are refused until it has {needed}"));
            "read-only"
        }
        StorageStatus::Failed(reason) => {
            let failed = "the storage has failed: the program must be started again";
            // The reason may name files.
            problems.push(match reader {
                Reader::Anybody => failed.to_owned(),
                Reader::Operator => format!("{failed} ({reason})"),
            });
            "failed"
        }
    };
    let (search_whole, lists_whole) = (app.shop.search_status() == SearchStatus::Ready, app.shop.lists_are_whole());
    let word = |whole| if whole { "ready" } else { "rebuilding" };
    let is_stopping = app.program.health.leaving.is_cancelled();
    let ready = app.program.health.is_ready(&app.shop);
    let [lists_lag_bytes, search_lag_bytes] = app.shop.lag_bytes();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (provider, figures) = app.shop.provider();
    for (what, is_whole, lag_bytes) in
        [("search index", search_whole, search_lag_bytes), ("lists", lists_whole, lists_lag_bytes)]
    {
        if !is_whole {
            problems.push(format!("the {what} must still read {} of the log", mib(lag_bytes)));
        }
    }
    if figures.state.as_str() != "closed" {
        problems.push("the payment provider does not answer: payments are pending".to_owned());
    }
    if is_stopping {
        problems.push("the shop is stopping".to_owned());
    }
    let readiness = Readiness {
        ready,
        storage,
        durability: DURABILITY,
        search: word(search_whole),
        lists: word(lists_whole),
        provider,
        provider_circuit: figures.state.as_str(),
        provider_in_flight: figures.in_flight,
        lists_lag_bytes,
        search_lag_bytes,
        problems,
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(readiness))
}
