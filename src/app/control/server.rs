//! Server of the control socket: it checks who may use it, and limits how many commands are served at once and how long
//! they may take.
//!
//! Bulk rows give way to shoppers: an import has few rows in progress at a time, one task handles all of them, and a
//! row whose product is too busy waits ([`Shop::import_products`]).
//!
//! May depend on `shop`, `storage` and `catalogue`.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
    time::{Interval, MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    frames::{self, FRAME_BYTES_MAX, Incoming, Outgoing},
    message::{Report, Request, RowRequest, Upkeep},
    socket,
};
use crate::{
    app::{
        export::Export,
        failure::{Failure, FailureKind},
        rows,
    },
    config::layout::{DIRECTORY_MODE, FILE_MODE},
    shop::{
        Shop,
        import::{SetStock, Terms},
    },
    storage::CopyProgress,
};

/// How many reports of progress wait for a slow client; more are dropped.
const REPORTS_MAX: usize = 16;
/// How many bytes of an export are sent in one message, and at most one line more.
const PIECE_BYTES: usize = 1024 * 1024;
/// How long commands that are being served may take to end when the shop stops.
const STOP_MAX: Duration = Duration::from_secs(10);

/// How much of a running shop the operators' commands may use.
#[derive(Debug, Clone, Copy)]
pub struct ControlLimits {
    /// How many commands are served at once. One operator needs one, and a nightly job another.
    pub commands_max: usize,
    /// How many rows of one import are in progress at once. They share syncs of the journal with the shoppers'
    /// requests, of which 32 more are not noticed.
    pub rows_max: usize,
    /// How long a client may take to read an answer: an operator who pages through an export takes minutes.
    pub write_max: Duration,
    /// How long a client may be silent while nothing of it is in progress.
    pub idle_max: Duration,
    /// How often a client that waits is told that its command is in progress.
    pub beat: Duration,
}

impl Default for ControlLimits {
    fn default() -> Self {
        let (write_max, idle_max) = (Duration::from_secs(300), Duration::from_secs(120));
        Self { commands_max: 4, rows_max: 32, write_max, idle_max, beat: Duration::from_secs(5) }
    }
}

/// The bound socket, which does not serve yet.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    limits: ControlLimits,
}

impl Control {
    /// Makes the socket of a shop, whose process has the data directory to itself.
    ///
    /// # Errors
    /// The socket cannot be made, for instance because its path is too long.
    pub fn bind(shop: &Shop, limits: ControlLimits) -> io::Result<Self> {
        let path = socket(&shop.config().data_dir);
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
        }
        // The socket of an earlier process: nobody listens there, because this process holds the directory's lock.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        // Whoever can use the socket is the operator.
        fs::set_permissions(&path, Permissions::from_mode(FILE_MODE))?;
        Ok(Self { listener, limits })
    }

    /// Serves commands until `stop`; then takes no more rows, and returns when those in progress have ended.
    pub async fn serve(self, shop: Shop, stop: CancellationToken) {
        let permits = Arc::new(Semaphore::new(self.limits.commands_max));
        let sessions = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "an operator's connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let permit = Arc::clone(&permits).try_acquire_owned();
            let session = Session::new(shop.clone(), stream, self.limits, stop.clone());
            sessions.spawn(async move {
                let served = match permit {
                    Ok(_place) => session.serve().await,
                    Err(_) => session.refuse().await,
                };
                if let Err(error) = served {
                    tracing::warn!(%error, "an operator's command ended early");
                }
            });
        }
        drop(self.listener);
        sessions.close();
        if timeout(STOP_MAX, sessions.wait()).await.is_err() {
            tracing::warn!("an operator's command is cut off");
        }
    }
}

/// One connection, for one command.
struct Session {
    shop: Shop,
    incoming: Incoming,
    outgoing: Outgoing,
    limits: ControlLimits,
    stop: CancellationToken,
}

impl Session {
    fn new(shop: Shop, stream: UnixStream, limits: ControlLimits, stop: CancellationToken) -> Self {
        let (incoming, outgoing) = frames::of(stream, limits.write_max);
        Self { shop, incoming, outgoing, limits, stop }
    }

    async fn refuse(mut self) -> io::Result<()> {
        self.outgoing.send(&Report::Busy).await
    }

    async fn serve(mut self) -> io::Result<()> {
        let request = match timeout(self.limits.idle_max, self.incoming.next()).await {
            Ok(Ok(Some((request, _)))) => request,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return self.outgoing.send(&Report::Failed(Failure::of(&error))).await,
            Err(_) => return Err(silent()),
        };
        self.outgoing.send(&Report::Working).await?;
        match request {
            Request::Export => self.export().await,
            Request::Import { seller, set_stock, dry_run } => self.import(seller, set_stock, dry_run).await,
            Request::Upkeep(upkeep) => self.upkeep(upkeep).await,
        }
    }

    /// Takes a backup or compacts the log. A command that has begun keeps its permit until it ends, even if its client
    /// is gone: it goes on reading and writing files.
    async fn upkeep(mut self, request: Upkeep) -> io::Result<()> {
        let (sender, mut reports) = mpsc::channel(REPORTS_MAX);
        let outcome = upkeep(&self.shop, request, move |report| drop(sender.try_send(report)));
        tokio::pin!(outcome);
        let mut beats = beats(self.limits);
        let mut has_client = true;
        let last = loop {
            let report = tokio::select! {
                last = &mut outcome => break last,
                Some(report) = reports.recv(), if has_client => report,
                _ = beats.tick(), if has_client => Report::Working,
            };
            has_client = self.outgoing.send(&report).await.is_ok();
        };
        self.outgoing.send(&last).await
    }

    /// Sends the catalogue, never more than one part ahead of what the client has read.
    async fn export(mut self) -> io::Result<()> {
        let mut export = match Export::new(&self.shop).await {
            Ok(export) => export,
            Err(error) => return self.outgoing.send(&Report::Failed(Failure::of(&error))).await,
        };
        let mut beats = beats(self.limits);
        let last = loop {
            let lines = {
                let next = export.next_lines();
                tokio::pin!(next);
                loop {
                    tokio::select! {
                        lines = &mut next => break lines,
                        _ = beats.tick() => self.outgoing.send(&Report::Working).await?,
                    }
                }
            };
            match lines {
                _ if self.stop.is_cancelled() => break Report::Failed(stopping()),
                Ok(Some(lines)) => {
                    for piece in pieces(&lines) {
                        self.outgoing.send(&Report::Lines(piece.to_owned())).await?;
                    }
                }
                Ok(None) => break Report::Exported { products: export.products() },
                Err(error) => break Report::Failed(Failure::of(&error)),
            }
        };
        self.outgoing.send(&last).await
    }

    /// Imports rows until the client closes the connection. A row that has begun is finished even if the client is
    /// gone.
    async fn import(mut self, seller: Option<String>, set_stock: SetStock, dry_run: bool) -> io::Result<()> {
        let by = match rows::importer(&self.shop, seller.as_deref()).await {
            Ok(by) => by,
            Err(error) => return self.outgoing.send(&Report::Failed(error)).await,
        };
        let terms = Terms { by, set_stock, dry_run };
        let rows_max = self.limits.rows_max;
        let idle_ms_max = u64::try_from(self.limits.idle_max.as_millis()).unwrap_or(u64::MAX);
        self.outgoing.send(&Report::Ready { rows_max, idle_ms_max }).await?;
        let mut beats = beats(self.limits);
        let mut rows = FuturesUnordered::new();
        let mut bytes_on_their_way = 0;
        let end = loop {
            let has_room = rows.len() < rows_max && bytes_on_their_way < FRAME_BYTES_MAX;
            tokio::select! {
                Some((number, bytes, result)) = rows.next() => {
                    bytes_on_their_way -= bytes;
                    if let Err(error) = self.outgoing.send(&Report::Row { number, result }).await {
                        break Err(error);
                    }
                }
                received = self.incoming.next::<RowRequest>(), if has_room => match received {
                    Ok(Some((RowRequest::Reading, _))) => {}
                    Ok(Some((RowRequest::Row { number, keep, row }, bytes))) => {
                        bytes_on_their_way += bytes;
                        let shop = &self.shop;
                        rows.push(async move { (number, bytes, rows::take(shop, terms, row, keep).await) });
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break self.outgoing.send(&Report::Failed(Failure::of(&error))).await,
                },
                _ = beats.tick(), if !rows.is_empty() => {
                    if let Err(error) = self.outgoing.send(&Report::Working).await {
                        break Err(error);
                    }
                }
                () = self.stop.cancelled() => break Ok(()),
                () = tokio::time::sleep(self.limits.idle_max), if rows.is_empty() => break Err(silent()),
            }
        };
        while let Some((number, _, result)) = rows.next().await {
            // If the client is gone, the rows are imported all the same.
            let _ = self.outgoing.send(&Report::Row { number, result }).await;
        }
        if self.stop.is_cancelled() {
            self.outgoing.send(&Report::Failed(stopping())).await?;
        }
        end
    }
}

/// The answer to a client when the shop is stopped meanwhile.
fn stopping() -> Failure {
    Failure { reason: "the shop is stopping".to_owned(), kind: FailureKind::Temporary }
}

/// Ticks when a client that waits is to be told that its command is in progress.
fn beats(limits: ControlLimits) -> Interval {
    let mut beats = interval(limits.beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

/// Cuts the lines of an export into pieces that fit into a message: a product with its variants may be longer.
fn pieces(lines: &str) -> impl Iterator<Item = &str> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let mut end = 0;
        for line in rest.split_inclusive('\n') {
            if end >= PIECE_BYTES {
                break;
            }
            end += line.len();
        }
        let (piece, others) = rest.split_at(end);
        rest = others;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client is silent")
}

/// Compacts the log or takes a backup, as `request` says.
pub async fn upkeep(shop: &Shop, request: Upkeep, report: impl Fn(Report) + Send + 'static) -> Report {
    match request {
        Upkeep::Compact => shop.compact().await.map_or_else(failed, Report::from),
        Upkeep::Backup { to } if !to.is_absolute() => {
            Report::Failed(Failure { reason: format!("{} is not absolute", to.display()), kind: FailureKind::Usage })
        }
        Upkeep::Backup { to } => {
            let progress = move |CopyProgress { done, total }| report(Report::Copying { done, total });
            shop.backup(&to, progress).await.map_or_else(failed, Report::BackedUp)
        }
    }
}

fn failed(error: impl std::error::Error + 'static) -> Report {
    Report::Failed(Failure::of(&error))
}
