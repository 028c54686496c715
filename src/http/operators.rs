//! The router of the listener for operators: health, metrics, the log filter and the actors.
//!
//! It asks for no token: whoever can connect is an operator. Its listener has limits of its own, so that nobody who
//! attacks the shop's port can shut it.
//!
//! May depend on `shop`.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderName, header},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{
    App,
    bodies::ProblemBody,
    error::{Problem, kinds},
    extract::Body,
    health,
    json::Json,
    metrics,
    responses::{JsonBody, Write},
    route::Edge,
    routes::Routes,
};
use crate::shop::{Actors, Busiest, KindFigures, Slow};

/// Answers that describe this moment.
const NOT_KEPT: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// What is logged, for a program that can change it while it runs.
pub trait LogFilter: fmt::Debug + Send + Sync {
    /// The filter as it was written.
    fn text(&self) -> String;
    /// Sets another filter.
    ///
    /// # Errors
    /// What is wrong with it, for people; the old one stays.
    fn set(&self, text: &str) -> Result<(), String>;
}

/// The router. Scripts of other origins may not use it.
pub(super) fn router(app: App) -> Router {
    let edge = Edge { cors: None, ..Edge::new(app.shop.config()) };
    let routes = Routes::new(app.clone(), Arc::new(edge))
        .always(routes!(health::live))
        .always(routes!(health::ready_for_operators))
        .always(routes!(metrics::show_to_operators))
        .always(routes!(show_log, set_log))
        .always(routes!(show_actors));
    routes.finish().with_state(app)
}

/// What is logged.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// Levels for everything or for modules.
    #[schema(example = "info,souk::http=debug")]
    filter: String,
}

fn log_filter(app: &App) -> Result<&dyn LogFilter, Problem> {
    app.program.logs.as_deref().ok_or_else(|| Problem::not_found("log filter"))
}

/// Shows what is logged.
#[utoipa::path(get, path = "/admin/log", operation_id = "show_log", tag = "operators", responses(
    (status = 200, description = "The filter", body = Log),
    (status = 404, description = "This program cannot change it", body = ProblemBody),
))]
async fn show_log(State(app): State<App>) -> Result<Json<Log>, Problem> {
    Ok(Json(Log { filter: log_filter(&app)?.text() }))
}

/// Sets what is logged, until the program ends or reads its settings again (SIGHUP).
#[utoipa::path(put, path = "/admin/log", operation_id = "set_log", tag = "operators", request_body = Log, responses(
    Write, JsonBody,
    (status = 200, description = "The filter", body = Log),
    (status = 403, description = "A script in a browser sends it", body = ProblemBody),
    (status = 404, description = "This program cannot change it", body = ProblemBody),
    (status = 422, description = "It is no filter", body = ProblemBody),
))]
async fn set_log(
    State(app): State<App>,
    headers: HeaderMap,
    Body(Log { filter }): Body<Log>,
) -> Result<Json<Log>, Problem> {
    // A page whose name was bound to this address looks to its browser like a page of this listener.
    if headers.contains_key(header::ORIGIN) {
        let refusal = "scripts of browsers may not change what is logged";
        return Err(Problem::new(&kinds::FORBIDDEN, refusal));
    }
    log_filter(&app)?.set(&filter).map_err(|problem| Problem::invalid("filter", problem))?;
    Ok(Json(Log { filter }))
}

/// The actors of the shop.
#[derive(Serialize, ToSchema)]
struct ActorsBody {
    /// The entities, by kind.
    kinds: Vec<KindBody>,
    /// Followers, process managers, and the owners of the entities.
    children: Vec<ChildBody>,
}

/// The entities of one kind.
#[derive(Serialize, ToSchema)]
struct KindBody {
    #[schema(example = "order")]
    kind: &'static str,
    /// How many are alive.
    live: usize,
    /// How often one has failed; the next command starts it again.
    restarts: u64,
    /// How many commands wait in their mailboxes, or for the disk.
    mailbox_depth: u64,
    /// The one with most of these.
    busiest: Option<BusiestBody>,
    /// The one that took longest for a command in the last minute or two.
    slowest: Option<SlowBody>,
}

#[derive(Serialize, ToSchema)]
struct BusiestBody {
    id: String,
    mailbox_depth: u32,
}

#[derive(Serialize, ToSchema)]
struct SlowBody {
    id: String,
    /// From the mailbox until the answer was durable.
    milliseconds: f64,
}

#[derive(Serialize, ToSchema)]
struct ChildBody {
    #[schema(example = "search")]
    name: &'static str,
    /// How often it failed and was started again.
    restarts: u64,
}

impl From<KindFigures> for KindBody {
    fn from(of: KindFigures) -> Self {
        let busiest = |Busiest { id, waiting }| BusiestBody { id, mailbox_depth: waiting };
        let slowest = |Slow { id, took }| SlowBody { id, milliseconds: took.as_secs_f64() * 1e3 };
        Self {
            kind: of.kind,
            live: of.live,
            restarts: of.failures,
            mailbox_depth: of.waiting,
            busiest: of.busiest.map(busiest),
            slowest: of.slowest.map(slowest),
        }
    }
}

/// Shows the actors: how many are alive, how often they failed, what waits, and which is slowest.
#[utoipa::path(get, path = "/admin/actors", operation_id = "show_actors", tag = "operators", responses(
    (status = 200, description = "The actors", body = ActorsBody),
))]
async fn show_actors(State(app): State<App>) -> ([(HeaderName, &'static str); 1], Json<ActorsBody>) {
    let Actors { kinds, restarts, .. } = app.shop.actors();
    let children = restarts.into_iter().map(|(name, restarts)| ChildBody { name, restarts }).collect();
    (NOT_KEPT, Json(ActorsBody { kinds: kinds.into_iter().map(KindBody::from).collect(), children }))
}
