//! The disk of a start: full, read-only, another user's, or full while the search index is made anew.
//!
//! Each start is refused with the right exit code and a text that names a path and the remedy, or the shop serves what
//! it can and `/readyz` says that it is not whole. When the disk is as it should be, the shop has everything.
//!
//! The disks are of memory, whose size can be changed while they are in use. It needs root.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    Figure, Length, Outcome, Skipped,
    disk::{MIB, run as run_command},
};

/// The exit codes for a permission or a mount that is wrong, and for a disk that is full.
const USAGE: i32 = 2;
const TEMPORARY: i32 = 75;
/// Room for the log's two segments and for the shop's reserve of 512 MiB.
const ROOMY_BYTES: u64 = 1_024 * MIB;
/// Room for what a start writes of small files.
const NARROW_BYTES: u64 = MIB;
/// The same, and too little for the index, which needs 0.8 MiB.
const INDEX_BYTES: u64 = 256 * 1_024;
const PRODUCTS: &str = "3000";
/// How long anything may take that has to happen in the end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a shop is watched whose index does not fit: several attempts.
const WATCHED: Duration = Duration::from_secs(2);
/// The least room that a disk of memory may have in all.
const PAGE_BYTES: u64 = 4_096;
/// The user nobody.
const NOBODY: u32 = 65_534;

/// A disk of memory. Unmounted when it is dropped.
struct Mount {
    directory: TempDir,
}

impl Mount {
    fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("it needs root".into());
        }
        let mount = Self { directory: tempfile::tempdir().map_err(|error| error.to_string())? };
        let options = format!("size={ROOMY_BYTES},mode=0755");
        run_command(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(mount.path()))?;
        Ok(mount)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn remount(&self, options: &str) {
        run_command(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.path())).unwrap();
    }

    /// Leaves so much room.
    fn leave(&self, bytes: u64) {
        let space = rustix::fs::statvfs(self.path()).unwrap();
        let used = (space.f_blocks - space.f_bfree) * space.f_frsize;
        // A size of 0 would be none.
        self.remount(&format!("size={}", used + bytes.max(PAGE_BYTES)));
    }

    fn widen(&self) {
        self.remount(&format!("size={ROOMY_BYTES}"));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run_command(Command::new("umount").arg("-l").arg(self.path()));
    }
}

/// A shop that listens. Killed when it is dropped.
struct Shop {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shop {
    /// Ends it as a supervisor would.
    fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }

    fn stderr(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

struct Scene {
    mount: Mount,
    outside: TempDir,
    client: Client,
    starts: u64,
    /// Whether the shop has its products.
    is_filled: bool,
    violations: Vec<String>,
}

impl Scene {
    fn expect(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.violations.push(what());
        }
    }

    /// A shop on the disk, or what it said instead, with its exit code.
    fn start(&mut self, user: Option<u32>) -> Result<Shop, (String, Option<i32>)> {
        self.starts += 1;
        let log = self.outside.path().join(format!("log-{}", self.starts));
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        if !self.is_filled {
            command.args(["--demo", "--demo-products", PRODUCTS]);
        }
        command
            .arg("--data-dir")
            .arg(self.mount.data())
            .env("SOUK_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut child = command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        let (sender, first) = std::sync::mpsc::channel();
        let output = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(output).lines();
            let _ = sender.send(lines.next().and_then(Result::ok));
            lines.for_each(drop);
        });
        let greeting = first.recv_timeout(PATIENCE);
        let mut shop = Shop { child, url: String::new(), log };
        match greeting {
            Ok(Some(line)) => {
                shop.url = line.rsplit(' ').next().unwrap_or_default().to_owned();
                Ok(shop)
            }
            Ok(None) => Err((shop.stderr(), shop.child.wait().unwrap().code())),
            Err(_) => Err((format!("it neither starts nor ends\n{}", shop.stderr()), None)),
        }
    }

    /// A start that must be refused with this code and these words.
    fn refused(&mut self, user: Option<u32>, code: i32, words: &[&str]) {
        let data = self.mount.data().display().to_string();
        match self.start(user) {
            Ok(shop) => self.violations.push(format!("it starts, and says: {}", shop.stderr())),
            Err((stderr, ended)) => {
                let message = stderr.lines().find(|line| line.starts_with("souk: ")).unwrap_or_default();
                let is_clear = words.iter().all(|word| message.matches(word).count() == 1) && message.contains(&data);
                let is_right = ended == Some(code) && is_clear && !stderr.contains("panicked at");
                self.expect(is_right, || {
                    format!("it should end with {code} and {words:?}, and ends with {ended:?}: {stderr}")
                });
            }
        }
    }

    async fn get(&self, shop: &Shop, path: &str) -> Result<(u16, Value), String> {
        let answer = self.client.get(format!("{}{path}", shop.url)).send().await.map_err(|error| error.to_string())?;
        Ok((answer.status().as_u16(), answer.json().await.map_err(|error| error.to_string())?))
    }

    /// Waits until all products are found: what is written after a start is not part of being ready.
    async fn filled(&self, shop: &Shop) {
        let began = Instant::now();
        while self.total(shop).await.as_deref() != Some(PRODUCTS) && began.elapsed() < PATIENCE {
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn total(&self, shop: &Shop) -> Option<String> {
        let (_, found) = self.get(shop, "/products?limit=1").await.ok()?;
        Some(found["total"].as_u64()?.to_string())
    }

    /// Waits until it is ready and has all products, in its pages and in its index.
    async fn whole(&mut self, shop: &Shop, when: &str) {
        let began = Instant::now();
        loop {
            let ready = self.get(shop, "/readyz").await;
            if ready.as_ref().is_ok_and(|(status, _)| *status == 200) {
                break;
            }
            if began.elapsed() > PATIENCE {
                self.violations
                    .push(format!("{when}: it does not become ready: {ready:?}; it said: {}", shop.stderr()));
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let total = self.total(shop).await;
        self.expect(total.as_deref() == Some(PRODUCTS), || format!("{when}: {total:?} products are found"));
        self.expect(!shop.stderr().contains("panicked at"), || format!("{when}: {}", shop.stderr()));
    }

    fn souk(&self, data: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
        command.args(arguments).arg("--data-dir").arg(data).env("SOUK_LOG", "error").output().unwrap()
    }

    /// A copy that finds no room says so, and leaves nothing.
    fn copy_refused(&mut self, copied: &Output, nothing: &Path) {
        let stderr = String::from_utf8_lossy(&copied.stderr);
        let is_clear = stderr.contains("No space left on device");
        let is_right = copied.status.code() == Some(TEMPORARY) && is_clear && !nothing.exists();
        self.expect(is_right, || format!("a copy without room: {copied:?}; {} is left", nothing.display()));
    }
}

pub(crate) async fn run(_: Length) -> Outcome {
    let (mount, outside) = (Mount::new().map_err(Skipped)?, tempfile::tempdir().unwrap());
    let client = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
    let mut scene = Scene { mount, outside, client, starts: 0, is_filled: false, violations: Vec::new() };
    new_shop_on_a_full_disk(&mut scene).await;
    full_disk(&mut scene).await;
    index_without_room(&mut scene).await;
    read_only_disk(&mut scene).await;
    another_users_directory(&mut scene).await;
    copies_without_room(&mut scene);
    let Scene { starts, violations, .. } = scene;
    Ok(Figure { figure: format!("{starts} starts on a full, read-only or another user's disk"), violations })
}

async fn new_shop_on_a_full_disk(scene: &mut Scene) {
    for room in [0, 64 * 1024, NARROW_BYTES] {
        scene.mount.leave(room);
        scene.refused(None, TEMPORARY, &["No space left on device", "make room on the disk and start again"]);
        scene.mount.widen();
    }
    match scene.start(None) {
        Ok(shop) => {
            scene.is_filled = true;
            scene.filled(&shop).await;
            scene.whole(&shop, "a new shop").await;
            shop.stop();
        }
        Err(refused) => scene.violations.push(format!("with room it does not start: {refused:?}")),
    }
}

/// A shop that was there before is refused, or serves what it has.
async fn full_disk(scene: &mut Scene) {
    for room in [0, NARROW_BYTES] {
        scene.mount.leave(room);
        match scene.start(None) {
            Ok(shop) => {
                let ready = scene.get(&shop, "/readyz").await;
                let is_read_only = ready.as_ref().is_ok_and(|(_, ready)| ready["storage"] == "read-only");
                scene.expect(is_read_only, || format!("with {room} bytes of room: {ready:?}"));
                let found = scene.get(&shop, "/products?limit=1").await;
                scene.expect(found.as_ref().is_ok_and(|(status, _)| *status == 200), || format!("{found:?}"));
                scene.mount.widen();
                scene.whole(&shop, "room was made while it ran").await;
            }
            Err((stderr, code)) => {
                let is_clear =
                    code == Some(TEMPORARY) && stderr.contains("No space left") && stderr.contains("make room");
                scene.expect(is_clear, || format!("with {room} bytes of room it ends with {code:?}: {stderr}"));
                scene.mount.widen();
            }
        }
    }
}

/// The index is gone, and there is no room for another one: pages are served, and `/readyz` says no until it is made.
async fn index_without_room(scene: &mut Scene) {
    fs::remove_dir_all(scene.mount.data().join("search")).unwrap();
    scene.mount.leave(INDEX_BYTES);
    let shop = match scene.start(None) {
        Ok(shop) => shop,
        Err(refused) => {
            scene.violations.push(format!("without an index and without room: {refused:?}"));
            scene.mount.widen();
            return;
        }
    };
    let (began, mut looks) = (Instant::now(), 0);
    while began.elapsed() < WATCHED {
        looks += 1;
        let ready = scene.get(&shop, "/readyz").await;
        let says_so = |(status, ready): &(u16, Value)| {
            *status == 503 && ready["search"] == "rebuilding" && ready["ready"] == false
        };
        scene.expect(ready.as_ref().is_ok_and(says_so), || format!("the index has no room: {ready:?}"));
        let categories = scene.get(&shop, "/categories").await;
        scene.expect(categories.as_ref().is_ok_and(|(status, _)| *status == 200), || format!("{categories:?}"));
        sleep(Duration::from_millis(100)).await;
    }
    let stderr = shop.stderr();
    // tantivy does not say what its thread met, so the line about the journal has to.
    let says_why = ["the disk is nearly full", "child=\"search\""].iter().all(|words| stderr.contains(words));
    scene.expect(looks > 1 && says_why, || format!("it does not say why: {stderr}"));
    scene.mount.widen();
    scene.whole(&shop, "the index was made anew").await;
    let aside = scene.mount.data().join("search.damaged");
    scene.expect(!aside.exists(), || "an index without room was taken for damaged".into());
    shop.stop();
}

async fn read_only_disk(scene: &mut Scene) {
    scene.mount.remount("ro");
    scene.refused(None, USAGE, &["Read-only file system", "mount the disk writable"]);
    let verified = scene.souk(&scene.mount.data(), &["verify"]);
    scene.expect(verified.status.success(), || format!("a check needs no writable disk: {verified:?}"));
    scene.mount.remount("rw");
    match scene.start(None) {
        Ok(shop) => {
            scene.whole(&shop, "the disk is writable again").await;
            shop.stop();
        }
        Err(refused) => scene.violations.push(format!("on a disk that is writable again: {refused:?}")),
    }
}

async fn another_users_directory(scene: &mut Scene) {
    let words = ["Permission denied", "it must belong to the user who runs souk"];
    scene.refused(Some(NOBODY), USAGE, &words);
    // Whoever may look at it, but not write.
    run_command(Command::new("chmod").args(["-R", "a+rX"]).arg(scene.mount.data())).unwrap();
    scene.refused(Some(NOBODY), USAGE, &words);
    run_command(Command::new("chmod").args(["-R", "go="]).arg(scene.mount.data())).unwrap();
}

/// A backup to a full disk, and a restore to one.
fn copies_without_room(scene: &mut Scene) {
    let (narrow, good) = (Mount::new().unwrap(), scene.outside.path().join("backup"));
    narrow.leave(NARROW_BYTES);
    let data = scene.mount.data();
    let backup = narrow.path().join("backup");
    let copied = scene.souk(&data, &["backup", backup.to_str().unwrap()]);
    scene.copy_refused(&copied, &backup);
    let copied = scene.souk(&data, &["backup", good.to_str().unwrap()]);
    scene.expect(copied.status.success(), || format!("a backup with room: {copied:?}"));
    let restore = ["restore", good.to_str().unwrap()];
    let copied = scene.souk(&narrow.data(), &restore);
    scene.copy_refused(&copied, &narrow.data());
    narrow.widen();
    let copied = scene.souk(&narrow.data(), &restore);
    scene.expect(copied.status.success(), || format!("a restore with room: {copied:?}"));
}
