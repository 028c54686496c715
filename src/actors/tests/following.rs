//! The follower: a projection reaches the same content wherever it fails, and one that never catches up makes progress
//! all the same.
//!
//! Depends on the runtime.

use std::{
    collections::{BTreeSet, VecDeque},
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::runtime::{TestRuntime, open_journal, silence_planned_panics, small_journal, until};
use crate::{
    actors::{
        directory::DirectoryLimits,
        follower::{CaughtUp, Open, Progress},
        projection::{Projection, ProjectionFault},
        root::{Child, Root},
    },
    domain::{entity::Kind, ids::UserId},
    storage::{Journal, Loaded, Position, Record, Stream},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    OpenFails,
    OpenPanics,
    ApplyFails,
    ApplyPanics,
    CommitFails,
    CommitPanics,
}

const TROUBLES: [Trouble; 6] = [
    Trouble::OpenFails,
    Trouble::OpenPanics,
    Trouble::ApplyFails,
    Trouble::ApplyPanics,
    Trouble::CommitFails,
    Trouble::CommitPanics,
];

/// The stored content of a read model: content and position in one commit.
#[derive(Default)]
struct Stored {
    position: Position,
    records: Vec<(u128, u64)>,
}

#[derive(Clone, Default)]
struct Model {
    stored: Arc<Mutex<Stored>>,
    troubles: Arc<Mutex<VecDeque<Trouble>>>,
    opened: Arc<Mutex<Vec<Position>>>,
}

impl Model {
    /// The next planned trouble, if it is one of these.
    fn trouble(&self, fails: Trouble, panics: Trouble) -> Result<(), ProjectionFault> {
        let mut troubles = self.troubles.lock();
        let next = troubles.front().copied().filter(|next| [fails, panics].contains(next));
        if next.is_some() {
            troubles.pop_front();
        }
        drop(troubles);
        assert!(next != Some(panics), "panic on purpose");
        match next {
            Some(_) => Err(ProjectionFault { projection: "model", problem: "mishap".into() }),
            None => Ok(()),
        }
    }

    fn open(&self) -> Open {
        let model = self.clone();
        Arc::new(move || {
            model.trouble(Trouble::OpenFails, Trouble::OpenPanics)?;
            let position = model.stored.lock().position;
            model.opened.lock().push(position);
            Ok(Box::new(Following { model: model.clone(), pending: Vec::new(), position }) as Box<dyn Projection>)
        })
    }

    fn records(&self) -> usize {
        self.stored.lock().records.len()
    }
}

struct Following {
    model: Model,
    pending: Vec<(u128, u64)>,
    position: Position,
}

impl Projection for Following {
    fn name(&self) -> &'static str {
        "model"
    }

    fn position(&self) -> Position {
        self.position
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Account]
    }

    fn clear(&mut self) -> Result<(), ProjectionFault> {
        self.pending.clear();
        *self.model.stored.lock() = Stored::default();
        Ok(())
    }

    fn seed(&mut self, stream: &Stream, loaded: &Loaded) -> Result<(), ProjectionFault> {
        let id = u128::from_be_bytes(stream.key().try_into().unwrap());
        self.pending.extend((1..=loaded.sequence()).map(|sequence| (id, sequence)));
        Ok(())
    }

    fn apply(&mut self, records: &[Record]) -> Result<(), ProjectionFault> {
        for record in records {
            let id = u128::from_be_bytes(record.stream.key().try_into().unwrap());
            self.pending.push((id, record.sequence));
        }
        self.model.trouble(Trouble::ApplyFails, Trouble::ApplyPanics)
    }

    fn commit(&mut self, position: Position) -> Result<(), ProjectionFault> {
        self.model.trouble(Trouble::CommitFails, Trouble::CommitPanics)?;
        let mut stored = self.model.stored.lock();
        assert!(position > stored.position, "a commit moves on");
        stored.records.append(&mut self.pending);
        stored.position = position;
        self.position = position;
        Ok(())
    }
}

fn follow(journal: &Journal, open: Open, commit_ms_min: u64) -> (Progress, Child) {
    let progress = Progress::new("model", journal.clone());
    let child = Child::follower(&progress, open, commit_ms_min, None);
    (progress, child)
}

async fn all_is_followed_in_spite_of(troubles: &[Trouble], commit_ms_min: u64) {
    silence_planned_panics();
    let path = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::open(path.path(), DirectoryLimits::default()).await;
    let model = Model::default();
    model.troubles.lock().extend(troubles);
    let (progress, child) = follow(&runtime.journal, model.open(), commit_ms_min);
    let root = Root::start(vec![child]).await.unwrap();
    let mut written = 0;
    // One record at a time, so that there is something to apply and commit for every trouble.
    while !model.troubles.lock().is_empty() || written < 20 {
        runtime.add(UserId(u128::from(written % 3)), written).await.unwrap();
        written += 1;
        tokio::task::yield_now().await;
    }
    until("the follower has caught up", async || model.records() == written as usize).await;
    assert_eq!(progress.catch_up(Duration::from_secs(30)).await, CaughtUp::Yes);
    let mut next = [1; 3];
    for (id, sequence) in &model.stored.lock().records {
        let next = &mut next[usize::try_from(*id).unwrap()];
        assert_eq!(sequence, next, "a record was lost or is there twice");
        *next += 1;
    }
    let opened = model.opened.lock().clone();
    let (opens, openings_failed) =
        (opened.len(), troubles.iter().filter(|t| matches!(t, Trouble::OpenFails | Trouble::OpenPanics)).count());
    assert_eq!(opens, 1 + troubles.len() - openings_failed, "started again once for each failure: {opened:?}");
    assert!(opened.is_sorted(), "it goes on where it had committed");
    root.stop().await;
    runtime.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_fails_anywhere_continues_from_its_last_commit() {
    let each = TROUBLES.map(|trouble| async move { all_is_followed_in_spite_of(&[trouble], 0).await });
    futures::future::join_all(each).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_fails_repeatedly_still_finishes() {
    let troubles = [Trouble::CommitPanics, Trouble::OpenFails, Trouble::ApplyPanics, Trouble::CommitFails];
    all_is_followed_in_spite_of(&troubles, 3).await;
}

/// A projection that never sees the end of the log: while it applies a page, more becomes durable.
struct Slow {
    following: Following,
    journal: Journal,
    ended: Arc<AtomicBool>,
}

impl Projection for Slow {
    fn name(&self) -> &'static str {
        self.following.name()
    }

    fn position(&self) -> Position {
        self.following.position()
    }

    fn kinds(&self) -> &'static [Kind] {
        self.following.kinds()
    }

    fn clear(&mut self) -> Result<(), ProjectionFault> {
        self.following.clear()
    }

    fn seed(&mut self, stream: &Stream, loaded: &Loaded) -> Result<(), ProjectionFault> {
        self.following.seed(stream, loaded)
    }

    fn apply(&mut self, records: &[Record]) -> Result<(), ProjectionFault> {
        let durable = self.journal.durable();
        while self.journal.durable() == durable && !self.ended.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        self.following.apply(records)
    }

    fn commit(&mut self, position: Position) -> Result<(), ProjectionFault> {
        self.following.commit(position)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_makes_progress_although_it_never_catches_up() {
    for commit_ms_min in [0, 5] {
        let path = tempfile::tempdir().unwrap();
        let runtime = TestRuntime::open(path.path(), DirectoryLimits::default()).await;
        let (model, ended) = (Model::default(), Arc::new(AtomicBool::new(false)));
        let open: Open = {
            let (model, journal, ended) = (model.clone(), runtime.journal.clone(), Arc::clone(&ended));
            Arc::new(move || {
                let following = Following { model: model.clone(), pending: Vec::new(), position: Position::default() };
                Ok(Box::new(Slow { following, journal: journal.clone(), ended: Arc::clone(&ended) }))
            })
        };
        let (progress, child) = follow(&runtime.journal, open, commit_ms_min);
        let root = Root::start(vec![child]).await.unwrap();
        let (writing, stop) = (runtime.clone(), Arc::clone(&ended));
        let writer = tokio::spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                writing.add(UserId(u128::from(written % 50)), written).await.unwrap();
                written += 1;
            }
        });
        // Three times it reaches what was durable at some moment, while the writer goes on.
        for _ in 0..3 {
            let wanted = runtime.journal.durable();
            until("the position moves under steady writing", async || progress.position() > wanted).await;
        }
        let never_whole_since = tokio::time::Instant::now();
        until("the lag is that of what is not committed, not the time of writing", async || {
            progress.lag() < never_whole_since.elapsed()
        })
        .await;
        ended.store(true, Ordering::Relaxed);
        writer.await.unwrap();
        root.stop().await;
        runtime.close().await;
    }
}

#[tokio::test]
async fn an_empty_journal_can_be_followed() {
    let path = tempfile::tempdir().unwrap();
    let journal = open_journal(small_journal(path.path(), &super::disk::Disk::new())).await;
    let model = Model::default();
    let (progress, child) = follow(&journal, model.open(), 0);
    let root = Root::start(vec![child]).await.unwrap();
    assert_eq!(progress.catch_up(Duration::from_secs(30)).await, CaughtUp::Yes);
    root.stop().await;
    journal.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_of_a_damaged_log_begins_with_the_state() {
    let path = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::open(path.path(), DirectoryLimits::default()).await;
    let written = 20;
    for number in 0..written {
        runtime.add(UserId(u128::from(number % 3)), number).await.unwrap();
    }
    // One bit of the first batch, behind the page of the segment's header.
    let segment = path.path().join("log/00000000000000000000.log");
    let (file, mut byte) = (std::fs::File::options().read(true).write(true).open(segment).unwrap(), [0]);
    file.read_exact_at(&mut byte, 4_096 + 60).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 4_096 + 60).unwrap();
    let model = Model::default();
    let (progress, child) = follow(&runtime.journal, model.open(), 0);
    let root = Root::start(vec![child]).await.unwrap();
    assert_eq!(progress.catch_up(Duration::from_secs(30)).await, CaughtUp::Yes);
    runtime.add(UserId(0), written).await.unwrap();
    // What changed while the state was read is applied a second time.
    let distinct = || model.stored.lock().records.iter().copied().collect::<BTreeSet<_>>().len();
    until("what comes later is followed", async || distinct() == written as usize + 1).await;
    assert_eq!(model.opened.lock().len(), 1, "it did not fail");
    root.stop().await;
    runtime.close().await;
}
