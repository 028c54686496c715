//! `/metrics`: counters, latencies and gauges of the shop, as Prometheus text.
//!
//! May depend on `shop`.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet, text::encode},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        histogram::Histogram,
    },
    registry::Registry,
};

use super::{
    App, MetricsAreFor,
    admission::Admission,
    bodies::ProblemBody,
    error::Problem,
    peer::{self, Peer},
    serve::Figures,
};
use crate::shop::{Call, CallMetrics, CallOutcome, Shop, StorageStatus};

/// The upper bounds of the request histogram, in seconds: around the usual times of a read, a write and a login.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    refused: Family<RefusalLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

impl Metrics {
    pub(super) fn new(shop: &Shop, admission: &Arc<Admission>, connections: &Arc<Figures>) -> Self {
        let mut registry = Registry::default();
        let requests = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let help = "How long requests took, by route template";
        registry.register("http_request_duration_seconds", help, requests.clone());
        let (refused, help) =
            (Family::<RefusalLabels, Counter>::default(), "Requests refused by a limit of one client");
        registry.register("requests_refused", help, refused.clone());
        registry.register_collector(Box::new(Gauges(shop.clone(), Arc::clone(admission))));
        registry.register_collector(Box::new(Connections(Arc::clone(connections))));
        Self { registry, requests, refused }
    }

    /// Counts a request that was refused because its client has reached this limit.
    pub(super) fn refused(&self, limit: &'static str) {
        self.refused.get_or_create(&RefusalLabels { limit }).inc();
    }

    /// Counts a request.
    pub(super) fn request(&self, method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
        // A client can send any method; only known ones may become labels.
        let known = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
        let method = known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other");
        let labels = RequestLabels { method, route: route.into(), status: status.as_u16() };
        self.requests.get_or_create(&labels).observe(elapsed.as_secs_f64());
    }
}

/// Gauges that are read from the shop at each scrape.
#[derive(Debug)]
struct Gauges(Shop, Arc<Admission>);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let shop = self.0.figures();
        let figures = &shop.storage;
        let counters = [
            ("journal_batches", "Batches made durable", figures.batches),
            ("journal_records", "Records made durable", figures.records),
            ("journal_bytes", "Bytes of the log written, padding included", figures.bytes),
            ("journal_checkpoints", "Complete checkpoints", figures.checkpoints),
        ];
        for (name, help, value) in counters {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        let seconds = ConstCounter::new(figures.sync_nanoseconds_sum as f64 / 1e9);
        let help = "Time spent in syncs of the log";
        seconds.encode(encoder.encode_descriptor("journal_sync_seconds", help, None, seconds.metric_type())?)?;
        let read_only = matches!(self.0.storage_status(), StorageStatus::ReadOnly { .. });
        let mut gauges = vec![
            ("journal_queue_records".to_owned(), "Places of the journal's queue taken", figures.queue_records),
            ("journal_tail_bytes".to_owned(), "Bytes of the memtable", figures.memtable_bytes),
            ("journal_log_bytes".to_owned(), "Bytes of the log that are kept", figures.log_bytes),
            ("journal_read_only".to_owned(), "1 while writes are refused for lack of disk space", u64::from(read_only)),
            ("journal_base_bytes".to_owned(), "Bytes of the newest base", figures.base_bytes),
            ("lists_lag_bytes".to_owned(), "Bytes of the log the lists have yet to read", shop.lists_lag_bytes),
            ("search_lag_bytes".to_owned(), "Bytes of the log the search index has yet to read", shop.search_lag_bytes),
            ("search_products".to_owned(), "Products in the search index", shop.products),
            ("tokens_verified".to_owned(), "Verified tokens remembered", shop.verified_tokens as u64),
            ("process_resident_bytes".to_owned(), "Resident memory", resident_bytes()),
        ];
        for (kind, live) in self.0.live_entities() {
            gauges.push((format!("live_entities_{kind}"), "Entities alive", live as u64));
        }
        let (_, provider) = self.0.provider();
        // Without a known value there is no gauge, rather than a wrong one.
        if let Some(free) = shop.disk_free_bytes {
            gauges.push(("disk_free_bytes".to_owned(), "Bytes free on the disk of the journal", free));
        }
        let circuit = match provider.state.as_str() {
            "closed" => 0,
            "half_open" => 1,
            _ => 2,
        };
        gauges.push(("provider_circuit".to_owned(), "The provider's circuit: 0 closed, 1 half open, 2 open", circuit));
        let help = "Requests that the provider works on";
        gauges.push(("provider_in_flight".to_owned(), help, provider.in_flight));
        for (class, in_flight) in self.1.in_flight() {
            gauges.push((format!("requests_at_work_{}", class.name()), "Requests in flight", in_flight as u64));
        }
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(&name, help, None, metric.metric_type())?)?;
        }
        for call in Call::ALL {
            for outcome in CallOutcome::ALL {
                let name = format!("provider_{}_{}", call.as_str(), outcome.as_str());
                let metric = ConstCounter::new(provider.calls.requests(call, outcome));
                let help = "Requests to the payment provider";
                metric.encode(encoder.encode_descriptor(&name, help, None, metric.metric_type())?)?;
            }
            let (name, help) = (format!("provider_{}_seconds", call.as_str()), "Time the payment provider took");
            let metric = ConstCounter::new(provider.calls.seconds(call));
            metric.encode(encoder.encode_descriptor(&name, help, None, metric.metric_type())?)?;
        }
        provider_durations(&provider.calls, encoder)
    }
}

/// What the server counts.
#[derive(Debug)]
struct Connections(Arc<Figures>);

#[derive(Debug, Clone, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let open = ConstGauge::new(i64::try_from(self.0.open()).unwrap_or(i64::MAX));
        open.encode(encoder.encode_descriptor("connections_open", "Connections open", None, open.metric_type())?)?;
        let accepted = ConstCounter::new(self.0.accepted());
        let (name, help) = ("connections_accepted", "Connections accepted");
        accepted.encode(encoder.encode_descriptor(name, help, None, accepted.metric_type())?)?;
        let (name, help) = ("connections_ended", "Connections that the server has ended");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (cause, ended) in self.0.ended_by_cause() {
            ConstCounter::new(ended).encode(metric.encode_family(&CauseLabels { cause })?)?;
        }
        let (name, help) = ("bad_http", "Requests that break the rules of HTTP itself");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (cause, refused) in self.0.bad_http_by_fault() {
            ConstCounter::new(refused).encode(metric.encode_family(&CauseLabels { cause })?)?;
        }
        let failed = ConstCounter::new(self.0.handshakes_failed());
        let (name, help) = ("tls_handshakes_failed", "TLS handshakes that have failed");
        failed.encode(encoder.encode_descriptor(name, help, None, failed.metric_type())?)?;
        let (name, help) = ("tls_certificates_read", "Times that the files of the certificate were read again");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (outcome, read) in self.0.certificates_by_outcome() {
            ConstCounter::new(read).encode(metric.encode_family(&OutcomeLabels { outcome })?)?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct CallLabels {
    call: &'static str,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

fn provider_durations(calls: &CallMetrics, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let (name, help) = ("provider_request_duration_seconds", "How long requests to the payment provider took");
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for call in Call::ALL {
        let durations = calls.durations(call);
        let count: u64 = durations.iter().map(|(_, calls)| calls).sum();
        if count > 0 {
            let labels = CallLabels { call: call.as_str() };
            let mut histogram = metric.encode_family(&labels)?;
            histogram.encode_histogram::<NoLabelSet>(calls.seconds(call), count, &durations, None)?;
        }
    }
    Ok(())
}

/// The resident memory of the process on Linux, in bytes; 0 elsewhere.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Shows metrics in the text format of Prometheus, to this machine alone.
#[utoipa::path(get, path = "/metrics", operation_id = "show_metrics",
    tag = "operations", responses(
    (status = 200, description = "Metrics", content_type = "application/openmetrics-text", body = String),
    (status = 403, description = "They are not for this client, or not on this port", body = ProblemBody),
    (status = 500, description = "A fault of the shop", body = ProblemBody),
))]
pub(super) async fn show(State(app): State<App>, peer: Option<Extension<Peer>>, headers: HeaderMap) -> Response {
    let refusal = match app.metrics_are_for {
        MetricsAreFor::Nobody => "the metrics are on the listener for operators",
        MetricsAreFor::Loopback if !is_local(&app, peer, &headers) => {
            "the metrics are for this machine alone; operators may have a listener of their own"
        }
        MetricsAreFor::Loopback => return text(&app),
    };
    Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", refusal).into_response()
}

fn is_local(app: &App, peer: Option<Extension<Peer>>, headers: &HeaderMap) -> bool {
    peer::is_local(peer.map(|Extension(peer)| peer), headers, &app.shop.config().trusted_proxies)
}

/// Shows metrics to operators.
#[utoipa::path(get, path = "/metrics", operation_id = "show_metrics_to_operators",
    tag = "operators", responses(
    (status = 200, description = "Metrics", content_type = "application/openmetrics-text", body = String),
    (status = 500, description = "A fault of the shop", body = ProblemBody),
))]
pub(super) async fn show_to_operators(State(app): State<App>) -> Response {
    text(&app)
}

fn text(app: &App) -> Response {
    let mut text = String::new();
    if encode(&mut text, &app.metrics.registry).is_err() {
        return Problem::fault().into_response();
    }
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")], text).into_response()
}
