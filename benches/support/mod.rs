//! What the benches share: a shop in a directory of its own, and one way to print question, prediction and result.
#![allow(dead_code, reason = "each bench uses its part")]

use std::time::{Duration, Instant};

use souk::{config::Config, shop::Shop};

/// The program's allocator.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long each measurement runs, in seconds; `SOUK_BENCH_SECONDS` makes it longer or shorter.
pub(crate) fn seconds() -> f64 {
    std::env::var("SOUK_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3.0)
}

/// The end of a measurement that begins now.
pub(crate) fn deadline() -> Instant {
    Instant::now() + Duration::from_secs_f64(seconds())
}

/// A shop in an empty directory beside the build, so on a real disk; kept until the directory is dropped.
pub(crate) async fn empty_shop() -> (Shop, tempfile::TempDir) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory can be made");
    let config = Config { data_dir: directory.path().into(), ..Config::default() };
    (Shop::open(config).await.expect("the shop opens"), directory)
}

/// The question and the prediction, before anything is measured.
pub(crate) fn ask(question: &str, prediction: &str) {
    println!("\nQuestion:   {question}\nPrediction: {prediction}");
}

/// Latencies of single operations.
pub(crate) struct Latencies(hdrhistogram::Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(hdrhistogram::Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds are legal"))
    }
}

impl Latencies {
    /// Counts one operation that began then.
    pub(crate) fn record(&mut self, began: Instant) {
        let nanoseconds = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanoseconds.max(1));
    }

    /// Adds another's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("same bounds");
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// p50, p99 and p99.9 in milliseconds.
    pub(crate) fn show(&self) -> String {
        let at = |quantile: f64| self.0.value_at_quantile(quantile) as f64 / 1e6;
        format!("p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms", at(0.5), at(0.99), at(0.999))
    }
}
