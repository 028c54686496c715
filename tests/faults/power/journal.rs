//! The journal alone, with its syncs and without them.

use std::{
    collections::BTreeMap,
    env, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use souk::internals::storage::{Append, File, Files, Journal, JournalConfig, JournalLimits, RealFiles, Stream};
use tokio::{task::JoinSet, time::sleep};

use super::Violations;
use crate::{
    Figure, Length,
    disk::{Disk, MIB, Process, random_ms},
};

/// Set in the process that writes: to the journal's directory, and to whether it syncs.
pub(super) const WRITER_DIR: &str = "SOUK_POWER_WRITER_DIR";
/// See [`WRITER_DIR`].
pub(super) const WRITER_SYNCS: &str = "SOUK_POWER_WRITER_SYNCS";
/// Cuts of a short run.
const CUTS: u64 = 40;
const CONTROL_CUTS: usize = 5;
const STREAMS: u8 = 8;
const CALLERS_PER_STREAM: u8 = 8;
/// After this many cuts the journal is created anew on a new disk, so that its creation is cut, too.
const CUTS_PER_DISK: u64 = 10;

/// Small segments and frequent checkpoints, so that cuts meet them.
fn limits() -> JournalLimits {
    let checkpoint_ms = 200;
    JournalLimits { segment_bytes: 2 * MIB, disk_free_bytes_min: 16 * MIB, checkpoint_ms, ..JournalLimits::default() }
}

/// The writing process: many callers append to a few streams and print what was acknowledged.
pub(super) async fn write(dir: PathBuf, syncs: bool) {
    let mut config = JournalConfig::new(dir);
    config.limits = limits();
    if !syncs {
        config.limits.checkpoint_ms = 60_000;
        config.files = Arc::new(NoSync);
    }
    let journal = Journal::open(config).unwrap();
    let mut callers = JoinSet::new();
    for kind in 0..STREAMS {
        let (lease, loaded) = journal.activate(&Stream::new(kind, b"power")).await.unwrap();
        let shared = Arc::new(Mutex::new((lease, loaded.sequence())));
        for _ in 0..CALLERS_PER_STREAM {
            let (journal, shared) = (journal.clone(), Arc::clone(&shared));
            callers.spawn(async move {
                while let Ok(slot) = journal.reserve().await {
                    let payload: Vec<u8> =
                        std::iter::repeat_with(|| fastrand::u8(..)).take(fastrand::usize(1..1_200)).collect();
                    let checksum = crc32c::crc32c(&payload);
                    let (sender, durable) = tokio::sync::oneshot::channel();
                    let sequence = {
                        let (lease, last) = &mut *shared.lock();
                        *last += 1;
                        let append = Append { sequence: *last, version: 1, payload };
                        slot.append(lease, append, |result| drop(sender.send(result)));
                        *last
                    };
                    match durable.await {
                        Ok(Ok(())) => println!("{kind} {sequence} {checksum}"),
                        _ => return,
                    }
                }
            });
        }
    }
    callers.join_all().await;
}

/// The planted bug: files that are never synced.
#[derive(Debug)]
struct NoSync;

#[derive(Debug)]
struct NoSyncFile(Arc<dyn File>);

impl Files for NoSync {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(NoSyncFile(RealFiles.create_new(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(NoSyncFile(RealFiles.open(path)?)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFiles.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealFiles.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealFiles.list(path)
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        RealFiles.modified(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealFiles.free_bytes(path)
    }
}

impl File for NoSyncFile {
    fn preallocate(&self, bytes: u64, between: &mut dyn FnMut()) -> io::Result<()> {
        self.0.preallocate(bytes, between)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
}

/// The acknowledged records: stream and sequence, with the payload's checksum.
type Acknowledged = BTreeMap<(u8, u64), u32>;

/// Lets a process write until the power is cut, and collects what it acknowledged.
async fn write_and_cut(disk: &Disk, syncs: bool, while_opening: bool, acknowledged: &mut Acknowledged) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(WRITER_DIR, disk.data()).stderr(Stdio::null());
    if syncs {
        command.env(WRITER_SYNCS, "1");
    }
    let mut note = |line: &str| {
        let mut numbers = line.split(' ').map(|number| number.parse::<u64>().unwrap());
        let mut next = || numbers.next().unwrap();
        let key = (u8::try_from(next()).unwrap(), next());
        acknowledged.insert(key, u32::try_from(next()).unwrap());
    };
    let mut writer = Process::start(command);
    if !while_opening {
        note(&writer.line(Duration::from_secs(30)).await.expect("the writer writes"));
    }
    let moment = Instant::now() + random_ms(0..200);
    while let Some(line) = writer.line(moment.saturating_duration_since(Instant::now())).await {
        note(&line);
    }
    sleep(moment.saturating_duration_since(Instant::now())).await;
    disk.cut().unwrap();
    // Now and then the process lives on for a moment, because it must not take the failure for a success.
    sleep(random_ms(0..30)).await;
    writer.child.kill().await.unwrap();
    while let Some(line) = writer.line(Duration::from_secs(5)).await {
        note(&line);
    }
    drop(writer);
    disk.power_on();
}

/// Opens the journal and compares it with what was acknowledged.
async fn check_journal(dir: &Path, acknowledged: &Acknowledged, close: bool) -> Violations {
    let journal = match Journal::open(JournalConfig { limits: limits(), ..JournalConfig::new(dir) }) {
        Ok(journal) => journal,
        Err(error) => return vec![format!("the journal does not open: {error}")],
    };
    let mut violations = Vec::new();
    for kind in 0..STREAMS {
        let loaded = match journal.read(&Stream::new(kind, b"power")).await {
            Ok(loaded) => loaded,
            Err(error) => {
                violations.push(format!("stream {kind} cannot be read: {error}"));
                continue;
            }
        };
        let last = acknowledged.range((kind, 0)..=(kind, u64::MAX)).last().map_or(0, |((_, sequence), _)| *sequence);
        if loaded.sequence() < last {
            violations.push(format!("stream {kind} ends at {}, acknowledged was {last}", loaded.sequence()));
        }
        for (expected, record) in (1..).zip(&loaded.records) {
            let known = acknowledged.get(&(kind, expected));
            if record.sequence != expected || known.is_some_and(|known| *known != crc32c::crc32c(&record.payload)) {
                violations.push(format!("stream {kind} has another record as its {expected}th"));
            }
        }
    }
    if close {
        journal.close().await.unwrap();
    }
    violations
}

pub(super) async fn cut_the_journal(length: Length) -> Figure {
    let (mut violations, mut count, mut cuts) = (Vec::new(), 0, 0);
    let mut disk = None;
    let mut acknowledged = Acknowledged::new();
    while length.goes_on(cuts, CUTS) {
        if cuts % CUTS_PER_DISK == 0 {
            count += std::mem::take(&mut acknowledged).len();
            drop(disk.take());
        }
        let disk = disk.get_or_insert_with(|| Disk::new(512 * MIB).unwrap());
        write_and_cut(disk, true, cuts % 5 == 0, &mut acknowledged).await;
        let found = check_journal(&disk.data(), &acknowledged, cuts % 2 == 0).await;
        violations.extend(found.into_iter().map(|violation| format!("cut {cuts}: {violation}")));
        cuts += 1;
    }
    count += acknowledged.len();
    if count == 0 {
        violations.push("nothing was acknowledged: nothing was tested".into());
    }
    Figure { figure: format!("{cuts} cuts / {count} records acknowledged"), violations }
}

pub(super) async fn cut_without_syncs() -> Figure {
    let (mut caught, mut count) = (0, 0);
    for cut in 0..CONTROL_CUTS {
        let disk = Disk::new(512 * MIB).unwrap();
        // The journal is created with syncs, so that only later writes can be lost.
        let made = check_journal(&disk.data(), &Acknowledged::new(), true).await;
        assert!(made.is_empty(), "{made:?}");
        let mut acknowledged = Acknowledged::new();
        write_and_cut(&disk, false, false, &mut acknowledged).await;
        count += acknowledged.len();
        let found = check_journal(&disk.data(), &acknowledged, false).await;
        if let Some(first) = found.first() {
            println!("  without syncs, cut {cut}: {} violations, as it must be; first: {first}", found.len());
            caught += 1;
        }
    }
    let violations = match caught {
        0 => vec!["the journal without syncs lost nothing: the cut proves nothing".into()],
        _ => vec![],
    };
    let figure = format!("{CONTROL_CUTS} cuts / {count} records acknowledged / loss seen after {caught} cuts");
    Figure { figure, violations }
}
