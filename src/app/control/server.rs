//! The shop's end of the line: who may use it, how many at once, and how long they may take.
//!
//! Bulk rows give way to shoppers: of an import few rows are on their way at a time, one task handles all of them, and
//! a row whose product is too busy waits ([`Shop::import_products`]).
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
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    frames::{self, FRAME_BYTES_MAX, Incoming, Outgoing},
    message::{Report, Request, RowRequest, Upkeep},
    socket,
};
use crate::{
    app::{export::Export, rows},
    shop::{
        Shop,
        import::{SetStock, Terms},
    },
    storage::CopyProgress,
};

/// Only its owner may enter the directory that the socket is in.
const MODE_DIRECTORY: u32 = 0o700;
/// Only its owner may use the socket: whoever can is the operator.
const MODE_SOCKET: u32 = 0o600;
/// How many reports of progress wait for a slow reader; more are left out.
const REPORTS_MAX: usize = 16;
/// How long commands that are being served may take to end when the shop stops.
const STOP_MAX: Duration = Duration::from_secs(10);

/// How much the operators' commands may take of a running shop.
#[derive(Debug, Clone, Copy)]
pub struct ControlLimits {
    /// How many commands are served at once. One operator needs one, and a nightly job another.
    pub commands_max: usize,
    /// How many rows of one import are on their way at once. They share syncs of the journal with the shoppers'
    /// requests, of which 32 more are not noticed.
    pub rows_max: usize,
    /// How long a client may take to read an answer: who pages through an export takes minutes, who is gone for ever.
    pub write_max: Duration,
    /// How long a client may be silent while nothing of it is under way.
    pub idle_max: Duration,
}

impl Default for ControlLimits {
    fn default() -> Self {
        let (write_max, idle_max) = (Duration::from_secs(300), Duration::from_secs(120));
        Self { commands_max: 4, rows_max: 32, write_max, idle_max }
    }
}

/// A socket on which nobody is answered yet.
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
            DirBuilder::new().recursive(true).mode(MODE_DIRECTORY).create(directory)?;
        }
        // What an earlier process left behind: nobody listens there, because the directory is ours.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(MODE_SOCKET))?;
        Ok(Self { listener, limits })
    }

    /// Serves commands until `stop`; then takes no more rows, and returns when those on their way have ended.
    pub async fn serve(self, shop: Shop, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.limits.commands_max));
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
            let place = Arc::clone(&places).try_acquire_owned();
            let session = Session::new(shop.clone(), stream, self.limits, stop.clone());
            sessions.spawn(async move {
                let served = match place {
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
            Ok(Err(error)) => return self.outgoing.send(&Report::Failed(error.to_string())).await,
            Err(_) => return Err(silent()),
        };
        match request {
            Request::Export => self.export().await,
            Request::Import { seller, set_stock, dry_run } => self.import(seller, set_stock, dry_run).await,
            Request::Upkeep(upkeep) => self.upkeep(upkeep).await,
        }
    }

    async fn upkeep(mut self, request: Upkeep) -> io::Result<()> {
        let (sender, mut reports) = mpsc::channel(REPORTS_MAX);
        let outcome = upkeep(&self.shop, request, move |report| drop(sender.try_send(report)));
        tokio::pin!(outcome);
        let last = loop {
            tokio::select! {
                last = &mut outcome => break last,
                Some(report) = reports.recv() => self.outgoing.send(&report).await?,
            }
        };
        self.outgoing.send(&last).await
    }

    /// Sends the catalogue, never more than one part ahead of what the client has read.
    async fn export(mut self) -> io::Result<()> {
        let mut export = match Export::new(&self.shop).await {
            Ok(export) => export,
            Err(error) => return self.outgoing.send(&Report::Failed(error.to_string())).await,
        };
        loop {
            let report = match export.next_lines().await {
                _ if self.stop.is_cancelled() => Report::Failed(STOPPING.to_owned()),
                Ok(Some(lines)) => Report::Lines(lines),
                Ok(None) => Report::Exported { products: export.products() },
                Err(error) => Report::Failed(error.to_string()),
            };
            self.outgoing.send(&report).await?;
            if !matches!(report, Report::Lines(_)) {
                return Ok(());
            }
        }
    }

    /// Takes rows until the client ends the connection. A row that has begun is taken to its end, whatever becomes of
    /// the client.
    async fn import(mut self, seller: Option<String>, set_stock: SetStock, dry_run: bool) -> io::Result<()> {
        let by = match rows::importer(&self.shop, seller.as_deref()).await {
            Ok(by) => by,
            Err(error) => return self.outgoing.send(&Report::Failed(error)).await,
        };
        let terms = Terms { by, set_stock, dry_run };
        let rows_max = self.limits.rows_max;
        self.outgoing.send(&Report::Ready { rows_max }).await?;
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
                    Ok(Some((RowRequest { number, keep_price, row }, bytes))) => {
                        bytes_on_their_way += bytes;
                        let shop = &self.shop;
                        rows.push(async move { (number, bytes, rows::take(shop, terms, row, keep_price).await) });
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break self.outgoing.send(&Report::Failed(error.to_string())).await,
                },
                () = self.stop.cancelled() => break Ok(()),
                () = tokio::time::sleep(self.limits.idle_max), if rows.is_empty() => break Err(silent()),
            }
        };
        while let Some((number, _, result)) = rows.next().await {
            // The client may be gone; the rows are taken all the same.
            let _ = self.outgoing.send(&Report::Row { number, result }).await;
        }
        if self.stop.is_cancelled() {
            self.outgoing.send(&Report::Failed(STOPPING.to_owned())).await?;
        }
        end
    }
}

/// What a client reads when the shop is stopped meanwhile.
const STOPPING: &str = "the shop is stopping";

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client is silent")
}

/// Does what was asked, on this shop.
pub async fn upkeep(shop: &Shop, request: Upkeep, report: impl Fn(Report) + Send + 'static) -> Report {
    match request {
        Upkeep::Compact => shop.compact().await.map_or_else(|error| Report::Failed(error.to_string()), Report::from),
        Upkeep::Backup { to } if !to.is_absolute() => Report::Failed(format!("{} is not absolute", to.display())),
        Upkeep::Backup { to } => {
            let progress = move |CopyProgress { done, total }| report(Report::Copying { done, total });
            shop.backup(&to, progress).await.map_or_else(|error| Report::Failed(error.to_string()), Report::BackedUp)
        }
    }
}
