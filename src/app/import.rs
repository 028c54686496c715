//! Brings catalogue files into a shop: streams them, shows progress, reports bad lines and goes on.
//!
//! May depend on `shop` and `catalogue`.

use std::{
    collections::HashSet,
    io::{IsTerminal, stderr},
    path::Path,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::{
    catalogue::{entry::Entry, read::Reader},
    domain::product::Editor,
    shop::{
        Error, Shop,
        catalogue::{Imported, SetStock},
    },
};

/// How many entries are on their way at once. They share syncs of the log, so more of them means fewer syncs.
const ENTRIES_AT_ONCE: usize = 512;
/// How often progress is printed where there is no terminal, in seconds.
const REPORT_SECONDS: u64 = 5;

/// What an import came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Products created or changed.
    pub changed: u64,
    /// Products that were there just like that.
    pub already_so: u64,
    /// Lines or products that were refused.
    pub bad: u64,
}

/// Who owns what is imported, and what its stock means.
#[derive(Debug, Clone, Copy)]
pub struct Mode {
    /// The owner of new products.
    pub editor: Editor,
    /// Whether stock counts once or always.
    pub set_stock: SetStock,
}

/// Imports a file. Each bad line is reported with its number and reason through `report`, and the rest is imported.
///
/// # Errors
/// The file cannot be opened, or the shop cannot be written to (its disk is full, it has failed).
pub async fn import_file(
    shop: &Shop,
    path: &Path,
    mode: Mode,
    mut report: impl FnMut(u64, &str),
) -> Result<Summary, ImportError> {
    let opening = |error| ImportError::Open { path: path.display().to_string(), error };
    let bytes = std::fs::metadata(path).map_err(opening)?.len();
    let mut reader = Reader::open(path).map_err(opening)?;
    let progress = Progress::new(bytes, path);
    let (mut summary, mut batch) = (Summary::default(), Batch::default());
    while let Some((line, row)) = reader.next() {
        match row {
            Ok(entries) => {
                // A later line about the same product must win, so it waits for the earlier one.
                if batch.names_any(&entries) || batch.entries.len() >= ENTRIES_AT_ONCE {
                    batch.put(shop, mode, &mut summary, &mut report).await?;
                }
                batch.add(line, entries);
            }
            Err(error) => {
                summary.bad += 1;
                report(line, &error.to_string());
            }
        }
        progress.show(reader.bytes_read(), &summary);
    }
    batch.put(shop, mode, &mut summary, &mut report).await?;
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
    mode: Mode,
) -> Result<Summary, ImportError> {
    let (mut summary, mut batch) = (Summary::default(), Batch::default());
    let progress = Progress::new(0, Path::new("demo catalogue"));
    for (number, entry) in (1..).zip(entries) {
        if batch.entries.len() >= ENTRIES_AT_ONCE {
            batch.put(shop, mode, &mut summary, &mut |_, _| {}).await?;
            progress.show(0, &summary);
        }
        batch.add(number, vec![entry]);
    }
    batch.put(shop, mode, &mut summary, &mut |_, _| {}).await?;
    progress.finish(&summary);
    Ok(summary)
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
}

#[derive(Default)]
struct Batch {
    entries: Vec<(u64, Entry)>,
    named: HashSet<String>,
}

impl Batch {
    fn names_any(&self, entries: &[Entry]) -> bool {
        entries.iter().any(|entry| self.named.contains(entry.id.as_str()))
    }

    fn add(&mut self, line: u64, entries: Vec<Entry>) {
        for entry in entries {
            self.named.insert(entry.id.to_string());
            self.entries.push((line, entry));
        }
    }

    async fn put(
        &mut self,
        shop: &Shop,
        mode: Mode,
        summary: &mut Summary,
        report: &mut impl FnMut(u64, &str),
    ) -> Result<(), ImportError> {
        self.named.clear();
        let puts = self.entries.drain(..).map(|(line, entry)| async move {
            let Entry { id, details, stock, .. } = entry;
            let put = shop.import_product(mode.editor, &id, details, stock, mode.set_stock).await;
            (line, id, put)
        });
        let mut puts = stream::iter(puts).buffer_unordered(ENTRIES_AT_ONCE);
        while let Some((line, id, put)) = puts.next().await {
            match put {
                Ok(Imported::Changed) => summary.changed += 1,
                Ok(Imported::AlreadySo) => summary.already_so += 1,
                Err(error @ (Error::NotDelivered(_) | Error::Unknown | Error::Fault(_))) => return Err(error.into()),
                Err(refused) => {
                    summary.bad += 1;
                    report(line, &format!("{id}: {refused}"));
                }
            }
        }
        Ok(())
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
            let products = summary.changed + summary.already_so;
            tracing::info!("{}: {products} products, {percent} %", self.name);
        }
    }

    fn finish(&self, summary: &Summary) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let Summary { changed, already_so, bad } = *summary;
        tracing::info!(
            "{}: {} changed, {} already so, {} bad",
            self.name,
            HumanCount(changed),
            HumanCount(already_so),
            HumanCount(bad)
        );
    }
}
