//! One run of the shop in which a call fails, and the checks after it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::Arc,
    time::{Duration, Instant},
};

use souk::internals::verify::{self, Source, Subject};
use tempfile::TempDir;

use crate::{
    customers::Crowd,
    recorded::{NotStarted, Process, World},
    strace,
};

/// How long a start or a stop may take before it counts as hanging: longer than the shop waits for its state.
const PATIENCE: Duration = Duration::from_secs(150);
pub(crate) const CUSTOMERS: usize = 2;
/// Tokens have the longest possible lifetime.
const VARIABLES: [(&str, &str); 1] = [("SOUK_ACCESS_TOKEN_SECONDS", "3600")];
/// The age at which a prepared directory is replaced, before its people's tokens expire.
const PREPARED_MAX: Duration = Duration::from_secs(3_000);

/// The phase of the run in which the call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// From the first start on an empty directory.
    Fresh,
    /// From a start on the directory of a killed shop.
    Again,
    /// While customers shop, until the shop has closed.
    Serving,
}

/// The directory of a killed shop, and the people who are logged in there.
pub(crate) struct Prepared {
    directory: TempDir,
    /// Names and tokens; the seller's first.
    pub(crate) tokens: Vec<(String, String)>,
    since: Instant,
}

impl Prepared {
    /// Whether its people have to log in again soon.
    pub(crate) fn is_old(&self) -> bool {
        self.since.elapsed() > PREPARED_MAX
    }

    /// A directory with a seller and this many customers.
    pub(crate) async fn new(customers: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut shop = Process::start(&directory.path().join("shop"), &VARIABLES);
        let world = World::new(&directory.path().join("history.jsonl"), &shop.url);
        let mut crowd = Crowd::default();
        crowd.enter(&world, customers).await;
        assert_eq!(crowd.len(), 1 + customers, "everybody can log in");
        crowd.list().await;
        shop.kill();
        Self { directory, tokens: crowd.tokens(), since: Instant::now() }
    }

    /// A copy of the directory, for one run.
    pub(crate) fn copy(&self, to: &Path) {
        let mut copy = Command::new("cp");
        // Sparse, because most of a segment is zeros.
        copy.args(["-r", "--sparse=always"]).arg(self.directory.path().join("shop")).arg(to);
        assert!(copy.status().unwrap().success(), "the prepared directory cannot be copied");
    }
}

/// The result of a run.
pub(crate) struct RunResult {
    /// The output of strace.
    pub(crate) trace: String,
    pub(crate) data: PathBuf,
    /// How the shop reacted.
    pub(crate) how: &'static str,
    /// How many calls of customers succeeded.
    pub(crate) acknowledged: usize,
    pub(crate) violations: Vec<String>,
}

/// The files of a run.
struct Places {
    directory: TempDir,
}

impl Places {
    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.at("stderr")).unwrap_or_default()
    }

    fn command(&self, data: &Path) -> Command {
        let mut command = Process::command(data, &VARIABLES);
        command.stderr(fs::File::create(self.at("stderr")).unwrap());
        command
    }

    /// How the shop ended. It must be with an error message, unless the test asked it to stop.
    fn judge(&self, ended: Option<ExitStatus>, asked: bool) -> Result<&'static str, String> {
        let stderr = self.stderr();
        if let Some(panic) = stderr.lines().find(|line| line.contains("panicked at src/")) {
            return Err(format!("it panicked: {panic}"));
        }
        match ended {
            None => Err(format!("it neither works nor ends; its log: {stderr:?}")),
            Some(status) if status.success() && asked => Ok("closed"),
            Some(status)
                if matches!(status.code(), Some(1 | 65 | 75))
                    && stderr.lines().any(|line| line.starts_with("souk: ")) =>
            {
                Ok(if asked { "closed with an error" } else { "ended with an error" })
            }
            Some(status) => Err(format!("it ended with {status}; its log: {stderr:?}")),
        }
    }
}

/// A shop in this stage, its customers, and the violations so far.
struct Trial<'a> {
    stage: Stage,
    prepared: &'a Prepared,
    places: Places,
    data: PathBuf,
    world: Arc<World>,
    crowd: Crowd,
    violations: Vec<String>,
}

impl Trial<'_> {
    /// Runs the shop under strace, lets customers shop, closes it, and returns how it ended.
    async fn with_fault(&mut self, threads: Option<&str>, options: &[String]) -> Result<&'static str, String> {
        let started = if self.stage == Stage::Serving {
            Process::begin(self.places.command(&self.data), PATIENCE)
        } else {
            let mut command = strace::around(&self.places.command(&self.data), options);
            command.stderr(fs::OpenOptions::new().append(true).open(self.places.at("stderr")).unwrap());
            Process::begin(command, PATIENCE)
        };
        let mut shop = match started {
            Ok(shop) => shop,
            Err(NotStarted(ended)) => return self.places.judge(ended, false).map(|_| "refused to start"),
        };
        self.world.url.lock().clone_from(&shop.url);
        open_for_business(&mut self.crowd, &self.world, self.stage, self.prepared).await;
        let attached = (self.stage == Stage::Serving).then(|| strace::attach(shop.child.id(), threads, options));
        for _ in 0..2 {
            self.crowd.shop().await;
        }
        // A read model that met the fault restarts, as long as the shop continues. Its new threads may meet the fault
        // again, because strace counts per thread; then nothing can be expected.
        let began = Instant::now();
        let trace = self.places.at("trace");
        while failed_calls(&trace) <= 1 && is_writable(&shop).await && !self.crowd.is_found().await {
            if began.elapsed() > PATIENCE {
                self.violations.push("search does not recover".into());
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let alive = matches!(shop.child.try_wait(), Ok(None));
        let ended = shop.close(PATIENCE);
        drop(shop);
        match attached {
            Some(Ok(mut strace)) => drop(strace.wait()),
            Some(Err(why)) => self.violations.push(why),
            None => {}
        }
        self.places.judge(ended, alive)
    }

    /// Starts the shop without a fault: everything that was acknowledged must be there, and every operation must work.
    async fn without_fault(&mut self) {
        let mut shop = match Process::begin(self.places.command(&self.data), PATIENCE) {
            Ok(shop) => shop,
            Err(NotStarted(ended)) => {
                let stderr = self.places.stderr();
                return self.violations.push(format!("it does not start again: {ended:?}; its log: {stderr:?}"));
            }
        };
        self.world.url.lock().clone_from(&shop.url);
        open_for_business(&mut self.crowd, &self.world, self.stage, self.prepared).await;
        if self.crowd.len() < 1 + CUSTOMERS {
            self.violations.push("not everybody can log in after it".into());
        }
        self.crowd.read_all().await;
        if !self.crowd.shop().await {
            self.violations.push("not everything can be done after it".into());
        }
        self.crowd.read_all().await;
        shop.kill();
    }
}

/// Runs the shop in this stage with these options of strace, restarts it without them, and checks everything that it
/// acknowledged.
pub(crate) async fn run_with_failed_call(
    stage: Stage,
    threads: Option<&str>,
    options: impl Fn(&Path) -> Vec<String>,
    prepared: &Prepared,
) -> RunResult {
    let places = Places { directory: tempfile::tempdir().unwrap() };
    // Without symbolic links, as strace shows and compares it.
    let data = places.directory.path().canonicalize().unwrap().join("shop");
    if stage != Stage::Fresh {
        prepared.copy(&data);
    }
    let (trace, history) = (places.at("trace"), places.at("history.jsonl"));
    let mut options = options(&data);
    options.extend(["-o".to_owned(), trace.display().to_string()]);
    let world = World::new(&history, "http://127.0.0.1:1");
    let mut trial =
        Trial { stage, prepared, places, data: data.clone(), world, crowd: Crowd::default(), violations: Vec::new() };
    let how = trial.with_fault(threads, &options).await.unwrap_or_else(|violation| {
        trial.violations.push(violation);
        "FAILED"
    });
    trial.without_fault().await;
    let subject = Subject { history: Some(history), ledger: None, shop: Source::Directory(data.clone()) };
    let verdict = verify::verify(subject).await;
    if !verdict.is_clean() {
        trial.violations.push(format!("{:?}\n{}", verdict.stopped, verdict.report));
    }
    // strace may write its last lines after the shop has ended.
    let trace = fs::read_to_string(&trace).unwrap_or_default();
    RunResult { trace, data, how, acknowledged: trial.crowd.acknowledged, violations: trial.violations }
}

/// How many calls have failed so far.
fn failed_calls(trace: &Path) -> usize {
    fs::read_to_string(trace).unwrap_or_default().matches("(INJECTED)").count()
}

async fn is_writable(shop: &Process) -> bool {
    let ready = reqwest::get(format!("{}/readyz", shop.url)).await;
    let ready: serde_json::Value = match ready {
        Ok(ready) => ready.json().await.unwrap_or_default(),
        Err(_) => return false,
    };
    ready["storage"] == "writable" && ready["ready"] == true
}

async fn open_for_business(crowd: &mut Crowd, world: &Arc<World>, stage: Stage, prepared: &Prepared) {
    if stage == Stage::Fresh {
        crowd.enter(world, CUSTOMERS).await;
        crowd.list().await;
    } else {
        crowd.resume(world, &prepared.tokens);
    }
}
