//! The checker: does a shop keep the promises it lives by (`report` lists them)?
//!
//! ```text
//!  history file ─▶ History ─▶ placings ─▶ clients (orders, keys, owners)   ─┐
//!                                └─▶ objects ─▶ models ─▶ linear (I9)      ─┤
//!  provider's ledger ─▶ Ledger ─────────────────────────────────────────────┼─▶ Report
//!  a running shop ─▶ online ────┬─▶ Books (orders, stock, money, holds)    ─┤
//!  a data directory ─▶ offline ─┴─▶ log, state, search index               ─┘
//! ```
//!
//! One rule has one place, whatever it is checked on. Nothing here changes what it looks at.
//!
//! May depend on `search`, `actors` (records), `storage`, `payments` and `domain`.

mod answers;
mod books;
mod clients;
pub mod history;
mod ledger;
mod linear;
mod models;
mod objects;
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
use self::{books::Books, ledger::Ledger};

/// Why something could not be checked, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A file or directory cannot be read, or is not what it should be.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The shop cannot be reached.
    #[error("{url} cannot be reached: {problem}")]
    Unreachable {
        /// Its address.
        url: String,
        /// Why.
        problem: String,
    },
    /// The shop does not let the checker in, or answers something else than a shop does.
    #[error("{doing} gave {status}: {why}")]
    Refused {
        /// What was being done.
        doing: String,
        /// The status of the answer.
        status: u16,
        /// What it means.
        why: String,
    },
    /// The checker itself has failed.
    #[error("the check did not end: {0}")]
    Failed(String),
}

/// What is to be checked.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// What clients wrote down.
    pub history: Option<PathBuf>,
    /// The provider's ledger; of a data directory it is the simulated provider's unless given.
    pub ledger: Option<PathBuf>,
    /// The shop itself.
    pub shop: Source,
}

/// Where a shop is looked at.
#[derive(Debug, Clone, Default)]
pub enum Source {
    /// Nowhere: the history says what can be known.
    #[default]
    Nowhere,
    /// In its data directory; no process may have it.
    Directory(PathBuf),
    /// While it runs.
    Running(Access),
}

/// What came of a check.
#[derive(Debug)]
pub struct Verdict {
    /// What was found, as far as the check came.
    pub report: Report,
    /// Why it did not come to its end.
    pub stopped: Option<VerifyError>,
}

impl Verdict {
    /// Whether all of it was checked and nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.stopped.is_none() && self.report.is_clean()
    }
}

/// Checks a subject. What was found before a check had to stop is kept.
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
            // Without the shop the history still says something.
            if let (Err(_), Some(history)) = (&checked, &history) {
                let ledger = ledger.as_deref().map(Ledger::read).transpose()?;
                clients::check(history, ledger.as_ref(), None, report);
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
        clients::check(history, ledger.as_ref(), None, report);
    }
    Ok(())
}

fn directory(
    data: &Path,
    history: Option<&History>,
    ledger: Option<&Path>,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let own = data.join("simulated-provider.jsonl");
    let ledger = ledger.map(Path::to_owned).or_else(|| own.exists().then_some(own));
    let ledger = ledger.as_deref().map(Ledger::read).transpose()?;
    let books = offline::check(data, report);
    match (&books, history) {
        (Ok(Some(books)), history) => judge(books, history, ledger.as_ref(), report),
        // Without books the history still says something.
        (_, Some(history)) => clients::check(history, ledger.as_ref(), None, report),
        (_, None) => {}
    }
    books.map(|_| ())
}

/// Holds books against themselves, the ledger and the history.
fn judge(books: &Books, history: Option<&History>, ledger: Option<&Ledger>, report: &mut Report) {
    books.check(ledger, report);
    if let Some(history) = history {
        clients::check(history, ledger, Some(books), report);
    }
}
