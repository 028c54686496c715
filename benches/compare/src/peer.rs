//! Peers: programs that are measured from outside, each started in a directory of its own and ended by its process id.
//!
//! They end also if the bench panics (the guard is dropped), is interrupted (`main` drops it) or is killed (the kernel
//! sends the signal that `setpriv` asked for).
//!
//! Depends on `support` and on `rustix`.

use std::{
    fs::File,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::support;

/// How long a peer may take to start, and to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two checks.
const PAUSE: Duration = Duration::from_millis(50);

/// A peer's directory, and the account under which it runs.
pub(crate) struct Home {
    directory: TempDir,
    user: Option<&'static str>,
}

impl Home {
    /// For a program that runs as the caller's account.
    pub(crate) fn new() -> Self {
        Self { directory: support::scratch(), user: None }
    }

    /// For a program that refuses to run as root, and then runs as `user`.
    pub(crate) fn not_of_root(user: &'static str) -> anyhow::Result<Self> {
        let mut home = Self::new();
        if geteuid().is_root() {
            let ids = ["-u", "-g"].map(|what| Command::new("id").args([what, user]).output());
            let mut numbers = Vec::new();
            for id in ids {
                let text = String::from_utf8(id?.stdout)?;
                numbers.push(text.trim().parse().with_context(|| format!("there is no account named {user}"))?);
            }
            chown(home.path(), Some(numbers[0]), Some(numbers[1]))?;
            home.user = Some(user);
        }
        Ok(home)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The command of `program` in this directory. It gets `SIGTERM` when this process ends, however it ends.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]);
        if let Some(user) = self.user {
            command.args(["--clear-groups", "--reuid", user, "--regid", user]);
        }
        command.arg("--").arg(program.as_ref()).current_dir(self.path()).stdin(Stdio::null());
        // The bench's settings are not for the program.
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SOUK_")).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command
    }

    /// Starts it; its output goes to a file in the directory.
    pub(crate) fn start(self, mut command: Command, end: Signal) -> anyhow::Result<Peer> {
        let said = self.path().join("said.txt");
        let file = File::create(&said)?;
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Peer { child, end, home: self, said })
    }
}

/// A running program. Dropping it ends it.
pub(crate) struct Peer {
    child: Child,
    end: Signal,
    home: Home,
    said: PathBuf,
}

impl Peer {
    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    /// Repeats `look` until it returns something.
    pub(crate) async fn ready<T>(&mut self, mut look: impl AsyncFnMut(&str) -> Option<T>) -> anyhow::Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = std::fs::read_to_string(&self.said).unwrap_or_default();
            if let Some(ready) = look(&said).await {
                return Ok(ready);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {said}");
            }
            if Instant::now() > until {
                bail!("it does not answer: {said}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It may have ended by itself, which is fine.
        let _ = pid.map(|pid| kill_process(pid, self.end));
        let until = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(PAUSE);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds a program in these directories or on the path.
pub(crate) fn program(name: &str, directories: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path);
    let mut places = directories.iter().cloned().chain(on_path).map(|directory| directory.join(name));
    places.find(|place| place.is_file()).with_context(|| format!("{name} is not installed"))
}
