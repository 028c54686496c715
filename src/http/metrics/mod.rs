//! `/metrics`: counters, latencies and gauges of the shop, as Prometheus text or OpenMetrics.
//!
//! All names begin with `souk_`, but for those of the process, which have the same names everywhere. What differs by
//! kind is a label, and labels are of fixed lists, so the number of series is bounded.
//!
//! May depend on `shop`.

mod process;
mod requests;
mod rows;
mod server;
mod shop;
mod text;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

pub(super) use self::requests::RequestTimes;
use self::rows::Rows;
use super::{
    App, MetricsAreFor, Program,
    access_log::{AccessLog, LeftOut},
    admission::Admission,
    bodies::ProblemBody,
    error::{Problem, kinds},
    negotiation,
    peer::{self, Peer},
};
use crate::shop::Shop;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The limits of one client. Each is shown from the start, because a counter that appears with its first refusal has
/// not grown then.
const LIMITS: [&str; 7] = ["default", "login", "notice", "password", "registration", "review", "streams"];

/// What is counted, and what is asked for at each scrape.
pub(super) struct Metrics {
    of_shop: Registry,
    of_process: Registry,
    counted: Arc<Counted>,
}

/// What the edge counts.
#[derive(Debug, Default)]
struct Counted {
    /// In the order of the routes.
    requests: Mutex<Vec<Arc<RequestTimes>>>,
    refused: Family<RefusalLabels, Counter>,
    unauthorized: AtomicU64,
    logins: [AtomicU64; Login::ALL.len()],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    limit: &'static str,
}

/// How a login has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    Done,
    /// Address and password do not fit.
    Wrong,
    /// It was not tried: a limit was reached, or something failed.
    NotTried,
}

impl Login {
    const ALL: [Self; 3] = [Self::Done, Self::Wrong, Self::NotTried];

    fn name(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Wrong => "wrong",
            Self::NotTried => "not_tried",
        }
    }
}

impl Metrics {
    pub(super) fn new(shop: &Shop, admission: &Arc<Admission>, program: &Program) -> Self {
        let counted = Arc::<Counted>::default();
        let (mut of_shop, mut of_process) = (Registry::with_prefix("souk"), Registry::default());
        let help = "Requests refused by a limit of one client";
        of_shop.register("requests_refused", help, counted.refused.clone());
        for limit in LIMITS {
            drop(counted.refused.get_or_create(&RefusalLabels { limit }));
        }
        of_shop.register_collector(Box::new(OfEdge(Arc::clone(&counted), program.access_log.clone())));
        let (shop, admission, health) = (shop.clone(), Arc::clone(admission), program.health.clone());
        of_shop.register_collector(Box::new(shop::OfShop { shop, health, admission }));
        of_shop.register_collector(Box::new(server::Server(Arc::clone(&program.connections))));
        of_process.register_collector(Box::new(process::Process));
        Self { of_shop, of_process, counted }
    }

    /// Where the requests of a route are counted.
    pub(super) fn of_route(&self, template: &str) -> Arc<RequestTimes> {
        let mut routes = self.counted.requests.lock();
        // Every router answers paths that nobody has.
        if let Some(known) = routes.iter().find(|known| known.route == template) {
            return Arc::clone(known);
        }
        let times = Arc::new(RequestTimes::new(template.to_owned()));
        routes.push(Arc::clone(&times));
        times
    }

    /// Counts a request that was refused because its client has reached this limit.
    pub(super) fn refused(&self, limit: &'static str) {
        self.counted.refused.get_or_create(&RefusalLabels { limit }).inc();
    }

    /// Counts a request without a token that is to be believed.
    pub(super) fn unauthorized(&self) {
        self.counted.unauthorized.fetch_add(1, Relaxed);
    }

    /// Counts a login.
    pub(super) fn login(&self, login: Login) {
        self.counted.logins[login as usize].fetch_add(1, Relaxed);
    }

    fn open_metrics(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.of_shop)?;
        encode_registry(&mut text, &self.of_process)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// What the edge has counted.
#[derive(Debug)]
struct OfEdge(Arc<Counted>, Option<Arc<AccessLog>>);

impl Collector for OfEdge {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut rows, counted) = (Rows(encoder), &self.0);
        let routes = counted.requests.lock().clone();
        let help = "How long requests took, by route template";
        rows.histograms("http_request_duration_seconds", help, routes.iter().flat_map(|route| route.all()))?;
        let unauthorized = counted.unauthorized.load(Relaxed);
        rows.counter("requests_unauthorized", "Requests without a token that is to be believed (401)", unauthorized)?;
        let logins =
            Login::ALL.map(|login| ([("outcome", login.name())], counted.logins[login as usize].load(Relaxed)));
        rows.counters("logins", "Logins, by how they ended", logins)?;
        let left_out = LeftOut::ALL.map(|why| {
            let left_out = self.1.as_ref().map_or(0, |log| log.left_out(why));
            ([("cause", why.as_str())], left_out)
        });
        rows.counters("access_log_lines_dropped", "Lines that the access log has left out", left_out)
    }
}

/// Shows metrics, to this machine alone.
///
/// Prometheus text, or OpenMetrics for whoever asks for it. A listener for operators shows them instead, where there is
/// one.
#[utoipa::path(get, path = "/metrics", operation_id = "show_metrics",
    tag = "operations", responses(
    (status = 200, description = "Metrics", content((String = "text/plain"), (String = "application/openmetrics-text"))),
    (status = 403, description = "They are not for this client, or not on this port", body = ProblemBody),
    (status = 500, description = "A fault of the shop", body = ProblemBody),
))]
pub(super) async fn show(State(app): State<App>, peer: Option<Extension<Peer>>, headers: HeaderMap) -> Response {
    let refusal = match app.metrics_are_for {
        MetricsAreFor::Nobody => "the metrics are on the listener for operators",
        MetricsAreFor::Loopback if !peer::is_local(peer.map(|Extension(peer)| peer), &headers) => {
            "the metrics are for this machine alone; operators may have a listener of their own"
        }
        MetricsAreFor::Loopback => return answer(&app, &headers),
    };
    Problem::new(&kinds::FORBIDDEN, refusal).into_response()
}

/// Shows metrics to operators.
#[utoipa::path(get, path = "/metrics", operation_id = "show_metrics_to_operators",
    tag = "operations", responses(
    (status = 200, description = "Metrics", content((String = "text/plain"), (String = "application/openmetrics-text"))),
    (status = 500, description = "A fault of the shop", body = ProblemBody),
))]
pub(super) async fn show_to_operators(State(app): State<App>, headers: HeaderMap) -> Response {
    answer(&app, &headers)
}

/// The metrics in the format that the client asks for: OpenMetrics only if it names that.
fn answer(app: &App, headers: &HeaderMap) -> Response {
    let Ok(open_metrics) = app.metrics.open_metrics() else { return Problem::fault().into_response() };
    let (content_type, text) = if negotiation::prefers(headers, "application/openmetrics-text", "text/plain") {
        (OPEN_METRICS, open_metrics)
    } else {
        (TEXT, text::of_open_metrics(&open_metrics))
    };
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")], text).into_response()
}
