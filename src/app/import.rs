//! Brings catalogue files into a shop, this process's or a running one: a thread reads a file as a stream, many rows
//! are on their way at once, and the refused ones are reported.
//!
//! Rows end in any order. Whatever ends an import, it says the line up to which every row is taken or reported, and a
//! second import may begin there, or at the beginning: a row that is taken twice changes nothing the second time.
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

/// How many rows are on their way at once in this process. They share syncs of the log, so more of them means fewer
/// syncs.
const ROWS_AT_ONCE: usize = 512;
/// How many rows are read ahead of those that are on their way.
const READ_AHEAD: usize = 64;
/// How many times the running shop hears of a client that is still reading in the time that it would wait.
const BEATS: u32 = 4;
/// How long rows on their way are waited for when an import is to stop.
const STOP_MAX: Duration = Duration::from_secs(10);

/// What an import came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// What changed, and what was already so.
    pub imported: Imported,
    /// Rows that were refused.
    pub bad: u64,
}

/// Where rows go.
pub enum Rows {
    /// Into a shop of this process.
    Here(LocalRows),
    /// Into the shop that runs on a data directory.
    Running(Box<RemoteRows>),
}

/// Rows on their way into a shop of this process.
pub struct LocalRows {
    shop: Shop,
    terms: Terms,
    rows: FuturesUnordered<BoxFuture<'static, (u64, RowResult)>>,
}

/// What is to be imported.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The file.
    pub path: &'a Path,
    /// What the user says of it.
    pub options: Options<'a>,
    /// The first line to import; earlier rows are passed over.
    pub from_line: u64,
}

/// What happens during an import, for whoever watches it.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A row was refused.
    Refused {
        /// Its line.
        line: u64,
        /// Why.
        reason: &'a str,
    },
    /// Something in a row looks like a mistake; it is taken unless it is also refused.
    Warned {
        /// Its line.
        line: u64,
        /// What.
        reason: &'a str,
    },
    /// Some more is done.
    Progress {
        /// How many bytes of the file are read.
        bytes_read: u64,
        /// How many it has.
        bytes: u64,
        /// What came of the rows so far.
        summary: &'a Summary,
    },
}

/// How an import ended.
#[derive(Debug)]
pub struct Outcome {
    /// What came of the rows.
    pub summary: Summary,
    /// Why it ended before the end of the file, if it did.
    pub stopped: Option<Stopped>,
}

/// An import that ended before the end of its file.
#[derive(Debug, thiserror::Error)]
#[error("stopped: {cause}. All rows before line {line} are taken or reported; --from-line {line} goes on there")]
pub struct Stopped {
    /// The first line whose row may not be taken.
    pub line: u64,
    /// Why it stopped.
    #[source]
    pub cause: StopCause,
}

/// Why an import stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopCause {
    /// The caller wanted it.
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
    Open {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
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

    /// How long the shop may hear nothing of the import.
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

    /// What came of the next row that ends; `None` where none is on its way.
    async fn next(&mut self) -> Option<Result<(u64, RowResult), ControlError>> {
        match self {
            Self::Here(local) => local.rows.next().await.map(Ok),
            Self::Running(remote) => remote.next().await,
        }
    }
}

/// An import of one file under way.
struct Import<'a, W> {
    rows: &'a mut Rows,
    watch: W,
    summary: Summary,
    /// How many rows of each line are on their way, or came back unfinished.
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

/// A row as the reader hands it out.
struct ReadRow {
    line: u64,
    row: Result<Row, RowError>,
    warnings: Vec<(u64, RowWarning)>,
    /// What its products keep where it does not state it.
    keep: Vec<Kept>,
    /// Where a second reading may begin once this row is taken.
    next_line: u64,
    bytes_read: u64,
}

/// Reads the rows from the first that is wanted on, in a thread: a pipe may be slow, and to decode a large file takes a
/// while, in which rows that are on their way must end.
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
    /// Sends a row on its way, or reports it.
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
                    // A row of which nobody knows is where the next import begins.
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

    /// Lets the running shop know that the file is still being read.
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

/// Puts entries into the shop that need no reading: a demo's.
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
