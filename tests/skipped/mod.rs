//! Says that something cannot be tested here, on the terminal whatever the test harness captures, and writes it down
//! where a run of many tests counts what it left out.

#![allow(dead_code, reason = "each test that has this module uses its own part of it")]

use std::{
    env,
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
};

/// The variable that names the file to which each skip is appended as a line.
const FILE_VARIABLE: &str = "SKIPPED_FILE";

/// Reports that `what` is not tested, and why.
///
/// # Panics
/// Where the file that is asked for cannot be written: a skip must not go unnoticed.
pub(crate) fn skip(what: &str, why: &str) {
    // `println` and `eprintln` are captured, and shown of failed tests only.
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {what} is NOT tested: {why} ***\n");
    if let Some(path) = env::var_os(FILE_VARIABLE) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let line = format!("{what}: {why}\n");
        // One write: tests skip side by side.
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of skips is written");
    }
}

/// A file of the test data: in the directory that `TEST_DATA_DIR` names, or in `../shared/data` beside the repository.
/// Its absence is a skip.
pub(crate) fn data_file(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let file = env::var_os("TEST_DATA_DIR").map_or(beside, PathBuf::from).join(name);
    if file.exists() {
        return Some(file);
    }
    skip(name, &format!("there is no {}; TEST_DATA_DIR names the directory", file.display()));
    None
}
