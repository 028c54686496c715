//! Metrics of the process, with the names that all Prometheus clients use, from `/proc`.
//!
//! Depends on its neighbours.

use std::{fmt, fs};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};
use rustix::process::{Resource, getrlimit};

use super::rows::Rows;

#[derive(Debug)]
pub(super) struct Process;

/// What `/proc/self/stat` says.
struct Stat {
    cpu_seconds: f64,
    threads: u64,
    /// Seconds after the machine was started.
    started: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut rows = Rows(encoder);
        // Without a known value there is no metric, rather than a wrong one.
        if let Some(stat) = Stat::read() {
            rows.seconds_total("process_cpu_seconds", "Processor time used", stat.cpu_seconds)?;
            rows.gauge("process_resident_memory_bytes", "Resident memory", stat.resident_bytes)?;
            rows.gauge("process_virtual_memory_bytes", "Virtual memory", stat.virtual_bytes)?;
            rows.gauge("process_threads", "Threads", stat.threads)?;
            if let Some(booted) = booted() {
                let help = "When the process was started, in seconds since 1970";
                rows.seconds("process_start_time_seconds", help, booted as f64 + stat.started)?;
            }
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            rows.gauge("process_open_fds", "Open file descriptors", files.count() as u64)?;
        }
        match getrlimit(Resource::Nofile).current {
            Some(most) => rows.gauge("process_max_fds", "File descriptors that may be open", most),
            None => Ok(()),
        }
    }
}

impl Stat {
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the program, in brackets, may have anything in it.
        let (_, after_name) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
        Some(Self {
            cpu_seconds: (number(11)? + number(12)?) as f64 / ticks,
            threads: number(17)?,
            started: number(19)? as f64 / ticks,
            virtual_bytes: number(20)?,
            resident_bytes: number(21)? * rustix::param::page_size() as u64,
        })
    }
}

/// When the machine was started, in seconds since 1970.
fn booted() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}
