//! A full disk: the shop on a small file system of its own, which something else fills while customers shop.
//!
//! Filled little by little, the shop turns read-only while there is still room for all that is under way: no write fails, reads
//! and searches go on, writes are refused with the documented problem. Filled to the last byte at once, also while the shop
//! starts, it may stop or refuse to start, and says so. In each case it works again when there is room, and has everything that
//! its customers were told.
//!
//! It needs root, loop devices and `mkfs.ext4`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::{Value, json};
use souk::verify::{self, Invariant, Source, Subject};
use tokio::time::sleep;

use crate::{
    Figure, Length, Outcome, Skipped,
    customers::{Crowd, PRODUCT, RENAMED},
    disk::{self, Disk, MIB},
    recorded::{NotStarted, Process, Town},
};

/// Disks of a short run: each is filled slowly, at once, and before a start.
const DISKS: u64 = 1;
/// Room for the log's two segments, for the shop's reserve of 512 MiB, and for what else is to fill.
const DISK_BYTES: u64 = 1_024 * MIB;
const CUSTOMERS: usize = 6;
/// How much is taken at a time when the disk fills slowly.
const STEP_BYTES: u64 = 16 * MIB;
/// How long anything may take that has to happen in the end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a full disk is left full: longer than the time between two checkpoints.
const FULL: Duration = Duration::from_secs(12);

/// What fills the disk beside the shop.
struct Filler {
    path: PathBuf,
    bytes: u64,
}

impl Filler {
    fn new(disk: &Disk) -> Self {
        Self { path: disk.mount_point().join("filler"), bytes: 0 }
    }

    /// Takes more, if there is as much.
    fn take(&mut self, bytes: u64) -> bool {
        let file = fs::OpenOptions::new().create(true).append(true).open(&self.path).unwrap();
        let took = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), self.bytes, bytes).is_ok();
        self.bytes = file.metadata().unwrap().len();
        took
    }

    /// Takes everything, also what is kept for root.
    fn take_all(&mut self) {
        let mut step = DISK_BYTES;
        while step >= 4_096 {
            if !self.take(step) {
                step /= 2;
            }
        }
    }

    /// Gives everything back.
    fn free(&mut self) {
        fs::remove_file(&self.path).unwrap();
        self.bytes = 0;
    }
}

/// The bytes that are free, as the shop sees them.
fn free_bytes(disk: &Disk) -> u64 {
    let space = rustix::fs::statvfs(disk.mount_point()).unwrap();
    space.f_bavail * space.f_frsize
}

/// What has happened so far.
#[derive(Default)]
struct Tally {
    disks: u64,
    /// How often a shop that was at work, or one that started, met a full disk, and what it did.
    turned_read_only: u64,
    ended: u64,
    refused_starts: u64,
    recovered: u64,
    acknowledged: usize,
    reads: u64,
    violations: Vec<String>,
}

impl Tally {
    fn expect(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.violations.push(what());
        }
    }
}

/// The shop on its disk, with everybody around it.
struct Scene {
    disk: Disk,
    filler: Filler,
    town: Arc<Town>,
    crowd: Crowd,
    client: Client,
    history: PathBuf,
}

impl Scene {
    fn said(&self) -> PathBuf {
        self.disk.dir.path().join("said")
    }

    /// Starts the shop, or says what it said when it did not.
    fn start(&self) -> Result<Process, String> {
        // The provider is another company, with a disk of its own.
        let ledger = self.disk.dir.path().join("ledger.jsonl");
        let variables = [("SOUK_SIMULATED_LEDGER", ledger.to_str().unwrap()), ("SOUK_ACCESS_TOKEN_SECONDS", "3600")];
        let mut command = Process::command(&self.disk.data(), &variables);
        command.stderr(fs::File::create(self.said()).unwrap());
        match Process::begin(command, PATIENCE) {
            Ok(shop) => {
                self.town.url.lock().clone_from(&shop.url);
                Ok(shop)
            }
            Err(NotStarted(ended)) => {
                let said = fs::read_to_string(self.said()).unwrap();
                let clear = ended.is_some_and(|ended| ended.code() == Some(1)) && said.contains("souk: ");
                Err(if clear { String::new() } else { format!("it ended with {ended:?} and said {said:?}") })
            }
        }
    }

    async fn get(&self, path: &str) -> Option<(u16, Value)> {
        let url = format!("{}{path}", self.town.url.lock());
        let answer = self.client.get(url).send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.ok()?))
    }

    async fn storage(&self) -> String {
        let ready = self.get("/readyz").await.map(|(_, body)| body["storage"].as_str().unwrap_or_default().to_owned());
        ready.unwrap_or_default()
    }

    /// Whether it comes to that in the end.
    async fn comes_to(&self, storage: &str) -> bool {
        let began = Instant::now();
        while self.storage().await != storage {
            if began.elapsed() > PATIENCE {
                return false;
            }
            sleep(Duration::from_millis(50)).await;
        }
        true
    }

    /// Reads are served, and writes are refused as documented.
    async fn only_reads(&self, tally: &mut Tally) {
        for path in [format!("/products/{PRODUCT}"), format!("/products?q={RENAMED}"), "/metrics".into()] {
            let url = format!("{}{path}", self.town.url.lock());
            let status = self.client.get(url).send().await.map(|answer| answer.status().as_u16());
            tally.reads += 1;
            tally.expect(matches!(status, Ok(200)), || format!("GET {path} while it is read-only: {status:?}"));
        }
        let found = self.get(&format!("/products?q={RENAMED}")).await;
        let shown = found.as_ref().and_then(|(_, body)| body["items"].as_array()).map_or(0, Vec::len);
        tally.expect(shown > 0, || format!("nothing is found while it is read-only: {found:?}"));
        let seller = self.crowd.seller().unwrap();
        let url = format!("{}/products", self.town.url.lock());
        let new = json!({ "id": "another", "name": "another", "price": { "amount": 1, "currency": "INR" } });
        let request = self.client.post(url).bearer_auth(&seller.token).json(&new);
        let answer = request.send().await.unwrap();
        let again = answer.headers().contains_key("retry-after");
        let (status, body) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
        tally.expect((status, &body["code"], again) == (507, &json!("read-only"), true), || {
            format!("a write while it is read-only: {status} {body}, with Retry-After: {again}")
        });
    }

    /// There is room again: the shop works, and the search index goes on.
    async fn recovers(&mut self, tally: &mut Tally, name: &str) {
        if !self.comes_to("writable").await {
            return tally.violations.push("it does not take writes again when there is room".into());
        }
        self.crowd.look().await;
        tally.expect(self.crowd.shop().await, || "not everything can be done when there is room again".into());
        let renamed = self.crowd.rename(name).await;
        tally.expect(renamed == Some(200), || format!("renaming a product when there is room again: {renamed:?}"));
        let began = Instant::now();
        loop {
            let found = self.get(&format!("/products?q={name}")).await;
            if found.is_some_and(|(_, body)| body["items"].as_array().is_some_and(|items| !items.is_empty())) {
                tally.recovered += 1;
                return;
            }
            if began.elapsed() > PATIENCE {
                return tally.violations.push("the search index does not go on when there is room again".into());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

pub(crate) async fn run(length: Length) -> Outcome {
    drop(disk::probe().map_err(Skipped)?);
    let mut tally = Tally::default();
    let mut random = fastrand::Rng::with_seed(length.seed);
    while tally.violations.is_empty() && length.goes_on(tally.disks, DISKS) {
        tally.disks += 1;
        fill_one_disk(&mut random, &mut tally).await;
    }
    let Tally { disks, turned_read_only, ended, refused_starts, recovered, acknowledged, reads, mut violations } =
        tally;
    if turned_read_only == 0 || acknowledged == 0 {
        violations.push(format!("read-only {turned_read_only} times, {acknowledged} acknowledged: nothing was tested"));
    }
    let figure = format!(
        "{disks} disks filled slowly, at once and before a start: read-only before a write failed {turned_read_only}, \
         stopped {ended}, refused to start {refused_starts}, worked again {recovered} / {acknowledged} acknowledged, {reads} reads \
         while full"
    );
    Ok(Figure { figure, violations })
}

async fn fill_one_disk(random: &mut fastrand::Rng, tally: &mut Tally) {
    let disk = Disk::new(DISK_BYTES).unwrap();
    let outside = tempfile::tempdir().unwrap();
    let history = outside.path().join("history.jsonl");
    let (filler, town) = (Filler::new(&disk), Town::new(&history, "http://127.0.0.1:1"));
    let client = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
    let mut scene = Scene { disk, filler, town, crowd: Crowd::default(), client, history };
    let mut shop = scene.start().unwrap();
    scene.crowd.enter(&scene.town, CUSTOMERS).await;
    scene.crowd.list().await;
    tally.expect(scene.crowd.shop().await, || "not everything can be done on an empty disk".into());

    slowly(&mut scene, &mut shop, tally).await;
    scene.filler.free();
    scene.recovers(tally, "widened").await;

    shop = at_once(&mut scene, shop, random, tally).await;
    shop.kill();

    // Before a start: after a kill, so that there is something to recover.
    scene.filler.take_all();
    match scene.start() {
        Ok(mut started) => {
            tally.turned_read_only += 1;
            scene.only_reads(tally).await;
            started.kill();
        }
        Err(unclear) => {
            tally.refused_starts += 1;
            tally.expect(unclear.is_empty(), || format!("a start on a full disk: {unclear}"));
        }
    }
    scene.filler.free();
    match scene.start() {
        Ok(mut started) => {
            scene.recovers(tally, "started").await;
            started.kill();
        }
        Err(why) => tally.violations.push(format!("it does not start when there is room again: {why}")),
    }
    tally.acknowledged += scene.crowd.acknowledged;
    check(&scene.history, &scene.disk, tally).await;
}

/// Something takes the disk little by little while customers shop.
async fn slowly(scene: &mut Scene, shop: &mut Process, tally: &mut Tally) {
    let mut left = free_bytes(&scene.disk);
    while scene.storage().await == "writable" {
        scene.crowd.shop().await;
        if !scene.filler.take(STEP_BYTES) {
            break;
        }
        left = free_bytes(&scene.disk);
    }
    let storage = scene.storage().await;
    tally.expect(storage == "read-only" && left > 0, || format!("the storage is {storage:?} with {left} bytes left"));
    tally.turned_read_only += u64::from(storage == "read-only");
    scene.only_reads(tally).await;
    // Everything that was told is shown meanwhile.
    scene.crowd.look().await;
    tally.expect(matches!(shop.child.try_wait(), Ok(None)), || "it ended although nothing had failed".into());
}

/// Something takes all of it at once, and keeps it, while customers shop.
async fn at_once(scene: &mut Scene, mut shop: Process, random: &mut fastrand::Rng, tally: &mut Tally) -> Process {
    let moment = Duration::from_millis(random.u64(0..1_000));
    let Scene { crowd, filler, .. } = scene;
    let fill = async {
        sleep(moment).await;
        filler.take_all();
    };
    let load = async { while crowd.shop().await {} };
    tokio::join!(fill, load);
    let began = Instant::now();
    while began.elapsed() < FULL && matches!(shop.child.try_wait(), Ok(None)) {
        if scene.storage().await == "read-only" {
            scene.only_reads(tally).await;
        }
        sleep(Duration::from_millis(500)).await;
    }
    let ended = shop.child.try_wait().unwrap();
    scene.filler.free();
    match ended {
        None => tally.turned_read_only += 1,
        Some(status) => {
            tally.ended += 1;
            let said = fs::read_to_string(scene.said()).unwrap();
            tally.expect(status.code() == Some(1) && said.contains("souk: "), || {
                format!("it ended with {status} on a full disk and said {said:?}")
            });
            shop = scene.start().unwrap();
        }
    }
    scene.recovers(tally, "returned").await;
    shop
}

async fn check(history: &Path, disk: &Disk, tally: &mut Tally) {
    let ledger = Some(disk.dir.path().join("ledger.jsonl"));
    let subject = Subject { history: Some(history.to_owned()), ledger, shop: Source::Directory(disk.data()) };
    let verdict = verify::verify(subject).await;
    tally.expect(verdict.is_clean(), || format!("{:?}\n{}", verdict.stopped, verdict.report));
    let unchecked: Vec<_> = Invariant::ALL.iter().filter(|one| !verdict.report.checked.contains(one)).collect();
    tally.expect(unchecked.is_empty(), || format!("not checked: {unchecked:?}"));
}
