//! The operator's commands on the real binary: they work the same whether the shop runs or not, and report errors
//! clearly.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::recorded::{Process, START_MAX, World};

fn souk(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    command.arg("--data-dir").arg(data).args(arguments).env("SOUK_LOG", "error");
    command
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    souk(data, arguments).output().unwrap()
}

#[track_caller]
fn done(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"", "a refusal is no result");
    String::from_utf8(output.stderr).unwrap()
}

/// A running shop with a demo of so many products.
fn start(data: &Path, products: &str) -> Process {
    let mut command = souk(data, &["serve", "--listen", "127.0.0.1:0", "--demo", "--demo-products", products]);
    command.stderr(Stdio::null());
    Process::begin(command, START_MAX).unwrap()
}

#[test]
fn a_shop_is_backed_up_compacted_and_restored_running_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (data, backups) = (at("data"), [at("running"), at("stopped")]);
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let running = start(&data, "20");
    assert!(done(&data, &["backup", &name(&backups[0])]).starts_with("backed up: "));
    assert!(refused(&data, &["backup", &name(&backups[0])]).contains("exists"));
    assert!(done(&data, &["compact"]).contains("segments removed"));
    let control = fs::metadata(data.join("control")).unwrap().permissions().mode();
    assert_eq!(control & 0o077, 0, "nobody else may ask");
    let socket = fs::metadata(data.join("control/souk.sock")).unwrap().permissions().mode();
    assert_eq!(socket & 0o177, 0, "nobody else may connect");
    let running_catalogue = done(&data, &["export"]);
    // A killed shop leaves its socket behind, which must not make commands wait.
    drop(running);
    let catalogue = done(&data, &["export"]);
    assert_eq!(running_catalogue, catalogue);
    assert_eq!(catalogue.lines().count(), 20);
    assert!(done(&data, &["backup", &name(&backups[1])]).starts_with("backed up: "));
    assert!(done(&data, &["compact"]).contains("segments removed"));
    assert_eq!(done(&data, &["export"]), catalogue);
    for backup in &backups {
        let mode = fs::metadata(backup).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "customers' data is for its owner only");
        let restored = at("restored");
        assert!(done(&restored, &["restore", &name(backup)]).contains("the shop starts on it"));
        assert_eq!(done(&restored, &["export"]), catalogue);
        assert!(refused(&restored, &["restore", &name(backup)]).contains("not empty"));
        fs::remove_dir_all(&restored).unwrap();
    }
    let nothing = refused(&at("restored"), &["restore", &name(&at("nowhere"))]);
    assert!(nothing.contains("no complete backup"), "{nothing}");
    assert!(!at("restored").exists());
    let unwritable = refused(&data, &["backup", "/proc/backup"]);
    assert!(unwritable.contains("/proc/backup"), "{unwritable}");
}

/// A file below a test's directory.
fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path
}

/// So many products with a stock, one a line; `version` makes their titles.
fn products(count: usize, version: &str) -> String {
    let mut lines = String::new();
    for number in 0..count {
        let title = format!("Product {number} {version}");
        let row = format!(r#"{{"id":"r-{number}","title":"{title}","price_minor":100,"currency":"INR","stock":5}}"#);
        writeln!(lines, "{row}").unwrap();
    }
    lines
}

/// What an operator sees of a command: how it ended, and what it printed.
fn seen(data: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = run(data, arguments);
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn import_and_export_are_the_same_whether_the_shop_runs_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let (running_data, stopped_data) = (directory.path().join("running"), directory.path().join("stopped"));
    drop(start(&stopped_data, "3"));
    let running = start(&running_data, "3");
    let name = |file: &str, text: &str| file_name(directory.path(), file, text);
    let mixed = name("mixed.jsonl", &format!("{}nonsense\n{{\"id\":\"r-1\",\"title\":\"again\"}}\n", products(9, "")));
    let stock = name("stock.csv", "id;quantity\nr-1;7\nr-2;8\nunknown;1\nr-3;many\n");
    let windows: Vec<u8> = "id;title;brand\r\ng;Größe;Müller & Söhne\r\n".chars().map(|c| c as u8).collect();
    let windows_name = directory.path().join("windows.csv");
    fs::write(&windows_name, windows).unwrap();
    let windows = windows_name.to_str().unwrap();
    let woo = name("woo.csv", "ID,Type,SKU,Name,Stock,Regular price\n1,simple,MUG,Mug,5,12.99\n2,external,L,Link,,\n");
    let missing = directory.path().join("missing.csv").to_str().unwrap().to_owned();
    for arguments in [
        vec!["import", "--dry-run", &mixed],
        vec!["import", &mixed],
        vec!["import", &mixed],
        vec!["import", "--from-line", "8", &mixed],
        vec!["import", &stock],
        vec!["import", "--set-stock", &mixed, &stock],
        vec!["import", windows],
        vec!["import", &woo],
        vec!["import", "--currency", "EUR", "--format", "woocommerce", &woo],
        vec!["import", "--format", "shopify", &woo],
        vec!["import", "--encoding", "nonsense", windows],
        vec!["import", "--seller", "seller@demo.example", &name("own.jsonl", r#"{"id":"own","title":"Own"}"#)],
        vec!["import", "--seller", "seller@demo.example", &mixed],
        vec!["import", "--seller", "nobody@demo.example", &mixed],
        vec!["import", &missing, &mixed],
        vec!["export"],
        vec!["export", "/dev/full"],
        vec!["backup", directory.path().to_str().unwrap()],
    ] {
        assert_eq!(seen(&running_data, &arguments), seen(&stopped_data, &arguments), "{arguments:?}");
    }
    let code = |arguments: &[&str]| seen(&running_data, arguments).0;
    assert_eq!(code(&["export", "/dev/full"]), Some(75), "a full disk");
    assert_eq!(code(&["backup", directory.path().to_str().unwrap()]), Some(2), "it is there");
    assert_eq!(code(&["import", "--seller", "nobody@demo.example", &mixed]), Some(2), "no such seller");
    let to = directory.path().join("catalogue.jsonl");
    file(directory.path(), "catalogue.jsonl", "what was there before");
    done(&running_data, &["export", to.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&to).unwrap(), done(&running_data, &["export"]));
    let exported = done(&running_data, &["export"]);
    running.stop();
    assert_eq!(done(&running_data, &["export"]), exported);
    assert!(exported.lines().count() > 12, "{exported}");
}

fn file_name(directory: &Path, name: &str, text: &str) -> String {
    file(directory, name, text).to_str().unwrap().to_owned()
}

fn spawn(data: &Path, arguments: &[&str]) -> Child {
    souk(data, arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The ids in an export.
fn ids(catalogue: &str) -> BTreeSet<String> {
    let id = |line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    catalogue.lines().map(id).collect()
}

/// Waits until the shop has this product.
async fn arrives(url: &str, product: &str) {
    let began = Instant::now();
    loop {
        let answer = reqwest::get(format!("{url}/products/{product}")).await.unwrap();
        if answer.status().is_success() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{product} does not arrive");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How many rows are enough to be killed among them.
const ROWS: usize = 4_000;

/// An import of [`ROWS`] rows into a running shop, which has taken some of them.
struct ImportUnderWay {
    _directory: TempDir,
    data: PathBuf,
    running: Process,
    client: Child,
}

impl ImportUnderWay {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let rows = file_name(directory.path(), "rows.jsonl", &products(ROWS, ""));
        let running = start(&data, "1");
        let client = spawn(&data, &["import", &rows]);
        arrives(&running.url, "r-200").await;
        Self { _directory: directory, data, running, client }
    }
}

/// The line with which a stopped import says that it goes on.
fn line_to_go_on(reason: &str) -> usize {
    reason.rsplit("--from-line ").next().unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_goes_on_after_its_client_or_its_shop_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (data, whole) = (directory.path().join("data"), directory.path().join("whole"));
    let rows = file_name(directory.path(), "rows.jsonl", &products(ROWS, ""));
    let mut running = start(&data, "1");

    // The client: what it sent is taken, the shop goes on, and another client imports the rest.
    let mut client = spawn(&data, &["import", &rows]);
    arrives(&running.url, "r-200").await;
    client.kill().unwrap();
    client.wait().unwrap();
    assert!(!ids(&done(&data, &["export"])).contains(&format!("r-{}", ROWS - 1)), "it was killed too late");

    // The shop: the client says where to go on.
    let client = spawn(&data, &["import", &rows]);
    arrives(&running.url, "r-1500").await;
    running.kill();
    let ended = client.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(75), "{ended:?}");
    let reason = String::from_utf8(ended.stderr).unwrap();
    assert!(reason.contains("the connection to the running shop broke"), "{reason}");
    let first = line_to_go_on(&reason);
    assert!((1_000..=ROWS).contains(&first), "{reason}");
    let running = start(&data, "1");
    let there = ids(&done(&data, &["export"]));
    assert!((0..first - 1).all(|number| there.contains(&format!("r-{number}"))), "all before line {first} are taken");
    let seen = done(&data, &["import", "--from-line", &first.to_string(), &rows]);
    assert!(seen.ends_with(" 0 bad\n"), "{seen}");

    // The end is that of one import into a stopped shop, and the whole file again changes nothing.
    drop(start(&whole, "1"));
    done(&whole, &["import", &rows]);
    assert_eq!(done(&data, &["export"]), done(&whole, &["export"]));
    assert!(done(&data, &["import", &rows]).contains(&format!(" 0 changed, {ROWS} already so, stock of 0 changed")));
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_shop_ends_an_import_in_order() {
    let ImportUnderWay { _directory, data, running, client } = ImportUnderWay::start().await;
    running.stop();
    let ended = client.wait_with_output().unwrap();
    let reason = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(75), "{reason}");
    assert!(reason.contains("stopped: the shop is stopping. All rows before line "), "{reason}");
    let line = line_to_go_on(&reason);
    // Every row that was begun was taken to its end, so what is there is what the report says.
    let there = ids(&done(&data, &["export"]));
    assert_eq!(there.iter().filter(|id| id.starts_with("r-")).count(), line - 1, "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_says_where_to_go_on() {
    let ImportUnderWay { _directory, running, client, .. } = ImportUnderWay::start().await;
    rustix::process::kill_process(rustix::process::Pid::from_child(&client), rustix::process::Signal::INT).unwrap();
    let ended = client.wait_with_output().unwrap();
    let (report, reason) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert_eq!(ended.status.code(), Some(130), "{reason}");
    let line = line_to_go_on(&reason);
    assert!(report.contains(&format!("{} changed, 0 already so", line - 1)), "{report} {reason}");
    assert!(reason.contains("stopped: interrupted"), "{reason}");
    running.stop();
}

#[test]
fn the_line_to_go_on_at_counts_for_the_first_file() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let row = |id: &str| format!(r#"{{"id":"{id}","title":"{id}"}}"#) + "\n";
    let file = |name: &str, rows: &[&str]| {
        file_name(directory.path(), name, &rows.iter().map(|id| row(id)).collect::<String>())
    };
    let (first, second) = (file("a.jsonl", &["a1", "a2", "a3"]), file("b.jsonl", &["b1", "b2"]));
    done(&data, &["import", "--from-line", "3", &first, &second]);
    let there: Vec<String> = ids(&done(&data, &["export"])).into_iter().collect();
    assert_eq!(there, ["a3", "b1", "b2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_buy_while_two_imports_and_an_export_run() {
    let directory = tempfile::tempdir().unwrap();
    let (data, history) = (directory.path().join("data"), directory.path().join("history.jsonl"));
    let (first, second) = (products(ROWS / 2, "one"), products(ROWS / 2, "two"));
    let files =
        [("one.jsonl", first), ("two.jsonl", second)].map(|(name, text)| file_name(directory.path(), name, &text));
    let mut running = start(&data, "1");
    let world = World::new(&history, &running.url);
    let seller = world.enter("s", "seller@demo.example").await;
    seller.list("pen", 700).await;
    seller.set_stock("pen", 100_000).await;
    let imports = files.each_ref().map(|file| spawn(&data, &["import", "--set-stock", file]));
    let export = spawn(&data, &["export", "/dev/null"]);
    let customers: Vec<_> = (0..3)
        .map(|number| {
            let world = world.clone();
            tokio::spawn(async move {
                let customer = world.enter(&format!("c{number}"), &format!("c{number}@example.org")).await;
                let mut orders = 0;
                for turn in 0..15 {
                    customer.add("pen", 1, None).await;
                    let order = customer.checkout(700, &format!("k-{number}-{turn}")).await.expect("an order");
                    customer.pay(&order, "tok_success", &format!("p-{number}-{turn}")).await;
                    orders += 1;
                }
                orders
            })
        })
        .collect();
    for customer in customers {
        assert_eq!(customer.await.unwrap(), 15);
    }
    for mut command in imports.into_iter().chain([export]) {
        assert!(command.wait().unwrap().success());
    }
    running.close(Duration::from_secs(60)).unwrap();
    assert_eq!(ids(&done(&data, &["export"])).iter().filter(|id| id.starts_with("r-")).count(), ROWS / 2);
    let verdict = done(&data, &["verify", "--history", history.to_str().unwrap()]);
    assert!(!verdict.contains("VIOLAT"), "{verdict}");
}

/// The memory of a process that is resident, in bytes.
fn resident(process: &Process) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{}/statm", process.id())).unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

/// The most memory that a command had resident, in bytes.
fn peak_of(mut command: Child) -> u64 {
    let mut peak = 0;
    while command.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", command.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|text| text.parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0) * 1024);
        thread::sleep(Duration::from_millis(5));
    }
    peak
}

/// Exports of other shops are held in memory, and most of their cells are empty.
#[test]
fn empty_cells_of_another_shop_take_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let others: String = (0..990).map(|number| format!(",Metafield {number}")).collect();
    let header = format!("Handle,Title,Variant Price,Image Src{others}\n");
    let row = |cells: &str| format!("h,{cells}{}\n", ",".repeat(992));
    let few = format!("{header}{}", row("T"));
    let many = format!("{few}{}", row("").repeat(40_000));
    assert!(many.len() > 39_000_000);
    let import = |name: &str, text: &str| {
        peak_of(spawn(&data, &["import", "--currency", "EUR", &file_name(directory.path(), name, text)]))
    };
    let (few, many) = (import("few.csv", &few), import("many.csv", &many));
    assert!(many < few + 100_000_000, "{many} instead of {few} bytes");
    assert_eq!(ids(&done(&data, &["export"])).len(), 1);
}

#[test]
fn a_slow_reader_of_an_export_holds_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut rows = String::new();
    for number in 0..3_000 {
        let description = format!("{number} ").repeat(4_000);
        writeln!(rows, r#"{{"id":"r-{number}","title":"R","description":"{description}"}}"#).unwrap();
    }
    assert!(rows.len() > 50_000_000, "{}", rows.len());
    drop(start(&data, "1"));
    done(&data, &["import", &file_name(directory.path(), "rows.jsonl", &rows)]);
    let running = start(&data, "1");
    done(&data, &["compact"]);
    let before = resident(&running);
    let mut client = spawn(&data, &["export"]);
    let mut output = client.stdout.take().unwrap();
    let mut beginning = [0; 1_000];
    output.read_exact(&mut beginning).unwrap();
    thread::sleep(Duration::from_secs(2));
    let grown = resident(&running).saturating_sub(before);
    assert!(grown < 40_000_000, "the shop holds {grown} bytes more for a client that reads nothing");
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    assert!(client.wait().unwrap().success());
    assert_eq!(beginning.len() + rest.len(), done(&data, &["export"]).len());
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_and_piped_passwords_may_come_from_windows() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let settings = file_name(directory.path(), "souk.toml", "\u{feff}session_days = 7\r\nlog = \"warn\"\r\n");
    let shown = done(&data, &["--config", &settings, "config"]);
    assert!(shown.contains("session_days = 7\n"), "{shown}");
    let wrong = file_name(directory.path(), "wrong.toml", "\u{feff}session_days = \"many\"\r\n");
    let reason = refused(&data, &["--config", &wrong, "config"]);
    assert!(reason.contains("session_days") && reason.contains("wrong.toml"), "{reason}");

    // A shell of Windows pipes UTF-16 with a mark, and CRLF.
    let password = "pässword of an admin";
    let line = format!("\u{feff}{password}\r\n");
    let piped: Vec<u8> = line.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut command = souk(&data, &["admin", "create", "admin@example.org"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&piped).unwrap();
    assert!(child.wait().unwrap().success());

    let secret = file_name(directory.path(), "secret", "\u{feff}sk_test_of_nobody\r\n");
    let mut command = souk(&data, &["serve", "--listen", "127.0.0.1:0"]);
    command.env("SOUK_PAYMENTS__PROVIDER", "stripe").env("SOUK_PAYMENTS__KEY_FILE", secret).stderr(Stdio::null());
    let running = Process::begin(command, START_MAX).unwrap();
    let login = serde_json::json!({"email": "admin@example.org", "password": password});
    let answer = reqwest::Client::new().post(format!("{}/auth/login", running.url)).json(&login).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let session: Value = answer.json().await.unwrap();
    let token = format!("\u{feff}{}\r\n", session["access_token"].as_str().unwrap());
    let token = file_name(directory.path(), "token", &token);
    done(&data, &["verify", "--url", &running.url, "--token-file", &token]);
    running.stop();
}
