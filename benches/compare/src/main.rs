//! Souk side by side with alternatives: a flash sale on PostgreSQL and on Redis, a product page of fixed bytes, a
//! search with plain tantivy, a plain file. The ratios within one run count; absolute figures depend on the machine.
//!
//! ```text
//! cargo build --release                                  # the server that is compared
//! cargo run --release -p compare -- flash-sale page      # of flash-sale, page, search, log; without a name all
//! ```
//!
//! A peer that is not installed is skipped with a message, and the skips are counted.
//!
//! Depends on `flash_sale`, `log`, `over_http`, `page`, `peer`, `postgres`, `redis`, `search` and `support`.
#![allow(clippy::print_stdout, missing_docs, reason = "a bench prints")]

mod flash_sale;
mod log;
mod over_http;
mod page;
mod peer;
mod postgres;
mod redis;
mod search;
#[path = "../../support/mod.rs"]
mod support;

use std::{
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::signal::unix::{SignalKind, signal};

const COMPARISONS: [&str; 4] = ["flash-sale", "page", "search", "log"];

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Reports that something could not be compared, and why.
fn skip(what: &str, why: &anyhow::Error) {
    SKIPPED.fetch_add(1, Ordering::Relaxed);
    println!("SKIPPED:    {what}: {why:#}");
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let picked = support::picked();
    if let Some(unknown) = picked.iter().find(|name| !COMPARISONS.contains(&name.as_str())) {
        anyhow::bail!("there is no comparison {unknown}, only {}", COMPARISONS.join(", "));
    }
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        compared = compare(&picked) => compared?,
        // Dropping the comparison ends the peers.
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
    }
    match SKIPPED.load(Ordering::Relaxed) {
        0 => println!("\nNothing was skipped."),
        skipped => println!("\nSKIPPED IN ALL: {skipped}"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn compare(picked: &[String]) -> anyhow::Result<()> {
    let wanted = |name: &str| picked.is_empty() || picked.iter().any(|picked| picked == name);
    if wanted("flash-sale") {
        flash_sale::run().await?;
    }
    if wanted("page") {
        page::run().await;
    }
    if wanted("search") {
        search::run().await;
    }
    if wanted("log") {
        log::run().await?;
    }
    Ok(())
}
