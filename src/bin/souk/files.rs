//! The options and the output of `souk import` and `souk export`. The work is in `app::import` and `app::export`, or in
//! the shop that runs on the data directory.
//!
//! Depends on `app`, `catalogue`, `shop` and `domain`.

use std::{
    fs,
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use souk::{
    config::Config,
    domain::money::Currency,
    internals::{
        app::{
            control::client::{Connection, SILENCE_MAX},
            export::export,
            failure::{Failure, FailureKind},
            import::{Event, LocalRows, Outcome, Rows, Source, Summary, import_file, importer},
        },
        catalogue::{foreign::Layout, read},
    },
    shop::{
        Shop,
        import::{Imported, SetStock, Terms},
    },
};
use tokio_util::sync::CancellationToken;

/// How often progress is printed where there is no terminal.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// The name of standard input, and of standard output.
const STANDARD: &str = "-";
/// The exit code that shells use for a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// Read products, prices or stock from catalogue files.
#[derive(Args)]
pub(super) struct Import {
    /// Catalogue files; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Set the stock to what the file says, also for products that have been sold from. Without it a file's stock
    /// counts once.
    #[arg(long)]
    set_stock: bool,
    /// Check every row against the shop and say what would change; change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Whose columns the files have: auto (they tell themselves), souk, shopify, woocommerce or google.
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    format: Layout,
    /// The currency of the prices, such as EUR, where the export of another shop does not name it.
    #[arg(long, value_name = "CODE")]
    currency: Option<Currency>,
    /// The encoding of the files, such as windows-1250, where it is not UTF-8 and they do not say so.
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// Go on with the first of the files at this line: rows before it are passed over.
    #[arg(long, value_name = "N", default_value_t = 1)]
    from_line: u64,
    /// The seller to whom new products belong, by e-mail address [default: the operator].
    #[arg(long, value_name = "EMAIL")]
    seller: Option<String>,
}

/// Write the catalogue as JSON Lines.
#[derive(Args)]
pub(super) struct Export {
    /// The file to write; `-` is standard output, and so is none. It is replaced when the export is complete.
    file: Option<PathBuf>,
}

impl Import {
    /// Imports every file; the exit code says whether all rows were taken.
    pub(super) async fn run(
        self,
        config: Config,
        interrupted: impl Future<Output = ()> + Send + 'static,
    ) -> Result<ExitCode> {
        let stop = CancellationToken::new();
        tokio::spawn({
            let stop = stop.clone();
            async move {
                interrupted.await;
                stop.cancel();
                // The second interrupt: the user does not want to wait for the rows in progress.
                if tokio::signal::ctrl_c().await.is_ok() {
                    std::process::exit(INTERRUPTED);
                }
            }
        });
        // Before a shop is made for files that cannot be read.
        for path in &self.files {
            refuse_directory(path, "a catalogue file")?;
        }
        let set_stock = if self.set_stock { SetStock::Always } else { SetStock::Once };
        if let Some(running) = Connection::open(&config.data_dir, SILENCE_MAX).await? {
            let rows = running.import(self.seller.clone(), set_stock, self.dry_run).await?;
            return self.import_files(&mut Rows::Running(Box::new(rows)), &stop).await;
        }
        let shop = Shop::open(config).await?;
        let imported = async {
            let by = importer(&shop, self.seller.as_deref()).await?;
            let terms = Terms { by, set_stock, dry_run: self.dry_run };
            self.import_files(&mut Rows::Here(LocalRows::new(shop.clone(), terms)), &stop).await
        };
        let imported = imported.await;
        shop.close().await?;
        imported
    }

    async fn import_files(&self, rows: &mut Rows, stop: &CancellationToken) -> Result<ExitCode> {
        let mut bad = 0;
        for (at, path) in self.files.iter().enumerate() {
            let path = if path.as_os_str() == STANDARD { Path::new("/dev/stdin") } else { path };
            // `from_line` is a line of the first file; all others are read from their beginning.
            let from_line = if at == 0 { self.from_line } else { 1 };
            let options =
                read::Options { encoding: self.encoding.as_deref(), layout: self.format, currency: self.currency };
            let source = Source { path, options, from_line };
            let mut progress = Progress::new(path);
            let outcome = import_file(rows, source, stop, |event| progress.show(event)).await;
            progress.finish();
            let Outcome { summary, stopped } = outcome?;
            self.print(path, summary);
            bad += summary.bad;
            if let Some(stopped) = stopped {
                let first = if at == 0 { "" } else { " (to go on, name it as the first file)" };
                return Err(anyhow::Error::from(stopped).context(format!("{}{first}", path.display())));
            }
        }
        Ok(if bad > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn print(&self, path: &Path, Summary { imported: Imported { changed, already_so, stock_changed }, bad }: Summary) {
        let dry_run = if self.dry_run { "dry run, nothing is changed: " } else { "" };
        println!(
            "{}: {dry_run}{changed} changed, {already_so} already so, stock of {stock_changed} changed, {bad} bad",
            path.display()
        );
    }
}

impl Export {
    /// Writes the catalogue. An existing file is replaced when the export is complete, and kept if it fails.
    pub(super) async fn run(self, config: Config, interrupted: impl Future<Output = ()>) -> Result<ExitCode> {
        let named = |path: &Path| path.display().to_string();
        let file = self.file.as_deref().filter(|file| file.as_os_str() != STANDARD);
        if let Some(file) = file {
            refuse_directory(file, "the file to write")?;
        }
        let products = match file.map(|path| (path, fs::metadata(path))) {
            None => until(interrupted, export_to(config, io::stdout().lock())).await?,
            // A pipe or a device.
            Some((path, Ok(there))) if !there.is_file() => {
                let file = fs::OpenOptions::new().write(true).open(path).with_context(|| named(path))?;
                until(interrupted, export_to(config, file)).await?
            }
            Some((path, there)) => {
                // A symbolic link stays; its target is replaced.
                let path = if there.is_ok() { path.canonicalize()? } else { path.to_owned() };
                let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let mut builder = tempfile::Builder::new();
                let permissions = there.map_or_else(|_| permissions(0o666), |there| there.permissions());
                let file = builder.permissions(permissions).tempfile_in(directory).with_context(|| named(&path))?;
                let products = until(interrupted, export_to(config, file.as_file())).await?;
                file.as_file().sync_all()?;
                file.persist(&path).with_context(|| named(&path))?;
                products
            }
        };
        eprintln!("{products} products written");
        Ok(ExitCode::SUCCESS)
    }
}

fn refuse_directory(path: &Path, wanted: &str) -> Result<(), Failure> {
    let kind = FailureKind::Usage;
    let reason = || format!("{} is a directory: name {wanted}", path.display());
    if path.is_dir() { Err(Failure { reason: reason(), kind }) } else { Ok(()) }
}

fn permissions(mode: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

async fn export_to(config: Config, output: impl Write) -> Result<u64> {
    if let Some(mut running) = Connection::open(&config.data_dir, SILENCE_MAX).await? {
        return Ok(running.export(BufWriter::new(output)).await?);
    }
    let shop = Shop::open_existing(config).await?;
    let written = export(&shop, BufWriter::new(output)).await;
    shop.close().await?;
    Ok(written?)
}

async fn until(interrupted: impl Future<Output = ()>, work: impl Future<Output = Result<u64>>) -> Result<u64> {
    tokio::select! {
        result = work => result,
        () = interrupted => anyhow::bail!("interrupted"),
    }
}

/// Shows progress: a bar on a terminal, elsewhere a line every few seconds. Refused rows and warnings go to standard
/// error.
struct Progress<'a> {
    path: &'a Path,
    bar: Option<ProgressBar>,
    reported_at: Instant,
}

impl<'a> Progress<'a> {
    fn new(path: &'a Path) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {elapsed}");
            let bar = ProgressBar::new(0).with_message(path.display().to_string());
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { path, bar, reported_at: Instant::now() }
    }

    fn show(&mut self, event: Event<'_>) {
        let path = self.path.display();
        let print = |line: u64, text: &str| match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{path}:{line}: {text}")),
            None => eprintln!("{path}:{line}: {text}"),
        };
        match (event, &self.bar) {
            (Event::Refused { line, reason }, _) => print(line, reason),
            (Event::Warned { line, reason }, _) => print(line, &format!("warning: {reason}")),
            (Event::Progress { bytes_read, bytes, .. }, Some(bar)) => {
                bar.set_length(bytes);
                bar.set_position(bytes_read);
            }
            (Event::Progress { bytes_read, bytes, summary }, None) => {
                if self.reported_at.elapsed() >= REPORT_EVERY {
                    self.reported_at = Instant::now();
                    let percent = (bytes_read * 100).checked_div(bytes).unwrap_or(0);
                    let Imported { changed, already_so, .. } = summary.imported;
                    eprintln!("{path}: {} products, {percent} % of the file read", HumanCount(changed + already_so));
                }
            }
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
