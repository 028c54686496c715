//! A load generator: customers that browse and buy at a running shop, over HTTP.
//!
//! ```text
//!  Plan ─▶ World (people, products, queries) ─▶ arrivals ─▶ journeys ─▶ Recorder ─▶ Report (table, JSON, HTML)
//!                                               open: constant rate   │  │
//!                                               closed: N callers     │  Verdict (is everything acknowledged there?)
//!                                                                     HistoryWriter ─▶ history, for `souk verify`
//! ```
//!
//! Use the *open* model to measure latencies: journeys begin at a constant rate whether or not earlier ones have ended.
//! A journey and its first request are timed from the moment they were due, so a stall of the shop shows in the
//! latencies of all customers who would have come during it. The *closed* model keeps a number of callers busy and
//! measures the highest throughput; it hides stalls.
//!
//! This crate knows a shop by its HTTP API and its file formats. Depends on no crate of the shop.

mod acknowledged;
mod answer;
mod arrivals;
mod chart;
mod client;
mod command;
mod conditions;
mod escape;
mod files;
pub mod history;
mod history_writer;
mod html;
mod journey;
mod kind;
mod marketplace;
mod parcels;
mod people;
mod plan;
mod recorder;
mod report;
mod rows;
mod run;
mod scenario;
mod verdict;
mod world;

pub use self::{
    answer::NoAnswer,
    command::Options,
    conditions::{Conditions, Machine},
    kind::Kind,
    plan::{Arrivals, LoadError, Operator, Plan, Protocol},
    report::Report,
    rows::{ProblemCount, Row, Second, UnansweredCount},
    run::{Progress, run},
    scenario::Scenario,
    verdict::Verdict,
};
