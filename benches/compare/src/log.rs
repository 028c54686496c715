//! The journal's durable appends, with one caller and with many, on one stream and on many, against a plain
//! preallocated file that is written and synced page by page, which is the limit for writes.
//!
//! Depends on `support`, on the room `storage` of `souk` and on `tokio`.

use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt,
    sync::Arc,
    time::{Duration, Instant},
};

use souk::internals::storage::{Append, Journal, JournalConfig, Lease, Snapshot, Stream};
use tokio::sync::{Mutex, oneshot};

use crate::support;

const PAYLOAD_BYTES: usize = 60;

/// Measures both and prints the ratios.
pub(crate) async fn run() -> anyhow::Result<()> {
    support::ask(
        "how many durable appends a second, against a plain preallocated file written and synced page by page?",
        "one caller >= 70 % of the file's syncs; 64 share one sync; 1,024 are bound by the processor, and one hot stream is \
         as fast as many",
    );
    println!("            every append waits for fdatasync; {PAYLOAD_BYTES}-byte payloads");
    let mut syncs_max: f64 = 0.0;
    for (name, zeros) in [("reserved extents", false), ("zeros written ahead", true)] {
        let (syncs, p50) = tokio::task::spawn_blocking(move || plain_file(zeros)).await??;
        println!("            plain file, 4 KiB, {name:<20} {syncs:>10.0} syncs/s    p50 {p50:>8.1} µs");
        syncs_max = syncs_max.max(syncs);
    }
    for callers in [1, 64, 1_024] {
        for (name, streams) in [("one stream", 1), ("many streams", callers)] {
            let dir = support::scratch();
            let journal = Journal::open(JournalConfig::new(dir.path()))?;
            let (per_second, p50, p99) = measure(&journal, callers, streams).await?;
            let figures = journal.figures();
            let records_per_sync = figures.records / figures.batches.max(1);
            let sync_mean = Duration::from_nanos(figures.sync_nanoseconds_sum / figures.batches.max(1));
            println!(
                "Result:     {callers:>5} callers, {name:<13} {per_second:>9.0} durable/s = {:>6.2} of the file's  \
                 p50 {p50:>8.1?}  p99 {p99:>8.1?}  {records_per_sync:>5} records a sync of {sync_mean:.1?}  {} checkpoints",
                per_second / syncs_max,
                figures.checkpoints
            );
            journal.close().await?;
        }
    }
    Ok(())
}

fn plain_file(zeros: bool) -> anyhow::Result<(f64, f64)> {
    const BYTES: u64 = 64 * 1024 * 1024;
    let dir = support::scratch();
    let file = OpenOptions::new().create_new(true).write(true).open(dir.path().join("plain"))?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, BYTES)?;
    if zeros {
        file.write_all_at(&vec![0; usize::try_from(BYTES)?], 0)?;
    }
    file.sync_all()?;
    let mut times = Vec::new();
    let (began, until) = (Instant::now(), support::deadline());
    for offset in (0..BYTES).step_by(4096).take_while(|_| Instant::now() < until) {
        let one = Instant::now();
        file.write_all_at(&[1; 4096], offset)?;
        file.sync_data()?;
        times.push(one.elapsed());
    }
    let elapsed = began.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok((times.len() as f64 / elapsed, times[times.len() / 2].as_secs_f64() * 1e6))
}

/// A stream and its last sequence, shared by its callers. The lock takes the place of the actor's mailbox in the shop.
type Writer = Arc<Mutex<(Lease, u64)>>;

async fn measure(journal: &Journal, callers: usize, streams: usize) -> anyhow::Result<(f64, Duration, Duration)> {
    let mut writers: Vec<Writer> = Vec::new();
    for index in 0..streams {
        let (lease, loaded) = journal.activate(&Stream::new(1, &(index as u64).to_be_bytes())).await?;
        writers.push(Arc::new(Mutex::new((lease, loaded.sequence()))));
    }
    let (began, until) = (Instant::now(), support::deadline());
    let tasks: Vec<_> = (0..callers)
        .map(|caller| tokio::spawn(call(journal.clone(), Arc::clone(&writers[caller % streams]), until)))
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let elapsed = began.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok((times.len() as f64 / elapsed, times[times.len() / 2], times[times.len() * 99 / 100]))
}

async fn call(journal: Journal, writer: Writer, until: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < until {
        let one = Instant::now();
        let slot = journal.reserve().await?;
        let (sender, receiver) = oneshot::channel();
        {
            let mut writer = writer.lock().await;
            writer.1 += 1;
            let sequence = writer.1;
            // Like entities: a snapshot when the events since the last one outweigh it.
            let bytes = sequence.is_multiple_of(64).then(|| vec![7; 64 * PAYLOAD_BYTES].into());
            let snapshot = bytes.map(|bytes| (writer.0.stream().clone(), Snapshot { sequence, version: 1, bytes }));
            let append = Append { sequence, version: 1, payload: vec![1; PAYLOAD_BYTES] };
            let journal = journal.clone();
            slot.append(&writer.0, append, move |result| {
                if let Some((stream, snapshot)) = snapshot {
                    journal.offer_snapshot(&stream, snapshot);
                }
                // The caller waits for it below.
                let _ = sender.send(result);
            });
        }
        receiver.await??;
        times.push(one.elapsed());
    }
    Ok(times)
}
