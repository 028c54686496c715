//! Client of the control socket.
//!
//! May depend on `shop`, `storage`, `catalogue` and `domain`.

use std::{
    collections::VecDeque,
    io::{self, Write},
    path::Path,
    time::Duration,
};

use tokio::{
    net::UnixStream,
    time::{Instant, timeout_at},
};

use super::{
    frames::{self, FRAME_BYTES_MAX, Incoming, Outgoing},
    message::{Report, Request, RowRequest},
    socket,
};
use crate::{
    app::{
        failure::{Failure, FailureKind},
        rows::{Refusal, RowResult},
    },
    catalogue::entry::Row,
    domain::product::Kept,
    shop::import::SetStock,
};

/// How long the shop may take to read what is sent: a busy one makes rows wait.
const WRITE_MAX: Duration = Duration::from_secs(300);

/// How long the shop may be silent while it works for a client: it sends something every few seconds.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Why a running shop did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The connection broke; the command may have been executed or not.
    #[error("the connection to the running shop broke: {0}")]
    Broken(#[from] io::Error),
    /// The shop is already serving as many commands as it can.
    #[error("the running shop serves as many commands as it can; try again when one has ended")]
    Busy,
    /// It does not answer: its process is suspended, or its machine is overloaded.
    #[error("the running shop has been silent for {} seconds; what was under way may be done or not", .0.as_secs())]
    Silent(Duration),
    /// The shop refused the command.
    #[error("{0}")]
    Failed(#[source] Failure),
    /// The file of an export cannot be written.
    #[error("the catalogue file cannot be written: {0}")]
    Write(#[source] io::Error),
}

/// A connection to the shop that runs on a data directory.
pub struct Connection {
    incoming: Incoming,
    outgoing: Outgoing,
    silence_max: Duration,
    /// From this moment on the shop has been silent for too long.
    silent_at: Instant,
}

/// An import into a running shop.
pub struct RemoteRows {
    connection: Connection,
    rows_max: usize,
    idle_max: Duration,
    /// Answers that came in while rows were sent.
    ended: VecDeque<(u64, RowResult)>,
    on_their_way: usize,
}

impl Connection {
    /// Connects to the shop that runs on this data directory; `None` where none does.
    ///
    /// # Errors
    /// The socket may not be used.
    pub async fn open(data: &Path, silence_max: Duration) -> io::Result<Option<Self>> {
        let path = socket(data);
        match UnixStream::connect(&path).await {
            Ok(stream) => {
                let (incoming, outgoing) = frames::of(stream, WRITE_MAX);
                Ok(Some(Self { incoming, outgoing, silence_max, silent_at: Instant::now() + silence_max }))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            // A path that is too long for a socket, or another user's directory.
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }

    /// Sends a command that has one outcome, and returns it. Reports of progress go to `report`.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn ask(&mut self, request: &Request, mut report: impl FnMut(Report)) -> Result<Report, ControlError> {
        self.send(request).await?;
        loop {
            match self.next().await? {
                copying @ Report::Copying { .. } => report(copying),
                outcome => return Ok(outcome),
            }
        }
    }

    /// Writes the catalogue to `output`, and returns how many products were written.
    ///
    /// # Errors
    /// [`ControlError`], also where `output` fails; it is then incomplete.
    pub async fn export(&mut self, mut output: impl Write) -> Result<u64, ControlError> {
        self.send(&Request::Export).await?;
        loop {
            // Writing to a pager may have taken minutes.
            self.wait_from_now();
            match self.next().await? {
                Report::Lines(lines) => output.write_all(lines.as_bytes()).map_err(ControlError::Write)?,
                Report::Exported { products } => {
                    output.flush().map_err(ControlError::Write)?;
                    return Ok(products);
                }
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Begins an import.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn import(
        mut self,
        seller: Option<String>,
        set_stock: SetStock,
        dry_run: bool,
    ) -> Result<RemoteRows, ControlError> {
        match self.ask(&Request::Import { seller, set_stock, dry_run }, drop).await? {
            Report::Ready { rows_max, idle_ms_max } => {
                let idle_max = Duration::from_millis(idle_ms_max);
                Ok(RemoteRows { connection: self, rows_max, idle_max, ended: VecDeque::new(), on_their_way: 0 })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Restarts the time that the shop may be silent.
    fn wait_from_now(&mut self) {
        self.silent_at = Instant::now() + self.silence_max;
    }

    async fn send(&mut self, request: &Request) -> Result<(), ControlError> {
        self.wait_from_now();
        let Err(error) = self.outgoing.send(request).await else { return Ok(()) };
        // A shop that closes the connection without reading the command has sent the reason before.
        match self.next().await {
            Err(reason @ (ControlError::Busy | ControlError::Failed(_))) => Err(reason),
            Ok(_) | Err(_) => Err(error.into()),
        }
    }

    /// The next report other than `Working`. Cancel-safe.
    async fn next(&mut self) -> Result<Report, ControlError> {
        loop {
            let Ok(received) = timeout_at(self.silent_at, self.incoming.next()).await else {
                return Err(ControlError::Silent(self.silence_max));
            };
            self.wait_from_now();
            match received? {
                Some((Report::Working, _)) => {}
                Some((Report::Busy, _)) => return Err(ControlError::Busy),
                Some((Report::Failed(failure), _)) => return Err(ControlError::Failed(failure)),
                Some((report, _)) => return Ok(report),
                None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            }
        }
    }
}

impl RemoteRows {
    /// How many rows may be in progress at once.
    pub(crate) fn rows_max(&self) -> usize {
        self.rows_max
    }

    /// Sends a row. Answers that come in meanwhile are kept: a shop that cannot send its answers would take no rows.
    pub(crate) async fn begin(&mut self, number: u64, row: Row, keep: Vec<Kept>) -> Result<(), ControlError> {
        let request = serde_json::to_vec(&RowRequest::Row { number, keep, row }).map_err(io::Error::from)?;
        if self.on_their_way == 0 {
            self.connection.wait_from_now();
        }
        self.on_their_way += 1;
        if request.len() > FRAME_BYTES_MAX {
            let reason = format!(
                "with all its variants the row takes more than {FRAME_BYTES_MAX} bytes; import it while the shop is \
                 stopped"
            );
            self.ended.push_back((number, Err(Refusal { reason, fault: None })));
            return Ok(());
        }
        let Connection { incoming, outgoing, silence_max, silent_at } = &mut self.connection;
        let sent = outgoing.send_bytes(request);
        tokio::pin!(sent);
        let broken = loop {
            tokio::select! {
                sent = &mut sent => match sent {
                    Ok(()) => return Ok(()),
                    Err(error) => break error,
                },
                received = incoming.next() => {
                    self.ended.extend(row_of(received?.map(|(report, _)| report))?);
                    *silent_at = Instant::now() + *silence_max;
                }
            }
        };
        // A shop that closes the connection has sent answers before, and perhaps its reason.
        while let Ok(Some((report, _))) = incoming.next().await {
            self.ended.extend(row_of(Some(report))?);
        }
        Err(broken.into())
    }

    /// How long the client may send nothing while no row is in progress.
    pub(crate) fn idle_max(&self) -> Duration {
        self.idle_max
    }

    /// Tells the shop that more rows will come.
    pub(crate) async fn keep_alive(&mut self) -> Result<(), ControlError> {
        Ok(self.connection.outgoing.send(&RowRequest::Reading).await?)
    }

    /// The result of the next row that ends; `None` if no row is in progress.
    pub(crate) async fn next(&mut self) -> Option<Result<(u64, RowResult), ControlError>> {
        if self.on_their_way == 0 {
            return None;
        }
        loop {
            if let Some(ended) = self.ended.pop_front() {
                self.on_their_way -= 1;
                return Some(Ok(ended));
            }
            match self.connection.next().await.and_then(|report| row_of(Some(report))) {
                Ok(ended) => self.ended.extend(ended),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The result of a row; `None` for a report that the command is in progress.
fn row_of(report: Option<Report>) -> Result<Option<(u64, RowResult)>, ControlError> {
    match report {
        Some(Report::Row { number, result }) => Ok(Some((number, result))),
        Some(Report::Working) => Ok(None),
        Some(Report::Failed(failure)) => Err(ControlError::Failed(failure)),
        Some(other) => Err(unexpected(&other)),
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

fn unexpected(report: &Report) -> ControlError {
    let reason = format!("the running shop answered {report:?}; is it of the same version?");
    ControlError::Failed(Failure { reason, kind: FailureKind::Other })
}
