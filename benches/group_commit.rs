//! How many durable appends a second, from one caller and from many, on one stream and on many?
//!
//! Prediction: one caller is bound by the sync of the disk; 64 share one sync; 1,024 are bound by the processor, and one hot
//! stream is as fast as many. Beside it, in the same run, the plain preallocated file that is the limit for writes.
#![allow(clippy::print_stdout, missing_docs)]

use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use souk::storage::{Append, Journal, JournalConfig, Lease, Stream};
use tokio::sync::{Mutex, oneshot};

/// How long each case runs.
const CASE: Duration = Duration::from_secs(3);
const PAYLOAD_BYTES: usize = 60;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let scratch = std::env::var_os("SOUK_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    println!("durability: every append waits for fdatasync; {PAYLOAD_BYTES}-byte payloads; {}", scratch.display());
    for (name, zeros) in [("reserved extents", false), ("zeros written ahead", true)] {
        let (syncs, p50) = plain_file(&scratch, zeros)?;
        println!("plain file, 4 KiB, {name:<20} {syncs:>10.0} syncs/s    p50 {p50:>8.1} µs");
    }
    for callers in [1, 64, 1_024] {
        for (name, streams) in [("one stream", 1), ("many streams", callers)] {
            let dir = tempfile::tempdir_in(&scratch)?;
            let journal = Journal::open(JournalConfig::new(dir.path()))?;
            let (per_second, p50, p99) = runtime.block_on(run(&journal, callers, streams))?;
            let figures = journal.figures();
            let records_per_sync = figures.records / figures.batches.max(1);
            let sync_mean = Duration::from_nanos(figures.sync_nanoseconds_sum / figures.batches.max(1));
            println!(
                "{callers:>5} callers, {name:<13} {per_second:>10.0} durable/s  p50 {p50:>8.1?}  p99 {p99:>8.1?}  \
                 {records_per_sync:>5} records a sync of {sync_mean:.1?}  {} checkpoints",
                figures.checkpoints
            );
            runtime.block_on(journal.close())?;
        }
    }
    Ok(())
}

fn plain_file(scratch: &Path, zeros: bool) -> anyhow::Result<(f64, f64)> {
    const BYTES: u64 = 64 * 1024 * 1024;
    let dir = tempfile::tempdir_in(scratch)?;
    let file = OpenOptions::new().create_new(true).write(true).open(dir.path().join("plain"))?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, BYTES)?;
    if zeros {
        file.write_all_at(&vec![0; usize::try_from(BYTES)?], 0)?;
    }
    file.sync_all()?;
    let mut times = Vec::new();
    let began = Instant::now();
    for offset in (0..BYTES).step_by(4096).take_while(|_| began.elapsed() < CASE) {
        let one = Instant::now();
        file.write_all_at(&[1; 4096], offset)?;
        file.sync_data()?;
        times.push(one.elapsed());
    }
    let elapsed = began.elapsed().as_secs_f64();
    times.sort_unstable();
    #[allow(clippy::cast_precision_loss)]
    Ok((times.len() as f64 / elapsed, times[times.len() / 2].as_secs_f64() * 1e6))
}

/// A stream and its last sequence, shared by its callers. The lock is what an actor's mailbox is in the shop.
type Writer = Arc<Mutex<(Lease, u64)>>;

async fn run(journal: &Journal, callers: usize, streams: usize) -> anyhow::Result<(f64, Duration, Duration)> {
    let mut writers: Vec<Writer> = Vec::new();
    for index in 0..streams {
        let (lease, loaded) = journal.activate(&Stream::new(1, &(index as u64).to_be_bytes())).await?;
        writers.push(Arc::new(Mutex::new((lease, loaded.sequence()))));
    }
    let began = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| tokio::spawn(call(journal.clone(), Arc::clone(&writers[caller % streams]), began)))
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let elapsed = began.elapsed().as_secs_f64();
    times.sort_unstable();
    #[allow(clippy::cast_precision_loss)]
    Ok((times.len() as f64 / elapsed, times[times.len() / 2], times[times.len() * 99 / 100]))
}

async fn call(journal: Journal, writer: Writer, began: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while began.elapsed() < CASE {
        let one = Instant::now();
        let slot = journal.reserve().await?;
        let (sender, receiver) = oneshot::channel();
        {
            let mut writer = writer.lock().await;
            writer.1 += 1;
            let sequence = writer.1;
            // As entities do: a snapshot when the events since the last one outweigh it.
            let snapshot = sequence.is_multiple_of(64).then(|| (1, vec![7; 64 * PAYLOAD_BYTES]));
            let append = Append { sequence, version: 1, payload: vec![1; PAYLOAD_BYTES], snapshot };
            slot.append(&writer.0, append, move |result| {
                // The caller waits for it below.
                let _ = sender.send(result);
            });
        }
        receiver.await??;
        times.push(one.elapsed());
    }
    Ok(times)
}
