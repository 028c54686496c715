//! The shop under strace, which makes its calls on files fail or delays them.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long strace may take to attach to every thread.
const ATTACH_MAX: Duration = Duration::from_secs(10);

/// Whether strace can start processes and attach to running ones here.
pub(crate) fn probe() -> Result<(), String> {
    let missing = |why: &dyn std::fmt::Display| format!("it needs strace: {why}");
    let options = ["-o".into(), "/dev/null".into(), "-e".into(), "trace=fsync".into()];
    let output = around(&Command::new("true"), &options).output().map_err(|error| missing(&error))?;
    if !output.status.success() {
        return Err(missing(&String::from_utf8_lossy(&output.stderr).trim()));
    }
    let mut sleeper = Command::new("sleep").arg("60").spawn().map_err(|error| missing(&error))?;
    let attached = attach(sleeper.id(), None, &options);
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    attached.map(|mut strace| drop(strace.wait())).map_err(|error| missing(&error))
}

/// The same command under strace. The process that is started is the command itself; strace runs behind it and ends
/// with it.
pub(crate) fn around(command: &Command, options: &[String]) -> Command {
    let mut strace = Command::new("strace");
    // Only the calls that are traced stop a thread: others cost next to nothing.
    strace.args(["-D", "-f", "--seccomp-bpf"]).args(options).arg("--").arg(command.get_program());
    strace.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace
}

/// Attaches to a process: to all its threads and their children, or only to threads whose names begin with `only`.
/// Returns when it is attached.
pub(crate) fn attach(process: u32, only: Option<&str>, options: &[String]) -> Result<Child, String> {
    let began = Instant::now();
    while began.elapsed() < ATTACH_MAX {
        if let Some(strace) = attach_once(process, only, options, began)? {
            return Ok(strace);
        }
    }
    Err("it cannot attach to a running process".into())
}

/// The same once: `None` if strace has ended, because the threads to which it should attach have, or if time is up.
fn attach_once(process: u32, only: Option<&str>, options: &[String], began: Instant) -> Result<Option<Child>, String> {
    let mut strace = Command::new("strace");
    strace.args(options);
    let is_wanted = |name: &str| only.is_none_or(|only| name.starts_with(only));
    let wanted = || threads(process).into_iter().filter(|(_, name)| is_wanted(name)).map(|(id, _)| id);
    let ids: Vec<u32> = wanted().collect();
    match only {
        None => strace.args(["-f", "-p", &process.to_string()]),
        Some(_) => strace.args(ids.iter().flat_map(|id| ["-p".to_owned(), id.to_string()])),
    };
    let mut strace = strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|error| error.to_string())?;
    loop {
        // The threads of the index come and go: strace attaches to those that were there, and nobody waits for one that
        // has ended.
        let mut known = wanted().filter(|id| only.is_none() || ids.contains(id)).peekable();
        if known.peek().is_some() && known.all(is_traced) {
            return Ok(Some(strace));
        }
        if began.elapsed() > ATTACH_MAX || strace.try_wait().is_ok_and(|ended| ended.is_some()) {
            let _ = strace.kill();
            let _ = strace.wait();
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The threads of a process with their names.
fn threads(process: u32) -> Vec<(u32, String)> {
    let named = |task: &Path| {
        let thread = task.file_name()?.to_str()?.parse().ok()?;
        Some((thread, fs::read_to_string(task.join("comm")).ok()?.trim().to_owned()))
    };
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| named(&task.path())).collect()
}

fn is_traced(thread: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}
