//! Each part of a data directory is missing, empty, another shop's, an older copy, of another kind, unreadable, cut
//! short or damaged, or has files beside it that do not belong there.
//!
//! Two shops are made once, and one of them is copied halfway. Each case damages one part in a copy of the shop and
//! starts the program on it. The table has the expected result: the shop works as before; or it repairs itself and logs
//! that; or the start is refused with an exit code and a message that names the part and the remedy. As soon as
//! `/readyz` says ready, all responses must be the same as before the damage.
//!
//! A short run has one case for each part, a long one (`--cycles 1`) all of them. Root can read every file, so when
//! root runs this, the cases with an unreadable part start the shop as the user nobody.

mod damage;
mod table;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use self::{
    damage::{Damage, Sources},
    table::{Expected, PARTS, locate, unknown_parts},
};
use crate::{
    Figure, Length, Outcome,
    flips::{
        check, copy, findings,
        shop::{Original, Responses, Running, Started},
        sound,
    },
};

/// The exit code for damaged data, and that for a missing permission.
const DATA: i32 = 65;
const USAGE: i32 = 2;
/// How long a start may take to become ready in a debug build on a busy machine.
const READY_MAX: Duration = Duration::from_secs(60);
/// The user nobody.
const NOBODY: u32 = 65_534;

pub(crate) async fn run(length: Length) -> Outcome {
    let mut random = fastrand::Rng::with_seed(length.seed);
    let (mut ours, other) = (Original::make(false).await, Original::make(false).await);
    let may_be_nobody = may_be_nobody();
    let shops = Shops { older: ours.older(), other: other.data(), expected: sound(&mut ours).await };
    let mut violations = unknown_parts(&ours.data());
    let (mut cases, mut skipped, mut outcomes) = (0, 0, BTreeMap::<&str, u64>::new());
    for (name, all) in PARTS {
        let chosen = random.usize(..all.len());
        let tried = if length.is_long() { all } else { &all[chosen..=chosen] };
        for (damage, expected) in tried {
            if *damage == Damage::Unreadable && !may_be_nobody {
                skipped += 1;
                continue;
            }
            match shops.start_damaged(&mut ours, name, *damage, *expected).await {
                Ok(outcome) => *outcomes.entry(outcome).or_default() += 1,
                Err(what) => violations.push(format!("{name} {damage:?}: {what}")),
            }
            cases += 1;
        }
    }
    if skipped > 0 {
        println!("\n*** SKIPPED: {skipped} unreadable parts: nobody cannot run the program here ***\n");
    }
    Ok(Figure { figure: format!("{cases} cases of {} parts: {outcomes:?}", PARTS.len()), violations })
}

/// Whether cases with an unreadable part can be tried: the user nobody can run the program, or this is not root.
fn may_be_nobody() -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    command.arg("--version").stdout(Stdio::null());
    !rustix::process::geteuid().is_root() || command.uid(NOBODY).gid(NOBODY).status().is_ok_and(|ended| ended.success())
}

/// The data directories, and the responses of the undamaged shop.
struct Shops {
    older: PathBuf,
    other: PathBuf,
    expected: Responses,
}

impl Shops {
    /// Damages a part in a copy, starts the shop there, and compares the result with the expected one. The error is the
    /// violation.
    async fn start_damaged(
        &self,
        ours: &mut Original,
        name: &str,
        damage: Damage,
        expected: Expected,
    ) -> Result<&'static str, String> {
        let scratch = tempfile::tempdir().unwrap();
        let (data, part) = (scratch.path().join("shop"), locate(&ours.data(), name));
        copy(&ours.data(), &data);
        let sources = Sources { other: &self.other, older: &self.older };
        damage.apply(&data, (name, &part), &sources);
        let user = (damage == Damage::Unreadable && rustix::process::geteuid().is_root()).then_some(NOBODY);
        if let Some(user) = user {
            give_to(user, scratch.path());
        }
        let shop = match ours.start_as(&data, user) {
            Started::Refused(stderr, code) => return refused(&stderr, code, &part, expected),
            Started::Running(shop) => shop,
        };
        ready(&shop).await?;
        let shown = ours.responses_now(&shop).await.map_err(|what| format!("{what}; it said: {}", shop.stderr()))?;
        let stderr = shop.stderr();
        drop(shop);
        if let Some((request, was)) = self.expected.iter().find(|(request, was)| shown.get(request) != Some(was)) {
            return Err(format!("{request:?} was {was:?} and is {:?}; it said: {stderr}", shown.get(request)));
        }
        let found = findings(&check(ours, &data).await);
        // Without its ledger the provider has no charges with which the orders could be compared.
        let is_clean = found.is_empty() || name == "simulated-provider.jsonl";
        match expected {
            Expected::Whole | Expected::LoggedOrWhole(_) if stderr.is_empty() && is_clean => Ok("whole"),
            Expected::Logged(words) | Expected::LoggedOrWhole(words) if stderr.contains(words) && is_clean => {
                Ok("logged and whole")
            }
            Expected::Found if !found.is_empty() => Ok("found by a check"),
            Expected::LoggedAndFound(words) if stderr.contains(words) && !found.is_empty() => {
                Ok("logged and found by a check")
            }
            _ => Err(format!("it starts, and should be {expected:?}; it said: {stderr}; the check found: {found:?}")),
        }
    }
}

/// Makes another user the owner of a directory, as if that user had restored it.
fn give_to(user: u32, directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    let given = Command::new("chown").args(["-R", "-h"]).arg(format!("{user}:{user}")).arg(directory).status();
    assert!(given.unwrap().success());
}

/// Checks a refused start: the right exit code, and a message that names the part, the remedy, and each cause once.
fn refused(stderr: &str, code: Option<i32>, part: &Path, expected: Expected) -> Result<&'static str, String> {
    let (wanted, words) = match expected {
        Expected::Refused(words) => (DATA, words),
        Expected::Denied => (USAGE, "it must belong to the user who runs souk"),
        _ => return Err(format!("it is refused, and should be {expected:?}: {stderr}")),
    };
    let message = stderr.lines().find(|line| line.starts_with("souk: ")).unwrap_or_default();
    // If the part is missing, the message may name only its directory.
    let names = [part, part.parent().unwrap_or(part)].map(|name| name.to_string_lossy().into_owned());
    let is_named = names.iter().any(|name| !name.is_empty() && message.contains(name.as_str()));
    let parts: Vec<&str> = message.split(": ").flat_map(|part| part.split("; ")).collect();
    let is_once = parts.iter().all(|cause| parts.iter().filter(|other| other == &cause).count() == 1);
    if code == Some(wanted) && message.contains(words) && is_named && is_once && !stderr.contains("panicked") {
        Ok("refused")
    } else {
        Err(format!("it should be refused with {wanted} and {words:?}, and ends with {code:?}: {stderr}"))
    }
}

/// Waits until `/readyz` says ready.
async fn ready(shop: &Running) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let answer = reqwest::get(format!("{}/readyz", shop.url())).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body: serde_json::Value = answer.json().await.map_err(|error| error.to_string())?;
        match (status, body["ready"] == true) {
            (200, true) => return Ok(()),
            (503, false) if began.elapsed() < READY_MAX => tokio::time::sleep(Duration::from_millis(2)).await,
            _ => return Err(format!("/readyz is {status}: {body}; it said: {}", shop.stderr())),
        }
    }
}
