//! How long does a start take after a kill with a million events since the last checkpoint?
//!
//! Prediction: reading, checking and indexing 100 MB takes about a second. The bar is 5 s.
//!
//! Depends on `support` and on the room `storage` of `souk`.
#![allow(clippy::print_stdout, missing_docs, reason = "a bench prints")]

mod support;

use std::time::Instant;

use souk::internals::storage::{Append, Journal, JournalConfig, Stream};

const RECORDS: u64 = 1_000_000;
const STREAMS: u64 = 50_000;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let dir = support::scratch();
    let config = || {
        let mut config = JournalConfig::new(dir.path());
        // No checkpoint in between, which is the point of the question.
        config.limits.checkpoint_ms = u64::from(u32::MAX);
        config.limits.memtable_bytes_max = 4 << 30;
        config
    };
    let journal = Journal::open(config())?;
    let began = Instant::now();
    runtime.block_on(write(&journal))?;
    println!("wrote {RECORDS} events of {STREAMS} streams in {:.1?}", began.elapsed());
    // Dropped, not closed, so without a last checkpoint.
    drop(journal);

    let began = Instant::now();
    let journal = Journal::open(config())?;
    let opened = began.elapsed();
    println!(
        "start with {RECORDS} events since the checkpoint: {opened:.2?} (bar: 5 s); tail {} MB",
        journal.figures().memtable_bytes >> 20
    );

    let began = Instant::now();
    let position = runtime.block_on(journal.checkpoint())?;
    println!("checkpoint of all of it, paced: {:.1?}", began.elapsed());
    let began = Instant::now();
    runtime.block_on(journal.close())?;
    println!("close: {:.2?}", began.elapsed());
    let began = Instant::now();
    let journal = Journal::open(config())?;
    println!("start after a clean end: {:.2?}; {position:?}", began.elapsed());
    let began = Instant::now();
    let loaded = runtime.block_on(journal.read(&Stream::new(1, &7_u64.to_be_bytes())))?;
    println!("load of one stream with {} records: {:.1?}", loaded.records.len(), began.elapsed());
    Ok(())
}

async fn write(journal: &Journal) -> anyhow::Result<()> {
    let mut leases = Vec::new();
    for index in 0..STREAMS {
        leases.push(journal.activate(&Stream::new(1, &index.to_be_bytes())).await?.0);
    }
    for number in 0..RECORDS {
        let lease = &leases[usize::try_from(number % STREAMS)?];
        let append = Append { sequence: number / STREAMS + 1, version: 1, payload: vec![1; 60] };
        journal.reserve().await?.append(lease, append, |_| {});
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    journal.reserve().await?.after_earlier(move |result| {
        // The writer waits for it below.
        let _ = sender.send(result);
    });
    Ok(receiver.await??)
}
