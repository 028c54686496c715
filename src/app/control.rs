//! The operator's line to a running shop: a Unix socket in the data directory, for whoever may read that directory
//! anyway.
//!
//! `souk backup` and `souk compact` use it, so that they are the same commands whether the shop runs or not. One
//! request as a line of JSON; the answers are lines of JSON too, progress first, the outcome last.
//!
//! May depend on `shop` and `storage`.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
};

use crate::{
    shop::{Shop, upkeep::Backup},
    storage::{Compacted, CopyProgress},
};

/// Only its owner may enter the directory that the socket is in.
const MODE_DIRECTORY: u32 = 0o700;
/// The longest line, in bytes: a path and a word.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// How many requests are served at once: they are slow on purpose, and one operator needs one.
const CALLERS_MAX: usize = 4;
/// How many reports of progress wait for a slow reader; more are left out.
const REPORTS_MAX: usize = 16;

/// What an operator asks of a running shop.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Take a base and remove what it replaces.
    Compact,
    /// Copy the shop into this directory, which must not exist.
    Backup {
        /// An absolute path.
        to: PathBuf,
    },
}

/// What comes of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// A copy is under way.
    Copying {
        /// Bytes copied so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The log was compacted.
    Compacted {
        /// Where the log goes on after the base.
        position: u64,
        /// The length of the base, in bytes.
        base_bytes: u64,
        /// The length of the log that is kept, in bytes.
        log_bytes: u64,
        /// How many segments were removed.
        segments_removed: u64,
    },
    /// The backup is complete.
    BackedUp(Backup),
    /// It could not be done.
    Failed(String),
}

impl From<Compacted> for Report {
    fn from(compacted: Compacted) -> Self {
        let Compacted { position, base_bytes, log_bytes, segments_removed } = compacted;
        Self::Compacted { position: position.0, base_bytes, log_bytes, segments_removed }
    }
}

fn socket(data: &Path) -> PathBuf {
    data.join("control").join("souk.sock")
}

/// Serves requests until it is dropped. The caller has the data directory to itself.
///
/// # Errors
/// The socket cannot be made, for instance because its path is too long.
pub async fn listen(shop: Shop) -> io::Result<()> {
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
    let places = Arc::new(Semaphore::new(CALLERS_MAX));
    loop {
        let (stream, _) = listener.accept().await?;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let shop = shop.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(&shop, stream).await {
                tracing::warn!(%error, "an operator's request was not answered");
            }
            drop(place);
        });
    }
}

async fn answer(shop: &Shop, stream: UnixStream) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    let (sender, mut reports) = mpsc::channel(REPORTS_MAX);
    let outcome = async {
        match serde_json::from_str(&line) {
            Ok(request) => serve(shop, request, move |report| drop(sender.try_send(report))).await,
            Err(error) => Report::Failed(format!("not a request: {error}")),
        }
    };
    tokio::pin!(outcome);
    let last = loop {
        tokio::select! {
            last = &mut outcome => break last,
            Some(report) = reports.recv() => write.write_all(&line_of(&report)).await?,
        }
    };
    write.write_all(&line_of(&last)).await
}

/// Does what was asked, on this shop.
pub async fn serve(shop: &Shop, request: Request, report: impl Fn(Report) + Send + 'static) -> Report {
    match request {
        Request::Compact => shop.compact().await.map_or_else(|error| Report::Failed(error.to_string()), Report::from),
        Request::Backup { to } if !to.is_absolute() => Report::Failed(format!("{} is not absolute", to.display())),
        Request::Backup { to } => {
            let progress = move |CopyProgress { done, total }| report(Report::Copying { done, total });
            shop.backup(&to, progress).await.map_or_else(|error| Report::Failed(error.to_string()), Report::BackedUp)
        }
    }
}

fn line_of(report: &Report) -> Vec<u8> {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Asks the shop that runs on this data directory; `None` where none does. The last report is the outcome.
///
/// # Errors
/// The line broke.
pub async fn ask(data: &Path, request: &Request, mut report: impl FnMut(Report)) -> io::Result<Option<Report>> {
    let stream = match UnixStream::connect(socket(data)).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let (read, mut write) = stream.into_split();
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line)? {
            copying @ Report::Copying { .. } => report(copying),
            outcome => return Ok(Some(outcome)),
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}
