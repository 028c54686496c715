//! Metrics of the shop: its business, actors, journal, read models, and the payment provider.
//!
//! May depend on `shop`.

use std::{fmt, sync::Arc};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{
    super::{admission::Admission, health::Health},
    rows::{Durations, Rows},
};
use crate::shop::{Call, CallOutcome, Figures, GatewayFigures, MOVING, Reservation, Shop, StorageStatus};

/// Everything that the shop is asked for at each scrape.
#[derive(Debug)]
pub(super) struct OfShop {
    pub(super) shop: Shop,
    pub(super) health: Health,
    pub(super) admission: Arc<Admission>,
}

impl Collector for OfShop {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (Self { shop, health, admission }, mut rows) = (self, Rows(encoder));
        let figures = shop.figures();
        let build = [([("version", crate::VERSION), ("commit", crate::COMMIT)], 1)];
        rows.gauges("build_info", "The version of the program, and the commit it was built from", build)?;
        rows.gauge("ready", "1 while the shop should get requests, as /readyz says", u64::from(health.is_ready(shop)))?;
        business(&mut rows, shop, &figures)?;
        journal(&mut rows, shop, &figures)?;
        read_models(&mut rows, &figures)?;
        actors(&mut rows, shop)?;
        let in_flight = admission.in_flight().map(|(class, in_flight)| ([("class", class.name())], in_flight as u64));
        rows.gauges("requests_in_flight", "Requests in flight, by class", in_flight)?;
        rows.gauge("tokens_verified", "Verified tokens that are remembered", figures.verified_tokens as u64)?;
        provider(&mut rows, &shop.provider().1)
    }
}

fn business(rows: &mut Rows<'_>, shop: &Shop, figures: &Figures) -> fmt::Result {
    let sales = shop.sales();
    let orders = MOVING.map(|stage| ([("stage", stage.as_str())], sales.orders(stage)));
    rows.gauges("orders", "Orders that are neither delivered nor ended, by stage", orders)?;
    let help = "Orders about which an operator has something to decide, at most 1000";
    rows.gauge("orders_with_issues", help, figures.orders_with_issues as u64)?;
    let reservations = Reservation::ALL.map(|what| ([("outcome", what.as_str())], sales.reservations(what)));
    rows.counters("reservations", "Lines of orders whose stock was reserved, or what became of that", reservations)?;
    let help = "Lines of orders whose stock is reserved: placed, and neither confirmed nor ended";
    rows.gauge("reservations_live", help, sales.live_reservations())?;
    let help = "Orders that wait because the provider has not said what became of a payment or a refund";
    rows.gauge("payments_unknown", help, sales.payments_unknown())
}

fn journal(rows: &mut Rows<'_>, shop: &Shop, figures: &Figures) -> fmt::Result {
    let storage = &figures.storage;
    rows.counter("journal_batches", "Batches made durable", storage.batches)?;
    rows.counter("journal_records", "Records made durable", storage.records)?;
    rows.counter("journal_bytes", "Bytes of the log written, padding included", storage.bytes)?;
    rows.counter("journal_checkpoints", "Complete checkpoints", storage.checkpoints)?;
    let seconds = storage.sync_nanoseconds_sum as f64 / 1e9;
    rows.seconds_total("journal_sync_seconds", "Time spent in syncs of the log", seconds)?;
    rows.gauge("journal_queue_records", "Places of the journal's queue taken", storage.queue_records)?;
    rows.gauge("journal_memtable_bytes", "Bytes of the memtable", storage.memtable_bytes)?;
    rows.gauge("journal_log_bytes", "Bytes of the log that are kept", storage.log_bytes)?;
    rows.gauge("journal_base_bytes", "Bytes of the newest base", storage.base_bytes)?;
    let is_read_only = matches!(shop.storage_status(), StorageStatus::ReadOnly { .. });
    let help = "1 while writes are refused for lack of disk space";
    rows.gauge("journal_read_only", help, u64::from(is_read_only))?;
    // Without a known value there is no gauge, rather than a wrong one.
    match figures.disk_free_bytes {
        Some(free) => rows.gauge("disk_free_bytes", "Bytes free on the disk of the journal", free),
        None => Ok(()),
    }
}

fn read_models(rows: &mut Rows<'_>, figures: &Figures) -> fmt::Result {
    let of = |name| [("read_model", name)];
    let lags = [(of("lists"), figures.lists_lag_bytes), (of("search"), figures.search_lag_bytes)];
    rows.gauges("read_model_lag_bytes", "Bytes of the log that a read model has yet to read", lags)?;
    let lags = [(of("lists"), figures.lists_lag.as_secs_f64()), (of("search"), figures.search_lag.as_secs_f64())];
    rows.gauges_of_seconds(
        "read_model_lag_seconds",
        "How long ago a read model had everything that was durable then",
        lags,
    )?;
    rows.gauge("search_products", "Products in the search index", figures.products)
}

fn actors(rows: &mut Rows<'_>, shop: &Shop) -> fmt::Result {
    let actors = shop.actors();
    let by_kind = |of: fn(&crate::shop::KindFigures) -> u64| {
        actors.kinds.iter().map(|kind| ([("kind", kind.kind)], of(kind))).collect::<Vec<_>>()
    };
    rows.gauges("actors_live", "Entities alive", by_kind(|kind| kind.live as u64))?;
    rows.gauges(
        "actors_waiting_commands",
        "Commands in mailboxes or waiting for the disk",
        by_kind(|kind| kind.waiting),
    )?;
    rows.counters("actors_failed", "Entities that have failed and were removed", by_kind(|kind| kind.failures))?;
    let restarts = actors.restarts.iter().map(|(child, restarts)| ([("child", *child)], *restarts));
    rows.counters("actors_restarted", "Children of the root that were started again", restarts)
}

fn provider(rows: &mut Rows<'_>, provider: &GatewayFigures) -> fmt::Result {
    let circuit = match provider.state.as_str() {
        "closed" => 0,
        "half_open" => 1,
        _ => 2,
    };
    rows.gauge("provider_circuit", "The provider's circuit: 0 closed, 1 half open, 2 open", circuit)?;
    let help = "Requests that the payment provider works on";
    rows.gauge("provider_requests_in_flight", help, provider.in_flight)?;
    let requests = Call::ALL.into_iter().flat_map(|call| {
        CallOutcome::ALL.map(|outcome| {
            let labels = [("call", call.as_str()), ("outcome", outcome.as_str())];
            (labels, provider.calls.requests(call, outcome))
        })
    });
    rows.counters("provider_requests", "Requests to the payment provider", requests)?;
    let durations = Call::ALL.map(|call| {
        let durations = Durations { seconds: provider.calls.seconds(call), buckets: provider.calls.durations(call) };
        ([("call", call.as_str())], durations)
    });
    let help = "How long requests to the payment provider took";
    rows.histograms("provider_request_duration_seconds", help, durations)
}
