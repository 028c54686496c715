//! The checker: does a shop keep its invariants (`report` lists them)?
//!
//! ```text
//!  history file ─▶ History ─▶ placings ─▶ history_checks (orders, keys)    ─┐
//!                                └─▶ linearizability ─▶ models, linear (I9) ─┤
//!  provider's ledger ─▶ Ledger ─────────────────────────────────────────────┼─▶ Report
//!  a running shop ─▶ online ────┬─▶ Observed (orders, stock, reservations)    ─┤
//!  a data directory ─▶ offline ─┴─▶ log, state, search index               ─┘
//! ```
//!
//! Each invariant is checked in one place, whatever the source. The checker changes nothing that it reads.
//!
//! May depend on `search`, `actors` (records), `storage`, `payments` and `domain`.

mod answers;
pub mod history;
mod history_checks;
mod ledger;
mod linear;
mod linearizability;
mod models;
mod observed;
mod offline;
mod online;
mod placings;
mod report;

use std::path::{Path, PathBuf};

pub use self::{
    answers::outcome,
    history::{History, HistoryError},
    online::{Access, Login},
    report::{Finding, Invariant, Report},
};
use self::{ledger::Ledger, observed::Observed};
use crate::{config::layout, storage::OpenError};

/// Why a check could not be made or completed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the names say it")]
pub enum VerifyError {
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A file or directory cannot be read, or is not what it should be.
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    /// No shop can have this address.
    #[error("{url} is no address of a shop: {problem}")]
    Address { url: String, problem: String },
    /// The journal cannot be read, or another process has it.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// There is no whole shop in the directory to check.
    #[error("{} shows that a restore was cut short: run `souk restore` again", .0.display())]
    UnfinishedRestore(PathBuf),
    /// The shop cannot be reached.
    #[error("{url} cannot be reached: {problem}")]
    Unreachable { url: String, problem: String },
    /// The shop refuses the checker, or answers as no shop does.
    #[error("{doing} gave {status}: {why}")]
    Refused { doing: String, status: u16, why: String },
    /// The checker itself has failed.
    #[error("the check did not end: {0}")]
    Failed(String),
}

/// The sources of a check.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// The file that clients wrote.
    pub history: Option<PathBuf>,
    /// The provider's ledger; by default that of the fake provider in the data directory.
    pub ledger: Option<PathBuf>,
    /// The shop itself.
    pub shop: Source,
}

/// How the shop is read.
#[derive(Debug, Clone, Default)]
pub enum Source {
    /// Not at all: only the history is checked.
    #[default]
    Nowhere,
    /// From its data directory, which no process may have open.
    Directory(PathBuf),
    /// Through its API.
    Running(Access),
}

/// The result of a check.
#[derive(Debug)]
pub struct Verdict {
    /// The findings, up to the point where the check stopped.
    pub report: Report,
    /// Why the check stopped early.
    pub stopped: Option<VerifyError>,
}

impl Verdict {
    /// Whether everything was checked and nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.stopped.is_none() && self.report.is_clean()
    }
}

/// Checks a subject. Findings from before a check stopped are kept.
pub async fn verify(subject: Subject) -> Verdict {
    let mut report = Report::default();
    let stopped = examine(subject, &mut report).await.err();
    report.close();
    Verdict { report, stopped }
}

async fn examine(subject: Subject, report: &mut Report) -> Result<(), VerifyError> {
    let Subject { history, ledger, shop } = subject;
    let history = history.map(|path| History::read(&path)).transpose()?;
    match shop {
        Source::Running(access) => {
            let checked = online::check(&access, history.as_ref(), ledger.as_deref(), report).await;
            // The history can be checked without the shop.
            if let (Err(_), Some(history)) = (&checked, &history) {
                let ledger = ledger.as_deref().map(Ledger::read).transpose()?;
                history_checks::check(history, ledger.as_ref(), None, report);
            }
            checked
        }
        shop => {
            let mut found = std::mem::take(report);
            let work = move || {
                let checked = match shop {
                    Source::Directory(data) => directory(&data, history.as_ref(), ledger.as_deref(), &mut found),
                    _ => alone(history.as_ref(), ledger.as_deref(), &mut found),
                };
                (found, checked)
            };
            let (found, checked) =
                tokio::task::spawn_blocking(work).await.map_err(|error| VerifyError::Failed(error.to_string()))?;
            *report = found;
            checked
        }
    }
}

fn alone(history: Option<&History>, ledger: Option<&Path>, report: &mut Report) -> Result<(), VerifyError> {
    let ledger = ledger.map(Ledger::read).transpose()?;
    if let Some(history) = history {
        history_checks::check(history, ledger.as_ref(), None, report);
    }
    Ok(())
}

fn directory(
    data: &Path,
    history: Option<&History>,
    ledger: Option<&Path>,
    report: &mut Report,
) -> Result<(), VerifyError> {
    // A directory that cannot be looked at is refused below.
    if let Ok(Some(file)) = layout::unfinished_restore(data) {
        return Err(VerifyError::UnfinishedRestore(file));
    }
    let own = data.join(layout::LEDGER);
    let ledger = ledger.map(Path::to_owned).or_else(|| own.exists().then_some(own));
    let ledger = ledger.as_deref().map(Ledger::read).transpose()?;
    let observed = offline::check(data, report);
    match (&observed, history) {
        (Ok(Some(observed)), history) => judge(observed, history, ledger.as_ref(), report),
        // The history can be checked without the shop.
        (_, Some(history)) => history_checks::check(history, ledger.as_ref(), None, report),
        (_, None) => {}
    }
    observed.map(|_| ())
}

/// Checks what the shop shows by itself, against the ledger and against the history.
fn judge(observed: &Observed, history: Option<&History>, ledger: Option<&Ledger>, report: &mut Report) {
    observed.check(ledger, report);
    if let Some(history) = history {
        history_checks::check(history, ledger, Some(observed), report);
    }
}
