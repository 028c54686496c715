//! Shared by the benches: a shop in a directory of its own, latencies, and a uniform output of question, prediction and
//! result.
//!
//! Depends on the rooms `app`, `catalogue`, `config`, `domain` and `shop` of `souk`.
#![allow(dead_code, reason = "each bench uses its part")]

pub(crate) mod buyers;
pub(crate) mod connection;
pub(crate) mod flash_sale;
pub(crate) mod hot_product;
pub(crate) mod past_orders;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use souk::{
    config::Config,
    domain::{ids::SellerId, product::Editor},
    internals::{
        app::import::import_entries,
        catalogue::{demo::DemoCatalogue, entry::Entry},
    },
    shop::Shop,
};
use tempfile::TempDir;

/// The program's allocator.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long the read models may take to catch up with an import.
const CATCH_UP: Duration = Duration::from_secs(3_600);
/// The stock of each demo product: more than any run sells.
const STOCK: u64 = 1_000_000_000;

/// The unit in which Linux counts the processor time of a process, on every architecture.
const TICKS_A_SECOND: f64 = 100.0;

/// The length of each measurement, in seconds; set by `SOUK_BENCH_SECONDS`.
pub(crate) fn seconds() -> f64 {
    std::env::var("SOUK_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3.0)
}

/// The end of a measurement that begins now.
pub(crate) fn deadline() -> Instant {
    Instant::now() + Duration::from_secs_f64(seconds())
}

/// The names given on the command line, without Cargo's own arguments.
pub(crate) fn picked() -> Vec<String> {
    std::env::args().skip(1).filter(|argument| argument != "--bench").collect()
}

/// An empty directory on a real disk: below `SOUK_BENCH_DIR`, or beside this program. It is deleted when it is dropped.
pub(crate) fn scratch() -> TempDir {
    let beside = || std::env::current_exe().expect("the program has a path").with_file_name("");
    let below = std::env::var_os("SOUK_BENCH_DIR").map_or_else(beside, PathBuf::from);
    tempfile::tempdir_in(below).expect("a directory can be made")
}

/// A shop in an empty directory, which exists until it is dropped. `SOUK_BENCH_CONFIG` names a file of settings (`souk
/// config`) other than the defaults.
pub(crate) async fn empty_shop() -> (Shop, TempDir) {
    let directory = scratch();
    let file = std::env::var_os("SOUK_BENCH_CONFIG");
    let settings = file.map(|file| std::fs::read_to_string(file).expect("the settings can be read"));
    let usual: Config = settings.map_or_else(Config::default, |text| toml::from_str(&text).expect("they are settings"));
    let config = Config { data_dir: directory.path().into(), ..usual };
    (Shop::open(config).await.expect("the shop opens"), directory)
}

/// Imports entries and waits until lists and search contain them.
pub(crate) async fn import(shop: &Shop, entries: impl Iterator<Item = Entry>) {
    let began = Instant::now();
    let imported = import_entries(shop, entries, Editor::Admin(SellerId(0))).await.expect("the catalogue is imported");
    let rate = imported.changed as f64 / began.elapsed().as_secs_f64();
    shop.catch_up(CATCH_UP).await;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "            {} entries imported, {rate:.0}/s; lists and search had them after {seconds:.1} s",
        imported.changed
    );
}

/// The demo catalogue's products from number `from` (counted from 0) to `to`, with variants and plenty of stock.
pub(crate) fn products(from: usize, to: usize) -> impl Iterator<Item = Entry> {
    let numbers = (from + 1)..=to;
    numbers.flat_map(|number| DemoCatalogue::only(1, number)).map(|entry| Entry { stock: Some(STOCK), ..entry })
}

/// Prints the question and the prediction, before anything is measured.
pub(crate) fn ask(question: &str, prediction: &str) {
    println!("\nQuestion:   {question}\nPrediction: {prediction}");
}

/// The median; of an even number of figures the upper one.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The resident memory of this process, in megabytes.
pub(crate) fn resident_megabytes() -> u64 {
    status_kilobytes("VmRSS:") / 1024
}

/// The largest resident memory of this process so far, in megabytes.
pub(crate) fn resident_megabytes_max() -> u64 {
    status_kilobytes("VmHWM:") / 1024
}

fn status_kilobytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().split(' ').next().and_then(|kilobytes| kilobytes.parse().ok()).unwrap_or(0)
}

/// The processor time of this process so far, of all threads, in seconds.
pub(crate) fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in brackets, which may contain anything, user and system time are the 12th and 13th field.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    ticks as f64 / TICKS_A_SECOND
}

/// Latencies of single operations, to two digits: with three, the histograms of 1,024 callers would be so large that
/// recording would take a tenth of the measured time.
pub(crate) struct Latencies(hdrhistogram::Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(hdrhistogram::Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("bounds are legal"))
    }
}

impl Latencies {
    /// Records an operation that began at this time.
    pub(crate) fn record(&mut self, began: Instant) {
        let nanoseconds = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanoseconds.max(1));
    }

    /// Adds the latencies of another histogram.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("same bounds");
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency at this quantile (from 0 to 1), in milliseconds.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e6
    }

    /// Formats p50, p99 and p99.9 in milliseconds.
    pub(crate) fn show(&self) -> String {
        format!("p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms", self.at(0.5), self.at(0.99), self.at(0.999))
    }
}
