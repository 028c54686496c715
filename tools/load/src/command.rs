//! The command line of a run: its options, the progress on the terminal, and the files of its report.
//!
//! Depends on `plan`, `run` and `scenario` and on `clap` and `tokio`.

#![allow(clippy::print_stdout, reason = "a command line answers on standard output")]

use std::{
    fs::File,
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    plan::{Arrivals, Operator, Plan, Protocol},
    run::{Progress, run},
    scenario::Scenario,
};

/// The exit status of a run that Ctrl-C or SIGTERM ended, the same as that of shells after Ctrl-C.
const INTERRUPTED: u8 = 130;
/// The interval of progress lines without a terminal, in seconds.
const PROGRESS_SECONDS: f64 = 5.0;
/// The environment variable with the password of the operator. It is not an option, because everybody on the machine
/// can see a command line.
const OPERATOR_PASSWORD: &str = "OPERATOR_PASSWORD";

/// The options of `souk load`.
#[derive(Args)]
pub struct Options {
    /// The address of the shop.
    #[arg(default_value = "http://127.0.0.1:8080")]
    url: String,
    /// What customers do.
    #[arg(long, value_enum, default_value_t = ScenarioName::Shop)]
    scenario: ScenarioName,
    /// Open model: journeys begin at this rate, whether or not earlier ones have ended. Use it to measure latencies.
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "callers", allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Closed model: callers that each begin the next journey when the last has ended [default: 16]. Use it to measure
    /// throughput; percentiles hide stalls.
    #[arg(long, value_name = "N")]
    callers: Option<usize>,
    /// For how long journeys begin.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
    /// The number of customers. They register and log in first, which costs the shop a password hash each.
    #[arg(long, value_name = "N", default_value_t = 64)]
    users: usize,
    /// A file of `souk tokens`: customers, and perhaps an operator, who are already logged in.
    #[arg(long, value_name = "FILE", conflicts_with = "users")]
    tokens: Option<PathBuf>,
    /// An admin or a seller who logs in to send parcels, change prices and look at stock. The password is read from the
    /// environment variable `OPERATOR_PASSWORD`.
    #[arg(long, value_name = "EMAIL")]
    operator: Option<String>,
    /// How many journeys may be under way at once in the open model.
    #[arg(long, value_name = "N", default_value_t = 4_096)]
    in_flight: usize,
    /// The time-out of a request; then it counts as unanswered.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 15_000)]
    timeout_ms: u64,
    /// The number of different products that are viewed and bought.
    #[arg(long, value_name = "N", default_value_t = 200)]
    products: usize,
    /// The product of a flash sale.
    #[arg(long, value_name = "ID")]
    product: Option<String>,
    /// A CSV file with a column `query`.
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// A CSV file with columns `invoice` and `quantity`, a row for each line of a basket [default: one to three lines
    /// of one unit].
    #[arg(long, value_name = "FILE")]
    baskets: Option<PathBuf>,
    /// The seed of all random choices.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Speak HTTP/2.
    #[arg(long)]
    http2: bool,
    /// Also write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the report as one HTML file with charts.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write what was asked and answered, for `souk verify --history`.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ScenarioName {
    /// Product pages and searches.
    Browse,
    /// From the search to the paid order.
    Shop,
    /// Everybody buys the same product.
    FlashSale,
    /// 30 % customers' sessions of 1 to 10 lines, 60 % deliveries, 5 % dashboards, 3 % prices, 2 % replacements: the
    /// mix of the Online Marketplace benchmark, re-implemented. It changes the catalogue and needs an operator.
    Marketplace,
    /// 80 % product pages and searches, 18 % purchases, 2 % purchases of the same product.
    Mix,
}

impl Options {
    /// Carries out the run, prints the table and writes the files. `generator` is the version and commit of the
    /// program.
    ///
    /// The exit code is 0 for a clean run, 130 for one that was clean until a signal ended it, and 1 otherwise.
    ///
    /// # Errors
    /// The run cannot begin, or a file cannot be written.
    pub async fn run(self, generator: String) -> Result<ExitCode> {
        // Created before the run, so that a path that cannot be written does not cost a run.
        let create = |path: &PathBuf| File::create(path).with_context(|| path.display().to_string());
        let (json, html) = (self.json.as_ref().map(create).transpose()?, self.html.as_ref().map(create).transpose()?);
        let operator = match self.operator.clone() {
            Some(email) => {
                let password =
                    std::env::var(OPERATOR_PASSWORD).with_context(|| format!("{OPERATOR_PASSWORD} for {email}"))?;
                Some(Operator { email, password: SecretString::from(password) })
            }
            None => None,
        };
        let (terminal, mut next) = (std::io::stderr().is_terminal(), PROGRESS_SECONDS);
        let report =
            run(self.plan(operator, generator), interrupted()?, |Progress { seconds, answered, failed, last }| {
                if terminal {
                    let (rate, p99) = (last.done + last.refused, last.p99_ms);
                    eprint!(
                        "\r{seconds:>6.0} s  {answered:>10} answers  {rate:>7}/s  p99 {p99:>7.1} ms  {failed} failures "
                    );
                } else if seconds >= next {
                    next += PROGRESS_SECONDS;
                    eprintln!("{seconds:.0} s: {answered} answers, {failed} failures");
                }
            });
        let report = report.await?;
        if terminal {
            eprintln!();
        }
        println!("{report}");
        if let Some(mut file) = json {
            file.write_all(&serde_json::to_vec_pretty(&report)?)?;
        }
        if let Some(mut file) = html {
            file.write_all(report.to_html().as_bytes())?;
        }
        Ok(match (report.is_clean_so_far(), report.interrupted) {
            (true, false) => ExitCode::SUCCESS,
            (true, true) => ExitCode::from(INTERRUPTED),
            (false, _) => ExitCode::FAILURE,
        })
    }

    fn plan(self, operator: Option<Operator>, generator: String) -> Plan {
        Plan {
            url: self.url,
            scenario: match self.scenario {
                ScenarioName::Browse => Scenario::Browse,
                ScenarioName::Shop => Scenario::Shop,
                ScenarioName::FlashSale => Scenario::FlashSale,
                ScenarioName::Marketplace => Scenario::Marketplace,
                ScenarioName::Mix => Scenario::Mix,
            },
            arrivals: match self.rate {
                Some(rate) => Arrivals::Open { rate },
                None => Arrivals::Closed { callers: self.callers.unwrap_or(16) },
            },
            seconds: self.seconds,
            users: self.users,
            tokens: self.tokens,
            operator,
            in_flight_max: self.in_flight,
            request_ms_max: self.timeout_ms,
            products: self.products,
            product: self.product,
            queries: self.queries,
            baskets: self.baskets,
            history: self.history,
            seed: self.seed,
            protocol: if self.http2 { Protocol::Http2 } else { Protocol::Http1 },
            generator,
        }
    }
}

/// Resolves at the first Ctrl-C or SIGTERM, which ends a run with its report; a second one ends the program.
fn interrupted() -> Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let next = async move || tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} };
    let (first, signalled) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut next = next;
        next().await;
        eprintln!(
            "\nending: waiting for the journeys under way, then the report follows; press again to leave at once"
        );
        let _ = first.send(());
        next().await;
        std::process::exit(i32::from(INTERRUPTED));
    });
    Ok(async move {
        // The sender is dropped only when the runtime ends.
        if signalled.await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
