//! The operator's commands on the real binary: they work the same whether the shop runs or not, and report errors
//! clearly.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

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

/// A running shop. Dropping it kills it.
struct Running(Child);

impl Running {
    fn start(data: &Path) -> Self {
        let mut child = souk(data, &["serve", "--listen", "127.0.0.1:0", "--demo", "--demo-products", "20"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with("Souk listens"));
        std::thread::spawn(move || lines.for_each(drop));
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_shop_is_backed_up_compacted_and_restored_running_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (data, backups) = (at("data"), [at("running"), at("stopped")]);
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let running = Running::start(&data);
    assert!(done(&data, &["backup", &name(&backups[0])]).starts_with("backed up: "));
    assert!(refused(&data, &["backup", &name(&backups[0])]).contains("exists"));
    assert!(done(&data, &["compact"]).contains("segments removed"));
    let control = fs::metadata(data.join("control")).unwrap().permissions().mode();
    assert_eq!(control & 0o077, 0, "nobody else may ask");
    assert!(refused(&data, &["export"]).contains("in use"), "the shop runs");
    // A killed shop leaves its socket behind, which must not make commands wait.
    drop(running);
    let catalogue = done(&data, &["export"]);
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
