//! Fault injection: each fault is a command with a length.
//!
//! ```text
//! cargo test --test faults                                        every fault, short
//! cargo test --test faults -- --at-once 3                         three at a time
//! cargo test --test faults -- --list                              the names of all faults
//! cargo test --release --test faults -- kill --cycles 1000        one fault, long
//! cargo test --release --test faults -- overload --minutes 5 --seed 7
//! ```
//!
//! A fault that cannot be injected on this machine (no root, no tool) is reported and counted as skipped. Each run
//! prints its seed, which repeats its choices (not the scheduling of threads), and one line with its figure. The exit
//! code is not zero if there were violations, or if a name matches no fault.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test prints its progress, and panics if it cannot continue"
)]

mod backup;
mod calls;
mod clock;
mod customers;
mod disk;
mod disk_full;
mod edge;
mod failed_call;
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

/// The length of a run, and the seed of its choices.
#[derive(Clone, Copy, Debug, Parser)]
pub(crate) struct Length {
    /// How many times the fault is injected; each fault has a short default.
    #[arg(long)]
    cycles: Option<u64>,
    /// Ends the run after so many minutes, even if fewer cycles were run than `--cycles` says.
    #[arg(long)]
    minutes: Option<u64>,
    /// Repeats the choices of a run.
    #[arg(long, default_value_t = fastrand::u64(..))]
    pub(crate) seed: u64,
    #[arg(skip = Instant::now())]
    began: Instant,
}

impl Length {
    /// The value of `--minutes`.
    pub(crate) fn minutes(&self) -> Option<u64> {
        self.minutes
    }

    /// Whether this is not the short run.
    pub(crate) fn is_long(&self) -> bool {
        self.cycles.is_some() || self.minutes.is_some()
    }

    /// How many cycles are left after `done` of them; `None` without `--cycles`.
    pub(crate) fn left(&self, done: u64) -> Option<u64> {
        self.cycles.map(|cycles| cycles.saturating_sub(done))
    }

    /// Whether there is another cycle after `done` of them. A short run has `short` cycles.
    pub(crate) fn goes_on(&self, done: u64, short: u64) -> bool {
        let in_time = self.minutes.is_none_or(|minutes| self.began.elapsed() < Duration::from_secs(60 * minutes));
        // With minutes alone, the number of cycles is not limited.
        let cycles = self.cycles.unwrap_or(if self.minutes.is_some() { u64::MAX } else { short });
        done < cycles && in_time
    }
}

/// The result of a run.
pub(crate) struct Figure {
    /// One line about what was tried and measured, without the violations.
    pub(crate) figure: String,
    pub(crate) violations: Vec<String>,
}

/// The reason why a fault cannot be injected on this machine.
pub(crate) struct Skipped(pub(crate) String);

pub(crate) type Outcome = Result<Figure, Skipped>;
type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

struct Fault {
    name: &'static str,
    /// A description for `--list`.
    what: &'static str,
    run: fn(Length) -> Running,
}

impl Fault {
    /// Whether a name on the command line selects this fault.
    fn is_named(&self, name: &str) -> bool {
        self.name.contains(name)
    }
}

const FAULTS: [Fault; 17] = [
    Fault {
        name: "backup",
        what: "a shop under load is backed up and restored, also one that an older release has written",
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
        what: "another program fills the disk while customers shop, and before a start",
        run: |length| Box::pin(disk_full::run(length)),
    },
    Fault {
        name: "edge",
        what: "attackers hold connections, bodies and answers while honest customers shop",
        run: |length| Box::pin(edge::run(length)),
    },
    Fault {
        name: "flips",
        what: "a bit is flipped in every kind of file, or a file is cut short or removed",
        run: |length| Box::pin(flips::run(length)),
    },
    Fault {
        name: "kill",
        what: "kill -9 at random moments under load, also during a start",
        run: |length| Box::pin(kill::run(length)),
    },
    Fault {
        name: "mounts",
        what: "a start on a full or read-only disk, or as another user; a full disk while the index is rebuilt",
        run: |length| Box::pin(mounts::run(length)),
    },
    Fault {
        name: "notices",
        what: "the provider's notices are repeated, late, out of order, forged, or about unknown orders",
        run: |length| Box::pin(notices::run(length)),
    },
    Fault {
        name: "overload",
        what: "ten times as many customers as the shop can serve want one product",
        run: |length| Box::pin(overload::run(length)),
    },
    Fault {
        name: "panics",
        what: "actors panic by the hundred whenever they are activated",
        run: |length| Box::pin(panics::run(length)),
    },
    Fault {
        name: "parts",
        what: "a part of the data directory is missing, another shop's, of another kind, unreadable, cut or damaged",
        run: |length| Box::pin(parts::run(length)),
    },
    Fault {
        name: "power-journal",
        what: "the power is cut while the journal is written",
        run: |length| Box::pin(power::journal(length)),
    },
    Fault {
        name: "power-control",
        what: "the same without syncs: records must be lost, or the test proves nothing",
        run: |length| Box::pin(power::control(length)),
    },
    Fault {
        name: "power-shop",
        what: "the power is cut while customers shop",
        run: |length| Box::pin(power::shop(length)),
    },
    Fault {
        name: "provider",
        what: "the payment provider fails in every way, and it and the shop are killed",
        run: |length| Box::pin(provider::run(length)),
    },
    Fault {
        name: "slow-disk",
        what: "every sync takes 200 ms longer, and there are more requests than the shop can serve",
        run: |length| Box::pin(slow_disk::run(length)),
    },
];

#[derive(Parser)]
struct Arguments {
    /// Runs only faults whose names contain one of these.
    names: Vec<String>,
    #[command(flatten)]
    length: Length,
    /// Lists the faults.
    #[arg(long)]
    list: bool,
    /// How many faults run at the same time.
    #[arg(long, default_value_t = 1)]
    at_once: usize,
    /// Accepted for `cargo test -- --nocapture`; nothing is captured anyway.
    #[arg(long, hide = true)]
    nocapture: bool,
}

/// How a fault ended.
enum End {
    Passed,
    /// With the first violation or the panic, which the last lines repeat, since a long log may be cut to its end.
    Failed(String),
    Skipped,
}

/// Runs one fault, and prints its description and its result.
async fn run(Fault { name, what, run }: &Fault, length: Length) -> End {
    println!("{name}: {what} (seed {})", length.seed);
    // In a task of its own, a panic fails only this fault, and drops the processes that it has started.
    match tokio::spawn(run(length)).await {
        Ok(Ok(Figure { figure, violations })) => {
            violations.iter().take(20).for_each(|violation| println!("  VIOLATION of {name}: {violation}"));
            println!("{name}: {figure}; {} violations, {:.1?}", violations.len(), length.began.elapsed());
            violations.first().map_or(End::Passed, |first| End::Failed(format!("{name}: {first}")))
        }
        Ok(Err(Skipped(missing))) => {
            skipped::skip(&format!("the fault {name}"), &missing);
            End::Skipped
        }
        Err(panic) => {
            println!("{name}: FAILED: {panic}");
            End::Failed(format!("{name}: {panic}"))
        }
    }
}

// Faults wait for processes and files without yielding, so each may block a thread.
#[tokio::main(worker_threads = 8)]
async fn main() -> ExitCode {
    if power::writes_here().await || edge::attacks_here().await {
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
    let failed = count(|end| matches!(end, End::Failed(_)));
    for end in &ends {
        if let End::Failed(reason) = end {
            println!("FAILED: {reason}");
        }
    }
    println!(
        "faults: {} passed, {failed} failed, {} skipped",
        count(|end| matches!(end, End::Passed)),
        count(|end| matches!(end, End::Skipped))
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
