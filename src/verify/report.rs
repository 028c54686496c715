//! The report of a check: the findings, what was read, and what was not checked.
//!
//! Depends on `std` and `serde`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

/// How many findings are kept; more are only counted. One broken invariant tends to be found in every order.
const FINDINGS_MAX: usize = 1_000;

/// The invariants. Their numbers are used in documents and reports and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[allow(missing_docs, reason = "`says` has the words")]
pub enum Invariant {
    I1,
    I2,
    I3,
    I4,
    I5,
    I6,
    I7,
    I8,
    I9,
    I10,
    I11,
}

impl Invariant {
    /// All invariants, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I5,
        Self::I6,
        Self::I7,
        Self::I8,
        Self::I9,
        Self::I10,
        Self::I11,
    ];

    /// The invariant in words. docs/VERIFY.md begins its rows with the same.
    #[must_use]
    pub fn says(self) -> &'static str {
        match self {
            Self::I1 => "sold and reserved units never exceed the received ones",
            Self::I2 => "acknowledged orders exist and only move forward",
            Self::I3 => "the provider's ledger agrees with the orders",
            Self::I4 => "an order has at most one capture, of its total",
            Self::I5 => "only unfinished orders hold reservations",
            Self::I6 => "every order ends, or waits to be resumed",
            Self::I7 => "requests with one key have one effect",
            Self::I8 => "the search index has the products of the catalogue",
            Self::I9 => "each stock and each cart is linearizable",
            Self::I10 => "no answer shows another customer's data",
            Self::I11 => "streams have no gaps, and checksums match",
        }
    }

    /// The sources that its check needs.
    fn needs(self) -> &'static str {
        match self {
            Self::I1 | Self::I5 | Self::I6 => "it takes a data directory or a running shop",
            Self::I2 => "it takes a history, a data directory or a running shop",
            Self::I3 | Self::I4 => "it takes the provider's ledger, with a history or a shop",
            Self::I7 | Self::I9 | Self::I10 => "it takes a history",
            Self::I8 | Self::I11 => "it takes a data directory",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{self:?}"))
    }
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Finding {
    pub invariant: Invariant,
    /// The order, product, stream or file.
    pub subject: String,
    /// What is wrong, with the values.
    pub what: String,
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How much was read: orders, products, batches.
    pub looked_at: BTreeMap<&'static str, u64>,
    /// The invariants that were checked, if only in part.
    pub checked: BTreeSet<Invariant>,
    /// The invariants that were not checked, or only in part, and why.
    pub left_open: Vec<(Invariant, String)>,
    /// The checks that exceeded the checker's limits: undecided, not passed.
    pub undecided: Vec<(Invariant, String)>,
    /// The broken invariants.
    pub findings: Vec<Finding>,
    /// The number of findings, kept or not.
    pub found: u64,
}

impl Report {
    /// Counts what is read.
    pub(super) fn look(&mut self, what: &'static str, count: usize) {
        *self.looked_at.entry(what).or_default() += count as u64;
    }

    pub(super) fn check(&mut self, invariant: Invariant) {
        self.checked.insert(invariant);
    }

    pub(super) fn leave_open(&mut self, invariant: Invariant, why: impl Into<String>) {
        self.left_open.push((invariant, why.into()));
    }

    pub(super) fn find(&mut self, invariant: Invariant, subject: impl fmt::Display, what: impl Into<String>) {
        self.checked.insert(invariant);
        self.found += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { invariant, subject: subject.to_string(), what: what.into() });
        }
    }

    /// Adds the reason for every invariant that was not checked.
    pub(super) fn close(&mut self) {
        for invariant in Invariant::ALL {
            let named = |list: &[(Invariant, String)]| list.iter().any(|(of, _)| *of == invariant);
            if !self.checked.contains(&invariant) && !named(&self.left_open) && !named(&self.undecided) {
                self.leave_open(invariant, invariant.needs());
            }
        }
    }

    /// Whether no checked invariant is broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.found == 0 && self.undecided.is_empty()
    }

    /// The invariants that are broken.
    #[must_use]
    pub fn broken(&self) -> BTreeSet<Invariant> {
        self.findings.iter().map(|finding| finding.invariant).collect()
    }

    fn of(list: &[(Invariant, String)], invariant: Invariant) -> Vec<&str> {
        list.iter().filter(|(of, _)| *of == invariant).map(|(_, why)| why.as_str()).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let looked: Vec<String> = self.looked_at.iter().map(|(what, count)| format!("{count} {what}")).collect();
        writeln!(formatter, "looked at {}", if looked.is_empty() { "nothing".into() } else { looked.join(", ") })?;
        for invariant in Invariant::ALL {
            let broken = self.findings.iter().filter(|finding| finding.invariant == invariant).count();
            let (open, undecided) = (Self::of(&self.left_open, invariant), Self::of(&self.undecided, invariant));
            let verdict = match () {
                () if broken > 0 => format!("BROKEN, {broken} found"),
                () if !undecided.is_empty() => format!("NOT DECIDED: {}", undecided.join("; ")),
                () if self.checked.contains(&invariant) && open.is_empty() => "holds".into(),
                () if self.checked.contains(&invariant) => format!("holds; not looked at: {}", open.join("; ")),
                () if open.is_empty() => "not checked".into(),
                () => format!("not checked: {}", open.join("; ")),
            };
            writeln!(formatter, "{invariant:<4} {:<55} {verdict}", invariant.says())?;
        }
        for Finding { invariant, subject, what } in &self.findings {
            writeln!(formatter, "{invariant:<4} {subject}: {what}")?;
        }
        let more = self.found - self.findings.len() as u64;
        if more > 0 {
            writeln!(formatter, "and {more} more")?;
        }
        let (found, undecided) = (self.found, self.undecided.len());
        match (found, undecided) {
            (0, 0) => write!(formatter, "nothing wrong was found"),
            (0, _) => write!(formatter, "nothing wrong was found, {undecided} not decided"),
            _ => write!(formatter, "{found} found"),
        }
    }
}
