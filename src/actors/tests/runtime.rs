//! The set-up of these tests: a journal with small limits in a directory, a directory of append lists, and the root.
//!
//! Depends on the runtime.

use std::{
    path::Path,
    sync::{Arc, Once},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior};

use super::{
    append_list::{AppendList, Command, Entry, Mishap, Seen},
    disk::Disk,
};
use crate::{
    actors::{
        directory::{Directory, DirectoryLimits},
        reply::{Answer, AskError, NotDelivered},
        root::{Child, Root},
        views::Versioned,
    },
    clock::Clock,
    domain::{entity::Timestamp, ids::UserId},
    storage::{Journal, JournalConfig, JournalLimits, OpenError},
};

/// How long the tests wait for a state, in seconds: a test that waits longer has failed.
const WAIT_SECONDS: u64 = 60;

/// Waits until a state is reached.
pub(super) async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(WAIT_SECONDS);
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !reached().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        ticks.tick().await;
    }
}

/// The seeds of a random test.
pub(super) fn seeds(usual: u64) -> std::ops::Range<u64> {
    0..std::env::var("SOUK_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
}

/// Suppresses the output of panics that a test provokes.
pub(super) fn silence_planned_panics() {
    static SILENCED: Once = Once::new();
    SILENCED.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let payload = panic.payload();
            let message = payload.downcast_ref::<&str>().copied();
            let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            if !message.is_some_and(|message| message.contains("on purpose")) {
                report(panic);
            }
        }));
    });
}

/// Small limits, so that rare events happen often.
pub(super) fn small_journal(path: &Path, disk: &Arc<Disk>) -> JournalConfig {
    let mut config = JournalConfig::new(path);
    config.files = Arc::clone(disk) as Arc<_>;
    config.limits = JournalLimits {
        segment_bytes: 256 * 1024,
        memtable_bytes_max: 96 * 1024,
        checkpoint_ms: 20,
        seal_after_ms: 2,
        disk_poll_ms: 10,
        state_cache_bytes: 1 << 20,
        ..JournalLimits::default()
    };
    config
}

/// Opens a journal; one that was dropped just before may need a while to release its directory.
pub(super) async fn open_journal(config: JournalConfig) -> Journal {
    let deadline = Instant::now() + Duration::from_secs(WAIT_SECONDS);
    loop {
        let attempt = config.clone();
        match tokio::task::spawn_blocking(move || Journal::open(attempt)).await.unwrap() {
            Ok(journal) => return journal,
            Err(OpenError::Locked(_)) if Instant::now() < deadline => tokio::task::yield_now().await,
            Err(error) => panic!("the journal does not open: {error}"),
        }
    }
}

/// What a test of append lists needs.
#[derive(Clone)]
pub(super) struct TestRuntime {
    _lets_go: Arc<LetsGo>,
    pub journal: Journal,
    pub directory: Directory<AppendList>,
    pub disk: Arc<Disk>,
    pub clock: Clock,
    root: Arc<Root>,
}

/// Releases the disk when dropped, which is first: even a failed test must end, and the journal waits for its syncs.
struct LetsGo(Arc<Disk>);

impl Drop for LetsGo {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl TestRuntime {
    pub(super) async fn open(path: &Path, limits: DirectoryLimits) -> Self {
        Self::open_with(path, limits, Clock::system()).await
    }

    /// Opens with a clock that the test moves.
    pub(super) async fn open_still(path: &Path, limits: DirectoryLimits) -> Self {
        Self::open_with(path, limits, Clock::manual(Timestamp(1_000_000))).await
    }

    pub(super) async fn open_with(path: &Path, limits: DirectoryLimits, clock: Clock) -> Self {
        let disk = Disk::new();
        let journal = open_journal(small_journal(path, &disk)).await;
        Self::on(journal, disk, limits, clock).await
    }

    pub(super) async fn on(journal: Journal, disk: Arc<Disk>, limits: DirectoryLimits, clock: Clock) -> Self {
        silence_planned_panics();
        let directory = Directory::new(journal.clone(), clock.clone(), limits);
        let root = Arc::new(Root::start(vec![Child::owner("append_lists", &directory)]).await.unwrap());
        Self { _lets_go: Arc::new(LetsGo(Arc::clone(&disk))), journal, directory, disk, clock, root }
    }

    /// The clean end, in the order of the shop.
    pub(super) async fn close(&self) {
        self.root.expect_ends().await;
        self.directory.close().await;
        self.root.stop().await;
        self.journal.close().await.unwrap();
    }

    pub(super) async fn stop_root(&self) {
        self.root.stop().await;
    }

    pub(super) async fn add(&self, id: UserId, number: u32) -> Answer<AppendList> {
        self.add_with(id, number, Mishap::None).await
    }

    pub(super) async fn add_with(&self, id: UserId, number: u32, mishap: Mishap) -> Answer<AppendList> {
        self.directory.ask(&id, Command::Add { entry: Entry { client: 0, number }, mishap }).await
    }

    pub(super) async fn read(&self, id: UserId) -> Versioned<Seen> {
        self.directory.read(&id).await.unwrap()
    }

    pub(super) async fn numbers(&self, id: UserId) -> Vec<u32> {
        self.read(id).await.view.0.iter().map(|entry| entry.number).collect()
    }

    /// Ends the owner at once, as a bug in it would.
    pub(super) fn kill_owner(&self) {
        if let Some(owner) = self.directory.owner().0.owner.read().as_ref() {
            owner.kill();
        }
    }

    /// The number of commands that wait for an entity, if it is alive.
    pub(super) fn waiting(&self, id: UserId) -> Option<u32> {
        let shared = self.directory.owner().0;
        shared.live.get(&id).map(|live| live.mailbox.permits_in_use())
    }
}

/// Whether the answer is `Busy`.
pub(super) fn is_busy(answer: &Answer<AppendList>) -> bool {
    matches!(answer, Err(AskError::NotDelivered(NotDelivered::Busy)))
}
