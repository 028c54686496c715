//! How long requests took: a histogram for each route, method and status, of atomics alone, so that no request waits
//! for another.
//!
//! A client chooses neither a label nor how many there are: routes are templates, methods and statuses are of lists.
//!
//! Depends on its neighbours.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::http::{Method, StatusCode};

use super::rows::Durations;

/// The upper bounds in seconds: around the usual times of a read, a write and a login. A last bucket without a bound
/// follows.
const BOUNDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// A client can send any method, which is counted as the last one.
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "other"];
/// What the shop answers; anything else is counted as the last one.
const STATUSES: [u16; 31] = [
    200, 201, 202, 204, 206, 303, 304, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410, 412, 413, 414, 415, 422, 428,
    429, 431, 500, 501, 503, 504, 507, 0,
];

/// The times of the requests of one route.
#[derive(Debug)]
pub(in crate::http) struct RequestTimes {
    pub(super) route: String,
    /// By method and status; most of them never happen.
    histograms: [[OnceLock<Box<Histogram>>; STATUSES.len()]; METHODS.len()],
}

#[derive(Debug, Default)]
struct Histogram {
    nanoseconds: AtomicU64,
    buckets: [AtomicU64; BOUNDS.len() + 1],
}

impl RequestTimes {
    pub(super) fn new(route: String) -> Self {
        Self { route, histograms: Default::default() }
    }

    /// Counts a request.
    pub(in crate::http) fn observe(&self, method: &Method, status: StatusCode, took: Duration) {
        // What a client asks for in vain is not of interest by method.
        let asked = if status == StatusCode::METHOD_NOT_ALLOWED { "other" } else { method.as_str() };
        let method = METHODS.iter().position(|known| *known == asked).unwrap_or(METHODS.len() - 1);
        let status = STATUSES.iter().position(|known| *known == status.as_u16()).unwrap_or(STATUSES.len() - 1);
        let histogram = self.histograms[method][status].get_or_init(Box::default);
        let bucket = BOUNDS.partition_point(|bound| *bound < took.as_secs_f64());
        histogram.buckets[bucket].fetch_add(1, Relaxed);
        histogram.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Each histogram with its labels.
    pub(super) fn all(&self) -> impl Iterator<Item = ([(&'static str, String); 3], Durations)> {
        METHODS.iter().zip(&self.histograms).flat_map(move |(method, statuses)| {
            STATUSES.iter().zip(statuses).filter_map(move |(status, histogram)| {
                let histogram = histogram.get()?;
                let status = if *status == 0 { "other".to_owned() } else { status.to_string() };
                let labels = [("method", (*method).to_owned()), ("route", self.route.clone()), ("status", status)];
                Some((labels, histogram.durations()))
            })
        })
    }
}

impl Histogram {
    fn durations(&self) -> Durations {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets = bounds.zip(&self.buckets).map(|(bound, count)| (bound, count.load(Relaxed))).collect();
        Durations { seconds: self.nanoseconds.load(Relaxed) as f64 / 1e9, buckets }
    }
}
