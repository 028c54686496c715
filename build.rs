//! Tells the program which commit it was built from, for reports: `BUILD_COMMIT`. (cargo hands it on to what it runs,
//! where a name that begins with `SOUK_` would be taken for a setting.)
//!
//! It runs again when the source changes, not when only a commit is made, so that committing builds nothing anew: a
//! program built before its source was committed then says that the source had been changed.

use std::process::Command;

fn main() {
    for path in ["src", "tools", "build.rs", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).map_or("unknown".to_owned(), |commit| {
        match git(&["status", "--porcelain", "--", "src", "tools", "Cargo.toml", "Cargo.lock"]) {
            Some(changes) if changes.is_empty() => commit,
            Some(_) | None => format!("{commit}, changed since"),
        }
    });
    println!("cargo:rustc-env=BUILD_COMMIT={commit}");
}

/// What git says, or `None` where there is no git or no repository: a source archive has neither.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
