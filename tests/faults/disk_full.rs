//! A full disk: the shop is on a small file system of its own, which something else fills while customers shop.
//!
//! If the disk fills slowly, the shop turns read-only while there is still room for everything in flight: no write
//! fails, reads and searches continue, and writes are refused with the documented problem. If the last byte is taken at
//! once, or before a start, it may stop or refuse to start, and reports why. In each case it works again when there is
//! room, and has everything that it acknowledged.
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
use souk::internals::verify::{self, Invariant, Source, Subject};
use tokio::time::sleep;

use crate::{
    Figure, Length, Outcome, Skipped,
    customers::{Crowd, PRODUCT, RENAMED},
    disk::{self, Disk, Filler, MIB},
    recorded::{NotStarted, Process, World},
};

/// Disks of a short run: each is filled slowly, at once, and before a start.
const DISKS: u64 = 1;
/// Room for two segments of the log, for the shop's reserve of 512 MiB, and for the space to fill.
const DISK_BYTES: u64 = 1_024 * MIB;
const CUSTOMERS: usize = 4;
/// How much is taken at a time when the disk fills slowly.
const STEP_BYTES: u64 = 32 * MIB;
/// The shortest time of a step: the reserve has to last for several of the shop's checks of the disk, one per second.
const STEP: Duration = Duration::from_millis(250);
/// How long to wait for a condition.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the disk stays full: in a long run longer than the time between two checkpoints, and in a short one.
const FULL: [Duration; 2] = [Duration::from_secs(11), Duration::from_secs(2)];

/// The totals so far.
#[derive(Default)]
struct Totals {
    disks: u64,
    /// How often a running shop, or one that started, met a full disk, and how it reacted.
    turned_read_only: u64,
    ended: u64,
    refused_starts: u64,
    recovered: u64,
    acknowledged: usize,
    /// How often reads and writes were tried while the shop was read-only.
    looked: u64,
    violations: Vec<String>,
}

impl Totals {
    fn expect(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.violations.push(what());
        }
    }
}

/// The shop on its disk, with its customers.
struct Scene {
    disk: Disk,
    filler: Filler,
    world: Arc<World>,
    crowd: Crowd,
    client: Client,
    history: PathBuf,
}

impl Scene {
    fn stderr(&self) -> PathBuf {
        self.disk.dir.path().join("stderr")
    }

    /// Starts the shop, or returns its error.
    fn start(&self) -> Result<Process, String> {
        // The provider is another company with a disk of its own.
        let ledger = self.disk.dir.path().join("ledger.jsonl");
        let variables = [
            ("SOUK_PAYMENTS__SIMULATED_LEDGER", ledger.to_str().unwrap()),
            ("SOUK_ACCESS_TOKEN_SECONDS", "3600"),
            ("SOUK_LOG", "warn"),
        ];
        let mut command = Process::command(&self.disk.data(), &variables);
        command.stderr(fs::File::create(self.stderr()).unwrap());
        match Process::begin(command, PATIENCE) {
            Ok(shop) => {
                self.world.url.lock().clone_from(&shop.url);
                Ok(shop)
            }
            Err(NotStarted(ended)) => {
                let clear = ended.is_some_and(|ended| matches!(ended.code(), Some(1 | 75))) && self.said_why();
                Err(if clear { String::new() } else { format!("it ended with {ended:?} and did not say why") })
            }
        }
    }

    async fn get(&self, path: &str) -> Result<(u16, Value), String> {
        let url = format!("{}{path}", self.world.url.lock());
        let answer = self.client.get(url).send().await.map_err(|error| error.to_string())?;
        Ok((answer.status().as_u16(), answer.json().await.map_err(|error| error.to_string())?))
    }

    async fn storage(&self) -> Result<String, String> {
        let (_, ready) = self.get("/readyz").await?;
        Ok(ready["storage"].as_str().unwrap_or_default().to_owned())
    }

    /// Reads are served, and writes are refused as documented. Answers of a shop that stops meanwhile do not count.
    async fn only_reads(&self, totals: &mut Totals) {
        let mut wrong = self.reads().await.err();
        if wrong.is_none() {
            wrong = self.refusal().await.err();
        }
        if self.storage().await.is_ok_and(|storage| storage == "read-only") {
            totals.looked += 1;
            totals.violations.extend(wrong.map(|wrong| format!("while it is read-only: {wrong}")));
        }
    }

    async fn reads(&self) -> Result<(), String> {
        let search = format!("/products?q={RENAMED}");
        for path in [&format!("/products/{PRODUCT}"), &search] {
            let (status, body) = self.get(path).await?;
            if status != 200 || (*path == search && body["items"].as_array().is_none_or(Vec::is_empty)) {
                return Err(format!("GET {path}: {status} {body}"));
            }
        }
        Ok(())
    }

    async fn refusal(&self) -> Result<(), String> {
        let url = format!("{}/products", self.world.url.lock());
        let new = json!({ "id": "another", "name": "another", "price": { "amount": 1, "currency": "INR" } });
        let request = self.client.post(url).bearer_auth(&self.crowd.seller().unwrap().token).json(&new);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let again = answer.headers().contains_key("retry-after");
        let (status, body) = (answer.status().as_u16(), answer.text().await.map_err(|error| error.to_string())?);
        if status == 507 && body.contains("\"code\":\"read-only\"") && again {
            return Ok(());
        }
        Err(format!("a write: {status} {body}, with Retry-After: {again}"))
    }

    /// There is room again, and the shop works, perhaps after it has stopped because a write failed, and was started
    /// again.
    async fn recovers(&mut self, mut shop: Process, totals: &mut Totals, name: &str) -> Process {
        let mut works = self.works(name).await;
        if works.is_err() && self.has_stopped(&mut shop, totals).await {
            match self.start() {
                Ok(started) => {
                    shop = started;
                    works = self.works(name).await;
                }
                Err(why) => works = Err(format!("it does not start: {why}")),
            }
        }
        match works {
            Ok(()) => totals.recovered += 1,
            Err(why) => totals.violations.push(format!("there is room again, but {why}")),
        }
        shop
    }

    /// Every operation works, and the search index is updated.
    async fn works(&mut self, name: &str) -> Result<(), String> {
        let began = Instant::now();
        while self.storage().await? != "writable" {
            if began.elapsed() > PATIENCE {
                return Err("it does not accept writes".into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        self.crowd.read_all().await;
        if !self.crowd.shop().await || self.crowd.rename(name).await != Some(200) {
            return Err("not every operation works".into());
        }
        loop {
            let (_, found) = self.get(&format!("/products?q={name}")).await?;
            if found["items"].as_array().is_some_and(|items| !items.is_empty()) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err("the search index is not updated".into());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether the shop has ended, which it must do with an error that says why.
    async fn has_stopped(&self, shop: &mut Process, totals: &mut Totals) -> bool {
        let began = Instant::now();
        loop {
            if let Some(status) = shop.child.try_wait().unwrap() {
                totals.ended += 1;
                totals.expect(matches!(status.code(), Some(1 | 75)) && self.said_why(), || {
                    format!("on a full disk it ended with {status}")
                });
                return true;
            }
            if began.elapsed() > PATIENCE {
                return false;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn said_why(&self) -> bool {
        fs::read_to_string(self.stderr()).unwrap().lines().any(|line| line.starts_with("souk: "))
    }
}

pub(crate) async fn run(length: Length) -> Outcome {
    drop(disk::probe().map_err(Skipped)?);
    let full = FULL[usize::from(!length.is_long())];
    let mut totals = Totals::default();
    let mut random = fastrand::Rng::with_seed(length.seed);
    while totals.violations.is_empty() && length.goes_on(totals.disks, DISKS) {
        totals.disks += 1;
        fill_one_disk(&mut random, full, &mut totals).await;
    }
    let Totals { disks, turned_read_only, ended, refused_starts, recovered, acknowledged, looked, mut violations } =
        totals;
    if turned_read_only == 0 || acknowledged == 0 {
        violations.push(format!("read-only {turned_read_only} times, {acknowledged} acknowledged: nothing was tested"));
    }
    let figure = format!(
        "{disks} disks filled slowly, at once and before a start: read-only {turned_read_only}, \
         stopped {ended}, refused to start {refused_starts}, worked again {recovered} / {acknowledged} acknowledged, read and \
         refused {looked} times while full"
    );
    Ok(Figure { figure, violations })
}

async fn fill_one_disk(random: &mut fastrand::Rng, full: Duration, totals: &mut Totals) {
    let disk = Disk::new(DISK_BYTES).unwrap();
    let outside = tempfile::tempdir().unwrap();
    let history = outside.path().join("history.jsonl");
    let (filler, world) = (Filler::new(&disk), World::new(&history, "http://127.0.0.1:1"));
    let client = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
    let mut scene = Scene { disk, filler, world, crowd: Crowd::default(), client, history };
    let mut shop = scene.start().unwrap();
    scene.crowd.enter(&scene.world, CUSTOMERS).await;
    scene.crowd.list().await;
    totals.expect(scene.crowd.shop().await, || "not every operation works on an empty disk".into());
    let ended = totals.ended;

    slowly(&mut scene, &mut shop, totals).await;
    scene.filler.free();
    shop = scene.recovers(shop, totals, "widened").await;
    totals
        .expect(totals.ended == ended, || "it stopped although there was always room for what it had to write".into());

    let moment = Duration::from_millis(random.u64(0..1_000));
    at_once(&mut scene, &mut shop, moment, full, totals).await;
    scene.filler.free();
    shop = scene.recovers(shop, totals, "returned").await;

    // Before a start, after a kill, so that there is something to recover.
    shop.kill();
    scene.filler.take_all();
    match scene.start() {
        Ok(mut started) => {
            totals.turned_read_only += 1;
            scene.only_reads(totals).await;
            started.kill();
        }
        Err(unclear) => {
            totals.refused_starts += 1;
            totals.expect(unclear.is_empty(), || format!("a start on a full disk: {unclear}"));
        }
    }
    scene.filler.free();
    match scene.start() {
        Ok(started) => scene.recovers(started, totals, "started").await.kill(),
        Err(why) => totals.violations.push(format!("it does not start when there is room again: {why}")),
    }
    totals.acknowledged += scene.crowd.acknowledged;
    check(&scene.history, &scene.disk, totals).await;
}

/// Something fills the disk slowly while customers shop.
async fn slowly(scene: &mut Scene, shop: &mut Process, totals: &mut Totals) {
    let mut left = scene.disk.free_bytes();
    while scene.storage().await.is_ok_and(|storage| storage == "writable") && scene.filler.take(STEP_BYTES) {
        tokio::join!(scene.crowd.shop(), sleep(STEP));
        left = scene.disk.free_bytes();
    }
    let storage = scene.storage().await;
    let right = storage.as_ref().is_ok_and(|storage| storage == "read-only") && left > 0;
    totals.expect(right, || format!("the storage is {storage:?} with {left} bytes left"));
    totals.turned_read_only += u64::from(right);
    scene.only_reads(totals).await;
    // Reads still show everything that was acknowledged.
    scene.crowd.read_all().await;
    totals.expect(matches!(shop.child.try_wait(), Ok(None)), || "it ended although nothing had failed".into());
}

/// Something takes all space at once, and keeps it, while customers shop.
async fn at_once(scene: &mut Scene, shop: &mut Process, moment: Duration, full: Duration, totals: &mut Totals) {
    let Scene { crowd, filler, .. } = scene;
    let fill = async {
        sleep(moment).await;
        filler.take_all();
    };
    let load = async { while crowd.shop().await {} };
    tokio::join!(fill, load);
    let (began, mut read_only) = (Instant::now(), false);
    while began.elapsed() < full && matches!(shop.child.try_wait(), Ok(None)) {
        if scene.storage().await.is_ok_and(|storage| storage == "read-only") {
            read_only = true;
            scene.only_reads(totals).await;
        }
        sleep(Duration::from_millis(500)).await;
    }
    totals.turned_read_only += u64::from(read_only);
}

async fn check(history: &Path, disk: &Disk, totals: &mut Totals) {
    let ledger = Some(disk.dir.path().join("ledger.jsonl"));
    let subject = Subject { history: Some(history.to_owned()), ledger, shop: Source::Directory(disk.data()) };
    let verdict = verify::verify(subject).await;
    totals.expect(verdict.is_clean(), || format!("{:?}\n{}", verdict.stopped, verdict.report));
    let unchecked: Vec<_> = Invariant::ALL.iter().filter(|one| !verdict.report.checked.contains(one)).collect();
    totals.expect(unchecked.is_empty(), || format!("not checked: {unchecked:?}"));
}
