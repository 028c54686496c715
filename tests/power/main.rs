//! Power loss: what was acknowledged before the cut is there after it.
//!
//! A file system of its own (ext4 in a file, on a loop device) takes the writes; ext4's shutdown ioctl cuts the power: what
//! is not yet on the disk, data and metadata, is lost. Acknowledgements are kept outside of it. Three tests: the journal
//! alone, the journal with its syncs taken out (which must lose something, or the cut proves nothing), and the whole shop.
//!
//! It needs root, loop devices, `mkfs.ext4` and `perl` (which issues the ioctl, so that no unsafe code is needed here);
//! without them it says so and counts as skipped. `SOUK_POWER_CUTS` is the number of cuts of the journal (40); the shop gets
//! a quarter of it.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what it does and fails where it cannot go on"
)]

mod disk;
mod journal;
mod shop;

use std::{env, path::PathBuf, process::ExitCode, time::Instant};

/// Cuts of the journal unless `SOUK_POWER_CUTS` says otherwise.
const CUTS: usize = 40;
const MIB: u64 = 1024 * 1024;

/// What was found wrong.
type Violations = Vec<String>;

#[tokio::main]
async fn main() -> ExitCode {
    if let Some(dir) = env::var_os(journal::WRITER_DIR) {
        journal::write(PathBuf::from(dir), env::var_os(journal::WRITER_SYNCS).is_some()).await;
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let filter = arguments.iter().find(|argument| !argument.starts_with('-')).cloned().unwrap_or_default();
    let names = ["journal_keeps_what_it_acknowledged", "journal_without_syncs_is_caught", "shop_keeps_its_promises"];
    let names: Vec<_> = names.into_iter().filter(|name| name.contains(&filter)).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        names.iter().for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if let Err(missing) = disk::probe() {
        println!("\n*** SKIPPED: power loss is NOT tested: {missing} ***\n");
        println!("power: 0 passed, 0 failed, {} skipped", names.len());
        return ExitCode::SUCCESS;
    }
    let cuts = env::var("SOUK_POWER_CUTS").map_or(CUTS, |cuts| cuts.parse().unwrap());
    let mut failed = 0;
    for name in &names {
        let start = Instant::now();
        // A task of its own: a panic in it fails the test, with the disk taken down on the way.
        let violations = match *name {
            "journal_keeps_what_it_acknowledged" => tokio::spawn(journal::cut_the_journal(cuts)),
            "journal_without_syncs_is_caught" => tokio::spawn(journal::cut_without_syncs()),
            _ => tokio::spawn(shop::cut_the_shop(cuts.div_ceil(4))),
        };
        let violations = violations.await.unwrap_or_else(|panic| vec![panic.to_string()]);
        violations.iter().take(20).for_each(|violation| println!("  VIOLATION: {violation}"));
        let result = if violations.is_empty() { "ok" } else { "FAILED" };
        println!("test {name} ... {result} ({} violations, {:.1?})", violations.len(), start.elapsed());
        failed += usize::from(!violations.is_empty());
    }
    println!("power: {} passed, {failed} failed, 0 skipped", names.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
