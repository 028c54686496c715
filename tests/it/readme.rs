//! README.md's session on the demo catalogue is carried out by bash, curl and jq as it stands there, and the shop
//! answers what stands there, with `…` for what was left out.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    recorded::{Process, START_MAX},
    skipped::skip,
};

const DEFAULT_ADDRESS: &str = "http://127.0.0.1:8080";
/// The command that kills the shop; the reader starts it again.
const KILL: &str = "pkill -9 -x souk";
/// What a debug build may take for all of it.
const SESSION_MAX: Duration = Duration::from_secs(120);

/// A command of the session and what it writes.
struct Step {
    command: String,
    answer: String,
}

fn session() -> Vec<Step> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, block) = readme.split_once("```console\n").unwrap();
    let block = block.split("\n```").next().unwrap();
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_owned(), answer: String::new() }),
            (None, Some(last)) if last.answer.is_empty() && last.command.ends_with('\\') => {
                last.command = format!("{}\n{line}", last.command);
            }
            (None, Some(last)) => last.answer.push_str(line),
            (None, None) => {}
        }
    }
    steps
}

/// The parts of an answer that do not differ from run to run.
fn parts(answer: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in answer.split_inclusive(['"', '…']) {
        let end = ["\"", "…"].into_iter().find(|end| word.ends_with(end)).unwrap_or_default();
        let text = word.strip_suffix(end).unwrap_or(word);
        let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_number = text.len() == 14 && text.split('-').all(|group| group.len() == 4);
        if is_id || is_number {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push_str(text);
        }
        match end {
            "…" => parts.push(String::new()),
            other => parts.last_mut().unwrap().push_str(other),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[test]
fn the_session_of_the_readme_happens_as_it_says() {
    let has = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !(has("bash") && has("curl") && has("jq")) {
        skip("README.md's session", "it needs bash, curl and jq");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let start = |listen: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
        command.args(["serve", "--demo", "--listen", listen, "--data-dir"]).arg(at("data")).env("SOUK_LOG", "off");
        Process::begin(command, START_MAX).expect("the shop says where it listens")
    };
    let mut shop = start("127.0.0.1:0");
    let url = shop.url.clone();
    let steps = session();
    assert!(steps.len() > 10, "only {} commands were read", steps.len());
    // People type slower than the search index is filled.
    let is_filled = "grep -q 'souk_read_model_lag_bytes{read_model=\"search\"} 0'";
    let mut script = format!("until curl -s {url}/metrics | {is_filled}; do sleep 0.1; done\n");
    for (number, Step { command, .. }) in steps.iter().enumerate() {
        let (killed, again) = (at("killed"), at("again"));
        let command = if command.starts_with(KILL) {
            format!("touch {}; until [ -e {} ]; do sleep 0.05; done", killed.display(), again.display())
        } else {
            command.replace(DEFAULT_ADDRESS, &url)
        };
        script.push_str(&format!("exec >{}\n{command}\n", at(&number.to_string()).display()));
    }
    let mut bash = Command::new("bash").args(["-c", &script]).spawn().unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = bash.try_wait().unwrap() {
            break status;
        }
        if at("killed").exists() && !at("again").exists() {
            drop(shop);
            shop = start(url.strip_prefix("http://").unwrap());
            fs::write(at("again"), "").unwrap();
        }
        assert!(began.elapsed() < SESSION_MAX, "the session does not end");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
    assert!(at("again").exists(), "the session does not kill the shop");
    for (number, Step { command, answer }) in steps.iter().enumerate().filter(|(_, step)| !step.answer.is_empty()) {
        let actual = fs::read_to_string(at(&number.to_string())).unwrap();
        let mut rest = actual.as_str();
        for part in parts(answer) {
            let found = rest.find(&part).unwrap_or_else(|| panic!("{command}\nlacks {part}\nin {actual}"));
            rest = &rest[found + part.len()..];
        }
    }
}
