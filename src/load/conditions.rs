//! What a run ran on: the generator's machine and program, and what the shop tells of itself.
//!
//! Depends on nothing of the crate but its version.

use std::{fmt, fs};

use serde::Serialize;
use serde_json::Value;

/// What could not be found out.
const UNKNOWN: &str = "unknown";
const KIB_PER_GIB: f64 = 1_048_576.0;

/// What a run ran on.
#[derive(Debug, Clone, Serialize)]
pub struct Conditions {
    /// When it began, RFC 3339.
    pub started: String,
    /// The generator's machine; the shop's, too, where both run on one.
    pub machine: Machine,
    /// The generator's version and commit.
    pub generator: String,
    /// What `GET /readyz` said: the durability mode and the state of storage and search. Null where it said nothing.
    pub readiness: Value,
    /// What `GET /settings` said to the operator: version, commit and every setting. Null without an admin.
    pub settings: Value,
}

/// A machine.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many cores a program may use.
    pub cores: usize,
    /// Memory, in KiB.
    pub memory_kib: u64,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    /// This machine, as Linux tells; elsewhere most of it is unknown.
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
    pub(super) fn new(started: String, readiness: Value, settings: Value) -> Self {
        let generator = format!("{} ({})", crate::VERSION, crate::COMMIT);
        Self { started, machine: Machine::this(), generator, readiness, settings }
    }

    /// How the shop keeps what it acknowledges.
    pub(super) fn durability(&self) -> &str {
        self.readiness["durability"].as_str().unwrap_or("not told by the shop")
    }

    /// The shop's version and commit.
    pub(super) fn shop(&self) -> String {
        match (self.settings["version"].as_str(), self.settings["commit"].as_str()) {
            (Some(version), Some(commit)) => format!("{version} ({commit})"),
            _ => "not told: that takes an admin as the operator".into(),
        }
    }

    /// The machine in a line.
    pub(super) fn machine(&self) -> String {
        let Machine { cpu, cores, memory_kib, kernel } = &self.machine;
        format!("{cpu}, {cores} cores, {:.1} GiB, Linux {kernel}", *memory_kib as f64 / KIB_PER_GIB)
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "begun: {}; generator: {}; shop: {}", self.started, self.generator, self.shop())?;
        writeln!(to, "generator's machine: {}; the shop shares it where both run on one", self.machine())?;
        writeln!(to, "durability: {}", self.durability())
    }
}
