//! Brings catalogue files into a shop: streams them, shows progress, reports bad lines and goes on.
//!
//! May depend on `shop` and `catalogue`.

use std::{
    io::{IsTerminal, stderr},
    path::Path,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::{
    catalogue::{
        entry::{Change, Entry, Row},
        read::{Options, Reader},
    },
    domain::product::Editor,
    shop::{
        Error, Shop,
        import::{Imported, Listing, Refused, SetStock},
    },
};

/// How many rows are on their way at once. They share syncs of the log, so more of them means fewer syncs.
const ROWS_AT_ONCE: usize = 512;
/// How often progress is printed where there is no terminal, in seconds.
const REPORT_SECONDS: u64 = 5;

/// What an import came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// What changed, and what was already so.
    pub imported: Imported,
    /// Rows that were refused.
    pub bad: u64,
}

/// Who owns what is imported, what its stock means, and how the file is read.
#[derive(Debug, Clone, Copy)]
pub struct Mode<'a> {
    /// The owner of new products.
    pub editor: Editor,
    /// Whether stock counts once or always.
    pub set_stock: SetStock,
    /// What the user says of the file.
    pub file: Options<'a>,
    /// The first line to import; earlier rows are passed over.
    pub from_line: u64,
}

/// Why an import stopped.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Open {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The shop cannot be written to.
    #[error(transparent)]
    Shop(#[from] Error),
    /// The shop cannot be written to any more.
    #[error("stopped at line {line}: {reason}. All rows before it are imported; --from-line {line} goes on there")]
    Stopped {
        /// The first line that may not be imported.
        line: u64,
        /// Why.
        reason: Refused,
    },
}

/// Imports a file. Each bad line is reported with its number and reason through `report`, and the rest is imported.
///
/// # Errors
/// The file cannot be opened, or the shop cannot be written to (its disk is full, it has failed).
pub async fn import_file(
    shop: &Shop,
    path: &Path,
    mode: Mode<'_>,
    mut report: impl FnMut(u64, &str),
) -> Result<Summary, ImportError> {
    let opening = |error| ImportError::Open { path: path.display().to_string(), error };
    let bytes = std::fs::metadata(path).map_err(opening)?.len();
    let mut reader = Reader::open(path, mode.file).map_err(opening)?;
    let progress = Progress::new(bytes, path);
    let mut summary = Summary::default();
    let mut rows = FuturesUnordered::new();
    let mut at_end = false;
    loop {
        while !at_end && rows.len() < ROWS_AT_ONCE {
            match reader.next() {
                Some((line, _)) if line < mode.from_line => {}
                Some((line, Ok(mut row))) => {
                    let unpriced = reader.lacks_currency();
                    rows.push(async move {
                        if unpriced {
                            keep_prices(shop, &mut row).await;
                        }
                        (line, apply(shop, mode, row).await)
                    });
                }
                Some((line, Err(error))) => {
                    summary.bad += 1;
                    report(line, &error.to_string());
                }
                None => at_end = true,
            }
        }
        match rows.next().await {
            Some((_, Ok(imported))) => summary.add(imported),
            Some((line, Err(reason))) if reason.is_fault() => {
                // Rows end in any order: the first that has not ended is where to go on.
                let unfinished: Vec<u64> =
                    rows.filter_map(async |(line, end)| end.is_err().then_some(line)).collect().await;
                return Err(ImportError::Stopped { line: unfinished.into_iter().fold(line, u64::min), reason });
            }
            Some((line, Err(refused))) => {
                summary.bad += 1;
                report(line, &refused.to_string());
            }
            None => break,
        }
        progress.show(reader.bytes_read(), &summary);
    }
    progress.finish(&summary);
    Ok(summary)
}

/// Puts entries into the shop that need no reading: a demo's.
///
/// # Errors
/// The first entry that the shop refuses.
pub async fn import_entries(
    shop: &Shop,
    entries: impl Iterator<Item = Entry>,
    editor: Editor,
) -> Result<Summary, ImportError> {
    let mode = Mode { editor, set_stock: SetStock::Once, file: Options::default(), from_line: 0 };
    let progress = Progress::new(0, Path::new("demo catalogue"));
    let mut summary = Summary::default();
    let rows = entries.map(|entry| apply(shop, mode, Row::Product(vec![entry])));
    let mut rows = futures::stream::iter(rows).buffer_unordered(ROWS_AT_ONCE);
    while let Some(end) = rows.next().await {
        summary.add(end.map_err(|refused| refused.reason)?);
        progress.show(0, &summary);
    }
    progress.finish(&summary);
    Ok(summary)
}

/// Does what a row says.
async fn apply(shop: &Shop, mode: Mode<'_>, row: Row) -> Result<Imported, Refused> {
    match row {
        Row::Product(entries) => {
            let listing = |Entry { id, details, stock }| Listing { id, details, stock };
            let listings = entries.into_iter().map(listing).collect();
            shop.import_products(mode.editor, listings, mode.set_stock).await
        }
        Row::Change(Change { id, price, stock }) => shop.import_change(mode.editor, &id, price, stock).await,
    }
}

/// Gives products without a price the one that they have in the shop.
async fn keep_prices(shop: &Shop, row: &mut Row) {
    let Row::Product(entries) = row else { return };
    for entry in entries.iter_mut().filter(|entry| entry.details.price.is_none()) {
        if let Ok(page) = shop.product(&entry.id, None).await {
            entry.details.price = page.product.details.price;
        }
    }
}

impl Summary {
    fn add(&mut self, Imported { changed, already_so, stock_changed }: Imported) {
        self.imported.changed += changed;
        self.imported.already_so += already_so;
        self.imported.stock_changed += stock_changed;
    }
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    name: String,
    bytes: u64,
    reported_at: std::cell::Cell<Instant>,
}

impl Progress {
    fn new(bytes: u64, path: &Path) -> Self {
        let name = path.display().to_string();
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {elapsed}");
            let bar = ProgressBar::new(bytes).with_message(name.clone());
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, name, bytes, reported_at: std::cell::Cell::new(Instant::now()) }
    }

    fn show(&self, bytes_read: u64, summary: &Summary) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes_read);
            return;
        }
        if self.reported_at.get().elapsed() >= Duration::from_secs(REPORT_SECONDS) {
            self.reported_at.set(Instant::now());
            let percent = (bytes_read * 100).checked_div(self.bytes).unwrap_or(0);
            let products = summary.imported.changed + summary.imported.already_so;
            tracing::info!("{}: {products} products, {percent} %", self.name);
        }
    }

    fn finish(&self, summary: &Summary) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let Summary { imported: Imported { changed, already_so, stock_changed }, bad } = *summary;
        tracing::info!(
            "{}: {} changed, {} already so, stock of {} changed, {} bad",
            self.name,
            HumanCount(changed),
            HumanCount(already_so),
            HumanCount(stock_changed),
            HumanCount(bad)
        );
    }
}
