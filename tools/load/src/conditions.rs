//! The conditions of a run: the generator's machine and program, and what the shop reports about itself.
//!
//! Depends on `serde` and `serde_json`.

use std::{fmt, fs};

use serde::Serialize;
use serde_json::Value;

const UNKNOWN: &str = "unknown";
const KIB_PER_GIB: f64 = 1_048_576.0;

/// The conditions of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Conditions {
    /// The start of the run, RFC 3339.
    pub started: String,
    /// The generator's machine.
    pub machine: Machine,
    /// The generator's version and commit.
    pub generator: String,
    /// The answer of `GET /readyz`, with the durability mode and the state of storage and search; null without one.
    pub readiness: Value,
    /// The answer of `GET /settings`: version, commit and every setting; null without an admin.
    pub settings: Value,
}

/// What is known of the generator's machine.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Machine {
    /// The model of the processor.
    pub cpu: String,
    /// The number of cores that the generator may use.
    pub cores: usize,
    pub memory_kib: u64,
    pub kernel: String,
}

impl Machine {
    /// Reads `/proc`; on other systems than Linux most of it is unknown.
    fn this() -> Self {
        let line = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
            line.map(|(_, value)| value.trim().to_owned())
        };
        let memory = line("/proc/meminfo", "MemTotal").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| UNKNOWN.to_owned());
        Self {
            cpu: line("/proc/cpuinfo", "model name").unwrap_or_else(|| UNKNOWN.to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_kib: memory.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0),
            kernel: kernel.trim().to_owned(),
        }
    }
}

impl Conditions {
    pub(crate) fn new(generator: String, readiness: Value, settings: Value) -> Self {
        let started = jiff::Timestamp::now().round(jiff::Unit::Millisecond).unwrap_or_default().to_string();
        Self { started, machine: Machine::this(), generator, readiness, settings }
    }

    /// The shop's durability mode.
    pub(crate) fn durability(&self) -> &str {
        self.readiness["durability"].as_str().unwrap_or("not reported by the shop")
    }

    /// The shop's version and commit.
    pub(crate) fn shop(&self) -> String {
        match (self.settings["version"].as_str(), self.settings["commit"].as_str()) {
            (Some(version), Some(commit)) => format!("{version} ({commit})"),
            _ => "not reported, which needs an admin as the operator".into(),
        }
    }

    /// The machine, in a line.
    pub(crate) fn machine(&self) -> String {
        let Machine { cpu, cores, memory_kib, kernel } = &self.machine;
        format!("{cpu}, {cores} cores, {:.1} GiB, Linux {kernel}", *memory_kib as f64 / KIB_PER_GIB)
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "started: {}; generator: {}; shop: {}", self.started, self.generator, self.shop())?;
        writeln!(to, "generator's machine: {}; the shop shares it where both run on one", self.machine())?;
        writeln!(to, "durability: {}", self.durability())
    }
}
