//! The runtime against a model: many askers over several ids, while entities panic, are passivated and crowd each other out,
//! the owner is killed, checkpoints are made, and the whole runtime ends cleanly, is dropped, or loses its disk, and returns.
//!
//! What was acknowledged is there exactly once, what was surely not executed is not there, each asker's entries are in their
//! order, no sequence is missing, and no reader ever saw a list that the final one does not begin with.
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
const ASKERS: u32 = 6;
const GENERATIONS: u64 = 4;
const STEPS: u32 = 60;
/// How often an asker repeats one command before it gives up and lets the outcome be unknown.
const REPEATS_MAX: u32 = 400;

/// What is known of one list.
#[derive(Default)]
struct Known {
    /// Acknowledged entries.
    acknowledged: Mutex<BTreeSet<Entry>>,
    /// Entries that were surely never executed.
    refused: Mutex<BTreeSet<Entry>>,
    /// A list at least this long was acknowledged.
    floor: AtomicU64,
    /// The longest list anybody was shown.
    longest: Mutex<Arc<Vec<Entry>>>,
}

impl Known {
    /// Whatever is shown continues what was shown, or is the beginning of it.
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
        // A journal that is gone cannot be read; what it answered before still counts.
        let Ok(Versioned { sequence, view }) = runtime.directory.read(&UserId(id)).await else { return };
        let length = view.0.len() as u64;
        assert_eq!(sequence, length, "every event of a append_list is an entry");
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

    /// Everything that must be true when nobody is at work.
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
            for asker in 0..ASKERS {
                let numbers: Vec<_> =
                    view.0.iter().filter(|entry| entry.asker == asker).map(|entry| entry.number).collect();
                assert!(numbers.is_sorted(), "id {id}: the entries of {asker} are out of order: {numbers:?}");
            }
        }
        self.check_log(runtime);
    }

    /// The log itself has every sequence once.
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

struct Asker {
    name: u32,
    model: Arc<Model>,
    runtime: TestRuntime,
    random: fastrand::Rng,
    next: u32,
    last: BTreeMap<u128, u64>,
}

impl Asker {
    async fn work(mut self) {
        for _ in 0..STEPS {
            let id = self.random.u128(0..IDS);
            match self.random.u8(0..10) {
                0..4 => self.model.read(&self.runtime, id, &mut self.last).await,
                4 => self.refuse(id).await,
                _ => {
                    let entry = Entry { asker: self.name, number: self.next };
                    self.next += 1;
                    if self.add(id, entry).await == Shop::Closed {
                        return;
                    }
                }
            }
        }
    }

    /// A refusal rests on what came before it: who reads after it finds at least as much.
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
                    // Nobody waited for the answer, so it is not known. Half of them are repeated.
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

    /// Asks, and in one of ten cases does not wait for the answer.
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

/// Passivates, checkpoints and now and then kills the owner.
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
                // It fails when the journal does, which is one of the things that happen here.
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
    /// All asked, then closed.
    Clean,
    /// Closed while askers are at work.
    CleanAtWork,
    /// Everything is dropped while askers are at work.
    Dropped,
    /// The disk breaks while askers are at work.
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

/// One life of the runtime. Its askers are left at work where it ends badly.
async fn live(path: &Path, model: Arc<Model>, seed: u64, generation: u64, end: End) {
    let mut random = fastrand::Rng::with_seed(seed * GENERATIONS + generation);
    let runtime = TestRuntime::open(path, limits(&mut random)).await;
    model.check(&runtime).await;
    let ended = Arc::new(AtomicBool::new(false));
    let disturbance = tokio::spawn(disturb(runtime.clone(), random.fork(), Arc::clone(&ended)));
    let mut askers = JoinSet::new();
    for name in 0..ASKERS {
        let next = u32::try_from(generation).unwrap() * STEPS;
        let (model, runtime, random) = (Arc::clone(&model), runtime.clone(), random.fork());
        askers.spawn(Asker { name, model, runtime, random, next, last: BTreeMap::new() }.work());
    }
    let goal = model.acknowledged.load(Ordering::Relaxed) + random.u64(20..60);
    let enough = async || model.acknowledged.load(Ordering::Relaxed) >= goal;
    match end {
        End::Clean => {
            while let Some(asker) = askers.join_next().await {
                asker.unwrap();
            }
        }
        End::CleanAtWork | End::Dropped | End::DiskBroken => until("some work is done", enough).await,
    }
    match end {
        End::Clean | End::CleanAtWork => {
            runtime.close().await;
            while let Some(asker) = askers.join_next().await {
                asker.unwrap();
            }
            assert_eq!(runtime.directory.live_count(), 0, "a closed directory holds nobody");
            assert_eq!(runtime.journal.figures().queue_records, 0, "every place in the queue was given back");
            ended.store(true, Ordering::Relaxed);
            disturbance.await.unwrap();
        }
        End::Dropped => {
            // The runtime ends under them; only a failed check is of interest.
            while let Some(asker) = askers.try_join_next() {
                asker.unwrap();
            }
            askers.detach_all();
        }
        End::DiskBroken => {
            runtime.disk.break_down();
            while let Some(asker) = askers.join_next().await {
                asker.unwrap();
            }
            ended.store(true, Ordering::Relaxed);
            disturbance.await.unwrap();
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_once_and_in_order_whatever_happens() {
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
