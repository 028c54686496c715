//! The command line: what it understands, and nothing else. The work is in `souk::app`.
#![allow(clippy::print_stdout, reason = "a command line answers on standard output")]

#[path = "main/exit.rs"]
mod exit;
#[path = "main/gateway_sim.rs"]
mod gateway_sim_command;
#[path = "main/verify.rs"]
mod verify_command;

use std::{
    io::{BufWriter, IsTerminal, Read, Write},
    net::SocketAddr,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;
use souk::{
    app::{
        control::{self, Report, Request},
        demo, export,
        import::{Mode, Summary, import_file},
        serve::{Drained, serve},
        tokens,
    },
    catalogue::{demo::DEMO_PRODUCTS_DEFAULT, foreign::Layout, read::Options},
    config::{Config, LogFormat},
    domain::{account::Role, ids::UserId, money::Currency, product::Editor},
    http,
    shop::{
        Shop,
        import::{Imported, SetStock},
        upkeep::{Backup, restore},
    },
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

/// It gives memory back after a load, which the C library's allocator does not.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// An online shopping backend in one binary.
///
/// Everything can also be set in a TOML file (`--config`) or in environment variables: `SOUK_LISTEN`, `SOUK_DATA_DIR`,
/// `SOUK_LIMITS__IN_FLIGHT_MAX` for `limits.in_flight_max`. `souk config` shows all settings with their values.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// A TOML file with settings.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept [default: ./souk-data].
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the shop.
    Serve(Serve),
    /// Read products from catalogue files (JSON Lines or CSV, see docs/CATALOGUE.md). The shop must not be running.
    Import(Import),
    /// Write the catalogue as JSON Lines, to a file or to standard output.
    Export {
        /// The file to write.
        file: Option<PathBuf>,
    },
    /// Copy the shop into a new directory, with checksums, whether it runs or not.
    Backup {
        /// The directory to make.
        to: PathBuf,
    },
    /// Make a data directory of a backup. Everybody's access token ends: the signing key is in no backup.
    Restore {
        /// The backup.
        from: PathBuf,
    },
    /// Remove the part of the log that is not needed any more, whether the shop runs or not.
    Compact,
    /// Manage operators.
    Admin {
        #[command(subcommand)]
        command: Admin,
    },
    /// Log in customers for a load run, without a password hash each, and write their tokens to a file that only its
    /// owner can read. The shop must not be running.
    Tokens(Tokens),
    /// Show all settings with their values, as TOML.
    Config,
    /// Run a payment provider to try a shop with, as a program of its own: it moves no money, and fails as it is told.
    GatewaySim(gateway_sim_command::GatewaySim),
    /// Send customers to a running shop, and measure and check what they get (docs/BENCHMARKS.md).
    Load(Box<souk_load::Options>),
    /// Check that a shop keeps its promises: a data directory, a running shop, what clients wrote down
    /// (docs/VERIFY.md).
    ///
    /// Without `--url` and `--history` it is the data directory, which no process may have meanwhile.
    Verify(verify_command::Verify),
}

impl Command {
    /// Whether all that the command writes is in a data directory, a backup or a file of tokens: nobody else may read
    /// it.
    fn writes_for_its_owner(&self) -> bool {
        match self {
            Self::Serve(_)
            | Self::Import(_)
            | Self::Backup { .. }
            | Self::Restore { .. }
            | Self::Compact
            | Self::Admin { .. }
            | Self::Tokens(_) => true,
            Self::Export { .. } | Self::Config | Self::GatewaySim(_) | Self::Load(_) | Self::Verify(_) => false,
        }
    }
}

#[derive(Args)]
struct Tokens {
    /// The file to write, for `souk load --tokens`.
    file: PathBuf,
    /// How many customers; those who are missing are made.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    customers: usize,
    /// An admin or a seller to log in as well, by e-mail address: the one who sends parcels and changes prices in a
    /// run.
    #[arg(long, value_name = "EMAIL")]
    operator: Option<String>,
}

#[derive(Args)]
struct Serve {
    /// Where to listen [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Fill the shop with a demo catalogue and demo logins. Never for a real shop: the passwords are known.
    #[arg(long)]
    demo: bool,
    /// How many products the demo catalogue has.
    #[arg(long, value_name = "N", default_value_t = DEMO_PRODUCTS_DEFAULT, requires = "demo")]
    demo_products: usize,
    /// What the demo catalogue is made from: the same seed makes the same catalogue.
    #[arg(long, value_name = "SEED", default_value_t = 1, requires = "demo")]
    demo_seed: u64,
}

#[derive(Args)]
struct Import {
    /// Catalogue files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Set the stock to what the file says, also for products that have been sold from. Without it a file's stock
    /// counts once.
    #[arg(long)]
    set_stock: bool,
    /// Whose columns CSV files have: auto (the header tells), souk, shopify, woocommerce or google.
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    format: Layout,
    /// The currency of the prices, such as EUR, where the export of another shop does not name it.
    #[arg(long, value_name = "CODE")]
    currency: Option<Currency>,
    /// The encoding of the files, such as windows-1250, where it is not UTF-8 and they do not say so.
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// Go on with a file at this line: rows before it are passed over.
    #[arg(long, value_name = "N", default_value_t = 1)]
    from_line: u64,
    /// The seller to whom new products belong, by e-mail address [default: the operator].
    #[arg(long, value_name = "EMAIL")]
    seller: Option<String>,
}

#[derive(Subcommand)]
enum Admin {
    /// Make an admin, or give an account the admin role and this password. The password is read from standard input.
    Create {
        /// The e-mail address.
        email: String,
    },
}

/// Whoever reads a file of tokens can be these customers.
const TOKENS_MODE: u32 = 0o600;

/// How long the shop may take to come to rest and to write its last checkpoint.
const CLOSE_MAX: Duration = Duration::from_secs(180);
/// How long threads may go on after that.
const THREADS_END: Duration = Duration::from_secs(5);

/// Who owns what the operator imports without naming a seller.
const OPERATOR: Editor = Editor::Admin(UserId(0));

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("souk: {}", exit::message(&error));
            exit::Exit::of(&error).into()
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let mut config = Config::load(cli.config.as_deref())?;
    let data_dir_given = cli.data_dir.is_some();
    if let Some(directory) = cli.data_dir {
        config.data_dir = directory;
    }
    if let Command::Serve(Serve { listen: Some(listen), .. }) = &cli.command {
        config.listen = *listen;
    }
    start_logging(&config)?;
    if cli.command.writes_for_its_owner() {
        rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        match cli.command {
            Command::Serve(options) => run_shop(config, options).await,
            Command::Import(options) => run_import(config, options).await,
            Command::Export { file } => run_export(config, file).await,
            Command::Backup { to } => {
                let to = std::path::absolute(&to).with_context(|| to.display().to_string())?;
                upkeep(config, Request::Backup { to }).await
            }
            Command::Restore { from } => run_restore(config, from).await,
            Command::Compact => upkeep(config, Request::Compact).await,
            Command::Admin { command: Admin::Create { email } } => create_admin(config, &email).await,
            Command::Tokens(options) => write_tokens(config, options).await,
            Command::GatewaySim(options) => options.run(told_to_stop()?).await,
            Command::Load(options) => options.run(format!("{} ({})", souk::VERSION, souk::COMMIT)).await,
            Command::Verify(options) => options.run(data_dir_given, config.data_dir).await,
            Command::Config => {
                print!("{}", config.to_toml());
                Ok(ExitCode::SUCCESS)
            }
        }
    });
    // Who waits for a storage that has stopped waits for ever, and must not keep the process from starting again.
    runtime.shutdown_timeout(THREADS_END);
    code
}

fn start_logging(config: &Config) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log).with_context(|| format!("log: {}", config.log))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.log_format {
        LogFormat::Text => logs.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}

async fn run_shop(config: Config, options: Serve) -> Result<ExitCode> {
    let told_to_stop = told_to_stop()?;
    let hangups = tokio::spawn(ignore_hangups(signal(SignalKind::hangup())?));
    let listener = TcpListener::bind(config.listen).await.with_context(|| format!("listening on {}", config.listen))?;
    let address = listener.local_addr()?;
    let shop = Shop::open(config).await?;
    if options.demo {
        demo::fill(&shop, options.demo_seed, options.demo_products).await?;
    }
    greet(address, &options);
    let failed = storage_failed(shop.clone());
    let operators = tokio::spawn({
        let shop = shop.clone();
        async move {
            if let Err(error) = control::listen(shop).await {
                tracing::warn!(%error, "backup and compaction cannot be asked for while the shop runs");
            }
        }
    });
    let health = http::Health::default();
    let router = http::router_with(shop.clone(), health.clone());
    let stop = async {
        tokio::select! {
            () = told_to_stop => {}
            () = failed => {}
        }
        health.stopping();
        tracing::info!("stopping: finishing the requests at work");
    };
    let drained = serve(router, listener, &shop.config().limits, stop).await;
    if drained == Drained::TimedOut {
        tracing::warn!("some requests did not finish in time");
    }
    operators.abort();
    hangups.abort();
    let closed = tokio::time::timeout(CLOSE_MAX, shop.close()).await;
    closed.context("the shop did not close in time; the next start finds all that is durable")??;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Resolves when the process is told to end.
fn told_to_stop() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// A hangup asks daemons to open their log files again. The shop has none, and must not end without draining.
async fn ignore_hangups(mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        tracing::info!(
            "SIGHUP is ignored: logs go to standard error, so leave their rotation to journald, or to logrotate with copytruncate"
        );
    }
}

/// Resolves when the storage has failed: the process must start again, and only `main` may end it.
async fn storage_failed(shop: Shop) {
    let mut status = shop.journal().watch_status();
    let failed = status.wait_for(|status| matches!(status, souk::storage::Status::Failed(_))).await.is_ok();
    if failed {
        tracing::error!("the storage has failed; stopping");
    } else {
        std::future::pending::<()>().await;
    }
}

fn greet(address: SocketAddr, options: &Serve) {
    println!("Souk listens on http://{address}");
    if options.demo {
        println!("\nDemo logins (password: {}):", demo::PASSWORD);
        for (email, role) in demo::LOGINS {
            println!("  {role:<9?} {email}");
        }
        println!("\nTry:\n  curl 'http://{address}/products?q=headphones&limit=3'\n");
    }
    let _ = std::io::stdout().flush();
}

async fn run_import(config: Config, options: Import) -> Result<ExitCode> {
    let shop = Shop::open(config).await?;
    let editor = match &options.seller {
        Some(email) => Editor::Seller(shop.principal(email).await.with_context(|| format!("seller {email}"))?.user),
        None => OPERATOR,
    };
    let set_stock = if options.set_stock { SetStock::Always } else { SetStock::Once };
    let mut sum = Summary::default();
    let mut stopped = None;
    for path in &options.files {
        let report = |line: u64, reason: &str| eprintln!("{}:{line}: {reason}", path.display());
        let file =
            Options { encoding: options.encoding.as_deref(), layout: options.format, currency: options.currency };
        let mode = Mode { editor, set_stock, file, from_line: options.from_line };
        match import_file(&shop, path, mode, report).await {
            Ok(Summary { imported: Imported { changed, already_so, stock_changed }, bad }) => {
                let path = path.display();
                println!(
                    "{path}: {changed} changed, {already_so} already so, stock of {stock_changed} changed, {bad} bad"
                );
                sum.bad += bad;
            }
            Err(error) => {
                stopped = Some(error);
                break;
            }
        }
    }
    shop.close().await?;
    match stopped {
        Some(error) => Err(error.into()),
        None if sum.bad > 0 => Ok(ExitCode::FAILURE),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn run_export(config: Config, file: Option<PathBuf>) -> Result<ExitCode> {
    let shop = Shop::open(config).await?;
    let output: Box<dyn Write + Send> = match &file {
        Some(path) => Box::new(std::fs::File::create(path).with_context(|| path.display().to_string())?),
        None => Box::new(std::io::stdout()),
    };
    let written = export::export(&shop, BufWriter::new(output)).await?;
    shop.close().await?;
    eprintln!("{written} products written");
    Ok(ExitCode::SUCCESS)
}

/// Does it in the shop that runs on the data directory, or where none does in one of its own.
async fn upkeep(mut config: Config, request: Request) -> Result<ExitCode> {
    let show = |report: Report| {
        if let Report::Copying { done, total } = report
            && std::io::stderr().is_terminal()
        {
            eprint!("\r{:>6} of {} MB ", done >> 20, total >> 20);
        }
    };
    let outcome = match control::ask(&config.data_dir, &request, show).await? {
        Some(outcome) => outcome,
        None => {
            // Nobody shops meanwhile, so it need not take turns with anybody.
            config.retention.work_percent = 100;
            let shop = Shop::open(config).await?;
            let outcome = control::serve(&shop, request, show).await;
            shop.close().await?;
            outcome
        }
    };
    match outcome {
        Report::Failed(problem) => bail!(problem),
        Report::Copying { .. } => bail!("the shop ended in the middle of it"),
        Report::Compacted { base_bytes, log_bytes, segments_removed, .. } => {
            println!("{segments_removed} segments removed; the log has {log_bytes} bytes, the base {base_bytes}");
        }
        Report::BackedUp(Backup { position, files, bytes }) => {
            println!("backed up: {files} files, {bytes} bytes, the log up to {position}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_restore(config: Config, from: PathBuf) -> Result<ExitCode> {
    let data = config.data_dir.clone();
    let restored = tokio::task::spawn_blocking(move || restore(&from, &data)).await??;
    println!("restored: {} files, {} bytes", restored.files, restored.bytes);
    // The first start builds the state; what cannot be started is found out now.
    let shop = Shop::open(config).await?;
    shop.close().await?;
    println!("the shop starts on it: souk serve");
    Ok(ExitCode::SUCCESS)
}

async fn write_tokens(config: Config, options: Tokens) -> Result<ExitCode> {
    let Tokens { file, customers, operator } = options;
    let shop = Shop::open(config).await?;
    let output = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(TOKENS_MODE).open(&file);
    let output = output.with_context(|| file.display().to_string())?;
    // A file that was there keeps its mode otherwise.
    output.set_permissions(std::fs::Permissions::from_mode(TOKENS_MODE))?;
    let written = tokens::write(&shop, customers, operator.as_deref(), BufWriter::new(output)).await;
    shop.close().await?;
    written?;
    println!("{customers} customers logged in: {}", file.display());
    Ok(ExitCode::SUCCESS)
}

fn password_from_input(email: &str) -> Result<String> {
    if std::io::stdin().is_terminal() {
        eprintln!("Password for {email} (it is shown; pipe it in to avoid that):");
    }
    let mut password = String::new();
    std::io::stdin().take(1_024).read_to_string(&mut password)?;
    // Programs on Windows write a byte order mark in front of what they pipe.
    let password = password.trim_start_matches('\u{feff}').lines().next().unwrap_or_default().to_owned();
    if password.is_empty() {
        bail!("a password is needed on standard input");
    }
    Ok(password)
}

async fn create_admin(config: Config, email: &str) -> Result<ExitCode> {
    let password = password_from_input(email)?;
    let shop = Shop::open(config).await?;
    let user = shop.ensure_account(email, SecretString::from(password), Role::Admin).await;
    shop.close().await?;
    println!("admin {email} has the user id {}", user?);
    Ok(ExitCode::SUCCESS)
}
