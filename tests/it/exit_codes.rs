//! The exit codes of the real program, on which a supervisor acts, and messages that name each cause once.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

const USAGE: i32 = 2;
const DATA: i32 = 65;
const TEMPORARY: i32 = 75;

fn serve(data: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
    command.env("SOUK_LOG", "info").envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

#[track_caller]
fn ends(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert_eq!(last.matches(word).count(), 1, "{word:?} once in {last}");
    }
}

#[test]
fn a_wrong_setting_ends_with_the_code_for_usage() {
    let data = tempfile::tempdir().unwrap();
    let ended = |variable, value| serve(data.path(), &[(variable, value)]).output().unwrap();
    ends(&ended("SOUK_LITSEN", "127.0.0.1:1"), USAGE, &["litsen"]);
    ends(&ended("SOUK_LOG", "loud"), USAGE, &["loud", "off, error, warn, info, debug, trace"]);
    ends(&ended("SOUK_LOG_FORMAT", "xml"), USAGE, &["xml", "`text` or `json`"]);
    let url = [("SOUK_PAYMENTS__PROVIDER", "simulator"), ("SOUK_PAYMENTS__URL", "nowhere")];
    ends(&serve(data.path(), &url).output().unwrap(), USAGE, &["nowhere"]);
    let file = data.path().join("file");
    fs::write(&file, "").unwrap();
    ends(&serve(&file, &[]).output().unwrap(), USAGE, &["file"]);
}

#[test]
fn a_port_or_directory_in_use_ends_with_the_code_for_temporary_failure() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = directory.path().join("data");
    let other = directory.path().join("other");
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    command.args(["serve", "--listen", &address, "--data-dir"]).arg(&other);
    ends(&command.output().unwrap(), TEMPORARY, &[&address, "Address already in use"]);
    let _running = Running::start(&data);
    ends(&serve(&data, &[]).output().unwrap(), TEMPORARY, &["is in use by another process"]);
}

#[test]
fn a_damaged_manifest_ends_with_the_code_for_bad_data() {
    let data = tempfile::tempdir().unwrap();
    drop(Running::start(data.path()));
    let manifest = data.path().join("journal/manifest");
    let mut bytes = fs::read(&manifest).unwrap();
    bytes[0] ^= 1;
    fs::write(&manifest, bytes).unwrap();
    ends(&serve(data.path(), &[]).output().unwrap(), DATA, &["journal/manifest is damaged at byte"]);
    fs::remove_file(&manifest).unwrap();
    ends(&serve(data.path(), &[]).output().unwrap(), DATA, &["no manifest file"]);
}

#[test]
fn a_hangup_is_ignored_and_logged() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path());
    let id = Pid::from_child(&running.child);
    kill_process(id, Signal::HUP).unwrap();
    let mut log = BufReader::new(running.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.by_ref().any(|line| line.contains("SIGHUP is ignored") && line.contains("copytruncate")));
    assert!(running.child.try_wait().unwrap().is_none());
    kill_process(id, Signal::TERM).unwrap();
    assert!(log.any(|line| line.contains("stopped")));
    assert!(running.child.wait().unwrap().success());
}

/// A listening shop. Dropping it kills it.
struct Running {
    child: Child,
}

impl Running {
    fn start(data: &Path) -> Self {
        let mut child = serve(data, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let first = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        assert!(first.starts_with("Souk listens on "), "{first}");
        Self { child }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
