//! The faults that the shop is put through, each a command with a length.
//!
//! ```text
//! cargo test --test faults                                        every fault, short
//! cargo test --test faults -- --at-once 3                         three at a time
//! cargo test --test faults -- --list                              what there is
//! cargo test --release --test faults -- kill --cycles 1000        one fault, long
//! cargo test --release --test faults -- overload --minutes 5 --seed 7
//! ```
//!
//! A fault that cannot be had here (no root, no tool) is skipped loudly and counted. Each run prints its seed, which
//! repeats its choices (not the moments at which threads meet), and one line with its figure. The exit code is not zero
//! when anything was violated, and when a name fits no fault.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what it does and fails where it cannot go on"
)]

mod attempt;
mod backup;
mod calls;
mod clock;
mod customers;
mod disk;
mod disk_full;
mod flips;
mod gateway;
mod holds;
mod kill;
mod ledger;
mod mounts;
mod notices;
mod orders;
mod overload;
mod panics;
mod parts;
mod power;
mod provider;
#[path = "../recorded/mod.rs"]
mod recorded;
#[path = "../skipped/mod.rs"]
mod skipped;
mod slow_disk;
mod strace;

use std::{
    future::Future,
    pin::Pin,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use futures::{StreamExt, stream};

/// How long a run is, and what its choices are made of.
#[derive(Clone, Copy, Debug, Parser)]
pub(crate) struct Length {
    /// How many times the fault happens; each fault has its own short default.
    #[arg(long)]
    cycles: Option<u64>,
    /// Ends after so many minutes, whatever `--cycles` says.
    #[arg(long)]
    minutes: Option<u64>,
    /// Repeats the choices of a run.
    #[arg(long, default_value_t = fastrand::u64(..))]
    pub(crate) seed: u64,
    #[arg(skip = Instant::now())]
    began: Instant,
}

impl Length {
    /// How many minutes were asked for.
    pub(crate) fn minutes(&self) -> Option<u64> {
        self.minutes
    }

    /// Whether somebody has asked for more than the short run.
    pub(crate) fn is_long(&self) -> bool {
        self.cycles.is_some() || self.minutes.is_some()
    }

    /// How many of the cycles that were asked for are left after `done` of them, where they were.
    pub(crate) fn left(&self, done: u64) -> Option<u64> {
        self.cycles.map(|cycles| cycles.saturating_sub(done))
    }

    /// Whether there is another cycle after `done` of them, where a short run has `short`.
    pub(crate) fn goes_on(&self, done: u64, short: u64) -> bool {
        let in_time = self.minutes.is_none_or(|minutes| self.began.elapsed() < Duration::from_secs(60 * minutes));
        // Minutes alone: as many cycles as they have room for.
        let cycles = self.cycles.unwrap_or(if self.minutes.is_some() { u64::MAX } else { short });
        done < cycles && in_time
    }
}

/// What a run came to.
pub(crate) struct Figure {
    /// One line: how much was tried and what it showed, violations left out.
    pub(crate) figure: String,
    /// What was found wrong.
    pub(crate) violations: Vec<String>,
}

/// Why a fault cannot be had here.
pub(crate) struct Skipped(pub(crate) String);

pub(crate) type Outcome = Result<Figure, Skipped>;
type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

struct Fault {
    name: &'static str,
    what: &'static str,
    run: fn(Length) -> Running,
}

impl Fault {
    /// Whether a name on the command line picks it.
    fn is_named(&self, name: &str) -> bool {
        self.name.contains(name)
    }
}

const FAULTS: [Fault; 16] = [
    Fault {
        name: "backup",
        what: "a shop at work is backed up and restored, also one that an older release has written",
        run: |length| Box::pin(backup::run(length)),
    },
    Fault {
        name: "calls",
        what: "a call on a file fails, once, at the start or while customers shop",
        run: |length| Box::pin(calls::run(length)),
    },
    Fault {
        name: "clock",
        what: "the wall clock jumps by up to an hour, forward and back",
        run: |length| Box::pin(clock::run(length)),
    },
    Fault {
        name: "disk-full",
        what: "something else fills the disk while customers shop, and before a start",
        run: |length| Box::pin(disk_full::run(length)),
    },
    Fault {
        name: "flips",
        what: "a bit flips, a file is cut short or gone, in every kind of file",
        run: |length| Box::pin(flips::run(length)),
    },
    Fault {
        name: "kill",
        what: "kill -9 at random moments under load, also during a start",
        run: |length| Box::pin(kill::run(length)),
    },
    Fault {
        name: "mounts",
        what: "the disk of a start is full, read-only or another user's, or full while the index is made anew",
        run: |length| Box::pin(mounts::run(length)),
    },
    Fault {
        name: "notices",
        what: "the provider's notices come too often, late, out of order, forged, or about nobody's orders",
        run: |length| Box::pin(notices::run(length)),
    },
    Fault {
        name: "overload",
        what: "ten times as many customers as the shop can serve want one product",
        run: |length| Box::pin(overload::run(length)),
    },
    Fault {
        name: "panics",
        what: "actors panic by the hundred whenever they come alive",
        run: |length| Box::pin(panics::run(length)),
    },
    Fault {
        name: "parts",
        what: "a part of the data directory is missing, another shop's, of another kind, unreadable, cut or damaged",
        run: |length| Box::pin(parts::run(length)),
    },
    Fault {
        name: "power-journal",
        what: "the power goes while the journal is written",
        run: |length| Box::pin(power::journal(length)),
    },
    Fault {
        name: "power-control",
        what: "the same with the syncs taken out, which must lose something",
        run: |length| Box::pin(power::control(length)),
    },
    Fault {
        name: "power-shop",
        what: "the power goes while customers shop",
        run: |length| Box::pin(power::shop(length)),
    },
    Fault {
        name: "provider",
        what: "the payment provider fails in every way, and it and the shop are killed",
        run: |length| Box::pin(provider::run(length)),
    },
    Fault {
        name: "slow-disk",
        what: "every sync takes 200 ms longer, and more is asked than can be done",
        run: |length| Box::pin(slow_disk::run(length)),
    },
];

#[derive(Parser)]
struct Arguments {
    /// Only faults with one of these in their names.
    names: Vec<String>,
    #[command(flatten)]
    length: Length,
    /// Names the faults.
    #[arg(long)]
    list: bool,
    /// How many faults are under way at the same time.
    #[arg(long, default_value_t = 1)]
    at_once: usize,
    /// Taken for the sake of `cargo test -- --nocapture`: nothing is captured.
    #[arg(long, hide = true)]
    nocapture: bool,
}

/// How a fault ended.
enum End {
    Passed,
    Failed,
    Skipped,
}

/// Runs one fault, and prints what it was and what it came to.
async fn run(Fault { name, what, run }: &Fault, length: Length) -> End {
    println!("{name}: {what} (seed {})", length.seed);
    // A task of its own: a panic in it fails this fault only, with whatever it started taken down on the way.
    match tokio::spawn(run(length)).await {
        Ok(Ok(Figure { figure, violations })) => {
            violations.iter().take(20).for_each(|violation| println!("  VIOLATION of {name}: {violation}"));
            println!("{name}: {figure}; {} violations, {:.1?}", violations.len(), length.began.elapsed());
            if violations.is_empty() { End::Passed } else { End::Failed }
        }
        Ok(Err(Skipped(missing))) => {
            skipped::skip(&format!("the fault {name}"), &missing);
            End::Skipped
        }
        Err(panic) => {
            println!("{name}: FAILED: {panic}");
            End::Failed
        }
    }
}

// Faults wait for processes and files where they are; each may take a thread.
#[tokio::main(worker_threads = 8)]
async fn main() -> ExitCode {
    if power::writes_here().await {
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    if let Some(unknown) = arguments.names.iter().find(|name| !FAULTS.iter().any(|fault| fault.is_named(name))) {
        println!("no fault has {unknown} in its name; --list names them");
        return ExitCode::from(2);
    }
    let wanted: Vec<_> = FAULTS
        .iter()
        .filter(|fault| arguments.names.is_empty() || arguments.names.iter().any(|name| fault.is_named(name)))
        .collect();
    if arguments.list {
        wanted.iter().for_each(|fault| println!("{}: {}", fault.name, fault.what));
        return ExitCode::SUCCESS;
    }
    let ends: Vec<_> = stream::iter(wanted)
        .map(|fault| run(fault, Length { began: Instant::now(), ..arguments.length }))
        .buffer_unordered(arguments.at_once.max(1))
        .collect()
        .await;
    let count = |wanted: fn(&End) -> bool| ends.iter().filter(|end| wanted(end)).count();
    let failed = count(|end| matches!(end, End::Failed));
    println!(
        "faults: {} passed, {failed} failed, {} skipped",
        count(|end| matches!(end, End::Passed)),
        count(|end| matches!(end, End::Skipped))
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
