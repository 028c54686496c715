//! Imports catalogue files into a shop of this process or into a running one: a thread reads a file as a stream, many
//! rows are in progress at once, and refused rows are reported.
//!
//! Rows end in any order. Whatever ends an import, it says the line up to which every row is imported or reported. A
//! second import may begin there, or at the beginning: a row that is imported twice changes nothing the second time.
//!
//! May depend on `shop`, `catalogue` and `domain`.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    fmt, io,
    path::Path,
    thread::{self, JoinHandle},
    time::Duration,
};

use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use tokio::{
    sync::mpsc,
    time::{Instant, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub use super::rows::importer;
use super::{
    control::client::{ControlError, RemoteRows},
    failure::Failure,
    rows::{self, Refusal, RowResult},
};
use crate::{
    catalogue::{
        entry::{Entry, Row},
        error::{RowError, RowWarning},
        read::{Options, Reader},
    },
    domain::product::{Editor, Kept},
    shop::{
        Error, Shop,
        import::{Imported, SetStock, Terms},
    },
};

/// How many rows are in progress at once in this process. They share syncs of the log, so more of them means fewer
/// syncs.
const ROWS_AT_ONCE: usize = 512;
/// How many rows are read ahead of those in progress.
const READ_AHEAD: usize = 64;
/// How many times the client sends a keep-alive message within the time after which the running shop gives it up.
const BEATS: u32 = 4;
/// How long an import that is to stop waits for the rows in progress.
const STOP_MAX: Duration = Duration::from_secs(10);

/// The result of an import, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// What changed, and what was already so.
    pub imported: Imported,
    /// Rows that were refused.
    pub bad: u64,
}

/// The shop that an import writes to.
pub enum Rows {
    /// A shop of this process.
    Here(LocalRows),
    /// The shop that runs on a data directory in another process.
    Running(Box<RemoteRows>),
}

/// Rows in progress in a shop of this process.
pub struct LocalRows {
    shop: Shop,
    terms: Terms,
    rows: FuturesUnordered<BoxFuture<'static, (u64, RowResult)>>,
}

/// What is to be imported.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Where the file is.
    pub path: &'a Path,
    /// What the user says of the file: its layout, currency and encoding.
    pub options: Options<'a>,
    /// The first line to import; earlier rows are skipped.
    pub from_line: u64,
}

/// What happens during an import, for whoever watches it.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The row on this line was refused.
    #[allow(missing_docs, reason = "the names say it")]
    Refused { line: u64, reason: &'a str },
    /// Something in the row on this line looks like a mistake; the row is imported unless it is also refused.
    #[allow(missing_docs, reason = "the names say it")]
    Warned { line: u64, reason: &'a str },
    /// How far the import is.
    Progress {
        /// How many bytes of the file are read.
        bytes_read: u64,
        /// How many bytes the file has.
        bytes: u64,
        /// The result of the rows so far.
        summary: &'a Summary,
    },
}

/// How an import ended.
#[derive(Debug)]
pub struct Outcome {
    /// The result of the rows that were imported or refused.
    pub summary: Summary,
    /// Why it ended before the end of the file, if it did.
    pub stopped: Option<Stopped>,
}

/// An import that ended before the end of its file.
#[derive(Debug, thiserror::Error)]
#[error("stopped: {cause}. All rows before line {line} are taken or reported; --from-line {line} goes on there")]
pub struct Stopped {
    /// The first line whose row may not have been imported.
    pub line: u64,
    /// What stopped the import.
    #[source]
    pub cause: StopCause,
}

/// Why an import stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopCause {
    /// The caller interrupted it.
    #[error("interrupted")]
    Interrupted,
    /// The shop cannot be written to any more.
    #[error("{0}")]
    Fault(#[source] Failure),
    /// The running shop is gone, or has refused to go on.
    #[error("{0}")]
    Control(#[from] ControlError),
}

/// Why an import did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    #[allow(missing_docs, reason = "the names say it")]
    Open { path: String, source: io::Error },
    /// The shop cannot be written to.
    #[error(transparent)]
    Shop(#[from] Error),
    /// A product of the demo is refused.
    #[error("{0}")]
    Refused(String),
}

impl LocalRows {
    /// An import into this shop.
    #[must_use]
    pub fn new(shop: Shop, terms: Terms) -> Self {
        Self { shop, terms, rows: FuturesUnordered::new() }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Here(_) => "Rows::Here",
            Self::Running(_) => "Rows::Running",
        })
    }
}

impl Rows {
    fn rows_max(&self) -> usize {
        match self {
            Self::Here(_) => ROWS_AT_ONCE,
            Self::Running(remote) => remote.rows_max(),
        }
    }

    /// How long the import may send nothing before the shop gives it up.
    fn idle_max(&self) -> Duration {
        match self {
            Self::Here(_) => Duration::from_secs(3600),
            Self::Running(remote) => remote.idle_max(),
        }
    }

    async fn begin(&mut self, line: u64, row: Row, keep: Vec<Kept>) -> Result<(), ControlError> {
        match self {
            Self::Here(LocalRows { shop, terms, rows }) => {
                let (shop, terms) = (shop.clone(), *terms);
                rows.push(Box::pin(async move { (line, rows::take(&shop, terms, row, keep).await) }));
                Ok(())
            }
            Self::Running(remote) => remote.begin(line, row, keep).await,
        }
    }

    /// The result of the next row that ends; `None` if no row is in progress.
    async fn next(&mut self) -> Option<Result<(u64, RowResult), ControlError>> {
        match self {
            Self::Here(local) => local.rows.next().await.map(Ok),
            Self::Running(remote) => remote.next().await,
        }
    }
}

/// An import of one file in progress.
struct Import<'a, W> {
    rows: &'a mut Rows,
    watch: W,
    summary: Summary,
    /// How many rows of each line are in progress, or came back unfinished.
    unfinished: BTreeMap<u64, usize>,
    /// Reports of rows by line and number, which wait until all rows before them have ended, so that they are in the
    /// file's order.
    reports: BTreeSet<(u64, u64, Report)>,
    /// How many reports there were.
    reports_made: u64,
    on_their_way: usize,
    /// Where a second import may begin, apart from the rows that are unfinished.
    next_line: u64,
    bytes_read: u64,
    stopped: Option<StopCause>,
}

/// What is reported of a row.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Report {
    Warned(String),
    Refused(String),
}

/// Imports a file. Each refused row is reported with its line and reason through `watch`, and the rest is imported.
/// Once `stop` is cancelled, no further row is begun.
///
/// # Errors
/// The file cannot be opened.
pub async fn import_file(
    rows: &mut Rows,
    source: Source<'_>,
    stop: &CancellationToken,
    watch: impl FnMut(Event<'_>),
) -> Result<Outcome, ImportError> {
    let opening = |error| ImportError::Open { path: source.path.display().to_string(), source: error };
    let bytes = std::fs::metadata(source.path).map_err(opening)?.len();
    let (reader, mut read) = read_ahead(source).map_err(opening)?;
    let mut reader = Some(reader);
    let mut keep_alive = interval((rows.idle_max() / BEATS).max(Duration::from_millis(1)));
    let mut import = Import {
        rows,
        watch,
        summary: Summary::default(),
        unfinished: BTreeMap::new(),
        reports: BTreeSet::new(),
        reports_made: 0,
        on_their_way: 0,
        next_line: source.from_line,
        bytes_read: 0,
        stopped: None,
    };
    let mut at_end = false;
    let mut stop_at = None;
    loop {
        if stop.is_cancelled() && !at_end {
            import.stopped.get_or_insert(StopCause::Interrupted);
        }
        at_end |= import.stopped.is_some();
        if at_end && import.on_their_way == 0 {
            break;
        }
        tokio::select! {
            row = read.recv(), if !at_end && import.has_room() => match row {
                Some(row) => import.begin(row.map_err(opening)?).await,
                None => {
                    at_end = true;
                    // The thread has ended: with the file, or because it panicked.
                    if let Some(Err(panic)) = reader.take().map(JoinHandle::join) {
                        std::panic::resume_unwind(panic);
                    }
                }
            },
            ended = import.rows.next(), if import.on_their_way > 0 => import.ended(ended),
            () = stop.cancelled(), if stop_at.is_none() => stop_at = Some(Instant::now() + STOP_MAX),
            () = sleep_until(stop_at.unwrap_or_else(Instant::now)), if stop_at.is_some() => break,
            _ = keep_alive.tick() => import.keep_alive().await,
        }
        import.show(bytes);
    }
    Ok(import.outcome())
}

/// A row that the reader thread has read.
struct ReadRow {
    line: u64,
    row: Result<Row, RowError>,
    warnings: Vec<(u64, RowWarning)>,
    /// What its products keep where it does not state it.
    keep: Vec<Kept>,
    /// The line at which a second import may begin once this row has ended.
    next_line: u64,
    bytes_read: u64,
}

/// Reads the rows from the first line of `source` on, in a thread: a pipe may be slow, and decoding a large file takes
/// a while, during which the rows in progress must be able to end.
fn read_ahead(source: Source<'_>) -> io::Result<(JoinHandle<()>, mpsc::Receiver<io::Result<ReadRow>>)> {
    let Source { path, options: Options { encoding, layout, currency }, from_line } = source;
    let (path, encoding) = (path.to_owned(), encoding.map(str::to_owned));
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let read = move || {
        let options = Options { encoding: encoding.as_deref(), layout, currency };
        let mut reader = match Reader::open(&path, options) {
            Ok(reader) => reader,
            Err(error) => return drop(sender.blocking_send(Err(error))),
        };
        while let Some((line, row)) = reader.next() {
            let (warnings, keep) = (reader.take_warnings(), reader.keep().to_vec());
            let (next_line, bytes_read) = (reader.next_line().max(from_line), reader.bytes_read());
            let row = ReadRow { line, row, warnings, keep, next_line, bytes_read };
            if line >= from_line && sender.blocking_send(Ok(row)).is_err() {
                return;
            }
        }
    };
    Ok((thread::Builder::new().name("catalogue-file".into()).spawn(read)?, receiver))
}

impl<W: FnMut(Event<'_>)> Import<'_, W> {
    /// Starts a row, or reports why it cannot be imported.
    async fn begin(&mut self, read: ReadRow) {
        let ReadRow { line, row, warnings, keep, next_line, bytes_read } = read;
        (self.next_line, self.bytes_read) = (next_line, bytes_read);
        for (line, warning) in warnings {
            self.keep(line, Report::Warned(warning.to_string()));
        }
        match row {
            Ok(row) => {
                *self.unfinished.entry(line).or_default() += 1;
                self.on_their_way += 1;
                if let Err(error) = self.rows.begin(line, row, keep).await {
                    self.stopped = Some(error.into());
                }
            }
            Err(error) => self.refuse(line, error.to_string()),
        }
    }

    fn has_room(&self) -> bool {
        self.on_their_way + self.reports.len() < self.rows.rows_max()
    }

    fn refuse(&mut self, line: u64, reason: String) {
        self.summary.bad += 1;
        self.keep(line, Report::Refused(reason));
        self.report();
    }

    /// Keeps a report until all rows before its row have ended.
    fn keep(&mut self, line: u64, report: Report) {
        self.reports_made += 1;
        self.reports.insert((line, self.reports_made, report));
    }

    /// Reports the rows before the first that has not ended.
    fn report(&mut self) {
        let all_before = self.unfinished.first_key_value().map_or(u64::MAX, |(line, _)| *line);
        while let Some((line, number, report)) = self.reports.pop_first() {
            if line >= all_before {
                self.reports.insert((line, number, report));
                return;
            }
            self.show_report(line, &report);
        }
    }

    fn show_report(&mut self, line: u64, report: &Report) {
        (self.watch)(match report {
            Report::Warned(reason) => Event::Warned { line, reason },
            Report::Refused(reason) => Event::Refused { line, reason },
        });
    }

    fn ended(&mut self, ended: Option<Result<(u64, RowResult), ControlError>>) {
        match ended {
            Some(Ok((line, result))) => {
                self.on_their_way -= 1;
                match result {
                    // Whether this row was imported is unknown, so the next import begins with it.
                    Err(Refusal { reason, fault: Some(kind) }) => {
                        self.stopped.get_or_insert(StopCause::Fault(Failure { reason, kind }));
                        return;
                    }
                    Err(Refusal { reason, fault: None }) => self.refuse(line, reason),
                    Ok(imported) => self.summary.imported = self.summary.imported.and(imported),
                }
                self.finish(line);
                self.report();
            }
            Some(Err(error)) => {
                self.stopped.get_or_insert(error.into());
                self.on_their_way = 0;
            }
            None => self.on_their_way = 0,
        }
    }

    fn finish(&mut self, line: u64) {
        if let btree_map::Entry::Occupied(mut rows) = self.unfinished.entry(line) {
            *rows.get_mut() -= 1;
            if *rows.get() == 0 {
                rows.remove();
            }
        }
    }

    /// Tells the running shop that the file is still being read.
    async fn keep_alive(&mut self) {
        if let Rows::Running(remote) = &mut *self.rows
            && self.on_their_way == 0
            && let Err(error) = remote.keep_alive().await
        {
            self.stopped.get_or_insert(error.into());
        }
    }

    fn show(&mut self, bytes: u64) {
        (self.watch)(Event::Progress { bytes_read: self.bytes_read, bytes, summary: &self.summary });
    }

    fn outcome(mut self) -> Outcome {
        for (line, _, report) in std::mem::take(&mut self.reports) {
            self.show_report(line, &report);
        }
        let line = self.unfinished.first_key_value().map_or(self.next_line, |(line, _)| self.next_line.min(*line));
        Outcome { summary: self.summary, stopped: self.stopped.map(|cause| Stopped { line, cause }) }
    }
}

/// Imports entries that come from no file: those of the demo catalogue.
///
/// # Errors
/// The first entry that the shop refuses.
pub async fn import_entries(
    shop: &Shop,
    entries: impl Iterator<Item = Entry>,
    by: Editor,
) -> Result<Imported, ImportError> {
    let terms = Terms { by, set_stock: SetStock::Once, dry_run: false };
    let taken = stream::iter(entries)
        .map(async |entry| rows::take(shop, terms, Row::Product(vec![entry]), Vec::new()).await)
        .buffer_unordered(ROWS_AT_ONCE);
    tokio::pin!(taken);
    let mut sum = Imported::default();
    while let Some(imported) = taken.next().await {
        sum = sum.and(imported.map_err(|refusal| ImportError::Refused(refusal.reason))?);
    }
    Ok(sum)
}
