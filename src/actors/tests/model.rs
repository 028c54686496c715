//! The runtime against a model: many clients over several ids, while entities panic, are passivated and evict each
//! other, the owner is killed, checkpoints are made, and the whole runtime ends cleanly, is dropped, or loses its disk,
//! and starts again.
//!
//! Every acknowledged entry is present exactly once, none that was not executed is, each client's entries are in its
//! order, no sequence is missing, and every list that a reader saw is a prefix of the final one.
//!
//! Depends on the runtime.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::{
    append_list::{AppendList, Command, Entry, Mishap, Seen},
    runtime::{TestRuntime, seeds, until},
};
use crate::{
    actors::{
        directory::DirectoryLimits,
        reply::{Answer, AskError, NotDelivered},
        views::Versioned,
    },
    domain::ids::UserId,
    storage::{Position, Stream},
};

const IDS: u128 = 5;
const CLIENTS: u32 = 6;
const GENERATIONS: u64 = 4;
const STEPS: u32 = 60;
/// How often a client repeats one command before it leaves the outcome unknown.
const REPEATS_MAX: u32 = 400;

/// What is known of one list.
#[derive(Default)]
struct Known {
    /// Acknowledged entries.
    acknowledged: Mutex<BTreeSet<Entry>>,
    /// Entries that were certainly not executed.
    refused: Mutex<BTreeSet<Entry>>,
    /// A list of at least this length was acknowledged.
    floor: AtomicU64,
    /// The longest list that anybody was shown.
    longest: Mutex<Arc<Vec<Entry>>>,
}

impl Known {
    /// Checks that one of the two lists is a prefix of the other, and keeps the longer one.
    fn shown(&self, list: &Arc<Vec<Entry>>) {
        let mut longest = self.longest.lock();
        let common = longest.len().min(list.len());
        assert_eq!(longest[..common], list[..common], "two readers saw different histories");
        if list.len() > longest.len() {
            *longest = Arc::clone(list);
        }
    }
}

#[derive(Default)]
struct Model {
    lists: HashMap<u128, Known>,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
    reads: AtomicU64,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self { lists: (0..IDS).map(|id| (id, Known::default())).collect(), ..Self::default() })
    }

    async fn read(&self, runtime: &TestRuntime, id: u128, last: &mut BTreeMap<u128, u64>) {
        let known = &self.lists[&id];
        let floor = known.floor.load(Ordering::SeqCst).max(last.get(&id).copied().unwrap_or(0));
        // A lost journal cannot be read; its earlier answers still count.
        let Ok(Versioned { sequence, view }) = runtime.directory.read(&UserId(id)).await else { return };
        let length = view.0.len() as u64;
        assert_eq!(sequence, length, "every event of an append list is an entry");
        assert!(length >= floor, "id {id}: read {length} entries after {floor} were acknowledged or read");
        known.shown(&view.0);
        last.insert(id, length);
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn accept(&self, id: u128, entry: Entry, seen: &Seen) {
        let known = &self.lists[&id];
        assert!(seen.0.contains(&entry), "the acknowledged view lacks its own entry");
        known.acknowledged.lock().insert(entry);
        known.floor.fetch_max(seen.0.len() as u64, Ordering::SeqCst);
        known.shown(&seen.0);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Checks everything that must hold when no client is active.
    async fn check(&self, runtime: &TestRuntime) {
        for (id, known) in &self.lists {
            let Versioned { sequence, view } = runtime.directory.read(&UserId(*id)).await.unwrap();
            assert_eq!(sequence, view.0.len() as u64);
            assert!(sequence >= known.floor.load(Ordering::SeqCst));
            known.shown(&view.0);
            let entries: BTreeSet<_> = view.0.iter().copied().collect();
            assert_eq!(entries.len(), view.0.len(), "id {id}: an entry is there twice");
            let lost: Vec<_> = known.acknowledged.lock().difference(&entries).copied().collect();
            assert!(lost.is_empty(), "id {id}: acknowledged and lost: {lost:?}");
            let risen: Vec<_> = known.refused.lock().intersection(&entries).copied().collect();
            assert!(risen.is_empty(), "id {id}: surely not executed, yet there: {risen:?}");
            for client in 0..CLIENTS {
                let numbers: Vec<_> =
                    view.0.iter().filter(|entry| entry.client == client).map(|entry| entry.number).collect();
                assert!(numbers.is_sorted(), "id {id}: the entries of {client} are out of order: {numbers:?}");
            }
        }
        self.check_log(runtime);
    }

    /// Checks that the log has every sequence once.
    fn check_log(&self, runtime: &TestRuntime) {
        let (mut next, mut from) = (HashMap::<Stream, u64>::new(), Position::BEGINNING);
        loop {
            let page = runtime.journal.page(from, 1 << 20).unwrap();
            for record in page.records {
                let expected = next.entry(record.stream).or_insert(1);
                assert_eq!(record.sequence, *expected, "a sequence is missing or there twice");
                *expected += 1;
            }
            if page.next == from {
                break;
            }
            from = page.next;
        }
    }
}

struct Client {
    name: u32,
    model: Arc<Model>,
    runtime: TestRuntime,
    random: fastrand::Rng,
    next: u32,
    last: BTreeMap<u128, u64>,
}

impl Client {
    async fn work(mut self) {
        for _ in 0..STEPS {
            let id = self.random.u128(0..IDS);
            match self.random.u8(0..10) {
                0..4 => self.model.read(&self.runtime, id, &mut self.last).await,
                4 => self.refuse(id).await,
                _ => {
                    let entry = Entry { client: self.name, number: self.next };
                    self.next += 1;
                    if self.add(id, entry).await == Shop::Closed {
                        return;
                    }
                }
            }
        }
    }

    /// A rejection reflects everything before it: a later read finds at least as much.
    async fn refuse(&mut self, id: u128) {
        if let Err(AskError::Rejected(refused)) = self.runtime.directory.ask(&UserId(id), Command::Refuse).await {
            self.model.lists[&id].floor.fetch_max(refused.length as u64, Ordering::SeqCst);
            self.model.read(&self.runtime, id, &mut self.last).await;
        }
    }

    async fn add(&mut self, id: u128, entry: Entry) -> Shop {
        let mut surely_not = true;
        for repeat in 0..REPEATS_MAX {
            let mishap = match self.random.u8(0..20) {
                0 if repeat == 0 => Mishap::PanicInDecide,
                1 if repeat == 0 => Mishap::PanicInApply,
                _ => Mishap::None,
            };
            let answer = self.ask(id, Command::Add { entry, mishap }).await;
            match answer {
                None => {
                    // Nobody waited for the answer, so the outcome is unknown. Half of these are repeated.
                    surely_not = false;
                    if self.random.bool() {
                        break;
                    }
                }
                Some(Ok(accepted)) => {
                    assert_eq!(mishap, Mishap::None, "a command that panics was acknowledged");
                    self.model.accept(id, entry, &accepted.view);
                    self.model.read(&self.runtime, id, &mut self.last).await;
                    return Shop::Open;
                }
                Some(Err(AskError::Rejected(refused))) => panic!("an addition is never refused: {refused}"),
                Some(Err(AskError::KeyReused)) => panic!("it has no key"),
                Some(Err(AskError::Unknown)) => {
                    surely_not &= mishap != Mishap::None;
                    if self.random.u8(0..4) == 0 {
                        break;
                    }
                }
                Some(Err(AskError::NotDelivered(NotDelivered::Closed))) => {
                    self.gave_up(id, entry, surely_not);
                    return Shop::Closed;
                }
                Some(Err(AskError::NotDelivered(NotDelivered::Busy | NotDelivered::ReadOnly))) => {
                    tokio::time::timeout(Duration::from_millis(2), std::future::pending::<()>()).await.unwrap_err();
                }
            }
        }
        self.gave_up(id, entry, surely_not);
        Shop::Open
    }

    fn gave_up(&self, id: u128, entry: Entry, surely_not: bool) {
        if surely_not {
            self.model.lists[&id].refused.lock().insert(entry);
            self.model.refused.fetch_add(1, Ordering::Relaxed);
        } else {
            self.model.unknown.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends a command, and in one of ten cases does not wait for the answer.
    async fn ask(&mut self, id: u128, command: Command) -> Option<Answer<AppendList>> {
        let (id, patience) = (UserId(id), self.random.u8(0..10) > 0);
        let ask = self.runtime.directory.ask(&id, command);
        if patience {
            return Some(ask.await);
        }
        let yields = self.random.u8(0..4);
        tokio::select! {
            biased;
            answer = ask => Some(answer),
            () = async { for _ in 0..yields { tokio::task::yield_now().await; } } => None,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Shop {
    Open,
    Closed,
}

/// Passivates, makes checkpoints, and now and then kills the owner.
async fn disturb(runtime: TestRuntime, mut random: fastrand::Rng, ended: Arc<AtomicBool>) {
    let kill_at = random.u32(0..400);
    let mut turn = 0;
    while !ended.load(Ordering::Relaxed) {
        turn += 1;
        if turn == kill_at {
            runtime.kill_owner();
        }
        match random.u8(0..8) {
            0 => {
                // It fails if the journal does, which happens here on purpose.
                let _ = runtime.journal.checkpoint().await;
            }
            1..6 => runtime.directory.passivate(&UserId(random.u128(0..IDS))),
            _ => {
                tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await.unwrap_err();
            }
        }
        tokio::task::yield_now().await;
    }
}

#[derive(Debug, Clone, Copy)]
enum End {
    /// Closed after all clients have ended.
    Clean,
    /// Closed while clients are active.
    CleanAtWork,
    /// Everything is dropped while clients are active.
    Dropped,
    /// The disk breaks while clients are active.
    DiskBroken,
}

fn limits(random: &mut fastrand::Rng) -> DirectoryLimits {
    DirectoryLimits {
        live_max: random.usize(1..4),
        idle_ms_max: 0,
        mailbox_max: random.u32(2..8),
        views_bytes_max: *random.choice([0, 600, 4_000, 1 << 20].iter()).unwrap(),
        back_off_ms_min: 1,
        back_off_ms_max: 4,
    }
}

/// One life of the runtime. Where it ends abruptly, its clients are still active.
async fn live(path: &Path, model: Arc<Model>, seed: u64, generation: u64, end: End) {
    let mut random = fastrand::Rng::with_seed(seed * GENERATIONS + generation);
    let runtime = TestRuntime::open(path, limits(&mut random)).await;
    model.check(&runtime).await;
    let ended = Arc::new(AtomicBool::new(false));
    let disturbance = tokio::spawn(disturb(runtime.clone(), random.fork(), Arc::clone(&ended)));
    let mut clients = JoinSet::new();
    for name in 0..CLIENTS {
        let next = u32::try_from(generation).unwrap() * STEPS;
        let (model, runtime, random) = (Arc::clone(&model), runtime.clone(), random.fork());
        clients.spawn(Client { name, model, runtime, random, next, last: BTreeMap::new() }.work());
    }
    let goal = model.acknowledged.load(Ordering::Relaxed) + random.u64(20..60);
    let enough = async || model.acknowledged.load(Ordering::Relaxed) >= goal;
    match end {
        End::Clean => {
            while let Some(client) = clients.join_next().await {
                client.unwrap();
            }
        }
        End::CleanAtWork | End::Dropped | End::DiskBroken => until("some work is done", enough).await,
    }
    match end {
        End::Clean | End::CleanAtWork => {
            runtime.close().await;
            while let Some(client) = clients.join_next().await {
                client.unwrap();
            }
            assert_eq!(runtime.directory.live_count(), 0, "a closed directory holds nobody");
            assert_eq!(runtime.journal.figures().queue_records, 0, "every place in the queue was given back");
            ended.store(true, Ordering::Relaxed);
            disturbance.await.unwrap();
        }
        End::Dropped => {
            // The runtime ends under them; only a failed check matters.
            while let Some(client) = clients.try_join_next() {
                client.unwrap();
            }
            clients.detach_all();
        }
        End::DiskBroken => {
            runtime.disk.break_down();
            while let Some(client) = clients.join_next().await {
                client.unwrap();
            }
            ended.store(true, Ordering::Relaxed);
            disturbance.await.unwrap();
        }
    }
}

#[test]
fn every_acknowledged_entry_is_present_once_and_in_order_whatever_happens() {
    let (mut acknowledged, mut unknown, mut refused, mut reads) = (0, 0, 0, 0);
    for seed in seeds(25) {
        let (directory, model) = (tempfile::tempdir().unwrap(), Model::new());
        let mut random = fastrand::Rng::with_seed(seed);
        for generation in 0..=GENERATIONS {
            let end = match random.u8(0..5) {
                _ if generation == GENERATIONS => End::Clean,
                0 => End::Clean,
                1 => End::CleanAtWork,
                2 | 3 => End::Dropped,
                _ => End::DiskBroken,
            };
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let life = live(directory.path(), Arc::clone(&model), seed, generation, end);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(life)));
            runtime.shutdown_timeout(Duration::from_secs(60));
            assert!(outcome.is_ok(), "seed {seed}, generation {generation}, end {end:?}: see the panic above");
        }
        acknowledged += model.acknowledged.load(Ordering::Relaxed);
        unknown += model.unknown.load(Ordering::Relaxed);
        refused += model.refused.load(Ordering::Relaxed);
        reads += model.reads.load(Ordering::Relaxed);
    }
    println!("{acknowledged} acknowledged, {unknown} unknown, {refused} surely not, {reads} reads");
}
