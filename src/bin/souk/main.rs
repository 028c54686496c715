//! The command line: its subcommands, its options and its exit codes. The work is in `souk::app`.
//!
//! Depends on `app`, `shop`, `domain` and the tools.

#![allow(clippy::print_stdout, reason = "a command line answers on standard output")]

mod exit;
mod files;
mod logs;
mod manual;
mod serve;
mod signals;
mod verify;

use std::{
    io::{BufWriter, IsTerminal},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use secrecy::SecretString;
use souk::{
    config::Config,
    domain::account::Role,
    internals::{
        app::{
            control::{
                self, Report, Request, Upkeep,
                client::{Connection, SILENCE_MAX},
            },
            settings::Settings,
            tokens,
        },
        text_file,
    },
    shop::{
        Shop,
        upkeep::{Backup, restore},
    },
};
use tokio::signal::unix::{SignalKind, signal};

use self::logs::Logs;

/// jemalloc returns memory to the system after a load, which the C library's allocator does not.
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
    Serve(serve::Serve),
    /// Read products, prices or stock from catalogue files (docs/CATALOGUE.md), whether the shop runs or not.
    Import(files::Import),
    /// Write the catalogue as JSON Lines, to a file or to standard output, whether the shop runs or not.
    Export(files::Export),
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
    /// Write to standard output what a shell needs to complete commands and options.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages: one for the program, and one for each subcommand.
    Man {
        /// The directory, such as /usr/local/share/man/man1.
        directory: PathBuf,
    },
    /// Run a payment provider to try a shop with, as a program of its own: it moves no money, and fails as it is told.
    GatewaySim(souk_gateway_sim::Options),
    /// Send customers to a running shop, and measure and check what they get (docs/BENCHMARKS.md).
    Load(Box<souk_load::Options>),
    /// Check that a shop keeps its promises: a data directory, a running shop, what clients wrote down
    /// (docs/VERIFY.md).
    ///
    /// Without `--url` and `--history` it is the data directory, which no process may have meanwhile.
    Verify(verify::Verify),
}

impl Command {
    /// Whether all files that the command writes are for their owner only: those of a data directory, a backup or a
    /// file of tokens.
    fn writes_for_its_owner(&self) -> bool {
        match self {
            Self::Serve(_)
            | Self::Import(_)
            | Self::Backup { .. }
            | Self::Restore { .. }
            | Self::Compact
            | Self::Admin { .. }
            | Self::Tokens(_) => true,
            Self::Export { .. }
            | Self::Config
            | Self::Completions { .. }
            | Self::Man { .. }
            | Self::GatewaySim(_)
            | Self::Load(_)
            | Self::Verify(_) => false,
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

#[derive(Subcommand)]
enum Admin {
    /// Make an admin, or give an account the admin role and this password. The password is read from standard input.
    Create {
        /// The e-mail address.
        email: String,
    },
}

/// How long threads may run after a command has ended.
const THREADS_END: Duration = Duration::from_secs(5);

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
    let mut settings = Settings::load(cli.config.as_deref())?;
    let data_dir_given = cli.data_dir.is_some();
    if let Some(directory) = cli.data_dir {
        settings.shop.data_dir = directory;
    }
    if let Command::Serve(options) = &cli.command {
        options.override_settings(&mut settings.program);
    }
    let logs = Logs::start(&settings.program)?;
    if cli.command.writes_for_its_owner() {
        rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        let config = settings.shop.clone();
        match cli.command {
            Command::Serve(options) => options.run(settings, cli.config, logs).await,
            Command::Import(options) => options.run(config, told_to_stop()?).await,
            Command::Export(options) => options.run(config, told_to_stop()?).await,
            Command::Backup { to } => {
                let to = std::path::absolute(&to).with_context(|| to.display().to_string())?;
                upkeep(config, Upkeep::Backup { to }).await
            }
            Command::Restore { from } => run_restore(config, from).await,
            Command::Compact => upkeep(config, Upkeep::Compact).await,
            Command::Admin { command: Admin::Create { email } } => create_admin(config, &email).await,
            Command::Tokens(options) => write_tokens(config, options).await,
            Command::GatewaySim(options) => options.run(told_to_stop()?).await,
            Command::Load(options) => options.run(format!("{} ({})", souk::VERSION, souk::COMMIT)).await,
            Command::Verify(options) => options.run(data_dir_given, config.data_dir).await,
            Command::Completions { shell } => manual::complete(shell),
            Command::Man { directory } => manual::write_pages(&directory),
            Command::Config => {
                print!("{}", settings.to_toml());
                Ok(ExitCode::SUCCESS)
            }
        }
    });
    // A task that waits for a storage that has failed waits for ever, and must not keep the process from restarting.
    runtime.shutdown_timeout(THREADS_END);
    code
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

/// Executes the command in the shop that runs on the data directory or, if none runs, in a shop of this process.
async fn upkeep(mut config: Config, wanted: Upkeep) -> Result<ExitCode> {
    let show = |report: Report| {
        if let Report::Copying { done, total } = report
            && std::io::stderr().is_terminal()
        {
            eprint!("\r{:>6} of {} MB ", done >> 20, total >> 20);
        }
    };
    let outcome = match Connection::open(&config.data_dir, SILENCE_MAX).await? {
        Some(mut running) => running.ask(&Request::Upkeep(wanted), show).await?,
        None => {
            // No shop runs meanwhile, so the work need not leave processor time to anybody.
            config.retention.work_percent = 100;
            let shop = Shop::open_existing(config).await?;
            let outcome = control::server::upkeep(&shop, wanted, show).await;
            shop.close().await?;
            outcome
        }
    };
    match outcome {
        Report::Failed(failure) => return Err(failure.into()),
        Report::Compacted { base_bytes, log_bytes, segments_removed, .. } => {
            println!("{segments_removed} segments removed; the log has {log_bytes} bytes, the base {base_bytes}");
        }
        Report::BackedUp(Backup { position, files, bytes }) => {
            println!("backed up: {files} files, {bytes} bytes, the log up to {position}");
        }
        other => bail!("the running shop answered {other:?}; is it of the same version?"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_restore(config: Config, from: PathBuf) -> Result<ExitCode> {
    let data = config.data_dir.clone();
    let restored = tokio::task::spawn_blocking(move || restore(&from, &data)).await??;
    println!("restored: {} files, {} bytes", restored.files, restored.bytes);
    // The first start rebuilds the state; if it fails, the operator learns it now.
    let shop = Shop::open_existing(config).await?;
    shop.close().await?;
    println!("the shop starts on it: souk serve");
    Ok(ExitCode::SUCCESS)
}

async fn write_tokens(config: Config, options: Tokens) -> Result<ExitCode> {
    let Tokens { file, customers, operator } = options;
    let shop = Shop::open(config).await?;
    let output =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(tokens::FILE_MODE).open(&file);
    let output = output.with_context(|| file.display().to_string())?;
    // An existing file would keep its mode.
    output.set_permissions(std::fs::Permissions::from_mode(tokens::FILE_MODE))?;
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
    let password = text_file::first_line(std::io::stdin()).context("the password on standard input")?;
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
