//! The exit codes of the real program, on which a supervisor acts, and messages that name each cause once.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::{fs::PermissionsExt, net::UnixListener, process::CommandExt},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
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

/// Each word once, and no part between colons and semicolons twice.
#[track_caller]
fn ends(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.rfind("souk: ").map_or("", |start| &said[start..]);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert_eq!(last.matches(word).count(), 1, "{word:?} once in {last}");
    }
    let mut causes = BTreeSet::new();
    let parts = last.split(": ").flat_map(|part| part.split("; "));
    assert!(parts.into_iter().all(|cause| causes.insert(cause)), "a cause is there twice: {last}");
}

#[test]
fn a_wrong_setting_ends_with_the_code_for_usage() {
    let data = tempfile::tempdir().unwrap();
    let ended = |variable, value| serve(data.path(), &[(variable, value)]).output().unwrap();
    ends(&ended("SOUK_LITSEN", "127.0.0.1:1"), USAGE, &["SOUK_LITSEN", "litsen"]);
    ends(&ended("SOUK_LISTEN", "nowhere"), USAGE, &["SOUK_LISTEN", "invalid socket address"]);
    ends(&ended("SOUK_PAYMENTS__URL", "http://127.0.0.1:1"), USAGE, &["payments.url must be left out"]);
    let missing_secret = [("SOUK_PAYMENTS__PROVIDER", "stripe"), ("SOUK_PAYMENTS__KEY_FILE", "/nowhere/key")];
    let empty = data.path().join("with-stripe");
    ends(&serve(&empty, &missing_secret).output().unwrap(), USAGE, &["/nowhere/key", "No such file"]);
    ends(&ended("SOUK_LOG", "loud"), USAGE, &["loud", "off, error, warn, info, debug, trace"]);
    ends(&ended("SOUK_LOG_FORMAT", "xml"), USAGE, &["xml", "`text` or `json`"]);
    let url = [("SOUK_PAYMENTS__PROVIDER", "simulator"), ("SOUK_PAYMENTS__URL", "nowhere")];
    ends(&serve(data.path(), &url).output().unwrap(), USAGE, &["nowhere", "write http:// before it"]);
    let file = data.path().join("taken");
    fs::write(&file, "").unwrap();
    ends(&serve(&file, &[]).output().unwrap(), USAGE, &["taken is a file", "data_dir must be a directory"]);
    ends(&serve(&file.join("below"), &[]).output().unwrap(), USAGE, &["taken/below", "Not a directory"]);
    let settings = data.path().join("souk.toml");
    let with_file = |text: &str| {
        fs::write(&settings, text).unwrap();
        let mut command = serve(data.path(), &[]);
        command.arg("--config").arg(&settings).output().unwrap()
    };
    ends(&with_file("litsen = 1"), USAGE, &["souk.toml: ", "litsen"]);
    ends(&with_file("[limits]\nmailbox_max = \"many\""), USAGE, &["mailbox_max", "many"]);
    ends(&with_file("= ="), USAGE, &["line 1"]);
}

#[test]
fn all_that_a_shop_writes_is_for_its_owner_and_an_open_directory_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("deep/data");
    let running = Running::start(&data);
    let id = Pid::from_child(&running.child);
    let mut open = vec![data.clone()];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        assert_eq!(found.permissions().mode() & 0o077, 0, "{} is open to others", path.display());
        seen += 1;
        if found.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 15, "{seen} files and directories");
    kill_process(id, Signal::TERM).unwrap();
    drop(running);
    fs::set_permissions(&data, fs::Permissions::from_mode(0o750)).unwrap();
    let mut running = Running::start(&data);
    let mut log = BufReader::new(running.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("is open to others") && line.contains("750") && line.contains("deep/data")));
}

#[test]
fn a_port_or_directory_in_use_ends_with_the_code_for_temporary_failure() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = directory.path().join("data");
    let other = directory.path().join("other");
    let listen = |address: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
        command.args(["serve", "--listen", address, "--data-dir"]).arg(&other).output().unwrap()
    };
    ends(&listen(&address), TEMPORARY, &[&address, "Address already in use", "stop the program that has the port"]);
    ends(&listen("192.0.2.1:1"), TEMPORARY, &["192.0.2.1:1", "set an address of this machine"]);
    let _running = Running::start(&data);
    ends(&serve(&data, &[]).output().unwrap(), TEMPORARY, &["is in use by another process"]);
}

/// A process that has the socket of a shop on `data`, and answers every command with this message, or hangs up.
fn answer_commands(data: &Path, message: Option<&'static str>) {
    let control = data.join("control");
    fs::create_dir_all(&control).unwrap();
    let listener = UnixListener::bind(control.join("souk.sock")).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut request = vec![0; u32::from_be_bytes(length).try_into().unwrap()];
            stream.read_exact(&mut request).unwrap();
            if let Some(message) = message {
                let length = u32::try_from(message.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length[..], message.as_bytes()].concat()).unwrap();
            }
        }
    });
}

#[test]
fn a_command_whose_shop_goes_away_ends_with_the_code_for_temporary_failure() {
    let stopping = r#"{"failed":{"reason":"the shop is stopping","kind":"temporary"}}"#;
    for (message, words) in [(None, "the connection to the running shop broke"), (Some(stopping), "is stopping")] {
        let directory = tempfile::tempdir().unwrap();
        let (data, rows) = (directory.path().join("data"), directory.path().join("rows.jsonl"));
        fs::write(&rows, "{}\n").unwrap();
        answer_commands(&data, message);
        let (rows, copy) = (rows.to_str().unwrap(), directory.path().join("copy"));
        for arguments in [&["export"][..], &["import", rows], &["compact"], &["backup", copy.to_str().unwrap()]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
            let output = command.arg("--data-dir").arg(&data).args(arguments).output().unwrap();
            ends(&output, TEMPORARY, &[words]);
        }
    }
    let load = |url: &str| Command::new(env!("CARGO_BIN_EXE_souk")).args(["load", url]).output().unwrap();
    ends(&load("http://127.0.0.1:1"), TEMPORARY, &["127.0.0.1:1", "Connection refused"]);
    ends(&load("nonsense"), USAGE, &["write http:// before it"]);
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
fn commands_that_need_a_shop_make_none() {
    let directory = tempfile::tempdir().unwrap();
    let (empty, missing) = (directory.path().join("empty"), directory.path().join("missing"));
    fs::create_dir_all(empty.join("lost+found")).unwrap();
    let target = directory.path().join("target");
    let target = target.to_str().unwrap();
    for data in [&empty, &missing] {
        for arguments in [&["backup", target][..], &["export"], &["export", target], &["compact"]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
            let output = command.args(arguments).arg("--data-dir").arg(data).output().unwrap();
            assert_eq!(output.stdout, b"", "{arguments:?}");
            ends(&output, DATA, &["no shop in", data.to_str().unwrap()]);
            assert!(!fs::exists(target).unwrap() && !fs::exists(&missing).unwrap(), "{arguments:?}");
            assert_eq!(fs::read_dir(&empty).unwrap().count(), 1, "{arguments:?}");
        }
    }
}

fn souk(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    command.args(arguments).arg("--data-dir").arg(data).stdin(Stdio::null());
    command
}

#[test]
fn what_was_typed_wrong_ends_with_the_code_for_usage() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let here = directory.path().to_str().unwrap();
    for command in ["import", "export"] {
        ends(&souk(&data, &[command, here]).output().unwrap(), USAGE, &["is a directory: name"]);
        assert!(!data.exists(), "{command} made a shop");
    }
    let with_input = |arguments: &[&str], input: &str| {
        let mut command = souk(&data, arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let long = "a long admin password\n";
    ends(&with_input(&["admin", "create", "nobody"], long), USAGE, &["e-mail address"]);
    ends(&with_input(&["admin", "create", "a@example.org"], "short\n"), USAGE, &["a password has"]);
    // Standard input and output have the name that every tool gives them.
    let row = "{\"id\":\"mug\",\"title\":\"Mug\",\"price_minor\":100,\"currency\":\"INR\",\"stock\":1}\n";
    assert_eq!(with_input(&["import", "-"], row).status.code(), Some(0));
    let mut export = souk(&data, &["export", "-"]);
    let exported = export.current_dir(directory.path()).output().unwrap();
    assert!(exported.status.success() && String::from_utf8_lossy(&exported.stdout).contains("\"mug\""));
    assert!(!directory.path().join("-").exists());
    let within = data.join("backup");
    let output = souk(&data, &["backup", within.to_str().unwrap()]).output().unwrap();
    ends(&output, USAGE, &["name a directory elsewhere"]);
    assert!(!within.exists());
    // One too deep, and one too high.
    ends(&serve(&data.join("journal"), &[]).output().unwrap(), USAGE, &["one level too deep or too high", "manifest"]);
    ends(&serve(directory.path(), &[]).output().unwrap(), USAGE, &["one level too deep or too high"]);
    let _running = Running::start(&data);
    ends(&souk(&data, &["verify"]).output().unwrap(), TEMPORARY, &["is in use by another process"]);
}

/// A user who owns nothing here.
const NOBODY: u32 = 65_534;

#[test]
fn a_directory_that_cannot_be_written_or_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let data = directory.path().join("data");
    drop(Running::start(&data));
    let backup = directory.path().join("backup");
    assert!(souk(&data, &["backup", backup.to_str().unwrap()]).output().unwrap().status.success());
    let user = rustix::process::geteuid().is_root().then_some(NOBODY);
    let as_user = |mut command: Command| {
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        command.current_dir("/").output()
    };
    if !as_user(souk(&data, &["config"])).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: the program is where no other user can start it");
        return;
    }
    if user.is_some() {
        let name = directory.path().join("new");
        let copy = name.to_str().unwrap();
        let other = data.to_str().unwrap();
        for arguments in [&["backup", copy][..], &["export"], &["compact"], &["import", "/dev/null"]] {
            ends(&as_user(souk(&data, arguments)).unwrap(), USAGE, &[other, "Permission denied"]);
        }
        let output = as_user(souk(&name, &["restore", backup.to_str().unwrap()])).unwrap();
        ends(&output, USAGE, &["manifest.json", "Permission denied"]);
        let changed = Command::new("chown").args(["-R", &NOBODY.to_string()]).arg(&data).status().unwrap();
        assert!(changed.success());
    }
    for part in ["search", "journal", "journal/log", "journal/state", ""] {
        let path = data.join(part);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o500)).unwrap();
        let output = as_user(serve(&data, &[])).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let named = if part.is_empty() { "data" } else { part };
        ends(&output, USAGE, &[&format!("/{named}"), "Permission denied"]);
    }
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
